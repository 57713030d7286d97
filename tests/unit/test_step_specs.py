"""The rules for the steps as their functions see them."""

import pytest

from lambdas.saga_runtime.names import state_name
from lambdas.saga_runtime.steps import RESERVED_ATTRIBUTES, Schema, StepSpec, by_entity
from lambdas.saga_runtime.validation import line

SCHEMA = Schema(noun="room", key="room_id", fields=("room_id", "guest"))
GUEST = line("guest", longest=10)


def step(action: str, entity: str) -> StepSpec:
    return StepSpec(action=action, schema=SCHEMA, entity=entity, live="BOOKED", compensated="CANCELLED")


@pytest.mark.parametrize("name", sorted({*RESERVED_ATTRIBUTES, "room_id"}))
def test_an_attribute_with_a_name_of_the_write_barrier_is_rejected(name: str) -> None:
    message = f"ROOM cannot store {name}: the write barrier uses the name"
    with pytest.raises(ValueError, match=message):
        StepSpec(
            action="book", schema=SCHEMA, entity="ROOM", live="BOOKED", compensated="CANCELLED", stores={name: GUEST}
        )


@pytest.mark.parametrize("key", ["saga_id", "entity", "step"])
def test_a_key_with_a_name_of_the_library_is_rejected(key: str) -> None:
    with pytest.raises(ValueError, match=f"the key cannot be {key}: the library uses the name"):
        Schema(noun="saga", key=key, fields=(key,))


def test_a_response_is_stored_up_to_the_limit_in_bytes_with_its_name() -> None:
    text = "é" * ((100_000 - len("note")) // 2)
    assert step("book", "ROOM").require_storable({"note": text}) == {"note": text}
    with pytest.raises(ValueError, match="ROOM cannot store 100,001 bytes of a response: at most 100,000"):
        step("book", "ROOM").require_storable({"note": f"{text}x"})


def test_steps_are_found_by_entity() -> None:
    room, meal = step("book_room", "ROOM"), step("book_meal", "MEAL")
    assert by_entity(room, meal) == {"ROOM": room, "MEAL": meal}


def test_two_steps_with_one_entity_are_rejected() -> None:
    with pytest.raises(ValueError, match="book_room and clean_room have one row, ROOM: give each its own entity"):
        by_entity(step("book_room", "ROOM"), step("clean_room", "ROOM"))


@pytest.mark.parametrize(("function", "state"), [("create_order", "CreateOrder"), ("pay", "Pay"), ("a_b_c", "ABC")])
def test_a_state_has_the_name_of_its_function(function: str, state: str) -> None:
    assert state_name(function) == state
