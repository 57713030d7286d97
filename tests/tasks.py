"""The tasks of Step Functions that wait for their tokens, in this process."""

from moto.stepfunctions.parser.asl.eval.callback.callback import (
    CallbackOutcome,
    CallbackOutcomeFailure,
    CallbackOutcomeSuccess,
)


class TaskTimedOut(Exception):  # noqa: N818 (AWS's name)
    """The task has ended: it timed out, or it was answered before."""


class TaskDoesNotExist(Exception):  # noqa: N818 (AWS's name)
    """No task has this token."""


class Tasks:
    """Answers to tokens as ``client("stepfunctions")`` sends them, as far as callbacks.py uses it.

    ``outcomes`` has the outcome of each task that was answered. Tests may set ``fails_next`` to lose one request.
    """

    class exceptions:  # noqa: N801 (boto3's name)
        TaskTimedOut = TaskTimedOut
        TaskDoesNotExist = TaskDoesNotExist

    def __init__(self) -> None:
        self.waiting: set[str] = set()
        self.ended: set[str] = set()
        self.outcomes: dict[str, CallbackOutcome] = {}
        self.heartbeats: list[str] = []
        self.fails_next = False

    def open(self, token: str) -> None:
        """Let a task wait."""
        self.waiting.add(token)

    def close(self, token: str) -> CallbackOutcome | None:
        """End a task; return its outcome, None if it was not answered."""
        self.waiting.discard(token)
        self.ended.add(token)
        return self.outcomes.get(token)

    def send_task_success(self, *, taskToken: str, output: str) -> None:  # noqa: N803 (boto3's names)
        """End the task with an output."""
        self._require_waiting(taskToken)
        self.outcomes[taskToken] = CallbackOutcomeSuccess(callback_id=taskToken, output=output)
        self.close(taskToken)

    def send_task_failure(self, *, taskToken: str, error: str, cause: str) -> None:  # noqa: N803
        """End the task with an error."""
        self._require_waiting(taskToken)
        self.outcomes[taskToken] = CallbackOutcomeFailure(callback_id=taskToken, error=error, cause=cause)
        self.close(taskToken)

    def send_task_heartbeat(self, *, taskToken: str) -> None:  # noqa: N803
        """Renew the heartbeat of the task."""
        self._require_waiting(taskToken)
        self.heartbeats.append(taskToken)

    def _require_waiting(self, token: str) -> None:
        if self.fails_next:
            self.fails_next = False
            raise ConnectionError("injected")
        if token in self.ended:
            raise TaskTimedOut
        if token not in self.waiting:
            raise TaskDoesNotExist
