"""The edges of a saga in a folder of its own: what its stack gets, and the sagas that can have none."""

import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aws_cdk import App

from saga_stack.construct import app
from saga_stack.construct.edges import events_of
from saga_stack.construct.stack import FolderSagaStack
from saga_stack.construct.stages import STAGES
from saga_stack.construct.steps import InvalidSagaError, Parallel, Step
from tests.infrastructure.templates import functions, of_type, only
from tests.room_booking.lambdas.room_steps import STEPS
from tests.room_booking.saga import SAGA

Synthesize: TypeAlias = Callable[[], dict[str, Any]]
APP = """from saga_stack.construct.app import synthesize_saga

synthesize_saga(__file__)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Copy the saga to a folder outside the project, as ``hotel``."""
    source = Path(SAGA.file).parent
    shutil.copytree(source, tmp_path / "hotel", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (tmp_path / "hotel").rglob("*.py"):
        file.write_text(file.read_text().replace("tests.room_booking", "hotel"))
    (tmp_path / "hotel/app.py").write_text(APP)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "hotel"]:
        del sys.modules[name]


@pytest.fixture
def synthesize(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Synthesize:
    """Return a function that runs the CDK app of the copy, with all checks, and returns the template."""
    monkeypatch.syspath_prepend(folder)
    made = []

    def new_app() -> App:
        made.append(App(context={"aws:cdk:bundling-stacks": []}, outdir=str(folder / "cdk.out")))
        return made[-1]

    monkeypatch.setattr(app, "App", new_app)

    def run() -> dict[str, Any]:
        runpy.run_module("hotel.app", run_name="__main__")
        return dict(made[-1].synth().get_stack_by_name("HotelSaga-dev").template)

    return run


def test_a_saga_of_ones_own_gets_the_api_and_the_events_that_it_names(synthesize: Synthesize) -> None:
    template = synthesize()
    routes = {route["RouteKey"] for route in of_type(template, "AWS::ApiGatewayV2::Route").values()}
    assert routes == {"POST /bookings", "GET /bookings/{id+}", "POST /bookings/{id+}", "$default"}
    variables = functions(template)["publish_outcome"]["Environment"]["Variables"]
    assert variables["EVENTS"] == '{"ROOM SOLD": "BookingConfirmed", "ROOM FREED": "BookingFailed"}'
    assert variables["KEY_FIELD"] == "booking_id"
    assert functions(template)["report_stuck_saga"]["Environment"]["Variables"]["STUCK_EVENT"] == "BookingStuck"
    assert "start_booking" in functions(template)
    assert only(template, "AWS::Events::EventBus")["Name"] == "HotelSaga-dev-outcomes"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "saga.py": ('events=events_of(STEPS["ROOM"]),', ""),
                "lambdas/room_steps.py": ('confirmed="SOLD",', ""),
                "lambdas/handlers.py": ("confirmation(ROOM)", "action(ROOM)"),
            },
            (
                "start_booking (StartBooking) does not import: ValueError: reserve_room has no status for a confirmed "
                "saga: give its StepSpec confirmed="
            ),
        ),
        (
            {"lambdas/room_api.py": ("steps=STEPS,", "steps=dict(reversed(STEPS.items())),")},
            (
                "start_booking (StartBooking) does not import: ValueError: the API begins with take_deposit, the saga "
                "with reserve_room: list the steps in the same sequence"
            ),
        ),
        (
            {"lambdas/room_api.py": ("get_booking =", "read_booking =")},
            (
                "hotel/lambdas/room_api.py: get_booking (GetBooking) does not import: "
                "AttributeError: module 'hotel.lambdas.room_api' has no attribute 'get_booking'"
            ),
        ),
    ],
    ids=["never confirmed", "another first step", "no function"],
)
def test_a_mistake_in_the_api_ends_the_synthesis_with_one_line(
    folder: Path,
    synthesize: Synthesize,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, tuple[str, str]],
    message: str,
) -> None:
    for name, (old, new) in changes.items():
        file = folder / "hotel" / name
        file.write_text(file.read_text().replace(old, new))
    with pytest.raises(SystemExit):
        synthesize()
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_events_of_a_row_that_is_never_confirmed_are_rejected() -> None:
    with pytest.raises(InvalidSagaError, match=r"^reserve_room has no status for a confirmed saga: "):
        events_of(replace(STEPS["ROOM"], confirmed=None))


@pytest.mark.parametrize("edges", [{"api": SAGA.api}, {"events": SAGA.events}], ids=["api", "events"])
def test_a_saga_that_begins_with_a_group_has_no_edges(edges: dict[str, Any]) -> None:
    """The row of one member does not say how far the others are."""
    group = Parallel(name="reservations", steps=tuple(one for one in SAGA.steps if isinstance(one, Step)))
    saga = replace(SAGA, **{"api": None, "events": None, "steps": (group,), **edges})
    with pytest.raises(
        InvalidSagaError, match=r"^the saga begins with the parallel group reservations: .*put a single"
    ):
        FolderSagaStack(App(), "RoomSaga-dev", stage=STAGES["dev"], saga=saga)
