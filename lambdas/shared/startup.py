"""Speeds up a cold start. A module with a handler imports this one first, and calls ``done`` at its end.

- Python looks for no garbage while modules are imported and clients are made: nearly all that is made then lives as
  long as the process, and looking through it again and again takes a tenth of the CPU time of a cold start.
- Powertools imports two names of ``typing_extensions``, 165 kB that Lambda would compile at each cold start, as it
  keeps no bytecode: another tenth. It is not packed; where it is missing, two names stand in for it.

What each brings is told in docs/adr/0013.
"""

import gc
import importlib.util
import os
import sys
import types
import typing
from collections.abc import Callable

gc.disable()

T = typing.TypeVar("T")


def done() -> None:
    """Look for garbage from now on, and in a function only among what is made from now on."""
    # Another process that imports a function, such as a test, goes on to make and drop other things.
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        gc.freeze()
    gc.enable()


def _as_it_is(_message: str, **_: object) -> Callable[[T], T]:
    """Mark nothing as deprecated: only type checkers would look at the mark."""
    return lambda marked: marked


if importlib.util.find_spec("typing_extensions") is None:
    _stand_in = types.ModuleType("typing_extensions", "What Powertools needs of it.")
    vars(_stand_in).update(NotRequired=typing.NotRequired, deprecated=_as_it_is)
    sys.modules[_stand_in.__name__] = _stand_in
