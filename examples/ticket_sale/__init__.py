"""The ticket saga: reserve a seat, authorize the payment, issue the ticket, capture the payment."""
