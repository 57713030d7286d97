"""The fixtures of tests/saga, for the tests that are about one example alone."""

from tests.saga.conftest import machine, saga, shape

__all__ = ["machine", "saga", "shape"]
