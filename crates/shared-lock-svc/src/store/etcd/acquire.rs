//! A request for a lock, from its first look to its answer.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    Core,
    anchor::Anchored,
    client::Answer,
    close::Remains,
    fault::Fault,
    keepalive::Confirmed,
    keys::LockPath,
    proposal::Proposal,
    records::{self, Cause, Meta},
    release::Named,
    replica::{Presence, Seat},
    requests::Entry,
    sight::{Question, Sight, Waiting, note_of},
    table::{self, Alive, Parting},
    view::Listener,
};
use crate::lease::{
    AcquireRequest, Acquisition, Anchor, FencingToken, Held, LeaseId, LockKey, Note, RequestId,
    Tenure,
};

/// How long to wait before something is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// Requests that may wait for one lock; the next one is told that the lock is held.
const MOST_WAITERS: usize = 1000;

/// How often a request takes a fresh lease when its own turns out to be gone.
const FRESH_LEASES: usize = 2;

/// What names a request at this replica.
pub(super) type Name = (LockKey, RequestId);

/// What is asked for, and where.
pub(super) struct Wish {
    pub(super) core: Arc<Core>,
    pub(super) request: AcquireRequest,
    pub(super) path: LockPath,
    /// When the wait is over.
    pub(super) deadline: Instant,
    born: Instant,
}

/// The task of one request.
pub(super) struct Handling {
    pub(super) wish: Arc<Wish>,
    pub(super) entry: Arc<Entry<Acquisition>>,
    /// Whether a proposal of this handler may stand in etcd: what is found there of its request, on
    /// its lease, is its own then.
    pub(super) proposed: bool,
    /// What the tenure hangs on, from the first proposal on.
    pub(super) anchored: Option<Anchored>,
    /// Its place on a liveness lease, while it waits.
    pub(super) seat: Option<Seat>,
    /// What wakes it then.
    pub(super) listener: Option<Listener>,
    /// How often what it hangs on was found gone.
    lost_leases: usize,
    /// Create revision of an L that a proposal found gone.
    refuted: i64,
}

/// A lock that was granted, before its lease is confirmed.
pub(super) struct Won {
    pub(super) token: i64,
    /// What an earlier holder left.
    pub(super) note: Option<Note>,
    /// What the keepalive came to that was sent along with the proposal.
    pub(super) confirmed: Option<Confirmed>,
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

/// What a request does next.
pub(super) enum Next {
    Look,
    Judge(Box<Sight>),
    Take { newest_permit: i64 },
    Queue { meta_revision: i64 },
    Wait(Box<Waiting>),
    Confirm(Won),
    End(Verdict),
}

/// Serves a request to its end.
pub(super) async fn serve(
    core: Arc<Core>,
    entry: Arc<Entry<Acquisition>>,
    request: AcquireRequest,
) {
    let born = Instant::now();
    let wish = Wish {
        path: LockPath::of(&request.key),
        // A wait that no clock can count to the end of is as good as a year.
        deadline: born
            .checked_add(request.wait)
            .unwrap_or(born + Duration::from_secs(365 * 86_400)),
        born,
        core,
        request,
    };
    let mut handling = Handling {
        wish: Arc::new(wish),
        entry,
        proposed: false,
        anchored: None,
        seat: None,
        listener: None,
        lost_leases: 0,
        refuted: 0,
    };
    let verdict = handling.decide().await;
    handling.conclude(verdict).await;
}

impl Wish {
    /// What a request asks about a lock.
    pub(super) fn question(&self) -> Question<'_> {
        let question = Question::about(&self.path)
            .request(&self.request.request_id)
            .replica(&self.core.replica.id);
        match self.request.anchor {
            Anchor::Own(_) => question,
            Anchor::Session(lease) => question.guards([lease]),
        }
    }

    pub(super) async fn look(&self) -> Result<Sight, Fault> {
        self.core.look(&self.question()).await
    }

    /// What the view suggests: to take a lock that has room, else to look.
    fn first(&self) -> Next {
        let (view, request) = (&self.core.view, &self.request);
        match view.scene(&self.path) {
            Some(scene)
                if scene.queue.is_empty()
                    && scene.tenures.have_room_for(request.mode)
                    && !view.knows(&self.path, &request.request_id) =>
            {
                Next::Take {
                    newest_permit: scene.tenures.newest_permit(),
                }
            }
            _ => Next::Look,
        }
    }

    /// The tenure that is asked for.
    pub(super) fn meta(&self, anchored: Anchored) -> Meta {
        let request = &self.request;
        Meta {
            key: request.key.clone(),
            request: request.request_id.clone(),
            replica: self.core.replica.id.clone(),
            mode: request.mode,
            leases: anchored.leases,
            holder: request.holder.clone(),
            metadata: request.metadata.clone(),
            trace_id: request.trace_id.clone(),
            ttl_ms: records::millis(anchored.ttl),
            nth: 0,
            since_ms: records::now_ms(),
        }
    }
}

