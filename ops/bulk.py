"""Resumes many stuck sagas: one of each group first, then the rest at a rate.

A group is the sagas that stopped in one state with one error. It goes on only after one of its sagas has ended cleanly,
and stops at the first that gets stuck again, because then the cause is not fixed. Step Functions rejects the redrive of
a saga that runs, so neither a repetition nor a second operator makes a saga run twice at once.

A saga takes one read of its entry, one RedriveExecution and, if it ends within ``FIRST_LOOK`` seconds, one
DescribeExecution; then one request removes its entry.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from botocore.exceptions import ClientError

from ops.client import SagaClient
from ops.errors import ClosedSaga, LostResponse, NoRedrive, NotResumable, UnknownExecution, is_throttled
from ops.executions import map_concurrently
from ops.model import SAME_STOP, Outcome, StuckGroup, StuckSaga

# DescribeExecution is the scarcest: 15 a second for an account in us-east-1, us-west-2 and eu-west-1, 10 elsewhere.
# RedriveExecution has 300 or 150 (Step Functions Developer Guide, "Service quotas").
DEFAULT_RATE = 10
MAX_RATE = 150
# Seconds between a redrive and the first look at the saga; each further look waits twice as long, up to the last.
FIRST_LOOK = 2.0
LONGEST_LOOK = 30.0
# How often to look at a saga that was not redriven: DescribeExecution may still answer with the stop before the redrive
# of another operator.
MAX_STALE_LOOKS = 4
# Seconds to wait when throttled; twice as long after each time, up to the last.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
ROUND = 1.0


class Result(StrEnum):
    """What a resumption led to."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    RECOVERED = "recovered"
    STUCK_AGAIN = "stuck again"
    REJECTED = "rejected"


@dataclass(kw_only=True)
class Resumption:
    """A saga to resume, and what that led to so far.

    ``reason`` says why it was rejected, why it got stuck again, or why it is not known whether it runs.
    """

    saga: StuckSaga
    result: Result = Result.NOT_STARTED
    reason: str | None = None
    redriven_at: datetime | None = None
    next_look: float = 0.0
    delay: float = 0.0
    stale_looks: int = 0

    @property
    def resumed_at(self) -> datetime:
        """When it was redriven. If it was not, the stop that was listed: a later one follows another redrive."""
        execution = self.saga.execution
        return self.redriven_at or (execution.stopped_at or execution.started_at) + SAME_STOP


@dataclass(kw_only=True)
class GroupResumption:
    """The sagas of a group, oldest stop first."""

    group: StuckGroup
    sagas: tuple[Resumption, ...]
    waiting: deque[Resumption] = field(default_factory=deque)

    def count(self, result: Result) -> int:
        """Return how many sagas have this result."""
        return sum(one.result is result for one in self.sagas)

    @property
    def is_stopped(self) -> bool:
        """Whether a saga got stuck again."""
        return self.count(Result.STUCK_AGAIN) > 0

    def startable(self) -> int:
        """Return how many sagas may be resumed now: one until one has ended cleanly, none after one got stuck again."""
        if self.is_stopped:
            return 0
        if self.count(Result.RECOVERED):
            return len(self.waiting)
        return 0 if self.count(Result.RUNNING) else min(1, len(self.waiting))


