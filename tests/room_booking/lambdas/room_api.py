"""The functions of its API."""

from lambdas.saga_runtime.api import SagaApi
from tests.room_booking.lambdas.room_steps import STEPS

_API = SagaApi(steps=STEPS, path="/bookings")

start_booking = _API.start_function()
get_booking = _API.outcome_function()
cancel_booking = _API.cancel_function()
