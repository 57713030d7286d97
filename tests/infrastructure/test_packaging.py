"""The asset of the functions: everything that they import beyond what AWS's Python runtime has, and little else."""

import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from saga_stack.construct import packaging
from tests.infrastructure.templates import FUNCTIONS, REPORTER_HANDLER
from tests.sagas import example_or_skip

# AWS's Python runtime has boto3 and what that needs (AWS Lambda Developer Guide, "Python runtimes").
IN_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("asset")
    packaging.build(target, packaging.source_of(()))
    return target


def require_imports(asset: Path, folder: Path, handlers: Sequence[str]) -> None:
    """Import the handlers from the asset and from what AWS's Python runtime has, and from nothing else."""
    runtime = folder / "runtime"
    runtime.mkdir()
    for name in IN_THE_RUNTIME:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        origin = Path(spec.origin)
        found = origin.parent if origin.name == "__init__.py" else origin
        (runtime / found.name).symlink_to(found)
    program = "; ".join(
        [
            f"import sys; sys.path += [{str(asset)!r}, {str(runtime)!r}]",
            *(f"import {handler.rpartition('.')[0]}; {handler}" for handler in handlers),
            f"import lambdas; assert lambdas.__file__.startswith({str(asset)!r})",
            "import aws_lambda_powertools; print(aws_lambda_powertools.__file__)",
        ]
    )
    # -I and -S: no environment, no working folder, no site-packages.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program],
        env={
            "TABLE_NAME": "orders",
            "QUEUE_URL": "stuck",
            "STUCK_SAGAS_TABLE": "stuck",
            "KEY_FIELD": "order_id",
            "CLEAN_ERROR": "OrderFailed",
            "AUTOMATIC_REDRIVES": "5",
            "FIRST_PAUSE_SECONDS": "900",
            "SENSITIVE_FIELDS": "card_no",
            "POWERTOOLS_METRICS_NAMESPACE": "OrderSaga-dev",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PATH": os.environ["PATH"],
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(asset))


def test_the_functions_import_from_the_asset_and_the_runtime_only(asset: Path, tmp_path: Path) -> None:
    handlers = [
        *(f"lambdas.{name}.handler" for name in FUNCTIONS),
        REPORTER_HANDLER,
        "lambdas.saga_runtime.redrive_stuck_sagas.handler",
    ]
    require_imports(asset, tmp_path, handlers)


def test_a_saga_with_requirements_of_its_own_has_them_in_its_asset_only(asset: Path, tmp_path: Path) -> None:
    sale = example_or_skip("ticket_sale")
    source = packaging.source_of((sale.functions,), sale.root)
    own = f"--requirement={sale.functions}/requirements.txt"
    assert packaging._in_docker(source).count(own) == 1
    assert own not in packaging._in_docker(packaging.source_of(()))
    packaging.build(tmp_path / "asset", source)
    # Its client never uses requests, which that would bring.
    require_imports(tmp_path / "asset", tmp_path, [sale.handler.format("capture_payment")])
    assert not (asset / "stripe").exists()


def test_the_asset_is_small_and_has_nothing_that_is_not_for_the_functions(asset: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in asset.rglob("*"):
            archive.write(path, path.relative_to(asset))
    assert len(packed.getvalue()) < 1_200_000
    assert not [path for path in asset.rglob("*") if path.suffix in {".pyc", ".so"} or path.name == "tests"]
    assert not {"boto3", "bin"} & {path.name for path in asset.iterdir()}
