//! What one read of a lock shows, all at one revision.

use etcd_client::{GetOptions, KeyValue, SortOrder, SortTarget, TxnOp, TxnOpResponse};

use super::{
    client::Answer,
    fault::Fault,
    keys::{self, LockPath, Spot},
    records::{self, Meta, Waiter},
};
use crate::lease::{LeaseId, RequestId};

/// H as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HolderKey {
    /// Its mod revision: the token of the tenure.
    pub(super) token: i64,
    /// Its lease; zero if a plain etcd client put it without one.
    pub(super) lease: LeaseId,
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
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    pub(super) holder: Option<HolderKey>,
    /// M, and its mod revision; a tenure of tentens-tech/shared-lock has none.
    pub(super) meta: Option<(i64, Meta)>,
    /// The first of the queue, if that was asked.
    pub(super) head: Option<Waiting>,
    pub(super) queue_length: usize,
    /// The entry of the request asked about.
    pub(super) own: Option<Waiting>,
    /// Whether the request asked about has ended.
    pub(super) ended: bool,
    /// Create revision of L, the liveness key of the replica asked about.
    pub(super) presence: Option<i64>,
    /// Whether the lease asked about is alive, by its guard key.
    pub(super) guarded: bool,
}

impl Sight {
    /// Mod revision of M; zero if there is none, as etcd compares it.
    pub(super) fn meta_revision(&self) -> i64 {
        self.meta.as_ref().map_or(0, |(revision, _)| *revision)
    }

    /// M, if it is that of the present holder: H may have been deleted by hand and put by a peer.
    pub(super) fn tenure(&self) -> Option<&Meta> {
        let (revision, meta) = self.meta.as_ref()?;
        (self.holder?.token == *revision).then_some(meta)
    }

    /// The request that holds the lock, if it is one of ours.
    pub(super) fn holding_request(&self) -> Option<&RequestId> {
        self.tenure().map(|meta| &meta.request)
    }
}

/// What to look at. The same question is asked by a look and in the else-branch of a proposal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    path: &'a LockPath,
    request: Option<&'a RequestId>,
    replica: Option<&'a str>,
    head: bool,
    guard: Option<LeaseId>,
}

impl<'a> Question<'a> {
    /// Who holds, and how many wait.
    pub(super) fn about(path: &'a LockPath) -> Self {
        Self {
            path,
            request: None,
            replica: None,
            head: false,
            guard: None,
        }
    }

    /// Also how this request stands.
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
    pub(super) fn head(self) -> Self {
        Self { head: true, ..self }
    }

    /// Also whether this lease is alive.
    pub(super) fn guard(self, lease: LeaseId) -> Self {
        Self {
            guard: Some(lease),
            ..self
        }
    }

    pub(super) fn ops(&self) -> Vec<TxnOp> {
        let mut ops = vec![
            // The value may be large, and is nobody's business here.
            bare(self.path.holder()),
            TxnOp::get(self.path.meta(), None),
            TxnOp::get(
                self.path.queue(),
                Some(if self.head {
                    first_of_prefix()
                } else {
                    count_of_prefix()
                }),
            ),
        ];
        if let Some(request) = self.request {
            ops.push(TxnOp::get(self.path.waiter(request), None));
            ops.push(bare(self.path.tombstone(request)));
        }
        ops.extend(self.replica.map(|replica| bare(keys::replica(replica))));
        ops.extend(self.guard.map(|lease| bare(keys::guard(lease))));
        ops
    }

    /// Reads the answer; `skip` operations of the branch came before the question.
    pub(super) fn read(&self, answer: &Answer, skip: usize) -> Result<Sight, Fault> {
        let mut gets = answer
            .responses
            .iter()
            .skip(skip)
            .map(|response| match response {
                TxnOpResponse::Get(get) => (get.kvs().first(), get.count()),
                _ => (None, 0),
            });
        let mut next = || gets.next().unwrap_or_default();
        let mut sight = Sight {
            holder: next().0.map(HolderKey::read),
            ..Sight::default()
        };
        sight.meta = next().0.map(read_meta).transpose()?;
        let (head, queue_length) = next();
        sight.head = head.map(Waiting::read).transpose()?;
        sight.queue_length = usize::try_from(queue_length).unwrap_or_default();
        if self.request.is_some() {
            sight.own = next().0.map(Waiting::read).transpose()?;
            sight.ended = next().0.is_some();
        }
        if self.replica.is_some() {
            sight.presence = next().0.map(KeyValue::create_revision);
        }
        sight.guarded = self.guard.is_some() && next().0.is_some();
        Ok(sight)
    }
}

impl HolderKey {
    pub(super) fn read(kv: &KeyValue) -> Self {
        Self {
            token: kv.mod_revision(),
            lease: LeaseId(kv.lease()),
        }
    }
}

impl Waiting {
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

fn read_meta(kv: &KeyValue) -> Result<(i64, Meta), Fault> {
    Ok((kv.mod_revision(), records::decode(kv.value())?))
}

/// All of a queue, the first first.
pub(super) fn by_place() -> GetOptions {
    GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Create, SortOrder::Ascend)
}

fn count_of_prefix() -> GetOptions {
    GetOptions::new().with_prefix().with_count_only()
}

fn first_of_prefix() -> GetOptions {
    by_place().with_limit(1)
}

fn bare(key: String) -> TxnOp {
    TxnOp::get(key, Some(GetOptions::new().with_keys_only()))
}
