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


def imported(handler: str, folder: str) -> dict[str, str]:
    """Return what the library made the handler of, or the error and where in the folder it was raised."""
    module, _, attribute = handler.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # noqa: BLE001 (whatever a module raises)
        own = [f"{file}:{line}" for file, line in places_of(error) if file.startswith(folder)]
        return {"error": one_line(error), "at": own[-1] if own else ""}
    kind, step = getattr(function, "kind", None), getattr(function, "step", None)
    return {"kind": kind, "action": step.action, "entity": step.entity} if kind and step else {}


def places_of(error: Exception) -> list[tuple[str, int | None]]:
    """Return the files and lines that an error comes from; the last one raised it."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    return [*places, (str(error.filename), error.lineno)] if isinstance(error, SyntaxError) else places


def one_line(error: Exception) -> str:
    """Return the type and the text of an error in one line."""
    # The text of a SyntaxError repeats the place.
    text = error.msg if isinstance(error, SyntaxError) else error
    return " ".join(f"{type(error).__name__}: {text}".split())


if __name__ == "__main__":
    main()
