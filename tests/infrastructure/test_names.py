"""The names that a saga cannot give to its functions, its secrets and its state machine: the stack has them already."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from aws_cdk import App, Stack
from aws_cdk.assertions import Template

from lambdas.saga_runtime.names import secret_output, state_name
from local.new_saga import LONGEST_STAGE
from saga_stack.construct.names import LIBRARY_FUNCTIONS, PARTS, require_names
from saga_stack.construct.stack import FolderSagaStack
from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import InvalidSagaError, functions_of
from saga_stack.order_saga import STEPS, OrderSagaStack, order_api
from tests.infrastructure.templates import functions
from tests.room_booking.saga import SAGA as ROOM
from tests.saga.waiting_saga import MoveSagaStack

Make: TypeAlias = Callable[[App], Stack]


def order(app: App) -> Stack:
    return OrderSagaStack(app, "OrderSaga-prod", stage=STAGES["prod"])


def room(app: App) -> Stack:
    saga = replace(ROOM, secrets={"API_KEY": ("reserve_room",)})
    return FolderSagaStack(app, "RoomSaga-prod", stage=STAGES["prod"], saga=saga)


def move(app: App) -> Stack:
    return MoveSagaStack(app, "MoveSaga-prod", stage=STAGES["prod"])


def synthesized(make: Make) -> tuple[App, Stack, dict[str, Any]]:
    """Return the app, the stack with all that its stage and its context add, and its template."""
    app = App(analytics_reporting=True, context={"aws:cdk:bundling-stacks": [], "api": "true"})
    stack = make(app)
    return app, stack, dict(Template.from_stack(stack).to_json())


def test_the_reserved_ids_are_those_of_the_parts_of_all_stacks() -> None:
    found = {child.node.id for make in (order, room, move) for child in synthesized(make)[1].node.children}
    own = {
        "OrderFulfilment",
        "ConfirmOrder",
        ROOM.state_machine,
        "Move",
        state_name("API_KEY"),
        secret_output("API_KEY"),
    }
    assert found - own == PARTS


def test_the_reserved_functions_are_those_that_the_library_adds() -> None:
    app, _, template = synthesized(order)
    api = order_api(app)
    assert api
    own = {name for step in STEPS for name in functions_of(step)} | {api.start, api.outcome, api.cancel}
    assert functions(template).keys() - own == set(LIBRARY_FUNCTIONS)


def test_a_new_saga_fits_into_every_stage() -> None:
    assert max(map(len, STAGES)) == len(LONGEST_STAGE)


@pytest.mark.parametrize(
    ("state_machine", "function", "others", "is_valid"),
    [
        ("Sale", "f" * 54, (), True),
        ("Sale", "f" * 55, (), False),
        ("S" * 70, "f", (), True),
        ("S" * 71, "f", (), False),
        ("Sale", "f", ("g",), True),
        ("Sale", "f", ("f",), False),
        ("Sale", "f", ("g" * 55,), False),
    ],
)
def test_names_must_differ_and_fit(
    state_machine: str, function: str, others: tuple[str, ...], *, is_valid: bool
) -> None:
    def check() -> None:
        require_names("Stack-dev", state_machine=state_machine, functions=(function,), others=others)

    if is_valid:
        check()
    else:
        with pytest.raises(InvalidSagaError, match=r"choose a(nother| shorter) name$"):
            check()
