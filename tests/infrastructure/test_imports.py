"""The library and its users: which modules may import which, and the words that the library does not know."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = ("app", "benchmarks", "examples", "lambdas", "local", "ops", "saga_stack", "tests")
EXAMPLES = sorted(path.parent.name for path in (PROJECT / "examples").glob("*/app.py"))
# What the demo of an example may use.
DEMOS = ("local.api", "local.demo", "local.deployment", "local.sagas")
CONSTRUCT, RUNTIME = "saga_stack.construct", "lambdas.saga_runtime"


def is_in(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def project_imports(path: Path) -> Iterator[str]:
    """Return the modules of the project that a file imports, with the names that it imports from them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in found if is_in(name, PACKAGES))


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("saga_stack/construct", (CONSTRUCT, f"{RUNTIME}.errors", f"{RUNTIME}.names")),
        ("lambdas/saga_runtime", (RUNTIME,)),
        ("lambdas", ("lambdas",)),
        ("saga_stack", ("saga_stack", "lambdas")),
        ("ops", ("ops", RUNTIME)),
        *((f"examples/{name}", (CONSTRUCT, RUNTIME, f"examples.{name}", *DEMOS)) for name in EXAMPLES),
    ],
)
def test_a_folder_imports_only_what_it_may_know(folder: str, allowed: tuple[str, ...]) -> None:
    files = sorted((PROJECT / folder).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in files
        for name in project_imports(path)
        if not is_in(name, allowed)
    ]
    assert not wrong


WORDS = re.compile("order|(?<!wild)card|shipment", re.IGNORECASE)
SEQUENCES = re.compile("in (whatever |the )?order|text order is time order", re.IGNORECASE)
RULE_FOR_CARD_NUMBERS = re.compile("card_last4|_?card[_ ]number", re.IGNORECASE)


@pytest.mark.parametrize("folder", ["saga_stack/construct", "lambdas/saga_runtime"])
def test_the_library_mentions_no_order_card_or_shipment(folder: str) -> None:
    wrong = []
    for path in sorted((PROJECT / folder).rglob("*.py")):
        text = SEQUENCES.sub("", path.read_text())
        if path.name == "validation.py":
            text = RULE_FOR_CARD_NUMBERS.sub("", text)
        lines = text.splitlines()
        wrong += [f"{path.relative_to(PROJECT)}: {line.strip()}" for line in lines if WORDS.search(line)]
    assert not wrong
