//! What one read of a lock shows, all at one revision.

use std::{collections::HashSet, sync::Arc};

use etcd_client::{GetOptions, GetResponse, KeyValue, SortOrder, SortTarget, TxnOp, TxnOpResponse};

use super::{
    client::Answer,
    fault::Fault,
    keys::{self, LockPath, Spot},
    records::{self, Meta, Waiter},
    room::Scene,
};
use crate::lease::{LeaseId, Mode, Note, RequestId};

/// K: a tenure as it stands, whatever its mode.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub(super) mode: Mode,
    /// Mod revision of its key: the token.
    pub(super) token: i64,
    /// Its lease; zero if a plain etcd client put it without one.
    pub(super) lease: LeaseId,
    /// What is known of it: nothing, if tentens-tech/shared-lock put it.
    pub(super) meta: Option<Arc<Meta>>,
}

/// The tenures of a lock, as far as they decide who fits beside them.
#[derive(Debug, Clone, Default)]
pub(super) struct Tenures {
    /// H.
    pub(super) holder: Option<Hold>,
    /// Whether D is there.
    pub(super) delayed: bool,
    /// Some of S*, the oldest first: all of them, if there are fewer than two.
    pub(super) readers: Vec<Hold>,
    /// All of P*.
    pub(super) permits: Vec<Hold>,
}

/// Q as it stands.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) request: RequestId,
    /// Its create revision: its place in the queue.
    pub(super) place: i64,
    /// Its mod revision: this very entry, and no later one.
    pub(super) revision: i64,
    pub(super) waiter: Waiter,
}

/// What a decision about a lock is made from.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// Who holds, and the first that wait if they were asked for. It says nothing of their guards,
    /// but for those that were asked about.
    pub(super) scene: Scene,
    /// Mod revision of M; zero if there is none, as etcd compares it.
    pub(super) meta_revision: i64,
    pub(super) queue_length: usize,
    /// The tenure of the request asked about.
    pub(super) own_hold: Option<Hold>,
    /// The entry of the request asked about.
    pub(super) own: Option<Waiting>,
    /// Whether the request asked about has ended.
    pub(super) ended: bool,
    /// What the last holder left, if that was asked.
    pub(super) note: Option<Note>,
    /// Create revision of L, the liveness key of the replica asked about.
    pub(super) presence: Option<i64>,
}

/// What to look at. The same question is asked by a look and in the else-branch of a proposal.
#[derive(Debug, Clone, Default)]
pub(super) struct Question<'a> {
    path: Option<&'a LockPath>,
    request: Option<&'a RequestId>,
    replica: Option<&'a str>,
    queue: bool,
    guards: Vec<LeaseId>,
}

/// Readers that a look shows: one that leaves, and one beside it.
const READERS: i64 = 2;

impl Hold {
    /// Whether both are the same tenure.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.token == other.token && self.lease == other.lease
    }

    /// The request that holds, if it is one of ours.
    pub(super) fn request(&self) -> Option<&RequestId> {
        self.meta.as_ref().map(|meta| &meta.request)
    }

    /// When it was granted, among the tenures of its lock.
    pub(super) fn turn(&self) -> (i64, usize) {
        (self.token, self.meta.as_ref().map_or(0, |meta| meta.nth))
    }

    /// Its key: H, S or P.
    pub(super) fn key(&self, path: &LockPath) -> String {
        match (self.mode, self.request()) {
            (Mode::Shared, Some(request)) => path.reader(request),
            (Mode::Permit { .. }, Some(request)) => path.permit(request),
            _ => path.holder(),
        }
    }

    /// H, with M if that is of the same tenure: H may have been deleted by hand and put by a peer.
    pub(super) fn of_holder(holder: &KeyValue, meta: Option<(i64, Meta)>) -> Self {
        let meta = meta.filter(|(revision, _)| *revision == holder.mod_revision());
        Self {
            mode: Mode::Exclusive,
            token: holder.mod_revision(),
            lease: LeaseId(holder.lease()),
            meta: meta.map(|(_, meta)| Arc::new(meta)),
        }
    }

    /// S or P.
    pub(super) fn read(kv: &KeyValue) -> Result<Self, Fault> {
        let meta: Meta = records::decode(kv.value())?;
        Ok(Self {
            mode: meta.mode,
            token: kv.mod_revision(),
            lease: LeaseId(kv.lease()),
            meta: Some(Arc::new(meta)),
        })
    }
}

