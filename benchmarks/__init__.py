"""What an order costs and how fast it is: every figure against a baseline measured in the same run."""