class BulkResume:
    """The resumption of some groups of stuck sagas. After an interrupt, ``groups`` has what was reached.

    Args:
        client: the client of the stack.
        groups: the stuck sagas.
        rate: how many sagas are resumed in a second, and how many are looked at.
        report: is called after each round.
    """

    def __init__(
        self,
        client: SagaClient,
        groups: Sequence[StuckGroup],
        *,
        rate: int = DEFAULT_RATE,
        report: Callable[["BulkResume"], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._rate = rate
        self._report = report
        self._pause = 0.0
        self.groups = tuple(_to_resume(group) for group in groups)

    def run(self) -> None:
        """Resume the sagas and wait for their ends; wait when throttled. Raises NoRedrive and botocore's errors."""
        try:
            while not self.is_done:
                started = time.monotonic()
                looked = self._together(self._look, self._due(started))
                redriven = self._together(self._redrive, list(self._next()))
                self._pause = 0.0 if looked and redriven else min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
                self._report(self)
                if not self.is_done:
                    time.sleep(max(self._pause, started + ROUND - time.monotonic(), 0))
        finally:
            if recovered := self._all(Result.RECOVERED):
                self._client.forget([one.saga.execution.arn for one in recovered])

    @property
    def has_started(self) -> bool:
        """Whether a saga was resumed."""
        return any(one.count(Result.NOT_STARTED) < len(one.sagas) for one in self.groups)

    @property
    def is_done(self) -> bool:
        """Whether no saga runs and none may be resumed."""
        return not self._all(Result.RUNNING) and not any(group.startable() for group in self.groups)

    @property
    def total(self) -> int:
        """How many sagas will be resumed, as far as is known: the rest of a stopped group is not."""
        return sum(len(group.sagas) - (len(group.waiting) if group.is_stopped else 0) for group in self.groups)

    @property
    def finished(self) -> int:
        """How many sagas have a final result."""
        return sum(len(self._all(result)) for result in (Result.RECOVERED, Result.STUCK_AGAIN, Result.REJECTED))

    @property
    def is_clean(self) -> bool:
        """Whether every saga has recovered."""
        return all(one.result is Result.RECOVERED for group in self.groups for one in group.sagas)

    def _all(self, result: Result) -> list[Resumption]:
        return [one for group in self.groups for one in group.sagas if one.result is result]

    def _next(self) -> Iterator[Resumption]:
        """Take the sagas to resume in this round."""
        left = self._rate
        for group in self.groups:
            for _ in range(min(left, group.startable())):
                left -= 1
                yield group.waiting.popleft()

    def _due(self, now: float) -> list[Resumption]:
        due = sorted((one for one in self._all(Result.RUNNING) if one.next_look <= now), key=lambda one: one.next_look)
        return due[: self._rate]

    def _together(self, step: Callable[[Resumption], None], sagas: list[Resumption]) -> bool:
        """Do a step for some sagas at once; return whether no request was throttled."""
        return not any(map_concurrently(lambda one: self._is_throttled(step, one), sagas))

    def _is_throttled(self, step: Callable[[Resumption], None], one: Resumption) -> bool:
        try:
            step(one)
        except ClientError as error:
            if not is_throttled(error):
                raise
            return True
        return False

    def _redrive(self, one: Resumption) -> None:
        try:
            one.redriven_at = self._client.resume(one.saga)
        except NoRedrive:
            raise
        except ClosedSaga as error:
            one.result, one.reason = Result.REJECTED, str(error)
            return
        except (NotResumable, UnknownExecution, LostResponse) as error:
            # It may run again, or have ended cleanly since: the look shows it.
            one.reason = str(error)
        except ClientError:
            self._group_of(one).waiting.appendleft(one)
            raise
        one.result, one.delay, one.next_look = Result.RUNNING, FIRST_LOOK, time.monotonic() + FIRST_LOOK

    def _look(self, one: Resumption) -> None:
        one.delay = min(2 * one.delay, LONGEST_LOOK)
        one.next_look = time.monotonic() + one.delay
        try:
            now = self._client.execution(one.saga.execution.arn)
        except UnknownExecution as error:
            one.result, one.reason = Result.REJECTED, one.reason or str(error)
            return
        if now.outcome in (Outcome.FULFILLED, Outcome.ROLLED_BACK):
            one.result, one.reason = Result.RECOVERED, None
        elif now.outcome is Outcome.STUCK:
            one.stale_looks += 1
            was_rejected = one.redriven_at is None
            if was_rejected and not now.is_redrivable:
                one.result = Result.REJECTED
            elif now.stopped_at and now.stopped_at >= one.resumed_at:
                one.result, one.reason = Result.STUCK_AGAIN, now.cause
            elif was_rejected and one.stale_looks >= MAX_STALE_LOOKS:
                one.result = Result.REJECTED
        # Otherwise it runs, or DescribeExecution still answers with the stop before the redrive.

    def _group_of(self, one: Resumption) -> GroupResumption:
        return next(group for group in self.groups if any(saga is one for saga in group.sagas))


def _to_resume(group: StuckGroup) -> GroupResumption:
    sagas = tuple(Resumption(saga=saga) for saga in group.sagas)
    return GroupResumption(group=group, sagas=sagas, waiting=deque(sagas))
