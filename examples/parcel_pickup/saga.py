"""The parcel saga: its steps, and how long the carrier has to answer."""

from datetime import timedelta

from examples.parcel_pickup.lambdas.parcel_steps import SCHEMA
from saga_stack.construct.saga import Saga
from saga_stack.construct.steps import Callback, Retriable, Step

STEPS = (
    Step(action="reserve_goods", compensation="release_goods"),
    Step(action="request_pickup", compensation="cancel_pickup", callback=Callback(timeout=timedelta(days=2))),
    Retriable(action="print_label"),
)

SAGA = Saga(
    file=__file__,
    name="ParcelSaga",
    description="Sends a parcel as a saga: goods, a pickup that the carrier confirms, a label, or nothing",
    schema=SCHEMA,
    steps=STEPS,
    secrets={"WEBHOOK_SECRET": ("receive_answer",)},
    receiver="receive_answer",
)
