"""What the status and the error of an execution mean for its saga."""

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef


class Outcome(Enum):
    """How an execution ended, if it has ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # cleanly: nothing of its saga is live
    STUCK = "stuck"


def outcome_of(execution: "DescribeExecutionOutputTypeDef", *, clean_error: str) -> Outcome:
    """Return the outcome of an execution.

    An execution that somebody stopped is stuck whatever its error, which is theirs to choose.

    Args:
        execution: the execution, as DescribeExecution returns it.
        clean_error: the error of a clean failure.
    """
    match execution["status"]:
        case "RUNNING" | "PENDING_REDRIVE":
            return Outcome.RUNNING
        case "SUCCEEDED":
            return Outcome.SUCCEEDED
        case "FAILED" if execution.get("error") == clean_error:
            return Outcome.FAILED
    return Outcome.STUCK
