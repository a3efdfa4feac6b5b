//! Each row on a real etcd: it passes on what its proposer saw, and with any one thing changed since
//! it does not. So every compare of every row has a test that fails without it.

mod ending;
mod queue;
mod taking;

use std::{num::NonZeroU32, sync::Arc};

use etcd_client::{Client, GetOptions, PutOptions, Txn};
use testbed::Etcd;
use tokio::sync::OnceCell;

use super::{
    super::{
        keys::{self, LockPath},
        proposal::Proposal,
        records::{self, Cause, Delay, Leases, Meta, SessionRecord, Waiter},
        room::Run,
        sight::{Hold, Question, Waiting},
    },
    Alive, Parting,
    writes::grant,
};
use crate::lease::{Holder, LeaseId, LockKey, Metadata, Mode, RequestId};

const REPLICA: &str = "ours";
const PARTING: Parting<'_> = Parting {
    cause: Cause::Released,
    note: None,
    trace_id: None,
    reason: None,
};

/// A lock of its own, as etcd has it.
struct World {
    client: Client,
    path: LockPath,
    replica: String,
    /// Create revision of L.
    since: i64,
    /// A lease that outlives the test, of a session too.
    lease: LeaseId,
}

/// What may happen between the look of a proposer and its proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    /// Another holds it, reads it, has a permit, or waits for it.
    Holder,
    Reader,
    Permit,
    Waiter,
    /// H is that of a later tenure.
    AnotherHolder,
    Delay,
    /// The request has ended, or got the lock, or waits.
    Tombstone,
    OwnReader,
    OwnPermit,
    OwnEntry,
    /// This replica has lost its life, or begun another.
    ReplicaGone,
    ReplicaReborn,
    SessionGone,
}

async fn etcd() -> &'static Etcd {
    static SHARED: OnceCell<Etcd> = OnceCell::const_new();
    SHARED
        .get_or_init(async || Etcd::start().await.unwrap())
        .await
}

fn permit(limit: u32, weight: u32) -> Mode {
    Mode::Permit {
        limit: limit.try_into().unwrap(),
        weight: weight.try_into().unwrap(),
    }
}

/// One of nine.
const PERMIT: Mode = Mode::Permit {
    limit: NonZeroU32::new(9).unwrap(),
    weight: NonZeroU32::MIN,
};

impl World {
    async fn new() -> Self {
        let mut client = Client::connect([etcd().await.endpoint()], None)
            .await
            .unwrap();
        let lease = LeaseId(client.lease_grant(600, None).await.unwrap().id());
        let name = RequestId::random();
        let mut world = Self {
            client,
            path: LockPath::of(&LockKey::parse(name.as_str()).unwrap()),
            replica: format!("{REPLICA} {name}"),
            since: 0,
            lease,
        };
        world.since = world.put(keys::replica(&world.replica), "", lease).await;
        let session = records::encode(SessionRecord {
            holder: Holder::unnamed(),
            ttl_ms: 1,
        });
        world.put(keys::guard(lease), session, lease).await;
        world
    }

