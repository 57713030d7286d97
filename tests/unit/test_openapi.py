"""The OpenAPI document describes what the functions accept and answer, and the reference lists the same."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lambdas.order_steps import API_PATH, SCHEMA, STEPS
from lambdas.saga_runtime import api
from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.http_messages import TITLES
from lambdas.saga_runtime.steps import MAX_ID
from local.order_demo import ORDER_DEMO

DOCS = Path(__file__).parent.parent.parent / "docs"
OPENAPI: dict[str, Any] = json.loads((DOCS / "openapi.json").read_text())
ORDER: dict[str, Any] = OPENAPI["components"]["schemas"]["Order"]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in OPENAPI["paths"].items()
    for method, operation in methods.items()
}
VALID = ORDER_DEMO.input("1-success")


def problems() -> set[int]:
    """Return the statuses that are problem documents, in any operation."""
    return {
        int(status)
        for operation in OPERATIONS.values()
        for status, response in operation["responses"].items()
        if "application/problem+json" in response.get("content", {})
    }


def is_accepted(order: dict[str, Any]) -> bool:
    try:
        for step in STEPS.values():
            SCHEMA.key_of(order)
            step.attributes(SCHEMA.validated(order))
    except InvalidInput:
        return False
    return True


def test_the_operations_are_the_routes() -> None:
    below = f"{API_PATH}/{{id}}"
    assert set(OPERATIONS) == {f"POST {API_PATH}", f"GET {below}", f"POST {below}/{api.CANCEL}"}


def test_every_problem_of_the_functions_is_described() -> None:
    # 405 is for methods that the document does not have.
    assert problems() == set(TITLES) - {405}


def test_the_reference_lists_the_responses_of_the_document() -> None:
    table = re.findall(r"^\| `(\w+ /.*?)` \| ([0-9, ]+) \|$", (DOCS / "reference.md").read_text(), re.MULTILINE)
    assert {request: statuses.split(", ") for request, statuses in table} == {
        request: sorted(operation["responses"]) for request, operation in OPERATIONS.items()
    }


def test_the_outcomes_and_the_longest_wait_are_those_of_the_function() -> None:
    statuses = OPENAPI["components"]["schemas"]["Outcome"]["properties"]["status"]["enum"]
    assert statuses == [api.PENDING, api.CONFIRMED, api.FAILED, api.STUCK]
    parameters = {one["name"]: one["schema"] for one in OPERATIONS[f"GET {API_PATH}/{{id}}"]["parameters"]}
    assert parameters["wait"]["maximum"] == api.MAX_WAIT
    assert parameters["id"]["maxLength"] == MAX_ID


def test_an_order_has_the_fields_of_the_functions_and_all_are_required() -> None:
    assert tuple(ORDER["properties"]) == SCHEMA.fields
    assert ORDER["additionalProperties"] is False
    for field in SCHEMA.fields:
        without = {name: value for name, value in VALID.items() if name != field}
        assert is_accepted(without) == (field not in ORDER["required"])


@pytest.mark.parametrize("field", ["order_id", "address"])
def test_the_longest_text_is_that_of_the_functions(field: str) -> None:
    longest = ORDER["properties"][field]["maxLength"]
    assert is_accepted({**VALID, field: "x" * longest})
    assert not is_accepted({**VALID, field: "x" * (longest + 1)})


def test_the_total_has_the_range_of_the_functions() -> None:
    total = ORDER["properties"]["total"]
    assert is_accepted({**VALID, "total": total["maximum"]})
    assert not is_accepted({**VALID, "total": total["maximum"] + 1})
    assert not is_accepted({**VALID, "total": total["exclusiveMinimum"]})


@pytest.mark.parametrize("card", ["12345", "1234", "4111 1111 1111 1111", "1" * 19, "1" * 20, "12-345", "12--345", "x"])
def test_the_pattern_of_a_card_number_is_that_of_the_functions(card: str) -> None:
    pattern = ORDER["properties"]["card_no"]["pattern"]
    assert is_accepted({**VALID, "card_no": card}) == bool(re.search(pattern, card))
