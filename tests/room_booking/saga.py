"""Its steps and its edges."""

from saga_stack.construct.edges import ApiSettings, events_of
from saga_stack.construct.saga import Saga
from saga_stack.construct.steps import Retriable, Step
from tests.room_booking.lambdas.room_steps import SCHEMA, STEPS

SAGA = Saga(
    file=__file__,
    description="Books a room",
    schema=SCHEMA,
    steps=(
        Step(action="reserve_room", compensation="free_room"),
        Step(action="take_deposit", compensation="return_deposit"),
        Retriable(action="sell_room"),
    ),
    api=ApiSettings(
        path="/bookings",
        start="start_booking",
        outcome="get_booking",
        cancel="cancel_booking",
        handler="tests.room_booking.lambdas.room_api.{}",
    ),
    events=events_of(STEPS["ROOM"]),
)
