"""What a list of steps must be to make a saga, and what is said of one that is none."""

import sys
from collections.abc import Callable

import pytest
from aws_cdk import App, Stack
from constructs import Construct

from saga_stack.app import synthesize
from saga_stack.settings import STAGES, RetryPolicy, Settings
from saga_stack.stack import SagaStack
from saga_stack.steps import InvalidSagaError, Parallel, Part, Pivot, Retriable, Step, require_saga
from tests.fixtures import definition_in, synthesized
from tests.shape import shape_of

BOOK = Step(action="book_room", compensation="cancel_room")
RENT = Step(action="rent_car", compensation="return_car")
PAY = Pivot(action="take_payment", resolution="resolve_payment")
TELL = Retriable(action="tell_customer")


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((), "a saga without steps: list at least one"),
        ((BOOK, BOOK), "book_room is there twice"),
        ((BOOK, Step(action="rent_car", compensation="cancel_room")), "cancel_room is there twice"),
        ((BOOK, Step(action="rent_car", compensation="Book_Room")), "Book_Room is there twice"),
        ((Parallel(name="book_room", steps=(BOOK, RENT)),), "book_room is there twice"),
        ((Parallel(name="trip", steps=(BOOK,)), Retriable(action="undo_trip")), "undo_trip is there twice"),
        ((PAY, BOOK), "book_room comes after the pivot take_payment, from where nothing is undone"),
        ((PAY, Parallel(name="trip", steps=(BOOK, RENT))), "book_room comes after the pivot take_payment"),
        ((TELL, BOOK), "book_room comes after the retriable step tell_customer"),
        ((PAY, Pivot(action="pay_more", resolution="look")), "pay_more comes after the pivot take_payment"),
        ((BOOK, Parallel(name="trip", steps=())), "the parallel group trip has no steps"),
        ((Parallel(name="trip", steps=(BOOK, TELL)),), "tell_customer in the parallel group trip is a Retriable"),  # type: ignore[arg-type]  # mypy refuses it too
        ((Parallel(name="trip", steps=(BOOK, PAY)),), "take_payment in the parallel group trip is a Pivot"),  # type: ignore[arg-type]  # mypy refuses it too
        (
            (Parallel(name="trip", steps=(Parallel(name="inner", steps=(BOOK,)),)),),  # type: ignore[arg-type]  # mypy refuses it too
            "inner in the parallel group trip is a Parallel",
        ),
    ],
)
def test_a_list_that_is_no_saga_is_refused_by_the_name_of_the_step(steps: tuple[Part, ...], says: str) -> None:
    with pytest.raises(InvalidSagaError, match=says):
        require_saga(steps)


@pytest.mark.parametrize(
    "steps",
    [
        (BOOK,),
        (PAY,),
        (BOOK, PAY),
        (BOOK, TELL),
        (Parallel(name="trip", steps=(BOOK, RENT)), PAY, TELL),
        (BOOK, Parallel(name="trip", steps=(RENT,)), Parallel(name="after", steps=(TELL,))),
    ],
)
def test_compensatable_steps_then_a_pivot_then_retriable_ones_are_a_saga(steps: tuple[Part, ...]) -> None:
    require_saga(steps)


def stack_of(*steps: Part, failed: str = "AnyFailed") -> Callable[..., Stack]:
    class AnyStack(SagaStack):
        def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
            super().__init__(
                scope,
                id_,
                settings=settings,
                description="any",
                steps=steps,
                state_machine="Any",
                partition_key="any_id",
                failed=failed,
            )

    return AnyStack


def test_a_task_that_could_time_out_before_its_function_is_refused_by_its_name() -> None:
    slow = Step(action="book_room", compensation="cancel_room", function_timeout=40)
    with pytest.raises(InvalidSagaError, match="the task timeout of cancel_room is 30 s, its function's 40 s"):
        synthesized("dev", stack_of(slow))


def test_a_saga_that_is_rolled_back_ends_with_an_error_that_no_function_has() -> None:
    with pytest.raises(InvalidSagaError, match="OrderConflict is the name of an exception"):
        synthesized("dev", stack_of(BOOK, failed="OrderConflict"))


def test_a_program_says_in_one_line_what_is_wrong_with_the_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        synthesize(stack_of(PAY, BOOK), "Any")
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: book_room comes after the pivot take_payment, from where nothing is undone: "
        "make it Retriable or put it before\n"
    )


def test_an_unknown_stage_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[synthesize.__module__], "App", lambda: App(context={"stage": "none"}))
    with pytest.raises(SystemExit):
        synthesize(stack_of(BOOK), "Any")
    assert capsys.readouterr().err == "error: unknown stage 'none': use -c stage=NAME with one of dev, prod\n"


def test_a_step_may_have_timeouts_and_retries_of_its_own() -> None:
    patient = RetryPolicy(interval=2, backoff_rate=3, max_delay=20, max_attempts=7)
    slow = Step(action="book_room", compensation="cancel_room", function_timeout=40, task_timeout=50, retry=patient)
    template = synthesized("dev", stack_of(slow, RENT))
    states = definition_in(template)["States"]
    assert [states[name]["TimeoutSeconds"] for name in ("BookRoom", "CancelRoom", "RentCar")] == [50, 50, 30]
    retries = [states[name]["Retry"][1]["MaxAttempts"] for name in ("BookRoom", "CancelRoom", "RentCar")]
    assert retries == [7, STAGES["dev"].compensation_retry.max_attempts, STAGES["dev"].action_retry.max_attempts]
    functions = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Function"]
    timeouts = {function["FunctionName"]: function["Timeout"] for function in functions}
    assert (timeouts["OrderSaga-dev-book_room"], timeouts["OrderSaga-dev-rent_car"]) == (40, 10)


def test_steps_before_and_after_a_group_are_undone_in_reverse_with_the_group_between_them() -> None:
    group = Parallel(name="at_once", steps=(RENT, Step(action="book_seat", compensation="free_seat")))
    steps = (BOOK, group, Step(action="insure", compensation="cancel_insurance"), PAY, TELL)
    shape = shape_of(synthesized("dev", stack_of(*steps)))
    assert shape.complete == {
        ("BookRoom", "AtOnce", "AtOnceComplete", "Insure", "TakePayment", "TellCustomer", "Completed"),
        (
            *("BookRoom", "AtOnce", "AtOnceComplete", "Insure", "TakePayment", "ResolvePayment"),
            *("TakePaymentCommitted", "TellCustomer", "Completed"),
        ),
    }
    following = {name: body.get("Next") for name, body in shape.definition["States"].items()}
    assert following["CancelInsurance"] == "UndoAtOnce"
    assert following["UndoAtOnce"] == "CancelRoom"
    assert following["CancelRoom"] == "AnyFailed"
    assert shape.definition["States"]["TakePaymentCommitted"]["Default"] == "CancelInsurance"


def test_a_saga_that_ends_with_a_group_answers_with_what_its_first_step_answered() -> None:
    group = Parallel(name="at_once", steps=(BOOK, RENT))
    states = definition_in(synthesized("dev", stack_of(group)))["States"]
    assert states["Completed"]["OutputPath"] == "$.members.BookRoom.answer"
