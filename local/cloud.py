"""Runs the local cloud: MiniStack on loopback, with IAM policies enforced."""

import contextlib
import functools
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
# The id and the secret of the only access key.
KEY = "test"
READY_WITHIN_SECONDS = 60
LOG = "cloud.log"
# Without the proxies of the environment: all addresses are loopback.
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, kw_only=True)
class LocalCloud:
    """A running local cloud. It writes into ``folder`` only, which is removed with it."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"

    def require_running(self) -> None:
        """Raise LocalError if the cloud has ended."""
        if (status := self.process.poll()) is not None:
            raise LocalError(f"the local cloud ended with exit status {status}: {last_line(self.log)}")

    @property
    def endpoint(self) -> str:
        """The URL of every AWS API."""
        return f"http://{HOST}:{self.port}"

    @property
    def client_settings(self) -> dict[str, str]:
        """The environment variables that make an AWS client use this cloud."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def log(self) -> Path:
        """The log of the local cloud itself."""
        return self.folder / LOG

    def client_environment(self) -> dict[str, str]:
        """Return the environment of an AWS client of this cloud: the caller's without its AWS settings."""
        return without_aws(os.environ) | self.client_settings | {"AWS_EC2_METADATA_DISABLED": "true"}

    def session(self) -> "Session":
        """Return a boto3 session with this cloud's credentials; its clients need ``endpoint_url=endpoint``."""
        return _session()


@functools.cache
def _session() -> "Session":
    return boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=KEY, region_name=REGION)


@contextlib.contextmanager
def local_cloud(port: int, settings: Mapping[str, str] | None = None) -> Iterator[LocalCloud]:
    """Run a local cloud on 127.0.0.1:``port`` while the block runs. ``settings`` are variables of MiniStack.

    Raises LocalError if the port is in use or the cloud does not start.
    """
    require_free_port(port)
    with tempfile.TemporaryDirectory(prefix="order-saga-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environment = without_aws(os.environ) | {
            "AUTH": "true",
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            # Its IoT broker ignores BIND_HOST and would listen on every interface.
            "IOT_MTLS_ENABLED": "false",
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": REGION,
            # The functions call it too.
            "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
            "AWS_EC2_METADATA_DISABLED": "true",
            # It and the functions write into the folder only, which is removed afterwards.
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
    """Return the environment without AWS settings, so that nothing uses the caller's account."""
    return {name: value for name, value in environment.items() if not name.startswith(("AWS_", "CDK_"))}


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free_port(port: int, *, option: str = "PORT=") -> None:
    """Raise LocalError if the port is in use. ``option`` is the option that chooses another one."""
    with socket.socket() as probe:
        # As the server does it: connections of an earlier run that are still closing do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = f"cannot listen on {HOST}:{port} ({error.strerror})"
            raise LocalError(f"{reason}: stop what uses it or choose another port with {option}") from None


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
    """Return the last line of a log that is not empty."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "its log is empty"
