"""Derives how an execution must end from the steps of its saga."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lambdas.saga_runtime.names import state_name
from lambdas.saga_runtime.steps import StepSpec
from saga_stack.construct.steps import (
    Parallel,
    Pivot,
    Retriable,
    Step,
    StepOrGroup,
    committed_state,
    complete_state,
    single_steps,
    undo_state,
)


@dataclass(frozen=True, kw_only=True)
class ExpectedEnd:
    """The end of an execution by the contract.

    Args:
        status: the status of the execution.
        error: its error; None if it succeeds.
        states: its path, without the states in groups.
        statuses: the statuses of its rows by entity.
    """

    status: str
    error: str | None
    states: Sequence[str]
    statuses: Mapping[str, str]


def expected_end(
    steps: Sequence[StepOrGroup], specs: Iterable[StepSpec], *, fails: str | None, completion: str, failed: str
) -> ExpectedEnd:
    """Return how an execution ends. Raises ValueError if ``fails`` is not an action that can fail for good.

    Args:
        steps: the steps as the state machine sees them.
        specs: the same steps as their functions see them.
        fails: the action that fails for good; None if all succeed.
        completion: the last state of an execution that succeeds.
        failed: the Fail state.
    """
    if fails and fails not in {step.action for step in single_steps(steps) if not isinstance(step, Retriable)}:
        raise ValueError(f"{fails} is not an action that can fail for good: name a Step or a Pivot")
    path: list[str] = []
    rollback = [failed]
    actions: list[str] = []
    for step in steps:
        actions += [single.action for single in single_steps([step])]
        path.append(state_name(step.name if isinstance(step, Parallel) else step.action))
        match step:
            case Step():
                rollback.insert(0, state_name(step.compensation))
            case Pivot() if step.action == fails:
                path += [state_name(step.resolution), committed_state(step)]
            case Parallel() if isinstance(step.steps[0], Step):
                path.append(complete_state(step))
                rollback.insert(0, undo_state(step))
        if fails in actions:
            compensated = {spec.entity: spec.compensated for spec in specs if spec.action in actions}
            return ExpectedEnd(status="FAILED", error=failed, states=(*path, *rollback), statuses=compensated)
    complete = {spec.entity: spec.confirmed or spec.live for spec in specs}
    return ExpectedEnd(status="SUCCEEDED", error=None, states=(*path, completion), statuses=complete)
