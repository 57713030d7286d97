"""``python -m ops`` as a person and as a script meet it."""

import ast
import io
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from ops import __main__ as command_line
from ops.__main__ import main
from ops.connection import Settings, connect, read_stack
from ops.errors import UnknownStack
from ops.sagas import Sagas
from ops.tables import duration
from ops.words import noun_of, printable
from tests.histories import FAILED_GROUP, history
from tests.ops.conftest import CARD, World
from tests.sagas import each_saga

OUTPUTS = {"StateMachineArn": "arn:machine", "TableName": "table", "StuckSagasQueueUrl": "https://queue"}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Ops = Callable[..., Told]


@pytest.fixture
def ops(world: World, capsys: pytest.CaptureFixture[str]) -> Ops:
    """Runs a command on the world's stack."""

    def run(*arguments: str) -> Told:
        capsys.readouterr()  # what the functions of the orders before have printed
        status = main(list(arguments), connect=lambda _settings: world.sagas)
        out, err = capsys.readouterr()
        assert CARD not in out + err
        return Told(status=status, out=out, err=err)

    return run


def refused(arguments: list[str], error: Exception, capsys: pytest.CaptureFixture[str]) -> Told:
    """A command whose stack cannot be reached."""

    def fails(_settings: Settings) -> Sagas:
        raise error

    status = main(arguments, connect=fails)
    out, err = capsys.readouterr()
    return Told(status=status, out=out, err=err)


