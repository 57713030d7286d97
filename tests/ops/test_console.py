"""The console's server without a browser: what it answers, what it refuses, and what it never tells."""

import ipaddress
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from local.demo import EXPECTED, SCENARIOS
from ops.__main__ import main
from ops.commands import EXPOSE
from ops.connection import Settings
from ops.console import watch
from ops.console.form import Refusal, is_of_orders, order_of, read_presets, refusal_of
from ops.console.server import create_app, names_of
from ops.definition import read_definition
from ops.errors import OpsError, UnknownStack
from ops.sagas import Sagas
from tests.ops.conftest import CARD, World
from tests.sagas import SAGAS

HOST = "127.0.0.1:8080"
TOKEN = "a token"  # noqa: S105 (of a test)
PRESETS = read_presets(SCENARIOS)


other_sagas = pytest.mark.parametrize("saga", [name for name in SAGAS if name != "order"], indirect=True)


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.sagas, hosts=names_of("127.0.0.1", 8080), presets=PRESETS, token=TOKEN)


class Client:
    """A page of the console, as the server sees it. No answer may hold the card."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client

    def get(self, path: str, *, host: str = HOST, **asked: str) -> TestResponse:
        return self._checked(self._client.get(path, query_string=asked, headers={"Host": host}))

    def post(self, path: str, form: object, **headers: str) -> TestResponse:
        sent = {"Host": HOST, "X-CSRF-Token": TOKEN, "Content-Type": "application/json", **headers}
        return self._checked(self._client.post(path, data=json.dumps(form), headers=sent))

    def _checked(self, response: TestResponse) -> TestResponse:
        text = response.get_data(as_text=True)
        assert CARD not in text
        assert "Traceback" not in text
        return response


@pytest.fixture
def client(app: Flask) -> Client:
    return Client(app.test_client())


def page_of(response: TestResponse) -> str:
    return response.get_data(as_text=True)


def form(preset: str = "1-success", **fields: str) -> dict[str, Any]:
    told = next(one for one in PRESETS if one.name == preset).told()
    known: Any = told["fields"]
    return {"fields": {**known, **fields}, "card_of": preset, "name": fields.get("order_id", "1")}


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080"])
def test_the_console_answers_to_its_own_names(client: Client, host: str) -> None:
    assert client.get("/", host=host).status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1", "127.0.0.1:80", "localhost.evil.example:8080"])
@pytest.mark.parametrize("path", ["/", "/api/executions", "/static/home.js", "/no/such/page"])
def test_any_other_host_is_refused(client: Client, host: str, path: str) -> None:
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
@pytest.mark.parametrize("path", ["/api/start", "/api/resume", "/api/check"])
def test_a_request_that_no_page_of_the_console_has_sent_changes_nothing(
    client: Client, world: World, headers: dict[str, str], path: str
) -> None:
    assert client.post(path, form(), **headers).status_code in (403, 415)
    assert world.sagas.executions().executions == ()


def test_pages_carry_the_token_and_no_two_consoles_share_one(world: World) -> None:
    apps = [create_app(world.sagas, hosts=frozenset({HOST}), presets=PRESETS) for _ in range(2)]
    pages = [app.test_client().get("/", headers={"Host": HOST}).get_data(as_text=True) for app in apps]
    tokens = {page.split('name="csrf-token" content="')[1].split('"')[0] for page in pages}
    assert len(tokens) == 2
    assert all(len(token) > 40 for token in tokens)


@pytest.mark.parametrize("path", ["/", "/execution", "/order", "/api/executions", "/no/such/page"])
def test_no_page_may_run_foreign_scripts_or_be_framed(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(one.strip().split(" ", 1) for one in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_the_frame_that_draws_has_no_origin_and_reaches_nothing(client: Client) -> None:
    policy = client.get("/drawing").headers["Content-Security-Policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy
    assert "default-src 'none'; script-src 'self';" in policy


def test_pages_hold_no_inline_script_and_no_style(client: Client) -> None:
    for path in ("/", "/execution", "/order", "/drawing"):
        page = client.get(path).get_data(as_text=True)
        assert "<style" not in page
        assert " style=" not in page
        assert all(tag.split(">")[0].count("src=") == 1 for tag in page.split("<script")[1:])
        assert "http://" not in page
        assert "https://" not in page


def test_what_is_in_an_address_is_text_on_the_page(client: Client) -> None:
    assert "<b>x" not in client.get("/execution", name="<b>x").get_data(as_text=True)
    assert "<b>x" not in client.get("/order", id="<b>x").get_data(as_text=True)


@pytest.mark.parametrize("preset", PRESETS, ids=[preset.name for preset in PRESETS])
def test_the_check_says_what_will_happen(client: Client, world: World, preset: Any) -> None:
    expected = EXPECTED[preset.name]
    told = client.post("/api/check", form(preset.name)).json or {}
    failed = [state for state in expected.states if f": {state} fails" in f": {expected.title}"]
    assert told["step"] == (failed[0] if expected.status == "FAILED" else None)
    assert client.post("/api/start", form(preset.name)).status_code == 200, "it can be started all the same"
    (execution,) = world.sagas.executions().executions
    assert execution.status == expected.status
    if told["step"]:
        assert execution.cause == f"{told['step']} failed: InvalidOrder: {told['reason']}"


def test_an_order_that_is_held_is_told_before_it_is_started(client: Client, world: World) -> None:
    ended = world.run("1")
    assert (client.post("/api/check", form()).json or {})["held_by"] == ended.arn
    undone = world.run("2", address=None)
    assert undone.status == "FAILED"
    assert (client.post("/api/check", form(order_id="2")).json or {})["held_by"] is None


def test_a_name_that_is_taken_is_explained(client: Client, world: World) -> None:
    world.refuse("StartExecution", "ExecutionAlreadyExists")
    answer = client.post("/api/start", form())
    assert answer.status_code == 409
    assert (answer.json or {})["existing"] == "1"
    assert "An execution named 1 exists already" in (answer.json or {})["error"]


def test_a_service_that_quotes_the_input_does_not_give_the_card_away(client: Client, world: World) -> None:
    world.refuse("StartExecution", "InvalidExecutionInput", f'at "card_no": "{CARD}"')
    answer = client.post("/api/start", form())
    assert answer.status_code == 502
    assert "(card number)" in (answer.json or {})["error"]


def test_what_is_typed_is_what_is_sent() -> None:
    assert order_of({"fields": {"order_id": "1", "total": "0.10", "card_no": "", "address": " x "}}, PRESETS) == {
        "order_id": "1",
        "total": 0.1,
        "address": " x ",
    }
    assert order_of({"fields": {"total": "12 euros"}, "more": '{"note": [1]}'}, PRESETS) == {
        "total": "12 euros",
        "note": [1],
    }
    for text in ("NaN", "Infinity", "1e400", "true", '"5"'):
        assert order_of({"fields": {"total": text}}, PRESETS) == {"total": text}, "no number that JSON can say"
    assert order_of({"fields": {"card_no": "9"}, "card_of": "1-success"}, PRESETS) == {"card_no": "9"}
    assert order_of({"fields": {}, "card_of": "1-success"}, PRESETS) == {"card_no": CARD}
    assert order_of({"fields": {}, "card_of": "2-failed-order"}, PRESETS) == {}


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
def test_what_no_form_sends_is_refused_in_one_line(client: Client, world: World, sent: object) -> None:
    answer = client.post("/api/start", sent)
    assert answer.status_code == 400
    assert "\n" not in (answer.json or {})["error"]
    assert world.sagas.executions().executions == ()


def test_the_first_step_that_refuses_is_named() -> None:
    assert refusal_of({}) == Refusal(
        step="CreateOrder", reason="order_id is missing: expected a string of 1 to 128 characters"
    )
    assert refusal_of({"order_id": "1", "total": 1, "card_no": CARD, "address": "x"}) is None


def test_an_execution_is_told_with_its_graphs_rows_and_meaning(client: Client, world: World) -> None:
    world.run("1", address=None, name="1")
    told = client.get("/api/execution", name="1").json or {}
    assert told["meaning"].startswith("The order was refused or a step failed")
    assert [row["status"] for row in told["rows"]] == ["DELETED", "REFUNDED", "CANCELLED"]
    assert [row["undone"] for row in told["rows"]] == [True, True, True]
    assert told["graphs"]["LR"].startswith("flowchart LR\n")
    assert told["graphs"]["TD"].startswith("flowchart TD\n")
    assert "classDef" not in told["graphs"]["LR"], "the page has its own colours"
    assert {state["state"]: state["word"] for state in told["states"]}["RefundPayment"] == "undone"


def test_the_rows_of_an_order_are_told_with_whether_they_are_undone(client: Client, world: World) -> None:
    world.run_into_a_stop("1")
    told = client.get("/api/order", id="1").json or {}
    assert [(row["status"], row["undone"]) for row in told["rows"]] == [
        ("PENDING", False),
        ("CHARGED", False),
        ("CANCELLED", True),
    ]


def test_a_stuck_execution_is_told_with_the_state_that_it_is_stuck_in(client: Client, world: World) -> None:
    world.run_into_a_stop("1", name="1")
    told = client.get("/api/execution", name="1").json or {}
    assert told["stopped_in"] == ["RefundPayment"]
    assert "it stopped half way in RefundPayment." in told["meaning"]
    world.run("2", name="2")
    assert (client.get("/api/execution", name="2").json or {})["stopped_in"] == []


def test_a_duplicate_is_told_to_have_changed_nothing(client: Client, world: World) -> None:
    world.run("1")
    world.run("1", name="again")
    told = client.get("/api/execution", name="again").json or {}
    assert "Another saga holds this order" in told["meaning"]


@other_sagas
def test_another_saga_is_started_by_json_and_shown_in_its_own_words(client: Client, world: World) -> None:
    example = world.machine.example
    page = page_of(client.get("/"))
    assert f"<h1>{example.noun.capitalize()}s</h1>" in page
    assert 'id="input"' in page
    assert "field-card_no" not in page
    assert "preset" not in page
    order = example.scenario("1-success")
    given = {"input": json.dumps(order), "name": "mine"}
    assert client.post("/api/check", given).json == {"step": None, "reason": None, "held_by": None}
    assert (client.post("/api/start", given).json or {})["name"] == "mine"
    told = client.get("/api/execution", name="mine").json or {}
    assert (told["execution"]["order_id"], told["execution"]["outcome"]) == (order[example.key], "fulfilled")
    assert told["meaning"] == f"The {example.noun} is fulfilled: every step is done."
    assert {row["entity"]: row["undone"] for row in told["rows"]} == dict.fromkeys(example.entities)
    held_by = (client.post("/api/check", given).json or {})["held_by"]
    assert held_by == told["execution"]["execution_arn"], "there are rows of it"
    world.refuse("StartExecution", "ExecutionAlreadyExists")
    answer = client.post("/api/start", given)
    assert answer.status_code == 409
    assert f"An execution named mine exists already, perhaps of this very {example.noun}." in page_of(answer)


@pytest.mark.parametrize("saga", ["ticket"], indirect=True)
def test_rows_of_another_saga_are_not_judged_by_the_order_sagas_words(client: Client, world: World) -> None:
    sale = world.machine.example.scenario("1-success")
    world.machine.call("RefundCard", sale)
    (row,) = (client.get("/api/order", id="1").json or {})["rows"]
    assert (row["entity"], row["status"], row["undone"]) == ("PAYMENT", "REFUNDED", None)
    assert (client.post("/api/check", {"input": json.dumps(sale)}).json or {})["held_by"] == "direct"


@other_sagas
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "the input is no JSON object"),
        ("", "the input is no JSON object"),
        ("{", "the input is no JSON object"),
        ("[]", "the input is no JSON object"),
        ('{"KEY": NaN}', "the input is no JSON object"),
        ('{"order_id": "1"}', "the input has no KEY"),
        ('{"KEY": 5}', "the input has no KEY"),
        ('{"KEY": ""}', "the input has no KEY"),
    ],
)
@pytest.mark.parametrize("path", ["/api/check", "/api/start"])
def test_what_cannot_be_the_input_of_another_saga_is_refused_in_one_line(
    client: Client, world: World, text: str | None, says: str, path: str
) -> None:
    key = world.machine.shape.key
    answer = client.post(path, {"input": text and text.replace("KEY", key)})
    assert answer.status_code == 400
    assert says.replace("KEY", key) in (answer.json or {})["error"]
    assert world.sagas.executions().executions == ()


@pytest.mark.parametrize("saga", ["trip"], indirect=True)
def test_an_id_that_no_table_can_hold_is_held_by_nobody(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB, which refuses it, is not asked."""
    monkeypatch.setattr(world.sagas, "_dynamodb", None)
    given = {"input": json.dumps({world.machine.shape.key: "\ud800"})}
    assert (client.post("/api/check", given).json or {})["held_by"] is None


