"""The six functions of the ticket saga."""

from examples.ticket_sale.lambdas import provider
from examples.ticket_sale.lambdas.sales import PAYMENT, SEAT, TICKET
from lambdas.shared.handler import action, compensation

reserve_seat, release_seat = action(SEAT), compensation(SEAT)
charge_card, refund_card = action(PAYMENT, call=provider.charge), compensation(PAYMENT, call=provider.cancel)
issue_ticket, void_ticket = action(TICKET), compensation(TICKET)
