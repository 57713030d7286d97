"""A step that waits for an answer: its writes and the requests to its task, in whatever order they happen."""

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackOutcomeFailure, CallbackOutcomeSuccess

from lambdas.saga_runtime import barrier, callbacks
from lambdas.saga_runtime.barrier import Row, SagaIdentity
from lambdas.saga_runtime.callbacks import receiver
from lambdas.saga_runtime.errors import AnswerTooEarly, InvalidInput, SagaConflict, StepCompensated, StepRejected
from lambdas.saga_runtime.handlers import action, compensation
from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.own_table import OWN_TABLE
from lambdas.saga_runtime.provider_calls import ProviderRequest, idempotency_key
from lambdas.saga_runtime.steps import Attributes
from ops.invariants import ExpectedRow, owned_rows
from tests.fixtures import create_table, local_aws, store_item, stored_item
from tests.parcels import PARCEL, STEPS, cancel_pickup, request_pickup
from tests.tasks import Tasks

PICKUP = STEPS["PICKUP"]
NOW, LATER = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"
DETAILS = {"driver": "Ada"}
receive = receiver(PICKUP)
FIRST = "token-1"


@pytest.fixture(autouse=True)
def _parcels() -> Iterator[None]:
    with local_aws():
        create_table("parcel_id")
        yield


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> Tasks:
    tasks = Tasks()
    monkeypatch.setattr(callbacks, "_client", lambda: tasks)
    return tasks


def by_saga(saga_id: str, at: str, token: str | None = None) -> Mapping[str, object]:
    return {"saga": {"id": saga_id, "started_at": at}, "input": PARCEL, **({"task_token": token} if token else {})}


def request(tasks: Tasks, token: str | None = FIRST, saga_id: str = "s", at: str = NOW) -> Any:
    if token is not None:
        tasks.open(token)
    return request_pickup(by_saga(saga_id, at, token), None)


def cancel(saga_id: str = "s", at: str = NOW) -> Any:
    return cancel_pickup(by_saga(saga_id, at), None)


def request_id(saga_id: str = "s", at: str = NOW) -> str:
    saga = SagaIdentity(id=saga_id, started_at=at)
    return idempotency_key(Row(step=PICKUP, key=("parcel_id", "1"), saga=saga, table=OWN_TABLE))


def answer(result: str = "accepted", saga_id: str = "s", at: str = NOW, **fields: object) -> dict[str, str]:
    common = {"parcel_id": "1", "step": "request_pickup", "request": request_id(saga_id, at), "result": result}
    extras: Mapping[str, Mapping[str, object]] = {"accepted": {"details": DETAILS}, "rejected": {"reason": "no van"}}
    return receive({**common, **extras.get(result, {}), **fields})


def row() -> dict[str, Any]:
    return stored_item("1", "PICKUP") or {}


def history() -> list[str]:
    return [entry["M"]["status"]["S"] for entry in row()["history"]["L"]]


def test_the_row_is_in_progress_with_its_token_and_its_request(tasks: Tasks) -> None:
    assert request(tasks) == {"parcel_id": "1", "status": "REQUESTED"}
    stored = row()
    assert (stored["status"], stored["task_token"]) == ({"S": "REQUESTED"}, {"S": "token-1"})
    assert stored["idempotency_key"] == {"S": request_id()}
    assert not tasks.outcomes


def test_an_answer_makes_the_row_live_and_then_completes_the_task(tasks: Tasks) -> None:
    request(tasks)
    assert answer() == {"parcel_id": "1", "step": "request_pickup", "status": "ACCEPTED"}
    assert (row()["driver"], history()) == ({"S": "Ada"}, ["REQUESTED", "ACCEPTED"])
    outcome = tasks.outcomes["token-1"]
    assert isinstance(outcome, CallbackOutcomeSuccess)
    assert json.loads(outcome.output) == {"parcel_id": "1", "status": "ACCEPTED"}


