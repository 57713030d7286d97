"""The infrastructure half of the saga library: a list of steps becomes a stack. It knows no saga by name."""
