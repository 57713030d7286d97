"""One local cloud for the tests of a session, with two stacks: the project's, and one whose functions can go wrong."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from local.cloud import LocalCloud, free_port, local_cloud
from local.deployment import Deployment, bootstrap, deploy, read_url, with_file
from local.orders import Orders
from tests.infrastructure.templates import FUNCTIONS, REPORTER
from tests.shape import Shape, shape_of


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    """A bootstrapped local cloud that does not wait between retries."""
    with local_cloud(free_port(), {"SFN_WAIT_SCALE": "0"}) as cloud:
        bootstrap(cloud)
        yield cloud


@pytest.fixture(scope="session")
def deployment(cloud: LocalCloud) -> Deployment:
    """The project's own stack, deployed from app.py."""
    return deploy(cloud)


@pytest.fixture(scope="session")
def orders(deployment: Deployment) -> Orders:
    return Orders(deployment)


@pytest.fixture(scope="session")
def shape(template: Mapping[str, object]) -> Shape:
    return shape_of(template)


class Faults:
    """Orders on a stack whose functions go wrong as told."""

    def __init__(self, deployment: Deployment, file: Path) -> None:
        self.deployment = deployment
        self.orders = Orders(deployment)
        self._file = file
        self.strike({})

    def strike(self, faults: Mapping[str, str]) -> None:
        """From now on, these functions have these faults and the others none."""
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(dict(faults)))
        new.replace(self._file)


@pytest.fixture(scope="session")
def faulty_stack(cloud: LocalCloud) -> Faults:
    deployment = deploy(cloud, stage="faults", app=f"{sys.executable} -m tests.e2e.app")
    faults = Faults(deployment, cloud.folder / "faults.json")
    functions = cloud.session().client("lambda", endpoint_url=cloud.endpoint)
    wrapper = (Path(__file__).parent / "faulty.py").read_text()
    for name in (*FUNCTIONS, REPORTER):
        full_name = f"{deployment.stack}-{name}"
        found = functions.get_function(FunctionName=full_name)
        variables = found["Configuration"]["Environment"]["Variables"]
        code = with_file(read_url(found["Code"]["Location"]), "faulty.py", wrapper)
        functions.update_function_code(FunctionName=full_name, ZipFile=code)
        functions.update_function_configuration(
            FunctionName=full_name,
            Handler="faulty.handler",
            Environment={"Variables": {**variables, "FAULTS": str(cloud.folder / "faults.json")}},
        )
    return faults


@pytest.fixture
def faults(faulty_stack: Faults) -> Iterator[Faults]:
    """The stack with faults, with none at first and none left behind."""
    yield faulty_stack
    faulty_stack.strike({})
