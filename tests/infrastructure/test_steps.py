"""Lists of steps: which form a saga, what their state machines look like, and the messages about all others."""

import sys
from collections.abc import Callable

import pytest
from aws_cdk import App, Stack
from constructs import Construct

from saga_stack.construct.app import synthesize
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import STAGES, Stage
from saga_stack.construct.steps import (
    InvalidSagaError,
    Parallel,
    Pivot,
    Retriable,
    RetryPolicy,
    Step,
    StepOrGroup,
    fallible_actions,
    require_saga,
)
from tests.fixtures import definition_in, synthesized
from tests.infrastructure.templates import functions
from tests.shape import shape_of

BOOK = Step(action="book_room", compensation="cancel_room")
RENT = Step(action="rent_car", compensation="return_car")
PAY = Pivot(action="take_payment", resolution="resolve_payment")
NOTIFY = Retriable(action="notify_customer")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((), "a saga needs at least one step"),
        ((BOOK, BOOK), "two states are named BookRoom: give every function and every group a name of its own"),
        ((BOOK, Step(action="rent_car", compensation="cancel_room")), "two states are named CancelRoom"),
        ((BOOK, Step(action="rent_car", compensation="Book_Room")), "two states are named BookRoom"),
        ((Parallel(name="book_room", steps=(BOOK, RENT)),), "two states are named BookRoom"),
        ((Parallel(name="trip", steps=(BOOK,)), Retriable(action="undo_trip")), "two states are named UndoTrip"),
        (
            (Parallel(name="trip", steps=(BOOK,)), Retriable(action="trip_complete")),
            "two states are named TripComplete",
        ),
        ((Parallel(name="trip", steps=(BOOK,)), Retriable(action="book_room_failed")), "are named BookRoomFailed"),
        ((PAY, Retriable(action="take_payment_committed")), "two states are named TakePaymentCommitted"),
        ((PAY, BOOK), "book_room comes after the pivot take_payment, after which nothing is compensated"),
        ((PAY, Parallel(name="trip", steps=(BOOK, RENT))), "book_room comes after the pivot take_payment"),
        ((NOTIFY, BOOK), "book_room comes after the retriable step notify_customer"),
        ((PAY, Pivot(action="pay_more", resolution="look")), "pay_more comes after the pivot take_payment"),
        ((BOOK, Parallel(name="trip", steps=())), "the parallel group trip has no steps"),
        (
            (Parallel(name="trip", steps=(BOOK, NOTIFY)),),  # type: ignore[arg-type]  # mypy rejects it too
            "notify_customer in the parallel group trip is a Retriable, book_room a Step: make two groups",
        ),
        ((Parallel(name="trip", steps=(BOOK, PAY)),), "take_payment in the parallel group trip is a Pivot"),  # type: ignore[arg-type]  # mypy rejects it too
        (
            (Parallel(name="trip", steps=(Parallel(name="inner", steps=(BOOK,)),)),),  # type: ignore[arg-type]  # mypy rejects it too
            "inner in the parallel group trip is a Parallel",
        ),
    ],
)
def test_steps_that_do_not_form_a_saga_are_rejected_with_the_name_of_the_step(
    steps: tuple[StepOrGroup, ...], message: str
) -> None:
    with pytest.raises(InvalidSagaError, match=message):
        require_saga(steps)


@pytest.mark.parametrize(
    "steps",
    [
        (BOOK,),
        (PAY,),
        (BOOK, PAY),
        (BOOK, NOTIFY),
        (Parallel(name="trip", steps=(BOOK, RENT)), PAY, NOTIFY),
        (BOOK, Parallel(name="trip", steps=(RENT,)), Parallel(name="after", steps=(NOTIFY,))),
    ],
)
def test_compensatable_steps_then_a_pivot_then_retriable_steps_form_a_saga(steps: tuple[StepOrGroup, ...]) -> None:
    require_saga(steps)


def test_a_rollback_may_follow_every_action_but_the_retriable_ones() -> None:
    steps = (Parallel(name="trip", steps=(BOOK, RENT)), PAY, NOTIFY)
    assert fallible_actions(steps) == [["book_room", "rent_car"], ["take_payment"]]


