"""What the files around the code promise: CI, the image, updates of dependencies, and the documents."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
OTHERS = {"node_modules", "cdk.out"}
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
PROMISED = f"{PYTHONS[0]} to {PYTHONS[-1]}"
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def documents() -> Iterator[Path]:
    yield from ROOT.glob("*.md")
    for folder in sorted(ROOT.iterdir()):
        if folder.is_dir() and folder.name not in OTHERS and (folder.name == ".github" or folder.name[0] != "."):
            yield from folder.rglob("*.md")


each_document = pytest.mark.parametrize("document", sorted(documents()), ids=lambda path: str(path.relative_to(ROOT)))
each_workflow = pytest.mark.parametrize(
    "workflow", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name
)


def read(path: Path | str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in read(workflow)["jobs"].values() for step in job["steps"]]


def called_targets(text: str) -> set[str]:
    return set(re.findall(r"\bmake (?:--[a-z-]+ )*([a-z]+)", text))


@each_workflow
def test_a_workflow_does_what_a_person_does_by_make_or_docker(workflow: Path) -> None:
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    assert commands
    assert [
        command for command in commands if not re.fullmatch(r"(make [a-z]+|docker (build|run) [^\n]*)", command)
    ] == []
    assert called_targets("\n".join(commands)) <= TARGETS


@each_workflow
def test_a_workflow_uses_actions_by_full_commit_and_says_their_version(workflow: Path) -> None:
    uses = re.findall(r"^.*\buses:.*$", workflow.read_text(), re.MULTILINE)
    assert len(uses) == sum("uses" in step for step in steps(workflow)) > 0
    assert [line for line in uses if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


@each_workflow
def test_a_workflow_may_only_read_the_code_and_ends_in_time(workflow: Path) -> None:
    content = read(workflow)
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        assert "permissions" not in job, name
        assert job["timeout-minutes"] <= 60, name


def test_ci_tests_every_python_that_is_promised_on_linux_and_macos() -> None:
    matrix = read(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert {system.split("-")[0] for system in matrix["system"]} == {"ubuntu", "macos"}
    assert matrix["python"] == PYTHONS
    assert all(f"Python {PROMISED} " in (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] == ">=3.11,<3.15"


@pytest.mark.parametrize("version", ["3.10", *PYTHONS, "3.15", "4.0"])
def test_make_takes_the_pythons_that_are_promised_and_says_so_of_others(tmp_path: Path, version: str) -> None:
    """For a newer one, not all that is pinned has wheels: pip would compile for many minutes, or fail at the end."""
    number = tuple(map(int, version.split(".")))
    pretend = f"""case $1 in
        --version) echo Python {version}.0;;
        -c) exec "{sys.executable}" -c "import sys; sys.version_info = (*{number}, 0); $2";;
        *) echo "asked for $*" >&2; exit 3;;
        esac"""
    script(tmp_path / "python", pretend)
    command = ["make", "--always-make", ".venv/installed", f"PYTHON={tmp_path / 'python'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert ("asked for -m venv .venv" in done.stderr) == (version in PYTHONS)
    assert (f"is Python {version}.0: Python {PROMISED} is needed" in done.stderr) == (version not in PYTHONS)


@pytest.mark.parametrize(("version", "taken"), [("3.11.7", True), ("3.14.0", False)])
def test_make_does_not_take_an_earlier_install_for_one_of_another_python(
    tmp_path: Path, version: str, taken: object
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for python, said in ((".venv/bin/python", "3.11.7"), ("named/python", version), ("others/python3", "3.12.0")):
        (tmp_path / python).parent.mkdir(parents=True)
        script(tmp_path / python, f"echo Python {said}")
    command = ["make", "--old-file=.venv/installed", "--old-file=node_modules/installed", "install"]
    path = {"PATH": f"{tmp_path / 'others'}{os.pathsep}{os.environ['PATH']}"}
    why = "error: named/python is Python 3.14.0, .venv has Python 3.11.7: run make clean first"
    for named, refused in ((["PYTHON=named/python"], not taken), ([], False)):
        done = subprocess.run([*command, *named], cwd=tmp_path, env=path, capture_output=True, text=True, check=False)
        assert (done.returncode != 0, why in done.stderr) == (refused, refused), done.stderr


def test_the_image_copies_files_and_calls_targets_that_exist() -> None:
    text = (ROOT / "Dockerfile").read_text()
    commands = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    command = json.loads(re.findall(r"^CMD (.*)$", commands, re.MULTILINE)[-1])
    assert called_targets(re.sub(r"apt-get install.*", "", commands) + "\n" + " ".join(command)) == {"install", "demo"}
    assert {"install", "demo"} <= TARGETS
    copied = [line.split()[2:-1] for line in commands.splitlines() if line.startswith("COPY ")]
    assert [name for names in copied for name in names if not (ROOT / name).exists()] == []
    assert re.search(r"^FROM python:\d+\.\d+\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?$", commands, re.MULTILINE)
    assert re.findall(r"^USER (.*)$", commands, re.MULTILINE)[-1] not in ("root", "0")


def test_the_dev_container_calls_a_target_that_exists() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert called_targets(container["postCreateCommand"]) == {"install"} <= TARGETS


def test_updates_leave_out_the_cdk_cli_that_cannot_read_its_assemblies() -> None:
    updates = {update["package-ecosystem"]: update for update in read(".github/dependabot.yml")["updates"]}
    assert set(updates) == {"pip", "npm", "github-actions", "docker", "devcontainers"}
    assert {"dependency-name": "aws-cdk", "versions": [">=3"]} in updates["npm"]["ignore"]


def test_updates_bring_together_what_pins_each_other() -> None:
    (pip,) = (update for update in read(".github/dependabot.yml")["updates"] if update["package-ecosystem"] == "pip")
    together = [set(group["patterns"]) for group in pip["groups"].values()]
    assert any({"aws-cdk*", "constructs"} <= patterns for patterns in together)
    assert any({"ministack", "botocore", "boto3", "moto*"} <= patterns for patterns in together)


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name)
def test_an_issue_form_is_yaml(form: Path) -> None:
    assert read(form)


def test_the_layout_in_the_readme_names_what_is_there() -> None:
    block = (ROOT / "README.md").read_text().split("\n## Layout\n")[1].split("\n## ")[0]
    top, named = ROOT, 0
    for line in block.splitlines():
        if entry := re.match(r"( {4}| {6})(\S+)", line):
            indent, name = entry.groups()
            top = ROOT / name if len(indent) == 4 else top
            path = top if len(indent) == 4 else top / name
            assert path.is_dir() if name.endswith("/") else path.is_file(), line
            named += 1
    assert named > 5


@each_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = document if not name else (document.parent / name).resolve()
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text()), target


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_every_make_command_in_a_document_exists(document: Path) -> None:
    text = document.read_text()
    code = [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^ {4}(.*)$", text, re.MULTILINE)]
    code += re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert called_targets("\n".join(code)) <= TARGETS


@each_document
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    for path, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", document.read_text()):
        assert (ROOT / path).is_file(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_every_anomaly_has_its_diagram_its_rule_and_its_test() -> None:
    part = (ROOT / "docs/how-it-works.md").read_text().split("\n## What can go wrong\n")[1].split("\n## ")[0]
    anomalies = part.split("\n### ")[1:]
    assert [anomaly.splitlines()[0] for anomaly in anomalies] == [
        "A late action",
        "An empty compensation",
        "A duplicate start",
        "Lost ownership",
        "An unknown outcome",
        "A failed compensation",
    ]
    for anomaly in anomalies:
        assert "```mermaid\nsequenceDiagram\n" in anomaly, anomaly
        assert re.search(r"\bRule \d", anomaly), anomaly
        assert re.search(r"Shown by\s+`tests/[\w/]+\.py::test_\w+`", anomaly), anomaly


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs/adr"
    listed = re.findall(r"^- \[\d{4}\]\((.*?)\): ", (folder / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(path.name for path in folder.glob("0*.md"))


def test_what_needs_nodejs_finds_that_of_the_venv() -> None:
    """The CDK's library and the tools of npm; a system need not have a Node.js, or has one that is too old."""
    recipes = (ROOT / "Makefile").read_text().replace("\\\n", "").splitlines()
    needing = [line for line in recipes if "tests.infrastructure.definitions" in line or "node_modules/.bin" in line]
    assert len(needing) > 2
    assert [line for line in needing if "$(RUN)" not in line] == []