impl Handling {
    async fn decide(&mut self) -> Result<Verdict, Fault> {
        let mut next = self.wish.first();
        loop {
            let gone = self.entry.abandoned.is_cancelled();
            let came = match next {
                Next::End(verdict) => return Ok(verdict),
                Next::Confirm(won) => return self.confirm(won).await,
                Next::Wait(own) => self.wait(*own).await,
                // Nothing of it is in etcd, and nothing more is proposed.
                Next::Take { .. } | Next::Queue { .. } if gone => {
                    return Ok(Verdict::Abandoned(None));
                }
                Next::Look => self.wish.look().await.map(|seen| Next::Judge(seen.into())),
                Next::Judge(seen) => self.judge(*seen).await,
                Next::Take { newest_permit } => self.take(newest_permit).await,
                Next::Queue { meta_revision } => self.enqueue(meta_revision).await,
            };
            next = match came {
                Ok(next) => next,
                Err(fault) if fault.is_unknown() && self.proposed => self.read_back(fault).await?,
                Err(fault) => return Err(fault),
            };
        }
    }

    /// Decides from a look, in this order: what there is of the request itself, its session, the
    /// lock.
    async fn judge(&mut self, seen: Sight) -> Result<Next, Fault> {
        if let Some(remains) = self.remains(&seen) {
            return Ok(remains.next());
        }
        self.proposed = false;
        let request = &self.wish.request;
        if let Anchor::Session(lease) = request.anchor
            && !seen.scene.guarded.contains(&lease)
        {
            return Ok(Next::End(Verdict::Denied(Acquisition::SessionGone)));
        }
        let tenures = &seen.scene.tenures;
        if seen.queue_length == 0 && tenures.have_room_for(request.mode) {
            return Ok(Next::Take {
                newest_permit: tenures.newest_permit(),
            });
        }
        if Instant::now() >= self.wish.deadline || seen.queue_length >= MOST_WAITERS {
            let held = self.wish.core.held(&seen).await;
            return Ok(Next::End(Verdict::Denied(Acquisition::Held(held))));
        }
        Ok(Next::Queue {
            meta_revision: seen.meta_revision,
        })
    }

    /// Proposes to take the lock.
    async fn take(&mut self, newest_permit: i64) -> Result<Next, Fault> {
        let wish = Arc::clone(&self.wish);
        let Some(anchored) = self.anchor().await? else {
            return Ok(Next::End(Verdict::Denied(Acquisition::SessionGone)));
        };
        let presence = self.presence().await?;
        let meta = wish.meta(anchored);
        let alive = wish.core.alive(&presence);
        let grant = (&meta, wish.request.value.as_str());
        let row = table::acquire(&wish.path, alive, grant, newest_permit);
        let Some((answer, confirmed)) = self.propose_and_keep(row, anchored).await? else {
            return Ok(Next::Look);
        };
        if answer.succeeded {
            return Ok(Next::Confirm(Won {
                token: answer.revision,
                note: note_of(answer.responses.last())?,
                confirmed,
            }));
        }
        let seen = wish.look().await?;
        self.note_presence(&seen, &presence);
        Ok(Next::Judge(seen.into()))
    }

