"""``python -m ops`` as people and scripts use it."""

import ast
import errno
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from ops import __main__ as command_line
from ops import bulk, resuming
from ops.__main__ import main
from ops.client import SagaClient
from ops.connection import Target, connect, read_stack
from ops.display import noun_of, printable
from ops.errors import UnknownStack
from ops.tables import duration
from tests.histories import FAILED_GROUP, history
from tests.ops.conftest import CARD, World
from tests.sagas import each_saga, on_example

OUTPUTS = {
    "StateMachineArn": "arn:machine",
    "TableName": "table",
    "StuckSagasQueueUrl": "https://queue",
    "StuckSagasTableName": "stuck",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a command."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def words(self) -> str:
        """The output without its layout."""
        return " ".join(self.out.split())


Ops = Callable[..., Result]


@pytest.fixture
def ops(world: World, capsys: pytest.CaptureFixture[str]) -> Ops:
    """Return a function that runs a command on the world's stack."""

    def run(*arguments: str) -> Result:
        capsys.readouterr()  # the logs of the functions so far
        status = main(list(arguments), connect=lambda _target: world.client)
        out, err = capsys.readouterr()
        assert CARD not in out + err
        return Result(status=status, out=out, err=err)

    return run


class Terminal(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def test_list_shows_the_newest_executions_first(world: World, ops: Ops) -> None:
    world.run("1")
    world.run("2", total=None)
    world.run_into_a_stop("3")
    head, *lines = ops("list").out.splitlines()
    assert head.split() == ["STARTED", "TOOK", "STATUS", "OUTCOME", "EXECUTION", "ORDER"]
    assert [line.split()[-1] for line in lines] == ["3", "2", "1"]
    assert ["stuck" in lines[0], "rolled back" in lines[1], "fulfilled" in lines[2]] == [True] * 3
    assert len(ops("list", "--limit", "2").out.splitlines()) == 3
    assert [line.split()[-1] for line in ops("list", "--status=succeeded").out.splitlines()[1:]] == ["1"]
    assert ops("list", "--status=ABORTED").out == "no executions\n"
    assert ops("--json", "list").document == ops("list", "--json").document, "options stand before or after"


def test_show_has_the_rows_the_path_and_the_errors(world: World, ops: Ops) -> None:
    ended = world.run_into_a_stop("1")
    shown = ops("show", "1")
    assert shown.out.startswith("order 1\n")
    assert ended.arn in shown.out.splitlines()
    assert "ended FAILED (RuntimeError) stuck" in shown.words
    assert "SHIPMENT CANCELLED" in shown.words
    assert "1 time InvalidInput: address is missing" in shown.words
    assert "36 times RuntimeError: no network" in shown.words


@each_saga
def test_any_saga_is_shown_in_its_own_words(world: World, ops: Ops) -> None:
    noun = world.machine.demo.noun
    rolled_back = world.run_into_a_failure("1")
    stuck = world.run_into_a_stop("2")
    head, *lines = ops("list").out.splitlines()
    assert head.split()[-1] == noun.upper()
    assert [line.split()[-1] for line in lines] == ["2", "1"]
    assert ["stuck" in lines[0], "rolled back" in lines[1]] == [True, True]
    assert ops("show", "1").out.startswith(f"{noun} 1\n")
    assert f"{stuck.arn} {noun} 2 stopped in {stuck.states[-1]}," in ops("stuck", "--scan", "--all").words
    assert ops("show", "3").err.startswith(f"error: no {noun} 3 in {world.client.stack.name}: ")
    message = ops("resume", stuck.arn, "--yes").err
    assert f"try the {noun} again under another {world.machine.demo.key}\n" in message
    assert ops("show", "1", "--json").document["order_id"] == "1", "documents call every key order_id"
    listed = ops("list", "--json").document["executions"][1]
    assert (listed["order_id"], listed["outcome"], listed["execution_arn"]) == ("1", "rolled_back", rolled_back.arn)


@on_example("parcel_pickup")
def test_show_says_what_a_saga_waits_for(world: World, ops: Ops) -> None:
    ended, (shown, document) = world.run_waiting(lambda: (ops("show", "1"), ops("show", "1", "--json").document))
    entered = ended.states.index("RequestPickup")
    ((wait,),) = (saga["waits"] for saga in document["sagas"])
    assert (wait["state"], wait["since"]) == ("RequestPickup", document["sagas"][0]["path"][entered]["entered_at"])
    assert "waits RequestPickup for an answer, since " in shown.words
    assert " ago; row PICKUP is REQUESTED; until " in shown.words
    assert world.machine.rows("1")["PICKUP"]["task_token"] not in shown.out


def test_show_has_each_branch_of_a_group(world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run_into_a_stop("1")
    monkeypatch.setattr(world.client, "_history", lambda _arn: history(FAILED_GROUP))
    lines = [" ".join(line.split()) for line in ops("show", "1").out.splitlines()]
    assert "stopped in CancelFlight" in lines
    assert lines[-6:] == [
        "UndoReservations 16.0 s 1 attempt",
        "1 time Broken",
        "CancelFlight 14.0 s 2 attempts",
        "2 times Broken",
        "CancelHotel 13.0 s, stopped 2 attempts",
        "1 time Throttled",
    ]


def test_stuck_groups_by_state_and_error(world: World, ops: Ops) -> None:
    arns = [world.run_into_a_stop(str(number)).arn for number in range(3)]
    for arn, state in zip(arns, ("RefundPayment", "RefundPayment", "DeleteOrder"), strict=True):
        world.report(arn, state=state)
    oldest, _, third = (world.client.execution(arn).stopped_at for arn in arns)
    assert oldest and third
    head, columns, *groups = ops("stuck").out.splitlines()
    assert head == "3 stuck sagas, newest first"
    assert columns.split() == ["STATE", "ERROR", "COUNT", "OLDEST", "REDRIVABLE", "UNTIL"]

    def line(state: str, count: int, stopped: datetime) -> str:
        until = stopped + timedelta(days=14)
        return f"{state} RuntimeError {count} {stopped:%Y-%m-%d %H:%M:%SZ} {until:%Y-%m-%d %H:%M:%SZ}"

    assert [" ".join(group.split()) for group in groups[:2]] == [
        line("RefundPayment", 2, oldest),
        line("DeleteOrder", 1, third),
    ]
    document = ops("stuck", "--json", "--state", "DeleteOrder").document
    assert [saga["execution_arn"] for saga in document["stuck"]] == [arns[2]]
    assert [group["count"] for group in document["groups"]] == [1]


def test_stuck_has_state_cause_and_time_left_of_each(world: World, ops: Ops) -> None:
    ended = world.run_into_a_stop("1")
    world.report(ended.arn)
    for found in (ops("stuck", "--all"), ops("stuck", "--scan", "--all")):
        assert "1 stuck saga, newest first" in found.words
        assert "stopped in RefundPayment, FAILED (RuntimeError) stuck because no network since 2" in found.words
        assert "resume within 13 d 23 h, until 2" in found.words


SCAN = "`python -m ops stuck --scan` checks all executions\n"
NONE_REPORTED = f"no reported saga is stuck: {SCAN}"


def test_stuck_says_that_no_saga_is_stuck_only_when_it_is_true(world: World, ops: Ops) -> None:
    assert ops("stuck").out == NONE_REPORTED
    assert ops("stuck", "--scan").out == "no saga is stuck\n"
    world.report(world.run("1").arn, has_recovered=True)
    recovered = ops("stuck").out
    assert recovered.startswith(f"{NONE_REPORTED}\n1 saga recovered since the report: `python -m ops resume --all`")
    world.sqs.send_message(QueueUrl=world.undelivered, MessageBody="{}")
    undelivered = ops("stuck").out
    assert undelivered.startswith(NONE_REPORTED)
    assert undelivered.endswith(f"about 1 report undelivered: {SCAN}")
    resumed = ops("resume", "--all", "--yes")
    assert (resumed.status, resumed.out) == (0, f"nothing to resume, {NONE_REPORTED}")
    assert resumed.err.endswith(f"\nabout 1 report undelivered: {SCAN}")
    counts = ops("stuck", "--scan", "--json").document["entries"]
    assert counts == {"resumed": None, "recovered": None, "closed": 0, "undelivered": None}, "a scan reads no reports"
    unreported = world.run_into_a_stop("2")
    assert ops("stuck").out.startswith(NONE_REPORTED)
    assert ops("stuck", "--scan").out.startswith("1 stuck saga, newest first\n")
    world.report(unreported.arn)
    filtered = ops("stuck", "--error", "Other").out
    assert filtered.startswith("no stuck saga matches, of 1 in all\n")


def test_close_removes_a_saga_from_the_list_and_show_keeps_the_reason(world: World, ops: Ops) -> None:
    world.report(world.run_into_a_stop("1", name="mine").arn)
    assert ops("close", "1", "--reason", " refunded\x1b by hand ").out == r"closed mine: refunded\x1b by hand" + "\n"
    assert ops("stuck").out == NONE_REPORTED
    assert ops("stuck", "--scan").out == "no saga is stuck\n"
    assert r"refunded\x1b by hand" in ops("show", "1").words
    again = ops("close", "mine", "--reason", "again")
    assert (again.status, again.err) == (
        2,
        "error: mine is closed already: `python -m ops show mine` says why\n",
    )


def test_show_names_how_far_it_searched(world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "SEARCHED", 1)
    world.run("1")
    for number in range(2, 4):
        world.run(str(number), total=None)
    assert "Z for rejected sagas: --all searches all\n" in ops("show", "1").out
    assert "--all" not in ops("show", "1", "--all").out


def test_list_has_filters(world: World, ops: Ops) -> None:
    for number in range(2):
        world.run_into_a_failure(f"rolled back {number}", name=f"rolled-back-{number}")
    world.run_into_a_stop("stuck", name="stuck")

    def names(*arguments: str) -> list[str]:
        return [one["name"] for one in ops("list", "--json", *arguments).document["executions"]]

    assert names("--outcome", "stuck") == names("--state", "RefundPayment") == ["stuck"]
    assert names("--outcome=rolled-back") == names("--error", "OrderFailed") == ["rolled-back-1", "rolled-back-0"]
    assert names("--until", "1h") == names("--since", "2999-01-01") == names("--outcome", "running") == []
    assert len(names("--since", "1h")) == 3


@pytest.mark.parametrize("command", ["list", "stuck", "audit"])
def test_every_command_reads_the_same_times(world: World, ops: Ops, command: str) -> None:
    for time in ("30m", "30min", "2h", "3d", "0001-01-01", "2026-01-31T09:30Z", "2026-01-31T09:30+14:00"):
        assert ops(command, "--since", time).status == 0, time


def test_of_990_rolled_back_the_10_stuck_are_found_without_describing_the_others(world: World, ops: Ops) -> None:
    for number in range(20):
        world.run_into_a_failure(str(number))
    world.report(world.run_into_a_stop("stuck").arn)
    requests = world.requests()
    assert len(ops("stuck", "--json").document["stuck"]) == 1
    assert requests["DescribeExecution"] == 0


def keys_of(document: object) -> object:
    """Return the document's keys, without its values; a list by its first element."""
    match document:
        case dict():
            return {key: keys_of(value) for key, value in document.items()}
        case [first, *_]:
            return [keys_of(first)]
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
    **dict.fromkeys(("entity", "status", "saga_id", "saga_started_at", "request")),
    "history": [dict.fromkeys(("status", "saga_id", "at"))],
}
DOCUMENTS: Mapping[str, object] = {
    "list": {"executions": [EXECUTION]},
    "show 1": {
        "order_id": None,
        "rows": [ROW],
        "sagas": [{"saga_id": None, "execution": EXECUTION, "path": [STEP], "closed": None, "waits": None}],
        "searched_since": None,
    },
    "stuck": {
        "stuck": [STUCK],
        "groups": [dict.fromkeys(("state", "error", "count", "oldest", "redrivable_until"))],
        "entries": dict.fromkeys(("resumed", "recovered", "closed", "undelivered")),
    },
    "resume mine --yes": {"resumed": STUCK, "redriven_at": None, "ended": None},
    "resume --all --yes": {
        "groups": [
            {
                "state": None,
                "error": None,
                "results": dict.fromkeys(("not started", "running", "recovered", "stuck again", "rejected")),
            }
        ],
        "sagas": [dict.fromkeys(("execution_arn", "name", "order_id", "result", "reason"))],
    },
    "close mine --reason settled": {"closed": STUCK, "reason": None},
    "resume mine --yes --wait": {"resumed": STUCK, "redriven_at": None, "ended": EXECUTION},
}


@pytest.mark.parametrize("command", DOCUMENTS)
def test_the_keys_of_each_document_are_stable(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    world.report(world.run_into_a_stop("1", name="mine").arn)
    monkeypatch.setattr(bulk, "FIRST_LOOK", 0)
    world.redrive_to(lambda _arn: {"status": "SUCCEEDED"})
    result = ops(*command.split(), "--json")
    assert keys_of(result.document) == DOCUMENTS[command]
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        ("list", Target(stack="OrderSaga-dev")),
        ("--stage prod list", Target(stack="OrderSaga-prod")),
        ("list --stage eu-2", Target(stack="OrderSaga-eu-2")),
        ("--stage prod list --stage dev", Target(stack="OrderSaga-dev")),
        ("list --stack Other", Target(stack="Other")),
        (
            "--profile p list --region r --endpoint-url http://127.0.0.1:4566",
            Target(stack="OrderSaga-dev", profile="p", region="r", endpoint_url="http://127.0.0.1:4566"),
        ),
    ],
)
def test_the_options_name_the_target(arguments: str, target: Target) -> None:
    targets: list[Target] = []

    def record(target: Target) -> SagaClient:
        targets.append(target)
        raise UnknownStack

    assert main(arguments.split(), connect=record) == 2
    assert targets == [target]


def test_without_a_terminal_resume_needs_yes(world: World, ops: Ops) -> None:
    world.run_into_a_stop("1", name="mine")
    result = ops("resume", "mine")
    assert (result.status, result.out) == (2, "")
    assert result.err == "error: not a terminal: pass --yes to resume without a prompt\n"


def test_resume_shows_the_saga_and_asks(world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = world.run_into_a_stop("1", name="mine")
    world.answer("RedriveExecution", {"redriveDate": datetime.now(UTC)})
    for typed, status in (("y\n", 0), ("yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1)):
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        result = ops("resume", ended.arn)
        prompt = " ".join(result.err.split())
        assert f"{ended.arn} order 1 stopped in RefundPayment, FAILED (RuntimeError) stuck because no network" in prompt
        assert "It will continue in RefundPayment, with the same input. Resume it? [y/N]" in prompt
        assert (result.status, result.out) == (status, "" if status else "resumed mine in RefundPayment\n")
        assert ("Nothing was done." in result.err) is bool(status)


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        ({"status": "SUCCEEDED", "error": None, "cause": None}, 0, "ended SUCCEEDED fulfilled"),
        ({"status": "FAILED", "error": "OrderFailed", "cause": "c"}, 0, "ended FAILED (OrderFailed) rolled back"),
        ({"stopDate": datetime.now(UTC) + timedelta(days=1)}, 1, "ended FAILED (RuntimeError) stuck"),
    ],
)
def test_resume_can_wait_for_the_end(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch, end: dict[str, Any], status: int, message: str
) -> None:
    monkeypatch.setattr(resuming, "POLL_SECONDS", 0)
    ended = world.run_into_a_stop("1")
    world.answer("RedriveExecution", {"redriveDate": datetime.now(UTC)})
    # At first Step Functions still describes the old stop.
    world.describe_with({}, {}, {"status": "RUNNING"}, {"status": "RUNNING"}, end)
    result = ops("resume", ended.arn, "--yes", "--wait")
    assert result.status == status
    assert message in result.out


def test_a_redrive_is_reported_though_the_waiting_is_interrupted_or_the_network_drops(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.report(world.run_into_a_stop("1", name="mine").arn)
    world.redrive_to(lambda _arn: {"status": "RUNNING"})
    monkeypatch.setattr("time.sleep", mock.Mock(side_effect=KeyboardInterrupt))
    interrupted = ops("resume", "mine", "--yes", "--wait")
    assert (interrupted.status, interrupted.out) == (130, "resumed mine in RefundPayment\n")
    world.report(world.run_into_a_stop("2", name="other").arn)
    drop(world.sqs, "ReceiveMessage")
    done = ops("resume", "other", "--yes")
    assert (done.status, done.out, done.err) == (0, "resumed other in RefundPayment\n", "")


def test_a_closing_is_reported_though_the_network_drops(world: World, ops: Ops) -> None:
    world.report(world.run_into_a_stop("1", name="mine").arn)
    drop(world.sqs, "ReceiveMessage")
    closed = ops("close", "mine", "--reason", "refunded")
    assert (closed.status, closed.out, closed.err) == (0, "closed mine: refunded\n", "")


def test_a_redrive_without_a_response_is_called_neither_done_nor_failed(world: World, ops: Ops) -> None:
    world.run_into_a_stop("1", name="mine")
    drop(world.stepfunctions, "RedriveExecution")
    result = ops("resume", "mine", "--yes")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: mine may have been resumed or not: the service does not respond: ")


def drop(client: Any, operation: str) -> None:
    """From now on, let the network drop before an operation."""
    service = client.meta.service_model.service_id.hyphenize()
    error = exceptions.EndpointConnectionError(endpoint_url="https://aws")
    client.meta.events.register_first(f"before-call.{service}.{operation}", mock.Mock(side_effect=error))


def test_text_from_outside_cannot_steer_the_terminal_or_be_markup(world: World, ops: Ops) -> None:
    order_id = "[red]1[/red] :smile: \u202egnp"
    world.run(order_id, total=None)
    assert ops("show", order_id).out.startswith("order [red]1[/red] :smile: \\u202egnp\n")
    assert ops("list").out.splitlines()[1].endswith("  [red]1[/red] :smile: \\u202egnp")
    unknown = ops("show", "\x1b[31m\udc80[/]\n")
    assert unknown.err.startswith(r"error: no order \x1b[31m\udc80[/]\n in OrderSaga-dev: ")
    assert (unknown.status, unknown.out, unknown.err.count("\n")) == (2, "", 1)


def test_no_arn_is_cut_or_wrapped_in_a_narrow_terminal(world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = world.run_into_a_stop("1", name="x" * 80)
    monkeypatch.setenv("COLUMNS", "20")
    for result in (ops("show", "1"), ops("stuck", "--scan", "--all")):
        assert ended.arn in result.out.splitlines()
    assert "x" * 80 in ops("list").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "--limit=0"), "invalid limit '0': must be 1 to 1000"),
        (("list", "--limit=1001"), "invalid limit '1001': must be 1 to 1000"),
        (("list", "--status=BROKEN"), "invalid choice: 'BROKEN'"),
        (("list", "--stage=a b"), "invalid stage 'a b': use letters, digits and hyphens"),
        (("list", "--stack="), "invalid stack ''"),
        (("list", "--endpoint-url=localhost:4566"), "invalid endpoint 'localhost:4566'"),
        (("console", "--port=80"), "invalid port '80': must be 1024 to 65535"),
        (("show", ""), "invalid id of 0 characters: must have 1 to 128"),
        (("show", "x" * 129), "invalid id of 129 characters: must have 1 to 128"),
        (("resume", " "), "invalid execution ' '"),
        (("resume", "--all", "--rate=0"), "invalid rate '0': must be 1 to 150"),
        (("resume", "--all", "--rate=151"), "invalid rate '151': must be 1 to 150"),
        (("resume", "--all", "--rate=-1"), "invalid rate '-1'"),
        (
            ("stuck", "--since=yesterday"),
            "invalid time 'yesterday': use one such as 2026-01-31T09:30Z, 30min, 2h or 3d",
        ),
        (("stuck", "--since=999999d"), "invalid time '999999d': use one such as"),
        (("list", "--until=0001-01-01T00:00+14:00"), "invalid time '0001-01-01T00:00+14:00': use one such as"),
        (("audit", "--since=0001-01-01T00:00+14:00"), "invalid time '0001-01-01T00:00+14:00': use one such as"),
        (("cancel", ""), "invalid execution ''"),
        (("settle", " "), "invalid execution ' '"),
        (("list", "--outcome=lost"), "invalid outcome 'lost': use one of running, fulfilled, rolled-back, stuck"),
        (("close", "mine"), "required: --reason"),
        (("close", "mine", "--reason", " "), "invalid reason: must have 1 to 1,000 characters"),
        ((), "required: command"),
    ],
)
def test_an_invalid_argument_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"error: .*{re.escape(message)}.* \(see python -m ops(| \w+) --help\)\n", err)


