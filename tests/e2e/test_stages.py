"""The stage for production, with its key and its protections, deployed to the local cloud."""

import pytest

from local.cloud import LocalCloud
from local.demo import EXPECTED, compare, scenario
from local.deployment import deploy
from local.orders import Orders

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


def test_the_four_orders_end_as_they_should_in_prod(cloud: LocalCloud) -> None:
    deployment = deploy(cloud, stage="prod")
    orders = Orders(deployment)
    for name, expected in EXPECTED.items():
        order = scenario(name)
        ended = orders.end(orders.start(order))
        assert not compare(expected, ended, orders.statuses(str(order["order_id"])))
    assert orders.dynamodb.describe_table(TableName=deployment.table)["Table"]["DeletionProtectionEnabled"] is True
