"""Shows a saga: runs some inputs through a deployed stack and compares each end with the contract."""

import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Protocol, TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lambdas.saga_runtime.names import state_name
from lambdas.saga_runtime.redaction import HIDDEN, message_in
from lambdas.saga_runtime.steps import Schema, StepSpec
from local.deployment import Deployment
from local.errors import LocalError
from local.executions import EndedExecution, start, wait
from local.expectations import ExpectedEnd, expected_end
from local.faults import FaultError, fault_of, require_progress
from ops.model import StoredRow
from saga_stack.construct.checks import require_input
from saga_stack.construct.steps import InvalidSagaError


class Provider(Protocol):
    """A provider that the functions call, served on loopback."""

    @property
    def context(self) -> Mapping[str, str]:
        """The context of the CDK app that says where it is served."""
        ...

    @property
    def secrets(self) -> Mapping[str, str]:
        """The values of the secrets that the functions read, by the names of their variables."""
        ...

    def ledger(self, reference: str) -> str:
        """Return in words what it did for an order."""
        ...

    def balance(self, reference: str) -> Decimal:
        """Return what it charged for an order and did not refund."""
        ...

    def authorized(self, reference: str) -> Decimal:
        """Return what it authorized for an order, and neither charged nor released."""
        ...


# Returns the answer to a step that waits, without what names its request; None if none comes in time.
Answer: TypeAlias = Callable[[Mapping[str, object]], Mapping[str, object] | None]
# Answers what the saga of an input waits for, and yields the responses to the answers.
Answering: TypeAlias = Callable[[Deployment, Mapping[str, object]], AbstractContextManager[list[str]]]
Serving: TypeAlias = Callable[..., AbstractContextManager[Provider | None]]


@contextmanager
def no_provider(**_: float) -> Iterator[None]:
    """Serve no provider."""
    yield None


def no_answer(_input: Mapping[str, object]) -> None:
    """Return no answer."""