@pytest.mark.parametrize(
    ("user", "reasons", "apt", "asked", "warned"),
    [
        (0, [""], 0, [], ""),
        (0, ["no browser", ""], 0, ["update", "install"], ""),
        (0, ["no browser", "no browser"], 1, ["update", "install"], "cannot install Chromium"),
        (1000, ["no browser", "no browser"], 0, [], "will be skipped: no browser"),
    ],
    ids=["there", "installed", "not to be had", "not root"],
)
def test_ci_installs_a_browser_where_it_may_and_goes_on_without(
    tmp_path: Path, user: int, reasons: list[str], apt: int, asked: list[str], warned: str
) -> None:
    """``reasons`` is what is missing, one question after the other; the last one stays."""
    shutil.copy(ROOT / ".ci/run", folder(tmp_path / ".ci") / "run")
    (tmp_path / "reasons").write_text("".join(f"{reason}\n" for reason in reasons))
    ask = """reason=$(head -1 reasons); tail -n +2 reasons >rest; [ ! -s rest ] || mv rest reasons
        [ -z "$reason" ] || { echo "$reason" >&2; exit 1; }"""
    script(folder(tmp_path / ".venv/bin") / "python", ask)
    stubs = folder(tmp_path / "stubs")
    script(stubs / "id", f"echo {user}")
    script(stubs / "make", 'echo "make $1" >>calls')
    script(
        stubs / "apt-get", f'for word; do case $word in update|install) echo "$word" >>calls; esac; done; exit {apt}'
    )
    path = f"{stubs}:{os.environ['PATH']}"
    done = subprocess.run([tmp_path / ".ci/run"], env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["make install", *asked, "make lint", "make test"]
    assert warned in done.stderr
    assert bool(warned) == bool(done.stderr)


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