def test_a_rejection_is_stored_and_fails_the_task_with_a_business_error(tasks: Tasks) -> None:
    request(tasks)
    assert answer("rejected")["status"] == "DECLINED"
    assert (row()["rejection"], history()) == ({"S": "no van"}, ["REQUESTED", "DECLINED"])
    outcome = tasks.outcomes["token-1"]
    assert isinstance(outcome, CallbackOutcomeFailure)
    assert (outcome.error, json.loads(outcome.cause or "")) == (
        "StepRejected",
        {"errorMessage": "PICKUP was rejected: no van"},
    )
    assert cancel()["status"] == "CANCELLED"


def test_what_a_sender_logs_of_an_invalid_answer_has_no_keys_of_an_earlier_one(
    tasks: Tasks, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger.registered_handler, "stream", sys.stdout)
    request(tasks)
    answer()
    with pytest.raises(InvalidInput):
        answer(step="other")
    logger.warning("rejected")
    answered, rejected = (json.loads(line) for line in capsys.readouterr().out.splitlines()[-2:])
    assert (answered["parcel_id"], answered["saga_id"], answered["step"]) == ("1", "s", "RequestPickup")
    assert {"parcel_id", "saga_id", "step"}.isdisjoint(rejected)


@pytest.mark.parametrize("result", ["accepted", "rejected"])
def test_a_repeated_answer_changes_nothing(tasks: Tasks, result: str) -> None:
    request(tasks)
    first = answer(result)
    stored, outcome = row(), tasks.outcomes["token-1"]
    assert answer(result) == first
    assert (row(), tasks.outcomes) == (stored, {"token-1": outcome})


@pytest.mark.parametrize(("first", "second"), [("accepted", "rejected"), ("rejected", "accepted")])
def test_the_first_of_two_different_answers_counts(tasks: Tasks, first: str, second: str) -> None:
    request(tasks)
    answer(first)
    stored = row()
    with pytest.raises(SagaConflict, match="by an earlier answer: the first one counts"):
        answer(second)
    assert row() == stored


@pytest.mark.parametrize("result", ["accepted", "rejected", "working"])
@pytest.mark.parametrize("requested", [True, False])
def test_an_answer_after_the_compensation_is_rejected_and_changes_nothing(
    tasks: Tasks, result: str, requested: object
) -> None:
    if requested:
        request(tasks)
    cancel()
    stored = row()
    with pytest.raises(StepCompensated):
        answer(result)
    assert row() == stored
    assert not tasks.outcomes


def test_an_answer_before_the_row_is_written_is_to_be_sent_again(tasks: Tasks) -> None:
    with pytest.raises(AnswerTooEarly):
        answer()
    assert not row()
    request(tasks)
    assert answer()["status"] == "ACCEPTED"


def test_an_answer_before_a_second_attempt_is_written_is_to_be_sent_again(tasks: Tasks) -> None:
    request(tasks)
    cancel()
    with pytest.raises(AnswerTooEarly):
        answer(saga_id="second", at=LATER)
    request(tasks, "token-2", "second", LATER)
    assert answer(saga_id="second", at=LATER)["status"] == "ACCEPTED"


def test_an_answer_after_a_second_attempt_was_compensated_too_is_late(tasks: Tasks) -> None:
    """Its sender must not send it again for ever, as it does with an early one."""
    request(tasks)
    cancel()
    request(tasks, "token-2", "second", LATER)
    cancel("second", LATER)
    with pytest.raises(StepCompensated):
        answer()
    with pytest.raises(StepCompensated):
        answer(saga_id="second", at=LATER)


def test_an_answer_for_another_saga_is_rejected_and_changes_nothing(tasks: Tasks) -> None:
    request(tasks)
    cancel()
    request(tasks, "token-2", "second", LATER)
    stored = row()
    for result in ("accepted", "rejected", "working"):
        with pytest.raises(SagaConflict, match="the answer is for another saga"):
            answer(result)
    assert row() == stored
    assert not tasks.outcomes


