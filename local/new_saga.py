"""Writes a new saga: ``python -m local.new_saga NAME STEPS``; ``make new`` calls it.

STEPS are separated by spaces, in order. A step is one of

    action/compensation          a compensatable step
    action/compensation@         the same, which calls a payment provider
    a/b+c/d                      steps that run at the same time
    action?resolution            the pivot, at most one
    action!                      a retriable step, after which nothing is compensated

Exit status: 0 written, 2 invalid; then nothing is written.
"""

import argparse
import json
import keyword
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lambdas.saga_runtime import errors
from lambdas.saga_runtime.names import fail_state, state_name
from lambdas.saga_runtime.steps import RESERVED_ATTRIBUTES
from local.sagas import EXAMPLES, PROJECT, demo_named, example_names
from ops.arguments import ArgumentParser
from saga_stack.construct.names import require_names
from saga_stack.construct.saga import module_of
from saga_stack.construct.steps import (
    InvalidSagaError,
    Parallel,
    Pivot,
    Retriable,
    SingleStep,
    Step,
    StepOrGroup,
    functions_of,
    require_saga,
    single_steps,
)

TEMPLATES = PROJECT / "templates" / "saga"
PROVIDER = PROJECT / "templates" / "saga_provider"
MAX_GROUP = 3
# A compensation in a group receives the cause of each failed step beside the input (tests/unit/test_limits.py).
MAX_SIZES = {1: 190_000, 2: 100_000, 3: 50_000}
# Beside the rules of saga_stack/construct/names.py.
MAX_NAME = 30
# The longest name of a stage (saga_stack/construct/stages.py, which imports the CDK).
LONGEST_STAGE = "prod"
# Names of the modules that are written.
IMPORTED = ("action", "compensation", "resolution", "provider", "lambdas", "saga")
PROVIDER_FIELDS = ("price", "card_no")
SYNTAX = "use action/compensation, action?resolution or action!, with + between steps that run at the same time"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_STEP = re.compile(r"(?P<action>\w+)(?:(?P<kind>[/?])(?P<other>\w+)(?P<provider>@?)|(?P<retriable>!))")


class InvalidNewSagaError(ValueError):
    """The name or the steps cannot become a saga. Its text is one line."""


@dataclass(frozen=True, kw_only=True)
class NewStep:
    """A step as the templates see it.

    Args:
        step: the step of the state machine.
        entity: the sort key of its row.
        field: the field of the input that it stores; empty if it is retriable.
        provider: whether it calls the provider.
    """

    step: SingleStep
    entity: str
    field: str
    provider: bool

    @property
    def kind(self) -> str:
        """The class of the step."""
        return type(self.step).__name__


