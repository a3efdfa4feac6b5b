//! Taking several locks at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{Inner, Machine, Origin, Shared, StoreError, granted_ttl, views};
use crate::{
    lease::{
        AcquireAllRequest, AllAcquired, AllAcquisition, Anchor, Claim, LeaseId, LockKey, RequestId,
        Session, Until,
    },
    state::{Answer, Command, Several, Table, Wish},
};

/// Locks that may be asked for at once.
const MOST: usize = 30;

/// A running request for several locks. When it is dropped and its caller was not told of them, what
/// it was granted is released.
struct Attempt {
    shared: Arc<Shared>,
    keys: Vec<LockKey>,
    request: RequestId,
    changed: Arc<Notify>,
    /// What it holds and has not told: the session, and whether that was opened for it.
    untold: Option<(LeaseId, bool)>,
}

impl Machine {
    pub(super) async fn acquire_all(
        &self,
        request: AcquireAllRequest,
    ) -> Result<AllAcquisition, StoreError> {
        let deadline = Instant::now() + request.wait;
        let own = match request.anchor {
            Anchor::Own(ttl) => Some(granted_ttl(ttl)?),
            Anchor::Session(_) => None,
        };
        let Some(mut attempt) = Attempt::begin(&self.shared, &request)? else {
            return Ok(AllAcquisition::RequestKnown);
        };
        loop {
            let (outcome, position) = attempt.make(&request, own)?;
            let is_last = Instant::now() >= deadline;
            match outcome {
                AllAcquisition::Acquired(_) => {
                    self.settled(position).await?;
                    return Ok(attempt.confirm());
                }
                AllAcquisition::Held(..) if !is_last => {}
                outcome => return self.told((outcome, position)).await,
            }
            // At the deadline it is tried once more.
            let _ = timeout_at(deadline, attempt.changed.notified()).await;
        }
    }
}

impl Attempt {
    /// Looks on at all of the locks; `None` when the same request already does.
    fn begin(
        shared: &Arc<Shared>,
        request: &AcquireAllRequest,
    ) -> Result<Option<Self>, StoreError> {
        let keys: Vec<_> = request.locks.iter().map(|lock| lock.key.clone()).collect();
        let distinct: HashSet<_> = keys.iter().collect();
        if keys.is_empty() || keys.len() > MOST || distinct.len() < keys.len() {
            let allowed = format!("1 to {MOST} locks at once, each of them once");
            return Err(StoreError::Refused(allowed));
        }
        let mut inner = shared.lock();
        inner.is_open()?;
        let looks_on = |key| {
            let onlookers: Option<&HashMap<RequestId, _>> = inner.onlookers.get(key);
            let acquires = (LockKey::clone(key), request.request_id.clone());
            onlookers.is_some_and(|onlookers| onlookers.contains_key(&request.request_id))
                || inner.handlers.contains_key(&acquires)
        };
        if keys.iter().any(looks_on) {
            return Ok(None);
        }
        let changed = Arc::new(Notify::new());
        for key in &keys {
            let onlookers = inner.onlookers.entry(key.clone()).or_default();
            onlookers.insert(request.request_id.clone(), Arc::clone(&changed));
        }
        Ok(Some(Self {
            shared: Arc::clone(shared),
            keys,
            request: request.request_id.clone(),
            changed,
            untold: None,
        }))
    }

    /// Tries it once.
    fn make(
        &mut self,
        request: &AcquireAllRequest,
        own: Option<Duration>,
    ) -> Result<(AllAcquisition, u64), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        inner.is_open()?;
        shared.pass_time(&mut inner);
        let several = several(&inner, request, own);
        let step = |table: &mut Table, now| table.acquire_all(&several, now);
        let outcome = match shared.apply(&mut inner, Origin::default(), step) {
            Answer::Granted => {
                self.untold = Some((several.session, own.is_some()));
                self.acquired(&inner, several.session)
            }
            Answer::HeldAt(key) => {
                let held = views::held(&inner.table, &key, shared.clock.now());
                AllAcquisition::Held(key, held)
            }
            Answer::Known => AllAcquisition::RequestKnown,
            Answer::SessionGone => AllAcquisition::SessionGone,
            _ => AllAcquisition::RequestEnded,
        };
        Ok((outcome, shared.position()))
    }

    /// The session lives anew from the moment its locks are told, which must all be there still.
    fn confirm(&mut self) -> AllAcquisition {
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        let Some((session, _)) = self.untold else {
            return AllAcquisition::RequestEnded;
        };
        let step = |table: &mut Table, now| table.keep_lease_alive(session, now);
        if shared.apply(&mut inner, Origin::default(), step) == Answer::Gone {
            return AllAcquisition::SessionGone;
        }
        let outcome = self.acquired(&inner, session);
        if matches!(outcome, AllAcquisition::Acquired(_)) {
            self.untold = None;
        }
        outcome
    }

    /// What it holds, if it holds all of them.
    fn acquired(&self, inner: &Inner, session: LeaseId) -> AllAcquisition {
        let tenure = |key: &LockKey| {
            let lock = inner.table.lock(key)?;
            let grant = lock.grant_of(&self.request)?;
            Some((key.clone(), grant.token, lock.note.clone()))
        };
        let tenures: Option<Vec<_>> = self.keys.iter().map(tenure).collect();
        match (tenures, inner.table.session(session)) {
            (Some(tenures), Some(open)) => AllAcquisition::Acquired(AllAcquired {
                session: Session {
                    id: session,
                    ttl: open.ttl,
                    until: Until(self.shared.clock.instant_of(open.until)),
                },
                tenures,
            }),
            (_, None) => AllAcquisition::SessionGone,
            (None, _) => AllAcquisition::RequestEnded,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        for key in &self.keys {
            if let Some(onlookers) = inner.onlookers.get_mut(key) {
                onlookers.remove(&self.request);
                if onlookers.is_empty() {
                    inner.onlookers.remove(key);
                }
            }
        }
        let Some((session, opened)) = self.untold else {
            return;
        };
        for key in &self.keys {
            let end = Command::Release {
                claim: Claim::Request(self.request.clone()),
                note: None,
            };
            let step = |table: &mut Table, now| table.step(key, end, now);
            self.shared.apply(&mut inner, Origin::default(), step);
        }
        if opened {
            let step = |table: &mut Table, now| table.end_session(session, now);
            self.shared.apply(&mut inner, Origin::default(), step);
        }
    }
}

fn several(inner: &Inner, request: &AcquireAllRequest, own: Option<Duration>) -> Several {
    let (session, ttl) = match request.anchor {
        Anchor::Session(session) => {
            let open = inner.table.session(session);
            (session, open.map_or(Duration::ZERO, |open| open.ttl))
        }
        Anchor::Own(asked) => (inner.fresh_lease(), own.unwrap_or(asked)),
    };
    let wish = |mode| Wish {
        request_id: request.request_id.clone(),
        holder: request.holder.clone(),
        metadata: request.metadata.clone(),
        mode,
        lease_id: session,
        ttl,
        in_session: true,
        lock_delay: Duration::ZERO,
        trace_id: request.trace_id.clone(),
    };
    let locks = request.locks.iter();
    Several {
        wishes: locks
            .map(|lock| (lock.key.clone(), Arc::new(wish(lock.mode))))
            .collect(),
        session,
        opens: own.map(|ttl| (request.holder.clone(), ttl)),
    }
}
