from collections.abc import Iterator
from typing import Any

import pytest

from tests.saga.interpreter import Interpreter, interpreter
from tests.shape import Shape, shape_of


@pytest.fixture(scope="session")
def shape(template: dict[str, Any]) -> Shape:
    return shape_of(template)


@pytest.fixture
def machine(shape: Shape) -> Iterator[Interpreter]:
    with interpreter(shape) as machine:
        yield machine
