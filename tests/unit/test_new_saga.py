"""``make new``: names and steps that cannot become a saga are reported, and nothing is written."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from local import new_saga
from local.new_saga import main

PLAIN = "reserve_seat/release_seat issue_ticket/void_ticket"
SYNTAX = "use action/compensation, action?resolution or action!, with + between steps that run at the same time"


@pytest.fixture(autouse=True)
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the examples by one, whose stack is not named after its folder."""
    folder = tmp_path / "examples"
    (folder / "seat_sale").mkdir(parents=True)
    (folder / "seat_sale/saga.py").touch()
    monkeypatch.setattr(new_saga, "EXAMPLES", folder)
    monkeypatch.setattr(new_saga, "demo_named", lambda _name: SimpleNamespace(stack="SeatSaga"))
    return folder


@pytest.mark.parametrize(
    ("name", "steps", "message"),
    [
        ("", PLAIN, "invalid NAME '': use small letters and digits, with _ between words"),
        ("Concert", PLAIN, "invalid NAME 'Concert': use small letters and digits, with _ between words"),
        ("concert-sale", PLAIN, "invalid NAME 'concert-sale': use small letters"),
        ("../sale", PLAIN, "invalid NAME '../sale': use small letters"),
        ("my_saga", PLAIN, "'my_saga' would have the key saga_id: choose a NAME with another last word"),
        ("sale_2", PLAIN, "'sale_2' would have the key 2_id: choose a NAME with another last word"),
        ("2sales", PLAIN, "invalid NAME '2sales': use small letters"),
        ("class", PLAIN, "invalid NAME 'class': the name is used by Python or by the library"),
        ("a" * 31, PLAIN, "must have at most 30 characters"),
        ("a" * 30, f"{'b' * 30}/c", "has 70 characters: AWS allows 64, so choose a shorter name"),
        (
            "table",
            PLAIN,
            "the state machine would have the id Table, like another part of the stack: choose another name",
        ),
        (
            "automatic_redrives",
            PLAIN,
            "the state machine would have the id AutomaticRedrives, like another part of the stack",
        ),
        ("sale", "report_stuck_saga/b", "report_stuck_saga is also a function that the library adds: choose another"),
        ("sale", "a/publish_outcome", "publish_outcome is also a function that the library adds"),
        ("seat_sale", PLAIN, "a saga named 'seat_sale' exists already: choose another NAME"),
        ("order", PLAIN, "a saga named 'order' exists already: choose another NAME"),
        ("seat", PLAIN, "'seat' would have the same stack as 'seat_sale': choose another NAME"),
        ("next_step", PLAIN, "the Fail state would be StepFailed, the name of an error: choose another NAME"),
        ("sale", "", "a saga needs at least one step"),
        ("sale", "reserve_seat", f"invalid step 'reserve_seat': {SYNTAX}"),
        ("sale", "reserve_seat/", f"invalid step 'reserve_seat/': {SYNTAX}"),
        ("sale", "a/b/c", f"invalid step 'a/b/c': {SYNTAX}"),
        ("sale", "pay?look@", f"invalid step 'pay?look@': {SYNTAX}"),
        ("sale", "import/b", "invalid step 'import': the name is used by Python or by the library"),
        ("sale", "action/b", "invalid step 'action': the name is used by Python or by the library"),
        ("sale", "Reserve/b", "invalid step 'Reserve': use small letters and digits"),
        ("sale", "a/b a/c", "two states are named A: give every function and every group a name of its own"),
        ("sale", "a/sale_failed", "invalid step 'sale_failed': every saga has a state SaleFailed"),
        ("sale", "completed/b", "invalid step 'completed': every saga has a state Completed"),
        ("sale", "pay?look a/b", "a comes after the pivot pay, after which nothing is compensated"),
        ("sale", "a/b+c!", "c in the parallel group group_1 is a Retriable, a a Step: make two groups"),
        ("sale", "a/b+c/d+e/f+g/h", "'a/b+c/d+e/f+g/h' has 4 steps at the same time: at most 3 can be requested"),
        ("sale", "a!", "no step can fail: begin with a step that has a compensation, or with a pivot"),
        ("sale", "status/b", "invalid step 'status': another row or field has the name 'status'"),
        ("sale", "a/b@ c/d@", "a and c call a provider: mark one step with @"),
    ],
)
def test_what_cannot_become_a_saga_is_reported_in_one_line(
    name: str, steps: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(*_: object) -> None:
        raise AssertionError("nothing is written")

    monkeypatch.setattr(new_saga, "write", reject)
    assert main([name, steps]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert message in err


def test_an_error_while_the_files_are_written_leaves_nothing(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_folder: Path, _package: str) -> None:
        raise OSError("no space")

    monkeypatch.setattr(new_saga, "_format", fail)
    with pytest.raises(OSError, match="no space"):
        new_saga.write(new_saga.new_saga("sale", PLAIN, examples), examples)
    assert [path.name for path in examples.iterdir()] == ["seat_sale"]


@pytest.mark.parametrize("name", ["json", "local"])
def test_a_package_of_its_own_hides_none_of_python_or_of_the_library(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    assert main(["--path", str(folder), name, PLAIN]) == 2
    message = f"a package {name!r} would hide one of Python or of the library: choose another NAME"
    assert capsys.readouterr().err == f"error: {message}\n"
    assert list(folder.iterdir()) == []


def test_the_next_command_quotes_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_saga, "write", lambda *_: None)
    folder = tmp_path / "my sagas"
    folder.mkdir()
    assert main(["--path", str(folder), "sale", PLAIN]) == 0
    command = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(command) == ["python", "-m", "local", "demo", "--path", str(folder / "sale")]


def test_rows_and_fields_are_named_after_what_the_action_is_about_and_never_twice(examples: Path) -> None:
    steps = new_saga.new_saga("sale", "book_room/free_room clean_room/dirty_room pay?look mail_room!", examples).steps
    assert [(one.entity, one.field) for one in steps] == [
        ("ROOM", "room"),
        ("CLEAN_ROOM", "clean_room"),
        ("PAY", "pay"),
        ("MAIL_ROOM", ""),
    ]
