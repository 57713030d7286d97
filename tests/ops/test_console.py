"""The console's server without a browser: its responses, its rejections, and that it never shows a card number."""

import ipaddress
import json
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from markupsafe import escape
from werkzeug.test import TestResponse

from lambdas.order_steps import SCHEMA, STEPS
from lambdas.saga_runtime.names import state_name
from local.order_demo import ORDER_DEMO
from ops.__main__ import main
from ops.client import SagaClient
from ops.commands import EXPOSE, ORDERS
from ops.connection import Target
from ops.console import views
from ops.console.form import StartForm, read_presets
from ops.console.server import allowed_hosts, create_app
from ops.errors import OpsError, UnknownStack
from ops.saga_steps import DEFAULT_MODULE, known_rows
from tests.fixtures import ORDER_STEPS, store_item
from tests.ops.conftest import CARD, World
from tests.saga.interpreter import Execution
from tests.sagas import SAGAS, each_saga, on_example

HOST = "127.0.0.1:8080"
TOKEN = "a token"  # noqa: S105 (of a test)
INPUTS = read_presets(ORDERS)
ORDER_FORM = StartForm("order_id", tuple(STEPS.values()), INPUTS)


parcel = on_example("parcel_pickup")
other_sagas = pytest.mark.parametrize("saga", [name for name in SAGAS if name != "order"], indirect=True)


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.client, hosts=allowed_hosts("127.0.0.1", 8080), presets=INPUTS, token=TOKEN)


