"""Every fault at every task, and a fixed sample of pairs of faults: nothing is ever half done.

``make chaos`` runs every pair.
"""

import random

import pytest

from local.demo import EXPECTED, scenario
from tests.saga.faults import pairs, singles
from tests.saga.interpreter import Interpreter
from tests.saga.trial import fresh, trial

PAIRS_IN_THE_SAMPLE = 240


@pytest.mark.parametrize("name", EXPECTED)
def test_no_single_fault_leaves_anything_half_done(machine: Interpreter, name: str) -> None:
    for faults in singles(machine.shape.tasks):
        _, problems = trial(machine, fresh(scenario(name)), faults)
        assert not problems, (name, faults, problems)


@pytest.mark.parametrize("part", range(4))
def test_no_pair_of_faults_of_a_fixed_sample_leaves_anything_half_done(machine: Interpreter, part: int) -> None:
    every = [(name, faults) for faults in pairs(machine.shape.tasks) for name in EXPECTED]
    sample = random.Random(20_260_101).sample(every, PAIRS_IN_THE_SAMPLE)
    for name, faults in sample[part::4]:
        _, problems = trial(machine, fresh(scenario(name)), faults)
        assert not problems, (name, faults, problems)
