"""The parcel saga: goods are reserved, a carrier confirms the pickup by webhook, and the label is printed."""
