"""What every pod has in common: its security, its probes, its way down."""

import pytest
from conftest import CI_VALUES

PREFIX = {"shared-lock": "SHARED_LOCK_", "hostname": "HOSTNAME_SVC_", "message-hash": "MESSAGE_HASH_"}


@pytest.fixture(params=[path.stem.removesuffix("-values") for path in CI_VALUES])
def rendered(request, render):
    return render(ci=request.param)


def test_pods_keep_to_the_restricted_profile(rendered):
    for component in rendered.of("Deployment"):
        pod, container = rendered.pod(component), rendered.container(component)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
        volumes = [set(volume) - {"name"} for volume in pod.get("volumes", [])]
        assert all(kind <= {"secret", "emptyDir", "persistentVolumeClaim"} for kind in volumes)


def test_pods_are_told_nothing_of_the_cluster(rendered):
    for component in rendered.of("Deployment"):
        assert rendered.pod(component)["automountServiceAccountToken"] is False
        assert rendered.pod(component)["enableServiceLinks"] is False


def test_probes_ask_the_port_that_the_service_listens_on(rendered):
    for component in rendered.of("Deployment"):
        container = rendered.container(component)
        (port,) = container["ports"]
        listens = [v for k, v in rendered.env(component).items() if k.endswith(("_LISTEN", "_SERVER_PORT"))]
        assert listens and listens[0].rsplit(":")[-1] == str(port["containerPort"])
        for probe, path in {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}.items():
            assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": port["name"]}


def test_a_service_finds_the_pods_of_its_component_and_no_others(rendered):
    for component, service in rendered.of("Service").items():
        selector = service["spec"]["selector"]
        found = [
            name
            for name, deployment in rendered.of("Deployment").items()
            if selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert found == [component]
        assert rendered.of("Deployment")[component]["spec"]["selector"]["matchLabels"] == selector
        (port,) = service["spec"]["ports"]
        (target,) = rendered.container(component)["ports"]
        assert (port["targetPort"], port["port"]) == (target["name"], target["containerPort"])


def test_the_grace_period_outlasts_drain_and_shutdown(rendered):
    for component in rendered.of("Deployment"):
        env, prefix = rendered.env(component), PREFIX[component]
        seconds = [int(env[f"{prefix}SERVER_{name}"].removesuffix("s")) for name in ("DRAIN_DELAY", "SHUTDOWN_TIMEOUT")]
        assert rendered.pod(component)["terminationGracePeriodSeconds"] > sum(seconds)


def test_every_variable_has_the_prefix_of_its_service_and_is_set_once(rendered):
    for component in rendered.of("Deployment"):
        names = [variable["name"] for variable in rendered.container(component)["env"]]
        assert len(names) == len(set(names))
        assert all(name.startswith(PREFIX[component]) for name in names)


def test_every_variable_is_a_text(rendered):
    for component in rendered.of("Deployment"):
        for name, value in rendered.env(component).items():
            assert isinstance(value, str) or "secretKeyRef" in value, name


def test_that_nobody_is_asked_who_he_is_can_be_seen(rendered):
    for component in rendered.of("Deployment"):
        assert rendered.env(component)[f"{PREFIX[component]}ALLOW_ANONYMOUS"] == "true"


def test_resources_are_asked_for_and_memory_is_bounded(rendered):
    for component in rendered.of("Deployment"):
        resources = rendered.container(component)["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert "memory" in resources["limits"]
