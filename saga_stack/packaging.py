"""Builds the functions' one asset: the package ``lambdas`` beside what its requirements.txt names.

If that names anything, pip of the interpreter that runs ``cdk synth`` installs it; Docker is only the way out where
there is no pip.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import jsii
from aws_cdk import BundlingOptions, ILocalBundling
from aws_cdk import aws_lambda as lambda_

SOURCE = Path(__file__).parent.parent / "lambdas"
EXCLUDE = ["**/__pycache__", "**/*.pyc"]
RUNTIME = lambda_.Runtime.PYTHON_3_14
ARCHITECTURE = lambda_.Architecture.ARM_64
_IN_DOCKER = (
    "pip install --no-compile --target /asset-output --requirement requirements.txt && cp -r . /asset-output/lambdas"
)


def code() -> lambda_.Code:
    """The asset of all six functions, as they differ in their handler alone."""
    return lambda_.Code.from_asset(
        str(SOURCE),
        exclude=EXCLUDE,
        bundling=BundlingOptions(
            image=RUNTIME.bundling_image,
            platform=ARCHITECTURE.docker_platform,
            command=["sh", "-c", _IN_DOCKER],
            local=_LocalBundling(),  # type: ignore[arg-type]  # jsii passes the options as one object
        ),
    )


def build(target: Path) -> None:
    """Write the asset's content to the folder ``target``. Raises CalledProcessError if pip fails."""
    if _requirements():
        _install_requirements(target)
    shutil.copytree(SOURCE, target / "lambdas", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def _requirements() -> list[str]:
    lines = (SOURCE / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _install_requirements(target: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--no-compile", "--target", str(target), "--requirement", str(SOURCE / "requirements.txt")),
            # What the functions run on, whatever this machine is.
            *("--only-binary=:all:", "--platform=manylinux2014_aarch64", "--platform=any"),
            *("--implementation=cp", f"--python-version={RUNTIME.name.removeprefix('python')}", "--no-deps"),
        ],
        check=True,
    )
    # Command line programs of the packages; a function has no command line.
    shutil.rmtree(target / "bin", ignore_errors=True)


@jsii.implements(ILocalBundling)
class _LocalBundling:
    def try_bundle(self, output_dir: str, _options: BundlingOptions) -> bool:
        """Build without Docker. False, which makes the CDK turn to Docker, if pip is needed and not there."""
        if _requirements() and importlib.util.find_spec("pip") is None:
            return False
        build(Path(output_dir))
        return True
