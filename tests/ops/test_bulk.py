"""``resume`` for many sagas: one of each group first, then the rest, whatever happens meanwhile."""

import io
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from ops import bulk
from ops.bulk import BulkResume, Result
from ops.errors import NoRedrive
from ops.model import groups_of
from tests.ops.conftest import World
from tests.ops.test_command_line import Ops, Terminal, ops

__all__ = ["ops"]  # a fixture

CLEAN = {"status": "FAILED", "error": "OrderFailed", "cause": "rolled back"}


def stuck_again(_arn: str) -> Mapping[str, Any]:
    return {"stopDate": datetime.now(UTC) + timedelta(seconds=1), "cause": "still no network"}


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_LOOK", "FIRST_PAUSE", "ROUND"):
        monkeypatch.setattr(bulk, name, 0)


def stuck_sagas(world: World, count: int, *, state: str = "RefundPayment") -> list[str]:
    """Return the executions of stuck sagas, oldest first."""
    number = len(world.entries())
    arns = [world.run_into_a_stop(str(one), name=f"saga-{one}").arn for one in range(number, number + count)]
    for arn in arns:
        world.report(arn, state=state)
    return arns


def names(arns: Sequence[str]) -> list[str]:
    return [arn.rsplit(":", 1)[-1] for arn in arns]


def results(world: World, **options: Any) -> BulkResume:
    return BulkResume(world.client, groups_of(world.client.stuck().sagas), **options)


def test_one_saga_of_each_group_is_resumed_before_the_others(world: World) -> None:
    first, second = stuck_sagas(world, 3), stuck_sagas(world, 2, state="DeleteOrder")
    redriven = world.redrive_to(lambda _arn: CLEAN)
    seen: list[list[str]] = []
    resumption = results(world, report=lambda _: seen.append(list(redriven)))
    resumption.run()
    assert sorted(seen[0]) == sorted([first[0], second[0]]), "the oldest of each"
    assert sorted(redriven) == sorted([*first, *second])
    assert (resumption.is_clean, resumption.finished, resumption.total) == (True, 5, 5)
    assert (world.entries(), world.messages()) == ({}, [])


def test_a_group_stops_at_the_first_saga_that_gets_stuck_again_and_the_others_go_on(world: World, ops: Ops) -> None:
    fixed, broken = stuck_sagas(world, 3), stuck_sagas(world, 3, state="DeleteOrder")
    redriven = world.redrive_to(lambda arn: stuck_again(arn) if arn in broken else CLEAN)
    result = ops("resume", "--all", "--yes")
    assert result.status == 1
    assert sorted(redriven) == sorted([*fixed, broken[0]])
    assert "DeleteOrder RuntimeError 2 0 0 1 0 stopped: its cause is not fixed" in result.words
    assert "RefundPayment RuntimeError 0 0 3 0 0" in result.words
    assert result.words.endswith("1 saga stuck again: still no network")
    assert set(world.entries()) == set(broken), "nothing is lost"
    assert sorted(world.messages()) == sorted(broken)


def test_a_group_stops_in_its_middle_too(world: World) -> None:
    arns = stuck_sagas(world, 9)
    redriven = world.redrive_to(lambda arn: stuck_again(arn) if arn == arns[2] else CLEAN)
    resumption = results(world, rate=2)
    resumption.run()
    assert (len(redriven), resumption.is_clean) == (3, False)
    (group,) = resumption.groups
    counts = [group.count(result) for result in (Result.RECOVERED, Result.STUCK_AGAIN, Result.NOT_STARTED)]
    assert counts == [2, 1, 6]
    assert resumption.finished == resumption.total == 3


def test_a_second_run_after_the_fix_ends_the_rest(world: World, ops: Ops) -> None:
    arns = stuck_sagas(world, 3)
    is_fixed = False
    world.redrive_to(lambda arn: CLEAN if is_fixed else stuck_again(arn))
    assert ops("resume", "--all", "--yes").status == 1
    is_fixed = True
    assert ops("resume", "--all", "--yes").status == 0
    assert (world.entries(), world.messages(), len(arns)) == ({}, [], 3)
    nothing = ops("resume", "--all", "--yes")
    assert (nothing.status, nothing.out.split(",")[0]) == (0, "nothing to resume")


def test_a_saga_takes_one_redrive_and_one_description(world: World) -> None:
    """The account's quota of DescribeExecution limits how fast many are resumed (docs/reference.md)."""
    stuck_sagas(world, 30)
    world.redrive_to(lambda _arn: CLEAN)
    requests = world.requests()
    results(world, rate=50).run()
    assert (requests["RedriveExecution"], requests["DescribeExecution"]) == (30, 30)
    assert (requests["Query"], requests["DeleteItem"]) == (30, 30), "its entry is read and removed"
    assert requests["ReceiveMessage"] + requests["DeleteMessageBatch"] <= 3 + 3 + 1
    assert requests["ListExecutions"] == 3
    assert requests["Scan"] == 2


