"""The ticket saga: the address of its provider, and its timeouts."""

from typing import Any

from aws_cdk import App
from aws_cdk.assertions import Template

from examples.ticket_sale.lambdas.provider import DEADLINE_SECONDS
from examples.ticket_sale.saga import STEPS
from lambdas.saga_runtime.own_table import CLIENT_CONFIG
from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import functions_of
from tests.fixtures import definition_in
from tests.infrastructure.templates import as_list, of_type
from tests.infrastructure.templates import functions as by_name
from tests.sagas import SAGAS

FUNCTIONS = {name for step in STEPS for name in functions_of(step)}


def functions(template: dict[str, Any]) -> dict[str, Any]:
    """Return the functions of the saga by name, without the reporter."""
    return {name: one for name, one in by_name(template).items() if name in FUNCTIONS}


def test_the_functions_know_the_provider_of_the_context() -> None:
    context = {"aws:cdk:bundling-stacks": [], "provider_url": "https://pay.example.org"}
    stack = SAGAS["ticket_sale"].stack(App(context=context), "TicketSaga-dev", stage=STAGES["dev"])
    found = functions(dict(Template.from_stack(stack).to_json()))
    assert set(found) == FUNCTIONS
    assert {f["Environment"]["Variables"]["PROVIDER_URL"] for f in found.values()} == {"https://pay.example.org"}


def test_without_a_provider_in_the_context_they_call_a_name_that_is_reserved_for_examples() -> None:
    found = functions(dict(SAGAS["ticket_sale"].template()))
    assert {f["Environment"]["Variables"]["PROVIDER_URL"] for f in found.values()} == {"https://payments.example.com"}


def test_the_writes_and_the_call_end_before_the_function_and_the_function_before_its_task() -> None:
    config: Any = CLIENT_CONFIG  # its options are attributes that its stubs do not know
    attempts = config.retries["total_max_attempts"]
    # botocore waits up to a second between two attempts.
    write = attempts * (config.connect_timeout + config.read_timeout) + attempts - 1
    call = DEADLINE_SECONDS
    template = dict(SAGAS["ticket_sale"].template())
    states = definition_in(template)["States"]
    for name, state in (("charge_card", "ChargeCard"), ("refund_card", "RefundCard")):
        assert 3 * write + call < functions(template)[name]["Timeout"] < states[state]["TimeoutSeconds"]


def test_a_function_that_calls_a_provider_has_the_same_permissions_as_the_others() -> None:
    template = dict(SAGAS["ticket_sale"].template())
    policies = of_type(template, "AWS::IAM::Policy").values()
    for one in functions(template).values():
        role = {"Ref": one["Role"]["Fn::GetAtt"][0]}
        statements = [s for p in policies if p["Roles"] == [role] for s in p["PolicyDocument"]["Statement"]]
        assert {action for statement in statements for action in as_list(statement["Action"])} == {
            *("logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
            "dynamodb:UpdateItem",
        }
