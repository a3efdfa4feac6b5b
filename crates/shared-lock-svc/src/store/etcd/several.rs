//! Several locks or none: one transaction takes them all. Such a request stands in no queue; it
//! tries again whenever there may be room.

mod undo;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::{
    Core,
    acquire::{RETRY, fencing_token},
    anchor::Anchored,
    fault::Fault,
    keys::LockPath,
    records::{self, Leases, Meta},
    replica::Presence,
    requests::Entry,
    room::Scene,
    sight::{Question, Sight, note_of},
    table::{self, Wanted},
};
use crate::lease::{
    AcquireAllRequest, AllAcquired, AllAcquisition, Anchor, LockKey, Mode, Note, Session,
    SessionRequest,
};

/// Locks that one look takes in: each needs up to a dozen of the operations that etcd allows.
const AT_A_TIME: usize = 10;

/// The task of one request.
pub(super) struct Group {
    core: Arc<Core>,
    entry: Arc<Entry<AllAcquisition>>,
    request: AcquireAllRequest,
    paths: Vec<LockPath>,
    deadline: Instant,
    born: Instant,
    /// The session that is to carry them, from the first proposal on.
    anchored: Option<Anchored>,
    /// Whether a proposal may have come about that nobody was told of.
    proposed: bool,
    /// Create revision of an L that a proposal found gone.
    refuted: i64,
}

/// What was granted: one token for all, since one transaction granted them.
struct Won {
    token: i64,
    notes: Vec<Option<Note>>,
}

/// What a request does next.
enum Next {
    Look,
    /// There is room at each lock; the newest permit of each.
    Take(Vec<i64>),
    Wait,
    Confirm(Won),
    End(AllAcquisition),
    /// The last caller is gone.
    Leave,
}

/// Serves a request to its end.
pub(super) async fn serve(
    core: Arc<Core>,
    entry: Arc<Entry<AllAcquisition>>,
    request: AcquireAllRequest,
) {
    let born = Instant::now();
    let mut group = Group {
        paths: request
            .locks
            .iter()
            .map(|lock| LockPath::of(&lock.key))
            .collect(),
        deadline: born
            .checked_add(request.wait)
            .unwrap_or(born + Duration::from_secs(365 * 86_400)),
        born,
        anchored: None,
        proposed: false,
        refuted: 0,
        core,
        entry,
        request,
    };
    let outcome = group.decide().await;
    group.conclude(outcome).await;
}

impl Group {
    /// The end of the request; `None` if nobody is left to tell it to.
    async fn decide(&mut self) -> Result<Option<AllAcquisition>, Fault> {
        let core = Arc::clone(&self.core);
        // From before the first look, so that no change is missed.
        let listeners = core.view.look_on(&self.paths, &self.request.request_id);
        let mut next = self.first();
        loop {
            let came = match next {
                Next::End(acquisition) => return Ok(Some(acquisition)),
                Next::Leave => return Ok(None),
                Next::Confirm(won) => return self.confirm(won).await,
                _ if self.entry.abandoned.is_cancelled() => return Ok(None),
                Next::Look => self.look().await,
                Next::Take(newest_permits) => self.take(&newest_permits).await,
                Next::Wait => {
                    let changed = listeners.first().map(|any| any.woken());
                    let Some(changed) = changed else {
                        return Err(Fault::Refused("no lock is named".into()));
                    };
                    tokio::select! {
                        () = changed => Ok(Next::Look),
                        () = self.entry.abandoned.cancelled() => Ok(Next::Leave),
                        () = core.closing.cancelled() => {
                            Err(Fault::unreachable("this replica is closing"))
                        }
                        () = sleep_until(self.deadline) => Ok(Next::Look),
                    }
                }
            };
            next = match came {
                Err(fault) if fault.is_unknown() && self.proposed => self.read_back(fault).await?,
                came => came?,
            };
        }
    }