def service_error(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (exceptions.NoCredentialsError(), "no complete credentials"),
        (exceptions.NoRegionError(), "You must specify a region: name one with --region"),
        (exceptions.ProfileNotFound(profile="p"), "profile (p) could not be found: name another with --profile"),
        (exceptions.EndpointConnectionError(endpoint_url="http://x"), "the service does not respond"),
        (exceptions.ReadTimeoutError(endpoint_url="http://x"), "the service does not respond"),
        (exceptions.UnauthorizedSSOTokenError(), "sign in again"),
        (service_error("ExpiredTokenException"), "the credentials have expired"),
        (service_error("InvalidClientTokenId"), "AWS does not accept the credentials"),
        (
            service_error("AccessDeniedException", "User: me is not authorized"),
            "DescribeStacks is not allowed: User: me",
        ),
        (service_error("ThrottlingException"), "DescribeStacks is throttled"),
        (service_error("InternalError", "two\nlines"), "DescribeStacks failed: InternalError: two lines"),
    ],
)
def test_an_error_of_aws_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], error: Exception, message: str
) -> None:
    def fail(_target: Target) -> SagaClient:
        raise error

    assert main(["list", "--json"], connect=fail) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert message in err


def test_it_needs_no_variable_of_a_function() -> None:
    command = [sys.executable, "-m", "ops", "console", "--help"]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def main_into_a_closed_pipe(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command whose output goes to a program that has ended; return the exit status."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        return main(list(arguments), connect=lambda _: world.client)


@pytest.mark.parametrize("command", ["audit", "list", "stuck --json", "graph"])
def test_a_closed_pipe_is_no_success(world: World, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    world.run_into_a_stop("1")
    assert main_into_a_closed_pipe(world, monkeypatch, *command.split()) == 141


@pytest.mark.parametrize("command", ["resume mine --yes --wait", "resume --all --yes"])
def test_an_interrupt_stays_one_if_its_result_cannot_be_printed(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    world.report(world.run_into_a_stop("1", name="mine").arn)
    world.redrive_to(lambda _arn: {"status": "RUNNING"})
    monkeypatch.setattr("time.sleep", mock.Mock(side_effect=KeyboardInterrupt))
    assert main_into_a_closed_pipe(world, monkeypatch, *command.split()) == 130


def test_a_full_disk_is_reported_in_one_line(world: World, monkeypatch: pytest.MonkeyPatch, ops: Ops) -> None:
    full = io.StringIO()
    monkeypatch.setattr(full, "flush", mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    monkeypatch.setattr(sys, "stdout", full)
    result = ops("list", "--json")
    assert (result.status, result.err) == (2, "error: cannot write to standard output: No space left on device\n")


def test_an_output_without_unicode_has_the_codes(world: World, monkeypatch: pytest.MonkeyPatch, ops: Ops) -> None:
    world.run("1", name="mine")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert ops("graph", "mine").status == 0
    assert rb'CreateOrder["CreateOrder<br/>1 \u2713 done"]' in written.getvalue()


@pytest.mark.parametrize("command", ["resume mine", "resume --all", "settle mine"])
def test_a_closed_standard_input_is_reported_in_one_line(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    world.report(world.run_into_a_stop("1", name="mine").arn)
    if command.startswith("settle"):
        world.describe_with({"stopDate": datetime.now(UTC) - timedelta(days=15)})
    monkeypatch.setattr(sys, "stdin", None)
    result = ops(*command.split())
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith("error: not a terminal: pass --yes")
    assert ops("resume", "-").err.startswith("error: standard input has no names")


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
def test_an_endpoint_that_does_not_respond_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], url: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        target = Target(stack="OrderSaga-dev", endpoint_url=url.format(port=probe.getsockname()[1]))
        status = main(["list"], connect=lambda _: connect(target))
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--endpoint-url" in err


def stack_with(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return an answer of DescribeStacks; moto's needs packages that this project does not have."""
    stack = {"StackName": "OrderSaga-dev", "CreationTime": datetime.now(UTC), "StackStatus": "CREATE_COMPLETE"}
    return {"Stacks": [{**stack, "Outputs": [{"OutputKey": key, "OutputValue": outputs[key]} for key in outputs]}]}


KEYS = [{"AttributeName": "entity", "KeyType": "RANGE"}, {"AttributeName": "trip_id", "KeyType": "HASH"}]


def test_a_stack_is_read_from_its_outputs_and_the_key_of_its_table() -> None:
    client, dynamodb = boto3.client("cloudformation"), boto3.client("dynamodb")
    with Stubber(client) as stub, Stubber(dynamodb) as tables:
        stub.add_response("describe_stacks", stack_with(OUTPUTS), {"StackName": "TripSaga-dev"})
        tables.add_response("describe_table", {"Table": {"KeySchema": KEYS}}, {"TableName": "table"})
        stack = read_stack(client, dynamodb, "TripSaga-dev")
    assert (
        stack.name,
        stack.state_machine_arn,
        stack.table,
        stack.stuck_sagas_queue_url,
        stack.stuck_sagas_table,
    ) == ("TripSaga-dev", *OUTPUTS.values())
    assert (stack.key, stack.noun) == ("trip_id", "trip")


def test_a_missing_stack_or_one_without_a_saga_is_reported_with_the_options() -> None:
    client, dynamodb = boto3.client("cloudformation"), boto3.client("dynamodb")
    with Stubber(client) as stub:
        message = "Stack with id OrderSaga-dev does not exist"
        stub.add_client_error("describe_stacks", "ValidationError", message)
        with pytest.raises(UnknownStack, match=r"no stack OrderSaga-dev in us-east-1: .*--stage.*--region"):
            read_stack(client, dynamodb, "OrderSaga-dev")
        stub.add_response("describe_stacks", stack_with({"TableName": "other"}))
        with pytest.raises(UnknownStack, match=r"\(CREATE_COMPLETE\) has no output StateMachineArn"):
            read_stack(client, dynamodb, "OrderSaga-dev")


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
def test_the_noun_of_a_saga_comes_from_its_key(key: str, noun: str) -> None:
    assert noun_of(key) == noun


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
def test_a_duration_is_shown_in_its_largest_units(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Straße 東京 🚀", "Straße 東京 🚀"),
        ("\x1b[2J\r\n", r"\x1b[2J\r\n"),
        ("\u202e\udc80\u200b", r"\u202e\udc80\u200b"),
    ],
)
def test_invisible_characters_are_shown_as_their_codes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_it_imports_the_runtime_library_and_no_app_and_starts_without_the_web_server() -> None:
    program = "import sys, ops.__main__; print([name for name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = ast.literal_eval(done.stdout)
    assert not {"saga_stack", "local", "tests", "aws_cdk", "flask"} & {name.split(".")[0] for name in modules}
    lambdas = {name for name in modules if name.startswith("lambdas.")}
    assert all(name.startswith("lambdas.saga_runtime") for name in lambdas)
