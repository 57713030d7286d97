"""The sagas that the same tests run on."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aws_cdk import Stack

from examples.ticket_sale.app import TicketSagaStack
from examples.ticket_sale.demo import DEMO as TICKET_DEMO
from examples.trip_booking.app import TripSagaStack
from examples.trip_booking.demo import DEMO as TRIP_DEMO
from local.demo import Demo
from local.order_demo import ORDER_DEMO
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


SAGAS = {
    saga.name: saga
    for saga in (
        SagaUnderTest(name="order", stack=OrderSagaStack, demo=ORDER_DEMO),
        SagaUnderTest(name="trip", stack=TripSagaStack, demo=TRIP_DEMO),
        SagaUnderTest(name="ticket", stack=TicketSagaStack, demo=TICKET_DEMO),
    )
}
# The fixture `saga`, and those made of it, run a test on the order saga alone unless the test asks for others.
each_saga = pytest.mark.parametrize("saga", SAGAS, indirect=True)
SCENARIOS = [(saga.name, scenario) for saga in SAGAS.values() for scenario in saga.demo.scenarios]
FAILING = [
    (saga.name, name) for saga in SAGAS.values() for name, scenario in saga.demo.scenarios.items() if scenario.fails
]
