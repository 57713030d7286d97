"""The operator's tools: list executions, show an order, find stuck sagas and resume them.

They know the contract of a deployed stack (outputs, state machine, keys of the table), not how it is built.
"""
