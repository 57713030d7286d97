"""The drawing of the state machine: what it shows, and that the documents show the present one."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ops.__main__ import main
from ops.definition import Definition, read_definition
from ops.errors import OpsError
from ops.graph import mermaid
from ops.markdown import BEGIN, END, with_graph
from ops.model import Execution, Saga
from ops.path import path_of, stopped_in
from ops.pictures import MERMAID
from ops.progress import Status, progress_of
from tests import browser as browsers
from tests.histories import ABORTED_GROUP, FAILED_GROUP, START, history
from tests.ops.conftest import World
from tests.saga.faults import Fault, Injector
from tests.saga.interpreter import interpreter
from tests.sagas import SAGAS

PROJECT = Path(__file__).parent.parent.parent
TASK: dict[str, Any] = {"Type": "Task", "Resource": "arn:x"}


@pytest.fixture(scope="session")
def drawn(definition: dict[str, Any]) -> Definition:
    return read_definition(json.dumps(definition), where="the template")


def arrows(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if re.search(r"--|-\.-|==", line)}


@pytest.mark.parametrize("document", ["README.md", "docs/how-it-works.md"])
def test_the_drawing_in_the_documents_is_that_of_the_synthesized_definition(drawn: Definition, document: str) -> None:
    written = (PROJECT / document).read_text(encoding="utf-8")
    assert with_graph(written, mermaid(drawn), where=document) == written, "renew it with `make docs`"


def test_no_document_has_a_drawing_of_states_made_by_hand() -> None:
    documents = [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
    by_hand = {
        file.name: with_graph(f"{BEGIN}{END}{file.read_text(encoding='utf-8')}", "", where="") for file in documents
    }
    assert [name for name, text in by_hand.items() if re.search("flowchart|stateDiagram", text)] == []


def test_every_state_and_every_transition_is_drawn(drawn: Definition) -> None:
    assert arrows(mermaid(drawn)) == {
        "CreateOrder --> ProcessPayment",
        "ProcessPayment --> ProcessShipment",
        "ProcessShipment --> ConfirmOrder",
        "ConfirmOrder --> SUCCEEDED",
        'CreateOrder -.->|"any error"| DeleteOrder',
        'ProcessPayment -.->|"any error"| RefundPayment',
        'ProcessShipment -.->|"any error"| CancelShipment',
        "CancelShipment --> RefundPayment",
        "RefundPayment --> DeleteOrder",
        "DeleteOrder --> OrderFailed",
    }


def test_groups_are_drawn_with_what_is_in_them() -> None:
    branch = {"StartAt": "One", "States": {"One": {**TASK, "Next": "Two"}, "Two": {**TASK, "End": True}}}
    inner = {"StartAt": "Each", "States": {"Each": {**TASK, "End": True}}}
    definition = {
        "StartAt": "All",
        "States": {
            "All": {"Type": "Parallel", "Branches": [branch], "Next": "Many", "Catch": [_catch("Undo")]},
            "Many": {"Type": "Map", "ItemProcessor": inner, "Next": "Which"},
            "Which": {"Type": "Choice", "Choices": [{"Next": "Undo"}], "Default": "Good"},
            "Good": {"Type": "Succeed"},
            "Undo": {**TASK, "Next": "Bad"},
            "Bad": {"Type": "Fail"},
        },
    }
    text = mermaid(read_definition(json.dumps(definition), where="here"))
    assert '    subgraph All["All"]\n        One\n        Two\n    end\n' in text
    assert '    subgraph Many["Many"]\n        Each\n    end\n' in text
    assert arrows(text) >= {
        "One --> Two",
        "All --> Many",
        'All -.->|"any error"| Undo',
        'Which -->|"if"| Undo',
        'Which -->|"else"| Good',
        "Good --> SUCCEEDED",
    }


def _catch(state: str) -> dict[str, Any]:
    return {"ErrorEquals": ["States.ALL"], "Next": state}


def test_the_clean_errors_are_those_of_the_outermost_fail_states() -> None:
    inner = {"StartAt": "Broken", "States": {"Broken": {"Type": "Fail", "Error": "Inner"}}}
    states = {
        "Group": {"Type": "Parallel", "Branches": [inner], "Next": "Undone"},
        "Undone": {"Type": "Fail", "Error": "Outer"},
        "Nameless": {"Type": "Fail", "ErrorPath": "$.error"},
    }
    definition = read_definition(json.dumps({"StartAt": "Group", "States": states}), where="here")
    assert definition.clean_errors == {"Outer"}


def test_names_of_any_kind_are_drawn_as_text() -> None:
    definition = {"StartAt": 'end "x"] --> y', "States": {'end "x"] --> y': {**TASK, "End": True}}}
    text = mermaid(read_definition(json.dumps(definition), where="here"))
    assert 's0["end #34;x#34;#93; --#62; y"]' in text


@pytest.mark.parametrize(
    "text", ["", "5", "[]", "{}", '{"StartAt": "A", "States": {}}', '{"StartAt": "A", "States": 5}']
)
def test_what_is_no_definition_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(OpsError, match=r"^here (holds no definition|names states that it has not)"):
        read_definition(text, where="here")


def test_a_rolled_back_execution_shows_what_was_done_what_failed_and_what_was_undone(
    world: World, drawn: Definition
) -> None:
    ended = world.run("1", address=None)
    progress = progress_of(drawn, world.sagas.saga(ended.arn))
    assert {name: str(visit.status) for name, visit in progress.visits.items()} == {
        "CreateOrder": "done",
        "ProcessPayment": "done",
        "ProcessShipment": "failed",
        "ConfirmOrder": "skipped",
        "CancelShipment": "undone",
        "RefundPayment": "undone",
        "DeleteOrder": "undone",
        "OrderFailed": "failed",
    }
    text = mermaid(drawn, progress=progress)
    assert 'RefundPayment["RefundPayment<br/>5 ↶ undone"]' in text
    assert 'ProcessShipment ==>|"any error"| CancelShipment' in text
    assert 'CreateOrder -.->|"any error"| DeleteOrder' in text, "not taken"
    assert "    class RefundPayment undone\n" in text


def test_a_stuck_execution_shows_where_and_how_often_it_failed(world: World, drawn: Definition) -> None:
    ended = world.run_into_a_stop("1")
    visit = progress_of(drawn, world.sagas.saga(ended.arn)).visits["RefundPayment"]
    assert visit.status is Status.STUCK
    assert re.fullmatch(r"5 ⚠ stuck, \d\d failed", visit.words)


def test_a_running_execution_shows_where_it_is_and_that_it_is_retried(world: World, drawn: Definition) -> None:
    ended = world.run_into_a_stop("1")
    world.describe_with({"status": "RUNNING"})
    saga = world.sagas.saga(ended.arn)
    *before, last = saga.path
    running = _without_end(saga, (*before, _not_left(last)))
    visits = progress_of(drawn, running).visits
    assert visits["RefundPayment"].status is Status.RETRYING
    assert visits["ConfirmOrder"].status is Status.WAITING
    begun = _without_end(saga, (*before, _not_left(last, attempts=())))
    assert progress_of(drawn, begun).visits["RefundPayment"].status is Status.RUNNING


def _not_left(step: Any, **changes: Any) -> Any:
    return step.__class__(**{**vars(step), "left_at": None, "end": None, **changes})


@pytest.fixture(scope="module")
def trip() -> Definition:
    return read_definition(json.dumps(SAGAS["trip"].shape().definition), where="the template")


def progress_in(trip: Definition, execution: Any, events: Any) -> dict[str, str]:
    """The words beside the states that were entered."""
    saga = Saga(saga_id="x", execution=execution, path=path_of(events))
    return {name: str(visit.status) for name, visit in progress_of(trip, saga).visits.items() if visit.number}


def an_execution(status: str) -> Execution:
    known = {"arn": "x", "name": "x", "status": status, "started_at": START}
    unknown = ("stopped_at", "error", "cause", "order_id", "redrive_status", "redrive_status_reason")
    return Execution(**known, **dict.fromkeys(unknown), failed_cleanly=False, redrive_count=0)  # type: ignore[arg-type]  # values of many types


def test_branches_run_at_once_and_are_retried_each_for_itself(trip: Definition) -> None:
    under_way = FAILED_GROUP.splitlines()[:-5]
    assert progress_in(trip, an_execution("RUNNING"), history(*under_way)) == {
        "UndoReservations": "running",
        "CancelFlight": "retrying",
        "CancelHotel": "retrying",
    }
    assert progress_in(trip, an_execution("RUNNING"), history(*under_way[:9])) == {
        "UndoReservations": "running",
        "CancelFlight": "running",
        "CancelHotel": "running",
    }


def test_the_branch_that_failed_is_stuck_and_its_sibling_stopped(trip: Definition) -> None:
    assert progress_in(trip, an_execution("FAILED"), history(FAILED_GROUP)) == {
        "UndoReservations": "stuck",
        "CancelFlight": "stuck",
        "CancelHotel": "stopped",
    }
    assert progress_in(trip, an_execution("ABORTED"), history(ABORTED_GROUP)) == {
        "Reservations": "stuck",
        "ReserveFlight": "stuck",
        "ReserveHotel": "stuck",
        "ReserveCar": "done",
    }


@pytest.mark.parametrize("broken", ["CancelFlight", "CancelHotel"])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_trip_that_is_stuck_in_a_group_shows_which_branch_it_is(
    trip: Definition, broken: str, *, backwards: bool
) -> None:
    with interpreter(SAGAS["trip"].shape()) as machine:
        machine.through = Injector(machine, {"TakePayment": (Fault.BROKEN,), broken: (Fault.BROKEN,)})
        machine.backwards = backwards
        ended = machine.run(SAGAS["trip"].example.scenario("1-success"))
        events = machine._stepfunctions.get_execution_history(executionArn=ended.arn)["events"]
    words = progress_in(trip, an_execution("FAILED"), events)
    assert {name for name, word in words.items() if word == "stuck"} == {"UndoReservations", broken}
    assert words["TakePayment"] == "failed"
    assert {words["ReserveFlight"], words["ReserveHotel"], words["Reservations"]} == {"done"}
    assert stopped_in(path_of(events)) == (broken,)


def test_the_ways_that_were_taken_are_thick_within_groups_and_behind_them(trip: Definition) -> None:
    with interpreter(SAGAS["trip"].shape()) as machine:
        order = {**SAGAS["trip"].example.scenario("1-success"), "hotel": None}
        ended = machine.run(order)
        events = machine._stepfunctions.get_execution_history(executionArn=ended.arn)["events"]
    saga = Saga(saga_id="x", execution=an_execution("FAILED"), path=path_of(events))
    taken = {line for line in arrows(mermaid(trip, progress=progress_of(trip, saga))) if "==>" in line}
    assert taken == {
        'ReserveHotel ==>|"any error"| ReserveHotelFailed',
        "Reservations ==> ReservationsComplete",
        'ReservationsComplete ==>|"if"| UndoReservations',
        "UndoReservations ==> TripFailed",
    }


def _without_end(saga: Any, path: Any) -> Any:
    return saga.__class__(**{**vars(saga), "path": path})


def test_a_definition_in_a_file_is_drawn_without_a_stack(
    tmp_path: Path, definition: dict[str, Any], drawn: Definition, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "definition.json"
    file.write_text(json.dumps(definition))
    assert main(["graph", "--definition", str(file)]) == 0
    assert capsys.readouterr().out == mermaid(drawn)


def test_documents_are_renewed_in_place(tmp_path: Path, definition: dict[str, Any], drawn: Definition) -> None:
    file, document = tmp_path / "definition.json", tmp_path / "document.md"
    file.write_text(json.dumps(definition))
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main(["graph", "--definition", str(file), "--into", str(document)]) == 0
    assert document.read_text() == f"before\n{BEGIN}\n```mermaid\n{mermaid(drawn)}```\n{END}\nafter\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--definition", "no such file"], "error: no such file cannot be read"),
        (["--definition", "{definition}", "--into", "{plain}"], "has no place for a drawing"),
        (["--definition", "{plain}"], "holds no definition of a state machine"),
        (["--definition", "{definition}", "mine"], "leave out --definition or EXECUTION"),
        (["--definition", "{definition}", "--into", "{plain}", "--format", "svg"], "leave out --into or --format svg"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    tmp_path: Path,
    definition: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    files = {"definition": tmp_path / "definition.json", "plain": tmp_path / "plain.md"}
    files["definition"].write_text(json.dumps(definition))
    files["plain"].write_text("no drawing in here\n")
    assert main(["graph", *(argument.format(**files) for argument in arguments)]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_without_a_browser_a_picture_is_refused_in_one_line(
    tmp_path: Path, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    file = tmp_path / "definition.json"
    file.write_text(json.dumps(definition))
    assert main(["graph", "--definition", str(file), "--format", "svg"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: there is no browser to draw with: put one of chromium")
    assert err.count("\n") == 1


def test_a_browser_that_does_not_run_is_told_in_one_line(
    tmp_path: Path, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Ubuntu's package does, which is but a hint."""
    hint = tmp_path / "chromium"
    hint.write_text("#!/bin/sh\necho install the snap >&2\necho of chromium >&2\nexit 1\n")
    hint.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _name: str(hint))
    assert browsers.missing.__wrapped__() == f"{hint} does not run: install the snap of chromium"
    file = tmp_path / "definition.json"
    file.write_text(json.dumps(definition))
    assert main(["graph", "--definition", str(file), "--format", "svg"]) == 2
    assert capsys.readouterr().err == f"error: {hint} did not draw the graph: install the snap of chromium\n"


@pytest.mark.skipif(browsers.missing() is not None, reason=browsers.missing() or "")
@pytest.mark.skipif(not MERMAID.is_file(), reason="Mermaid is not installed")
def test_a_picture_shows_every_state(
    tmp_path: Path, definition: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "definition.json"
    file.write_text(json.dumps(definition))
    assert main(["graph", "--definition", str(file), "--format", "svg"]) == 0
    picture = capsys.readouterr().out
    assert picture.startswith("<svg ")
    assert all(f">{name}<" in picture for name in definition["States"] if name != "OrderFailed")
    assert "<script" not in picture