    fn alive(&self) -> Alive<'_> {
        Alive {
            replica: &self.replica,
            since: self.since,
        }
    }

    fn question(&self) -> Question<'_> {
        Question::about(&self.path)
    }

    /// A new request, on the session.
    fn meta(&self, mode: Mode) -> Meta {
        Meta {
            key: self.path.key.clone(),
            request: RequestId::random(),
            replica: self.replica.clone(),
            mode,
            leases: Leases {
                lease: self.lease,
                session: true,
                delay_lease: None,
            },
            holder: Holder::unnamed(),
            metadata: Metadata::new(),
            trace_id: None,
            ttl_ms: 0,
            nth: 0,
            since_ms: 0,
        }
    }

    /// A lease of its own for a request.
    async fn own_lease(&mut self) -> Leases {
        Leases {
            lease: LeaseId(self.client.lease_grant(600, None).await.unwrap().id()),
            session: false,
            delay_lease: None,
        }
    }

    async fn put(&mut self, key: String, value: impl Into<Vec<u8>>, lease: LeaseId) -> i64 {
        let options = PutOptions::new().with_lease(lease.0);
        let put = self.client.put(key, value, Some(options)).await.unwrap();
        put.header().unwrap().revision()
    }

    async fn delete(&mut self, key: String) {
        self.client.delete(key, None).await.unwrap();
    }

    async fn is_there(&mut self, key: String) -> bool {
        self.revision_of(key).await != 0
    }

    /// Mod revision of a key; zero if it is not there.
    async fn revision_of(&mut self, key: String) -> i64 {
        let get = self.client.get(key, None).await.unwrap();
        get.kvs().first().map_or(0, |kv| kv.mod_revision())
    }

    /// The keys of the lock, without its name.
    async fn keys(&mut self) -> Vec<String> {
        let all = GetOptions::new().with_prefix().with_keys_only();
        let get = self.client.get("/shared-lock", Some(all)).await.unwrap();
        let segment = self.path.segment.to_string();
        let keys = get.kvs().iter().map(|kv| kv.key_str().unwrap().to_owned());
        let ours = keys.filter(|key| key.contains(&segment) || *key == self.path.holder());
        ours.map(|key| key.split('/').nth(1).unwrap().to_owned())
            .collect()
    }

    /// The lock is held by one more.
    async fn holds(&mut self, meta: Meta) -> Hold {
        let txn = Txn::new().and_then(grant(&self.path, &meta, "value"));
        let put = self.client.txn(txn).await.unwrap();
        Hold {
            mode: meta.mode,
            token: put.header().unwrap().revision(),
            lease: meta.leases.lease,
            meta: Some(Arc::new(meta)),
        }
    }

    /// One more waits, with a lease of its own.
    async fn waits(&mut self, mode: Mode) -> Waiting {
        let leases = self.own_lease().await;
        self.waits_with(Meta {
            leases,
            ..self.meta(mode)
        })
        .await
    }

    async fn waits_with(&mut self, meta: Meta) -> Waiting {
        for lease in meta.leases.own() {
            self.put(keys::guard(lease), "", lease).await;
        }
        let (request, waiter) = (meta.request.clone(), self.waiter(meta));
        let place = self.writes(&request, &waiter).await;
        Waiting {
            request,
            place,
            revision: place,
            waiter,
        }
    }

    fn waiter(&self, meta: Meta) -> Waiter {
        Waiter {
            value: "waited".into(),
            meta,
        }
    }

    async fn writes(&mut self, request: &RequestId, waiter: &Waiter) -> i64 {
        let (key, seat) = (self.path.waiter(request), self.lease);
        self.put(key, records::encode(waiter), seat).await
    }

    async fn make(&mut self, change: Change, of: &Meta) {
        let (path, lease) = (self.path.clone(), self.lease);
        match change {
            Change::Nothing => {}
            Change::Holder | Change::AnotherHolder => {
                self.holds(self.meta(Mode::Exclusive)).await;
            }
            Change::Reader => {
                self.holds(self.meta(Mode::Shared)).await;
            }
            Change::Permit => {
                self.holds(self.meta(PERMIT)).await;
            }
            Change::Waiter => {
                self.waits(Mode::Exclusive).await;
            }
            Change::Delay => {
                let record = records::encode(Delay { of: LeaseId(7) });
                self.put(path.delay(), record, lease).await;
            }
            Change::Tombstone => {
                self.put(path.tombstone(&of.request), "", lease).await;
            }
            Change::OwnReader => {
                let record = records::encode(of);
                self.put(path.reader(&of.request), record, lease).await;
            }
            Change::OwnPermit => {
                let record = records::encode(of);
                self.put(path.permit(&of.request), record, lease).await;
            }
            Change::OwnEntry => {
                let waiter = self.waiter(of.clone());
                self.writes(&of.request, &waiter).await;
            }
            Change::ReplicaGone => self.delete(keys::replica(&self.replica)).await,
            Change::ReplicaReborn => {
                self.delete(keys::replica(&self.replica)).await;
                self.put(keys::replica(&self.replica), "", lease).await;
            }
            Change::SessionGone => self.delete(keys::guard(lease)).await,
        }
    }

    /// Whether etcd does what is proposed.
    async fn passes(&mut self, proposal: Proposal) -> bool {
        self.client.txn(proposal.txn()).await.unwrap().succeeded()
    }
}

/// What of others keeps a request of this mode from getting a lock.
fn in_the_way_of(mode: Mode) -> &'static [Change] {
    match mode {
        Mode::Exclusive | Mode::Permit { .. } => &[
            Change::Holder,
            Change::Reader,
            Change::Permit,
            Change::Delay,
        ],
        Mode::Shared => &[Change::Holder, Change::Permit, Change::Delay],
    }
}

/// What keeps a request of this mode from taking a lock: others, whoever waits, its own tenure.
fn keeps_from_taking(mode: Mode) -> Vec<Change> {
    let own: &[Change] = match mode {
        Mode::Exclusive => &[],
        Mode::Shared => &[Change::OwnReader],
        Mode::Permit { .. } => &[Change::OwnPermit],
    };
    [in_the_way_of(mode), &[Change::Waiter], own].concat()
}

/// `row` serves the first of two waiters, as it was seen, and alive. Returns one that it serves.
async fn serves_the_first_as_it_was_seen(
    world: &mut World,
    row: impl Fn(&Waiting) -> Proposal,
) -> Waiting {
    let older = world.waits(Mode::Exclusive).await;
    let younger = world.waits(Mode::Exclusive).await;
    assert!(!world.passes(row(&younger)).await, "it is not the first");
    // It left, and came again: that is another entry.
    world.writes(&older.request, &older.waiter).await;
    assert!(!world.passes(row(&older)).await, "its entry is another one");
    world.delete(world.path.waiter(&older.request)).await;
    assert!(!world.passes(row(&older)).await, "its entry is gone");
    let guard = keys::guard(younger.waiter.meta.leases.lease);
    world.delete(guard.clone()).await;
    assert!(!world.passes(row(&younger)).await, "its lease is gone");
    world.put(guard, "", world.lease).await;
    younger
}

fn run<const N: usize>(waiters: [&Waiting; N], newest_permit: i64) -> Run {
    Run {
        waiters: waiters.into_iter().cloned().collect(),
        newest_permit,
    }
}
