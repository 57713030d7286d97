"""The demo without a local cloud: the ends it expects, its URLs, and the commands that ``make local`` prints."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast
from unittest import mock

import pytest

from lambdas.saga_runtime.names import state_name
from lambdas.saga_runtime.steps import Schema, StepSpec
from local.__main__ import _commands
from local.api import local_url
from local.cloud import PROJECT, LocalCloud
from local.demo import differences
from local.executions import EndedExecution
from local.expectations import ExpectedEnd, expected_end
from ops.executions import DeployedStack
from saga_stack.construct.steps import Parallel, Pivot, Retriable, Step, StepOrGroup
from tests.sagas import SAGAS, SagaUnderTest, require_different_stacks

each_saga = pytest.mark.parametrize("saga", SAGAS.values(), ids=SAGAS)

SCHEMA = Schema(noun="thing", key="thing_id", fields=("thing_id",))
STEPS: Sequence[StepOrGroup] = (
    Step(action="do_a", compensation="undo_a"),
    Parallel(
        name="both", steps=(Step(action="do_b", compensation="undo_b"), Step(action="do_c", compensation="undo_c"))
    ),
    Step(action="do_d", compensation="undo_d"),
    Pivot(action="pay", resolution="resolve"),
    Retriable(action="confirm"),
    Parallel(name="rest", steps=(Retriable(action="mail"), Retriable(action="log"))),
)
SPECS = [
    StepSpec(action=f"do_{name}", schema=SCHEMA, entity=name, live="LIVE", compensated="GONE") for name in "abcd"
] + [StepSpec(action="pay", schema=SCHEMA, entity="p", live="PAID", confirmed="SETTLED", compensated="VOID")]


@pytest.mark.parametrize(
    ("fails", "path", "statuses"),
    [
        (None, "DoA Both BothComplete DoD Pay Confirm Rest Done", "a=LIVE b=LIVE c=LIVE d=LIVE p=SETTLED"),
        ("do_a", "DoA UndoA Failed", "a=GONE"),
        ("do_c", "DoA Both BothComplete UndoBoth UndoA Failed", "a=GONE b=GONE c=GONE"),
        ("do_d", "DoA Both BothComplete DoD UndoD UndoBoth UndoA Failed", "a=GONE b=GONE c=GONE d=GONE"),
        (
            "pay",
            "DoA Both BothComplete DoD Pay Resolve PayCommitted UndoD UndoBoth UndoA Failed",
            "a=GONE b=GONE c=GONE d=GONE p=VOID",
        ),
    ],
)
def test_the_end_of_an_execution_follows_from_the_steps(fails: str | None, path: str, statuses: str) -> None:
    assert expected_end(STEPS, SPECS, fails=fails, completion="Done", failed="Failed") == ExpectedEnd(
        status="FAILED" if fails else "SUCCEEDED",
        error="Failed" if fails else None,
        states=tuple(path.split()),
        statuses=dict(status.split("=") for status in statuses.split()),
    )


@pytest.mark.parametrize("fails", ["unknown", "confirm", "log"])
def test_only_an_action_that_is_caught_can_fail_for_good(fails: str) -> None:
    with pytest.raises(ValueError, match=f"^{fails} is not an action that can fail for good: name a Step or a Pivot$"):
        expected_end(STEPS, SPECS, fails=fails, completion="Done", failed="Failed")


@each_saga
def test_the_ends_of_the_demo_are_those_of_the_definition(saga: SagaUnderTest) -> None:
    shape, demo = saga.shape(), saga.demo
    for name, end in demo.expected_ends().items():
        fails = demo.scenarios[name].fails
        assert end.states in ([shape.rolled_back_from(state_name(fails))] if fails else shape.complete)


ENDED = EndedExecution(arn="arn", status="SUCCEEDED", error=None, cause=None, output=None, states=("DoA", "Done"))
EXPECTED = ExpectedEnd(status="SUCCEEDED", error=None, states=("DoA", "Done"), statuses={"a": "LIVE"})


@pytest.mark.parametrize(
    ("ended", "statuses", "problems"),
    [
        (ENDED, {"a": "LIVE"}, []),
        (replace(ENDED, status="FAILED"), {"a": "LIVE"}, ["status is FAILED, expected SUCCEEDED"]),
        (replace(ENDED, error="E"), {"a": "LIVE"}, ["error is E, expected None"]),
        (replace(ENDED, states=("DoA",)), {"a": "LIVE"}, ["path is DoA, expected DoA > Done"]),
        (ENDED, {}, ["rows is {}, expected {'a': 'LIVE'}"]),
    ],
)
def test_the_demo_reports_each_difference(ended: EndedExecution, statuses: dict[str, str], problems: list[str]) -> None:
    assert differences(EXPECTED, ended, statuses) == problems


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://a1.execute-api.us-east-1.amazonaws.com", "execute-api/a1/$default"),
        ("https://b2.lambda-url.us-east-1.on.aws/", "lambda-url/b2/"),
    ],
)
def test_the_local_cloud_serves_an_api_and_a_function_url_below_its_own(url: str, path: str) -> None:
    assert local_url("http://127.0.0.1:4566", url) == f"http://127.0.0.1:4566/_aws/{path}"


def printed_commands(saga: SagaUnderTest) -> str:
    cloud = cast("LocalCloud", mock.Mock(client_settings={"AWS_REGION": "us-east-1"}))
    stack = DeployedStack(
        name=f"{saga.demo.stack}-dev",
        state_machine_arn=f"arn:{saga.name}",
        table=f"table-{saga.name}",
        key=saga.demo.key,
        stuck_sagas_queue_url="https://queue",
        stuck_sagas_table="stuck",
    )
    return _commands(cloud, stack, saga.demo)


@each_saga
def test_the_printed_commands_name_the_deployed_resources_and_existing_files(saga: SagaUnderTest) -> None:
    text = printed_commands(saga)
    (file,) = re.findall(r"--input file://(\S+)\)", text)
    assert (PROJECT / file) == saga.demo.folder / "1-success.json"
    assert (PROJECT / file).exists()
    assert f"--state-machine-arn arn:{saga.name} " in text
    assert f"--table-name table-{saga.name} " in text
    assert f"'{saga.demo.key} = :id'" in text
    assert f"--function-name {saga.demo.stack}-dev-{next(iter(saga.demo.specs.values())).action} " in text
    assert "123-1234" not in text


@each_saga
def test_the_printed_ops_commands_name_the_stack_unless_it_is_the_default(saga: SagaUnderTest) -> None:
    commands = [line for line in printed_commands(saga).splitlines() if "python -m ops" in line]
    option = "" if saga.name == "order" else f" --stack {saga.demo.stack}-dev"
    assert commands == [f"  python -m ops list{option}", f"  python -m ops show 1{option}"]


def test_the_printed_commands_quote_folders_and_values(tmp_path: Path) -> None:
    saga, folder = SAGAS["order"], tmp_path / "my sagas"
    folder.mkdir()
    input_ = {**saga.demo.input("1-success"), "order_id": "Ada's 1", "address": "1 King's Road"}
    (folder / "1-success.json").write_text(json.dumps(input_))
    text = printed_commands(replace(saga, demo=replace(saga.demo, folder=folder)))
    commands = "\n".join(line for line in text.splitlines() if line.startswith("  "))
    words = shlex.split(commands.replace("\\\n", ""))
    assert f"file://{folder}/1-success.json)" in words
    assert json.dumps({":id": {"S": "Ada's 1"}}) in words
    assert "1 King's Road" in json.loads(words[words.index("echo") + 1]).values()
    assert words[words.index("show") :][:2] == ["show", "Ada's 1"]


def test_a_stack_that_two_sagas_share_is_reported() -> None:
    require_different_stacks(SAGAS)
    with pytest.raises(ValueError, match="order and copy have the same stack OrderSaga: rename one"):
        require_different_stacks({"order": SAGAS["order"], "copy": SAGAS["order"]})
