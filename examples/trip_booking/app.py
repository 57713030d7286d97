"""The CDK app of the trip saga. Its context is ``-c stage=NAME`` and ``-c alert_email=ADDRESS``."""

from constructs import Construct

from examples.trip_booking.lambdas.trip_steps import SCHEMA
from saga_stack.construct.app import synthesize
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import Parallel, Pivot, Retriable, Step

RESERVE = (
    Step(action="reserve_flight", compensation="cancel_flight"),
    Step(action="reserve_hotel", compensation="cancel_hotel"),
)
PAY = Pivot(action="take_payment", resolution="resolve_payment")
CONFIRM = (Retriable(action="confirm_flight"), Retriable(action="confirm_hotel"))
STEPS = (Parallel(name="reservations", steps=RESERVE), PAY, Parallel(name="confirmations", steps=CONFIRM))


class TripSagaStack(SagaStack):
    """The trip saga of one stage."""

    def __init__(self, scope: Construct, id_: str, *, stage: Stage) -> None:
        super().__init__(
            scope,
            id_,
            stage=stage,
            description="A trip as a saga: flight and hotel at once, then the payment, or nothing",
            steps=STEPS,
            state_machine="TripBooking",
            partition_key=SCHEMA.key,
            sensitive_fields=SCHEMA.sensitive,
            failed="TripFailed",
            packages=("examples/trip_booking/lambdas",),
            handler="examples.trip_booking.lambdas.handlers.{}",
        )


if __name__ == "__main__":
    synthesize(TripSagaStack, "TripSaga")