@pytest.mark.parametrize(("result", "left"), [("accepted", "driver"), ("rejected", "rejection")])
def test_a_later_saga_keeps_neither_the_answer_to_an_earlier_one_nor_its_tokens(
    tasks: Tasks, result: str, left: str
) -> None:
    request(tasks)
    request(tasks, "token-2")
    answer(result)
    cancel()
    assert {left, "task_token", "previous_task_token"} <= row().keys()
    request(tasks, token=None, saga_id="second", at=LATER)
    assert not {left, "task_token", "previous_task_token"} & row().keys()


def test_a_redrive_replaces_the_token_and_the_answer_completes_the_new_task(tasks: Tasks) -> None:
    request(tasks)
    tasks.close("token-1")
    request(tasks, "token-2")
    assert (row()["task_token"], history()) == ({"S": "token-2"}, ["REQUESTED"])
    assert answer()["status"] == "ACCEPTED"
    assert set(tasks.outcomes) == {"token-2"}


def test_a_late_delivery_of_an_earlier_attempt_does_not_lose_the_task_that_waits(tasks: Tasks) -> None:
    request(tasks)
    tasks.close("token-1")
    request(tasks, "token-2")
    request_pickup(by_saga("s", NOW, "token-1"), None)
    assert answer("working")["status"] == "REQUESTED"
    assert tasks.heartbeats == ["token-2"]
    answer()
    assert set(tasks.outcomes) == {"token-2"}


def test_a_repeated_write_of_a_token_does_not_lose_the_task_that_waits(tasks: Tasks) -> None:
    """The client repeats a write whose response was lost, and Lambda delivers an earlier attempt late, or twice."""
    for token in ("token-1", "token-2", "token-3"):
        request(tasks, token)
    tasks.close("token-1")
    tasks.close("token-2")
    for late in ("token-2", "token-1", "token-1"):
        request_pickup(by_saga("s", NOW, late), None)
    answer()
    assert set(tasks.outcomes) == {"token-3"}


def test_a_call_without_a_token_loses_none(tasks: Tasks) -> None:
    """An operator settles a saga by such a call."""
    request(tasks, "token-1")
    request(tasks, "token-2")
    stored = row()
    request(tasks, token=None)
    assert row() == stored


def test_a_token_that_follows_a_direct_call_is_kept(tasks: Tasks) -> None:
    request(tasks, token=None)
    request(tasks, "token-2")
    answer()
    assert set(tasks.outcomes) == {"token-2"}


def test_an_answer_to_a_task_that_has_ended_counts_and_the_redriven_action_completes_by_itself(tasks: Tasks) -> None:
    request(tasks)
    tasks.close("token-1")
    assert answer()["status"] == "ACCEPTED"
    assert not tasks.outcomes
    assert request(tasks, "token-2") == {"parcel_id": "1", "status": "ACCEPTED"}
    assert set(tasks.outcomes) == {"token-2"}
    assert history() == ["REQUESTED", "ACCEPTED"]


def test_an_action_that_is_retried_after_a_rejection_fails_with_it(tasks: Tasks) -> None:
    request(tasks)
    tasks.close("token-1")
    answer("rejected")
    with pytest.raises(StepRejected, match="an answer rejected PICKUP"):
        request(tasks, "token-2")


@pytest.mark.parametrize("result", ["accepted", "rejected"])
def test_after_a_crash_between_the_write_and_the_task_the_repeated_answer_ends_the_task(
    tasks: Tasks, result: str
) -> None:
    request(tasks)
    tasks.fails_next = True
    with pytest.raises(ConnectionError):
        answer(result)
    stored = row()
    answer(result)
    assert set(tasks.outcomes) == {"token-1"}
    assert row() == stored


