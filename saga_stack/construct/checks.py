"""Checks a saga when it is synthesized, so that a mistake is reported before anything is deployed.

Each error names the step and the file.
"""

import ast
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambdas.saga_runtime.names import state_name
from saga_stack.construct.import_handlers import one_line, places_of
from saga_stack.construct.saga import InputSchema, Saga, module_of, root_of
from saga_stack.construct.steps import (
    InvalidSagaError,
    Pivot,
    SingleStep,
    Step,
    StepOrGroup,
    callback_of,
    functions_of,
    single_steps,
)

IMPORT_WITHIN_SECONDS = 60
# Variables that Python itself may need.
OF_PYTHON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
# Variables that the stack gives its functions.
OF_THE_STACK = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "TABLE_NAME": "any",
    "POWERTOOLS_METRICS_NAMESPACE": "any",
}

PROBE = Path(__file__).parent / "import_handlers.py"
# Folders whose files are not a saga's own, though they may be in the same project.
NOT_OWN = (Path(__file__).parent, Path(inspect.getfile(state_name)).parent, Path(sysconfig.get_path("purelib")))


@dataclass(frozen=True, kw_only=True)
class FunctionMade:
    """What a function is made of: the function of the library that made it, and the action and row of its StepSpec.

    ``has_callback`` says whether it only starts the work, and an answer ends it.
    """

    kind: str
    action: str
    entity: str
    has_callback: bool


def require_functions(
    steps: Sequence[StepOrGroup], handlers: Mapping[str, str], source: Path, settings: Mapping[str, str]
) -> None:
    """Raise InvalidSagaError unless every function imports from the asset and is made for its step.

    Args:
        steps: the steps.
        handlers: the path of each function's handler in the asset, by its name.
        source: the folder that the asset is made of.
        settings: environment variables of the functions.
    """
    made = _import_handlers(handlers, source, settings)
    owners: dict[str, str] = {}
    earlier: set[str] = set()
    for step in single_steps(steps):
        action = made.get(step.action)
        for name in functions_of(step):
            function, file = made.get(name), _file_of(handlers[name])
            if function is None:
                continue
            _require_kind(step, name, function, file)
            if action and function.entity != action.entity:
                raise InvalidSagaError(
                    f"{file}: {name} has the row {function.entity}, its action {step.action} has {action.entity}: "
                    "make both of the same StepSpec"
                )
            if function.kind == "confirmation":
                if function.action not in earlier:
                    raise InvalidSagaError(
                        f"{file}: {name} confirms the row of {function.action}, which is not an earlier step: "
                        "use the StepSpec of one"
                    )
                continue
            if function.action != step.action:
                raise InvalidSagaError(
                    f"{file}: {name} is made of the StepSpec of {function.action}: use the one of {step.action}"
                )
            if (owner := owners.setdefault(function.entity, step.action)) != step.action:
                raise InvalidSagaError(
                    f"{file}: {owner} and {name} have one row, {function.entity}: give each step a StepSpec of its own"
                )
        earlier.add(step.action)


def _require_kind(step: SingleStep, name: str, function: FunctionMade, file: str) -> None:
    """Raise InvalidSagaError unless the function does what its place in the step says, and waits if the step does."""
    kinds = dict(zip(functions_of(step), _kinds_of(step), strict=True))[name]
    if function.kind not in kinds:
        raise InvalidSagaError(
            f"{file}: {name} is made by {function.kind}(...): make it by {'(...) or '.join(kinds)}(...)"
        )
    waits = name == step.action and callback_of(step) is not None
    if waits and not function.has_callback:
        raise InvalidSagaError(
            f"{file}: {name} does not wait for an answer, its step does: make it by action(..., has_callback=True)"
        )
    if function.has_callback and not waits:
        raise InvalidSagaError(
            f"{file}: {name} waits for an answer, its step does not: give the step callback=Callback(...)"
        )


def _kinds_of(step: SingleStep) -> Sequence[Sequence[str]]:
    """Return which functions of lambdas/saga_runtime/handlers.py may make each function of the step."""
    match step:
        case Step():
            return (("action",), ("compensation",))
        case Pivot():
            return (("action",), ("resolution",))
    # It may confirm the row of an earlier step.
    return (("action", "confirmation"),)


def import_saga(file: str) -> Saga:
    """Import ``SAGA`` of the module ``saga`` beside a file. Raises InvalidSagaError with the line that fails."""
    found: Saga = _imported(Path(file).with_name("saga.py"), "SAGA")
    return found


def import_by_name(name: str) -> Any:
    """Import what a name such as ``shop.stack.TripStack`` names. Raises as ``import_saga`` does."""
    module, _, attribute = name.rpartition(".")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise InvalidSagaError(f"the module of {name} does not exist: correct the name")
    return _imported(Path(spec.origin), attribute)


def _imported(path: Path, attribute: str) -> Any:
    try:
        return getattr(importlib.import_module(module_of(str(path))), attribute)
    except Exception as error:  # noqa: BLE001 (whatever a module raises)
        raise InvalidSagaError(f"{_place_of(error, path)}: {one_line(error)}") from None