def test_no_more_sagas_than_the_rate_are_resumed_in_a_round(world: World) -> None:
    stuck_sagas(world, 8)
    redriven = world.redrive_to(lambda _arn: CLEAN)
    rounds: list[int] = []
    results(world, rate=3, report=lambda _: rounds.append(len(redriven))).run()
    assert [after - before for before, after in itertools.pairwise([0, *rounds])] == [1, 3, 3, 1, 0]


def test_a_throttled_request_is_repeated_after_growing_pauses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck_sagas(world, 3)
    redriven = world.redrive_to(lambda _arn: CLEAN)
    throttled = ClientError({"Error": {"Code": "ThrottlingException"}}, "RedriveExecution")
    resume, execution = world.client.resume, world.client.execution
    pauses: list[float] = []
    monkeypatch.setattr(bulk, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(time, "sleep", pauses.append)
    resumption = results(world)
    monkeypatch.setattr(world.client, "resume", _throttled_first(resume, throttled, times=3))
    monkeypatch.setattr(world.client, "execution", _throttled_first(execution, throttled, times=1))
    resumption.run()
    assert (resumption.is_clean, len(redriven)) == (True, 3)
    assert pauses[:3] == [1.0, 2.0, 4.0], "for the redrives"
    assert [pause for pause in pauses[3:] if pause] == [1.0], "for the description"


def _throttled_first(function: Any, error: ClientError, *, times: int) -> Any:
    """Return the function, which raises the error the first times."""
    left = itertools.repeat(error, times)

    def call(*arguments: Any) -> Any:
        if raised := next(left, None):
            raise raised
        return function(*arguments)

    return call


def test_an_interrupt_prints_what_was_reached_and_the_next_run_ends_it(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    arns = stuck_sagas(world, 4)
    redriven = world.redrive_to(lambda _arn: CLEAN)
    with monkeypatch.context() as context:
        context.setattr(time, "sleep", mock.Mock(side_effect=[None, KeyboardInterrupt]))
        result = ops("resume", "--all", "--yes", "--rate", "1")
    assert (result.status, result.err.strip()) == (130, "Interrupted.")
    assert result.out.startswith("STATE")
    before = len(redriven)
    assert 0 < before < 4
    assert ops("resume", "--all", "--yes").status == 0
    assert sorted(redriven) == sorted(arns), "none was redriven twice"
    assert world.entries() == {}


def test_an_old_description_is_not_taken_for_another_stop(world: World) -> None:
    """DescribeExecution is eventually consistent."""
    stuck_sagas(world, 1)
    answers = iter(({}, {}, {"status": "RUNNING"}))
    world.redrive_to(lambda _arn: next(answers, CLEAN))
    resumption = results(world)
    resumption.run()
    assert resumption.is_clean


def test_a_saga_that_another_operator_resumed_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck_sagas(world, 2)
    resumption = results(world)
    world.reject("RedriveExecution", "ExecutionNotRedrivable", "Execution is RUNNING and cannot be redriven.")
    world.describe_with({"status": "RUNNING"}, {"status": "RUNNING"}, CLEAN)
    resumption.run()
    assert resumption.is_clean
    assert world.entries() == {}


def test_an_old_description_of_a_saga_that_another_operator_resumed_rejects_nothing(world: World, ops: Ops) -> None:
    """DescribeExecution is eventually consistent."""
    stuck_sagas(world, 1)
    world.reject("RedriveExecution", "ExecutionNotRedrivable", "Execution is RUNNING and cannot be redriven.")
    world.describe_with({}, {}, {"status": "RUNNING"}, CLEAN)
    result = ops("resume", "--all", "--yes")
    assert (result.status, world.entries()) == (0, {})
    assert "RefundPayment RuntimeError 0 0 1 0 0" in result.words


def test_a_saga_that_got_stuck_again_after_another_operator_resumed_it_stops_the_group(world: World) -> None:
    arns = stuck_sagas(world, 2)
    world.reject("RedriveExecution", "ExecutionNotRedrivable", "Execution is RUNNING and cannot be redriven.")
    resumption = results(world)
    world.describe_with({"status": "RUNNING"}, {"stopDate": datetime.now(UTC) + timedelta(minutes=1)})
    resumption.run()
    (group,) = resumption.groups
    assert ([one.result for one in group.sagas], len(arns)) == ([Result.STUCK_AGAIN, Result.NOT_STARTED], 2)


def test_a_rejection_that_lasts_advises_to_settle_only_what_cannot_be_redriven(world: World, ops: Ops) -> None:
    stuck_sagas(world, 1)
    world.reject("RedriveExecution", "ExecutionNotRedrivable", "Execution is RUNNING and cannot be redriven.")
    result = ops("resume", "--all", "--yes")
    assert result.status == 1
    assert result.words.endswith(
        "1 saga rejected: saga-0 was not resumed: Execution is RUNNING and cannot be redriven."
    )


def test_a_saga_that_ended_between_listing_and_resuming_has_recovered(world: World) -> None:
    stuck_sagas(world, 2)
    resumption = results(world)
    world.reject("RedriveExecution", "ExecutionNotRedrivable", "Execution is SUCCEEDED and cannot be redriven.")
    world.describe_with({"status": "SUCCEEDED"})
    resumption.run()
    assert resumption.is_clean


def test_a_saga_that_cannot_be_redriven_is_rejected_with_its_reason_and_the_next_one_is_tried(
    world: World, ops: Ops
) -> None:
    arns = stuck_sagas(world, 3)
    world.redrive_to(lambda _arn: CLEAN)
    reason = "Execution redrivable period exceeded."
    old = {"Code": "ExecutionNotRedrivable", "Message": reason}
    world.answer("RedriveExecution", {"Error": old}, status=400, about=arns[0])
    world.describe_as(arns[0], {"redriveStatus": "NOT_REDRIVABLE", "redriveStatusReason": reason})
    result = ops("resume", "--all", "--yes")
    assert result.status == 1
    assert "RefundPayment RuntimeError 0 0 2 0 1" in result.words
    assert "1 saga rejected: saga-0 can no longer be resumed: Execution redrivable period exceeded" in result.words
    assert list(world.entries()) == [arns[0]]


def test_a_saga_whose_execution_is_gone_is_rejected_and_the_others_go_on(world: World, ops: Ops) -> None:
    arns = stuck_sagas(world, 3)
    redriven = world.redrive_to(lambda _arn: CLEAN)
    world.lose(arns[0])
    result = ops("resume", "--all", "--yes")
    assert (result.status, result.err) == (1, "")
    assert names(redriven) == ["saga-1", "saga-2"]
    assert "RefundPayment RuntimeError 0 0 2 0 1" in result.words
    assert "1 saga rejected: Step Functions no longer has saga-0: `python -m ops settle 0` compensates" in result.words
    assert list(world.entries()) == [arns[0]]
    alone = ops("resume", "saga-0", "--yes")
    assert alone.status == 2
    assert alone.err.startswith("error: Step Functions no longer has saga-0: `python -m ops settle 0` compensates the")
    assert alone.err.endswith(" order, then `python -m ops close saga-0`\n")


def test_a_saga_that_is_closed_while_the_prompt_is_open_is_rejected_with_the_reason(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch
) -> None:
    arns = stuck_sagas(world, 3)
    redriven = world.redrive_to(lambda _arn: CLEAN)
    terminal = Terminal("y\n")

    def close_and_read() -> str:
        world.client.close(world.client.closable("saga-0"), "refunded by hand")
        return "y\n"

    monkeypatch.setattr(terminal, "readline", close_and_read)
    monkeypatch.setattr(sys, "stdin", terminal)
    result = ops("resume", "--all")
    assert (result.status, names(redriven)) == (1, ["saga-1", "saga-2"])
    assert "1 saga rejected: saga-0 was closed at 2" in result.words
    assert ": refunded by hand: to resume it anyway, call `aws stepfunctions redrive-execution" in result.words
    assert {arn: entry["closed_because"] for arn, entry in world.entries().items()} == {arns[0]: "refunded by hand"}


@pytest.mark.parametrize("count", [1, 3])
def test_missing_rights_and_a_missing_redrive_end_it_with_one_line(world: World, ops: Ops, count: int) -> None:
    stuck_sagas(world, count)
    with pytest.raises(NoRedrive):
        results(world).run()  # moto has none
    world.reject("RedriveExecution", "AccessDeniedException", "User: me is not authorized")
    result = ops("resume", "--all", "--yes")
    assert (result.status, result.out) == (2, "")
    assert result.err == "error: RedriveExecution is not allowed: User: me is not authorized\n"
    assert len(world.entries()) == count


def test_without_the_right_to_write_entries_stay_and_the_sagas_are_resumed(world: World, ops: Ops) -> None:
    stuck_sagas(world, 2)
    world.redrive_to(lambda _arn: CLEAN)

    def deny(**_: Any) -> Any:
        return mock.Mock(status_code=400), {
            "Error": {"Code": "AccessDeniedException", "Message": "no"},
            "ResponseMetadata": {"HTTPStatusCode": 400},
        }

    world.dynamodb.meta.events.register_first("before-call.dynamodb.DeleteItem", deny)
    assert ops("resume", "--all", "--yes").status == 0
    assert len(world.entries()) == 2
    reason = "entries stay, although their sagas have recovered (DeleteItem is not allowed: no): 2\n"
    assert ops("resume", "--all", "--yes").err == reason


def test_a_lost_response_is_an_unknown_outcome_until_a_look_shows_it(world: World, ops: Ops) -> None:
    arns = stuck_sagas(world, 2)
    redriven = world.redrive_to(lambda _arn: CLEAN)
    lose_responses(world, "RedriveExecution")
    assert ops("resume", "--all", "--yes").status == 0
    assert redriven == arns


def test_the_table_has_the_unknown_outcomes_if_the_network_does_not_come_back(world: World, ops: Ops) -> None:
    (arn, _) = stuck_sagas(world, 2)
    redriven = world.redrive_to(lambda _arn: CLEAN)
    lose_responses(world, "RedriveExecution")
    lose_responses(world, "DescribeExecution")
    result = ops("resume", "--all", "--yes")
    assert (result.status, redriven) == (2, [arn])
    assert "RefundPayment RuntimeError 1 1 0 0 0" in result.words
    assert "1 saga running: saga-0 may have been resumed or not: the service does not respond: " in result.words


def lose_responses(world: World, operation: str) -> None:
    """From now on, let the responses to an operation be lost."""
    lost = mock.Mock(side_effect=ReadTimeoutError(endpoint_url="https://aws"))
    world.stepfunctions.meta.events.register(f"after-call.stepfunctions.{operation}", lost)


def test_names_come_from_standard_input(world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    arns = stuck_sagas(world, 3)
    world.run("done", name="done")
    redriven = world.redrive_to(lambda _arn: CLEAN)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"saga-0\n\n1\n {arns[0]}\ndone\n"))
    result = ops("resume", "-", "--yes")
    assert (result.status, result.err) == (0, "skipped done: not stuck (fulfilled)\n")
    assert sorted(names(redriven)) == ["saga-0", "saga-1"], "by name, by order and by ARN"
    monkeypatch.setattr(sys, "stdin", io.StringIO("saga-2\nunknown\n"))
    unknown = ops("resume", "-", "--yes")
    assert (unknown.status, unknown.out) == (2, "")
    assert unknown.err.startswith("error: no execution unknown in OrderSaga-dev: ")


def test_filters_choose_the_sagas(world: World, ops: Ops) -> None:
    stuck_sagas(world, 2)
    chosen = stuck_sagas(world, 1, state="DeleteOrder")
    redriven = world.redrive_to(lambda _arn: CLEAN)
    for times in (("--since", "2999-01-01"), ("--until", "1h")):
        assert ops("resume", *times, "--yes").err.startswith("error: no stuck saga matches, of 3 in all")
    assert ops("resume", "--state", "DeleteOrder", "--error", "RuntimeError", "--yes").status == 0
    assert redriven == chosen


def test_the_groups_are_shown_and_it_asks_once(world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck_sagas(world, 2)
    redriven = world.redrive_to(lambda _arn: CLEAN)
    for typed, status in (("n\n", 1), ("y\n", 0)):
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        result = ops("resume", "--all")
        prompt = " ".join(result.err.split())
        assert "RefundPayment RuntimeError 2 2" in prompt
        assert "Resume these 2 sagas, one of each group first, then 10 a second? [y/N]" in prompt
        assert result.status == status
        assert len(redriven) == (0 if status else 2)


def test_a_terminal_shows_the_progress(world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck_sagas(world, 2)
    world.redrive_to(lambda _arn: CLEAN)
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = ops("resume", "--all", "--yes").err
    assert "resuming" in shown
    assert "2/2" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resume",), "nothing is selected: name executions, or pass --all or a filter"),
        (("resume", "saga-0", "--all"), "executions and a selection: use names, or --all and filters"),
        (("resume", "-", "saga-0", "--yes"), "- and names: use - alone to read them from standard input, or names"),
        (("resume", "--error", "Other", "--yes"), "no stuck saga matches, of 1 in all: `python -m ops stuck`"),
        (("resume", "--state", "Typo", "--yes"), "unknown state 'Typo': use one of CreateOrder, "),
        (("stuck", "--state", "Typo"), "unknown state 'Typo': use one of CreateOrder, "),
        (("list", "--state", "Typo"), "unknown state 'Typo': use one of CreateOrder, "),
        (("stuck", "--since", "1h", "--until", "2h"), "--since is later than --until: exchange them"),
        (("resume", "--all"), "not a terminal: pass --yes to resume without a prompt"),
        (("resume", "-", "--yes"), "standard input has no names: write one a line"),
    ],
)
def test_a_wrong_selection_is_reported_in_one_line(
    world: World, ops: Ops, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    stuck_sagas(world, 1)
    result = ops(*arguments)
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(f"error: {message}")
