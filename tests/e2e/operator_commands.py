"""An operator who runs ``python -m ops`` in another process."""

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.e2e.conftest import Faults
from tests.e2e.orders import valid

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

CARD = valid()["card_no"]


class Operator:
    """An operator of the stack with faults."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.deployment = faults.deployment
        self.command = [sys.executable, "-m", "ops", "--stack", self.deployment.stack.name]
        self.environment = self.deployment.cloud.client_environment()

    def __call__(self, *arguments: str, status: int | None = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command that ends with this exit status; None for any."""
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert status in (None, done.returncode), done.stdout + done.stderr
        assert CARD not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def document(self, *arguments: str) -> Any:
        """Return the JSON that a command prints."""
        return json.loads(self(*arguments, "--json").stdout)

    def stuck(self, *arguments: str) -> dict[str, Any]:
        """Return the stuck sagas by execution."""
        return {saga["execution_arn"]: saga for saga in self.document("stuck", *arguments)["stuck"]}

    def messages(self) -> list[str]:
        """Return the messages of the queue."""
        cloud = self.deployment.cloud
        sqs: SQSClient = cloud.session().client("sqs", endpoint_url=cloud.endpoint)
        url = self.deployment.stack.stuck_sagas_queue_url
        found: list[MessageTypeDef] = []
        while received := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found += received
        for message in found:
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
        return [message["Body"] for message in found]