def test_the_form_of_orders_is_for_the_state_machine_with_its_steps_alone(world: World) -> None:
    definition = json.dumps(world.machine.shape.definition)
    assert is_of_orders(read_definition(definition, where="here"), "order_id")
    assert not is_of_orders(read_definition(definition, where="here"), "sale_id")
    other = definition.replace("ProcessShipment", "PrintTicket")
    assert not is_of_orders(read_definition(other, where="here"), "order_id")


def test_executions_that_have_ended_cleanly_are_asked_for_once(client: Client, world: World) -> None:
    world.run("1")
    world.run("2", total=None)
    world.run_into_a_stop("3")
    asked: list[str] = []
    world.stepfunctions.meta.events.register(
        "before-call.stepfunctions.DescribeExecution", lambda params, **_: asked.append(params["body"])
    )
    pages = [client.get("/api/executions").json for _ in range(3)]
    assert pages[0] == pages[1] == pages[2]
    assert len(asked) == 2 + 3, "the stuck one may be resumed"


def test_the_queue_is_looked_at_once_for_all_tabs(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    clean = world.run("2")
    world.report(clean.arn)
    looks: list[object] = []
    world.sqs.meta.events.register("before-call.sqs.ReceiveMessage", lambda **given: looks.append(given))
    first = client.get("/api/stuck").json or {}
    assert [saga["execution_arn"] for saga in first["stuck"]] == [ended.arn]
    assert client.get("/api/stuck").json == first
    assert len(looks) == 2, "the messages, then none"
    client.get("/api/stuck", again="yes")
    assert len(looks) == 4
    monkeypatch.setattr(watch, "LOOK_AGAIN_SECONDS", 0)
    client.get("/api/stuck")
    assert len(looks) == 6
    assert set(world.messages()) == {ended.arn, clean.arn}, "looking takes nothing away"


def test_resuming_where_there_is_no_redrive_says_so(client: Client, world: World) -> None:
    ended = world.run_into_a_stop("1")
    answer = client.post("/api/resume", {"execution": ended.arn})
    assert answer.status_code == 409
    assert "has no RedriveExecution" in (answer.json or {})["error"]


def test_resuming_goes_on_in_the_state_where_it_stopped(client: Client, world: World) -> None:
    ended = world.run_into_a_stop("1")
    world.answer("RedriveExecution", {"redriveDate": datetime(2026, 1, 31, tzinfo=UTC)})
    answer = client.post("/api/resume", {"execution": ended.arn})
    assert answer.status_code == 200
    assert (answer.json or {})["state"] == "RefundPayment"


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("/api/execution", {}, 400),
        ("/api/execution", {"name": "none"}, 404),
        ("/api/order", {"id": "none"}, 404),
        ("/api/executions", {"status": "GOOD"}, 400),
        ("/no/such/page", {}, 404),
        ("/api/start", {}, 405),
    ],
)
def test_what_is_not_there_is_one_line(client: Client, path: str, asked: dict[str, str], status: int) -> None:
    answer = client.get(path, **asked)
    assert answer.status_code == status
    assert answer.get_data(as_text=True).strip().count("\n") == 0


