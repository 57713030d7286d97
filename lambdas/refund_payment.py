"""RefundPayment: undoes ProcessPayment; leaves the payment REFUNDED."""

from lambdas.shared.handler import compensation
from lambdas.shared.orders import PAYMENT

handler = compensation(PAYMENT)
