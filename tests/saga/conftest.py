from collections.abc import Iterator

import pytest

from tests.saga.interpreter import Interpreter, interpreter
from tests.sagas import SAGAS, SagaUnderTest
from tests.shape import Shape


@pytest.fixture
def saga(request: pytest.FixtureRequest) -> SagaUnderTest:
    """Return the order saga, or the one that the test asks for; see ``each_saga``."""
    return SAGAS[getattr(request, "param", "order")]


@pytest.fixture
def shape(saga: SagaUnderTest) -> Shape:
    return saga.shape()


@pytest.fixture
def machine(saga: SagaUnderTest, shape: Shape) -> Iterator[Interpreter]:
    with interpreter(shape, saga.demo) as machine:
        yield machine
