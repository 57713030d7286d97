import functools
from collections.abc import Iterator

import pytest

from tests.saga.interpreter import Interpreter, interpreter
from tests.sagas import SAGAS, Saga
from tests.shape import Shape


@functools.cache
def _shape(name: str) -> Shape:
    return SAGAS[name].shape()


@pytest.fixture(params=SAGAS)
def saga(request: pytest.FixtureRequest) -> Saga:
    """Each saga; a test that is about one takes it by ``indirect``."""
    return SAGAS[request.param]


@pytest.fixture
def shape(saga: Saga) -> Shape:
    return _shape(saga.name)


@pytest.fixture
def machine(shape: Shape) -> Iterator[Interpreter]:
    with interpreter(shape) as machine:
        yield machine
