"""Kubernetes takes what the chart renders, and the schema covers every value."""

import json
import os
import re
import subprocess

import pytest
from conftest import CHART, CI_VALUES, KUBERNETES, helm, read_yaml, template

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = read_yaml((CHART / "values.yaml").read_text())[0]


def kubeconform(manifests: str, kubernetes: str) -> subprocess.CompletedProcess:
    where = "{{.NormalizedKubernetesVersion}}-standalone{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json"
    return subprocess.run(
        [os.environ["KUBECONFORM"], "-strict", "-summary", "-kubernetes-version", kubernetes,
         "-schema-location", f"{os.environ['SCHEMAS']}/{where}"],
        input=manifests, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_helm_lint_finds_nothing(values):
    ran = helm("lint", "--strict", str(CHART), "--values", str(values), "--kube-version", KUBERNETES[-1])
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_every_object_is_valid(values, kubernetes):
    manifests = template("--values", str(values), kubernetes=kubernetes)
    ran = kubeconform(manifests, kubernetes)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    objects = len(read_yaml(manifests))
    assert f"Valid: {objects}, Invalid: 0, Errors: 0, Skipped: 0" in ran.stdout


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_a_misspelt_field_would_be_found(kubernetes):
    manifests = template(kubernetes=kubernetes).replace("imagePullPolicy", "imagePulPolicy", 1)
    ran = kubeconform(manifests, kubernetes)
    assert ran.returncode != 0
    assert "imagePulPolicy" in ran.stdout


def resolve(schema: dict) -> dict:
    return SCHEMA["$defs"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema


def walk(schema: dict, path: str = ""):
    """Every place of the schema that has a name: (path, schema)."""
    for name, inner in resolve(schema).get("properties", {}).items():
        yield f"{path}{name}", resolve(inner)
        yield from walk(inner, f"{path}{name}.")


def leaves(values: dict, path: str = ""):
    for name, inner in values.items():
        yield f"{path}{name}"
        if isinstance(inner, dict):
            yield from leaves(inner, f"{path}{name}.")


FREE = re.compile(r"\.(settings|requests|limits)\.")


def test_values_and_schema_name_the_same_things():
    in_values = {path for path in leaves(VALUES) if not FREE.search(path)}
    in_schema = {path for path, _ in walk(SCHEMA)} - {"global"}
    assert in_values == in_schema


def test_the_schema_is_closed_and_says_what_everything_is():
    for path, schema in [("", SCHEMA), *walk(SCHEMA)]:
        assert schema.get("description"), path
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path


def test_another_chart_can_hold_this_one(tmp_path):
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "holdfast").symlink_to(CHART)
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: platform\nversion: 1.0.0\n")
    values = {"global": {"team": "platform"}, "holdfast": {"log": {"level": "debug"}}}
    ran = helm("template", "demo", str(tmp_path), "--kube-version", KUBERNETES[-1], values=values)
    assert ran.returncode == 0, ran.stderr
    assert "name: demo-holdfast-hostname" in ran.stdout


def test_a_kubernetes_that_is_too_old_is_refused():
    ran = helm("template", "demo", str(CHART), "--kube-version", "1.28.0")
    assert "requires kubeVersion: >=1.29.0-0" in ran.stderr
