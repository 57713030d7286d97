"""The AWS that tests see: moto in this process, with no credentials and no settings of the caller's."""

import os

for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "TABLE_NAME": "orders",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}

# moto answers for clients that are made after its import; the ledger makes its client at its own.
import moto  # noqa: E402, F401

from tests.fixtures import definition, table, template  # noqa: E402, F401
