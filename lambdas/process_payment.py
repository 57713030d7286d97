"""ProcessPayment: charge the card with the order's total; the payment is CHARGED."""

from lambdas.order_steps import STEPS
from lambdas.saga_runtime.handlers import action

handler = action(STEPS["PAYMENT"])
