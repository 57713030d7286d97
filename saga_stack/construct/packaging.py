"""Packs the one asset of all functions: the package ``lambdas`` and what lambdas/requirements.txt names.

It runs the pip of the interpreter that runs ``cdk synth``. Docker is used only if that interpreter has no pip.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jsii
from aws_cdk import BundlingOptions, IgnoreMode, ILocalBundling
from aws_cdk import aws_lambda as lambda_

PROJECT = Path(__file__).parent.parent.parent
SOURCE = PROJECT / "lambdas"
COMPILED = ["**/__pycache__", "**/*.pyc"]
RUNTIME = lambda_.Runtime.PYTHON_3_14
ARCHITECTURE = lambda_.Architecture.ARM_64
_IN_DOCKER = (
    "pip install --no-compile --no-deps --target /asset-output --requirement lambdas/requirements.txt"
    " && cp --parents -r {} /asset-output"
)


def code(*packages: str) -> lambda_.Code:
    """Return the asset of all functions of a stack.

    Args:
        packages: folders of the project that are packed with ``lambdas``, such as ``examples/trip_booking/lambdas``.
    """
    return lambda_.Code.from_asset(
        str(PROJECT),
        # Everything but these folders is excluded, so that the CDK neither reads nor copies it.
        exclude=["/*", *(pattern for package in ("lambdas", *packages) for pattern in _except(package)), *COMPILED],
        ignore_mode=IgnoreMode.GIT,
        bundling=BundlingOptions(
            image=RUNTIME.bundling_image,
            platform=ARCHITECTURE.docker_platform,
            command=["sh", "-c", _IN_DOCKER.format(" ".join(("lambdas", *packages)))],
            local=_LocalBundling(packages),  # type: ignore[arg-type]  # jsii passes the options as one object
        ),
    )


def build(target: Path, *packages: str) -> None:
    """Write the content of the asset to the folder ``target``. Raises CalledProcessError if pip fails."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-compile", "--target", str(target), "--requirement", str(SOURCE / "requirements.txt")),
            # For the platform of the functions, whatever this machine is.
            *("--only-binary=:all:", "--platform=manylinux2014_aarch64", "--platform=any"),
            *("--implementation=cp", f"--python-version={RUNTIME.name.removeprefix('python')}", "--no-deps"),
        ],
        check=True,
    )
    # The command line programs of the packages.
    shutil.rmtree(target / "bin", ignore_errors=True)
    for package in ("lambdas", *packages):
        shutil.copytree(PROJECT / package, target / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def _except(package: str) -> Iterator[str]:
    """Return the patterns that keep a folder from being excluded, in the syntax of .gitignore: folder by folder."""
    *parents, name = package.split("/")
    for depth in range(len(parents)):
        parent = "/".join(parents[: depth + 1])
        yield from (f"!/{parent}", f"/{parent}/*")
    yield f"!/{'/'.join((*parents, name))}"


@jsii.implements(ILocalBundling)
class _LocalBundling:
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def try_bundle(self, output_dir: str, _options: BundlingOptions) -> bool:
        """Pack without Docker. Return False, which makes the CDK use Docker, if this interpreter has no pip."""
        if importlib.util.find_spec("pip") is None:
            return False
        build(Path(output_dir), *self._packages)
        return True
