"""What an operator runs: which executions there are, what became of an order, which sagas are stuck; resume them.

It knows the contract of a deployed stack (its outputs, its state machine, its table's keys), not its insides.
"""
