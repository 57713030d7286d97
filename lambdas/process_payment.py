"""ProcessPayment: charges the card with the order's total; leaves the payment CHARGED."""

from lambdas.shared.handler import action
from lambdas.shared.orders import PAYMENT

handler = action(PAYMENT)
