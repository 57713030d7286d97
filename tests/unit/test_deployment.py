"""The command of a CDK app, and the reason that is reported for a failed deployment to the local cloud."""

import subprocess
import sys
from pathlib import Path

import pytest

from local.deployment import app_command, reason_of_failure

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


def test_the_command_of_an_app_runs_in_a_shell_from_a_folder_with_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = tmp_path / "a folder" / "python"
    interpreter.parent.mkdir()
    interpreter.write_text('#!/bin/sh\necho "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    done = subprocess.run(["sh", "-c", app_command("app")], capture_output=True, text=True, check=False)  # noqa: S607
    assert (done.stdout, done.stderr) == ("-m app\n", "")
