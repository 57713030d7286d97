"""Imports handlers in a process of its own: ``python import_handlers.py FOLDER``, with JSON as input and output.

The input has the path of each handler by the name of its function. The last line of the output says of each function
what it is made of, or why it does not import. FOLDER comes first on the path, so that Python finds what AWS finds.
"""

import importlib
import json
import sys
import traceback


def main() -> None:
    """Import the handlers and print what was found."""
    folder = sys.argv[1]
    sys.path.insert(0, folder)
    found = {name: imported(handler, folder) for name, handler in json.load(sys.stdin).items()}
    print(f"\n{json.dumps(found)}")


def imported(handler: str, folder: str) -> dict[str, str | None]:
    """Return the action and the entity of the handler's step, or the error and where in the folder it was raised."""
    module, _, attribute = handler.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # noqa: BLE001 (whatever a module raises)
        raised = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(folder)]
        at = f"{raised[-1].filename}:{raised[-1].lineno}" if raised else None
        return {"error": " ".join(f"{type(error).__name__}: {error}".split()), "at": at}
    step = getattr(function, "step", None)
    return {"action": getattr(step, "action", None), "entity": getattr(step, "entity", None)}


if __name__ == "__main__":
    main()
