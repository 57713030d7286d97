"""The yardstick: a plain order saga without guarantees, as a first version is often written.

No conditions on its writes, a client made at each call, rows deleted rather than undone, no retries, no audit trail.
"""
