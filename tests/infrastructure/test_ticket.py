"""The ticket saga's infrastructure: what its functions are told of the payment provider, and that its times fit."""

import ast
from pathlib import Path
from typing import Any

from aws_cdk import App
from aws_cdk.assertions import Template

from examples.ticket_sale import app
from examples.ticket_sale.lambdas.provider import TIMEOUT_SECONDS
from lambdas.shared.ledger import CLIENT_CONFIG
from saga_stack.settings import STAGES
from tests.fixtures import definition_in
from tests.infrastructure.templates import as_list, of_type
from tests.infrastructure.templates import functions as by_name
from tests.sagas import SAGAS

FUNCTIONS = {"reserve_seat", "release_seat", "charge_card", "refund_card", "issue_ticket", "void_ticket"}


def functions(template: dict[str, Any]) -> dict[str, Any]:
    """The functions of the saga by name, without the reporter of stuck sagas."""
    return {name: one for name, one in by_name(template).items() if name in FUNCTIONS}


def test_the_functions_are_told_where_the_provider_is() -> None:
    context = {"aws:cdk:bundling-stacks": [], "provider_url": "https://pay.example.org"}
    stack = app.TicketSagaStack(App(context=context), "TicketSaga-dev", settings=STAGES["dev"])
    told = functions(dict(Template.from_stack(stack).to_json()))
    assert set(told) == FUNCTIONS
    assert {f["Environment"]["Variables"]["PROVIDER_URL"] for f in told.values()} == {"https://pay.example.org"}


def test_untold_they_call_a_reserved_name_that_nobody_has() -> None:
    told = functions(dict(SAGAS["ticket"].template()))
    assert {f["Environment"]["Variables"]["PROVIDER_URL"] for f in told.values()} == {"https://payments.example.com"}


def test_the_writes_and_the_call_end_before_the_function_and_the_function_before_its_task() -> None:
    # Of botocore's untyped configuration; between two attempts it waits for up to a second.
    config: Any = CLIENT_CONFIG
    attempts = config.retries["total_max_attempts"]
    write = attempts * (config.connect_timeout + config.read_timeout) + attempts - 1
    call = 3 * TIMEOUT_SECONDS
    template = dict(SAGAS["ticket"].template())
    states = definition_in(template)["States"]
    for name, state in (("charge_card", "ChargeCard"), ("refund_card", "RefundCard")):
        assert 3 * write + call < functions(template)[name]["Timeout"] < states[state]["TimeoutSeconds"]


def test_calling_a_provider_gives_the_functions_no_right_that_others_have_not() -> None:
    template = dict(SAGAS["ticket"].template())
    policies = of_type(template, "AWS::IAM::Policy").values()
    for one in functions(template).values():
        role = {"Ref": one["Role"]["Fn::GetAtt"][0]}
        statements = [s for p in policies if p["Roles"] == [role] for s in p["PolicyDocument"]["Statement"]]
        assert {action for statement in statements for action in as_list(statement["Action"])} == {
            *("logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
            "dynamodb:UpdateItem",
        }


def test_its_infrastructure_is_at_most_25_lines_beyond_the_imports() -> None:
    source = Path(app.__file__).read_text()
    head = max(node.end_lineno or 0 for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom))
    assert len([line for line in source.splitlines()[head:] if line.strip()]) <= 25
