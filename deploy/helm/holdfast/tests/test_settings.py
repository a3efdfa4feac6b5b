"""Chart and images speak of settings and versions that the services' own sources have."""

import re
import tomllib

import pytest
from conftest import CHART, CI_VALUES, ROOT, read_yaml

SERVICES = {
    "shared-lock": ("shared-lock-svc", "SHARED_LOCK_"),
    "hostname": ("hostname-svc", "HOSTNAME_SVC_"),
    "message-hash": ("message-hash-svc", "MESSAGE_HASH_"),
}
DOCKERFILE = (ROOT / "deploy/images/Dockerfile").read_text()
WORKSPACE = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]


def settings(service: str, prefix: str) -> set[str]:
    """The environment names in the sources of a service and of what all services share."""
    sources = [*ROOT.glob("crates/service-kit/src/**/*.rs"), *ROOT.glob(f"crates/{service}/src/**/*.rs")]
    shipped = (source.read_text().split("#[cfg(test)]")[0] for source in sources if source.stem != "tests")
    names = (re.findall(r'Setting::env\(\s*"([A-Z0-9_]+)"', text) for text in shipped)
    return {prefix + name for found in names for name in found}


@pytest.mark.parametrize("component", SERVICES)
def test_the_chart_sets_nothing_that_its_service_does_not_know(component, render):
    known = settings(*SERVICES[component])
    for ci in CI_VALUES:
        rendered = render(ci=ci.stem.removesuffix("-values"))
        if component in rendered.of("Deployment"):
            assert rendered.env(component).keys() <= known, ci.name


@pytest.mark.parametrize("component", SERVICES)
def test_an_image_sets_nothing_that_its_service_does_not_know(component):
    service, prefix = SERVICES[component]
    (stage,) = re.findall(rf"^FROM scratch AS {service}\n(.*?)\n\n", DOCKERFILE, re.DOTALL | re.MULTILINE)
    names = set(re.findall(r"([A-Z_]+)=", stage))
    assert names and names <= settings(service, prefix)


def test_images_are_built_by_the_compiler_that_the_workspace_names():
    assert f"FROM rust:{WORKSPACE['rust-version']}-" in DOCKERFILE


def test_the_chart_installs_the_version_that_the_workspace_builds():
    assert read_yaml((CHART / "Chart.yaml").read_text())[0]["appVersion"] == WORKSPACE["version"]
