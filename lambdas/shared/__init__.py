"""What the functions share: errors, checks of fields, the ledger, the handler shape, observability; and order rules."""
