"""One local cloud for all tests of a process, with two stacks: the project's, and one whose functions have faults."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from local.cloud import LocalCloud, free_port, local_cloud
from local.deployment import Deployment, bootstrap, deploy, read_url, with_file
from tests.infrastructure.templates import FUNCTIONS, REPORTER
from tests.shape import Shape, shape_of


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    """Run a bootstrapped local cloud that does not wait between retries."""
    with local_cloud(free_port(), {"SFN_WAIT_SCALE": "0"}) as cloud:
        bootstrap(cloud)
        yield cloud


@pytest.fixture(scope="session")
def deployment(cloud: LocalCloud) -> Deployment:
    """Deploy the project's own stack from app.py."""
    return deploy(cloud)


@pytest.fixture(scope="session")
def shape(template: Mapping[str, object]) -> Shape:
    return shape_of(template)


class Faults:
    """A stack and the faults of its functions (tests/e2e/faulty.py)."""

    def __init__(self, deployment: Deployment, file: Path) -> None:
        self.deployment = deployment
        self._file = file
        self._faults: dict[str, Mapping[str, str]] = {}
        self.set({})

    def set(self, faults: Mapping[str, str], *, order_id: str = "") -> None:
        """Set the faults by function: those of one order, or of all others."""
        self._faults[order_id] = faults
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._faults))
        new.replace(self._file)


@pytest.fixture(scope="session")
def faulty_stack(cloud: LocalCloud) -> Faults:
    deployment = deploy(cloud, stage="faults", app="tests.e2e.app")
    return with_faults(deployment, (*FUNCTIONS, REPORTER))


def with_faults(deployment: Deployment, names: Iterable[str]) -> Faults:
    """Wrap these functions of the stack, so that they can have faults."""
    cloud = deployment.cloud
    file = cloud.folder / f"{deployment.stack.name}-faults.json"
    functions = cloud.session().client("lambda", endpoint_url=cloud.endpoint)
    wrapper = (Path(__file__).parent / "faulty.py").read_text()
    for name in names:
        full_name = f"{deployment.stack.name}-{name}"
        found = functions.get_function(FunctionName=full_name)
        configuration = found["Configuration"]
        settings = {"FAULTS": str(file), "REAL_HANDLER": configuration["Handler"]}
        code = with_file(read_url(found["Code"]["Location"]), "faulty.py", wrapper)
        functions.update_function_code(FunctionName=full_name, ZipFile=code)
        functions.update_function_configuration(
            FunctionName=full_name,
            Handler="faulty.handler",
            Environment={"Variables": configuration["Environment"]["Variables"] | settings},
        )
    return Faults(deployment, file)


@pytest.fixture
def faults(faulty_stack: Faults) -> Iterator[Faults]:
    """Return the stack with faults. Faults of no single order end with the test."""
    yield faulty_stack
    faulty_stack.set({})
