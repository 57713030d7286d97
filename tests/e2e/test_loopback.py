"""The local cloud can be reached from this machine alone."""

import ipaddress

import psutil
import pytest

from local.cloud import LocalCloud
from local.demo import scenario
from local.deployment import Deployment
from local.orders import Orders

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


def test_all_that_the_local_cloud_listens_on_is_loopback(cloud: LocalCloud, deployment: Deployment) -> None:
    orders = Orders(deployment)
    orders.end(orders.start({**scenario("1-success"), "order_id": "loopback"}))
    cloud_process = psutil.Process(cloud.process.pid)
    listening = [
        connection.laddr
        for process in (cloud_process, *cloud_process.children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert cloud.port in {address.port for address in listening}
    assert not [address for address in listening if not ipaddress.ip_address(address.ip).is_loopback]