@dataclass(frozen=True, kw_only=True)
class NewSaga:
    """What the templates are filled with."""

    name: str
    package: str
    noun: str
    parts: Sequence[StepOrGroup]
    steps: Sequence[NewStep]

    @property
    def key(self) -> str:
        """The field that identifies an input."""
        return f"{self.noun}_id"

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def has_provider(self) -> bool:
        """True if a step calls the provider."""
        return any(one.provider for one in self.steps)

    @property
    def kinds(self) -> list[str]:
        """The classes of the steps."""
        return sorted({type(part).__name__ for part in self.parts} | {one.kind for one in self.steps})

    @property
    def makers(self) -> list[str]:
        """The functions of the library that make the handlers."""
        others = {"Step": "compensation", "Pivot": "resolution"}
        return sorted({"action", *(others[one.kind] for one in self.steps if one.kind in others)})

    @property
    def fields(self) -> list[str]:
        """All fields of an input."""
        own = [one.field for one in self.steps if one.field and not one.provider]
        return [self.key, *own, *(PROVIDER_FIELDS if self.has_provider else ())]

    @property
    def scenarios(self) -> dict[str, NewStep | None]:
        """The inputs of the demo by name, each with the step that fails."""
        failing = [one for one in self.steps if one.field]
        named = {f"{n}-failed-{one.entity.lower().replace('_', '-')}": one for n, one in enumerate(failing, 2)}
        return {"1-success": None, **named}

    @property
    def max_size(self) -> int:
        """The size limit of an input."""
        sizes = [len(part.steps) for part in self.parts if isinstance(part, Parallel)]
        return MAX_SIZES[max(sizes, default=1)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = ArgumentParser(prog="make new", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", metavar="FOLDER", type=Path, default=EXAMPLES, help="write to this folder of yours")
    parser.add_argument("name", help="the folder of examples/ that is written, such as concert_sale")
    parser.add_argument("steps", help="the steps, such as 'reserve_seat/release_seat issue_ticket/void_ticket'")
    options = parser.parse_args(arguments)
    try:
        write(new_saga(options.name, options.steps, options.path.resolve()), options.path.resolve())
    except (InvalidNewSagaError, InvalidSagaError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    name = options.name
    written = options.path / name
    print(f"Wrote {os.path.relpath(written)}: start with its files saga.py and lambdas/steps.py.\n\nNext:")
    if options.path.resolve() != EXAMPLES.resolve():
        print(f"  python -m local demo --path {shlex.quote(str(written))}")
        return 0
    print(f"  make demo EXAMPLE={name}")
    print(f'  make test ARGS="-k {name}"')
    print(f"  make chaos SAGA={name}")
    return 0


def new_saga(name: str, steps: str, folder: Path) -> NewSaga:
    """Return the saga of this name and list of steps. Raises InvalidNewSagaError and InvalidSagaError."""
    _require_name(name, "NAME")
    if not folder.is_dir():
        raise InvalidNewSagaError(f"{folder} is not a folder: choose another --path")
    if (folder / name).exists() or (EXAMPLES / name).exists() or name in ("order", "order_saga"):
        raise InvalidNewSagaError(f"a saga named {name!r} exists already: choose another NAME")
    stack = f"{state_name(name)}Saga"
    stacks = {"OrderSaga": "order", **{demo_named(known).stack: known for known in example_names(EXAMPLES)}}
    if owner := stacks.get(stack):
        raise InvalidNewSagaError(f"{name!r} would have the same stack as {owner!r}: choose another NAME")
    noun = name.rpartition("_")[2]
    if not noun[0].isalpha() or f"{noun}_id" in RESERVED_ATTRIBUTES:
        raise InvalidNewSagaError(f"{name!r} would have the key {noun}_id: choose a NAME with another last word")
    if folder.resolve() != EXAMPLES and (name in sys.stdlib_module_names or (PROJECT / name).is_dir()):
        raise InvalidNewSagaError(f"a package {name!r} would hide one of Python or of the library: choose another NAME")
    parts = tuple(_part(number, text) for number, text in enumerate(steps.split(), 1))
    require_saga(parts)
    functions = [function for step in single_steps(parts) for function in functions_of(step)]
    require_names(f"{stack}-{LONGEST_STAGE}", state_machine=state_name(name), functions=functions)
    calling = {found["action"] for found in _STEP.finditer(steps) if found["provider"]}
    _require_states(parts, failed=fail_state(noun))
    *parents, _ = module_of(str(folder / "any.py")).split(".")
    package = ".".join((*parents, name))
    return NewSaga(name=name, package=package, noun=noun, parts=parts, steps=_new_steps(parts, noun, calling))


def write(saga: NewSaga, folder: Path) -> None:
    """Write the saga to a folder of its name in ``folder``: all of it or, after an error, nothing."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (these are Python files, and every name is an identifier)
    )
    templates.filters["code"] = _code
    with tempfile.TemporaryDirectory(prefix="new-saga-") as temporary:
        made = Path(temporary) / saga.name
        for template in templates.list_templates():
            path = made / template.removesuffix(".jinja").replace("NAME", saga.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(templates.get_template(template).render(saga=saga), encoding="utf-8")
        _write_scenarios(saga, made / "scenarios")
        if saga.has_provider:
            _copy_provider(saga, made)
        _format(made, saga.package.partition(".")[0])
        shutil.move(made, folder / saga.name)


def _format(folder: Path, package: str) -> None:
    """Give the files the project's format."""
    options = [
        "--quiet",
        "--no-cache",
        f"--config={PROJECT / 'pyproject.toml'}",
        f"--config=lint.isort.known-first-party=['{package}']",
    ]
    for command in (["check", "--fix-only", "--select=I"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *options, str(folder)], check=True)


def _code(part: StepOrGroup) -> str:
    """Return the Python that makes a step or a group, with the arguments that have no default value."""
    if isinstance(part, Parallel):
        return f"Parallel(name={part.name!r}, steps=({''.join(f'{_code(step)},' for step in part.steps)}))"
    names = ("action", "compensation", "resolution", "function_timeout", "task_timeout")
    arguments = [f"{name}={getattr(part, name)!r}" for name in names if getattr(part, name, None)]
    return f"{type(part).__name__}({', '.join(arguments)})"


def _part(number: int, text: str) -> StepOrGroup:
    """Return the step or the group that a word of STEPS describes."""
    steps = [_step(member) for member in text.split("+")]
    if len(steps) == 1:
        return steps[0]
    if len(steps) > MAX_GROUP:
        raise InvalidNewSagaError(
            f"{text!r} has {len(steps)} steps at the same time: at most {MAX_GROUP} can be requested"
        )
    # require_saga rejects a group of different kinds.
    return Parallel(name=f"group_{number}", steps=steps)  # type: ignore[arg-type]


def _step(text: str) -> SingleStep:
    found = _STEP.fullmatch(text)
    if found is None or (found["kind"] == "?" and found["provider"]):
        raise InvalidNewSagaError(f"invalid step {text!r}: {SYNTAX}")
    action, other = found["action"], found["other"]
    for name in (action, other) if other else (action,):
        _require_name(name, "step")
    if found["retriable"]:
        return Retriable(action=action)
    if found["kind"] == "?":
        return Pivot(action=action, resolution=other)
    # The functions have time for three writes and the call (rule 8 in docs/concepts.md).
    if found["provider"]:
        return Step(action=action, compensation=other, function_timeout=40, task_timeout=60)
    return Step(action=action, compensation=other)


def _require_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidNewSagaError(f"invalid {what} {name!r}: use small letters and digits, with _ between words")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in IMPORTED:
        raise InvalidNewSagaError(f"invalid {what} {name!r}: the name is used by Python or by the library")
    if len(name) > MAX_NAME:
        raise InvalidNewSagaError(f"invalid {what} {name!r}: must have at most {MAX_NAME} characters")


def _require_states(parts: Sequence[StepOrGroup], failed: str) -> None:
    """Raise InvalidNewSagaError if a step would have the name of a state that every saga has, or if none can fail."""
    if hasattr(errors, failed):
        raise InvalidNewSagaError(f"the Fail state would be {failed}, the name of an error: choose another NAME")
    for step in single_steps(parts):
        for name in functions_of(step):
            if state_name(name) in (failed, "Completed"):
                raise InvalidNewSagaError(f"invalid step {name!r}: every saga has a state {state_name(name)}")
    if all(isinstance(step, Retriable) for step in single_steps(parts)):
        raise InvalidNewSagaError("no step can fail: begin with a step that has a compensation, or with a pivot")


def _new_steps(parts: Sequence[StepOrGroup], noun: str, calling: set[str]) -> list[NewStep]:
    """Give each step a row and a field of its own, named after what its action is about."""
    if len(calling) > 1:
        raise InvalidNewSagaError(f"{' and '.join(sorted(calling))} call a provider: mark one step with @")
    names = {*RESERVED_ATTRIBUTES, f"{noun}_id", *PROVIDER_FIELDS}
    entities: set[str] = set()
    found = []
    for step in single_steps(parts):
        about = step.action.partition("_")[2] or step.action
        if about in names or about in entities:
            about = step.action
        if about in names or about in entities:
            raise InvalidNewSagaError(f"invalid step {step.action!r}: another row or field has the name {about!r}")
        entities.add(about)
        field = "" if isinstance(step, Retriable) else "card_no" if step.action in calling else about
        found.append(NewStep(step=step, entity=about.upper(), field=field, provider=step.action in calling))
    return found


def _write_scenarios(saga: NewSaga, folder: Path) -> None:
    """Write an input that succeeds, and one without its field for each step that can fail."""
    folder.mkdir()
    values: dict[str, object] = {one.field: one.field.replace("_", " ") for one in saga.steps if one.field}
    if saga.has_provider:
        values |= {"price": 60, "card_no": "123-1234"}
    for number, (name, step) in enumerate(saga.scenarios.items(), 1):
        left = {field: value for field, value in values.items() if step is None or field != step.field}
        (folder / f"{name}.json").write_text(f"{json.dumps({saga.key: str(number), **left})}\n", encoding="utf-8")


def _copy_provider(saga: NewSaga, folder: Path) -> None:
    """Copy the client of a payment provider, and the provider for tests."""
    for name in ("fake_provider.py", "lambdas/provider.py"):
        text = (PROVIDER / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("sale_id", saga.key), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
