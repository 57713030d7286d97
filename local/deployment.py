"""Deploys the stack to the local cloud with the real CDK CLI, from the template that AWS gets."""

import importlib.util
import io
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.cloud import ACCOUNT, LOOPBACK, PROJECT, REGION, LocalCloud, last_line
from local.errors import LocalError
from local.processes import running

RUNTIME_CLIENT = Path(__file__).parent / "runtime_client.py"
CDK = PROJECT / "node_modules" / "aws-cdk" / "bin" / "cdk"
# What a line of the CDK CLI's log looks like that says what failed and why, the most telling first.
REASONS = (
    re.compile(r"_FAILED\b(?!.*(AWS::CloudFormation::Stack|[Cc]ancelled))"),
    re.compile(r"_FAILED\b"),
    re.compile("^‣"),
    re.compile("❌"),
    re.compile("^ERROR "),
)
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


def deploy(
    cloud: LocalCloud,
    *,
    stage: str = "dev",
    app: str | None = None,
    name: str = "OrderSaga",
    context: Mapping[str, str] | None = None,
) -> Deployment:
    """Deploy the stage to the bootstrapped cloud; ``app`` is the command of another CDK app than the project's.

    The stack is ``<name>-<stage>``; ``context`` is what the app is told beside the stage.

    Raises LocalError if the CDK CLI is not installed or fails; its full output is then on standard error.
    """
    stack = f"{name}-{stage}"
    outputs = cloud.folder / "outputs.json"
    settings = [f"--context={name}={value}" for name, value in {"stage": stage, **(context or {})}.items()]
    _cdk(
        cloud,
        ["deploy", stack, *settings, "--require-approval=never", f"--outputs-file={outputs}"],
        cwd=PROJECT,
        app=app,
    )
    _run_functions_by_the_runtime_client(cloud, stack)
    _let_queues_take_plain_http(cloud, stack)
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
        raise LocalError(f"`cdk {arguments[0]}` failed with exit status {status}: {reason_of_failure(log)}")


def reason_of_failure(log: Path) -> str:
    """The line of the CDK CLI's log that says what failed and why; the last one, if none does."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    for mark in REASONS:
        # The first failure is the cause of those that follow it.
        if found := next((line for line in lines if mark.search(line)), None):
            return found
    return last_line(log)


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
    for name in _resources(cloud, stack, "AWS::Lambda::Function"):
        code = read_url(functions.get_function(FunctionName=name)["Code"]["Location"])
        for file, content in runtime_files().items():
            code = with_file(code, file, content)
        functions.update_function_code(FunctionName=name, ZipFile=code)
        functions.update_function_configuration(FunctionName=name, Runtime="provided.al2023")


def _let_queues_take_plain_http(cloud: LocalCloud, stack: str) -> None:
    """Lift what denies plain HTTP from the policies of the stack's queues: on loopback there is no TLS.

    Whoever sends to a queue or reads it would be refused, the reporter of stuck sagas among them. Only the deployed
    queues are changed; the template stays the one that AWS gets.
    """
    sqs = cloud.session().client("sqs", endpoint_url=cloud.endpoint)
    # The policy that is to be lifted also bars its lifting; this header says that TLS ended at a proxy before.
    sqs.meta.events.register("before-call.sqs", _as_if_by_tls)
    for url in _resources(cloud, stack, "AWS::SQS::Queue"):
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
        if "Policy" in told:
            policy = json.loads(told["Policy"])
            policy["Statement"] = [one for one in policy["Statement"] if not _denies_plain_http(one)]
            # A policy without a statement is none; the empty text removes it.
            changed = json.dumps(policy) if policy["Statement"] else ""
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": changed})


def _as_if_by_tls(params: dict[str, Any], **_: object) -> None:
    params["headers"]["X-Forwarded-Proto"] = "https"


def _denies_plain_http(statement: Mapping[str, Any]) -> bool:
    return statement["Effect"] == "Deny" and "aws:SecureTransport" in statement.get("Condition", {}).get("Bool", {})


def _resources(cloud: LocalCloud, stack: str, type_: str) -> Iterator[str]:
    """The physical ids of the stack's resources of one type."""
    cloudformation = cloud.session().client("cloudformation", endpoint_url=cloud.endpoint)
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] == type_:
                yield resource["PhysicalResourceId"]


def runtime_files() -> dict[str, str]:
    """What the functions' code needs beside it to be run by awslambdaric, by file name."""
    # LOG_LEVEL is how much the local cloud itself tells, and would be taken for the functions' own.
    files = {"bootstrap": f'#!/bin/sh\nunset LOG_LEVEL\nexec "{sys.executable}" -m awslambdaric "$_HANDLER"\n'}
    if importlib.util.find_spec("runtime_client") is None:
        files["runtime_client.py"] = RUNTIME_CLIENT.read_text()
    return files


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
