"""The local cloud: MiniStack, on loopback alone, with IAM policies enforced."""

import contextlib
import os
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from local.errors import LocalError
from local.processes import running

if TYPE_CHECKING:
    import subprocess

    from boto3.session import Session

PROJECT = Path(__file__).parent.parent
HOST = "127.0.0.1"
REGION = "us-east-1"
ACCOUNT = "000000000000"
READY_WITHIN_SECONDS = 60
LOG = "cloud.log"
# The addresses are loopback: a proxy of the environment has no say in them.
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, kw_only=True)
class LocalCloud:
    """A running local cloud. ``folder`` holds all that it writes and is removed with it."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"

    def require_running(self) -> None:
        """Raise LocalError if the cloud has ended by itself."""
        if (status := self.process.poll()) is not None:
            raise LocalError(f"the local cloud ended with exit status {status}: {last_line(self.log)}")

    @property
    def endpoint(self) -> str:
        """The URL under which every AWS API is served."""
        return f"http://{HOST}:{self.port}"

    @property
    def client_settings(self) -> dict[str, str]:
        """The environment variables that point an AWS client at this cloud, and at nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def log(self) -> Path:
        """What the local cloud itself logs."""
        return self.folder / LOG

    def client_environment(self) -> dict[str, str]:
        """The whole environment for an AWS client: the caller's, without any AWS setting of theirs."""
        return without_aws(os.environ) | self.client_settings | {"AWS_EC2_METADATA_DISABLED": "true"}

    def session(self) -> "Session":
        """A boto3 session with this cloud's credentials; pass ``endpoint_url=endpoint`` to its clients."""
        settings = self.client_settings
        return boto3.Session(
            aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )


@contextlib.contextmanager
def local_cloud(port: int, settings: Mapping[str, str] | None = None) -> Iterator[LocalCloud]:
    """Run a local cloud on 127.0.0.1:``port`` while the block runs. ``settings`` are MiniStack's own variables.

    Raises LocalError if the port is taken or the cloud does not come up.
    """
    refuse_taken_port(port)
    with tempfile.TemporaryDirectory(prefix="order-saga-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environment = without_aws(os.environ) | {
            "AUTH": "true",
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            # Its IoT broker would listen on every interface, whatever BIND_HOST says.
            "IOT_MTLS_ENABLED": "false",
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": REGION,
            # Where functions call back to.
            "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
            "AWS_EC2_METADATA_DISABLED": "true",
            # All that it and the functions write goes into the one folder that is removed afterwards.
            "TMPDIR": name,
            "S3_DATA_DIR": str(folder / "s3"),
            "STATE_DIR": str(folder / "state"),
            "LOG_LEVEL": "WARNING",
            **(settings or {}),
        }
        with (
            (folder / LOG).open("wb") as log,
            running(
                [sys.executable, "-m", "local.server", str(os.getpid())], cwd=PROJECT, env=environment, output=log
            ) as process,
        ):
            cloud = LocalCloud(port=port, folder=folder, process=process)
            _wait_until_ready(cloud)
            yield cloud


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without AWS settings: nothing of a caller's account may reach the local cloud or its clients."""
    return {name: value for name, value in environment.items() if not name.startswith(("AWS_", "CDK_"))}


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def refuse_taken_port(port: int, *, option: str = "PORT=") -> None:
    """Raise LocalError if something listens on the port already; ``option`` is what chooses another."""
    with socket.socket() as probe:
        # As the server will, so that connections of an earlier run that are still closing are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise LocalError(
                f"{HOST}:{port} cannot be used ({error.strerror}): "
                f"end what runs there or choose another port with {option}"
            ) from None


def _wait_until_ready(cloud: LocalCloud) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        cloud.require_running()
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            LOOPBACK.open(f"{cloud.endpoint}/_ministack/health", timeout=1),
        ):
            return
        time.sleep(0.05)
    raise LocalError(f"the local cloud did not start within {READY_WITHIN_SECONDS} s: {last_line(cloud.log)}")


def last_line(log: Path) -> str:
    """The last line of a log that says anything, for an error message of one line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