class Terminal(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def test_list_shows_the_newest_first_with_outcome_and_order(world: World, ops: Ops) -> None:
    for ended in (world.run("1"), world.run("2", total=None), world.run_into_a_stop("3")):
        assert ended.status
    head, *lines = ops("list").out.splitlines()
    assert head.split() == ["STARTED", "TOOK", "STATUS", "OUTCOME", "EXECUTION", "ORDER"]
    assert [line.split()[-1] for line in lines] == ["3", "2", "1"]
    assert ["stuck" in lines[0], "rolled back" in lines[1], "fulfilled" in lines[2]] == [True] * 3
    assert len(ops("list", "--limit", "2").out.splitlines()) == 3
    assert [line.split()[-1] for line in ops("list", "--status=succeeded").out.splitlines()[1:]] == ["1"]
    assert ops("list", "--status=ABORTED").out == "no executions\n"


def test_show_tells_of_rows_path_and_errors(world: World, ops: Ops) -> None:
    ended = world.run_into_a_stop("1")
    out = ops("show", "1").out
    assert out.startswith("order 1\n")
    assert ended.arn in out.splitlines()
    told = " ".join(out.split())
    assert "ended FAILED (RuntimeError) stuck" in told
    assert "SHIPMENT CANCELLED" in told
    assert "1 time InvalidOrder: address is missing" in told
    assert "36 times RuntimeError: no network" in told


@each_saga
def test_any_saga_is_told_by_its_own_words(world: World, ops: Ops) -> None:
    noun = world.machine.example.noun
    world.run_into_a_failure("1")
    stuck = world.run_into_a_stop("2")
    head, *lines = ops("list").out.splitlines()
    assert head.split()[-1] == noun.upper()
    assert [line.split()[-1] for line in lines] == ["2", "1"]
    assert ["stuck" in lines[0], "rolled back" in lines[1]] == [True, True]
    assert ops("show", "1").out.startswith(f"{noun} 1\n")
    assert f"{stuck.arn} {noun} 2 stopped in {stuck.states[-1]}," in " ".join(ops("stuck", "--scan").out.split())
    assert f"-dev knows no {noun} 3: " in ops("show", "3").err
    told = ops("resume", stuck.arn, "--yes").err
    assert f"try the {noun} again under another {world.machine.shape.key}\n" in told


@each_saga
def test_documents_call_it_an_order_whatever_the_saga_calls_it(world: World, ops: Ops) -> None:
    ended = world.run("1")
    (listed,) = ops("list", "--json").document["executions"]
    assert (listed["order_id"], listed["outcome"], listed["execution_arn"]) == ("1", "fulfilled", ended.arn)
    assert ops("show", "1", "--json").document["order_id"] == "1"


def test_show_tells_of_each_branch_of_a_group_what_became_of_it(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run_into_a_stop("1")
    monkeypatch.setattr(world.sagas, "_history", lambda _arn: history(FAILED_GROUP))
    told = [" ".join(line.split()) for line in ops("show", "1").out.splitlines()]
    assert "stopped in CancelFlight" in told
    assert told[-6:] == [
        "UndoReservations 16.0 s 1 attempt",
        "1 time Broken",
        "CancelFlight 14.0 s 2 attempts",
        "2 times Broken",
        "CancelHotel 13.0 s, stopped 2 attempts",
        "1 time Throttled",
    ]


def test_stuck_tells_state_cause_and_time_left(world: World, ops: Ops) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    for out in (ops("stuck").out, ops("stuck", "--scan").out):
        told = " ".join(out.split())
        assert "1 stuck saga, the oldest first" in told
        assert "stopped in RefundPayment, FAILED (RuntimeError) stuck because no network since 2" in told
        assert "resume within 13 d 23 h, until 2" in told


def test_stuck_says_when_all_is_well_and_what_it_removed(world: World, ops: Ops) -> None:
    world.report(world.run("1").arn)
    assert ops("stuck", "--keep").out == (
        "no saga is stuck\n\n1 message in the queue of sagas that run again or are no longer stuck\n"
    )
    assert ops("stuck").out == (
        "no saga is stuck\n\n1 message of sagas that are no longer stuck removed from the queue\n"
    )
    assert ops("stuck").out == "no saga is stuck\n"


def shape_of(document: object) -> object:
    """The document's keys, without its values; a list by its first element."""
    match document:
        case dict():
            return {key: shape_of(value) for key, value in document.items()}
        case [first, *_]:
            return [shape_of(first)]
    return None


EXECUTION = dict.fromkeys(
    ("execution_arn", "name", "status", "outcome", "order_id", "started_at", "stopped_at", "error", "cause")
) | {"redrive_count": None}
STUCK: dict[str, object] = {**EXECUTION, "state": None, "redrivable_until": None, "redrive_status": None}
ATTEMPT = dict.fromkeys(("started_at", "ended_at", "error", "cause"))
STEP = {
    **dict.fromkeys(("state", "entered_at", "left_at", "seconds", "end", "within", "after")),
    "attempts": [ATTEMPT],
}
ROW = {
    **dict.fromkeys(("entity", "status", "saga_id")),
    "history": [dict.fromkeys(("status", "saga_id", "at"))],
}
DOCUMENTS: Mapping[str, object] = {
    "list": {"executions": [EXECUTION]},
    "show 1": {
        "order_id": None,
        "rows": [ROW],
        "sagas": [{"saga_id": None, "execution": EXECUTION, "path": [STEP]}],
    },
    "stuck": {
        "stuck": [STUCK],
        "messages": dict.fromkeys(("removed", "outdated", "unreadable", "complete")),
    },
    "resume mine --yes": {"resumed": STUCK, "redriven_at": None, "ended": None},
    "resume mine --yes --wait": {"resumed": STUCK, "redriven_at": None, "ended": EXECUTION},
}


@pytest.mark.parametrize("command", DOCUMENTS)
def test_the_keys_of_each_document_are_stable(world: World, ops: Ops, command: str) -> None:
    world.report(world.run_into_a_stop("1", name="mine").arn)
    world.answer("RedriveExecution", {"redriveDate": datetime.now(UTC)})
    if "--wait" in command:
        world.describe_with({}, {"status": "SUCCEEDED"})
    told = ops(*command.split(), "--json")
    assert shape_of(told.document) == DOCUMENTS[command]
    assert (told.status, told.err) == (0, "")


def test_options_may_stand_before_and_after_the_command(world: World, ops: Ops) -> None:
    world.run("1")
    assert ops("--json", "list").document == ops("list", "--json").document


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (("list",), Settings(stack="OrderSaga-dev")),
        (("--stage", "prod", "list"), Settings(stack="OrderSaga-prod")),
        (("list", "--stage", "eu-2"), Settings(stack="OrderSaga-eu-2")),
        (("--stage", "prod", "list", "--stage", "dev"), Settings(stack="OrderSaga-dev")),
        (("list", "--stack", "Other"), Settings(stack="Other")),
        (
            ("--profile", "p", "list", "--region", "r", "--endpoint-url", "http://127.0.0.1:4566"),
            Settings(stack="OrderSaga-dev", profile="p", region="r", endpoint_url="http://127.0.0.1:4566"),
        ),
    ],
)
def test_the_options_say_where_the_stack_is(world: World, arguments: tuple[str, ...], settings: Settings) -> None:
    asked: list[Settings] = []

    def note(settings: Settings) -> Sagas:
        asked.append(settings)
        return world.sagas

    assert main(list(arguments), connect=note) == 0
    assert asked == [settings]