impl Tenures {
    /// All that were seen.
    pub(super) fn all(&self) -> impl Iterator<Item = &Hold> {
        self.holder.iter().chain(&self.readers).chain(&self.permits)
    }

    /// Mod revision of the newest permit: none was added as long as none is newer.
    pub(super) fn newest_permit(&self) -> i64 {
        self.permits
            .iter()
            .map(|hold| hold.token)
            .max()
            .unwrap_or(0)
    }
}

impl Waiting {
    /// Whether it is to hold with that lease.
    pub(super) fn names(&self, lease: LeaseId) -> bool {
        self.waiter.meta.leases.all().any(|named| named == lease)
    }

    pub(super) fn read(kv: &KeyValue) -> Result<Self, Fault> {
        let Spot::Waiter(_, request) = Spot::of(kv.key()) else {
            return Err(Fault::Refused(
                "a queue entry in etcd has a strange key".into(),
            ));
        };
        Ok(Self {
            request,
            place: kv.create_revision(),
            revision: kv.mod_revision(),
            waiter: records::decode(kv.value())?,
        })
    }
}

impl<'a> Question<'a> {
    /// Who holds, and how many wait.
    pub(super) fn about(path: &'a LockPath) -> Self {
        Self {
            path: Some(path),
            ..Self::default()
        }
    }

    /// Also how this request stands, and what it would be told.
    pub(super) fn request(self, request: &'a RequestId) -> Self {
        Self {
            request: Some(request),
            ..self
        }
    }

    /// Also whether this replica is alive.
    pub(super) fn replica(self, replica: &'a str) -> Self {
        Self {
            replica: Some(replica),
            ..self
        }
    }

    /// Also who is next. etcd reads the whole queue to say so.
    pub(super) fn queue(self) -> Self {
        Self {
            queue: true,
            ..self
        }
    }

    /// Also which of these leases are alive.
    pub(super) fn guards(mut self, leases: impl IntoIterator<Item = LeaseId>) -> Self {
        self.guards.extend(leases);
        self
    }

    /// Only whether these leases are alive.
    pub(super) fn of_guards(leases: impl IntoIterator<Item = LeaseId>) -> Self {
        Self::default().guards(leases)
    }

    pub(super) fn ops(&self) -> Vec<TxnOp> {
        let mut ops = Vec::new();
        if let Some(path) = self.path {
            let queue = if self.queue {
                by_place().with_limit(Scene::QUEUE as i64)
            } else {
                GetOptions::new().with_prefix().with_count_only()
            };
            let some_readers = by_place().with_limit(READERS);
            ops.extend([
                // The value may be large, and is nobody's business here.
                bare(path.holder()),
                TxnOp::get(path.meta(), None),
                bare(path.delay()),
                TxnOp::get(path.readers(), Some(some_readers)),
                TxnOp::get(path.permits(), Some(GetOptions::new().with_prefix())),
                TxnOp::get(path.queue(), Some(queue)),
            ]);
            if let Some(request) = self.request {
                ops.extend([
                    TxnOp::get(path.reader(request), None),
                    TxnOp::get(path.waiter(request), None),
                    bare(path.tombstone(request)),
                    TxnOp::get(path.note(), None),
                ]);
            }
        }
        ops.extend(self.replica.map(|replica| bare(keys::replica(replica))));
        ops.extend(self.guards.iter().map(|lease| bare(keys::guard(*lease))));
        ops
    }

