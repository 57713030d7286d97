"""What a saga says of its edges: its HTTP API, and its events. Both follow the row of its first step.

It imports nothing of the CDK, so that programs can read a saga without Node.js.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lambdas.saga_runtime.names import state_name
from saga_stack.construct.steps import InvalidSagaError, Parallel, StepOrGroup


@dataclass(frozen=True, kw_only=True)
class Jwt:
    """What accepts bearer tokens instead of IAM signatures.

    Args:
        issuer: the URL of the issuer.
        audience: the audience that a token must name.
    """

    issuer: str
    audience: str


@dataclass(frozen=True, kw_only=True)
class Throttling:
    """How many requests the API accepts; it answers others with 429.

    Requests for an outcome have limits of their own: one that waits occupies a function for up to 20 s, and asks Step
    Functions, whose quotas the saga needs too.

    Args:
        rate: requests a second. Default: 100, below the StartExecution quota of most regions (150).
        burst: requests at once. Default: 200.
        outcome_rate: requests for an outcome a second. Default: 25, so that at most 500 functions wait, half of the
            concurrency of an account.
        outcome_burst: requests for an outcome at once. Default: 50.
    """

    rate: int = 100
    burst: int = 200
    outcome_rate: int = 25
    outcome_burst: int = 50


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """What a saga says of its API, and what a deployment may choose.

    Args:
        path: where the inputs are, such as ``/bookings``.
        start: the name of the function that starts a saga.
        outcome: the name of the function that reads an outcome.
        cancel: the name of the function that cancels a saga.
        handler: the path of the functions in the asset, with ``{}`` for the name.
        jwt: accepts the tokens of an issuer. Default: none, requests are signed with IAM credentials.
        throttling: the limits of requests. Default: those of Throttling.
    """

    path: str
    start: str
    outcome: str
    cancel: str
    handler: str
    jwt: Jwt | None = None
    throttling: Throttling = field(default_factory=Throttling)

    @property
    def functions(self) -> tuple[str, str, str]:
        """The names of the functions."""
        return self.start, self.outcome, self.cancel


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A status of a row that ends a saga, and the event that reports it.

    Args:
        entity: the sort key of the row.
        status: the status.
        event: the name of the event, such as ``BookingConfirmed``.
        is_rollback: whether the status is that of a compensated row. A saga that could not write the row then raises
            its fence, which ends the saga as well. Default: false.
    """

    entity: str
    status: str
    event: str
    is_rollback: bool = False


@dataclass(frozen=True, kw_only=True)
class EventSettings:
    """The events that a saga publishes.

    Args:
        outcomes: the statuses that end a saga. Lambda allows five filters, of which a rollback takes one and any other
            outcome two.
        stuck_event: the name of the event that reports a stuck saga.
    """

    outcomes: Sequence[Outcome]
    stuck_event: str


class Noun(Protocol):
    """The input of a saga, of which this needs the noun only."""

    @property
    def noun(self) -> str:
        """What the input is called, such as ``booking``."""
        ...


class FirstRow(Protocol):
    """The row of the first step; ``lambdas.saga_runtime.steps.StepSpec`` is one."""

    @property
    def action(self) -> str:
        """The name of the function that performs the step."""
        ...

    @property
    def schema(self) -> Noun:
        """The input."""
        ...

    @property
    def entity(self) -> str:
        """The sort key."""
        ...

    @property
    def confirmed(self) -> str | None:
        """The last status of a saga that succeeds."""
        ...

    @property
    def compensated(self) -> str:
        """The status after the compensation."""
        ...


def events_of(first: FirstRow) -> EventSettings:
    """Return the events of a saga by the row of its first step, such as BookingConfirmed, BookingFailed, BookingStuck.

    Raises InvalidSagaError if the row is never confirmed, because it does not show then that the saga has succeeded.
    """
    if first.confirmed is None:
        raise InvalidSagaError(f"{first.action} has no status for a confirmed saga: give its StepSpec confirmed=")
    name = state_name(first.schema.noun)
    return EventSettings(
        outcomes=(
            Outcome(entity=first.entity, status=first.confirmed, event=f"{name}Confirmed"),
            Outcome(entity=first.entity, status=first.compensated, event=f"{name}Failed", is_rollback=True),
        ),
        stuck_event=f"{name}Stuck",
    )


def require_first_step(steps: Sequence[StepOrGroup]) -> None:
    """Raise InvalidSagaError if a saga with edges begins with several steps at once: none of their rows says it all."""
    if isinstance(steps[0], Parallel):
        raise InvalidSagaError(
            f"the saga begins with the parallel group {steps[0].name}: its API and its events follow the row of its "
            "first step; put a single step before the group"
        )
