//! A request for a lock, from its first look to its answer, and the undoing of what must not stay.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    Core,
    fault::Fault,
    keys::LockPath,
    leases::Lease,
    records::{self, Meta},
    replica::Presence,
    requests::Entry,
    sight::{Question, Sight},
    table::{self, Alive},
    wait::Waited,
};
use crate::lease::{AcquireRequest, Acquisition, Anchor, FencingToken, Held, LeaseId, Tenure};

/// How long to wait before undoing is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// With this many dead leases a request gives up.
const MOST_DEATHS: usize = 3;

/// The task of one request.
pub(super) struct Handling {
    pub(super) core: Arc<Core>,
    pub(super) entry: Arc<Entry>,
    pub(super) path: LockPath,
    /// When the wait is over.
    pub(super) deadline: Instant,
    born: Instant,
    /// The tenure lease, from the first proposal on.
    lease: Option<Lease>,
    /// How many tenure leases were dead when they were to be used.
    deaths: usize,
    /// Create revision of an L that a proposal found gone.
    refuted: i64,
}

/// How a request ends, when etcd told all that it needs to know.
pub(super) enum Verdict {
    /// The lock is ours, and its lease alive.
    Granted(Tenure),
    /// It is not, and no proposal of ours can make it so any more.
    Denied(Acquisition),
    /// The last caller is gone; the token of what was granted meanwhile.
    Abandoned(Option<i64>),
}

/// What a look at the lock asks for next.
enum Next {
    End(Verdict),
    Confirm(i64),
    Take,
    Queue { meta_revision: i64 },
}

/// Serves a request to its end.
pub(super) async fn serve(core: Arc<Core>, entry: Arc<Entry>) {
    let request = &entry.request;
    let born = Instant::now();
    let mut handling = Handling {
        path: LockPath::of(&request.key),
        // A wait that no clock can count to the end of is as good as a year.
        deadline: born
            .checked_add(request.wait)
            .unwrap_or(born + Duration::from_secs(365 * 86_400)),
        born,
        lease: None,
        deaths: 0,
        refuted: 0,
        core: Arc::clone(&core),
        entry: Arc::clone(&entry),
    };
    let verdict = handling.decide().await;
    handling.conclude(verdict).await;
}

impl Handling {
    async fn decide(&mut self) -> Result<Verdict, Fault> {
        let mut sight = if self.core.view.looks_free(&self.path) {
            None
        } else {
            Some(self.look().await?)
        };
        loop {
            if self.entry.abandoned.is_cancelled() {
                return Ok(Verdict::Abandoned(None));
            }
            let next = match sight.take() {
                None => Next::Take,
                Some(sight) => self.judge(sight).await,
            };
            sight = match next {
                Next::End(verdict) => return Ok(verdict),
                Next::Confirm(token) => return self.confirm(token).await,
                Next::Take => match self.take().await? {
                    Ok(token) => return self.confirm(token).await,
                    Err(seen) => Some(seen),
                },
                Next::Queue { meta_revision } => match self.wait_in_queue(meta_revision).await? {
                    Waited::End(verdict) => return Ok(verdict),
                    Waited::Granted(token) => return self.confirm(token).await,
                    Waited::Look(seen) => Some(*seen),
                },
            };
        }
    }

