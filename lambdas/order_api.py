"""The HTTP API of the order saga: ``POST /orders``, ``GET /orders/{id}`` and ``POST /orders/{id}/cancel``."""

from lambdas.order_steps import API_PATH, STEPS
from lambdas.saga_runtime.api import SagaApi

_API = SagaApi(steps=STEPS, path=API_PATH)

start_order = _API.start_function()
get_order = _API.outcome_function()
cancel_order = _API.cancel_function()
