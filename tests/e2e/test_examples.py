"""The demo of another saga than the order saga, deployed by the real CDK CLI."""

from pathlib import Path

import pytest

from examples.trip_booking.demo import EXAMPLE
from tests.e2e.test_commands import local

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("commands")]


def test_the_demo_of_the_trip_saga_ends_every_trip_as_it_should_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with local(tmp_path, "demo", "--example", "trip_booking") as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    for name, expected in EXAMPLE.expected.items():
        assert f"{name}: {expected.title}" in out
        assert " > ".join(expected.states) in " ".join(out.split())
    assert "123-1234" not in out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["none", "..", "trip_booking/lambdas"])
def test_an_example_that_is_none_is_one_clear_line(tmp_path: Path, name: str) -> None:
    with local(tmp_path, "demo", "--example", name) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == f"error: there is no example {name!r}: use EXAMPLE= with one of ticket_sale, trip_booking\n"
