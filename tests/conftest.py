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
    "STUCK_SAGAS_TABLE": "stuck",
    "KEY_FIELD": "order_id",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:orders",
    "CLEAN_ERROR": "OrderFailed",
    "FALLIBLE_ACTIONS": '[["create_order"], ["process_payment"], ["process_shipment"]]',
    "AUTOMATIC_REDRIVES": "3",
    "FIRST_PAUSE_SECONDS": "900",
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
# nohup has them ignore SIGHUP. With a handler they still do, but programs under test do not inherit it.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# moto mocks the clients that are made after its import; the functions make theirs when they are imported.
import moto  # noqa: E402, F401
import pytest  # noqa: E402

from local.deployment import CDK  # noqa: E402
from tests.fixtures import definition, table, template  # noqa: E402, F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that deploy if the CDK CLI is not installed."""
    if not CDK.exists():
        for item in items:
            if item.get_closest_marker("e2e"):
                item.add_marker(pytest.mark.skip(reason="the CDK CLI is not installed: run `make install`"))
