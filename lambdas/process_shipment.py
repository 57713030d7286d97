"""ProcessShipment: book the shipment to the order's address; the shipment is BOOKED."""

from lambdas.order_steps import STEPS
from lambdas.saga_runtime.handlers import action

handler = action(STEPS["SHIPMENT"])