def test_a_service_that_fails_is_one_line(client: Client, world: World) -> None:
    world.refuse("ListExecutions", "AccessDeniedException", "not yours")
    answer = client.get("/api/executions")
    assert (answer.status_code, answer.json) == (502, {"error": "ListExecutions is not allowed: not yours"})


def test_a_body_that_is_too_long_is_refused(client: Client) -> None:
    assert client.post("/api/check", {"fields": {"address": "x" * 400_000}}).status_code == 413


def console(*options: str, sagas: Sagas | Exception) -> int:
    """Run the command on a stack, or on one that cannot be reached."""

    def connected(_settings: Settings) -> Sagas:
        if isinstance(sagas, Exception):
            raise sagas
        return sagas

    return main(["console", *options], connect=connected)


def test_an_address_that_others_reach_is_refused_unless_it_is_asked_for(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console("--host", "192.0.2.1", sagas=world.sagas) == 2
    err = capsys.readouterr().err
    assert "whoever reaches it could read all orders" in err
    assert EXPOSE in err
    # Asked for, it is tried; that address is none of this machine.
    assert console("--host", "192.0.2.1", EXPOSE, sagas=world.sagas) == 2
    assert "192.0.2.1:8080 cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com", ""])  # noqa: S104 (they are refused)
def test_what_is_no_address_of_one_interface_is_refused(
    world: World, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        console("--host", host, EXPOSE, sagas=world.sagas)
    assert ended.value.code == 2
    assert "argument --host" in capsys.readouterr().err


def test_a_host_that_is_exposed_answers_to_its_own_address_alone() -> None:
    assert names_of("192.0.2.1", 8080) == {"192.0.2.1:8080"}
    assert ipaddress.ip_address("192.0.2.1").is_loopback is False


def test_what_stands_in_the_way_of_the_console_is_one_line(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert console("--port", port, sagas=world.sagas) == 2
        told = capsys.readouterr().err
        assert f"127.0.0.1:{port} cannot be used" in told
        assert "--port" in told
    assert console("--presets", str(tmp_path), sagas=world.sagas) == 2
    assert "has no presets" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text("[")
    assert console("--presets", str(tmp_path), sagas=world.sagas) == 2
    assert "bad.json is no preset" in capsys.readouterr().err
    assert console(sagas=UnknownStack("there is no stack X in us-east-1")) == 2
    assert capsys.readouterr().err == "error: there is no stack X in us-east-1\n"
    assert console(sagas=OpsError("there are no complete credentials")) == 2
    assert capsys.readouterr().err.count("\n") == 1
