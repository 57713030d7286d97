"""The CDK app of the trip saga: ``-c stage=NAME`` and ``-c alert_email=ADDRESS`` are its context."""

from constructs import Construct

from saga_stack.app import synthesize
from saga_stack.settings import Settings
from saga_stack.stack import SagaStack
from saga_stack.steps import Parallel, Pivot, Retriable, Step

RESERVE = (
    Step(action="reserve_flight", compensation="cancel_flight"),
    Step(action="reserve_hotel", compensation="cancel_hotel"),
)
PAY = Pivot(action="take_payment", resolution="resolve_payment")
CONFIRM = (Retriable(action="confirm_flight"), Retriable(action="confirm_hotel"))


class TripSagaStack(SagaStack):
    """The trip saga of one stage."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(
            scope,
            id_,
            settings=settings,
            description="Books a trip as a saga: flight and hotel at once, then the payment, or nothing",
            steps=(Parallel(name="reservations", steps=RESERVE), PAY, Parallel(name="confirmations", steps=CONFIRM)),
            state_machine="TripBooking",
            partition_key="trip_id",
            failed="TripFailed",
            packages=("examples/trip_booking/lambdas",),
            handler="examples.trip_booking.lambdas.handlers.{}",
        )


if __name__ == "__main__":
    synthesize(TripSagaStack, "TripSaga")
