"""The seven functions of the ticket saga."""

from examples.ticket_sale.lambdas import stripe_payments
from examples.ticket_sale.lambdas.sale_steps import STEPS
from lambdas.saga_runtime.handlers import action, compensation, confirmation

SEAT, PAYMENT, TICKET = STEPS["SEAT"], STEPS["PAYMENT"], STEPS["TICKET"]

reserve_seat, release_seat = action(SEAT), compensation(SEAT)
authorize_card = action(PAYMENT, call=stripe_payments.authorize)
cancel_authorization = compensation(PAYMENT, call=stripe_payments.cancel)
issue_ticket, void_ticket = action(TICKET), compensation(TICKET)
capture_payment = confirmation(PAYMENT, call=stripe_payments.capture)
