"""Deploys a stack to the local cloud with the real CDK CLI, from the template that AWS gets."""

import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from lambdas.saga_runtime.names import secret_output
from local.cloud import ACCOUNT, LOOPBACK, PROJECT, REGION, LocalCloud, last_line
from local.errors import LocalError
from local.processes import running
from ops.client import SagaClient
from ops.connection import outputs_of, read_stack
from ops.executions import DeployedStack

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

RUNTIME_CLIENT = Path(__file__).parent / "runtime_client.py"
CDK = PROJECT / "node_modules" / "aws-cdk" / "bin" / "cdk"
# Lines of the CDK CLI's log that say what failed and why, the most specific first.
REASONS = (
    re.compile(r"_FAILED\b(?!.*(AWS::CloudFormation::Stack|[Cc]ancelled))"),
    re.compile(r"_FAILED\b"),
    re.compile("^‣"),
    re.compile("❌"),
    re.compile("^ERROR "),
)
BOOTSTRAP_BUCKET = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
# Threads may share a client; so many of them can wait for a response at once.
CONFIG = Config(max_pool_connections=20)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployed stack and clients of it."""

    cloud: LocalCloud
    stack: DeployedStack
    client: SagaClient
    stepfunctions: "SFNClient"

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the stack by name."""
        cloudformation = self.cloud.session().client("cloudformation", endpoint_url=self.cloud.endpoint)
        (found,) = cloudformation.describe_stacks(StackName=self.stack.name)["Stacks"]
        return outputs_of(found)


def deployment_of(cloud: LocalCloud, stack: str) -> Deployment:
    """Return the deployment of a stack by its name. Raises UnknownStack."""
    cloudformation, dynamodb, stepfunctions, sqs = (
        cloud.session().client(service, endpoint_url=cloud.endpoint, config=CONFIG)
        for service in ("cloudformation", "dynamodb", "stepfunctions", "sqs")
    )
    found = read_stack(cloudformation, dynamodb, stack)
    client = SagaClient(
        stack=found,
        stepfunctions=stepfunctions,
        dynamodb=dynamodb,
        sqs=sqs,
        functions=lambda: cloud.session().client("lambda", endpoint_url=cloud.endpoint),
    )
    return Deployment(cloud=cloud, stack=found, client=client, stepfunctions=stepfunctions)


def bootstrap(cloud: LocalCloud) -> None:
    """Prepare the local cloud for deployments. Raises LocalError if the CDK CLI is not installed or fails."""
    # From a folder without a cdk.json: to bootstrap an account, the CLI need not synthesize the app.
    _cdk(cloud, ["bootstrap", f"aws://{ACCOUNT}/{REGION}"], cwd=cloud.folder)
    # The bucket accepts HTTPS only, as on AWS; loopback has no TLS.
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
    """Deploy the stack ``<name>-<stage>`` to a bootstrapped cloud.

    Raises LocalError if the CDK CLI is not installed or fails; its output is then on standard error.

    Args:
        cloud: the bootstrapped cloud.
        stage: the stage. Default: ``dev``.
        app: the module of the CDK app. Default: the project's own app.
        name: the name of the stack without the stage. Default: that of the order saga.
        context: further context of the app. Default: none.
    """
    stack = f"{name}-{stage}"
    options = [f"--context={name}={value}" for name, value in {"stage": stage, **(context or {})}.items()]
    if app:
        options.append(f"--app={app_command(app)}")
    _cdk(cloud, ["deploy", stack, *options, "--require-approval=never"], cwd=PROJECT)
    _use_the_runtime_client(cloud, stack)
    _allow_plain_http_to_queues(cloud, stack)
    return deployment_of(cloud, stack)


def app_command(module: str) -> str:
    """Return the command that runs the module of a CDK app. The CDK CLI runs it in a shell."""
    return shlex.join([sys.executable, "-m", module])


def put_secrets(deployment: Deployment, values: Mapping[str, str]) -> None:
    """Give the secrets of the stack their values, by the variables of the functions that read them."""
    arns = deployment.outputs()
    client = deployment.cloud.session().client("secretsmanager", endpoint_url=deployment.cloud.endpoint)
    for variable, value in values.items():
        client.put_secret_value(SecretId=arns[secret_output(variable)], SecretString=value)


def node() -> str:
    """Return the Node.js that runs the CDK CLI: the virtual environment's, or else one on PATH."""
    found = shutil.which("node", path=_path())
    if found is None:
        raise LocalError("the CDK CLI needs Node.js: run `make install`, which installs it into .venv")
    return found


def cdk_environment(cloud: LocalCloud) -> dict[str, str]:
    """Return the environment of the CDK CLI and of CDK apps."""
    return cloud.client_environment() | {
        "PATH": _path(),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        # The CDK's own check of the template takes half of a synthesis; `make lint` and deployments to AWS run it.
        "CDK_VALIDATION": "false",
        # jsii warns of Node.js versions that it was not tested with; the CLI's own check is enough.
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "true",
    }


