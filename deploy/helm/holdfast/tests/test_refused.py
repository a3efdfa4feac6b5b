"""Values that cannot work are refused before anything is installed, by a message that names them."""

import pytest
from conftest import CHART, helm

VAULT = {"store": "vault", "vault": {"address": "https://vault:8200", "existingSecret": "hostname-vault"}}


def lock(**values) -> dict:
    return {"sharedLock": values}


def hostname(**values) -> dict:
    return {"hostname": values}


REFUSED = {
    "replicas that would share an embedded lock store":
        (lock(replicas=2), "sharedLock.replicas is 2, but the embedded store is for one replica"),
    "replicas that would each have a lock store in memory":
        (lock(replicas=3, store="memory"), "sharedLock.replicas is 3, but the memory store is for one replica"),
    "replicas that would share embedded hostnames":
        (hostname(replicas=2), "hostname.replicas is 2, but the embedded store is for one replica"),
    "replicas that would share embedded messages":
        ({"messageHash": {"replicas": 2}}, "messageHash.replicas is 2, but the embedded store is for one replica: set messageHash.store=postgres"),
    "PostgreSQL without addresses": ({"messageHash": {"store": "postgres"}}, "messageHash.postgres.existingSecret is empty"),
    "an address in the values":
        ({"messageHash": {"store": "postgres", "postgres": {"shards": "postgres://u:p@h/d"}}}, "'shards' not allowed"),
    "no replicas at all": (lock(replicas=0), "/sharedLock/replicas"),
    "etcd without an address": (lock(store="etcd"), "sharedLock.etcd.endpoints is empty"),
    "an etcd address without a scheme": (lock(store="etcd", etcd={"endpoints": ["etcd:2379"]}), "/sharedLock/etcd/endpoints/0"),
    "two etcd addresses in one": (lock(store="etcd", etcd={"endpoints": ["http://a:2379,http://b:2379"]}), "/sharedLock/etcd/endpoints/0"),
    "certificates for an etcd without TLS":
        (lock(store="etcd", etcd={"endpoints": ["http://etcd:2379"], "tls": {"existingSecret": "etcd-client"}}),
         "sharedLock.etcd.endpoints has http://etcd:2379, but sharedLock.etcd.tls.existingSecret is set"),
    "a certificate without its key":
        (lock(store="etcd", etcd={"endpoints": ["https://etcd:2379"], "tls": {"keyKey": ""}}),
         "sharedLock.etcd.tls.certKey and sharedLock.etcd.tls.keyKey go together"),
    "Vault without an address": (hostname(store="vault", vault={"existingSecret": "x"}), "hostname.vault.address is empty"),
    "Vault without credentials": (hostname(store="vault", vault={"address": "https://vault:8200"}), "hostname.vault.existingSecret is empty"),
    "a Vault address without a scheme": (hostname(**VAULT | {"vault": {"address": "vault:8200"}}), "/hostname/vault/address"),
    "a Vault address with a path": (hostname(**VAULT | {"vault": {"address": "https://vault:8200/v1"}}), "/hostname/vault/address"),
    "a way to log in to Vault that does not exist": (hostname(vault={"auth": "password"}), "/hostname/vault/auth"),
    "a mount with a slash in front": (hostname(vault={"mount": "/secret"}), "/hostname/vault/mount"),
    "a token in the values": (hostname(vault={"token": "s.secret"}), "'token' not allowed"),
    "hostnames without a lock service": (lock(enabled=False), "hostname.lockUrls is empty, but sharedLock.enabled is false"),
    "a lock service that is no URL": (hostname(lockUrls=["locks:8080"]), "/hostname/lockUrls/0"),
    "a store of another service": (lock(store="vault"), "/sharedLock/store"),
    "a store that does not exist": (hostname(store="postgres"), "/hostname/store"),
    "identity, which is not there yet": ({"allowAnonymous": False}, "allowAnonymous is false"),
    "a misspelt value": (lock(replica=2), "'replica' not allowed"),
    "a misspelt component": ({"sharedlock": {}}, "'sharedlock' not allowed"),
    "a number as a text": (lock(replicas="2"), "/sharedLock/replicas"),
    "a port below 1024, which the pod may not open": (lock(port=80), "/sharedLock/port"),
    "a digest that is none": (hostname(image={"digest": "latest"}), "/hostname/image/digest"),
    "a tag with a space": ({"image": {"tag": "0.1 0"}}, "/image/tag"),
    "a pull policy that does not exist": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "a listen address that only the pod reaches": ({"listenAddress": "127.0.0.1"}, "/listenAddress"),
    "a size that is no quantity": (hostname(persistence={"size": "1 GB"}), "/hostname/persistence/size"),
    "a claim that many nodes would write": (hostname(persistence={"accessMode": "ReadWriteMany"}), "/hostname/persistence/accessMode"),
    "memory that is no quantity": (lock(resources={"limits": {"memory": "lots"}}), "/sharedLock/resources/limits/memory"),
    "a setting of another service": (lock(settings={"HOSTNAME_SVC_LOG_LEVEL": "info"}), "/sharedLock/settings"),
    "a setting that is no text": (lock(settings={"SHARED_LOCK_CACHE_SIZE": 10}), "/sharedLock/settings/SHARED_LOCK_CACHE_SIZE"),
    "a setting that a value sets": (lock(settings={"SHARED_LOCK_SERVER_PORT": "9"}), "settings of shared-lock-svc has SHARED_LOCK_SERVER_PORT"),
    "no time to end": ({"shutdownTimeoutSeconds": 0}, "/shutdownTimeoutSeconds"),
    "a log format that does not exist": ({"log": {"format": "xml"}}, "/log/format"),
    "a value taken away": (lock(etcd={"tls": None}), "'tls'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    values, message = REFUSED[case]
    ran = helm("template", "demo", str(CHART), "--kube-version", "1.33.0", values=values)
    assert ran.returncode != 0, "it was rendered"
    assert message in ran.stderr


@pytest.mark.parametrize("release", ["1st", "team.holdfast", "9", "holdfast.prod"])
def test_refuses_a_release_that_no_service_could_be_named_after(release):
    template = ["template", release, str(CHART), "--kube-version", "1.33.0"]
    ran = helm(*template)
    assert ran.returncode != 0, "it was rendered"
    assert f"the release name {release} cannot begin the name of a Service" in ran.stderr
    assert helm(*template, "--set", "fullnameOverride=locks").returncode == 0
