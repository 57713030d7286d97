"""Stages on the local cloud: prod with its key and its protections, and an unknown one."""

import pytest

from local.cloud import LocalCloud
from local.demo import differences
from local.deployment import deploy
from local.errors import LocalError
from local.executions import start_and_wait, statuses
from local.order_demo import ORDER_DEMO

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


def test_in_prod_the_orders_of_the_demo_end_as_the_contract_says(cloud: LocalCloud) -> None:
    deployment = deploy(cloud, stage="prod")
    for name, expected in ORDER_DEMO.expected_ends().items():
        order = ORDER_DEMO.input(name)
        ended = start_and_wait(deployment, order)
        assert not differences(expected, ended, statuses(deployment, str(order["order_id"])))
    dynamodb = cloud.session().client("dynamodb", endpoint_url=cloud.endpoint)
    assert dynamodb.describe_table(TableName=deployment.stack.table)["Table"]["DeletionProtectionEnabled"] is True


def test_a_failed_deployment_reports_the_reason(cloud: LocalCloud, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LocalError, match=r"^`cdk deploy` failed with exit status 1: "):
        deploy(cloud, stage="nonsense")
    assert "invalid stage 'nonsense': use -c stage=NAME with dev or prod" in capsys.readouterr().err
