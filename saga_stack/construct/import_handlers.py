"""Imports handlers in a process of its own: ``python import_handlers.py FOLDER``, with JSON as input and output.

The input has the path of each handler by the name of its function. The last line of the output says of each function
what it is made of, or why it does not import. FOLDER is what the asset is made of. Python finds what it finds on AWS:
FOLDER, what its requirements name, what the runtime has, and nothing else that is installed here.
"""

import importlib
import importlib.metadata
import json
import re
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import ClassVar

# AWS Lambda Developer Guide, "Python runtimes": boto3 and what it needs.
IN_THE_RUNTIME = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
# The name of a package in a line of requirements.txt; not a path, a URL or an option.
PACKAGE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:[\[=<>!~;@].*)?")
# Options that name further packages.
FURTHER = ("-r", "--requirement", "-e", "--editable")


def main() -> None:
    """Import the handlers and print what was found."""
    folder = sys.argv[1]
    sys.path.insert(0, folder)
    # If what is packed cannot be known, all that is installed here counts as packed.
    if packed := packed_modules(Path(folder)):
        FinderOnAws.names = {*sys.stdlib_module_names, *(path.stem for path in Path(folder).iterdir()), *packed}
        sys.meta_path[:] = [BuiltinImporter, FrozenImporter, FinderOnAws]
    found = {name: imported(handler, folder) for name, handler in json.load(sys.stdin).items()}
    print(f"\n{json.dumps(found)}")


class FinderOnAws(PathFinder):
    """Finds modules of these names only."""

    names: ClassVar[set[str]] = set()

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as Python does, unless it is not on AWS."""
        # sysconfig imports a module whose name depends on the platform.
        if path is None and fullname not in cls.names and not fullname.startswith("_sysconfigdata"):
            return None
        return super().find_spec(fullname, path, target)


def packed_modules(folder: Path) -> set[str] | None:
    """Return the modules of the packages that the functions have; None if a list of them names one in another way."""
    found: set[str] = set()
    for package in IN_THE_RUNTIME:
        found |= modules_of(package) or set()
    for file in folder.rglob("requirements.txt"):
        for text in file.read_text(encoding="utf-8").splitlines():
            line = text.partition("#")[0].strip()
            if not line or (line.startswith("-") and not line.startswith(FURTHER)):
                continue
            modules = modules_of(name[1]) if (name := PACKAGE.fullmatch(line)) else None
            if modules is None:
                return None
            found |= modules
    return found


def modules_of(package: str) -> set[str] | None:
    """Return the modules of a package; None if it is not installed here."""
    try:
        files = importlib.metadata.distribution(package).files
    except importlib.metadata.PackageNotFoundError:
        return None
    return None if files is None else {file.parts[0].partition(".")[0] for file in files}


def imported(handler: str, folder: str) -> dict[str, str | bool]:
    """Return what the library made the handler of, or the error and where in the folder it was raised."""
    module, _, attribute = handler.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # noqa: BLE001 (whatever a module raises)
        own = [f"{file}:{line}" for file, line in places_of(error) if file.startswith(folder)]
        hint = ""
        if isinstance(error, ModuleNotFoundError) and PathFinder.find_spec(str(error.name).partition(".")[0]):
            file = "/".join((*module.split(".")[:-1], "requirements.txt"))
            hint = f". It is installed here but not packed: add its package to {file}"
        return {"error": one_line(error) + hint, "at": own[-1] if own else ""}
    kind, step = getattr(function, "kind", None), getattr(function, "step", None)
    if not kind or not step:
        return {}
    return {"kind": kind, "action": step.action, "entity": step.entity, "has_callback": function.has_callback}


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
