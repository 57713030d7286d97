"""The functions at the limits of AWS: rows, names that return, sizes, clocks, and inputs made to do harm."""

import importlib
import json
import math
import runpy
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from examples.trip_booking.lambdas.trip_steps import SCHEMA as TRIP_SCHEMA
from lambdas.order_steps import SCHEMA, STEPS
from lambdas.saga_runtime import clock, own_table
from lambdas.saga_runtime.errors import InvalidInput, SagaConflict, StepCompensated, StepFailed
from lambdas.saga_runtime.handlers import action, compensation
from lambdas.saga_runtime.provider_calls import ProviderRequest
from lambdas.saga_runtime.redaction import HIDDEN, redacted
from lambdas.saga_runtime.steps import Schema, StepSpec
from lambdas.saga_runtime.validation import line
from templates.saga_provider.lambdas import provider
from tests import charges
from tests.charges import SCHEMA as SALE_SCHEMA
from tests.fixtures import ORDER_STEPS, TABLE, create_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ORDER: dict[str, object] = {"order_id": "1", "total": 100, "card_no": "5500 0000 1111", "address": "123 st"}
ARN = "arn:aws:states:us-east-1:123456789012:execution:OrderSaga-dev-OrderFulfilment:" + "n" * 36
PAIRS = [(step.action, step.compensation) for step, _ in ORDER_STEPS]
JANUARY, APRIL = "2026-01-01T00:00:00.000Z", "2026-04-02T00:00:00.000Z"


def call(name: str, event: object) -> Any:
    return importlib.import_module(f"lambdas.{name}").handler(event, None)


def by_saga(saga_id: str, started_at: str = JANUARY, input_: object = ORDER, **more: object) -> dict[str, object]:
    return {"saga": {"id": saga_id, "started_at": started_at}, "input": input_, **more}


def item(table: "DynamoDBClient", entity: str, order_id: str = "1") -> dict[str, Any]:
    key = {"order_id": {"S": order_id}, "entity": {"S": entity}}
    return dict(table.get_item(TableName=TABLE, Key=key).get("Item", {}))


def status(table: "DynamoDBClient", entity: str) -> str:
    return str(item(table, entity)["status"]["S"])


def size(value: Mapping[str, Any]) -> int:
    """Count the bytes of an item as DynamoDB does (Developer Guide, "DynamoDB item sizes and formats")."""

    def of(attribute: Mapping[str, Any]) -> int:
        ((kind, content),) = attribute.items()
        match kind:
            case "S":
                return len(content.encode())
            case "N":
                return len(content) // 2 + 2
            case "L":
                return 3 + sum(1 + of(one) for one in content)
        return 3 + sum(len(name) + 1 + of(one) for name, one in content.items())

    return sum(len(name) + of(attribute) for name, attribute in value.items())


# Rows.


def test_an_order_that_was_tried_fifty_times_costs_no_more_than_8_write_units(table: "DynamoDBClient") -> None:
    started, units = datetime(2026, 1, 1, tzinfo=UTC), 0
    for attempt in range(51):
        at = (started + timedelta(minutes=attempt)).isoformat()
        for do, _ in PAIRS:
            call(do, by_saga(f"{ARN}{attempt:02}", at))
        units = sum(math.ceil(size(item(table, entity)) / 1024) for entity in ("ORDER", "PAYMENT", "SHIPMENT"))
        units += math.ceil(size(item(table, "ORDER")) / 1024)  # ConfirmOrder
        for _, undo in reversed(PAIRS):
            call(undo, by_saga(f"{ARN}{attempt:02}", at))
    assert units <= 8
    assert item(table, "PAYMENT")["attempts"] == {"N": "51"}


def test_a_row_keeps_the_history_of_its_owner_and_of_the_owner_before(table: "DynamoDBClient") -> None:
    for number, at in enumerate((JANUARY, "2026-02-01T00:00:00Z", APRIL)):
        call("process_payment", by_saga(f"saga-{number}", at))
        call("refund_payment", by_saga(f"saga-{number}", at))
    kept = item(table, "PAYMENT")
    for attribute, owner in (("history", "saga-2"), ("previous_history", "saga-1")):
        entries = [(entry["M"]["status"]["S"], entry["M"]["saga_id"]["S"]) for entry in kept[attribute]["L"]]
        assert entries == [("CHARGED", owner), ("REFUNDED", owner)]


BIG = StepSpec(
    action="keep_note",
    schema=Schema(noun="note", key="order_id", fields=("order_id", "note"), max_size=400_000),
    entity="NOTE",
    live="KEPT",
    compensated="DROPPED",
    stores={"note": line("note", longest=200_000)},
)