def test_without_a_terminal_nothing_is_resumed_unasked(world: World, ops: Ops) -> None:
    ended = world.run_into_a_stop("1")
    world.answer("RedriveExecution", {"redriveDate": datetime.now(UTC)})
    told = ops("resume", ended.arn)
    assert (told.status, told.out) == (2, "")
    assert told.err == "error: there is no terminal to ask whether to resume it: say --yes\n"


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_person_is_told_what_will_happen_and_asked(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch, typed: str, status: int
) -> None:
    ended = world.run_into_a_stop("1", name="mine")
    world.answer("RedriveExecution", {"redriveDate": datetime.now(UTC)})
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    told = ops("resume", ended.arn)
    asked = " ".join(told.err.split())
    assert f"{ended.arn} order 1 stopped in RefundPayment, FAILED (RuntimeError) stuck because no network" in asked
    assert "It will go on in RefundPayment, with the input that it had. Resume it? [y/N]" in asked
    assert (told.status, told.out) == (status, "" if status else "resumed mine in RefundPayment\n")
    assert ("Nothing was done." in told.err) is bool(status)


@pytest.mark.parametrize(
    ("last", "status", "says"),
    [
        ({"status": "SUCCEEDED", "error": None, "cause": None}, 0, "ended SUCCEEDED fulfilled"),
        ({"status": "FAILED", "error": "OrderFailed", "cause": "c"}, 0, "ended FAILED (OrderFailed) rolled back"),
        ({"stopDate": datetime.now(UTC) + timedelta(days=1)}, 1, "ended FAILED (RuntimeError) stuck"),
    ],
)
def test_waiting_follows_the_saga_to_its_end(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch, last: dict[str, Any], status: int, says: str
) -> None:
    monkeypatch.setattr(command_line, "POLL_SECONDS", 0)
    ended = world.run_into_a_stop("1")
    world.answer("RedriveExecution", {"redriveDate": datetime.now(UTC)})
    # At first Step Functions still tells of the old stop.
    world.describe_with({}, {}, {"status": "RUNNING"}, {"status": "RUNNING"}, last)
    told = ops("resume", ended.arn, "--yes", "--wait")
    assert told.status == status
    assert says in told.out


def test_texts_from_outside_neither_steer_the_terminal_nor_are_taken_for_markup(world: World, ops: Ops) -> None:
    order_id = "[red]1[/red] :smile: \u202egnp"
    world.run(order_id, total=None)
    told = ops("show", order_id)
    assert told.out.startswith("order [red]1[/red] :smile: \\u202egnp\n")
    assert ops("list").out.splitlines()[1].endswith("  [red]1[/red] :smile: \\u202egnp")
    unknown = ops("show", "\x1b[31m\udc80[/]\n")
    assert unknown.err.startswith(r"error: OrderSaga-dev knows no order \x1b[31m\udc80[/]\n: ")
    assert (unknown.status, unknown.out, unknown.err.count("\n")) == (2, "", 1)


def test_no_arn_is_cut_or_wrapped_however_narrow_the_terminal(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = world.run_into_a_stop("1", name="x" * 80)
    monkeypatch.setenv("COLUMNS", "20")
    for told in (ops("show", "1"), ops("stuck", "--scan")):
        assert ended.arn in told.out.splitlines()
    assert "x" * 80 in ops("list").out


@pytest.mark.parametrize("order_id", ["", "x" * 129])
def test_what_cannot_be_an_order_is_refused(ops: Ops, capsys: pytest.CaptureFixture[str], order_id: str) -> None:
    with pytest.raises(SystemExit) as end:
        ops("show", order_id)
    assert end.value.code == 2
    assert f"an order's id has 1 to 128 characters, this one {len(order_id)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--limit=0"),
        ("list", "--limit=1001"),
        ("list", "--status=BROKEN"),
        ("list", "--stage=a b"),
        ("list", "--stack="),
        ("list", "--endpoint-url=localhost:4566"),
        ("resume", " "),
        (),
    ],
)
def test_a_mistake_in_the_arguments_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as end:
        refused(list(arguments), AssertionError("it should not even connect"), capsys)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: .+ \(python -m ops(| \w+) --help tells more\)\n", err)


