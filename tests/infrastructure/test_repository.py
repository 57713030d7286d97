"""The files around the code fit it: CI, the image, updates of dependencies, and the links and commands of documents."""

import json
import os
import re
import shlex
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
GENERATED = {"node_modules", "cdk.out"}
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
SUPPORTED = f"{PYTHONS[0]} to {PYTHONS[-1]}"
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def documents() -> Iterator[Path]:
    yield from ROOT.glob("*.md")
    for folder in sorted(ROOT.iterdir()):
        is_ours = folder.name not in GENERATED and not (folder / "pyvenv.cfg").exists()
        if folder.is_dir() and is_ours and (folder.name == ".github" or folder.name[0] != "."):
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
def test_a_workflow_runs_only_make_and_docker(workflow: Path) -> None:
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    assert commands
    assert [
        command for command in commands if not re.fullmatch(r"(make [a-z]+|docker (build|run) [^\n]*)", command)
    ] == []
    assert called_targets("\n".join(commands)) <= TARGETS


@each_workflow
def test_a_workflow_pins_actions_by_commit_and_names_their_version(workflow: Path) -> None:
    uses = re.findall(r"^.*\buses:.*$", workflow.read_text(), re.MULTILINE)
    assert len(uses) == sum("uses" in step for step in steps(workflow)) > 0
    assert [line for line in uses if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


@each_workflow
def test_a_workflow_may_only_read_the_code_and_has_a_timeout(workflow: Path) -> None:
    content = read(workflow)
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        assert "permissions" not in job, name
        assert job["timeout-minutes"] <= 60, name


def test_ci_tests_every_supported_python_on_linux_and_macos() -> None:
    matrix = read(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert {system.split("-")[0] for system in matrix["system"]} == {"ubuntu", "macos"}
    assert matrix["python"] == PYTHONS
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] == ">=3.11,<3.15"


@pytest.mark.parametrize("version", ["3.10", *PYTHONS, "3.15", "4.0"])
def test_make_accepts_only_supported_pythons(tmp_path: Path, version: str) -> None:
    """For a newer one, some pinned packages have no wheels: pip would compile for many minutes, or fail at the end."""
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
    assert (f"is Python {version}.0: Python {SUPPORTED} is needed" in done.stderr) == (version not in PYTHONS)


@pytest.mark.parametrize(("version", "accepted"), [("3.11.7", True), ("3.14.0", False)])
def test_make_rejects_an_install_of_another_python(tmp_path: Path, version: str, accepted: object) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for python, number in ((".venv/bin/python", "3.11.7"), ("named/python", version), ("others/python3", "3.12.0")):
        (tmp_path / python).parent.mkdir(parents=True)
        script(tmp_path / python, f"echo Python {number}")
    command = ["make", "--old-file=.venv/installed", "--old-file=node_modules/installed", "install"]
    path = {"PATH": f"{tmp_path / 'others'}{os.pathsep}{os.environ['PATH']}"}
    why = "error: named/python is Python 3.14.0, .venv has Python 3.11.7: run make clean first"
    for named, rejected in ((["PYTHON=named/python"], not accepted), ([], False)):
        done = subprocess.run([*command, *named], cwd=tmp_path, env=path, capture_output=True, text=True, check=False)
        assert (done.returncode != 0, why in done.stderr) == (rejected, rejected), done.stderr


@pytest.mark.parametrize("deleted", [".venv/bin/node", "node_modules/aws-cdk/bin/cdk"])
def test_make_installs_again_what_was_deleted(tmp_path: Path, deleted: str) -> None:
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "constraints.txt", "package.json"):
        shutil.copy(ROOT / name, tmp_path)
    files = ("lambdas/saga_runtime/requirements.txt", "package-lock.json", ".venv/bin/node")
    for name in (*files, "node_modules/aws-cdk/bin/cdk", ".venv/installed", "node_modules/installed"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    command = ["make", "--dry-run", "install"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "install --" not in done.stdout and "npm ci" not in done.stdout
    (tmp_path / deleted).unlink()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "npm ci" in done.stdout, "node_modules depends on .venv"
    assert ("--force-reinstall" in done.stdout) == (deleted == ".venv/bin/node")


@pytest.mark.parametrize("target", ["synth", "diff", "demo", "local"])
def test_make_rejects_an_example_that_does_not_exist(target: str) -> None:
    command = ["make", "--dry-run", target, "EXAMPLE=nosuch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "invalid EXAMPLE 'nosuch': use one of " in done.stderr


def test_make_quotes_the_folder_of_a_saga() -> None:
    # Empty: `make test` passes its own ARGS on.
    command = ["make", "--dry-run", "--old-file=install", "chaos", "ARGS=", "SAGA_PATH=my sagas/sale"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (called,) = (line for line in done.stdout.splitlines() if "tests.chaos" in line)
    assert shlex.split(called)[-2:] == ["--path", "my sagas/sale"]


def test_make_rejects_an_invalid_value_of_api() -> None:
    command = ["make", "--dry-run", "local", "API=yes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid API 'yes': use API=true, or leave it out" in done.stderr


def test_the_documents_of_installed_packages_are_not_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    for name in ("docs/page.md", "v/lib/package/README.md", "v/pyvenv.cfg", "node_modules/a/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(documents()) == [tmp_path / "docs/page.md"]


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


def test_updates_ignore_the_cdk_cli_that_cannot_read_its_assemblies() -> None:
    updates = {update["package-ecosystem"]: update for update in read(".github/dependabot.yml")["updates"]}
    assert set(updates) == {"pip", "npm", "github-actions", "docker", "devcontainers"}
    assert {"dependency-name": "aws-cdk", "versions": [">=3"]} in updates["npm"]["ignore"]


def test_packages_that_pin_each_other_are_updated_together() -> None:
    (pip,) = (update for update in read(".github/dependabot.yml")["updates"] if update["package-ecosystem"] == "pip")
    together = [set(group["patterns"]) for group in pip["groups"].values()]
    assert any({"aws-cdk*", "constructs"} <= patterns for patterns in together)
    assert any({"ministack", "botocore", "boto3", "moto*"} <= patterns for patterns in together)


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name)
def test_an_issue_form_is_yaml(form: Path) -> None:
    assert read(form)


def test_every_path_in_the_layout_of_the_readme_exists() -> None:
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
def test_every_relative_link_has_a_target(document: Path) -> None:
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
    """Return the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_every_make_command_in_a_document_exists(document: Path) -> None:
    text = document.read_text()
    code = [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^ {4}(.*)$", text, re.MULTILINE)]
    code += re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert called_targets("\n".join(code)) <= TARGETS


@each_document
def test_every_path_and_test_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    for path in re.findall(r"`((?:saga_stack|lambdas|examples|local|ops|tests|benchmarks|docs)/[\w./-]*)[`:]", text):
        assert (ROOT / path).exists(), path
    for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs/adr"
    listed = re.findall(r"^- \[\d{4}\]\((.*?)\): ", (folder / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(path.name for path in folder.glob("0*.md"))


def test_commands_that_need_nodejs_use_that_of_the_venv() -> None:
    """The system may have no Node.js, or one that is too old for the CDK and the tools of npm."""
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
    ids=["present", "installed", "not available", "not root"],
)
def test_ci_installs_a_browser_if_it_can_and_continues_without(
    tmp_path: Path, user: int, reasons: list[str], apt: int, asked: list[str], warned: str
) -> None:
    """Each check for a browser prints the next of ``reasons``; the last one stays."""
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
    assert calls == ["make install", *asked, "make lint", "make library", "make test"]
    assert warned in done.stderr
    assert bool(warned) == bool(done.stderr)


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
