"""The outcome of an execution by its status and its error."""

from typing import TYPE_CHECKING, Any

import pytest

from lambdas.saga_runtime.outcome import Outcome, outcome_of

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.literals import ExecutionStatusType


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        ("RUNNING", None, Outcome.RUNNING),
        ("PENDING_REDRIVE", None, Outcome.RUNNING),
        ("SUCCEEDED", None, Outcome.SUCCEEDED),
        ("FAILED", "OrderFailed", Outcome.FAILED),
        ("FAILED", "RuntimeError", Outcome.STUCK),
        ("FAILED", None, Outcome.STUCK),
        ("TIMED_OUT", None, Outcome.STUCK),
        # Who stops an execution chooses its error.
        ("ABORTED", "OrderFailed", Outcome.STUCK),
    ],
)
def test_the_outcome_follows_from_status_and_error(
    status: "ExecutionStatusType", error: str | None, outcome: Outcome
) -> None:
    execution: Any = {"status": status, "error": error}
    assert outcome_of(execution, clean_error="OrderFailed") is outcome