class Client:
    """A page of the console, as the server sees it. No response may contain the card number."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client

    def get(self, path: str, *, host: str = HOST, csrf_token: str = TOKEN, **parameters: str) -> TestResponse:
        headers = {"Host": host, "X-CSRF-Token": csrf_token}
        return self._checked(self._client.get(path, query_string=parameters, headers=headers))

    def post(self, path: str, sent: object, **headers: str) -> TestResponse:
        headers = {"Host": HOST, "X-CSRF-Token": TOKEN, "Content-Type": "application/json", **headers}
        return self._checked(self._client.post(path, data=json.dumps(sent), headers=headers))

    def document(self, path: str, **parameters: str) -> Any:
        return body(self.get(path, **parameters))

    def check(self, sent: object) -> Any:
        return body(self.post("/api/check", sent))

    def _checked(self, response: TestResponse) -> TestResponse:
        assert CARD not in response.text
        assert "Traceback" not in response.text
        return response


def body(response: TestResponse) -> Any:
    return response.json


@pytest.fixture
def client(app: Flask) -> Client:
    return Client(app.test_client())


def filled(preset: str = "1-success", **fields: str) -> dict[str, Any]:
    (shown,) = (one.for_page(SCHEMA.sensitive) for one in INPUTS if one.name == preset)
    known: Any = shown["fields"]
    return {"fields": {**known, **fields}, "secrets_of": preset, "name": fields.get("order_id", "1")}


def typed(text: object, name: str | None = None) -> dict[str, Any]:
    """Return the form of a saga whose steps the console does not know."""
    return {"fields": {}, "more": text, "name": name}


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080"])
def test_the_console_answers_to_its_own_names(client: Client, host: str) -> None:
    assert client.get("/", host=host).status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1", "127.0.0.1:80", "localhost.evil.example:8080"])
@pytest.mark.parametrize("path", ["/", "/api/executions", "/static/home.js", "/no/such/page"])
def test_any_other_host_is_rejected(client: Client, host: str, path: str) -> None:
    assert client.get(path, host=host).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "another"},
        {"X-CSRF-Token": "ä"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
@pytest.mark.parametrize("path", ["/api/start", "/api/resume", "/api/answer", "/api/check"])
def test_a_request_that_no_page_of_the_console_has_sent_changes_nothing(
    client: Client, world: World, headers: dict[str, str], path: str
) -> None:
    assert client.post(path, filled(), **headers).status_code in (403, 415)
    assert world.client.executions().executions == ()


@pytest.mark.parametrize("token", ["", "of another console", "ä"])
@pytest.mark.parametrize("path", ["executions", "execution", "replay", "outcome", "history", "order", "stuck"])
def test_a_page_of_another_console_gets_no_data(client: Client, token: str, path: str) -> None:
    response = client.get(f"/api/{path}", csrf_token=token, name="1", id="1")
    assert (response.status_code, list(body(response))) == (403, ["error"])
    assert "reload the page" in body(response)["error"]


def test_pages_carry_the_token_and_each_console_has_its_own(world: World) -> None:
    apps = [create_app(world.client, hosts=frozenset({HOST}), presets=INPUTS) for _ in range(2)]
    pages = [app.test_client().get("/", headers={"Host": HOST}).text for app in apps]
    tokens = {page.split('name="csrf-token" content="')[1].split('"')[0] for page in pages}
    assert len(tokens) == 2
    assert all(len(token) > 40 for token in tokens)


@pytest.mark.parametrize("path", ["/", "/execution", "/order", "/api/executions", "/no/such/page"])
def test_pages_run_only_own_scripts_and_cannot_be_framed(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(one.strip().split(" ", 1) for one in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_the_frame_that_draws_has_no_origin_and_no_network(client: Client) -> None:
    policy = client.get("/drawing").headers["Content-Security-Policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy
    assert "default-src 'none'; script-src 'self';" in policy


def test_pages_have_no_inline_script_style_or_foreign_address(client: Client) -> None:
    for path in ("/", "/execution", "/order", "/drawing"):
        page = client.get(path).text
        assert "<style" not in page
        assert " style=" not in page
        assert all(tag.split(">")[0].count("src=") == 1 for tag in page.split("<script")[1:])
        assert "http://" not in page
        assert "https://" not in page


def test_a_parameter_of_the_address_is_text_on_the_page(client: Client) -> None:
    assert "<b>x" not in client.get("/execution", name="<b>x").text
    assert "<b>x" not in client.get("/order", id="<b>x").text


@pytest.mark.parametrize("preset", [preset.name for preset in INPUTS])
def test_the_check_predicts_the_outcome(client: Client, world: World, preset: str) -> None:
    expected = ORDER_DEMO.expected_ends()[preset]
    verdict = client.check(filled(preset))
    assert verdict["accepted"] == (expected.status == "SUCCEEDED")
    assert client.post("/api/start", filled(preset)).status_code == 200, "it can be started all the same"
    (execution,) = world.client.executions().executions
    assert execution.status == expected.status
    if execution.cause:
        prediction = re.sub(" failed: InvalidInput: ", " will reject this: ", execution.cause)
        assert verdict["text"] == f"{prediction}. The saga will be rolled back."


def test_the_check_names_the_owner_of_an_order(client: Client, world: World) -> None:
    ended = world.run("1")
    owner = ended.arn.rsplit(":", 1)[-1]
    assert client.check(filled()) == {
        "accepted": False,
        "text": f"This order is owned by execution {owner}: a new saga will be rejected with SagaConflict and change "
        "nothing.",
        "owned": True,
    }
    assert world.run("2", address=None).status == "FAILED"
    assert client.check(filled(order_id="2"))["accepted"], "its rows are compensated"


def test_a_name_that_is_in_use_is_explained(client: Client, world: World) -> None:
    world.reject("StartExecution", "ExecutionAlreadyExists")
    response = client.post("/api/start", filled())
    assert response.status_code == 409
    assert body(response)["existing"] == "1"
    assert "An execution named 1 exists already, perhaps of this order." in body(response)["error"]


def test_a_service_error_that_quotes_the_input_is_redacted(client: Client, world: World) -> None:
    world.reject("StartExecution", "InvalidExecutionInput", f'at "card_no": "{CARD}"')
    response = client.post("/api/start", filled())
    assert response.status_code == 502
    assert "(hidden)" in body(response)["error"]


@pytest.mark.parametrize(
    ("sent", "input_"),
    [
        ({"fields": {"total": "0.10", "card_no": "", "address": " x "}}, {"total": 0.1, "address": " x "}),
        ({"fields": {"total": "12 euros"}, "more": '{"note": [1]}'}, {"total": "12 euros", "note": [1]}),
        *(({"fields": {"total": text}}, {"total": text}) for text in ("NaN", "Infinity", "1e400", "null", '"5"')),
        ({"fields": {"address": "5"}}, {"address": "5"}),
        ({"fields": {"card_no": "9"}, "secrets_of": "1-success"}, {"card_no": "9"}),
        ({"fields": {}, "secrets_of": "1-success"}, {"card_no": CARD}),
        ({"fields": {}, "secrets_of": "2-failed-order"}, {}),
    ],
)
def test_the_input_is_what_the_form_contains(sent: dict[str, Any], input_: dict[str, Any]) -> None:
    assert ORDER_FORM.input_of(sent) == input_


@pytest.mark.parametrize(
    "sent",
    [
        None,
        5,
        [],
        {},
        {"fields": 5},
        {"fields": {"total": 5}},
        {"fields": {}, "more": "5"},
        {"fields": {}, "more": "{"},
    ],
)
def test_a_request_without_the_form_is_rejected_in_one_line(client: Client, world: World, sent: object) -> None:
    response = client.post("/api/start", sent)
    assert response.status_code == 400
    assert "\n" not in body(response)["error"]
    assert world.client.executions().executions == ()


def test_the_first_step_that_rejects_the_input_is_named() -> None:
    missing = "CreateOrder will reject this: order_id is missing: expected a string of 1 to 128 characters"
    assert ORDER_FORM.rejection_of({}) == missing
    assert ORDER_FORM.rejection_of({"order_id": "1", "total": 1, "card_no": CARD, "address": "x"}) is None


def test_an_execution_has_its_graphs_rows_and_meaning(client: Client, world: World) -> None:
    world.run("1", address=None, name="1")
    execution = client.document("/api/execution", name="1")
    assert execution["meaning"] == "A step failed, and everything that was done for the order is compensated."
    assert [row["status"] for row in execution["rows"]] == ["DELETED", "REFUNDED", "CANCELLED"]
    assert [row["compensated"] for row in execution["rows"]] == [True, True, True]
    assert execution["graphs"]["LR"].startswith("flowchart LR\n")
    assert execution["graphs"]["TD"].startswith("flowchart TD\n")
    assert "classDef" not in execution["graphs"]["LR"], "the page has its own colours"
    assert {state["state"]: state["word"] for state in execution["states"]}["RefundPayment"] == "compensated"


def test_each_row_of_an_order_says_whether_it_is_compensated(client: Client, world: World) -> None:
    world.run_into_a_stop("1")
    assert [(row["status"], row["compensated"]) for row in client.document("/api/order", id="1")["rows"]] == [
        ("PENDING", False),
        ("CHARGED", False),
        ("CANCELLED", True),
    ]


def test_a_stuck_execution_names_the_state_that_it_stopped_in(client: Client, world: World) -> None:
    world.run_into_a_stop("1", name="1")
    stuck = client.document("/api/execution", name="1")
    assert stuck["stopped_in"] == ["RefundPayment"]
    assert "it stopped in RefundPayment." in stuck["meaning"]
    assert {state["state"]: state["word"] for state in stuck["states"]}["DeleteOrder"] == "not reached"
    world.run("2", name="2")
    assert client.document("/api/execution", name="2")["stopped_in"] == []


def test_the_execution_of_a_duplicate_says_that_it_changed_nothing(client: Client, world: World) -> None:
    world.run("1")
    world.run("1", name="again")
    assert "Another saga owns this order" in client.document("/api/execution", name="again")["meaning"]


def own_client(world: World) -> Client:
    """Return a page of a console that knows the steps and the presets of the saga."""
    demo = world.machine.demo
    hosts = allowed_hosts("127.0.0.1", 8080)
    steps, presets = demo.specs_module.__name__, read_presets(demo.folder)
    return Client(create_app(world.client, hosts=hosts, steps=steps, presets=presets, token=TOKEN).test_client())


@each_saga
def test_a_console_that_knows_the_steps_of_a_saga_has_its_form_its_presets_and_its_statuses(world: World) -> None:
    client, demo = own_client(world), world.machine.demo
    page = client.get("/").text
    assert all(f'id="field-{field}"' in page for field in demo.schema.fields)
    assert all(f">{name}</button>" in page for name in demo.scenarios)
    texts = {
        name: text if isinstance(text, str) else json.dumps(text) for name, text in demo.input("1-success").items()
    }
    started = body(client.post("/api/start", {"fields": texts, "name": "mine"}))
    assert started["name"] == "mine"
    run = client.document("/api/execution", name="mine")
    assert run["execution"]["outcome"] == "fulfilled"
    assert {row["entity"]: row["compensated"] for row in run["rows"]} == dict.fromkeys(demo.specs, False)
    assert "is owned by execution mine" in client.check({"fields": texts})["text"]
    bad = client.check({"fields": {demo.key: "2"}, "more": '{"unknown": 1}'})
    assert "will reject this: unknown field 'unknown'" in bad["text"]


@each_saga
def test_a_console_that_knows_the_steps_of_a_saga_cancels_it(world: World) -> None:
    client, demo = own_client(world), world.machine.demo
    answers: list[TestResponse] = []

    def intercept(state: str, _payload: Any, deliver: Callable[[], Any]) -> Any:
        if state == world.machine.shape.actions[0]:
            answers.append(client.post("/api/cancel", {"execution": "mine"}))
        return deliver()

    world.machine.intercept = intercept
    ended = world.machine.run({**demo.input("1-success"), demo.key: "1"}, name="mine")
    assert [answer.status_code for answer in answers] == [200]
    assert ended.error == demo.failed


@parcel
@pytest.mark.parametrize("is_rejectable", [True, False])
def test_only_a_step_whose_work_can_be_rejected_offers_that(world: World, *, is_rejectable: bool) -> None:
    module = world.machine.demo.specs_module.__name__
    shown = views.Views(world.client, module)
    if not is_rejectable:
        shown.steps = {**shown.steps, "PICKUP": replace(shown.steps["PICKUP"], rejected=None)}
    world.machine.sender = lambda _state, _payload: seen.append(shown.execution("parcel"))
    seen: list[Any] = []
    world.run(name="parcel")
    assert [run["rejectable"] for run in seen] == [["RequestPickup"] if is_rejectable else []]


@other_sagas
def test_without_its_steps_another_saga_is_started_by_json_and_shown_in_its_own_words(
    client: Client, world: World
) -> None:
    demo = world.machine.demo
    page = client.get("/").text
    assert f"<h1>{demo.noun.capitalize()}s</h1>" in page
    assert f"a JSON object with its {demo.key}" in page
    assert "field-" not in page
    assert "preset" not in page
    input_ = demo.input("1-success")
    sent = typed(json.dumps(input_), name="mine")
    assert client.check(sent) == {"accepted": True, "text": "Ready to send. Each step validates the input."}
    assert body(client.post("/api/start", sent))["name"] == "mine"
    run = client.document("/api/execution", name="mine")
    assert (run["execution"]["order_id"], run["execution"]["outcome"]) == (input_[demo.key], "fulfilled")
    assert run["meaning"] == f"The {demo.noun} is fulfilled: every step succeeded."
    assert {row["entity"]: row["compensated"] for row in run["rows"]} == dict.fromkeys(demo.specs)
    assert f"This {demo.noun} has rows of execution mine: unless" in client.check(sent)["text"]
    world.reject("StartExecution", "ExecutionAlreadyExists")
    response = client.post("/api/start", sent)
    assert response.status_code == 409
    assert f"An execution named mine exists already, perhaps of this {demo.noun}." in response.text


@on_example("ticket_sale")
def test_the_statuses_of_the_order_saga_do_not_apply_to_another_saga(client: Client, world: World) -> None:
    sale = world.machine.demo.input("1-success")
    world.machine.call("CancelAuthorization", sale)
    (row,) = client.document("/api/order", id="1")["rows"]
    assert (row["entity"], row["status"], row["compensated"]) == ("PAYMENT", "CANCELLED", None)
    assert "has rows of a direct call: unless" in client.check(typed(json.dumps(sale)))["text"]


@other_sagas
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (5, "invalid JSON: must be an object"),
        ("{", "invalid JSON: must be an object"),
        ("[]", "invalid JSON: must be an object"),
        ('{"KEY": NaN}', "invalid JSON: must be an object"),
        (None, "KEY is missing or not a text"),
        ("", "KEY is missing or not a text"),
        ('{"order_id": "1"}', "KEY is missing or not a text"),
        ('{"KEY": 5}', "KEY is missing or not a text"),
        ('{"KEY": ""}', "KEY is missing or not a text"),
    ],
)
@pytest.mark.parametrize("path", ["/api/check", "/api/start"])
def test_an_invalid_input_of_another_saga_is_rejected_in_one_line(
    client: Client, world: World, text: object, message: str, path: str
) -> None:
    key = world.machine.shape.key
    response = client.post(path, typed(text.replace("KEY", key) if isinstance(text, str) else text))
    assert response.status_code == 400
    assert message.replace("KEY", key) in body(response)["error"]
    assert world.client.executions().executions == ()


@on_example("trip_booking")
def test_an_id_that_cannot_be_stored_has_no_owner(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table, which would reject it, is not asked."""
    monkeypatch.setattr(world.client, "_dynamodb", None)
    assert client.check(typed(json.dumps({world.machine.shape.key: "\ud800"})))["accepted"]


