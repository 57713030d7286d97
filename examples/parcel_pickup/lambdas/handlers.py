"""The six functions of the parcel saga."""

from examples.parcel_pickup.lambdas.parcel_steps import STEPS
from examples.parcel_pickup.lambdas.webhook import webhook
from lambdas.saga_runtime.callbacks import receiver
from lambdas.saga_runtime.handlers import action, compensation

GOODS, PICKUP, LABEL = STEPS["GOODS"], STEPS["PICKUP"], STEPS["LABEL"]

reserve_goods, release_goods = action(GOODS), compensation(GOODS)
request_pickup, cancel_pickup = action(PICKUP, has_callback=True), compensation(PICKUP)
print_label = action(LABEL)
receive_answer = webhook(receiver(PICKUP))
