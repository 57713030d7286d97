"""DeleteOrder: compensate CreateOrder; the order is DELETED."""

from lambdas.order_steps import STEPS
from lambdas.saga_runtime.handlers import compensation

handler = compensation(STEPS["ORDER"])