@on_example("trip_booking")
def test_only_the_default_module_may_be_that_of_another_saga(world: World) -> None:
    assert known_rows(world.client, DEFAULT_MODULE) == {}
    another = "tests.charges"
    with pytest.raises(OpsError, match=f"the steps in {another} are not those of TripSaga"):
        known_rows(world.client, another)


def test_executions_that_have_ended_are_described_once(client: Client, world: World) -> None:
    world.run("1")
    world.run("2", total=None)
    stuck = world.run_into_a_stop("3")
    requests = world.requests()
    pages = [client.document("/api/executions") for _ in range(3)]
    assert pages[0] == pages[1] == pages[2]
    assert requests["DescribeExecution"] == 3
    restarted = {"status": "RUNNING"}
    end = {"status": "FAILED", "error": "OrderFailed", "stopDate": datetime.now(UTC)}

    def list_as(parsed: dict[str, Any], **_: Any) -> None:
        for one in parsed["executions"]:
            if one["executionArn"] == stuck.arn:
                one.update(change)

    world.stepfunctions.meta.events.register("after-call.stepfunctions.ListExecutions", list_as)
    for change, outcome in ((restarted, "running"), (end, "rolled_back"), (end, "rolled_back")):
        world.describe_as(stuck.arn, change)
        (listed,) = (
            one for one in client.document("/api/executions")["executions"] if one["execution_arn"] == stuck.arn
        )
        assert listed["outcome"] == outcome, "after a redrive it is described again"
    assert requests["DescribeExecution"] == 3 + 2


