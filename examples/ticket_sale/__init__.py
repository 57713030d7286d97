"""The ticket saga: a seat is reserved, the card is charged by a payment provider, the ticket is issued."""
