"""What the functions send to AWS without having botocore check it first."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from lambdas.shared import aws, ledger
from lambdas.shared.errors import OrderConflict
from lambdas.shared.orders import ORDER
from lambdas.shared.rows import Value, attribute_value

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# At most 38 digits, as DynamoDB has it; beyond them boto3 raises, and an order's amounts are far below.
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12)
VALUES: st.SearchStrategy[Value] = st.recursive(
    st.text() | NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(VALUES)
def test_a_value_is_written_as_boto3_would_write_it(value: Value) -> None:
    assert attribute_value(value) == TypeSerializer().serialize(value)


@pytest.mark.parametrize("value", [1.5, 1, True, None, b"", Decimal("NaN"), Decimal("Infinity"), ["a", 1.5]])
def test_what_is_no_value_of_a_row_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is no value of a row: use text, a finite Decimal, a list or a mapping"):
        attribute_value(value)


def test_every_request_to_dynamodb_passes_botocores_check(
    table: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = botocore.session.get_session().create_client("dynamodb", config=ledger.CLIENT_CONFIG)
    monkeypatch.setattr(ledger, "_dynamodb", checked)
    key = ("order_id", "1")
    first, second = (ledger.Saga(id=id_, started_at=f"2026-01-0{n}T00:00:00.000Z") for n, id_ in enumerate("ab", 1))
    ledger.act(ORDER.entity, key, first, {"total": Decimal(100)})
    ledger.confirm(ORDER.entity, key, first, "CONFIRMED")
    ledger.compensate(ORDER.entity, key, second)
    assert not ledger.resolve(ORDER.entity, key, second)
    with pytest.raises(OrderConflict):
        ledger.act(ORDER.entity, key, second, {"total": Decimal(100)})


def test_a_request_says_what_sends_it(table: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    client = aws.client("dynamodb", ledger.CLIENT_CONFIG)
    client.meta.events.register_first("before-send.dynamodb", lambda request, **_: sent.append(request))
    monkeypatch.setattr(ledger, "_dynamodb", client)
    ledger.compensate(ORDER.entity, ("order_id", "1"), ledger.Saga(id="a", started_at="2026-01-01T00:00:00.000Z"))
    (agent,) = {request.headers["User-Agent"] for request in sent}
    assert agent == botocore.session.get_session().user_agent().encode()