    /// What the view suggests: to take locks that have room, else to look.
    fn first(&self) -> Next {
        let (view, request) = (&self.core.view, &self.request);
        let mut newest_permits = Vec::new();
        for (path, lock) in self.paths.iter().zip(&request.locks) {
            match view.scene(path) {
                Some(scene)
                    if scene.queue.is_empty()
                        && fits(&scene, lock.mode)
                        && !view.knows(path, &request.request_id) =>
                {
                    newest_permits.push(scene.tenures.newest_permit());
                }
                _ => return Next::Look,
            }
        }
        Next::Take(newest_permits)
    }

    /// Looks at all locks and decides.
    async fn look(&mut self) -> Result<Next, Fault> {
        let seen = self.look_at_all().await?;
        if let Some(next) = self.remains(&seen) {
            return Ok(next);
        }
        self.proposed = false;
        if let Anchor::Session(lease) = self.request.anchor
            && !seen.iter().all(|seen| seen.scene.guarded.contains(&lease))
        {
            return Ok(Next::End(AllAcquisition::SessionGone));
        }
        let locks = self.request.locks.iter().zip(&seen);
        let mut taken =
            locks.filter(|(lock, seen)| seen.queue_length > 0 || !fits(&seen.scene, lock.mode));
        let Some((lock, in_the_way)) = taken.next() else {
            let newest = seen.iter().map(|seen| seen.scene.tenures.newest_permit());
            return Ok(Next::Take(newest.collect()));
        };
        if Instant::now() < self.deadline {
            return Ok(Next::Wait);
        }
        let held = self.core.held(in_the_way).await;
        Ok(Next::End(AllAcquisition::Held(lock.key.clone(), held)))
    }

    async fn look_at_all(&self) -> Result<Vec<Sight>, Fault> {
        let mut seen = Vec::new();
        for paths in self.paths.chunks(AT_A_TIME) {
            let questions: Vec<_> = paths.iter().map(|path| self.question(path)).collect();
            seen.extend(self.core.look_at_several(&questions).await?);
        }
        Ok(seen)
    }

    fn question<'a>(&'a self, path: &'a LockPath) -> Question<'a> {
        let question = Question::about(path)
            .request(&self.request.request_id)
            .replica(&self.core.replica.id);
        match self.request.anchor {
            Anchor::Own(_) => question,
            Anchor::Session(lease) => question.guards([lease]),
        }
    }

    /// Proposes to take all locks.
    async fn take(&mut self, newest_permits: &[i64]) -> Result<Next, Fault> {
        let Some(anchored) = self.anchor().await? else {
            return Ok(Next::End(AllAcquisition::SessionGone));
        };
        let core = Arc::clone(&self.core);
        let presence = core.presence_for(self.born, self.refuted).await?;
        let metas = self.metas(anchored);
        let wanted: Vec<_> = self
            .paths
            .iter()
            .zip(&metas)
            .zip(newest_permits)
            .map(|((path, meta), newest_permit)| Wanted {
                path,
                meta,
                value: meta.holder.as_str(),
                newest_permit: *newest_permit,
            })
            .collect();
        let id = self.request.request_id.clone();
        let row = table::acquire_all(&id, core.alive(&presence), &wanted);
        self.proposed = true;
        let answer = core.etcd.propose(row).await;
        self.proposed = match &answer {
            Ok(answer) => answer.succeeded,
            Err(fault) => fault.is_unknown(),
        };
        let answer = answer?;
        if !answer.succeeded {
            self.note_presence(&presence).await?;
            return Ok(Next::Look);
        }
        let notes = &answer.responses[answer.responses.len() - self.paths.len()..];
        let notes = notes.iter().map(|note| note_of(Some(note)));
        Ok(Next::Confirm(Won {
            token: answer.revision,
            notes: notes.collect::<Result<_, _>>()?,
        }))
    }

    /// Remembers if the life of this replica that a proposal hung on is over.
    async fn note_presence(&mut self, presence: &Presence) -> Result<(), Fault> {
        let question = Question::default().replica(&self.core.replica.id);
        if self.core.look(&question).await?.presence != Some(presence.since) {
            self.refuted = presence.since;
        }
        Ok(())
    }

