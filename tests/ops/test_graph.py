"""The drawing of the state machine, and the progress of executions in it."""

import json
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lambdas.saga_runtime.names import state_name
from ops.__main__ import main
from ops.definition import Definition, read_definition
from ops.errors import OpsError
from ops.graph import mermaid
from ops.markdown import BEGIN, END, with_graph
from ops.pictures import MERMAID
from ops.progress import Status, progress_of
from tests import browser as browsers
from tests.fixtures import ORDER_STEPS
from tests.ops.conftest import World

PROJECT = Path(__file__).parent.parent.parent
ACTIONS = [state_name(step.action) for step, _ in ORDER_STEPS]
COMPENSATIONS = [state_name(step.compensation) for step, _ in ORDER_STEPS]
TASK: dict[str, Any] = {"Type": "Task", "Resource": "arn:x"}
needs_mermaid = pytest.mark.skipif(not MERMAID.is_file(), reason="Mermaid is not installed: run `make install`")


@pytest.fixture(scope="session")
def drawn(definition: dict[str, Any]) -> Definition:
    return read_definition(json.dumps(definition), where="the template")


def arrows(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if re.search(r"--|-\.-|==", line)}


def test_every_drawing_in_the_documents_is_generated_from_the_definition(drawn: Definition) -> None:
    documents = [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
    for document, text in ((document, document.read_text(encoding="utf-8")) for document in documents):
        if BEGIN in text:
            assert with_graph(text, mermaid(drawn), where="") == text, f"run `make docs` for {document}"
        by_hand = with_graph(f"{BEGIN}{END}{text}", "", where="")
        assert not re.search("flowchart|stateDiagram", by_hand), document
    assert BEGIN in documents[0].read_text(encoding="utf-8")


def test_every_transition_is_drawn(drawn: Definition) -> None:
    forward = pairwise([*ACTIONS, "ConfirmOrder", "SUCCEEDED"])
    backward = pairwise([*reversed(COMPENSATIONS), "OrderFailed"])
    assert arrows(mermaid(drawn)) == {
        *(f"{state} --> {following}" for state, following in (*forward, *backward)),
        *(f'{do} -.->|"any error"| {undo}' for do, undo in zip(ACTIONS, COMPENSATIONS, strict=True)),
    }


def test_groups_are_drawn_with_their_states() -> None:
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


def test_the_clean_errors_are_those_of_the_outer_fail_states() -> None:
    inner = {"StartAt": "Broken", "States": {"Broken": {"Type": "Fail", "Error": "Inner"}}}
    states = {
        "Group": {"Type": "Parallel", "Branches": [inner], "Next": "RolledBack"},
        "RolledBack": {"Type": "Fail", "Error": "Outer"},
        "Nameless": {"Type": "Fail", "ErrorPath": "$.error"},
    }
    definition = read_definition(json.dumps({"StartAt": "Group", "States": states}), where="here")
    assert definition.clean_errors == {"Outer"}


def test_special_characters_in_names_are_escaped() -> None:
    definition = {"StartAt": 'end "x"] --> y', "States": {'end "x"] --> y': {**TASK, "End": True}}}
    text = mermaid(read_definition(json.dumps(definition), where="here"))
    assert 's0["end #34;x#34;#93; --#62; y"]' in text


@pytest.mark.parametrize(
    "text", ["", "5", "[]", "{}", '{"StartAt": "A", "States": {}}', '{"StartAt": "A", "States": 5}']
)
def test_an_invalid_definition_is_reported_in_one_line(text: str) -> None:
    with pytest.raises(OpsError, match=r"^invalid definition in here: (expected|it names missing states: A)"):
        read_definition(text, where="here")


def test_the_progress_of_an_execution_that_is_rolled_back(world: World, drawn: Definition) -> None:
    ended = world.run("1", address=None)
    progress = progress_of(drawn, world.client.saga_run(ended.arn))
    failed = ACTIONS.index("ProcessShipment")
    assert {name: str(visit.status) for name, visit in progress.visits.items()} == {
        **dict.fromkeys([*ACTIONS, *COMPENSATIONS, "ConfirmOrder"], "skipped"),
        **dict.fromkeys(ACTIONS[:failed], "done"),
        "ProcessShipment": "failed",
        **dict.fromkeys(COMPENSATIONS[: failed + 1], "compensated"),
        "OrderFailed": "failed",
    }
    text = mermaid(drawn, progress=progress)
    assert 'RefundPayment["RefundPayment<br/>5 ↶ compensated"]' in text
    assert 'SUCCEEDED(["SUCCEEDED<br/>∅ skipped"])' in text
    assert 'ProcessShipment ==>|"any error"| CancelShipment' in text
    assert 'CreateOrder -.->|"any error"| DeleteOrder' in text, "not taken"
    assert "    class RefundPayment compensated\n" in text


def test_the_progress_of_a_stuck_execution(world: World, drawn: Definition) -> None:
    ended = world.run_into_a_stop("1")
    progress = progress_of(drawn, world.client.saga_run(ended.arn))
    assert progress.visits["RefundPayment"].status is Status.STUCK
    assert re.fullmatch(r"5 ⚠ stuck, \d\d failed", progress.visits["RefundPayment"].words)
    assert {str(progress.visits[name].status) for name in ("DeleteOrder", "ConfirmOrder")} == {"not reached"}
    text = mermaid(drawn, progress=progress)
    assert 'SUCCEEDED(["SUCCEEDED<br/>◌ not reached"])' in text
    assert "    class DeleteOrder not_reached\n" in text
    assert "    classDef not_reached fill" in text


def test_the_progress_of_a_running_execution(world: World, drawn: Definition) -> None:
    ended = world.run_into_a_stop("1")
    world.describe_with({"status": "RUNNING"})
    saga = world.client.saga_run(ended.arn)
    *before, last = saga.path
    retrying = replace(last, left_at=None, end=None)
    visits = progress_of(drawn, replace(saga, path=(*before, retrying))).visits
    assert visits["RefundPayment"].status is Status.RETRYING
    assert visits["ConfirmOrder"].status is Status.WAITING
    visits = progress_of(drawn, replace(saga, path=(*before, replace(retrying, attempts=())))).visits
    assert visits["RefundPayment"].status is Status.RUNNING


@pytest.fixture
def file(tmp_path: Path, definition: dict[str, Any]) -> str:
    """Write the definition into a file; return its path."""
    path = tmp_path / "definition.json"
    path.write_text(json.dumps(definition))
    return str(path)


def test_a_definition_in_a_file_is_drawn_without_a_stack(
    file: str, drawn: Definition, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["graph", "--definition", file]) == 0
    assert capsys.readouterr().out == mermaid(drawn)


def test_drawings_in_documents_are_replaced(tmp_path: Path, file: str, drawn: Definition) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main(["graph", "--definition", file, "--into", str(document)]) == 0
    assert document.read_text() == f"before\n{BEGIN}\n```mermaid\n{mermaid(drawn)}```\n{END}\nafter\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--definition missing", "error: cannot read missing"),
        ("--definition {file} --into {plain}", "has no drawing to replace"),
        ("--definition {plain}", "invalid definition in "),
        ("--definition {file} mine", "omit --definition or EXECUTION"),
        ("--definition {file} --into {plain} --format svg", "omit --into or --format svg"),
    ],
)
def test_a_graph_that_cannot_be_drawn_is_reported_in_one_line(
    tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    plain = tmp_path / "plain.md"
    plain.write_text("no drawing in here\n")
    assert main(["graph", *arguments.format(file=file, plain=plain).split()]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_picture_without_a_browser_is_reported_in_one_line(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert main(["graph", "--definition", file, "--format", "svg"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: no browser found: put one of chromium")
    assert err.count("\n") == 1


@needs_mermaid
def test_a_browser_that_does_not_run_is_reported_in_one_line(
    tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The chromium of Ubuntu's package only prints a hint."""
    hint = tmp_path / "chromium"
    hint.write_text("#!/bin/sh\necho install the snap >&2\necho of chromium >&2\nexit 1\n")
    hint.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _name: str(hint))
    assert browsers.missing.__wrapped__() == f"{hint} does not run: install the snap of chromium"
    assert main(["graph", "--definition", file, "--format", "svg"]) == 2
    assert capsys.readouterr().err == f"error: {hint} did not draw the graph: install the snap of chromium\n"


@pytest.mark.skipif(browsers.missing() is not None, reason=browsers.missing() or "")
@needs_mermaid
def test_a_picture_shows_every_state(file: str, definition: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "--definition", file, "--format", "svg"]) == 0
    picture = capsys.readouterr().out
    assert picture.startswith("<svg ")
    assert all(f">{name}<" in picture for name in definition["States"] if name != "OrderFailed")
    assert "<script" not in picture
