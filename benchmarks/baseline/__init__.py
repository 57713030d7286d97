"""The baselines.

``app`` and ``functions`` are a plain order saga as a first version is often written: no conditions, a client made in
each call, rows deleted rather than compensated, no retries. ``ordinary`` is one function, ``same_resources`` one stack.
"""
