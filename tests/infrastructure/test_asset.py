"""Deployments update the functions if a file of their asset has changed, and only then."""

from pathlib import Path

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Template

from saga_stack.construct import packaging

FILES = (
    *("lambdas/saga_runtime/a.py", "examples/trip/lambdas/b.py", "examples/trip/app.py"),
    *("examples/more.py", "README.md"),
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    monkeypatch.setattr(packaging, "PROJECT", tmp_path)
    return tmp_path


def asset_hash() -> str:
    stack = Stack(App(context={"aws:cdk:bundling-stacks": []}), "Any")
    code = packaging.code(packaging.source_of(["examples/trip/lambdas"]))
    lambda_.Function(stack, "Function", runtime=packaging.RUNTIME, handler="a.b", code=code)
    resources = Template.from_stack(stack).to_json()["Resources"].values()
    (function,) = (r["Properties"] for r in resources if r["Type"] == "AWS::Lambda::Function")
    found: str = function["Code"]["S3Key"]
    return found


@pytest.mark.parametrize(
    ("changed", "updates"),
    [
        ("lambdas/saga_runtime/a.py", True),
        (packaging.REQUIREMENTS, True),
        ("examples/trip/lambdas/b.py", True),
        ("examples/trip/lambdas/deep/c.py", True),
        ("examples/trip/app.py", False),
        ("examples/trip/lambdas/__pycache__/b.pyc", False),
        ("examples/more.py", False),
        ("README.md", False),
        ("cdk.out/lambdas/a.py", False),
    ],
)
def test_the_functions_are_updated_if_their_own_files_have_changed(
    project: Path, changed: str, *, updates: bool
) -> None:
    before = asset_hash()
    path = project / changed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("changed")
    assert (asset_hash() != before) is updates
