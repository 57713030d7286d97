"""Clients of AWS's services, made once for each function, when its module is imported.

They are botocore's, as are those that boto3 hands out; boto3 would import the transfers of S3 as well (docs/adr/0013).
"""

from typing import Any

import botocore.session
from botocore.config import Config

_session = botocore.session.get_session()
_LEAN = Config(
    # The service checks parameters itself. Ours are made in a few lines, which a test runs with botocore's check on.
    parameter_validation=False,
    # Without one, botocore puts the same text together twice in each request: a seventh of a call's CPU time.
    user_agent=_session.user_agent(),
)


def client(service: str, config: Config) -> Any:
    """A client of the service, with credentials and region of the function's environment."""
    return _session.create_client(service, config=config.merge(_LEAN))
