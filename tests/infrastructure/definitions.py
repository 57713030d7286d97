"""Extracts the definitions of the state machines from templates.

``python -m tests.infrastructure.definitions FOLDER...``: for each ``NAME.template.json`` in a folder it writes
``NAME.asl.json``, in which a reference reads ``<LogicalId>``, for validators that know Amazon States Language but not
CloudFormation.
"""

import json
import sys
from pathlib import Path

from tests.fixtures import definition_in


def main() -> None:
    """Write the definitions; the arguments are the folders."""
    for template in (found for folder in sys.argv[1:] for found in Path(folder).glob("*.template.json")):
        definition = definition_in(json.loads(template.read_text()))
        name = template.name.removesuffix(".template.json")
        template.with_name(f"{name}.asl.json").write_text(json.dumps(definition, indent=2))


if __name__ == "__main__":
    main()
