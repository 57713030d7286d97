"""Packs the one asset of all functions: the package ``lambdas``, a saga's own folders, and what they import.

What they import is in ``lambdas/saga_runtime/requirements.txt``, and in the ``requirements.txt`` of a saga's own folder
if it has one. The pip of the interpreter that runs ``cdk synth`` installs it. Docker is used only if that interpreter
has no pip.
"""

import atexit
import importlib.util
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jsii
from aws_cdk import BundlingOptions, ILocalBundling
from aws_cdk import aws_lambda as lambda_

from saga_stack.construct.steps import InvalidSagaError

# The folder that has the library: the project's, or that of the installed packages.
PROJECT = Path(__file__).parent.parent.parent
REQUIREMENTS = "lambdas/saga_runtime/requirements.txt"
RUNTIME = lambda_.Runtime.PYTHON_3_14
ARCHITECTURE = lambda_.Architecture.ARM_64


def source_of(packages: Sequence[str], root: Path | None = None) -> Path:
    """Copy what the functions are made of to a temporary folder, which is removed when the program ends.

    Args:
        packages: folders that are packed with ``lambdas``, such as ``examples/trip_booking/lambdas``.
        root: the folder that they are in. Default: the one of the library. Raises InvalidSagaError.
    """
    root = root or PROJECT
    for package in packages:
        if not (root / package).is_dir():
            raise InvalidSagaError(f"packages has {package!r}, which is not a folder of {root}")
    folder = Path(tempfile.mkdtemp(prefix="saga-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for parent, package in ((PROJECT, "lambdas"), *((root, package) for package in packages)):
        shutil.copytree(parent / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return folder


def code(source: Path) -> lambda_.Code:
    """Return the asset of all functions of a stack from the folder that ``source_of`` made."""
    return lambda_.Code.from_asset(
        str(source),
        bundling=BundlingOptions(
            image=RUNTIME.bundling_image,
            platform=ARCHITECTURE.docker_platform,
            command=["sh", "-c", _in_docker(source)],
            local=_LocalBundling(source),  # type: ignore[arg-type]  # jsii passes the options as one object
        ),
    )


def build(target: Path, source: Path) -> None:
    """Write the content of the asset to the folder ``target``. Raises CalledProcessError if pip fails."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-compile", "--target", str(target)),
            *(f"--requirement={source / file}" for file in _requirements(source)),
            # For the platform of the functions, whatever this machine is.
            *("--only-binary=:all:", "--platform=manylinux2014_aarch64", "--platform=any"),
            *("--implementation=cp", f"--python-version={RUNTIME.name.removeprefix('python')}", "--no-deps"),
        ],
        check=True,
    )
    # The command line programs of the packages.
    shutil.rmtree(target / "bin", ignore_errors=True)
    shutil.copytree(source, target, dirs_exist_ok=True)


def _requirements(source: Path) -> Sequence[str]:
    """Return the lists of what the functions import, from the folder that the asset is made of."""
    own = (file.relative_to(source).as_posix() for file in sorted(source.rglob("requirements.txt")))
    return [REQUIREMENTS, *(file for file in own if file != REQUIREMENTS)]


def _in_docker(source: Path) -> str:
    requirements = shlex.join(f"--requirement={file}" for file in _requirements(source))
    return f"pip install --no-compile --no-deps --target /asset-output {requirements} && cp -r . /asset-output"


@jsii.implements(ILocalBundling)
class _LocalBundling:
    def __init__(self, source: Path) -> None:
        self._source = source

    def try_bundle(self, output_dir: str, _options: BundlingOptions) -> bool:
        """Pack without Docker. Return False, which makes the CDK use Docker, if this interpreter has no pip."""
        if importlib.util.find_spec("pip") is None:
            return False
        build(Path(output_dir), self._source)
        return True
