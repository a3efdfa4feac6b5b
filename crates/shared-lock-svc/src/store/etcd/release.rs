//! The end of a tenure or of a request, and the hand-over to whoever is next.

use std::sync::Arc;

use super::{
    Core,
    fault::Fault,
    keys::LockPath,
    room::Scene,
    sight::{Hold, Question, Sight, leases_of},
    table::{self, Parting},
};
use crate::lease::{LeaseId, RequestId};

/// A release that failed is looked at and proposed again this often. An etcd without space fails it
/// for ever; the caller may ask again.
const MOST_TRIES: usize = 2;

/// Which tenure is meant: by lease and token, since a session may hold a lock a second time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) token: i64,
    pub(super) lease: LeaseId,
}

impl Named {
    pub(super) fn is(self, hold: &Hold) -> bool {
        hold.token == self.token && hold.lease == self.lease
    }
}

impl From<&Hold> for Named {
    fn from(hold: &Hold) -> Self {
        Self {
            token: hold.token,
            lease: hold.lease,
        }
    }
}

/// A tenure, and how its lock stands.
type Known = Option<Box<(Hold, Scene)>>;

/// What came of a proposal to end a tenure.
enum Proposed {
    Done,
    /// Something stood in the way; what was seen of it, if the tenure is still there.
    Failed(Known),
}

impl Core {
    /// Ends a tenure; `false` if it was over.
    ///
    /// It is over when no tenure of the lock has both lease and token: then this came too late, or
    /// an earlier try of it was heard after all.
    pub(super) async fn end_tenure(
        self: &Arc<Self>,
        path: &LockPath,
        named: Named,
        parting: Parting<'_>,
    ) -> Result<bool, Fault> {
        let mut known = self.tenure_in_view(path, named);
        if known.is_none() {
            // The view may be behind: that a tenure is over is said by etcd alone.
            known = self.tenure_now(path, named).await?;
        }
        let (mut tries, mut perhaps) = (0, false);
        while let Some((hold, scene)) = known.map(|known| *known) {
            known = match self.propose_end(path, &hold, scene, parting).await {
                Ok(Proposed::Done) => {
                    self.retire(&hold);
                    return Ok(true);
                }
                Ok(Proposed::Failed(seen)) => seen,
                Err(fault) if fault.deserves_a_look() && tries < MOST_TRIES => {
                    tries += 1;
                    perhaps |= fault.is_unknown();
                    self.tenure_now(path, named).await?
                }
                Err(fault) => return Err(fault),
            };
        }
        Ok(perhaps)
    }

    /// Ends a request, whatever it has got or waits for; `false` if it had nothing.
    pub(super) async fn end_request(
        self: &Arc<Self>,
        path: &LockPath,
        request: &RequestId,
        parting: Parting<'_>,
    ) -> Result<bool, Fault> {
        let question = Question::about(path).request(request);
        let mut ended = false;
        loop {
            let propose = |tombstones| table::end_request(path, request, tombstones, &question);
            let seen = match self.propose_with_tombstones(propose).await {
                Ok(answer) => question.read(&answer)?,
                // What it holds is freed even so. That it comes to nothing later cannot be written.
                Err(fault) if self.etcd.is_full() => {
                    let seen = self.look(&question).await?;
                    match seen.own_hold {
                        Some(hold) => {
                            return self.end_tenure(path, (&hold).into(), parting).await;
                        }
                        None => return Err(fault),
                    }
                }
                Err(fault) => return Err(fault),
            };
            if let Some(hold) = &seen.own_hold {
                ended |= self.end_tenure(path, hold.into(), parting).await?;
            } else if let Some(own) = seen.own {
                // Whether it went or changed meanwhile, the next round sees.
                let cancel = self.etcd.propose(table::sweep(path, &own)).await;
                ended |= match cancel {
                    Ok(answer) => answer.succeeded,
                    Err(fault) if fault.is_unknown() => true,
                    Err(fault) => return Err(fault),
                };
            } else {
                return Ok(ended);
            }
        }
    }

    /// Proposes the end of a tenure, by the row that the scene asks for.
    async fn propose_end(
        self: &Arc<Self>,
        path: &LockPath,
        hold: &Hold,
        mut scene: Scene,
        parting: Parting<'_>,
    ) -> Result<Proposed, Fault> {
        if self.etcd.is_full() {
            return self.propose_to_free(path, hold, parting).await;
        }
        self.evict_dead_heads(path, &mut scene).await?;
        let run = scene.next_run(Some(hold));
        let mut question = Question::about(path).queue();
        if let Some(request) = hold.request() {
            question = question.request(request);
        }
        let tried = run.as_ref().map(|run| leases_of(&run.waiters));
        let tried = tried.unwrap_or_default();
        question = question.guards(tried.iter().copied());
        let propose = |tombstones| {
            let left = (parting, tombstones);
            match &run {
                Some(run) => table::hand_over(path, hold, run, left, &question),
                None if scene.queue.is_empty() => table::release(path, hold, left),
                None => table::leave(path, hold, left),
            }
        };
        let answer = self.propose_with_tombstones(propose).await?;
        if answer.succeeded {
            return Ok(Proposed::Done);
        }
        let seen = match run {
            Some(_) => question.read(&answer)?,
            None => self.look(&question).await?,
        };
        let still = |seen: &Sight| {
            let mut holds = seen.own_hold.iter().chain(seen.scene.tenures.all());
            holds.any(|seen| seen.is(hold))
        };
        if !still(&seen) {
            return Ok(Proposed::Failed(None));
        }
        let scene = self.with_guards(seen.scene, &tried).await?;
        Ok(Proposed::Failed(Some(Box::new((hold.clone(), scene)))))
    }

    /// Proposes the end of a tenure where nothing can be put.
    async fn propose_to_free(
        self: &Arc<Self>,
        path: &LockPath,
        hold: &Hold,
        parting: Parting<'_>,
    ) -> Result<Proposed, Fault> {
        if parting.note.is_some() {
            return Err(Fault::unreachable("etcd has no space left for the note"));
        }
        if self.free(path, std::slice::from_ref(hold)).await?.succeeded {
            return Ok(Proposed::Done);
        }
        let named = Named::from(hold);
        Ok(Proposed::Failed(self.tenure_now(path, named).await?))
    }

    /// The tenure as the view shows it, if that shows whose it is.
    fn tenure_in_view(&self, path: &LockPath, named: Named) -> Known {
        let holds = self
            .view
            .holds(path, |hold| named.is(hold) && hold.meta.is_some());
        let known = holds.into_iter().next().zip(self.view.scene(path));
        known.map(Box::new)
    }

    /// The tenure as it stands now.
    async fn tenure_now(&self, path: &LockPath, named: Named) -> Result<Known, Fault> {
        match self.find_tenure(path, named).await? {
            Some(hold) => Ok(Some(Box::new((hold, self.scene_now(path).await?)))),
            None => Ok(None),
        }
    }

    /// Ends the leases of a tenure that is over: one that is not a session serves one tenure only.
    pub(super) fn retire(self: &Arc<Self>, hold: &Hold) {
        for lease in hold.meta.iter().flat_map(|meta| meta.leases.own()) {
            self.revoke_lease_later(lease);
        }
    }
}
