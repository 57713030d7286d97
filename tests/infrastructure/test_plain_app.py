"""The plain app that `make bench` compares the synthesis with."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.synthesis import resources_in
from tests.infrastructure.templates import Template

PROJECT = Path(__file__).parents[2]


def test_the_plain_app_has_as_many_resources_of_each_type_as_the_order_saga(template: Template, tmp_path: Path) -> None:
    settings = {"CDK_CONTEXT_JSON": '{"complete": "true"}', "CDK_OUTDIR": str(tmp_path)}
    command = [sys.executable, "-m", "benchmarks.baseline.app"]
    subprocess.run(command, cwd=PROJECT, env={**os.environ, **settings}, capture_output=True, check=True, timeout=120)
    assert resources_in(tmp_path) == Counter(resource["Type"] for resource in template["Resources"].values())