def stack_of(*steps: StepOrGroup, failed: str = "AnyFailed") -> Callable[..., Stack]:
    class AnyStack(SagaStack):
        def __init__(self, scope: Construct, id_: str, *, stage: Stage) -> None:
            super().__init__(
                scope,
                id_,
                stage=stage,
                description="any",
                steps=steps,
                state_machine="Any",
                partition_key="any_id",
                failed=failed,
            )

    return AnyStack


def test_a_task_that_could_time_out_before_its_function_is_rejected_with_its_name() -> None:
    slow = Step(action="book_room", compensation="cancel_room", function_timeout=40)
    with pytest.raises(InvalidSagaError, match="the task timeout of cancel_room is 30 s, its function's is 40 s"):
        synthesized("dev", stack_of(slow))


def test_a_fail_state_with_the_name_of_an_exception_is_rejected() -> None:
    with pytest.raises(InvalidSagaError, match="SagaConflict is the name of an exception"):
        synthesized("dev", stack_of(BOOK, failed="SagaConflict"))


def test_the_app_says_in_one_line_what_is_wrong_with_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        synthesize(stack_of(PAY, BOOK), "Any")
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: tests/infrastructure/test_steps.py: book_room comes after the pivot take_payment, "
        "after which nothing is compensated: make it Retriable or put it before\n"
    )


def test_the_app_says_in_one_line_that_a_stage_is_invalid(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[synthesize.__module__], "App", lambda: App(context={"stage": "none"}))
    with pytest.raises(SystemExit) as ended:
        synthesize(stack_of(BOOK), "Any")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: invalid stage 'none': use -c stage=NAME with dev or prod\n"


def test_a_step_may_have_timeouts_and_retries_of_its_own() -> None:
    patient = RetryPolicy(interval=2, backoff_rate=3, max_delay=20, max_attempts=7)
    slow = Step(action="book_room", compensation="cancel_room", function_timeout=40, task_timeout=50, retry=patient)
    template = synthesized("dev", stack_of(slow, RENT))
    states = definition_in(template)["States"]
    assert [states[name]["TimeoutSeconds"] for name in ("BookRoom", "CancelRoom", "RentCar")] == [50, 50, 30]
    retries = [states[name]["Retry"][1]["MaxAttempts"] for name in ("BookRoom", "CancelRoom", "RentCar")]
    assert retries == [7, STAGES["dev"].compensation_retry.max_attempts, STAGES["dev"].action_retry.max_attempts]
    found = functions(template)
    assert (found["book_room"]["Timeout"], found["rent_car"]["Timeout"]) == (40, 10)


def test_steps_before_and_after_a_group_are_compensated_in_reverse_with_the_group_between_them() -> None:
    group = Parallel(name="at_once", steps=(RENT, Step(action="book_seat", compensation="free_seat")))
    steps = (BOOK, group, Step(action="insure", compensation="cancel_insurance"), PAY, NOTIFY)
    shape = shape_of(synthesized("dev", stack_of(*steps)))
    assert shape.complete == {
        ("BookRoom", "AtOnce", "AtOnceComplete", "Insure", "TakePayment", "NotifyCustomer", "Completed"),
        (
            *("BookRoom", "AtOnce", "AtOnceComplete", "Insure", "TakePayment", "ResolvePayment"),
            *("TakePaymentCommitted", "NotifyCustomer", "Completed"),
        ),
    }
    following = {name: body.get("Next") for name, body in shape.definition["States"].items()}
    assert following["CancelInsurance"] == "UndoAtOnce"
    assert following["UndoAtOnce"] == "CancelRoom"
    assert following["CancelRoom"] == "AnyFailed"
    assert shape.definition["States"]["TakePaymentCommitted"]["Default"] == "CancelInsurance"


def test_a_saga_that_ends_with_a_group_answers_with_the_answer_of_its_first_step() -> None:
    group = Parallel(name="at_once", steps=(BOOK, RENT))
    states = definition_in(synthesized("dev", stack_of(group)))["States"]
    assert states["Completed"]["OutputPath"] == "$.members.BookRoom.answer"
