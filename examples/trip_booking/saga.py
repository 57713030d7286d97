"""The trip saga: two reservations at the same time, the payment, and both confirmations."""

from examples.trip_booking.lambdas.trip_steps import SCHEMA
from saga_stack.construct.saga import Saga
from saga_stack.construct.steps import Parallel, Pivot, Retriable, Step

RESERVE = (
    Step(action="reserve_flight", compensation="cancel_flight"),
    Step(action="reserve_hotel", compensation="cancel_hotel"),
)
PAY = Pivot(action="take_payment", resolution="resolve_payment")
CONFIRM = (Retriable(action="confirm_flight"), Retriable(action="confirm_hotel"))
STEPS = (Parallel(name="reservations", steps=RESERVE), PAY, Parallel(name="confirmations", steps=CONFIRM))

SAGA = Saga(
    file=__file__,
    name="TripSaga",
    description="A trip as a saga: flight and hotel at once, then the payment, or nothing",
    schema=SCHEMA,
    steps=STEPS,
)
