"""Every fault at every task, and a fixed sample of pairs of faults: no saga is left half done.

``make chaos`` runs every pair.
"""

import random
from dataclasses import dataclass

import pytest

from tests.saga.faults import Fault, in_flight, pairs, singles
from tests.saga.interpreter import Interpreter
from tests.saga.trial import fresh, padded, trial
from tests.sagas import SCENARIOS, SagaUnderTest, each_saga


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How many pairs of faults a saga is tried with, and that it has every n-th fault in its other scenarios."""

    pairs: int
    every: int


def sample_of(saga: SagaUnderTest) -> Sample:
    """Return the sample of a saga.

    The other sagas add little to the order saga, and a trial with a provider is slow. `make chaos` runs all of them.
    """
    if saga.name == "order":
        return Sample(pairs=240, every=1)
    return Sample(pairs=24, every=6) if saga.demo.amount else Sample(pairs=40, every=3)


@pytest.mark.parametrize(("saga", "name"), SCENARIOS, indirect=["saga"])
def test_no_single_fault_leaves_a_saga_half_done(saga: SagaUnderTest, machine: Interpreter, name: str) -> None:
    step = 1 if name == "1-success" else sample_of(saga).every
    for number, faults in enumerate(singles(machine.shape)[::step]):
        input_ = fresh(saga.demo.input(name), machine.shape.key)
        _, problems = trial(machine, input_, faults, backwards=bool(number % 2))
        assert not problems, (name, faults, problems)


@each_saga
@pytest.mark.parametrize("part", range(4))
def test_no_pair_of_faults_of_a_fixed_sample_leaves_a_saga_half_done(
    saga: SagaUnderTest, machine: Interpreter, part: int
) -> None:
    every = [(name, faults) for faults in pairs(machine.shape) for name in saga.demo.scenarios]
    sample = random.Random(20_260_101).sample(every, sample_of(saga).pairs)
    for number, (name, faults) in enumerate(sample[part::4]):
        input_ = fresh(saga.demo.input(name), machine.shape.key)
        _, problems = trial(machine, input_, faults, backwards=bool(number % 2))
        assert not problems, (name, faults, problems)


@each_saga
def test_no_fault_leaves_a_saga_of_the_largest_input_half_done(saga: SagaUnderTest, machine: Interpreter) -> None:
    """Neither such an input with the longest cause, nor a second attempt after it, exceeds a limit of AWS."""
    for task in machine.shape.tasks:
        for fault in (Fault.LONG_CAUSE, Fault.LATE):
            input_ = fresh(padded(saga.demo.input("1-success"), saga.demo.schema), machine.shape.key)
            for _ in range(2):
                _, problems = trial(machine, input_, {task: (fault,)})
                assert not problems, (task, fault, problems)


@each_saga
def test_a_step_of_a_group_that_fails_while_another_one_is_in_flight_leaves_nothing_half_done(
    saga: SagaUnderTest, machine: Interpreter
) -> None:
    """The other one writes right after its compensation."""
    for group, faults in in_flight(machine.shape):
        for backwards in (False, True):
            input_ = fresh(saga.demo.input("1-success"), machine.shape.key)
            execution, problems = trial(machine, input_, faults, backwards=backwards)
            assert not problems, (faults, problems)
            assert machine.shape.path(execution.states) == machine.shape.rolled_back_from(group.tasks[0][0])