def test_all_tabs_share_one_listing_of_the_stuck_sagas(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, clean = world.run_into_a_stop("1"), world.run("2")
    for one in (ended, clean):
        world.report(one.arn)
    requests = world.requests()
    first = client.document("/api/stuck")
    assert [saga["execution_arn"] for saga in first["stuck"]] == [ended.arn]
    assert client.document("/api/stuck") == first
    assert requests["Scan"] == 1
    client.get("/api/stuck", refresh="yes")
    assert requests["Scan"] == 2
    monkeypatch.setattr(views, "STUCK_CACHE_SECONDS", 0)
    client.get("/api/stuck")
    assert requests["Scan"] == 3
    assert (requests["ReceiveMessage"], set(world.messages())) == (0, {ended.arn, clean.arn})


def test_resuming_without_redrive_is_rejected(client: Client, world: World) -> None:
    ended = world.run_into_a_stop("1")
    response = client.post("/api/resume", {"execution": ended.arn})
    assert response.status_code == 409
    assert "has no RedriveExecution" in body(response)["error"]


def test_resuming_continues_in_the_state_that_stopped(client: Client, world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.answer("RedriveExecution", {"redriveDate": datetime(2026, 1, 31, tzinfo=UTC)})
    response = client.post("/api/resume", {"execution": ended.arn})
    assert response.status_code == 200
    assert body(response)["state"] == "RefundPayment"


def test_a_closed_saga_shows_its_closure_and_is_not_resumed(client: Client, world: World) -> None:
    ended = world.run_into_a_stop("1")
    assert client.document("/api/execution", name=ended.arn)["closed"] is None
    world.client.close(world.client.closable(ended.arn), "refunded by hand")
    redriven = world.redrive_to(lambda _arn: {"status": "SUCCEEDED"})
    document = client.document("/api/execution", name=ended.arn)
    closed = document["closed"]
    assert closed["reason"] == "refunded by hand"
    assert document["meaning"] == (
        f"The saga is stuck: it stopped in RefundPayment. An operator closed it at {closed['at']}: refunded by hand"
    )
    response = client.post("/api/resume", {"execution": ended.arn})
    assert (response.status_code, redriven) == (409, [])
    assert "refunded by hand" in body(response)["error"]


def test_the_entries_of_resumed_sagas_are_removed_with_few_requests(client: Client, world: World) -> None:
    arns = [world.run_into_a_stop(str(number)).arn for number in range(6)]
    for arn in arns:
        world.report(arn)
    *resumed, other = arns
    world.redrive_to(lambda _arn: {"status": "FAILED", "error": "OrderFailed"})
    requests = world.requests()
    for arn in resumed:
        client.post("/api/resume", {"execution": arn})
        assert client.document("/api/outcome", name=arn)["outcome"] == "rolled_back"
    assert (requests["Scan"], requests["ReceiveMessage"], requests["DescribeExecution"]) == (0, 0, 2 * len(resumed))
    client.get("/api/stuck")
    assert (requests["Scan"], requests["DeleteItem"]) == (2, len(resumed))
    assert requests["ReceiveMessage"] <= 2
    assert (list(world.entries()), world.messages()) == ([other], [other])
    requests.clear()
    client.get("/api/stuck", refresh="yes")
    assert (requests["DescribeExecution"], requests["ReceiveMessage"]) == (0, 0)


def test_entries_of_sagas_that_others_resumed_are_not_removed_by_a_look(client: Client, world: World) -> None:
    ended = world.run("1", name="mine")
    world.report(ended.arn, has_recovered=True)
    assert client.document("/api/stuck")["entries"]["recovered"] == 1
    assert list(world.entries()) == [ended.arn]


def test_only_a_running_saga_can_be_stopped(client: Client, world: World) -> None:
    ended = world.run("1", name="1")
    rejected = client.post("/api/stop", {"execution": ended.arn})
    assert (rejected.status_code, body(rejected)) == (409, {"error": "1 has ended: nothing to stop"})
    world.describe_with({"status": "RUNNING"})
    world.answer("StopExecution", {"stopDate": datetime(2026, 1, 31, tzinfo=UTC)})
    assert body(client.post("/api/stop", {"execution": ended.arn})) == {"stopped": ended.arn}


def test_a_running_saga_is_cancelled_unless_its_last_step_has_begun(client: Client, world: World) -> None:
    ended = world.run("1", name="1")
    world.describe_with({"status": "RUNNING"})
    rejected = client.post("/api/cancel", {"execution": ended.arn})
    too_late = "too late: the order is about to be confirmed"
    assert (rejected.status_code, body(rejected)) == (409, {"error": too_late})
    last, spec = ORDER_STEPS[-1]
    store_item("1", spec.entity, None)
    cancelled = body(client.post("/api/cancel", {"execution": ended.arn}))
    assert cancelled == {"cancelled": "1", "rejected": [state_name(last.action)]}


def answered(client: Client, world: World, **answer: str) -> tuple[Execution, TestResponse]:
    """Run a parcel and send the answer while it waits; return how it ended, and the response."""
    sent = {"execution": "parcel", "state": "RequestPickup", **answer}
    world.machine.sender = lambda _state, _payload: responses.append(client.post("/api/answer", sent))
    responses: list[TestResponse] = []
    ended = world.run(name="parcel")
    return ended, responses[0]


@parcel
def test_a_waiting_saga_says_what_it_waits_for_since_when_and_until_when(client: Client, world: World) -> None:
    world.machine.sender = lambda _state, payload: seen.append(
        (client.get("/api/execution", name="parcel"), payload["task_token"])
    )
    seen: list[tuple[TestResponse, str]] = []
    world.run(name="parcel")
    ((response, token),) = seen
    shown = body(response)
    (wait,) = shown["waits"]
    assert (wait["state"], wait["entity"], wait["status"]) == ("RequestPickup", "PICKUP", "REQUESTED")
    assert wait["since"] == shown["path"][-1]["entered_at"]
    assert datetime.fromisoformat(wait["until"]) - datetime.fromisoformat(wait["since"]) >= timedelta(days=2)
    assert shown["meaning"] == "The saga waits for an answer in RequestPickup."
    assert token not in response.text
    assert client.document("/api/execution", name="parcel")["waits"] == []


@parcel
def test_an_accepting_answer_by_hand_completes_the_step(client: Client, world: World) -> None:
    ended, response = answered(client, world, result="accepted", details='{"driver": "Ada"}')
    assert (response.status_code, body(response)) == (200, {"answered": "RequestPickup", "status": "ACCEPTED"})
    assert ended.status == "SUCCEEDED"
    assert world.machine.rows("1")["PICKUP"]["driver"] == "Ada"


@parcel
def test_a_rejecting_answer_by_hand_rolls_the_saga_back(client: Client, world: World) -> None:
    ended, response = answered(client, world, result="rejected", reason="no van")
    assert (response.status_code, body(response)["status"]) == (200, "DECLINED")
    assert ended.cause == "RequestPickup failed: StepRejected: PICKUP was rejected: no van"


@parcel
@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        ({"result": "accepted", "details": ""}, 409, "the answer was rejected: InvalidInput: driver is missing"),
        ({"result": "accepted", "details": "["}, 400, "invalid details: must be a JSON object"),
        ({"result": "accepted", "details": "[]"}, 400, "invalid details: must be a JSON object"),
        ({"result": "rejected", "reason": ""}, 409, "the answer was rejected: InvalidInput: reason is "),
        ({"result": "accepted"}, 400, "the request has no answer: reload the page"),
        ({"result": "maybe", "details": "{}"}, 400, "the request has no answer: reload the page"),
        (
            {"result": "rejected", "reason": "x", "state": "ReserveGoods"},
            409,
            "ReserveGoods does not wait for an answer: reload the page",
        ),
    ],
)
def test_an_answer_that_does_not_count_says_why_and_the_saga_waits_on(
    client: Client, world: World, answer: dict[str, str], status: int, error: str
) -> None:
    ended, response = answered(client, world, **answer)
    assert (response.status_code, body(response)["error"][: len(error)]) == (status, error)
    assert "States.Timeout" in str(ended.cause)


