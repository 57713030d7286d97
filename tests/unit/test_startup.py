"""What makes a cold start faster changes nothing else."""

import os
import subprocess
import sys

import pytest

# Python 3.12 begins with some of its own.
FROZEN = "import gc; frozen = gc.get_freeze_count()"


def runs(program: str, **variables: str) -> bool:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=os.environ | variables, check=False).returncode == 0


@pytest.mark.parametrize("module", ["lambdas.create_order", "lambdas.report_stuck_saga"])
def test_a_function_that_has_started_looks_for_garbage_among_what_comes_later(module: str) -> None:
    program = f"{FROZEN}; import {module}; assert gc.isenabled(); assert gc.get_freeze_count() > frozen + 1000"
    assert runs(program, AWS_LAMBDA_FUNCTION_NAME="function")


def test_a_process_that_is_no_function_looks_for_garbage_everywhere() -> None:
    """Or Hypothesis, in these tests, would be told by Python 3.14 that nobody holds its generator of random numbers."""
    program = f"{FROZEN}; import lambdas.create_order; assert gc.isenabled(); assert gc.get_freeze_count() <= frozen"
    assert runs(program)


def test_a_package_that_a_reader_adds_gets_the_whole_of_typing_extensions() -> None:
    assert runs("import lambdas.create_order; from typing_extensions import TypeAliasType")


def test_where_typing_extensions_is_missing_two_names_stand_in_for_it() -> None:
    missing = "import sys; sys.modules['typing_extensions'] = None"
    assert runs(f"{missing}; import lambdas.create_order; from typing_extensions import NotRequired, deprecated")
    assert not runs(f"{missing}; import lambdas.create_order; from typing_extensions import TypeAliasType")
