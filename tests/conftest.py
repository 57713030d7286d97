"""The AWS of the tests: moto in this process, without credentials or settings of the caller."""

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
    # The variables that the stack sets for the functions.
    "TABLE_NAME": "orders",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/stuck",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:orders",
    "CLEAN_ERROR": "OrderFailed",
    "SENSITIVE_FIELDS": "card_no",
    "POWERTOOLS_METRICS_NAMESPACE": "OrderSaga",
    # The CDK's own check of each template takes half of its synthesis; `make lint` makes it.
    "CDK_VALIDATION": "false",
    # The CDK runs on the Node.js that is installed beside this Python.
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
}

# A shell that runs the tests in the background has them ignore Ctrl-C; the programs under test must not inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# moto mocks the clients that are made after its import; the write barrier makes its client when it is imported.
import moto  # noqa: E402, F401

from tests.fixtures import definition, table, template  # noqa: E402, F401
