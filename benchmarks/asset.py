"""The asset: what is uploaded for the functions, and what each thing in it adds."""

import io
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks.document import Goal, Part, Table
from saga_stack import packaging

LIMIT = 1.2e6
OURS = {"lambdas": "the functions: one module each, and what they share"}


def run(progress: Callable[[str], None]) -> Part:
    """Build the asset as a synthesis does, and weigh it."""
    progress("building the asset")
    with tempfile.TemporaryDirectory(prefix="order-saga-") as folder:
        asset = Path(folder)
        packaging.build(asset)
        parts = {path.name: _files(path) for path in sorted(asset.iterdir())}
        rows = {name: _weight(asset, files) for name, files in parts.items()}
        why = OURS | reasons((packaging.SOURCE / "requirements.txt").read_text())
        whole = _weight(asset, [file for files in parts.values() for file in files])
    return Part(
        name="asset",
        title="Asset",
        text=[
            (
                "All functions share one asset ([decision 0002](adr/0002-one-asset-for-six-functions.md))."
                " boto3, botocore and what these need come with AWS's Python runtime, so they are not in it. The"
                " packages named in `lambdas/requirements.txt` are listed with what each adds."
            ),
        ],
        tables=[
            Table(
                title="What is in it",
                columns=["", "files", "bytes", "bytes zipped", "why it is there"],
                rows=[
                    *([name, *_shown(of), _why(name, why)] for name, of in rows.items()),
                    ["all", *_shown(whole), ""],
                ],
            )
        ],
        goals=[Goal(what="asset, zipped, in MB", value=whole[2] / 1e6, limit=LIMIT / 1e6)],
        figures={"parts": rows, "files": whole[0], "bytes": whole[1], "bytes_zipped": whole[2]},
    )


def reasons(requirements: str) -> dict[str, str]:
    """Why each package is required: what its line says of it, by the name of the module."""
    lines = re.finditer(r"^([\w-]+)==\S+ *# (.+)$", requirements, re.MULTILINE)
    return {found[1].replace("-", "_"): found[2] for found in lines}


def _why(name: str, why: Mapping[str, str]) -> str:
    module = name.removesuffix(".py").split("-")[0]
    return why[module] if module == name.removesuffix(".py") else f"what pip keeps of {module}"


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _weight(asset: Path, files: Iterable[Path]) -> tuple[int, int, int]:
    """Files, bytes, and bytes zipped."""
    packed = io.BytesIO()
    count = size = 0
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(asset))
            count, size = count + 1, size + file.stat().st_size
    return count, size, len(packed.getvalue())


def _shown(weight: tuple[int, int, int]) -> list[str]:
    return [f"{number:,}" for number in weight]
