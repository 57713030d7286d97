from collections.abc import Iterator

import pytest

from tests.saga.interpreter import Interpreter, interpreter
from tests.sagas import SAGAS, Saga
from tests.shape import Shape


@pytest.fixture
def saga(request: pytest.FixtureRequest) -> Saga:
    """The order saga, or the one that the test asks for; see ``each_saga``."""
    return SAGAS[getattr(request, "param", "order")]


@pytest.fixture
def shape(saga: Saga) -> Shape:
    return saga.shape()


@pytest.fixture
def machine(saga: Saga, shape: Shape) -> Iterator[Interpreter]:
    with interpreter(shape, saga.example) as machine:
        yield machine
