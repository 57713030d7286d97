"""The functions of the parcel saga."""