@parcel
def test_an_answer_by_hand_to_an_older_stack_says_what_to_do(client: Client, world: World) -> None:
    world.client.stack = replace(world.client.stack, receiver=None)
    _, response = answered(client, world, result="rejected", reason="no van")
    assert body(response)["error"] == "ParcelSaga-dev has no output ReceiverName: deploy it again with this version"


def test_a_replay_enters_one_state_after_the_other(client: Client, world: World) -> None:
    world.run("1", address=None, name="1")
    frames = client.document("/api/replay", name="1")["frames"]
    words = [{state["state"]: state["word"] for state in frame["states"]} for frame in frames]
    assert [word["ProcessPayment"] for word in words[:3]] == ["not yet", "running", "done"]
    assert words[-1]["OrderFailed"] == "failed"
    shown = client.document("/api/execution", name="1")
    assert frames[-1] == {"states": shown["states"], "graphs": shown["graphs"]}


def test_the_history_has_the_events_without_their_data(client: Client, world: World) -> None:
    world.run("1", name="1")
    events = client.document("/api/history", name="1")["events"]
    assert (events[0]["type"], events[0]["state"]) == ("ExecutionStarted", None)
    entered = [event["state"] for event in events if event["type"].endswith("Entered")]
    assert entered == list(world.machine.demo.expected_ends()["1-success"].states)
    assert set(events[0]) == {"id", "previous", "type", "at", "state"}


