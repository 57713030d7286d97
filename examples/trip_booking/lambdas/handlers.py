"""The eight functions of the trip saga."""

from examples.trip_booking.lambdas.trip_steps import STEPS
from lambdas.saga_runtime.handlers import action, compensation, confirmation, resolution

FLIGHT, HOTEL, PAYMENT = STEPS["FLIGHT"], STEPS["HOTEL"], STEPS["PAYMENT"]

reserve_flight, cancel_flight, confirm_flight = action(FLIGHT), compensation(FLIGHT), confirmation(FLIGHT)
reserve_hotel, cancel_hotel, confirm_hotel = action(HOTEL), compensation(HOTEL), confirmation(HOTEL)
take_payment, resolve_payment = action(PAYMENT), resolution(PAYMENT)
