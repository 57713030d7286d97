"""What ``make local`` says to type in another terminal."""

import re
from typing import cast
from unittest import mock

import pytest

from local.__main__ import _what_to_paste
from local.cloud import PROJECT, LocalCloud
from local.deployment import Deployment
from tests.sagas import SAGAS, Saga


def pasted(saga: Saga) -> str:
    cloud = cast("LocalCloud", mock.Mock(client_settings={"AWS_REGION": "us-east-1"}))
    deployment = Deployment(
        cloud=cloud,
        stack=f"{saga.example.stack}-dev",
        state_machine_arn=f"arn:{saga.name}",
        table=f"table-{saga.name}",
        stuck_sagas_queue_url="https://queue",
    )
    return _what_to_paste(cloud, deployment, saga.example)


@pytest.mark.parametrize("saga", SAGAS.values(), ids=SAGAS)
def test_it_names_what_is_deployed_and_files_that_are_there(saga: Saga) -> None:
    text = pasted(saga)
    (file,) = re.findall(r"--input file://(\S+)\)", text)
    assert (PROJECT / file) == saga.example.scenarios / "1-success.json"
    assert (PROJECT / file).exists()
    assert f"--state-machine-arn arn:{saga.name} " in text
    assert f"--table-name table-{saga.name} " in text
    assert f"'{saga.example.key} = :id'" in text
    assert ("create_order" in text) is (saga.name == "order")


@pytest.mark.parametrize("saga", SAGAS.values(), ids=SAGAS)
def test_what_an_operator_types_names_the_stack_unless_it_is_the_default(saga: Saga) -> None:
    operate = [line for line in pasted(saga).splitlines() if "python -m ops" in line]
    named = "" if saga.name == "order" else f" --stack {saga.example.stack}-dev"
    assert operate == [f"  python -m ops list{named}", f"  python -m ops show 1{named}"]