def _cdk(cloud: LocalCloud, arguments: Sequence[str], *, cwd: Path) -> None:
    if not CDK.exists():
        raise LocalError("the CDK CLI is not installed: run `make install`")
    options = ["--no-notices", "--no-color", "--progress=events", f"--output={cloud.folder / 'cdk.out'}"]
    command = [node(), str(CDK), *arguments, *options]
    log = cloud.folder / "cdk.log"
    with log.open("wb") as output, running(command, cwd=cwd, env=cdk_environment(cloud), output=output) as process:
        status = process.wait()
    if status != 0:
        sys.stderr.write(log.read_text(errors="replace"))
        raise LocalError(f"`cdk {arguments[0]}` failed with exit status {status}: {reason_of_failure(log)}")


def reason_of_failure(log: Path) -> str:
    """Return the line of the CDK CLI's log that says what failed and why, or else the last one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    for reason in REASONS:
        # The first failure causes those that follow it.
        if found := next((line for line in lines if reason.search(line)), None):
            return found
    return last_line(log)


def _path() -> str:
    """Return PATH with this interpreter's folder first, which contains python3 and Node.js."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _use_the_runtime_client(cloud: LocalCloud, stack: str) -> None:
    """Run the deployed functions with awslambdaric, as AWS does, under this interpreter.

    MiniStack's own Python runtime loses the names of exceptions, which the retries of the saga need. It runs custom
    runtimes against the real Lambda runtime API, so the functions become such. The template does not change.
    """
    functions = cloud.session().client("lambda", endpoint_url=cloud.endpoint)
    for name in _resources(cloud, stack, "AWS::Lambda::Function"):
        code = read_url(functions.get_function(FunctionName=name)["Code"]["Location"])
        for file, content in runtime_files().items():
            code = with_file(code, file, content)
        functions.update_function_code(FunctionName=name, ZipFile=code)
        functions.update_function_configuration(FunctionName=name, Runtime="provided.al2023")


def _allow_plain_http_to_queues(cloud: LocalCloud, stack: str) -> None:
    """Remove the statements that deny plain HTTP from the policies of the deployed queues: loopback has no TLS.

    They would reject every client, the reporter of stuck sagas too. The template does not change.
    """
    sqs = cloud.session().client("sqs", endpoint_url=cloud.endpoint)
    # The policy also rejects its own change; this header says that a proxy has ended TLS.
    sqs.meta.events.register("before-call.sqs", _as_behind_tls)
    for url in _resources(cloud, stack, "AWS::SQS::Queue"):
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
        if "Policy" in attributes:
            policy = json.loads(attributes["Policy"])
            policy["Statement"] = [one for one in policy["Statement"] if not _denies_plain_http(one)]
            # A policy needs a statement; an empty text removes the policy.
            changed = json.dumps(policy) if policy["Statement"] else ""
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": changed})


def _as_behind_tls(params: dict[str, Any], **_: object) -> None:
    params["headers"]["X-Forwarded-Proto"] = "https"


def _denies_plain_http(statement: Mapping[str, Any]) -> bool:
    return statement["Effect"] == "Deny" and "aws:SecureTransport" in statement.get("Condition", {}).get("Bool", {})


def _resources(cloud: LocalCloud, stack: str, type_: str) -> Iterator[str]:
    """Return the physical ids of the stack's resources of one type."""
    cloudformation = cloud.session().client("cloudformation", endpoint_url=cloud.endpoint)
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] == type_:
                yield resource["PhysicalResourceId"]


def runtime_files() -> dict[str, str]:
    """Return the files that awslambdaric needs beside the functions' code, by name."""
    # LOG_LEVEL is the local cloud's own; the functions would use it too.
    files = {"bootstrap": f'#!/bin/sh\nunset LOG_LEVEL\nexec "{sys.executable}" -m awslambdaric "$_HANDLER"\n'}
    if importlib.util.find_spec("runtime_client") is None:
        files["runtime_client.py"] = RUNTIME_CLIENT.read_text()
    return files


def read_url(url: str) -> bytes:
    """Return what the local cloud serves under a URL."""
    with LOOPBACK.open(url, timeout=30) as response:
        content: bytes = response.read()
        return content


def with_file(package: bytes, name: str, content: str) -> bytes:
    """Return the zipped package with one more executable file."""
    changed = io.BytesIO(package)
    with zipfile.ZipFile(changed, "a", zipfile.ZIP_DEFLATED) as archive:
        file = zipfile.ZipInfo(name)
        file.external_attr = 0o755 << 16
        archive.writestr(file, content)
    return changed.getvalue()
