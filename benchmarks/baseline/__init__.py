"""The baselines, none with guarantees: a plain order saga (``app``, ``functions``) and one ordinary function."""