def test_an_action_whose_token_comes_between_the_write_and_the_task_completes_by_itself(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    request(tasks)
    tasks.close("token-1")
    write = barrier.answer

    def write_then_redrive(*arguments: Any) -> None:
        write(*arguments)
        request(tasks, "token-2")

    monkeypatch.setattr(barrier, "answer", write_then_redrive)
    answer()
    assert set(tasks.outcomes) == {"token-2"}


def test_an_answer_that_comes_while_the_token_is_replaced_completes_the_new_task(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    request(tasks)
    tasks.close("token-1")
    claim = barrier._claim

    def claim_then_answer(*arguments: Any) -> Any:
        claimed = claim(*arguments)
        answer()
        return claimed

    monkeypatch.setattr(barrier, "_claim", claim_then_answer)
    assert request(tasks, "token-2")["status"] == "ACCEPTED"
    assert set(tasks.outcomes) == {"token-2"}


def test_a_late_action_does_not_replace_the_token_of_a_compensated_row(tasks: Tasks) -> None:
    request(tasks)
    cancel()
    stored = row()
    with pytest.raises(StepCompensated):
        request(tasks, "token-2")
    assert row() == stored


def test_a_sign_of_life_renews_the_heartbeat_and_changes_no_row(tasks: Tasks) -> None:
    request(tasks)
    stored = row()
    assert answer("working")["status"] == "REQUESTED"
    assert (tasks.heartbeats, row()) == (["token-1"], stored)
    answer()
    assert answer("working")["status"] == "ACCEPTED"
    assert tasks.heartbeats == ["token-1"]


def test_an_answer_to_a_direct_call_changes_the_row_alone(tasks: Tasks) -> None:
    request(tasks, token=None)
    assert "task_token" not in row()
    assert answer()["status"] == "ACCEPTED"
    assert not tasks.outcomes


VALID = {"parcel_id": "1", "step": "request_pickup", "request": "r", "result": "accepted", "details": DETAILS}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the answer is null: expected an object"),
        ([], "the answer is a list"),
        ({**VALID, "step": "print_label"}, "step is not one that waits: expected request_pickup"),
        ({**VALID, "step": ["x"]}, "step is not one that waits"),
        ({**VALID, "parcel_id": None}, "parcel_id is null"),
        ({**VALID, "parcel_id": "x" * 129}, "parcel_id is 129 characters long"),
        ({**VALID, "request": 1}, "request is a number"),
        ({**VALID, "request": "x" * 37}, "request is 37 characters long"),
        ({**VALID, "result": "perhaps"}, "result is not possible for request_pickup: expected accepted or rejected or"),
        ({**VALID, "result": "rejected"}, "reason is missing"),
        ({**VALID, "details": []}, "details is a list: expected an object"),
        ({**VALID, "task_token": "t"}, "1 unknown fields: expected parcel_id, step, request, result, reason, details"),
        ({**VALID, "details": {"x": "x" * 50_000}}, "the answer has 50,... bytes: expected at most 50,000"),
    ],
)
def test_an_invalid_answer_is_rejected(tasks: Tasks, value: object, message: str) -> None:
    request(tasks)
    stored = row()
    with pytest.raises(InvalidInput, match=message):
        receive(value)
    assert row() == stored


@pytest.mark.parametrize(("details", "message"), [({}, "driver is missing"), ({"driver": 5}, "driver is a number")])
def test_an_acceptance_with_invalid_details_changes_nothing(
    tasks: Tasks, details: dict[str, object], message: str
) -> None:
    request(tasks)
    stored = row()
    with pytest.raises(InvalidInput, match=message):
        answer(details=details)
    assert (row(), tasks.outcomes) == (stored, {})


def test_a_request_with_characters_outside_ascii_is_another_saga_s(tasks: Tasks) -> None:
    request(tasks)
    with pytest.raises(SagaConflict):
        answer(request="é")


def test_the_work_of_a_step_without_the_status_rejected_cannot_be_rejected(tasks: Tasks) -> None:
    request(tasks)
    with pytest.raises(InvalidInput, match="expected accepted or working"):
        receiver(replace(PICKUP, rejected=None))({**VALID, "result": "rejected", "reason": "no van"})


