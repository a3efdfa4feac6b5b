"""Runs helm on the chart the way a user does, and remembers what it rendered."""

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

CHART = Path(__file__).parent.parent
ROOT = CHART.parents[2]
HELM = os.environ["HELM"]
CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ["1.29.0", "1.33.0", "1.37.0"]


def read_yaml(text: str) -> list:
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document]


def helm(*arguments: str, values: dict | None = None) -> subprocess.CompletedProcess:
    """Runs helm; `values` arrive as a values file on standard input."""
    given = ["--values", "-"] if values is not None else []
    return subprocess.run(
        [HELM, *arguments, *given], input=json.dumps(values), capture_output=True, text=True, check=False
    )


@cache
def template(*arguments: str, values: str = "{}", kubernetes: str = "1.33.0", release: str = "demo") -> str:
    ran = helm("template", release, str(CHART), "--kube-version", kubernetes, *arguments, values=json.loads(values))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


class Rendered:
    """What one helm template gave."""

    def __init__(self, text: str):
        self.objects = read_yaml(text)

    def of(self, kind: str) -> dict[str, dict]:
        """The objects of a kind by component."""
        return {
            o["metadata"]["labels"]["app.kubernetes.io/component"]: o for o in self.objects if o["kind"] == kind
        }

    def pod(self, component: str) -> dict:
        return self.of("Deployment")[component]["spec"]["template"]["spec"]

    def container(self, component: str) -> dict:
        (container,) = self.pod(component)["containers"]
        return container

    def env(self, component: str) -> dict:
        """The environment: a text, or where the text comes from."""
        return {e["name"]: e.get("value", e.get("valueFrom")) for e in self.container(component)["env"]}


@pytest.fixture
def render():
    """render({...values}) or render(ci="external")."""

    def run(values: dict | None = None, ci: str | None = None, **options: str) -> Rendered:
        arguments = ["--values", str(CHART / "ci" / f"{ci}-values.yaml")] if ci else []
        return Rendered(template(*arguments, values=json.dumps(values or {}), **options))

    return run


def pytest_terminal_summary(terminalreporter):
    """One line that says the same whether all is well or not."""
    stats = terminalreporter.stats
    failed = len(stats.get("failed", [])) + len(stats.get("error", []))
    terminalreporter.write_line(f"chart: {len(stats.get('passed', []))} passed, {failed} failed")
