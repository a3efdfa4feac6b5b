//! Taking one lock, and waiting for it.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{
    Machine, Origin, StoreError, Told, granted_ttl,
    handler::{Handler, Handling, Look},
    views,
};
use crate::{
    lease::{AcquireRequest, Acquisition, Anchor, Held, Tenure, Until},
    state::{Answer, Cause, Command, Table, Wish},
};

/// How an acquire begins: with an answer, or with a handler that waits for one.
enum Begun {
    Done(Told<Acquisition>),
    Handled(Handling),
}

impl Machine {
    pub(super) async fn acquire(&self, request: AcquireRequest) -> Result<Acquisition, StoreError> {
        let deadline = Instant::now() + request.wait;
        let mut handling = match self.begin(request)? {
            Begun::Done(told) => return self.told(told).await,
            Begun::Handled(handling) => handling,
        };
        loop {
            let (look, position) = handling.look()?;
            match look {
                Look::Waiting => {}
                Look::Granted => {
                    self.settled(position).await?;
                    return Ok(self.confirm(&handling));
                }
                Look::WaitOver => {
                    let held = Acquisition::Held(self.held(&handling));
                    return self.told((held, position)).await;
                }
                Look::SessionGone => return self.told((Acquisition::SessionGone, position)).await,
                Look::Ended => return self.told((Acquisition::RequestEnded, position)).await,
            }
            if timeout_at(deadline, handling.woken()).await.is_err()
                && let Some((held, position)) = self.give_up(&handling)
            {
                return self.told((Acquisition::Held(held), position)).await;
            }
        }
    }

    fn begin(&self, request: AcquireRequest) -> Result<Begun, StoreError> {
        let own = match request.anchor {
            Anchor::Own(ttl) => Some(granted_ttl(ttl)?),
            Anchor::Session(_) => None,
        };
        let shared = &self.shared;
        let mut inner = shared.lock();
        inner.is_open()?;
        let id = (request.key, request.request_id);
        if let Some(handler) = inner.handlers.get_mut(&id) {
            return Ok(Begun::Handled(handler.join(shared, id)));
        }
        shared.pass_time(&mut inner);
        let (lease_id, ttl) = match (request.anchor, own) {
            (Anchor::Session(session), _) => match inner.table.session(session) {
                Some(open) => (session, open.ttl),
                None => return Ok(Begun::Done((Acquisition::SessionGone, shared.position()))),
            },
            (Anchor::Own(asked), own) => (inner.fresh_lease(), own.unwrap_or(asked)),
        };
        let wish = Arc::new(Wish {
            request_id: id.1.clone(),
            holder: request.holder,
            metadata: request.metadata,
            mode: request.mode,
            lease_id,
            ttl,
            in_session: own.is_none(),
            lock_delay: request.lock_delay,
            trace_id: request.trace_id,
        });
        let wait = request.wait;
        let acquire = Command::Acquire { wish, wait };
        let step = |table: &mut Table, now| table.step(&id.0, acquire, now);
        let acquisition = match shared.apply(&mut inner, Origin::default(), step) {
            Answer::Granted | Answer::Queued => {
                let (handler, handling) = Handler::new(shared, id.clone());
                inner.handlers.insert(id, handler);
                return Ok(Begun::Handled(handling));
            }
            Answer::Known => Acquisition::RequestKnown,
            Answer::Ended => Acquisition::RequestEnded,
            Answer::SessionGone => Acquisition::SessionGone,
            Answer::Deadlock(ring) => Acquisition::Deadlock(ring),
            _ => Acquisition::Held(views::held(&inner.table, &id.0, shared.clock.now())),
        };
        Ok(Begun::Done((acquisition, shared.position())))
    }

    /// The lease lives anew from the moment its holder is told of it. That nobody is told of a
    /// tenure that is over holds also when the journal took longer than the lease.
    fn confirm(&self, handling: &Handling) -> Acquisition {
        let (key, request) = handling.id();
        let asked = Instant::now();
        let mut inner = self.shared.lock();
        self.shared.pass_time(&mut inner);
        match handling.look_in(&inner) {
            Look::Granted => {}
            Look::SessionGone => return Acquisition::SessionGone,
            _ => return Acquisition::RequestEnded,
        }
        let lock = inner.table.lock(key);
        let note = lock.and_then(|lock| lock.note.clone());
        let grant = lock.and_then(|lock| lock.grant_of(request)).cloned();
        let Some(grant) = grant else {
            return Acquisition::RequestEnded;
        };
        let lease = grant.wish.lease_id;
        let step = |table: &mut Table, now| table.keep_lease_alive(lease, now);
        self.shared.apply(&mut inner, Origin::default(), step);
        if let Some(handler) = inner.handlers.get_mut(handling.id()) {
            handler.told = true;
        }
        Acquisition::Acquired(Tenure {
            lease_id: lease,
            fencing_token: grant.token,
            ttl: grant.wish.ttl,
            until: Until(asked + grant.wish.ttl),
            note,
        })
    }

    /// The wait of one caller is over. `None` when there is something else to tell it.
    fn give_up(&self, handling: &Handling) -> Option<Told<Held>> {
        let (key, request) = handling.id();
        let mut inner = self.shared.lock();
        let handler = inner.handlers.get(handling.id());
        if handler.is_none_or(Handler::is_alone) {
            let leave = Command::Leave {
                request: request.clone(),
                cause: Cause::WaitOver,
            };
            let step = |table: &mut Table, now| table.step(key, leave, now);
            if self.shared.apply(&mut inner, Origin::default(), step) != Answer::Held {
                return None;
            }
        } else if handling.look_in(&inner) != Look::Waiting {
            return None;
        }
        let held = views::held(&inner.table, key, self.shared.clock.now());
        Some((held, self.shared.position()))
    }

    fn held(&self, handling: &Handling) -> Held {
        let inner = self.shared.lock();
        views::held(&inner.table, &handling.id().0, self.shared.clock.now())
    }
}
