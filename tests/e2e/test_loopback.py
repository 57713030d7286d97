"""The local cloud is reachable from this machine only."""

import ipaddress

import psutil
import pytest

from local.cloud import LocalCloud
from local.deployment import Deployment
from local.executions import start_and_wait
from tests.e2e import orders

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


def test_the_local_cloud_listens_on_loopback_only(cloud: LocalCloud, deployment: Deployment) -> None:
    start_and_wait(deployment, orders.valid())
    cloud_process = psutil.Process(cloud.process.pid)
    listening = [
        connection.laddr
        for process in (cloud_process, *cloud_process.children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert cloud.port in {address.port for address in listening}
    assert not [address for address in listening if not ipaddress.ip_address(address.ip).is_loopback]
