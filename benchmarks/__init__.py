"""What an order costs, how fast it is and how far it scales, each against a baseline measured in the same run."""