@contextmanager
def no_answers(_deployment: Deployment, _input: Mapping[str, object]) -> Iterator[list[str]]:
    """Answer nothing."""
    yield []


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """An input of a demo.

    Args:
        title: what it shows.
        fails: the action that fails for good. Default: none.
        responses: the responses to the answers that it waits for. Default: none.
    """

    title: str
    fails: str | None = None
    responses: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class StuckScenario:
    """A saga that gets stuck: it fails as another one, and the function of a compensation may not write.

    Args:
        name: the name of its execution.
        title: what it shows.
        like: the scenario that has the same input, except for the key.
        key: its key.
        compensation: the compensation that fails until its cause is fixed.
    """

    name: str
    title: str
    like: str
    key: str
    compensation: str


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A saga and the inputs that show it.

    Args:
        stack: the name of its stack without the stage.
        module: the module that contains the ``STEPS`` of the state machine.
        app: the module of the CDK app. Default: ``module``.
        specs_module: the module whose ``STEPS`` are the steps as their functions see them, by entity.
        completion: the last state of an execution that succeeds. Default: the one without a write of its own.
        failed: the Fail state.
        folder: the folder of the inputs, one file ``<name>.json`` each.
        scenarios: what each input shows, by its name.
        serving: serves the provider while a block runs; ``hold_seconds=`` says how late a late response comes.
            Default: no provider.
        amount: the field of the input that says what the provider charges. Default: none.
        answer: returns the answer that comes in time for an input. Default: none comes.
        answering: answers what a scenario waits for, while the saga runs and after it. Raises TimeoutError. Default:
            nothing waits.
        context: further context of the CDK app in the demo. Default: none.
        stuck: a saga that gets stuck and is resumed. Default: none.
    """

    stack: str
    module: str
    app: str | None = None
    specs_module: ModuleType
    completion: str = "Completed"
    failed: str
    folder: Path
    scenarios: Mapping[str, Scenario]
    serving: Serving = no_provider
    amount: str = ""
    answer: Answer = no_answer
    answering: Answering = no_answers
    context: Mapping[str, str] = field(default_factory=dict)
    stuck: StuckScenario | None = None

    @property
    def specs(self) -> Mapping[str, StepSpec]:
        """The steps as their functions see them, by entity."""
        steps: Mapping[str, StepSpec] = self.specs_module.STEPS
        return steps

    @property
    def schema(self) -> Schema:
        """The input of the saga."""
        return next(iter(self.specs.values())).schema

    @property
    def noun(self) -> str:
        """The noun for an input."""
        return self.schema.noun

    @property
    def key(self) -> str:
        """The field that identifies an input."""
        return self.schema.key

    def input(self, name: str) -> dict[str, object]:
        """Read the input of a scenario."""
        found: dict[str, object] = json.loads((self.folder / f"{name}.json").read_text())
        return found

    def without_secrets(self, input_: Mapping[str, object]) -> dict[str, object]:
        """Return an input without its sensitive values."""
        return {field: HIDDEN if field in self.schema.sensitive else value for field, value in input_.items()}

    def title(self, name: str) -> str:
        """Return the title of a scenario and the state that fails."""
        failing = self.failing_state(name)
        return self.scenarios[name].title + (f": {failing} fails" if failing else "")

    def failing_state(self, name: str) -> str | None:
        """Return the state that fails in a scenario; None if all succeed."""
        fails = self.scenarios[name].fails
        return fails and state_name(fails)

    def expected_ends(self) -> dict[str, ExpectedEnd]:
        """Return how each scenario ends. Imports ``module``, and with it the CDK."""
        steps = importlib.import_module(self.module).STEPS
        return {
            name: expected_end(
                steps, self.specs.values(), fails=scenario.fails, completion=self.completion, failed=self.failed
            )
            for name, scenario in self.scenarios.items()
        }


def require_inputs(demo: Demo) -> None:
    """Raise LocalError unless each scenario has an input, so that a mistake is reported before the deployment."""
    for file in (demo.folder / f"{name}.json" for name in demo.scenarios):
        try:
            require_input(file, demo.schema, shown=os.path.relpath(file))
        except InvalidSagaError as error:
            raise LocalError(str(error)) from None


def run(
    deployment: Deployment,
    console: Console,
    demo: Demo,
    expected_ends: Mapping[str, ExpectedEnd],
    provider: Provider | None = None,
) -> list[str]:
    """Run the scenarios and show each. Return in words what differs from the contract. A fault ends it."""
    found: list[str] = []
    for name, expected in expected_ends.items():
        input_ = demo.input(name)
        key = str(input_[demo.key])
        failing = demo.failing_state(name)
        with console.status(f"{name} is running"):
            arn = start(deployment, input_)
            try:
                with demo.answering(deployment, input_) as responses:
                    ended = wait(deployment, arn, check=partial(require_progress, deployment, arn, expected=failing))
            except FaultError as fault:
                return [*found, f"{name}: {fault}"]
            except TimeoutError as error:
                return [*found, f"{name}: {fault_of(deployment, arn, expected=failing) or error}"]
            rows = {row.entity: row for row in deployment.client.rows(key)}
        console.print()
        console.rule(f"[bold]{escape(name)}[/bold]: {escape(demo.title(name))}", align="left")
        outside = {"ledger": provider.ledger(key) if provider else "", "answers": ", ".join(responses)}
        console.print(facts(demo, input_, ended, rows, outside))
        problems = differences(expected, ended, {entity: row.status for entity, row in rows.items()})
        if problems and (failed := fault_of(deployment, arn, expected=failing)):
            return [*found, f"{name}: {failed}"]
        if responses != list(demo.scenarios[name].responses):
            problems.append(f"the responses are {responses}, expected {list(demo.scenarios[name].responses)}")
        if provider:
            problems += imbalance(ended, input_[demo.amount], provider, key)
        found += [f"{name}: {problem}" for problem in problems]
    return found


def imbalance(ended: EndedExecution, amount: object, provider: Provider, key: str) -> list[str]:
    """Compare what was charged with the amount of a saga that succeeded, or else with 0. Nothing stays authorized."""
    due = Decimal(str(amount)) if ended.status == "SUCCEEDED" else Decimal(0)
    balance, authorized = provider.balance(key), provider.authorized(key)
    problems = [] if balance == due else [f"the provider's balance is {balance}, expected {due}"]
    return problems + ([f"the provider still holds {authorized} for it, expected 0"] if authorized else [])


def differences(expected: ExpectedEnd, ended: EndedExecution, statuses: Mapping[str, str]) -> list[str]:
    """Compare the end of an execution with the contract."""
    pairs = {
        "status": (expected.status, ended.status),
        "error": (expected.error, ended.error),
        "path": (" > ".join(expected.states), " > ".join(ended.states)),
        "rows": (dict(sorted(expected.statuses.items())), dict(sorted(statuses.items()))),
    }
    return [f"{name} is {actual}, expected {wanted}" for name, (wanted, actual) in pairs.items() if wanted != actual]


def facts(
    demo: Demo,
    input_: Mapping[str, object],
    ended: EndedExecution,
    rows: Mapping[str, StoredRow],
    outside: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """Return a table of an execution.

    Args:
        demo: its saga.
        input_: its input.
        ended: how it ended.
        rows: its rows by entity.
        outside: what happened at other parties, by the title of its line; an empty text has no line. Default: nothing.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=7)
    table.add_column(overflow="fold")
    table.add_row(demo.noun, escape(json.dumps(demo.without_secrets(input_))))
    add_end(table, demo, ended, rows)
    for title, text in outside.items():
        if text:
            table.add_row(title, escape(text))
    return table


def add_end(table: Table, demo: Demo, ended: EndedExecution, rows: Mapping[str, StoredRow]) -> None:
    """Add to a table how an execution ended."""
    succeeded = ended.status == "SUCCEEDED"
    table.add_row("path", escape(" > ".join(ended.states)))
    status = f"[{'green' if succeeded else 'red'}]{ended.status}[/]"
    table.add_row("ended", f"{status} ({ended.error})" if ended.error else status)
    if cause := message_in(ended.cause):
        table.add_row("cause", escape(cause))
    if ended.output and succeeded:
        table.add_row("output", escape(ended.output))
    width = max(map(len, demo.specs))
    for title, entity in zip(["rows"] + [""] * len(demo.specs), demo.specs, strict=False):
        table.add_row(title, f"{entity:<{width}} {_row(rows.get(entity))}")


def _row(row: StoredRow | None) -> str:
    if row is None:
        return "[dim]no row: the saga did not reach this step[/dim]"
    history = " > ".join(entry.status for entry in row.history)
    return f"{row.status:<9} [dim]history: {history}[/dim]"
