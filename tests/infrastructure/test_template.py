"""What the template promises in every stage: the table, the functions and the state machine of the contract."""

import json

from tests.infrastructure.templates import FUNCTIONS, REPORTER, Template, functions, of_type, only


def test_the_table_has_the_contracts_keys_and_can_be_restored(template: Template) -> None:
    table = only(template, "AWS::DynamoDB::Table")
    assert table["KeySchema"] == [
        {"AttributeName": "order_id", "KeyType": "HASH"},
        {"AttributeName": "entity", "KeyType": "RANGE"},
    ]
    assert {attribute["AttributeType"] for attribute in table["AttributeDefinitions"]} == {"S"}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert "TableName" not in table


def test_there_is_one_function_for_each_name_of_the_contract_and_the_reporter(template: Template) -> None:
    found = functions(template)
    assert set(found) == {*FUNCTIONS, REPORTER}
    for name, function in found.items():
        assert function["FunctionName"] == f"OrderSaga-dev-{name}"
        assert function["Handler"] == f"lambdas.{name}.handler"
        assert (function["Runtime"], function["Architectures"]) == ("python3.14", ["arm64"])
        assert function["TracingConfig"] == {"Mode": "Active"}


def test_a_function_is_told_the_table_and_under_which_name_to_count_and_nothing_else(template: Template) -> None:
    found = functions(template)
    for name in FUNCTIONS:
        variables = found[name]["Environment"]["Variables"]
        assert set(variables) == {"TABLE_NAME", "POWERTOOLS_METRICS_NAMESPACE"}
        assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "OrderSaga-dev"
    assert set(found[REPORTER]["Environment"]["Variables"]) == {
        *("QUEUE_URL", "CLEAN_ERROR", "POWERTOOLS_METRICS_NAMESPACE")
    }


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
