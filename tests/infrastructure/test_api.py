"""The HTTP API and the event bus: what they add to the stack, and what their functions may do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template as SynthesizedTemplate

from saga_stack.construct.edges import EventSettings, Outcome
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import InvalidSagaError, Step
from saga_stack.order_saga import OrderSagaStack, order_api
from tests.fixtures import synthesized
from tests.infrastructure.templates import Template, functions, of_type, only, plain, resources, saga_table
from tests.infrastructure.test_least_privilege import (
    READ_KEY,
    TRACE,
    USE_KEY,
    WRITE_LOG,
    log_of,
    permissions,
    role_of,
    statements,
    with_key,
)

API_FUNCTIONS = ("start_order", "get_order", "cancel_order")
JWT = {"jwt_issuer": "https://issuer.example.com", "jwt_audience": "orders"}


def with_api(stage: str = "dev", **context: str) -> Template:
    app = App(context={"aws:cdk:bundling-stacks": [], "api": "true", **context})
    stack = OrderSagaStack(app, f"OrderSaga-{stage}", stage=STAGES[stage])
    return dict(SynthesizedTemplate.from_stack(stack).to_json())


@pytest.fixture(scope="module", params=STAGES)
def api(request: pytest.FixtureRequest) -> Template:
    """Return the template of each stage with the API."""
    return with_api(request.param)


def one(template: Template, type_: str) -> str:
    (logical_id,) = resources(template, type_)
    return f"<{logical_id}>"


def stage_of(api: Template) -> str:
    return str(only(api, "AWS::ApiGatewayV2::Api")["Name"]).split("-")[1]


def test_the_api_adds_to_the_stack_and_changes_only_what_it_must(api: Template) -> None:
    without = synthesized(stage_of(api))
    # The reporter publishes to the bus, the table has a stream, the dashboard more alarms, the key one more log.
    changed = {
        resource["Type"] for name, resource in without["Resources"].items() if resource != api["Resources"].get(name)
    }
    expected = {"AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::IAM::Policy", "AWS::CloudWatch::Dashboard"}
    assert changed == (expected | {"AWS::KMS::Key"} if stage_of(api) == "prod" else expected)
    assert {name: output for name, output in api["Outputs"].items() if name in without["Outputs"]} == without["Outputs"]
    assert set(api["Outputs"]) - set(without["Outputs"]) == {"ApiUrl", "EventBusName", "OutcomeQueueUrl"}


def test_every_route_needs_a_signature_and_no_origin_is_allowed(api: Template) -> None:
    routes = of_type(api, "AWS::ApiGatewayV2::Route").values()
    below = "/orders/{id+}"
    assert {route["RouteKey"] for route in routes} == {"POST /orders", f"GET {below}", f"POST {below}", "$default"}
    assert {route["AuthorizationType"] for route in routes} == {"AWS_IAM"}
    assert "CorsConfiguration" not in only(api, "AWS::ApiGatewayV2::Api")


def test_two_settings_accept_the_tokens_of_an_issuer_instead() -> None:
    template = with_api(**JWT)
    assert {route["AuthorizationType"] for route in of_type(template, "AWS::ApiGatewayV2::Route").values()} == {"JWT"}
    authorizer = only(template, "AWS::ApiGatewayV2::Authorizer")
    assert authorizer["JwtConfiguration"] == {"Issuer": JWT["jwt_issuer"], "Audience": [JWT["jwt_audience"]]}


def test_the_context_in_cdk_json_may_have_true_or_false() -> None:
    """A value there is JSON; that of an option is always text."""
    settings = [order_api(App(context={"api": value})) for value in (True, False)]
    assert [found is not None for found in settings] == [True, False]


@pytest.mark.parametrize("name", JWT)
def test_one_of_the_two_settings_is_an_error(name: str) -> None:
    with pytest.raises(InvalidSagaError, match="give both or neither"):
        with_api(**{name: JWT[name]})


def test_requests_are_limited_and_logged_without_what_they_contain(api: Template) -> None:
    stage = only(api, "AWS::ApiGatewayV2::Stage")
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": 100, "ThrottlingBurstLimit": 200}
    # A request that waits occupies a function: 25 a second for 20 s are half of an account's concurrency.
    assert stage["RouteSettings"] == {
        "GET /orders/{id+}": {"ThrottlingRateLimit": 25, "ThrottlingBurstLimit": 50},
    }
    logged = set(json.loads(stage["AccessLogSettings"]["Format"]).values())
    assert {"$context.routeKey", "$context.status", "$context.identity.userArn"} <= logged
    assert not any("path" in field.lower() or "body" in field.lower() for field in logged)
    (log,) = (
        group
        for group in of_type(api, "AWS::Logs::LogGroup").values()
        if group["LogGroupName"].startswith("/aws/vendedlogs/apis/")
    )
    assert ("KmsKeyId" in log) == (stage_of(api) == "prod")


def test_the_stage_is_made_after_the_route_that_it_limits(api: Template) -> None:
    (route,) = (
        logical_id
        for logical_id, route in of_type(api, "AWS::ApiGatewayV2::Route").items()
        if route["RouteKey"] == "GET /orders/{id+}"
    )
    (stage,) = resources(api, "AWS::ApiGatewayV2::Stage").values()
    assert route in stage["DependsOn"]


def test_the_key_encrypts_the_log_of_the_api() -> None:
    key = only(with_api("prod"), "AWS::KMS::Key")
    (logs,) = (one for one in key["KeyPolicy"]["Statement"] if "logs" in json.dumps(one["Principal"]))
    assert any(
        "/aws/vendedlogs/apis/OrderSaga-prod-*" in plain(arn)
        for arn in next(iter(logs["Condition"]["ArnLike"].values()))
    )


@pytest.mark.parametrize("name", API_FUNCTIONS)
def test_a_function_of_the_api_may_read_one_may_start_and_one_may_write_rows(api: Template, name: str) -> None:
    function = functions(api)[name]
    executions = (
        f"arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:"
        f"OrderSaga-{stage_of(api)}-OrderFulfilment:*"
    )
    expected = {
        f"<{saga_table(api)[0]}>": {"dynamodb:GetItem", *(["dynamodb:UpdateItem"] if name == "cancel_order" else [])},
        executions: {"states:DescribeExecution"},
        log_of(function): WRITE_LOG,
        "*": TRACE,
    }
    if name == "start_order":
        expected[one(api, "AWS::StepFunctions::StateMachine")] = {"states:StartExecution"}
    used = USE_KEY if name == "cancel_order" else READ_KEY
    assert permissions(api, role_of(function)) == with_key(api, expected, used)


def test_the_publisher_may_read_the_stream_and_put_events_on_the_bus(api: Template) -> None:
    function = functions(api)["publish_outcome"]
    (mapping,) = of_type(api, "AWS::Lambda::EventSourceMapping").values()
    undelivered = plain(mapping["DestinationConfig"]["OnFailure"]["Destination"])
    assert plain(function["Environment"]["Variables"]["UNDELIVERED_QUEUE_URL"]) == undelivered
    table = f"<{saga_table(api)[0]}>"
    expected = {
        table: {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"},
        one(api, "AWS::Events::EventBus"): {"events:PutEvents"},
        undelivered: {"sqs:SendMessage"},
        log_of(function): WRITE_LOG,
        "*": TRACE | {"dynamodb:ListStreams"},
    }
    assert permissions(api, role_of(function)) == with_key(api, expected, READ_KEY)
    # Of the table only its stream: `plain` does not say which of its ARNs is meant.
    reading = [one for one in statements(api)[role_of(function)] if "dynamodb:GetRecords" in one["Action"]]
    assert [statement["Resource"]["Fn::GetAtt"][1] for statement in reading] == ["StreamArn"]


def test_the_stream_has_old_and_new_rows_and_is_read_from_its_beginning(api: Template) -> None:
    _, table = saga_table(api)
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    mapping = only(api, "AWS::Lambda::EventSourceMapping")
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["BisectBatchOnFunctionError"] is True


def record(before: str | None, after: str, entity: str = "ORDER") -> dict[str, Any]:
    """Return a record of the stream: a row had the status ``before`` and has the status ``after``."""
    images = {"OldImage": before, "NewImage": after}
    return {
        "eventName": "INSERT" if before is None else "MODIFY",
        "dynamodb": {
            "Keys": {"order_id": {"S": "1"}, "entity": {"S": entity}},
            **{name: {"status": {"S": status}} for name, status in images.items() if status is not None},
        },
    }


def is_selected(filters: list[dict[str, Any]], record: dict[str, Any]) -> bool:
    return any(matches(pattern, record) for pattern in filters)


def matches(pattern: dict[str, Any], value: dict[str, Any]) -> bool:
    """Return whether a value matches a pattern of EventBridge, as far as the filters use them."""
    for name, expected in pattern.items():
        found = value.get(name)
        if isinstance(expected, dict):
            if not isinstance(found, dict) or not matches(expected, found):
                return False
        elif not any(found not in one["anything-but"] if isinstance(one, dict) else found == one for one in expected):
            return False
    return True


@pytest.mark.parametrize(
    ("change", "is_outcome"),
    [
        (record("PENDING", "CONFIRMED"), True),
        (record("PENDING", "DELETED"), True),
        (record(None, "DELETED"), True),  # a tombstone: the action has not come
        (record("DELETED", "DELETED"), True),  # a later saga may have raised the fence
        (record("PENDING", "PENDING"), False),  # likewise, but the order is that of another saga
        (record("CONFIRMED", "CONFIRMED"), False),
        (record(None, "PENDING"), False),
        (record("DELETED", "PENDING"), False),  # tried again
        (record("CHARGED", "DELETED", entity="PAYMENT"), False),
    ],
)
def test_only_a_change_to_a_final_status_of_the_order_reaches_the_publisher(
    api: Template, change: dict[str, Any], *, is_outcome: bool
) -> None:
    mapping = only(api, "AWS::Lambda::EventSourceMapping")
    filters = [json.loads(one["Pattern"]) for one in mapping["FilterCriteria"]["Filters"]]
    assert is_selected(filters, change) == is_outcome


def with_outcomes(*outcomes: Outcome) -> Template:
    """Return the template of a saga that publishes these outcomes."""
    app = App(context={"aws:cdk:bundling-stacks": []})
    stack = SagaStack(
        app,
        "RoomSaga-dev",
        stage=STAGES["dev"],
        description="Reserves a room",
        steps=(Step(action="book_room", compensation="free_room"),),
        state_machine="Booking",
        partition_key="room_id",
        failed="RoomFailed",
        events=EventSettings(outcomes=outcomes, stuck_event="RoomStuck"),
    )
    return dict(SynthesizedTemplate.from_stack(stack).to_json())


FREED = Outcome(entity="ROOM", status="FREED", event="RoomFreed", is_rollback=True)
BOOKED, PAID, LEFT = (
    Outcome(entity="ROOM", status=status, event=f"Room{status.title()}") for status in ("BOOKED", "PAID", "LEFT")
)


def test_outcomes_that_need_more_filters_than_lambda_allows_are_rejected() -> None:
    mapping = only(with_outcomes(FREED, BOOKED, PAID), "AWS::Lambda::EventSourceMapping")
    assert len(mapping["FilterCriteria"]["Filters"]) == 5
    message = "^the outcomes RoomBooked, RoomPaid, RoomLeft need 6 filters: Lambda allows 5, "
    with pytest.raises(InvalidSagaError, match=message):
        with_outcomes(BOOKED, PAID, LEFT)


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    """Return the alarms by name, without the name of the stack."""
    found = of_type(template, "AWS::CloudWatch::Alarm").values()
    return {alarm["AlarmName"].split("-", 2)[2]: alarm for alarm in found}


def function_ids(template: Template) -> dict[str, str]:
    """Return the logical ids of the functions by name, without the name of the stack."""
    found = of_type(template, "AWS::Lambda::Function").items()
    return {function["FunctionName"].split("-")[-1]: logical_id for logical_id, function in found}


def added_alarms(api: Template) -> dict[str, dict[str, Any]]:
    """Return the alarms that the API and the events add."""
    without = alarms(synthesized(stage_of(api)))
    return {name: alarm for name, alarm in alarms(api).items() if name not in without}


def test_alarms_watch_the_api_its_functions_and_the_events(api: Template) -> None:
    topic = one(api, "AWS::SNS::Topic")
    watched = {}
    for name, alarm in added_alarms(api).items():
        assert [plain(action) for action in alarm["AlarmActions"]] == [topic]
        assert [plain(action) for action in alarm["OKActions"]] == [topic]
        (dimension,) = alarm["Dimensions"]
        watched[name] = (alarm["Namespace"], alarm["MetricName"], plain(dimension["Value"]))
    ids = function_ids(api)
    (mapping,) = of_type(api, "AWS::Lambda::EventSourceMapping").values()
    undelivered = plain(mapping["DestinationConfig"]["OnFailure"]["Destination"])
    assert watched == {
        "ApiErrors": ("AWS/ApiGateway", "5xx", one(api, "AWS::ApiGatewayV2::Api")),
        **{
            f"{metric}-{name}": ("AWS/Lambda", metric, f"<{ids[name]}>")
            for name in API_FUNCTIONS
            for metric in ("Errors", "Throttles")
        },
        "UndeliveredOutcomes": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", undelivered),
        "LateOutcomes": ("AWS/Lambda", "IteratorAge", f"<{ids['publish_outcome']}>"),
    }


def test_the_dashboard_shows_the_alarms_and_the_functions_of_the_api(api: Template) -> None:
    body = json.dumps(only(api, "AWS::CloudWatch::Dashboard")["DashboardBody"])
    shown = [*resources(api, "AWS::CloudWatch::Alarm"), *(function_ids(api)[name] for name in API_FUNCTIONS)]
    assert [logical_id for logical_id in shown if logical_id not in body] == []


def test_the_page_of_the_api_explains_each_of_its_alarms(api: Template) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    section = page.split("\n## Alarms\n")[1]
    heads = [line.partition(":")[0] for line in section.splitlines() if line.startswith("- ")]
    assert {name for head in heads for name in re.findall("`([^`]+)`", head)} == set(added_alarms(api))


def test_the_reporter_publishes_to_the_bus(api: Template) -> None:
    reporter: dict[str, Any] = functions(api)["report_stuck_saga"]
    variables = reporter["Environment"]["Variables"]
    assert (variables["STUCK_EVENT"], variables["KEY_FIELD"]) == ("OrderStuck", "order_id")
    assert permissions(api, role_of(reporter))[one(api, "AWS::Events::EventBus")] == {"events:PutEvents"}


def test_the_example_rule_sends_every_event_of_the_stack_to_its_queue(api: Template) -> None:
    (rule,) = (rule for rule in of_type(api, "AWS::Events::Rule").values() if "EventBusName" in rule)
    assert rule["EventPattern"] == {"source": [f"OrderSaga-{stage_of(api)}"]}
    (target,) = rule["Targets"]
    assert {plain(target["Arn"]), plain(target["DeadLetterConfig"]["Arn"])} <= {
        f"<{queue}>" for queue in resources(api, "AWS::SQS::Queue")
    }
