"""What tells the components apart: their stores, their secrets, whom they call."""

import shutil

from conftest import CHART, KUBERNETES, helm, read_yaml

DATA = {"name": "data", "mountPath": "/var/lib/holdfast"}


def test_by_default_each_service_runs_once_on_its_embedded_store(render):
    rendered = render()
    assert rendered.of("Deployment").keys() == rendered.of("Service").keys() == {"shared-lock", "hostname", "message-hash"}
    for component, deployment in rendered.of("Deployment").items():
        assert deployment["spec"]["replicas"] == 1
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}
        assert rendered.container(component)["volumeMounts"] == [DATA]
        assert [v for k, v in rendered.env(component).items() if k.endswith("_DATA_DIR")] == ["/var/lib/holdfast"]


def test_a_claim_outlives_the_release_unless_told_otherwise(render):
    claims = render({"hostname": {"persistence": {"keep": False}}}).of("PersistentVolumeClaim")
    assert claims["shared-lock"]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in claims["hostname"]["metadata"]


def test_a_pod_mounts_the_claim_that_the_chart_makes(render):
    rendered = render()
    for component, claim in rendered.of("PersistentVolumeClaim").items():
        (volume,) = rendered.pod(component)["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}


def test_a_claim_that_exists_is_used_and_none_is_made(render):
    rendered = render({"messageHash": {"persistence": {"existingClaim": "messages"}}})
    assert "message-hash" not in rendered.of("PersistentVolumeClaim")
    assert rendered.pod("message-hash")["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "messages"}}]


def test_a_claim_is_as_the_values_say(render):
    persistence = {"size": "20Gi", "storageClass": "fast", "accessMode": "ReadWriteOncePod"}
    claim = render({"messageHash": {"persistence": persistence}}).of("PersistentVolumeClaim")["message-hash"]["spec"]
    assert claim == {
        "accessModes": ["ReadWriteOncePod"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "20Gi"}},
    }


def test_throwaway_data_needs_no_claim(render):
    rendered = render(ci="throwaway")
    assert not rendered.of("PersistentVolumeClaim")
    assert rendered.pod("hostname")["volumes"] == [{"name": "data", "emptyDir": {}}]
    assert "volumes" not in rendered.pod("shared-lock")
    assert rendered.of("Deployment")["shared-lock"]["spec"]["strategy"] == {"type": "Recreate"}


def test_shared_lock_on_etcd_rolls_over_and_writes_nowhere(render):
    rendered = render(ci="external")
    deployment = rendered.of("Deployment")["shared-lock"]["spec"]
    assert deployment["replicas"] == 3
    assert deployment["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert all(mount["readOnly"] for mount in rendered.container("shared-lock")["volumeMounts"])
    env = rendered.env("shared-lock")
    assert env["SHARED_LOCK_STORAGE_TYPE"] == "etcd"
    assert env["SHARED_LOCK_ETCD_ADDR_LIST"].split(",") == [f"https://etcd-{i}.etcd.etcd:2379" for i in range(3)]
    assert "SHARED_LOCK_DATA_DIR" not in env


def test_etcds_certificates_are_mounted_where_the_settings_say(render):
    rendered = render(ci="external")
    (mount,) = rendered.container("shared-lock")["volumeMounts"]
    (volume,) = rendered.pod("shared-lock")["volumes"]
    assert volume["secret"]["secretName"] == "etcd-client"
    files = {f"{mount['mountPath']}/{item['path']}": item["key"] for item in volume["secret"]["items"]}
    env = rendered.env("shared-lock")
    assert env["SHARED_LOCK_ETCD_TLS"] == "true"
    settings = ["SHARED_LOCK_CA_CERT_PATH", "SHARED_LOCK_CLIENT_CERT_PATH", "SHARED_LOCK_CLIENT_KEY_PATH"]
    assert [files[env[name]] for name in settings] == ["ca.crt", "tls.crt", "tls.key"]


def test_etcd_may_ask_for_no_client_certificate(render):
    tls = {"existingSecret": "etcd-ca", "certKey": "", "keyKey": ""}
    rendered = render({"sharedLock": {"store": "etcd", "etcd": {"endpoints": ["https://etcd:2379"], "tls": tls}}})
    (volume,) = rendered.pod("shared-lock")["volumes"]
    assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    env = rendered.env("shared-lock")
    assert (env["SHARED_LOCK_CLIENT_CERT_PATH"], env["SHARED_LOCK_CLIENT_KEY_PATH"]) == ("", "")


def test_etcds_user_and_password_come_from_a_secret(render):
    etcd = {"endpoints": ["http://etcd:2379"], "auth": {"existingSecret": "etcd-user"}}
    env = render({"sharedLock": {"store": "etcd", "etcd": etcd}}).env("shared-lock")
    assert env["SHARED_LOCK_ETCD_USER"] == {"secretKeyRef": {"name": "etcd-user", "key": "username"}}
    assert env["SHARED_LOCK_ETCD_PASSWORD"] == {"secretKeyRef": {"name": "etcd-user", "key": "password"}}


def test_etcd_without_tls_mounts_nothing(render):
    rendered = render({"sharedLock": {"store": "etcd", "etcd": {"endpoints": ["http://etcd:2379"]}}})
    assert "volumes" not in rendered.pod("shared-lock")
    assert "SHARED_LOCK_ETCD_TLS" not in rendered.env("shared-lock")


def test_hostname_finds_the_lock_service_of_its_release(render):
    rendered = render({"sharedLock": {"port": 9000}}, release="prod")
    service = rendered.of("Service")["shared-lock"]["metadata"]["name"]
    assert rendered.env("hostname")["HOSTNAME_SVC_LOCK_URL"] == f"http://{service}:9000"


def test_hostname_asks_another_lock_service_when_told_so(render):
    rendered = render(ci="hostname-alone")
    assert rendered.of("Deployment").keys() == {"hostname"}
    assert rendered.env("hostname")["HOSTNAME_SVC_LOCK_URL"] == "http://lock-a.locks:8080,http://lock-b.locks:8080"


def secret(key: str) -> dict:
    return {"secretKeyRef": {"name": "hostname-vault", "key": key}}


def test_vaults_token_comes_from_a_secret(render):
    env = render(ci="hostname-alone").env("hostname")
    assert env["HOSTNAME_SVC_STORE"] == "vault"
    assert env["HOSTNAME_SVC_VAULT_ADDR"] == "http://vault.vault:8200"
    assert (env["HOSTNAME_SVC_VAULT_MOUNT"], env["HOSTNAME_SVC_VAULT_BASE_PATH"]) == ("kv", "platform/hostnames")
    assert env["HOSTNAME_SVC_VAULT_AUTH"] == "token"
    assert env["HOSTNAME_SVC_VAULT_TOKEN"] == secret("token")
    assert "HOSTNAME_SVC_VAULT_ROLE_ID" not in env


def test_vaults_approle_comes_from_a_secret(render):
    env = render(ci="external").env("hostname")
    assert env["HOSTNAME_SVC_VAULT_AUTH"] == "approle"
    assert env["HOSTNAME_SVC_VAULT_ROLE_ID"] == secret("role_id")
    assert env["HOSTNAME_SVC_VAULT_SECRET_ID"] == secret("secret_id")
    assert "HOSTNAME_SVC_VAULT_TOKEN" not in env


def test_vaults_private_authority_is_mounted_where_the_setting_says(render):
    rendered = render(ci="external")
    (mount,) = rendered.container("hostname")["volumeMounts"]
    (volume,) = rendered.pod("hostname")["volumes"]
    assert volume["secret"]["secretName"] == "vault-ca"
    (item,) = volume["secret"]["items"]
    assert rendered.env("hostname")["HOSTNAME_SVC_VAULT_CA_FILE"] == f"{mount['mountPath']}/{item['path']}"


def test_hostname_on_vault_writes_nowhere(render):
    rendered = render(ci="hostname-alone")
    assert "volumes" not in rendered.pod("hostname")
    assert "HOSTNAME_SVC_DATA_DIR" not in rendered.env("hostname")


def test_messages_on_postgres_roll_over_and_write_nowhere(render):
    rendered = render(ci="external")
    deployment = rendered.of("Deployment")["message-hash"]["spec"]
    assert deployment["replicas"] == 3
    assert deployment["strategy"]["type"] == "RollingUpdate"
    assert "message-hash" not in rendered.of("PersistentVolumeClaim")
    assert all(mount["readOnly"] for mount in rendered.container("message-hash")["volumeMounts"])
    env = rendered.env("message-hash")
    assert env["MESSAGE_HASH_STORE"] == "postgres"
    assert "MESSAGE_HASH_DATA_DIR" not in env


def test_postgres_addresses_and_the_administrators_key_come_from_secrets(render):
    def key(secret, key):
        return {"secretKeyRef": {"name": secret, "key": key}}

    env = render(ci="external").env("message-hash")
    assert env["MESSAGE_HASH_POSTGRES_SHARDS"] == key("message-hash-postgres", "shards")
    assert env["MESSAGE_HASH_POSTGRES_ALSO_READ"] == key("message-hash-postgres", "also-read")
    assert env["MESSAGE_HASH_ADMIN_KEY"] == key("message-hash-admin", "key")
    plain = render({"messageHash": {"store": "postgres", "postgres": {"existingSecret": "messages"}}})
    assert plain.env("message-hash").keys() & {"MESSAGE_HASH_POSTGRES_ALSO_READ", "MESSAGE_HASH_ADMIN_KEY"} == set()
    assert "volumes" not in plain.pod("message-hash")


def test_postgres_private_authority_is_mounted_where_the_values_say(render):
    rendered = render(ci="external")
    (mount,) = rendered.container("message-hash")["volumeMounts"]
    (volume,) = rendered.pod("message-hash")["volumes"]
    assert volume["secret"]["secretName"] == "postgres-ca"
    (item,) = volume["secret"]["items"]
    assert f"{mount['mountPath']}/{item['path']}" == "/etc/postgres/ca.crt"
    assert "sslrootcert=/etc/postgres/ca.crt" in (CHART / "values.yaml").read_text()


def test_any_other_setting_reaches_its_service(render):
    assert render(ci="external").env("shared-lock")["SHARED_LOCK_CACHE_ENABLED"] == "true"


def test_spans_go_to_the_collector_when_there_is_one(render):
    for component, prefix in {"shared-lock": "SHARED_LOCK", "hostname": "HOSTNAME_SVC", "message-hash": "MESSAGE_HASH"}.items():
        assert f"{prefix}_OTLP_ENDPOINT" not in render().env(component)
        assert render(ci="external").env(component)[f"{prefix}_OTLP_ENDPOINT"] == "http://otel-collector.monitoring:4318"


def test_an_image_is_named_by_registry_tag_and_digest(render):
    assert render().container("hostname")["image"] == "holdfast/hostname-svc:0.1.0"
    assert render(ci="external").container("hostname")["image"] == "registry.example.org/platform/holdfast/hostname-svc:0.1.0"
    pinned = render(ci="hostname-alone").container("hostname")["image"]
    assert pinned == "platform/hostname-svc:0.1.0@sha256:" + "0123456789abcdef" * 4
    assert render(ci="external").pod("hostname")["imagePullSecrets"] == [{"name": "registry-login"}]


def test_where_the_cluster_speaks_ipv6_so_do_the_services(render):
    assert render(ci="hostname-alone").env("hostname")["HOSTNAME_SVC_LISTEN"] == "[::]:8081"
    assert render({"listenAddress": "::"}).env("shared-lock")["SHARED_LOCK_SERVER_ADDRESS"] == "::"


def test_names_stay_short_enough_and_end_well(render):
    rendered = render(release="a-release-name-that-is-as-long-as-helm-lets-one-be-x")
    for o in rendered.objects:
        assert len(o["metadata"]["name"]) <= 63
        assert "--" not in o["metadata"]["name"]


def test_the_notes_say_where_the_services_are_and_what_is_not_kept(tmp_path):
    # helm template leaves the notes out, so that a copy of the chart shows them as an object.
    chart = shutil.copytree(CHART, tmp_path / "holdfast")
    notes = (chart / "templates" / "NOTES.txt").read_text()
    shown = f'{{{{ define "notes" }}}}{notes}{{{{ end }}}}\nnotes: {{{{ include "notes" . | quote }}}}\n'
    (chart / "templates" / "notes.yaml").write_text(shown)
    values = {"sharedLock": {"store": "memory"}, "messageHash": {"persistence": {"type": "emptyDir"}}}
    ran = helm("template", "demo", str(chart), "--show-only", "templates/notes.yaml", "--namespace", "locks",
               "--kube-version", KUBERNETES[-1], values=values)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (written,) = read_yaml(ran.stdout)
    for line in [
        "  hostnames   http://demo-holdfast-hostname.locks:8081  (embedded)",
        "sharedLock keeps its data in memory: it is gone with the pod.",
        "hostname keeps its data on a claim that helm uninstall leaves standing.",
        "messageHash keeps its data in an emptyDir: it is gone with the pod.",
    ]:
        assert line in written["notes"].splitlines()