def answered(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


ERRORS: tuple[tuple[Exception, str], ...] = (
    (exceptions.NoCredentialsError(), "there are no complete credentials"),
    (exceptions.NoRegionError(), "You must specify a region: name one with --region"),
    (exceptions.ProfileNotFound(profile="p"), "The config profile (p) could not be found: name another with --profile"),
    (exceptions.EndpointConnectionError(endpoint_url="http://x"), "the service does not answer"),
    (exceptions.ReadTimeoutError(endpoint_url="http://x"), "the service does not answer"),
    (exceptions.UnauthorizedSSOTokenError(), "sign in again"),
    (answered("ExpiredTokenException"), "the credentials have expired"),
    (answered("InvalidClientTokenId"), "AWS does not accept the credentials"),
    (answered("AccessDeniedException", "User: me is not authorized"), "DescribeStacks is not allowed: User: me"),
    (answered("ThrottlingException"), "DescribeStacks is throttled"),
    (answered("InternalError", "two\nlines"), "DescribeStacks failed: InternalError: two lines"),
)


@pytest.mark.parametrize(("error", "says"), ERRORS)
def test_what_goes_wrong_on_the_way_to_aws_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], error: Exception, says: str
) -> None:
    told = refused(["list", "--json"], error, capsys)
    assert (told.status, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith("error: ")
    assert says in told.err


def test_an_interrupt_ends_it_with_130() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops", "list", "--endpoint-url", f"http://127.0.0.1:{server.getsockname()[1]}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = server.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "", "Interrupted.")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://[", "http://a b"])
def test_an_endpoint_where_nobody_answers_is_one_clear_line(capsys: pytest.CaptureFixture[str], url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = Settings(stack="OrderSaga-dev", endpoint_url=url.format(port=probe.getsockname()[1]))
        status = main(["list"], connect=lambda _: connect(settings))
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--endpoint-url" in err


def described(*, outputs: Mapping[str, str] | None) -> dict[str, Any]:
    """The answer of DescribeStacks; moto's needs packages that this project does not have."""
    given = [{"OutputKey": key, "OutputValue": value} for key, value in (outputs or {}).items()]
    stack = {"StackName": "OrderSaga-dev", "CreationTime": datetime.now(UTC), "StackStatus": "CREATE_COMPLETE"}
    return {"Stacks": [{**stack, "Outputs": given}]}


KEYS = [{"AttributeName": "entity", "KeyType": "RANGE"}, {"AttributeName": "trip_id", "KeyType": "HASH"}]


def test_a_stack_is_known_by_its_outputs_and_the_key_of_its_table() -> None:
    client, dynamodb = boto3.client("cloudformation"), boto3.client("dynamodb")
    with Stubber(client) as stub, Stubber(dynamodb) as tables:
        stub.add_response("describe_stacks", described(outputs=OUTPUTS), {"StackName": "TripSaga-dev"})
        tables.add_response("describe_table", {"Table": {"KeySchema": KEYS}}, {"TableName": "table"})
        stack = read_stack(client, dynamodb, "TripSaga-dev")
    assert (stack.name, stack.state_machine_arn, stack.table, stack.stuck_sagas_queue_url) == (
        "TripSaga-dev",
        *OUTPUTS.values(),
    )
    assert (stack.key, stack.noun) == ("trip_id", "trip")


@pytest.mark.parametrize(
    ("key", "noun"),
    [
        ("order_id", "order"),
        ("seat_sale_id", "seat sale"),
        ("id", "order"),
        ("_id", "order"),
        ("pk", "order"),
        ("TripID", "order"),
    ],
)
def test_what_a_saga_is_about_is_called_as_its_key_says_if_that_is_simple(key: str, noun: str) -> None:
    assert noun_of(key) == noun


def test_a_stack_that_is_not_there_or_another_one_is_named_with_the_options() -> None:
    client, dynamodb = boto3.client("cloudformation"), boto3.client("dynamodb")
    with Stubber(client) as stub:
        message = "Stack with id OrderSaga-dev does not exist"
        stub.add_client_error("describe_stacks", "ValidationError", message)
        with pytest.raises(UnknownStack, match=r"no stack OrderSaga-dev in us-east-1: .*--stage.*--region"):
            read_stack(client, dynamodb, "OrderSaga-dev")
        stub.add_response("describe_stacks", described(outputs={"TableName": "other"}))
        with pytest.raises(UnknownStack, match=r"\(CREATE_COMPLETE\) has no output StateMachineArn"):
            read_stack(client, dynamodb, "OrderSaga-dev")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.00 s"),
        (0.364, "0.36 s"),
        (12.34, "12.3 s"),
        (60, "1 min"),
        (123, "2 min 3 s"),
        (7200, "2 h"),
        (13 * 86_400 + 4 * 3600 + 59, "13 d 4 h"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_units(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Straße 東京 🚀", "Straße 東京 🚀"),
        ("\x1b[2J\r\n", r"\x1b[2J\r\n"),
        ("\u202e\udc80\u200b", r"\u202e\udc80\u200b"),
    ],
)
def test_what_is_not_to_be_seen_is_written_as_its_code(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_it_knows_the_contract_and_not_the_insides() -> None:
    program = "import sys, ops.__main__; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not {"saga_stack", "lambdas", "local", "tests", "aws_cdk"} & set(ast.literal_eval(loaded))
