"""The table, the functions and the state machine of the contract, in every stage."""

import json

from tests.infrastructure.templates import (
    FUNCTIONS,
    REPORTER,
    REPORTER_HANDLER,
    Template,
    functions,
    of_type,
    only,
    plain,
    saga_table,
    stuck_table,
)


def test_the_table_has_the_keys_of_the_contract_and_can_be_restored(template: Template) -> None:
    table = saga_table(template)[1]
    assert table["KeySchema"] == [
        {"AttributeName": "order_id", "KeyType": "HASH"},
        {"AttributeName": "entity", "KeyType": "RANGE"},
    ]
    assert {attribute["AttributeType"] for attribute in table["AttributeDefinitions"]} == {"S"}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert "TableName" not in table


def test_there_is_one_function_for_each_name_of_the_contract_and_the_reporter(template: Template) -> None:
    handlers = {name: f"lambdas.{name}.handler" for name in FUNCTIONS} | {REPORTER: REPORTER_HANDLER}
    found = functions(template)
    assert {name: function["Handler"] for name, function in found.items()} == handlers
    for name, function in found.items():
        assert function["FunctionName"] == f"OrderSaga-dev-{name}"
        assert (function["Runtime"], function["Architectures"]) == ("python3.14", ["arm64"])
        assert function["TracingConfig"] == {"Mode": "Active"}


def test_a_function_knows_the_table_and_the_namespace_of_its_metrics_only(template: Template) -> None:
    found = functions(template)
    for name in FUNCTIONS:
        variables = found[name]["Environment"]["Variables"]
        assert set(variables) == {"TABLE_NAME", "POWERTOOLS_METRICS_NAMESPACE"}
        assert plain(variables["TABLE_NAME"]) == f"<{saga_table(template)[0]}>"
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "OrderSaga-dev"


def test_the_reporter_knows_its_queue_the_clean_error_and_the_sensitive_fields(template: Template) -> None:
    variables = functions(template)[REPORTER]["Environment"]["Variables"]
    assert set(variables) == {
        *("STUCK_SAGAS_TABLE", "QUEUE_URL", "KEY_FIELD", "CLEAN_ERROR", "SENSITIVE_FIELDS"),
        "POWERTOOLS_METRICS_NAMESPACE",
    }
    assert (variables["KEY_FIELD"], plain(variables["STUCK_SAGAS_TABLE"])) == (
        "order_id",
        f"<{stuck_table(template)[0]}>",
    )
    assert (variables["CLEAN_ERROR"], variables["SENSITIVE_FIELDS"]) == ("OrderFailed", "card_no")


def test_the_functions_share_one_asset(template: Template) -> None:
    found = of_type(template, "AWS::Lambda::Function").values()
    assert len({json.dumps(function["Code"], sort_keys=True) for function in found}) == 1


def test_the_state_machine_is_standard_traced_and_logged_without_execution_data(template: Template) -> None:
    machine = only(template, "AWS::StepFunctions::StateMachine")
    assert machine["StateMachineName"] == "OrderSaga-dev-OrderFulfilment"
    assert machine["StateMachineType"] == "STANDARD"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["LoggingConfiguration"]["Level"] == "ALL"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
