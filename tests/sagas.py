"""The sagas that the same tests run on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aws_cdk import Stack

from examples.ticket_sale.app import TicketSagaStack
from examples.ticket_sale.demo import EXAMPLE as TICKETS
from examples.trip_booking.app import TripSagaStack
from examples.trip_booking.demo import EXAMPLE as TRIPS
from local.demo import ORDER_SAGA, Example
from saga_stack.stack import OrderSagaStack
from tests.fixtures import synthesized
from tests.shape import Shape, shape_of


@dataclass(frozen=True, kw_only=True)
class Saga:
    """A saga by its stack, and the orders that it is tried with, by the names of their scenarios."""

    name: str
    stack: Callable[..., Stack]
    example: Example

    def template(self, stage: str = "dev") -> Mapping[str, Any]:
        """The template as synthesized."""
        return synthesized(stage, self.stack, self.example.stack)

    def shape(self) -> Shape:
        """The shape of the stage dev."""
        return shape_of(self.template())


SAGAS = {
    saga.name: saga
    for saga in (
        Saga(name="order", stack=OrderSagaStack, example=ORDER_SAGA),
        Saga(name="trip", stack=TripSagaStack, example=TRIPS),
        Saga(name="ticket", stack=TicketSagaStack, example=TICKETS),
    )
}
# What takes the fixture `saga`, or one that is made of it, runs on the order saga alone, unless it says so.
each_saga = pytest.mark.parametrize("saga", SAGAS, indirect=True)
SCENARIOS = [(saga.name, scenario) for saga in SAGAS.values() for scenario in saga.example.expected]
FAILING = [
    (saga.name, scenario)
    for saga in SAGAS.values()
    for scenario, expected in saga.example.expected.items()
    if expected.status == "FAILED"
]
