//! The store on a real etcd. Each store here is a replica: nothing but etcd connects them.

mod batches;
mod counts;
mod cut_off;
mod full;
mod idle;
mod keepalives;
mod lost_answers;
mod modes;
mod outages;
mod paused;
mod peers;
mod pools;
mod races;
mod replicas;
mod sessions;
mod sight;
mod strays;
mod trust;
mod unknown;

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use etcd_client::{Client, GetOptions, PutOptions};
use serde_json::{Value, json};
use shared_lock_svc::{
    lease::LeaseId,
    store::etcd::{EtcdOptions, EtcdStore},
};
use testbed::{Etcd, eventually};
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::contract::{self, Store};

#[tokio::test(flavor = "multi_thread")]
async fn the_etcd_store_keeps_the_contract() {
    // Of its own: the locks of the contract have names that other tests may use as well.
    let etcd = Etcd::start().await.unwrap();
    contract::check(replica(etcd.endpoint()).await).await;
}

macro_rules! capabilities {
    ($($name:ident: $check:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let etcd = Etcd::start().await.unwrap();
            contract::$check(replica(etcd.endpoint()).await).await;
        }
    )*};
}

capabilities![
    leases_by_their_ids: check_leases,
    readers_writers_and_permits: check_modes,
    several_tenures_on_one_lease: check_sessions,
    lock_delay: check_delay,
    notes: check_notes,
    verification: check_verify,
    release_by_force: check_force,
    several_locks_at_once: check_all,
    listing: check_listing,
    events: check_events,
    deadlocks: check_deadlock,
];

#[tokio::test]
async fn a_closed_etcd_store_ends_its_waits() {
    let etcd = Etcd::start().await.unwrap();
    contract::check_close(replica(etcd.endpoint()).await).await;
}

/// The etcd of all tests that neither stop nor count it. Each uses locks of its own.
async fn shared() -> &'static Etcd {
    static SHARED: OnceCell<Etcd> = OnceCell::const_new();
    SHARED
        .get_or_init(async || Etcd::start().await.unwrap())
        .await
}

/// A replica that is ready.
async fn replica(endpoint: &str) -> Store {
    let store: Store = connect(&[endpoint]).await;
    ready(&store).await;
    store
}

/// A replica as it is when it has just started.
async fn connect(endpoints: &[&str]) -> Arc<EtcdStore> {
    Arc::new(
        EtcdStore::connect(EtcdOptions::new(endpoints.iter().copied()))
            .await
            .unwrap(),
    )
}

async fn ready(store: &Store) {
    eventually("the store is ready", Duration::from_secs(20), async || {
        store.ready().await.map_err(anyhow::Error::from)
    })
    .await
    .unwrap();
}

/// An etcd client that knows nothing of our protocol.
async fn plain(etcd: &Etcd) -> Client {
    Client::connect([etcd.endpoint()], None).await.unwrap()
}

/// A replica on a runtime of its own, which can be torn away like a process that is killed.
async fn replica_on(runtime: &Runtime, endpoint: &str) -> Store {
    let store: Store = {
        let _there = runtime.enter();
        connect(&[endpoint]).await
    };
    ready(&store).await;
    store
}

/// Ends the lease that a waiter would hold the lock with.
async fn kill_lease_of(client: &mut Client, holder: &str) {
    let lease = entries_of(client, holder).await[0].tenure_lease();
    client.lease_revoke(lease).await.unwrap();
}

/// A replica that is alive in etcd, waits for locks, and does nothing about them.
struct IdleReplica {
    liveness: i64,
    tenure: i64,
}

impl IdleReplica {
    async fn start(client: &mut Client) -> Self {
        let liveness = client.lease_grant(60, None).await.unwrap().id();
        let tenure = client.lease_grant(60, None).await.unwrap().id();
        let guard = format!("/shared-lock-lease/{tenure}");
        client
            .put(guard, "", Some(PutOptions::new().with_lease(tenure)))
            .await
            .unwrap();
        Self { liveness, tenure }
    }

    /// Stands in a queue, as the holder `idle`.
    async fn wait_for(&self, client: &mut Client, lock: &str) {
        let entry = json!({
            "format": 2, "key": lock, "request": "idle", "replica": "idle", "lease": self.tenure.to_string(), "mode": "exclusive",
            "holder": "idle", "metadata": {}, "value": "idle", "ttl_ms": 60_000, "since_ms": 0,
        });
        let key = Self::place(lock);
        let on_liveness = PutOptions::new().with_lease(self.liveness);
        client
            .put(key, entry.to_string(), Some(on_liveness))
            .await
            .unwrap();
    }

    /// Leaves a queue without a word.
    async fn vanish(&self, client: &mut Client, lock: &str) {
        assert_eq!(
            client
                .delete(Self::place(lock), None)
                .await
                .unwrap()
                .deleted(),
            1
        );
    }

    fn place(lock: &str) -> String {
        format!(
            "/shared-lock-queue/{}/idle",
            BASE64_URL_SAFE_NO_PAD.encode(lock)
        )
    }
}

/// A queue entry as it stands in etcd.
struct Entry {
    key: String,
    record: Value,
    place: i64,
    lease: i64,
}

impl Entry {
    /// The lease that would hold the lock.
    fn tenure_lease(&self) -> i64 {
        self.record["lease"]
            .as_str()
            .unwrap()
            .parse::<LeaseId>()
            .unwrap()
            .0
    }
}

/// The queue entries of a holder, over all locks.
async fn entries_of(client: &mut Client, holder: &str) -> Vec<Entry> {
    let all = client
        .get("/shared-lock-queue/", Some(GetOptions::new().with_prefix()))
        .await
        .unwrap();
    let entries = all.kvs().iter().map(|kv| Entry {
        key: kv.key_str().unwrap().to_owned(),
        record: serde_json::from_slice(kv.value()).unwrap(),
        place: kv.create_revision(),
        lease: kv.lease(),
    });
    entries
        .filter(|entry| entry.record["holder"] == holder)
        .collect()
}
