"""The history of an execution ends at 25,000 events; at 24,999 it cannot be redriven (Step Functions API Reference)."""

from collections.abc import Iterator, Mapping
from typing import Any

from lambdas.saga_runtime.execution_history import path_of, stopped_in
from tests.histories import history
from tests.sagas import SagaUnderTest, each_saga

MAX_EVENTS = 24_999
# One a day for 14 days, and as many by hand.
REDRIVES = 28


def events_of_states(states: Mapping[str, Any]) -> Iterator[int]:
    """Return the most events that each state can have: its entrance and exit, and those of every attempt."""
    for state in states.values():
        attempts = 1 + max((retrier["MaxAttempts"] for retrier in state.get("Retry", ())), default=0)
        yield 2 + 3 * attempts
        for branch in state.get("Branches", ()):
            yield from events_of_states(branch["States"])


@each_saga
def test_a_saga_can_be_redriven_every_day_before_its_history_is_full(saga: SagaUnderTest) -> None:
    """Even if every attempt of every state fails, each time."""
    longest_run = 2 + sum(events_of_states(saga.shape().definition["States"]))
    assert (1 + REDRIVES) * longest_run < MAX_EVENTS


def test_the_state_that_stopped_is_found_in_the_longest_history() -> None:
    attempts = (MAX_EVENTS - 3) // 2
    lines = "\n".join(f"{2 * n + 3} 0 TaskScheduled\n{2 * n + 4} 0 TaskFailed Broken" for n in range(attempts))
    path = path_of(
        history("1 0 ExecutionStarted\n2 0 TaskStateEntered RefundPayment", lines, f"{MAX_EVENTS} 0 ExecutionFailed")
    )
    assert stopped_in(path) == ("RefundPayment",)
    assert len(path[0].attempts) == attempts