def test_an_action_rejects_what_would_leave_its_compensation_no_room_in_the_row(table: "DynamoDBClient") -> None:
    text = "é" * ((100_000 - len("note")) // 2)
    fits, too_large = ({"order_id": "1", "note": note} for note in (text, f"{text}x"))
    with pytest.raises(InvalidInput, match=r"the row NOTE would have 100,001 bytes: expected at most 100,000"):
        action(BIG)(by_saga("s", input_=too_large), None)
    action(BIG)(by_saga("s", input_=fits), None)
    assert compensation(BIG)(by_saga("s", input_=fits), None)["status"] == "DROPPED"


def test_a_function_writes_to_the_table_that_its_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLE_NAME", "another")
    assert runpy.run_path(own_table.__file__)["OWN_TABLE"].name == "another"


def test_an_attribute_may_have_the_name_of_a_value_of_the_barrier(table: "DynamoDBClient") -> None:
    names = ("started_at", "entry", "live", "compensated", "in_progress", "one", "stored_0")
    step = StepSpec(
        action="keep_note",
        schema=BIG.schema,
        entity="NOTE",
        live="KEPT",
        compensated="DROPPED",
        stores={name: line("note", longest=10) for name in names},
    )
    action(step)(by_saga("s", input_={"order_id": "1", "note": "2031"}), None)
    kept = item(table, "NOTE")
    assert all(kept[name] == {"S": "2031"} for name in names)
    assert (kept["status"], kept["fence"], kept["attempts"]) == ({"S": "KEPT"}, {"S": JANUARY}, {"N": "1"})


# The name of an execution returns after 90 days, with the same ARN.


def test_an_execution_with_the_name_of_an_earlier_one_is_another_saga(table: "DynamoDBClient") -> None:
    for do, _ in PAIRS:
        call(do, by_saga(ARN))
    before = [item(table, entity) for entity in STEPS]
    with pytest.raises(SagaConflict):
        call("process_payment", by_saga(ARN, APRIL, {**ORDER, "total": 999}))
    for _, undo in reversed(PAIRS):
        call(undo, by_saga(ARN, APRIL))
    after = [item(table, entity) | {"fence": {"S": JANUARY}} for entity in STEPS]
    assert all(row.pop("fenced_by") for row in after)
    assert after == before


def test_a_direct_call_is_a_saga_of_its_own(table: "DynamoDBClient") -> None:
    charged = call("process_payment", ORDER)
    with pytest.raises(SagaConflict):
        call("process_payment", {**ORDER, "total": 999})
    assert call("refund_payment", ORDER)["status"] == "REFUNDED"
    assert status(table, "PAYMENT") == "CHARGED"
    call("refund_payment", {"saga": charged["saga"], "input": ORDER})
    with pytest.raises(StepCompensated):
        call("process_payment", {"saga": charged["saga"], "input": ORDER})
    assert status(table, "PAYMENT") == "REFUNDED"


# Clocks and identities.


@pytest.mark.parametrize(
    ("saga", "message"),
    [
        ({"id": "s", "started_at": "2999-01-01T00:00:00Z"}, "is in the future"),
        ({"id": "s", "started_at": "2026-01-01T00:00:00"}, "has no zone"),
        ({"id": "s", "started_at": "yesterday"}, "Invalid isoformat"),
        ({"id": "x" * 257, "started_at": JANUARY}, "has 257 characters: expected at most 256"),
    ],
)
@pytest.mark.parametrize("name", ["process_payment", "refund_payment"])
def test_a_saga_that_cannot_be_one_of_step_functions_is_rejected_before_a_write(
    table: "DynamoDBClient", saga: object, message: str, name: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(name, {"saga": saga, "input": ORDER})
    assert table.scan(TableName=TABLE)["Items"] == []


def test_clocks_may_differ_by_some_minutes(table: "DynamoDBClient") -> None:
    ahead = (datetime.now(UTC) + clock.MAX_SKEW - timedelta(seconds=30)).isoformat()
    assert call("process_payment", by_saga("s", ahead))["status"] == "CHARGED"
    assert call("refund_payment", by_saga("s", ahead))["status"] == "REFUNDED"


# Compensations.


@pytest.fixture
def sales() -> Iterator["DynamoDBClient"]:
    with mock_aws():
        yield create_table("sale_id")


SALE = {"sale_id": "1", "seat": "12 C", "price": 60, "card_no": "5500 0000 1111", "buyer": "Ada"}


def test_a_compensation_raises_no_business_error_because_it_would_not_be_retried(
    sales: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    def respond(path: str, *_: object) -> tuple[int, Any]:
        return (201, {"charge_id": "c"}) if path == "/charges" else (200, {"refunded": 60})

    def decline(_request: ProviderRequest) -> Any:
        raise InvalidInput("card_no was declined")

    monkeypatch.setattr(provider, "_post", respond)
    charges.charge_card(by_saga("s", input_=SALE), None)
    asks_again = compensation(charges.PAYMENT, call=decline)
    with pytest.raises(StepFailed, match="InvalidInput: card_no was declined"):
        asks_again(by_saga("s", input_=SALE), None)


def test_no_response_of_a_provider_prevents_the_last_write_of_a_compensation(
    sales: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    response = {"receipt": "x" * 100_001}
    monkeypatch.setattr(provider, "_post", lambda *_: (201, {"charge_id": "c"}))
    charges.charge_card(by_saga("s", input_=SALE), None)
    cancels = compensation(charges.PAYMENT, call=lambda _request: response)
    assert cancels(by_saga("s", input_=SALE), None)["status"] == "REFUNDED"
    charge = action(charges.PAYMENT, call=lambda _request: response)
    with pytest.raises(ValueError, match="PAYMENT cannot store"):
        charge(by_saga("t", APRIL, SALE), None)


# Card numbers.


@pytest.mark.parametrize(
    "written", ["550000001111", "5500 0000 1111", "5500-0000-1111", "5500.0000.1111", "5 5 0 0 0 0 0 0 1 1 1 1"]
)
@pytest.mark.parametrize("card_no", ["5500 0000 1111", "550000001111", pytest.param(550000001111, id="number")])
def test_a_card_number_is_hidden_however_it_is_written(written: str, card_no: object) -> None:
    assert redacted(f"card {written} was declined", [card_no]) == f"card {HIDDEN} was declined"


@pytest.mark.parametrize("value", ["", "a", "12", True, None, ["5500"], {}])
def test_a_value_that_says_nothing_garbles_no_text(value: object) -> None:
    assert redacted("a bad card: 12 digits, True", [value]) == "a bad card: 12 digits, True"


@pytest.mark.parametrize("field", ["order_id", "address"])
@pytest.mark.parametrize("written", ["550000001111", "to 5500-0000-1111"])
def test_a_card_number_in_another_field_is_rejected_and_stored_nowhere(
    table: "DynamoDBClient", field: str, written: str
) -> None:
    order = {**ORDER, field: written}
    for do, undo in PAIRS:
        with pytest.raises(InvalidInput, match=f"{field} contains the value of card_no: remove it") as rejection:
            call(do, by_saga("s", input_=order))
        assert written not in str(rejection.value)
        call(undo, by_saga("s", input_=order))
    assert "0000" not in json.dumps(
        [one for one in table.scan(TableName=TABLE)["Items"] if "0000" in str(one["order_id"])]
    )


@pytest.mark.parametrize("make", [action, compensation])
def test_the_text_of_a_fault_is_redacted_and_short(sales: "DynamoDBClient", make: Any) -> None:
    def crash(_request: ProviderRequest) -> Any:
        raise RuntimeError("cannot charge 5500-0000-1111" + " ..." * 1000)

    if make is compensation:
        action(charges.PAYMENT, call=lambda _request: {})(by_saga("s", input_=SALE), None)
    with pytest.raises(StepFailed, match=r"RuntimeError: cannot charge \(hidden\)") as fault:
        make(charges.PAYMENT, call=crash)(by_saga("s", input_=SALE), None)
    assert len(str(fault.value)) < 1_100


# Sizes. Step Functions passes on at most 256 KiB of UTF-8 (Developer Guide, "Quotas"); a cause has at most 32,768
# characters (API Reference, GetExecutionHistory). A function's cause is JSON, so escaping it again at most doubles it.


LIMIT = 256 * 1024
CAUSE = '\\"' * (32_768 // 2)


@pytest.mark.parametrize("text", ["x", "é", "\u6771", "🚀", '"', "\\", "\x01"], ids=ascii)
@pytest.mark.parametrize(
    ("schema", "members"), [(SCHEMA, 1), (TRIP_SCHEMA, 2), (SALE_SCHEMA, 1)], ids=["order", "trip", "sale"]
)
def test_the_largest_input_fits_into_the_payload_of_every_state(text: str, schema: Schema, members: int) -> None:
    field = schema.fields[1]
    count = (schema.max_size - len(json.dumps({field: ""}))) // len(json.dumps(text)[1:-1])
    largest = schema.validated({field: text * count})
    with pytest.raises(InvalidInput, match="bytes: expected at most"):
        schema.validated({field: text * (count + 1)})
    caught = {"failed": True, "caught": {"Error": "E" * 256, "Cause": CAUSE}}
    payload = {
        "saga": {"id": "x" * 256, "started_at": JANUARY},
        "input": largest,
        "failure": {"members": {f"{number}{'x' * 79}": caught for number in range(members)}},
    }
    assert len(json.dumps(payload, ensure_ascii=False).encode()) <= LIMIT