    /// Reads the answer. What else the branch did came before the question.
    pub(super) fn read(&self, answer: &Answer) -> Result<Sight, Fault> {
        let before = answer.responses.len().saturating_sub(self.ops().len());
        let mut gets = Gets(answer.responses[before..].iter());
        let mut sight = Sight::default();
        if self.path.is_some() {
            self.read_lock(&mut gets, &mut sight)?;
        }
        if self.replica.is_some() {
            sight.presence = gets.one()?.map(|kv| kv.create_revision());
        }
        for lease in &self.guards {
            if gets.one()?.is_some() {
                sight.scene.guarded.insert(*lease);
            }
        }
        Ok(sight)
    }

    fn read_lock(&self, gets: &mut Gets<'_>, sight: &mut Sight) -> Result<(), Fault> {
        let holder = gets.one()?;
        let meta = gets.one()?.map(read_meta).transpose()?;
        sight.meta_revision = meta.as_ref().map_or(0, |(revision, _)| *revision);
        let tenures = Tenures {
            holder: holder.map(|holder| Hold::of_holder(holder, meta)),
            delayed: gets.one()?.is_some(),
            readers: read_all(gets.next()?, Hold::read)?,
            permits: read_all(gets.next()?, Hold::read)?,
        };
        let queue = gets.next()?;
        sight.queue_length = usize::try_from(queue.count()).unwrap_or_default();
        sight.scene.queue = read_all(queue, Waiting::read)?;
        if let Some(request) = self.request {
            let reader = gets.one()?.map(Hold::read).transpose()?;
            let mut others = tenures.holder.iter().chain(&tenures.permits);
            let other = others.find(|hold| hold.request() == Some(request));
            sight.own_hold = reader.or_else(|| other.cloned());
            sight.own = gets.one()?.map(Waiting::read).transpose()?;
            sight.ended = gets.one()?.is_some();
            sight.note = gets.one()?.map(read_note).transpose()?;
        }
        sight.scene.tenures = tenures;
        Ok(())
    }
}

/// The answers to the reads of a transaction, in their order.
struct Gets<'a>(std::slice::Iter<'a, TxnOpResponse>);

impl<'a> Gets<'a> {
    fn next(&mut self) -> Result<&'a GetResponse, Fault> {
        match self.0.next() {
            Some(TxnOpResponse::Get(get)) => Ok(get),
            _ => Err(Fault::Lost("etcd answered what it was not asked".into())),
        }
    }

    fn one(&mut self) -> Result<Option<&'a KeyValue>, Fault> {
        Ok(self.next()?.kvs().first())
    }
}

/// What is left of the answer to an acquire that passed: the note.
pub(super) fn note_of(response: Option<&TxnOpResponse>) -> Result<Option<Note>, Fault> {
    match response {
        Some(TxnOpResponse::Get(get)) => get.kvs().first().map(read_note).transpose(),
        _ => Err(Fault::Lost("etcd answered what it was not asked".into())),
    }
}

/// All leases that these waiters are to hold with.
pub(super) fn leases_of(queue: &[Waiting]) -> HashSet<LeaseId> {
    queue
        .iter()
        .flat_map(|waiting| waiting.waiter.meta.leases.all())
        .collect()
}

fn read_all<T>(
    get: &GetResponse,
    read: impl Fn(&KeyValue) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    get.kvs().iter().map(read).collect()
}

pub(super) fn read_meta(kv: &KeyValue) -> Result<(i64, Meta), Fault> {
    Ok((kv.mod_revision(), records::decode(kv.value())?))
}

fn read_note(kv: &KeyValue) -> Result<Note, Fault> {
    let text = String::from_utf8_lossy(kv.value()).into_owned();
    Note::try_from(text).map_err(|refused| Fault::Refused(refused.to_string()))
}

/// All of a queue, the first first.
pub(super) fn by_place() -> GetOptions {
    GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Create, SortOrder::Ascend)
}

fn bare(key: String) -> TxnOp {
    TxnOp::get(key, Some(GetOptions::new().with_keys_only()))
}