    /// What a request asks about a lock.
    pub(super) fn question(&self) -> Question<'_> {
        Question::about(&self.path)
            .request(&self.entry.request.request_id)
            .replica(&self.core.replica.id)
    }

    pub(super) async fn look(&self) -> Result<Sight, Fault> {
        self.core.look(self.question()).await
    }

    /// Whether the lock is ours by this very request: an earlier tenure of its id has another lease.
    pub(super) fn granted(&self, sight: &Sight) -> Option<i64> {
        let ours = self.lease.as_ref().map(|lease| lease.id);
        sight
            .holder
            .filter(|holder| Some(holder.lease) == ours)
            .map(|holder| holder.token)
    }

    async fn judge(&self, sight: Sight) -> Next {
        let request = &self.entry.request;
        if let Some(token) = self.granted(&sight) {
            return Next::Confirm(token);
        }
        if sight.holding_request() == Some(&request.request_id) || sight.own.is_some() {
            return Next::End(Verdict::Denied(Acquisition::RequestKnown));
        }
        if sight.ended {
            return Next::End(Verdict::Denied(Acquisition::RequestEnded));
        }
        if sight.holder.is_none() && sight.queue_length == 0 {
            return Next::Take;
        }
        if Instant::now() >= self.deadline {
            return Next::End(Verdict::Denied(Acquisition::Held(
                self.core.held(&sight).await,
            )));
        }
        Next::Queue {
            meta_revision: sight.meta_revision(),
        }
    }

    /// Proposes to take the lock: its token, or what stood in the way.
    async fn take(&mut self) -> Result<Result<i64, Sight>, Fault> {
        loop {
            match self.take_once().await {
                Err(Fault::LeaseNotFound) if self.bury_lease() => {}
                taken => return taken,
            }
        }
    }

    async fn take_once(&mut self) -> Result<Result<i64, Sight>, Fault> {
        let lease = self.lease().await?;
        let presence = self.presence().await?;
        let request = &self.entry.request;
        let meta = Meta::of(request, &self.core.replica.id, lease.ttl);
        let question = self.question();
        let alive = Alive {
            replica: &self.core.replica.id,
            since: presence.since,
        };
        let txn = table::acquire(&self.path, alive, lease.id, &meta, &request.value, question);
        let answer = self.core.etcd.propose(txn).await?;
        if answer.succeeded {
            return Ok(Ok(answer.revision));
        }
        let seen = question.read(&answer, 0)?;
        self.note_presence(&seen, &presence);
        Ok(Err(seen))
    }

    /// The tenure lease, taken when it is first needed.
    pub(super) async fn lease(&mut self) -> Result<Lease, Fault> {
        match self.lease {
            Some(lease) => Ok(lease),
            None => Ok(*self
                .lease
                .insert(self.core.tenure_lease(own_ttl(&self.entry.request)).await?)),
        }
    }

    /// Gives up a tenure lease that etcd does not know, as after a long stop of this process: then
    /// nothing was put on it. Returns whether another one may be tried.
    pub(super) fn bury_lease(&mut self) -> bool {
        self.core.drop_spares();
        self.lease = None;
        self.deaths += 1;
        self.deaths < MOST_DEATHS
    }

    /// The life of this replica that a proposal hangs on.
    ///
    /// A request that stalled for long must not go on under a new life: the tombstone that ended
    /// it may have gone by.
    pub(super) async fn presence(&self) -> Result<Arc<Presence>, Fault> {
        let presence = self
            .core
            .replica
            .presence(self.refuted, self.core.options.operation_timeout)
            .await?;
        if presence.is_younger_than(self.born)
            && self.born.elapsed() > self.core.options.tombstone_ttl / 2
        {
            return Err(Fault::unreachable(
                "this replica was away from etcd for too long",
            ));
        }
        Ok(presence)
    }

    /// Remembers that the life a proposal hung on is over.
    pub(super) fn note_presence(&mut self, seen: &Sight, presence: &Presence) {
        if seen.presence != Some(presence.since) {
            self.refuted = presence.since;
        }
    }

    /// Has etcd confirm that the tenure lease is alive: nobody is told "acquired" before.
    async fn confirm(&self, token: i64) -> Result<Verdict, Fault> {
        let lease = self.lease.ok_or(Fault::LeaseNotFound)?;
        loop {
            if self.entry.abandoned.is_cancelled() {
                return Ok(Verdict::Abandoned(Some(token)));
            }
            let limit = self.core.options.operation_timeout;
            match self.core.keep_lease_once(lease.id, limit).await {
                Ok(confirmed) => {
                    let left = confirmed.ok_or(Fault::LeaseNotFound)?.renewal();
                    return Ok(Verdict::Granted(Tenure {
                        lease_id: lease.id,
                        fencing_token: fencing_token(token)?,
                        ttl: left.ttl,
                        remaining: left.remaining,
                        note: None,
                    }));
                }
                // Whoever has time to wait also outwaits an election in etcd.
                Err(_) if Instant::now() < self.deadline => sleep(RETRY).await,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Tells the callers, and undoes what nobody was told of.
    async fn conclude(&self, verdict: Result<Verdict, Fault>) {
        match verdict {
            Ok(Verdict::Granted(tenure)) => {
                let token = tenure.fencing_token.0.get().cast_signed();
                // It is decided: the same id from now on is a repeat, not a caller to be told.
                self.core.requests.leave(&self.entry);
                if !self.entry.tell(Ok(Acquisition::Acquired(tenure))).await {
                    self.give_back(token).await;
                }
            }
            Ok(Verdict::Denied(acquisition)) => {
                self.drop_lease();
                self.core.requests.leave(&self.entry);
                self.entry.tell(Ok(acquisition)).await;
            }
            Ok(Verdict::Abandoned(token)) => {
                match token {
                    Some(token) => self.give_back(token).await,
                    None => self.drop_lease(),
                }
                // Whoever joined meanwhile was too late.
                self.core.requests.leave(&self.entry);
                self.entry.tell(Ok(Acquisition::RequestEnded)).await;
            }
            Err(fault) => {
                debug!(error = %fault, "a request for a lock failed: {fault}");
                tokio::join!(self.entry.tell(Err(fault)), self.undo());
                self.core.requests.leave(&self.entry);
            }
        }
    }

    /// Releases a lock that nobody was told of.
    async fn give_back(&self, token: i64) {
        // The lease is not kept alive any more: should etcd stay away for longer, it expires.
        let expired = Instant::now() + self.lease.map(|lease| lease.ttl).unwrap_or_default();
        while self.core.end_tenure(&self.path, token, None).await.is_err()
            && Instant::now() < expired
        {
            sleep(RETRY).await;
        }
        self.drop_lease();
    }

    fn drop_lease(&self) {
        if let Some(lease) = self.lease {
            self.core.revoke_lease_later(lease.id);
        }
    }

    /// Makes sure that no proposal of this request has or will have any effect.
    ///
    /// What it may have put hangs on its lease, or fails without it; only its place in the queue
    /// must be looked for, and a tombstone ends the id for all replicas.
    async fn undo(&self) {
        let Some(lease) = self.lease else { return };
        self.core.revoke_lease_surely(lease.id).await;
        while self
            .core
            .end_request(&self.path, &self.entry.request.request_id)
            .await
            .is_err()
        {
            sleep(RETRY).await;
        }
    }
}

impl Core {
    /// What is told of a lock that somebody else has.
    pub(super) async fn held(&self, sight: &Sight) -> Held {
        let holder = sight.holder.filter(|holder| holder.lease != LeaseId(0));
        let remaining = match holder {
            Some(holder) => self
                .lease_glance(holder.lease)
                .await
                .map(|(remaining, _)| remaining),
            None => None,
        };
        let meta = sight.tenure();
        Held {
            holder: meta.map(|meta| meta.holder.clone()),
            lease_id: holder.map(|holder| holder.lease),
            held_for: meta.map(|meta| records::ago(meta.since_ms)),
            remaining,
            queue_length: sight.queue_length,
        }
    }
}

/// etcd's revisions are positive, and begin with one.
pub(super) fn fencing_token(revision: i64) -> Result<FencingToken, Fault> {
    let token = u64::try_from(revision)
        .ok()
        .and_then(|revision| revision.try_into().ok());
    token
        .map(FencingToken)
        .ok_or_else(|| Fault::Lost("etcd gave no revision".into()))
}

fn own_ttl(request: &AcquireRequest) -> Duration {
    match request.anchor {
        Anchor::Own(ttl) => ttl,
        Anchor::Session(_) => Duration::ZERO,
    }
}
