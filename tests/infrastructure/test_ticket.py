"""The ticket saga: the address of its provider, its API key and its timeouts."""

from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template

from examples.ticket_sale.lambdas.stripe_client import DEADLINE_SECONDS
from examples.ticket_sale.saga import STEPS
from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import functions_of
from tests.fixtures import definition_in
from tests.infrastructure.templates import as_list, longest_request, of_type, resources
from tests.infrastructure.templates import functions as by_name
from tests.sagas import SAGAS

FUNCTIONS = {name for step in STEPS for name in functions_of(step)}
CALLING = ("authorize_card", "cancel_authorization", "capture_payment")


def functions(template: dict[str, Any]) -> dict[str, Any]:
    """Return the functions of the saga by name, without the reporter."""
    return {name: one for name, one in by_name(template).items() if name in FUNCTIONS}


def statements_of(template: dict[str, Any], function: dict[str, Any]) -> list[dict[str, Any]]:
    role = {"Ref": function["Role"]["Fn::GetAtt"][0]}
    policies = of_type(template, "AWS::IAM::Policy").values()
    return [one for policy in policies if policy["Roles"] == [role] for one in policy["PolicyDocument"]["Statement"]]


def test_the_functions_know_the_provider_of_the_context() -> None:
    context = {"aws:cdk:bundling-stacks": [], "provider_url": "https://pay.example.org"}
    stack = SAGAS["ticket_sale"].stack(App(context=context), "TicketSaga-dev", stage=STAGES["dev"])
    found = functions(dict(Template.from_stack(stack).to_json()))
    assert set(found) == FUNCTIONS
    assert {f["Environment"]["Variables"]["PROVIDER_URL"] for f in found.values()} == {"https://pay.example.org"}


def test_the_writes_the_key_and_the_call_end_before_the_function_and_the_function_before_its_task() -> None:
    request = longest_request()
    template = dict(SAGAS["ticket_sale"].template())
    states = definition_in(template)["States"]
    for name, state in zip(CALLING, ("AuthorizeCard", "CancelAuthorization", "CapturePayment"), strict=True):
        # At most four writes and two readings of the API key.
        assert 6 * request + DEADLINE_SECONDS < functions(template)[name]["Timeout"] < states[state]["TimeoutSeconds"]


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_functions_that_call_may_read_the_api_key(stage: str) -> None:
    template = dict(SAGAS["ticket_sale"].template(stage))
    (secret,) = of_type(template, "AWS::SecretsManager::Secret")
    arn = {"Fn::GetAtt": [secret, "Id"]}
    assert template["Outputs"]["StripeKeyArn"]["Value"] == arn
    for name, one in functions(template).items():
        reading = [
            statement
            for statement in statements_of(template, one)
            if "secretsmanager:GetSecretValue" in as_list(statement["Action"])
        ]
        variables = one["Environment"]["Variables"]
        if name in CALLING:
            assert ([statement["Resource"] for statement in reading], variables["STRIPE_KEY"]) == ([arn], arn)
        else:
            assert (reading, "STRIPE_KEY" in variables) == ([], False)


def test_the_key_of_the_stage_encrypts_the_api_key_and_only_its_readers_decrypt_it() -> None:
    template = dict(SAGAS["ticket_sale"].template("prod"))
    (key,) = of_type(template, "AWS::KMS::Key")
    (secret,) = of_type(template, "AWS::SecretsManager::Secret").values()
    assert secret["KmsKeyId"] == {"Fn::GetAtt": [key, "Arn"]}
    readers = {
        name
        for name, one in functions(template).items()
        for statement in statements_of(template, one)
        if "secretsmanager" in str(statement.get("Condition"))
    }
    assert readers == set(CALLING)


def test_prod_retains_the_api_key_and_dev_leaves_nothing_behind() -> None:
    policies = []
    for stage in ("dev", "prod"):
        (secret,) = resources(dict(SAGAS["ticket_sale"].template(stage)), "AWS::SecretsManager::Secret").values()
        policies.append((secret["DeletionPolicy"], secret["UpdateReplacePolicy"]))
    assert policies == [("Delete", "Delete"), ("RetainExceptOnCreate", "Retain")]


def test_a_function_that_calls_no_provider_has_no_further_permission() -> None:
    template = dict(SAGAS["ticket_sale"].template())
    for name, one in functions(template).items():
        actions = {action for statement in statements_of(template, one) for action in as_list(statement["Action"])}
        assert actions - {"secretsmanager:GetSecretValue"} == {
            *("logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
            "dynamodb:UpdateItem",
        }, name