def _place_of(error: Exception, path: Path) -> str:
    """Return where in the saga's own code an error was raised; the file that was imported if nowhere."""
    root = root_of(str(path))
    own = [f"{Path(file).relative_to(root)}:{line}" for file, line in places_of(error) if _is_own(Path(file), root)]
    return own[-1] if own else str(path.relative_to(root))


def _is_own(file: Path, root: Path) -> bool:
    """Return whether the file is in ``root`` and not of the library, or of a package that was installed there."""
    return file.is_relative_to(root) and not any(file.is_relative_to(folder) for folder in NOT_OWN)


def require_scenarios(saga: Saga) -> None:
    """Raise InvalidSagaError unless each input of the demo is a JSON object with a key."""
    for file in sorted((saga.folder / "scenarios").glob("*.json")):
        require_input(file, saga.schema, shown=file.relative_to(saga.root))


def require_input(file: Path, schema: InputSchema, *, shown: object) -> None:
    """Raise InvalidSagaError, which names the file as ``shown``, unless it is a JSON object with a key."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidSagaError(f"{shown}: the demo names this file, which does not exist: write it") from None
    except ValueError as error:
        raise InvalidSagaError(f"{shown}: this is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InvalidSagaError(f"{shown}: the {schema.noun} must be a JSON object")
    if not isinstance(content.get(schema.key), str):
        raise InvalidSagaError(f"{shown}: the {schema.noun} has no text {schema.key}: add it")


def require_own_stack(saga: Saga) -> None:
    """Raise InvalidSagaError if a saga in a folder beside this one, or ``app.py`` in the root, has the same stack.

    A neighbour that cannot be imported is skipped: its own synthesis reports why.
    """
    if saga.stack == _stack_of_app(saga.root / "app.py"):
        raise InvalidSagaError(
            f"{Path(saga.file).relative_to(saga.root)}: app.py has the same stack {saga.stack}: choose another name="
        )
    package = saga.module.split(".")[:-2]
    for file in sorted(saga.folder.parent.glob("*/saga.py")):
        if file.parent == saga.folder:
            continue
        try:
            other = importlib.import_module(".".join((*package, file.parent.name, "saga"))).SAGA
        except Exception:  # noqa: BLE001, S112 (any mistake of a neighbour)
            continue
        if isinstance(other, Saga) and other.stack == saga.stack:
            raise InvalidSagaError(
                f"{file.relative_to(saga.root)} has the same stack {saga.stack}: give one of them another name="
            )


def _stack_of_app(file: Path) -> str | None:
    """Return the name that a CDK app passes to ``synthesize``, None if it passes none. The app is not run."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError):
        return None
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name(id="synthesize"), args=[_, ast.Constant(value=str(name))]):
                return name
    return None


def _import_handlers(
    handlers: Mapping[str, str], source: Path, settings: Mapping[str, str]
) -> Mapping[str, FunctionMade]:
    for name, handler in handlers.items():
        if not (source / _file_of(handler)).exists():
            raise InvalidSagaError(
                f"{_file_of(handler)}: {name} ({state_name(name)}) is not in the asset: "
                "write the file, or add its folder to packages="
            )
    try:
        found = _probe(handlers, source, settings)
    except _ProbeError as error:
        if len(handlers) > 1:
            for name, handler in handlers.items():
                _import_handlers({name: handler}, source, settings)
        name, handler = next(iter(handlers.items()))
        raise InvalidSagaError(f"{_file_of(handler)}: the import of {name} ({state_name(name)}) {error}") from None
    for name, result in found.items():
        if "error" in result:
            raise InvalidSagaError(_import_error(name, handlers[name], source, result))
    return {name: FunctionMade(**result) for name, result in found.items() if result}


class _ProbeError(Exception):
    """The process that imports handlers has no result. Its text says why."""


def _probe(handlers: Mapping[str, str], source: Path, settings: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    """Import the handlers in a process of its own; return the result of each. Raises _ProbeError."""
    # On AWS they have only the variables of the stack.
    environment = {name: os.environ[name] for name in OF_PYTHON if name in os.environ}
    environment |= OF_THE_STACK
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-P", str(PROBE), str(source)],
            cwd=source,
            env=environment | dict(settings),
            input=json.dumps(dict(handlers)),
            capture_output=True,
            text=True,
            timeout=IMPORT_WITHIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _ProbeError(f"takes longer than {IMPORT_WITHIN_SECONDS} s") from None
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise _ProbeError(f"ends Python with exit status {done.returncode}: {reason}")
    # A function may print when it is imported; the last line is the probe's.
    found: Mapping[str, Mapping[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _import_error(name: str, handler: str, source: Path, result: Mapping[str, str]) -> str:
    at = result["at"] or _file_of(handler)
    text = f"{at}: {name} ({state_name(name)}) does not import: {result['error']}"
    return text.replace(f"{source}/", "")


def _file_of(handler: str) -> str:
    return f"{handler.rpartition('.')[0].replace('.', '/')}.py"