def test_executions_are_filtered_by_outcome_error_state_and_time(client: Client, world: World) -> None:
    world.run("1", name="good")
    world.run_into_a_failure("2", name="failed")
    world.run_into_a_stop("3", name="stuck")

    def named(**filters: str) -> set[str]:
        return {one["name"] for one in client.document("/api/executions", **filters)["executions"]}

    assert named() == {"good", "failed", "stuck"}
    assert named(outcome="rolled_back") == {"failed"}
    assert named(error="RuntimeError") == named(state="RefundPayment") == {"stuck"}
    assert named(until="2026-01-01T00:00") == set()


def test_an_outcome_takes_one_request(client: Client, world: World) -> None:
    world.run("1", name="1")
    outcome = client.document("/api/outcome", name="1")
    assert (outcome["outcome"], set(outcome)) == ("fulfilled", {"outcome", "stopped_at"})


def test_an_execution_on_aws_has_links_and_one_on_a_local_cloud_has_none(client: Client, world: World) -> None:
    ended = world.run("1", name="1")
    world.describe_with({"traceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"})
    links = client.document("/api/execution", name="1")["links"]
    assert set(links) == {"Execution", "Log", "Dashboard", "Trace"}
    assert links["Trace"].endswith("#xray:traces/1-5759e988-bd862e3fe1be46a994272793")
    assert "$252Faws$252Fvendedlogs$252Fstates$252Fsaga-0" in links["Log"]
    execution = world.client.execution(ended.arn)
    local = replace(execution, arn=execution.arn.replace("123456789012", "000000000000"))
    assert views.links(local, "OrderSaga-dev") == {}


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        ("/api/history", {"name": "none"}, 404),
        ("/api/replay", {"name": "none"}, 404),
        ("/api/execution", {}, 400),
        ("/api/execution", {"name": "none"}, 404),
        ("/api/order", {"id": "none"}, 404),
        ("/api/executions", {"outcome": "GOOD"}, 400),
        ("/api/executions", {"since": "yesterday"}, 400),
        ("/api/executions", {"since": "2026-02-01", "until": "2026-01-01"}, 400),
        ("/no/such/page", {}, 404),
        ("/api/start", {}, 405),
    ],
)
def test_an_unknown_thing_is_reported_in_one_line(
    client: Client, path: str, parameters: dict[str, str], status: int
) -> None:
    response = client.get(path, **parameters)
    assert response.status_code == status
    assert response.text.strip().count("\n") == 0


