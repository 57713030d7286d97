"""The sagas that the same tests run on."""

import functools
import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import Stack

from local.demo import Demo
from local.order_demo import ORDER_DEMO
from local.sagas import demo_in, example, example_names
from saga_stack.construct.stack import FolderSagaStack
from saga_stack.order_saga import OrderSagaStack
from tests.fixtures import synthesized
from tests.shape import Shape, shape_of


@dataclass(frozen=True, kw_only=True, eq=False)
class SagaUnderTest:
    """A saga by its stack, and the scenarios that it is tried with."""

    name: str
    stack: Callable[..., Stack]
    demo: Demo

    def template(self, stage: str = "dev") -> Mapping[str, Any]:
        """Return the synthesized template."""
        return synthesized(stage, self.stack, self.demo.stack)

    def shape(self) -> Shape:
        """Return the shape of the stage dev."""
        return _shape(self)


@functools.cache
def _shape(saga: SagaUnderTest) -> Shape:
    return shape_of(saga.template())


def _example(name: str) -> SagaUnderTest:
    saga, demo = example(name)
    return SagaUnderTest(name=name, stack=functools.partial(FolderSagaStack, saga=saga), demo=demo)


def saga_in(folder: Path) -> SagaUnderTest:
    """Import the saga of any folder. Raises LocalError."""
    demo = demo_in(folder)
    saga = importlib.import_module(demo.module).SAGA
    return SagaUnderTest(name=saga.folder.name, stack=functools.partial(FolderSagaStack, saga=saga), demo=demo)


def require_different_stacks(sagas: Mapping[str, SagaUnderTest]) -> None:
    """Raise ValueError if two sagas have the same stack. Synthesis finds this among the folders of one folder only."""
    owners: dict[str, str] = {}
    for name, saga in sagas.items():
        stack = saga.demo.stack
        if owner := owners.get(stack):
            raise ValueError(f"{owner} and {name} have the same stack {stack}: rename one of their folders")
        owners[stack] = name


# The order saga, every one that has a folder in examples/, and the one in the folder that SAGA_UNDER_TEST names.
SAGAS = {
    "order": SagaUnderTest(name="order", stack=OrderSagaStack, demo=ORDER_DEMO),
    **{name: _example(name) for name in example_names()},
}
if path := os.environ.get("SAGA_UNDER_TEST"):
    SAGAS |= {saga.name: saga for saga in [saga_in(Path(path))]}
require_different_stacks(SAGAS)
# The fixture `saga`, and those made of it, run a test on the order saga alone unless the test asks for others.
each_saga = pytest.mark.parametrize("saga", SAGAS, indirect=True)
SCENARIOS = [(saga.name, scenario) for saga in SAGAS.values() for scenario in saga.demo.scenarios]
FAILING = [
    (saga.name, name) for saga in SAGAS.values() for name, scenario in saga.demo.scenarios.items() if scenario.fails
]
