"""RefundPayment: compensate ProcessPayment; the payment is REFUNDED."""

from lambdas.order_steps import STEPS
from lambdas.saga_runtime.handlers import compensation

handler = compensation(STEPS["PAYMENT"])
