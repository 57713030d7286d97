"""The demos of the sagas, which are found by their folders."""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

from local.demo import Answer, Answering, Demo, Scenario, Serving, no_answer, no_answers, no_provider
from local.errors import LocalError
from saga_stack.construct.saga import Saga, module_of, root_of

PROJECT = Path(__file__).parent.parent
EXAMPLES = PROJECT / "examples"


def demo_of(
    saga: Saga,
    *,
    specs_module: ModuleType,
    scenarios: Mapping[str, Scenario],
    serving: Serving = no_provider,
    amount: str = "",
    answer: Answer = no_answer,
    answering: Answering = no_answers,
    context: Mapping[str, str] = MappingProxyType({}),
) -> Demo:
    """Return the demo of a saga in a folder of its own. The arguments are those of Demo that do not derive."""
    return Demo(
        stack=saga.stack,
        module=saga.module,
        app=f"{saga.module.rpartition('.')[0]}.app",
        specs_module=specs_module,
        failed=saga.failed,
        folder=saga.folder / "scenarios",
        scenarios=scenarios,
        serving=serving,
        amount=amount,
        answer=answer,
        answering=answering,
        context=context,
    )


def example_names(folder: Path = EXAMPLES) -> list[str]:
    """Return the names of the sagas in the folder."""
    return sorted(path.parent.name for path in folder.glob("*/saga.py"))


def example(name: str) -> tuple[Saga, Demo]:
    """Import a saga of ``examples/`` and its demo."""
    saga: Saga = importlib.import_module(f"examples.{name}.saga").SAGA
    return saga, demo_named(name)


def demo_named(name: str) -> Demo:
    """Import a demo of ``examples/``."""
    demo: Demo = importlib.import_module(f"examples.{name}.demo").DEMO
    return demo


def demo_in(folder: Path) -> Demo:
    """Import the demo of a saga in any folder. From now on, Python finds its package, here and in child processes."""
    file = folder.resolve() / "demo.py"
    if not file.exists():
        raise LocalError(f"{folder} has no saga: expected {file.name} and saga.py, which make new writes")
    root = str(root_of(str(file)))
    sys.path.insert(0, root)
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    demo: Demo = importlib.import_module(module_of(str(file))).DEMO
    return demo
