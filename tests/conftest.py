"""The AWS that tests see: moto in this process, with no credentials and no settings of the caller's."""

import os
import signal
import sys
from pathlib import Path

for name in [name for name in os.environ if name.startswith(("AWS_", "CDK_"))]:
    del os.environ[name]
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    # What the stack tells the functions.
    "TABLE_NAME": "orders",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/stuck",
    "CLEAN_ERROR": "OrderFailed",
    # The CDK's own check of each template takes half of its synthesis; `make lint` makes it.
    "CDK_VALIDATION": "false",
    # The CDK's library runs on Node.js; the one that the tests are meant for lies beside their Python.
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
}

# Whoever starts the tests in the background has them ignore Ctrl-C; the programs under test must not inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# moto answers for clients that are made after its import; the ledger makes its client at its own.
import moto  # noqa: E402, F401

from tests.fixtures import definition, table, template  # noqa: E402, F401
