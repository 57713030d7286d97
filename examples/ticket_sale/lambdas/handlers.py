"""The six functions of the ticket saga."""

from examples.ticket_sale.lambdas import provider
from examples.ticket_sale.lambdas.sale_steps import STEPS
from lambdas.saga_runtime.handlers import action, compensation

SEAT, PAYMENT, TICKET = STEPS["SEAT"], STEPS["PAYMENT"], STEPS["TICKET"]

reserve_seat, release_seat = action(SEAT), compensation(SEAT)
charge_card, refund_card = action(PAYMENT, call=provider.charge), compensation(PAYMENT, call=provider.cancel)
issue_ticket, void_ticket = action(TICKET), compensation(TICKET)
