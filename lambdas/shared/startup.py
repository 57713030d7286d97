"""Speeds up a cold start: Python looks for no garbage while modules are imported and clients are made.

Nearly all that is made then lives as long as the process, and looking through it again and again takes a tenth of the
CPU time of a cold start (docs/adr/0013). A module with a handler imports this one before what it imports else, and
calls ``done`` at its end.
"""

import gc

gc.disable()


def done() -> None:
    """Look for garbage from now on, but only among what is made from now on."""
    gc.freeze()
    gc.enable()
