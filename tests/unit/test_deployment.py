"""The reason that is reported for a failed deployment to the local cloud."""

from pathlib import Path

import pytest

from local.deployment import reason_of_failure

STARTED = "OrderSaga-dev: deploying... [1/1]"
FAILED = "OrderSaga-dev | 3/9 | 9:00:00 AM | CREATE_FAILED | AWS::SQS::Queue | StuckSagasQueue a queue has that name"
CANCELLED = "OrderSaga-dev | 4/9 | 9:00:01 AM | CREATE_FAILED | AWS::IAM::Role | Role Resource creation cancelled"
ROLE = "OrderSaga-dev | 5/9 | 9:00:01 AM | UPDATE_FAILED | AWS::IAM::Role | Role not allowed"
STACK = (
    "OrderSaga-dev | 1/9 | 9:00:02 AM | CREATE_FAILED | AWS::CloudFormation::Stack | OrderSaga-dev Validation failed"
)
SUMMARY = "❌  OrderSaga-dev failed to deploy"
ERROR = "‣ DeploymentError: The stack named OrderSaga-dev failed creation"
INVALID = "ERROR MessageRetentionPeriod: 5 is less than the minimum of 60"
HINT = "Look into CloudTrail for more."


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((STARTED, CANCELLED, STACK, FAILED, ROLE, SUMMARY, ERROR, HINT), FAILED),
        ((STARTED, ROLE, SUMMARY, ERROR, HINT), ROLE),
        ((STARTED, STACK, SUMMARY, ERROR, HINT), STACK),
        ((STARTED, SUMMARY, ERROR, HINT), ERROR),
        ((STARTED, SUMMARY, HINT), SUMMARY),
        ((INVALID, "Synthesis finished with errors"), INVALID),
        ((STARTED, HINT, ""), HINT),
    ],
)
def test_the_reason_is_the_line_that_says_what_failed_and_why(
    tmp_path: Path, lines: tuple[str, ...], reason: str
) -> None:
    log = tmp_path / "cdk.log"
    log.write_text("\n".join(f"  {line}" for line in lines))
    assert reason_of_failure(log) == reason
