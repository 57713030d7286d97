"""Automatic redrives: which sagas are redriven and when, and that a recovered saga clears its entry and its message."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from lambdas.saga_runtime import redrive_stuck_sagas
from lambdas.saga_runtime.clock import moment
from lambdas.saga_runtime.redrive_stuck_sagas import handler
from tests.fixtures import STUCK_TABLE, create_stuck_table

LIMIT = 3
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 600_000)
CLEAN = {"status": "FAILED", "error": "OrderFailed"}
STUCK = {"status": "FAILED", "error": "RuntimeError"}


class NotRedrivableError(ClientError):
    """Step Functions rejects a redrive."""


@dataclass
class StepFunctions:
    """Step Functions with executions in memory. ``ends`` says how a redriven execution ends."""

    exceptions: Any = field(default_factory=lambda: SimpleNamespace(ExecutionNotRedrivable=NotRedrivableError))
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    redriven: list[str] = field(default_factory=list)
    ends: Callable[[str], dict[str, Any]] = lambda _: CLEAN

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        if executionArn not in self.executions:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        return self.executions[executionArn]

    def redrive_execution(self, *, executionArn: str) -> None:  # noqa: N803 (boto3's name)
        execution = self.executions[executionArn]
        if execution["status"] == "RUNNING":
            raise NotRedrivableError({"Error": {"Code": "ExecutionNotRedrivable"}}, "RedriveExecution")
        self.redriven.append(executionArn)
        execution.pop("error", None)
        execution |= {
            "stopDate": datetime.now(UTC),
            "redriveDate": datetime.now(UTC),
            "redriveCount": execution.get("redriveCount", 0) + 1,
            **self.ends(executionArn),
        }


@dataclass
class Queue:
    """The queue, in memory. A short poll finds nothing, which SQS allows; a message is hidden until the queue is read.

    ``always`` is received whenever nothing else is left, as if others sent without end. ``read_by_others`` has the
    receipts of messages that another reader hides.
    """

    messages: dict[str, str] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    read_by_others: set[str] = field(default_factory=set)
    always: dict[str, str] | None = None

    def send(self, body: dict[str, str]) -> None:
        self.messages[str(len(self.messages))] = json.dumps(body)

    def receive_message(self, *, MaxNumberOfMessages: int, WaitTimeSeconds: int = 0, **_: object) -> dict[str, Any]:  # noqa: N803 (boto3's names)
        hidden = self.hidden | self.read_by_others
        visible = [receipt for receipt in self.messages if receipt not in hidden and WaitTimeSeconds]
        found = visible[:MaxNumberOfMessages]
        self.hidden = self.hidden | set(found) if found else set()
        others = [self.always] if self.always and not found else []
        return {
            "Messages": [
                *({"MessageId": one, "ReceiptHandle": one, "Body": self.messages[one]} for one in found),
                *others,
            ]
        }

    def get_queue_attributes(self, *, AttributeNames: list[str], **_: object) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        numbers = {
            "ApproximateNumberOfMessages": len(self.messages.keys() - self.read_by_others),
            "ApproximateNumberOfMessagesNotVisible": len(self.messages.keys() & self.read_by_others),
        }
        return {"Attributes": {name: str(numbers[name]) for name in AttributeNames}}

    def delete_message(self, *, ReceiptHandle: str, **_: object) -> None:  # noqa: N803 (boto3's names)
        del self.messages[ReceiptHandle]


class World:
    """The table of stuck sagas on moto, with Step Functions and the queue in memory."""

    def __init__(self) -> None:
        self.stepfunctions = StepFunctions()
        self.dynamodb = create_stuck_table()
        self.queue = Queue()

    def stuck(
        self, name: str, *, error: str = "RuntimeError", minutes: int = 60, redrives: int = 0, **entry: str
    ) -> None:
        """Add a saga that stopped some minutes ago, with its entry and its message."""
        stopped_at = datetime.now(UTC) - timedelta(minutes=minutes)
        self.stepfunctions.executions[name] = {
            "status": "FAILED", "error": error, "stopDate": stopped_at, "redriveCount": redrives,
        }  # fmt: skip
        texts = {
            "execution_arn": name, "state": "RefundPayment", "error": error, "status": "FAILED",
            "stopped_at": moment(stopped_at), **entry,
        }  # fmt: skip
        item: dict[str, Any] = {key: {"S": text} for key, text in texts.items()}
        item["redrive_count"] = {"N": str(redrives)}
        self.dynamodb.put_item(TableName=STUCK_TABLE, Item=item)
        self.queue.send({"executionArn": name})

    def close(self, name: str) -> None:
        """Close an entry, as an operator does."""
        self.dynamodb.update_item(
            TableName=STUCK_TABLE,
            Key={"execution_arn": {"S": name}},
            UpdateExpression="SET closed_at = :now, closed_because = :reason",
            ExpressionAttributeValues={":now": {"S": "2026-01-31T09:30:00.000Z"}, ":reason": {"S": "refunded"}},
        )

    def forget(self, name: str) -> None:
        """Remove an entry, as ``ops resume`` does."""
        self.dynamodb.delete_item(TableName=STUCK_TABLE, Key={"execution_arn": {"S": name}})

    def stop(self, name: str) -> None:
        """Stop an execution that an operator has redriven. Its entry is not up to date yet."""
        self.stepfunctions.executions[name]["status"] = "ABORTED"

    def entries(self) -> set[str]:
        return {item["execution_arn"]["S"] for item in self.dynamodb.scan(TableName=STUCK_TABLE)["Items"]}

    def messages(self) -> set[str]:
        return {json.loads(body)["executionArn"] for body in self.queue.messages.values()}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with mock_aws():
        made = World()
        monkeypatch.setattr(redrive_stuck_sagas, "_stepfunctions", made.stepfunctions)
        monkeypatch.setattr(redrive_stuck_sagas, "POLL_SECONDS", 0)
        monkeypatch.setattr(redrive_stuck_sagas, "_sqs", made.queue)
        yield made


def test_sagas_that_failed_recover_without_an_operator(world: World) -> None:
    for number in range(12):
        world.stuck(str(number))
    assert handler({}, CONTEXT) == {"recovered": 12, "redriven": 12, "exhausted": 0}
    assert world.entries() == world.messages() == set()


def test_a_saga_that_gets_stuck_again_stops_its_group_alone(world: World) -> None:
    for number in range(5):
        world.stuck(f"broken-{number}", minutes=100 + number)
        world.stuck(f"fixed-{number}", error="States.Timeout")
    world.stepfunctions.ends = lambda arn: STUCK if arn.startswith("broken") else CLEAN
    assert handler({}, CONTEXT) == {"recovered": 5, "redriven": 6, "exhausted": 0}
    assert [arn for arn in world.stepfunctions.redriven if arn.startswith("broken")] == ["broken-4"]
    assert world.entries() == {f"broken-{number}" for number in range(5)}


@pytest.mark.parametrize(
    ("redrives", "minutes", "is_due"),
    [(0, 14, False), (0, 16, True), (1, 44, False), (1, 46, True), (2, 134, False), (2, 136, True)],
)
def test_the_pause_is_three_times_as_long_after_each_redrive(
    world: World, redrives: int, minutes: int, *, is_due: bool
) -> None:
    world.stuck("1", redrives=redrives, minutes=minutes)
    assert handler({}, CONTEXT)["redriven"] == int(is_due)


def test_a_saga_is_never_redriven_more_often_than_the_limit(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.stuck("1", redrives=LIMIT, minutes=60 * 24 * 7)
    assert handler({}, CONTEXT) == {"recovered": 0, "redriven": 0, "exhausted": 1}
    assert '"RedrivesExhausted":[1.0]' in capsys.readouterr().out.replace(" ", "")
    assert world.entries() == world.messages() == {"1"}


def test_a_saga_that_somebody_stopped_or_ever_closed_is_left_alone(world: World) -> None:
    world.stuck("stopped", status="ABORTED")
    world.stuck("closed", closed_at="2026-01-31T09:30:00.000Z", closed_because="refunded")
    world.stuck("closed before", closed_because="refunded")
    world.stuck("stopped again", redrives=LIMIT)
    world.stop("stopped again")
    assert handler({}, CONTEXT) == {"recovered": 0, "redriven": 0, "exhausted": 0}
    assert world.entries() == world.messages() == {"stopped", "closed", "closed before", "stopped again"}


@pytest.mark.parametrize("entry", [{"status": "ABORTED"}, {"closed_because": "refunded"}], ids=["stopped", "closed"])
def test_a_saga_that_somebody_stopped_or_closed_and_resumed_clears_its_entry(world: World, entry: Any) -> None:
    world.stuck("1", **entry)
    world.stepfunctions.executions["1"] = {"status": "SUCCEEDED", "redriveCount": 1}
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 0, "exhausted": 0}
    assert world.entries() == world.messages() == set()


@pytest.mark.parametrize("act", [World.close, World.forget, World.stop])
def test_what_an_operator_closes_resumes_or_stops_during_a_call_is_left_alone(
    world: World, act: Callable[[World, str], None]
) -> None:
    """A refund that was made by hand would be requested again."""
    world.stuck("1", minutes=70)
    world.stuck("2")

    def ends(arn: str) -> dict[str, Any]:
        act(world, "2")
        return CLEAN

    world.stepfunctions.ends = ends
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 1, "exhausted": 0}
    assert world.stepfunctions.redriven == ["1"]


@pytest.mark.parametrize(("minutes", "redriven"), [(29, 0), (31, 1), (None, 0)])
def test_a_group_waits_while_one_of_it_may_still_fail_again(
    world: World, minutes: int | None, *, redriven: int
) -> None:
    """A saga that has left its state behind may wait days for an answer, and AWS redrives the others for 14 days."""
    world.stuck("1")
    world.stuck("2")
    redriven_at = {} if minutes is None else {"redriveDate": datetime.now(UTC) - timedelta(minutes=minutes)}
    world.stepfunctions.executions["1"] = {"status": "RUNNING", "redriveCount": 1, **redriven_at}
    assert handler({}, CONTEXT)["redriven"] == redriven
    assert world.entries() == ({"1"} if redriven else {"1", "2"})


def test_a_saga_that_an_operator_resumed_clears_its_entry(world: World) -> None:
    world.stuck("1")
    world.stepfunctions.executions["1"] = {"status": "SUCCEEDED", "redriveCount": 1}
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 0, "exhausted": 0}
    assert world.entries() == set()


def test_a_redrive_that_is_rejected_does_not_stop_the_others(world: World) -> None:
    world.stuck("1", minutes=70)
    world.stuck("2")
    described = dict(world.stepfunctions.executions["1"])
    world.stepfunctions.executions["1"]["status"] = "RUNNING"
    describe = world.stepfunctions.describe_execution
    stale: Any = lambda executionArn: described if executionArn == "1" else describe(executionArn=executionArn)  # noqa: E731, N803
    world.stepfunctions.describe_execution = stale  # type: ignore[method-assign]  # an answer that is out of date
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 1, "exhausted": 0}


def test_an_execution_that_step_functions_no_longer_has_needs_people(world: World) -> None:
    world.stuck("1")
    world.stepfunctions.executions.clear()
    assert handler({}, CONTEXT) == {"recovered": 0, "redriven": 0, "exhausted": 1}


def test_what_aws_no_longer_redrives_needs_people_and_does_not_stop_its_group(world: World) -> None:
    world.stuck("1", minutes=70)
    world.stuck("2")
    world.stepfunctions.executions["1"]["redriveStatus"] = "NOT_REDRIVABLE"
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 1, "exhausted": 1}


@pytest.mark.parametrize(("redrives", "exhausted"), [(6, 0), (7, 1), (1000, 1)])
def test_a_saga_whose_next_pause_is_longer_than_aws_redrives_needs_people(
    world: World, monkeypatch: pytest.MonkeyPatch, redrives: int, *, exhausted: int
) -> None:
    """A pause of 15 minutes is one of 7.6 days after six redrives, and of 22.8 days after seven."""
    monkeypatch.setattr(redrive_stuck_sagas, "_LIMIT", 10_000)
    world.stuck("1", redrives=redrives)
    world.stuck("2", error="States.Timeout")
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 1, "exhausted": exhausted}


def test_what_is_still_running_at_the_deadline_is_left_to_the_next_call(world: World) -> None:
    world.stuck("1")
    world.stuck("2")
    world.stepfunctions.ends = lambda _: {"status": "RUNNING"}
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_200)
    assert handler({}, context) == {"recovered": 0, "redriven": 1, "exhausted": 0}
    assert world.entries() == {"1", "2"}


def test_a_slow_group_does_not_hold_back_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        world.stuck(f"fixed-{number}")
    world.stuck("slow", error="States.Timeout", minutes=70)
    describe = world.stepfunctions.describe_execution

    def described(*, executionArn: str) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        is_over = executionArn == "slow" and len(world.stepfunctions.redriven) == 13
        return describe(executionArn=executionArn) | (CLEAN if is_over else {})

    monkeypatch.setattr(world.stepfunctions, "describe_execution", described)
    world.stepfunctions.ends = lambda arn: {"status": "RUNNING"} if arn == "slow" else CLEAN
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 70_000)
    assert handler({}, context) == {"recovered": 13, "redriven": 13, "exhausted": 0}


def test_sagas_that_are_not_due_leave_time_for_those_that_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at one takes ten seconds here, as if there were thousands, and a call has nine minutes."""
    for number in range(40):
        world.stuck(f"exhausted-{number}", redrives=LIMIT, minutes=1000)
        world.stuck(f"paused-{number}", redrives=1, minutes=30)
    world.stuck("due", minutes=20)
    seconds, redriven_at = [0.0], []
    describe = world.stepfunctions.describe_execution

    def slow(*, executionArn: str) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        seconds[0] += 10
        return describe(executionArn=executionArn)

    def ends(_: str) -> dict[str, Any]:
        redriven_at.append(seconds[0])
        return CLEAN

    monkeypatch.setattr(world.stepfunctions, "describe_execution", slow)
    monkeypatch.setattr(redrive_stuck_sagas, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    world.stepfunctions.ends = ends
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 1, "exhausted": 40}
    assert redriven_at[0] <= seconds[0] < 540 / 2 + 30


