"""Sagas other than the order saga, on the same construct."""
