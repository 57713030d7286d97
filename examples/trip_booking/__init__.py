"""The trip saga: flight and hotel are reserved at once, the payment is taken, both are confirmed."""