    /// Proposes what may leave something of the request in etcd; `None` if a lease of its own was
    /// gone, and another may do.
    pub(super) async fn propose(&mut self, proposal: Proposal) -> Result<Option<Answer>, Fault> {
        self.proposed = true;
        let answer = self.wish.core.etcd.propose(proposal).await;
        self.proposed = match &answer {
            Ok(answer) => answer.succeeded,
            Err(fault) => fault.is_unknown(),
        };
        match answer {
            Err(Fault::LeaseNotFound) if self.may_begin_afresh() => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// What the tenure hangs on, granted when it is first needed; `None` if its session is gone.
    pub(super) async fn anchor(&mut self) -> Result<Option<Anchored>, Fault> {
        if self.anchored.is_none() {
            self.anchored = self.wish.core.anchor(&self.wish.request).await?;
        }
        Ok(self.anchored)
    }

    /// Gives up leases of which one was found gone, as after a long stop of this process. Returns
    /// whether others may be tried.
    fn may_begin_afresh(&mut self) -> bool {
        self.wish.core.drop_spares();
        self.drop_leases();
        self.lost_leases += 1;
        self.lost_leases <= FRESH_LEASES
    }

    /// The life of this replica that a proposal hangs on.
    pub(super) async fn presence(&self) -> Result<Arc<Presence>, Fault> {
        self.wish
            .core
            .presence_for(self.wish.born, self.refuted)
            .await
    }

    /// Remembers that the life a proposal hung on is over.
    pub(super) fn note_presence(&mut self, seen: &Sight, presence: &Presence) {
        if seen.presence != Some(presence.since) {
            self.refuted = presence.since;
        }
    }

    /// Tells the callers, and undoes what nobody was told of.
    async fn conclude(&mut self, verdict: Result<Verdict, Fault>) {
        let wish = Arc::clone(&self.wish);
        let name = wish.request.name();
        let requests = &wish.core.requests;
        match verdict {
            Ok(Verdict::Granted(tenure)) => {
                let token = tenure.fencing_token.0.get().cast_signed();
                // It is decided: the same id from now on is a repeat, not a caller to be told.
                requests.leave(&name);
                if !self.entry.tell(Ok(Acquisition::Acquired(tenure))).await {
                    self.give_back(token).await;
                }
            }
            Ok(Verdict::Denied(acquisition)) => {
                self.drop_leases();
                requests.leave(&name);
                self.entry.tell(Ok(acquisition)).await;
            }
            Ok(Verdict::Abandoned(token)) => {
                match token {
                    Some(token) => self.give_back(token).await,
                    None => self.drop_leases(),
                }
                // Whoever joined meanwhile was too late.
                requests.leave(&name);
                self.entry.tell(Ok(Acquisition::RequestEnded)).await;
            }
            Err(fault) => {
                debug!(error = %fault, "a request for a lock failed: {fault}");
                let entry = Arc::clone(&self.entry);
                tokio::join!(entry.tell(Err(fault)), self.undo());
                requests.leave(&name);
            }
        }
    }

    /// Releases a lock that nobody was told of.
    pub(super) async fn give_back(&mut self, token: i64) {
        let Some(Anchored { leases, ttl }) = self.anchored else {
            return;
        };
        let wish = &self.wish;
        let lease = leases.lease;
        let parting = Parting {
            trace_id: wish.request.trace_id.as_deref(),
            ..Parting::because(Cause::Abandoned)
        };
        // A lease of its own is not kept alive any more: should etcd stay away for longer, it
        // expires.
        let expired = Instant::now() + ttl;
        while wish
            .core
            .end_tenure(&wish.path, Named { token, lease }, parting)
            .await
            .is_err()
            && (leases.session || Instant::now() < expired)
        {
            sleep(RETRY).await;
        }
        self.drop_leases();
    }

    pub(super) fn drop_leases(&mut self) {
        if let Some(anchored) = self.anchored.take() {
            self.wish.core.let_go(anchored);
        }
    }
}

impl Remains {
    /// What a request does that finds this of itself.
    pub(super) fn next(self) -> Next {
        match self {
            Self::Tenure(won) => Next::Confirm(won),
            Self::Entry(own) => Next::Wait(own),
            Self::Elsewhere => Next::End(Verdict::Denied(Acquisition::RequestKnown)),
            Self::Ended => Next::End(Verdict::Denied(Acquisition::RequestEnded)),
        }
    }
}

impl AcquireRequest {
    pub(super) fn name(&self) -> Name {
        (self.key.clone(), self.request_id.clone())
    }
}

impl Core {
    pub(super) fn alive(&self, presence: &Presence) -> Alive<'_> {
        Alive {
            replica: &self.replica.id,
            since: presence.since,
        }
    }

    /// The present life of this replica, for a request born then.
    ///
    /// One that stalled for long must not go on under a new life: the tombstone that ended it may
    /// have gone by.
    pub(super) async fn presence_for(
        &self,
        born: Instant,
        refuted: i64,
    ) -> Result<Arc<Presence>, Fault> {
        let limit = self.options.operation_timeout;
        let presence = self.replica.presence(refuted, limit).await?;
        if presence.is_younger_than(born) && born.elapsed() > self.options.tombstone_ttl / 2 {
            return Err(Fault::unreachable(
                "this replica was away from etcd for too long",
            ));
        }
        Ok(presence)
    }

    /// What is told of a lock that somebody else has.
    pub(super) async fn held(&self, sight: &Sight) -> Held {
        let hold = sight.scene.tenures.all().next();
        let leased = hold.filter(|hold| hold.lease != LeaseId(0));
        let remaining = match leased {
            Some(hold) => self
                .lease_glance(hold.lease)
                .await
                .map(|(remaining, _)| remaining),
            None => None,
        };
        let meta = hold.and_then(|hold| hold.meta.as_ref());
        Held {
            holder: meta.map(|meta| meta.holder.clone()),
            lease_id: leased.map(|hold| hold.lease),
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