def test_a_failure_of_a_service_is_one_line(client: Client, world: World) -> None:
    world.reject("ListExecutions", "AccessDeniedException", "not yours")
    response = client.get("/api/executions")
    assert (response.status_code, response.json) == (502, {"error": "ListExecutions is not allowed: not yours"})


def test_a_body_that_is_too_large_is_rejected(client: Client) -> None:
    assert client.post("/api/check", {"fields": {"address": "x" * 400_000}}).status_code == 413


def console(*options: str, client: SagaClient | Exception) -> int:
    """Run the command on a stack, or on one that cannot be reached."""

    def connect(_target: Target) -> SagaClient:
        if isinstance(client, Exception):
            raise client
        return client

    return main(["console", *options], connect=connect)


def test_an_address_that_others_can_reach_needs_a_flag(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert console("--host", "192.0.2.1", client=world.client) == 2
    err = capsys.readouterr().err
    assert "no login" in err
    assert EXPOSE in err
    # With the flag it is tried; this machine does not have that address.
    assert console("--host", "192.0.2.1", EXPOSE, client=world.client) == 2
    assert "cannot listen on 192.0.2.1:8080" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com", ""])  # noqa: S104 (they are rejected)
def test_a_host_must_be_the_address_of_one_interface(
    world: World, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        console("--host", host, EXPOSE, client=world.client)
    assert ended.value.code == 2
    assert "argument --host" in capsys.readouterr().err


def test_an_exposed_console_answers_only_to_its_own_address() -> None:
    assert allowed_hosts("192.0.2.1", 8080) == {"192.0.2.1:8080"}
    assert ipaddress.ip_address("192.0.2.1").is_loopback is False


def test_a_console_that_cannot_start_reports_why_in_one_line(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert console("--port", port, client=world.client) == 2
        err = capsys.readouterr().err
        assert f"cannot listen on 127.0.0.1:{port}" in err
        assert "--port" in err
    assert console("--presets", str(tmp_path), client=world.client) == 2
    assert "no presets in" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text("[")
    assert console("--presets", str(tmp_path), client=world.client) == 2
    assert "bad.json: must be a JSON object" in capsys.readouterr().err
    assert console(client=UnknownStack("no stack X in us-east-1")) == 2
    assert capsys.readouterr().err == "error: no stack X in us-east-1\n"
    assert console(client=OpsError("no complete credentials")) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("commands", ["", "curl 'http://127.0.0.1/orders'"])
def test_the_first_page_shows_the_commands_of_the_api_if_there_is_one(world: World, commands: str) -> None:
    app = create_app(
        world.client, hosts=allowed_hosts("127.0.0.1", 8080), presets=INPUTS, token=TOKEN, api_commands=commands
    )
    page = Client(app.test_client()).get("/").text
    assert ("HTTP API" in page) is bool(commands)
    assert str(escape(commands)) in page
