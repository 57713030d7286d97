"""What makes a cold start faster changes nothing else."""

import subprocess
import sys

import pytest


def runs(program: str) -> bool:
    return subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("module", ["lambdas.create_order", "lambdas.report_stuck_saga"])
def test_a_function_that_has_started_looks_for_garbage(module: str) -> None:
    assert runs(f"import gc, {module}; assert gc.isenabled()")


def test_a_package_that_a_reader_adds_gets_the_whole_of_typing_extensions() -> None:
    assert runs("import lambdas.create_order; from typing_extensions import TypeAliasType")


def test_where_typing_extensions_is_missing_two_names_stand_in_for_it() -> None:
    missing = "import sys; sys.modules['typing_extensions'] = None"
    assert runs(f"{missing}; import lambdas.create_order; from typing_extensions import NotRequired, deprecated")
    assert not runs(f"{missing}; import lambdas.create_order; from typing_extensions import TypeAliasType")
