"""Deploys the stack to the local cloud with the real CDK CLI, from the template that AWS gets."""

import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local.cloud import ACCOUNT, LOOPBACK, PROJECT, REGION, LocalCloud, last_line
from local.errors import LocalError
from local.processes import running

CDK = PROJECT / "node_modules" / "aws-cdk" / "bin" / "cdk"
BOOTSTRAP_BUCKET = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The deployed stack, by its outputs (section "What the stack tells" of the README)."""

    cloud: LocalCloud
    stack: str
    state_machine_arn: str
    table: str
    stuck_sagas_queue_url: str


def bootstrap(cloud: LocalCloud) -> None:
    """Prepare the local cloud for deployments. Raises LocalError if the CDK CLI is not installed or fails."""
    # From a folder without a cdk.json: to bootstrap an account, the CLI need not synthesize the app.
    _cdk(cloud, ["bootstrap", f"aws://{ACCOUNT}/{REGION}"], cwd=cloud.folder)
    # The bucket takes HTTPS only, as on AWS; on loopback there is no TLS.
    s3 = cloud.session().client("s3", endpoint_url=cloud.endpoint)
    s3.delete_bucket_policy(Bucket=BOOTSTRAP_BUCKET)


def deploy(cloud: LocalCloud, *, stage: str = "dev", app: str | None = None) -> Deployment:
    """Deploy the stage to the bootstrapped cloud; ``app`` is the command of another CDK app than the project's.

    Raises LocalError if the CDK CLI is not installed or fails; its full output is then on standard error.
    """
    stack = f"OrderSaga-{stage}"
    outputs = cloud.folder / "outputs.json"
    _cdk(
        cloud,
        ["deploy", stack, "--context", f"stage={stage}", "--require-approval=never", f"--outputs-file={outputs}"],
        cwd=PROJECT,
        app=app,
    )
    _run_functions_by_the_runtime_client(cloud, stack)
    told = json.loads(outputs.read_text())[stack]
    return Deployment(
        cloud=cloud,
        stack=stack,
        state_machine_arn=told["StateMachineArn"],
        table=told["TableName"],
        stuck_sagas_queue_url=told["StuckSagasQueueUrl"],
    )


def node() -> str:
    """The Node.js that runs the CDK CLI: the one in the virtual environment, else one on PATH."""
    found = shutil.which("node", path=_path())
    if found is None:
        raise LocalError("there is no Node.js for the CDK CLI: run `make install`, which brings one into .venv")
    return found


def _cdk(cloud: LocalCloud, arguments: Sequence[str], *, cwd: Path, app: str | None = None) -> None:
    if not CDK.exists():
        raise LocalError("the CDK CLI is not installed: run `make install`")
    options = ["--no-notices", "--no-color", "--progress=events", f"--output={cloud.folder / 'cdk.out'}"]
    if app:
        options.append(f"--app={app}")
    environment = cloud.client_environment() | {
        "PATH": _path(),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        # The CDK's own check of the template takes half of a synthesis; `make lint` and deployments to AWS make it.
        "CDK_VALIDATION": "false",
        # jsii warns of Node versions that it was not tested with; the CLI's own check is enough.
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "true",
    }
    log = cloud.folder / "cdk.log"
    with (
        log.open("wb") as output,
        running([node(), CDK, *arguments, *options], cwd=cwd, env=environment, output=output) as process,
    ):
        status = process.wait()
    if status != 0:
        sys.stderr.write(log.read_text(errors="replace"))
        raise LocalError(f"`cdk {arguments[0]}` failed with exit status {status}: {last_line(log)}")


def _path() -> str:
    """PATH with this interpreter's folder first, where both python3 and Node.js are found."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _run_functions_by_the_runtime_client(cloud: LocalCloud, stack: str) -> None:
    """Have the deployed functions run by awslambdaric, as on AWS, under this interpreter.

    MiniStack's own way of running Python loses the names of exceptions, which the saga's retries depend on.
    It runs custom runtimes against the real Lambda Runtime API, so the functions become one of those. Only the
    deployed functions are changed; the template stays the one that AWS gets.
    """
    functions = cloud.session().client("lambda", endpoint_url=cloud.endpoint)
    cloudformation = cloud.session().client("cloudformation", endpoint_url=cloud.endpoint)
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] == "AWS::Lambda::Function":
                name = resource["PhysicalResourceId"]
                code = read_url(functions.get_function(FunctionName=name)["Code"]["Location"])
                bootstrap = f'#!/bin/sh\nexec "{sys.executable}" -m awslambdaric "$_HANDLER"\n'
                functions.update_function_code(FunctionName=name, ZipFile=with_file(code, "bootstrap", bootstrap))
                functions.update_function_configuration(FunctionName=name, Runtime="provided.al2023")


def read_url(url: str) -> bytes:
    """What the local cloud serves under a URL."""
    with LOOPBACK.open(url, timeout=30) as response:
        content: bytes = response.read()
        return content


def with_file(package: bytes, name: str, content: str) -> bytes:
    """The zipped package with one executable file more."""
    changed = io.BytesIO(package)
    with zipfile.ZipFile(changed, "a", zipfile.ZIP_DEFLATED) as archive:
        file = zipfile.ZipInfo(name)
        file.external_attr = 0o755 << 16
        archive.writestr(file, content)
    return changed.getvalue()