def test_sagas_that_recovered_otherwise_are_cleared_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at one takes two seconds here, and a call has ten minutes: the first looks have 270 seconds."""
    for number in range(400):
        world.stuck(str(number))
        world.stepfunctions.executions[str(number)] = {"status": "SUCCEEDED"}
    seconds = [0.0]
    describe, receive = world.stepfunctions.describe_execution, world.queue.receive_message
    received_at = []

    def slow(*, executionArn: str) -> dict[str, Any]:  # noqa: N803 (boto3's name)
        seconds[0] += 2
        return describe(executionArn=executionArn)

    def received(**more: Any) -> dict[str, Any]:
        received_at.append(seconds[0])
        return receive(**more)

    monkeypatch.setattr(world.stepfunctions, "describe_execution", slow)
    monkeypatch.setattr(world.queue, "receive_message", received)
    monkeypatch.setattr(redrive_stuck_sagas, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    assert handler({}, CONTEXT) == {"recovered": 270, "redriven": 0, "exhausted": 0}
    assert received_at[0] == 540
    assert len(world.entries()) == len(world.messages()) == 130


def test_an_entry_stays_while_another_reader_hides_messages(world: World) -> None:
    """An operator may read the queue at the same time."""
    world.stuck("1")
    world.stuck("2", status="ABORTED")
    world.queue.read_by_others = {"0"}
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 1, "exhausted": 0}
    assert (world.entries(), world.messages()) == ({"1", "2"}, {"1", "2"})
    world.queue.read_by_others = set()
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 0, "exhausted": 0}
    assert world.entries() == world.messages() == {"2"}


def test_an_entry_stays_until_the_queue_was_read_to_its_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nothing would remove its message later, and the alarm would stay for 14 days."""
    world.stuck("1")
    world.queue.always = {"MessageId": "other", "ReceiptHandle": "other", "Body": "{}"}
    with monkeypatch.context() as patch:
        patch.setattr(redrive_stuck_sagas, "HIDDEN_SECONDS", 0.01)
        assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 1, "exhausted": 0}
    assert world.entries() == {"1"}
    world.queue.always = None
    assert handler({}, CONTEXT) == {"recovered": 1, "redriven": 0, "exhausted": 0}
    assert world.entries() == world.messages() == set()
