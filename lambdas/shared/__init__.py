"""What the functions share: errors, order rules, the ledger, the handler shape, observability."""