    /// The tenures that are asked for.
    fn metas(&self, anchored: Anchored) -> Vec<Meta> {
        let request = &self.request;
        let meta = |(key, mode): (&LockKey, Mode)| Meta {
            key: key.clone(),
            request: request.request_id.clone(),
            replica: self.core.replica.id.clone(),
            mode,
            leases: anchored.leases,
            holder: request.holder.clone(),
            metadata: request.metadata.clone(),
            trace_id: request.trace_id.clone(),
            ttl_ms: records::millis(anchored.ttl),
            nth: 0,
            since_ms: records::now_ms(),
        };
        let locks = request.locks.iter();
        locks.map(|lock| meta((&lock.key, lock.mode))).collect()
    }

    /// The session that is to carry them, opened when it is first needed; `None` if it is gone.
    async fn anchor(&mut self) -> Result<Option<Anchored>, Fault> {
        if self.anchored.is_none() {
            let found = match self.request.anchor {
                Anchor::Own(ttl) => {
                    let holder = self.request.holder.clone();
                    let session = SessionRequest { holder, ttl };
                    let opened = self.core.open_session(session).await?;
                    Some((opened.id, opened.ttl))
                }
                Anchor::Session(lease) => {
                    let session = self.core.session(lease).await?;
                    session.map(|session| (lease, Duration::from_millis(session.ttl_ms)))
                }
            };
            self.anchored = found.map(|(lease, ttl)| Anchored {
                leases: Leases {
                    lease,
                    session: true,
                    delay_lease: None,
                },
                ttl,
            });
        }
        Ok(self.anchored)
    }

    /// Has etcd confirm that the session is alive: nobody is told "acquired" before.
    async fn confirm(&self, won: Won) -> Result<Option<AllAcquisition>, Fault> {
        let lease = self.anchored.ok_or(Fault::LeaseNotFound)?.leases.lease;
        loop {
            if self.entry.abandoned.is_cancelled() {
                return Ok(None);
            }
            let limit = self.core.options.operation_timeout;
            match self.core.keep_lease_once(lease, limit).await {
                Ok(Some(confirmed)) => {
                    let left = confirmed.renewal();
                    let token = fencing_token(won.token)?;
                    let keys = self.request.locks.iter().map(|lock| lock.key.clone());
                    let tenures = keys.zip(won.notes).map(|(key, note)| (key, token, note));
                    return Ok(Some(AllAcquisition::Acquired(AllAcquired {
                        session: Session {
                            id: lease,
                            ttl: left.ttl,
                            until: left.until,
                        },
                        tenures: tenures.collect(),
                    })));
                }
                Ok(None) if matches!(self.request.anchor, Anchor::Own(_)) => {
                    return Err(Fault::LeaseNotFound);
                }
                Ok(None) => return Ok(Some(AllAcquisition::SessionGone)),
                Err(_) if Instant::now() < self.deadline => sleep(RETRY).await,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Tells the callers, and undoes what nobody was told of.
    async fn conclude(&mut self, outcome: Result<Option<AllAcquisition>, Fault>) {
        let core = Arc::clone(&self.core);
        let (name, entry) = (self.request.request_id.clone(), Arc::clone(&self.entry));
        match outcome {
            Ok(Some(acquisition)) => {
                let acquired = matches!(acquisition, AllAcquisition::Acquired(_));
                if !acquired {
                    self.proposed = false;
                    self.undo().await;
                }
                core.groups.leave(&name);
                if !entry.tell(Ok(acquisition)).await && acquired {
                    self.undo().await;
                }
            }
            Ok(None) => {
                self.undo().await;
                core.groups.leave(&name);
                entry.tell(Ok(AllAcquisition::RequestEnded)).await;
            }
            Err(fault) => {
                debug!(error = %fault, "a request for several locks failed: {fault}");
                tokio::join!(entry.tell(Err(fault)), self.undo());
                core.groups.leave(&name);
            }
        }
    }
}

fn fits(scene: &Scene, mode: Mode) -> bool {
    scene.tenures.have_room_for(mode)
}
