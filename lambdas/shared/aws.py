"""Clients of AWS's services, made once for each function, when its module is imported.

They are botocore's, as are those that boto3 hands out; boto3 would import the transfers of S3 as well (docs/adr/0013).
"""

from typing import Any

import botocore.session
from botocore.config import Config

_session = botocore.session.get_session()
# The service checks parameters itself. Ours are made in a few lines, which a test runs with botocore's check on.
_UNCHECKED = Config(parameter_validation=False)


def client(service: str, config: Config) -> Any:
    """A client of the service, with credentials and region of the function's environment."""
    return _session.create_client(service, config=config.merge(_UNCHECKED))
