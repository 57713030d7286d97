"""CancelShipment: compensate ProcessShipment; the shipment is CANCELLED."""

from lambdas.order_steps import STEPS
from lambdas.saga_runtime.handlers import compensation

handler = compensation(STEPS["SHIPMENT"])