def test_a_step_without_the_status_in_progress_cannot_wait() -> None:
    with pytest.raises(ValueError, match="GOODS needs the status `in_progress`"):
        receiver(STEPS["GOODS"])
    with pytest.raises(ValueError, match="a step that only waits needs `in_progress`"):
        action(STEPS["GOODS"], has_callback=True)
    with pytest.raises(ValueError, match="a step that only waits needs `in_progress`"):
        action(PICKUP)


def test_a_rejected_row_has_a_status_of_its_own() -> None:
    with pytest.raises(ValueError, match="request_pickup has equal statuses"):
        replace(PICKUP, rejected="CANCELLED")


def test_a_rejected_row_that_is_not_compensated_is_reported() -> None:
    rows = {PICKUP.entity: {"status": PICKUP.rejected, "saga_id": "s"}}
    assert owned_rows([ExpectedRow.of(PICKUP)], "s", rows) == [PICKUP.entity]


# A step that waits for a provider that it has called.

BOOKING = replace(PICKUP, compensating="CANCELLING")


def test_the_work_is_started_after_the_row_is_written_and_again_with_the_same_key_after_a_redrive(tasks: Tasks) -> None:
    started = []

    def start(request: ProviderRequest) -> Attributes:
        started.append((request.key, row()["task_token"]["S"]))
        return {"reference": "R-7"}

    book = action(BOOKING, call=start, has_callback=True)
    for token in ("token-1", "token-2"):
        tasks.open(token)
        book(by_saga("s", NOW, token), None)
    assert started == [(request_id(), "token-1"), (request_id(), "token-2")]
    assert (row()["action_response"], history()) == ({"M": {"reference": {"S": "R-7"}}}, ["REQUESTED"])


def test_an_answer_that_comes_during_the_call_keeps_what_the_provider_returned(tasks: Tasks) -> None:
    def start(_request: ProviderRequest) -> Attributes:
        answer()
        return {"reference": "R-7"}

    tasks.open("token-1")
    action(BOOKING, call=start, has_callback=True)(by_saga("s", NOW, "token-1"), None)
    assert (row()["action_response"], row()["status"]) == ({"M": {"reference": {"S": "R-7"}}}, {"S": "ACCEPTED"})
    assert set(tasks.outcomes) == {"token-1"}


def test_a_compensation_cancels_the_work_at_the_provider_by_the_same_key(tasks: Tasks) -> None:
    request(tasks)
    cancelled = []

    def stop(request: ProviderRequest) -> Attributes:
        cancelled.append(request.key)
        with pytest.raises(StepCompensated):
            receiver(BOOKING)({**VALID, "request": request_id()})
        return {}

    compensation(BOOKING, call=stop)(by_saga("s", NOW), None)
    assert (cancelled, history()) == ([request_id()], ["REQUESTED", "CANCELLING", "CANCELLED"])


# Every order of deliveries.


def test_no_order_of_repeated_answers_actions_and_compensations_breaks_the_row(tasks: Tasks) -> None:
    """Two deliveries of each: no answer counts after the compensation, and no status is written twice."""
    deliveries = ("action 1", "action 2", "cancel", "cancel", "accepted", "rejected", "accepted")
    rejections = (AnswerTooEarly, SagaConflict, StepCompensated, StepRejected)
    for order in sorted(set(itertools.permutations(deliveries)))[::7]:
        store_item("1", "PICKUP", None)
        compensated = False
        for delivery in order:
            before = row()
            try:
                if delivery == "cancel":
                    cancel()
                    compensated = True
                elif delivery.startswith("action"):
                    request(tasks, f"token-{delivery[-1]}")
                else:
                    answer(delivery)
            except rejections:
                assert row() == before, (order, delivery)
            assert not compensated or row()["status"] == {"S": "CANCELLED"}, (order, delivery)
        assert len(history()) == len(set(history())), order
        assert history()[-1] == "CANCELLED", order
