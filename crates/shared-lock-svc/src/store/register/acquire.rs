//! Taking a lock, and waiting for it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Core, Fault,
    handler::{Handler, Handling, Stand},
    sight::Sight,
    slot::{Item, Slot},
};
use crate::{
    lease::{AcquireRequest, Acquisition, Anchor, Held, LeaseId, Note, RequestId, Tenure, Until},
    state::{Answer, Cause, Command, Event, Grant, Lock, Moment, Wish},
    store::{
        StoreError, granted_ttl,
        machine::{feed::Origin, views},
    },
};

/// Looks that may fail before those who wait are told: a second or two.
const FAILED_LOOKS: u32 = 3;

/// Takes the lock, or stands in its queue.
pub(super) async fn acquire(
    core: &Arc<Core>,
    request: AcquireRequest,
) -> Result<Acquisition, StoreError> {
    core.is_open()?;
    let Anchor::Own(ttl) = request.anchor else {
        return Err(StoreError::Unsupported("sessions"));
    };
    let ttl = granted_ttl(ttl)?;
    let deadline = Instant::now() + request.wait;
    let mut handling = begin(core, request, ttl);
    loop {
        match handling.stand() {
            Stand::Asked => handling.changed().await,
            Stand::Waiting if core.closed.is_cancelled() => return Err(super::closed().into()),
            Stand::Waiting => {
                let closed = core.closed.clone();
                tokio::select! {
                    waited = timeout_at(deadline, handling.changed()) => {
                        if waited.is_err() && let Some(over) = give_up(&handling).await? {
                            return Ok(over);
                        }
                    }
                    () = closed.cancelled() => {}
                }
            }
            Stand::Granted(grant, note, sent) => {
                return Ok(confirm(&handling, &grant, note, sent).await?);
            }
            Stand::Refused(acquisition) => return Ok(acquisition),
            Stand::Failed(fault) => return Err(fault.into()),
            Stand::Over => return Ok(Acquisition::RequestEnded),
        }
    }
}

/// Joins the request that is being answered already, or asks for a new one.
fn begin(core: &Arc<Core>, request: AcquireRequest, ttl: Duration) -> Handling {
    let slot = core.slot(&request.key);
    let id = request.request_id.clone();
    let mut inner = slot.inner();
    if let Some(handler) = inner.handlers.get_mut(&id) {
        return handler.join(core, &slot, id);
    }
    let wish = Arc::new(Wish {
        request_id: request.request_id,
        holder: request.holder,
        metadata: request.metadata,
        mode: request.mode,
        lease_id: super::fresh_lease(),
        ttl,
        in_session: false,
        lock_delay: request.lock_delay,
        trace_id: request.trace_id,
    });
    let mut handler = Handler::new(wish.lease_id);
    let handling = handler.join(core, &slot, id.clone());
    inner.handlers.insert(id, handler);
    drop(inner);
    let wait = match request.wait.is_zero() {
        true => Duration::ZERO,
        false => core.patience(),
    };
    core.spawn(attend(Arc::clone(core), Arc::clone(&slot), wish, wait));
    handling
}

/// Asks for the lock, and tells all callers at once what does not show in the lock itself.
async fn attend(core: Arc<Core>, slot: Arc<Slot>, wish: Arc<Wish>, wait: Duration) {
    let acquire = Command::Acquire {
        wish: Arc::clone(&wish),
        wait,
    };
    let stand = match slot.ask(&core, acquire).await {
        Ok(done) => match done.outcome.answer {
            Answer::Granted => return,
            Answer::Queued if is_queued(&done.outcome.events, wish.lease_id) => return,
            Answer::Queued | Answer::Known => Stand::Refused(Acquisition::RequestKnown),
            Answer::Ended => Stand::Refused(Acquisition::RequestEnded),
            _ => Stand::Refused(Acquisition::Held(held(&done.lock, done.at))),
        },
        Err(fault) => Stand::Failed(fault),
    };
    if let Some(handler) = slot.inner().handlers.get(&wish.request_id) {
        handler.end(stand);
    }
}

/// Whether it is this request that was put into the queue, and not one of its name at another replica.
fn is_queued(events: &[Event], lease: LeaseId) -> bool {
    let mut events = events.iter();
    events.any(|event| matches!(event, Event::Queued(wish) if wish.lease_id == lease))
}

/// Nobody is told of a lock whose lease may be half over: it is kept alive first.
async fn confirm(
    handling: &Handling,
    grant: &Grant,
    note: Option<Note>,
    sent: Option<Instant>,
) -> Result<Acquisition, Fault> {
    let lease = grant.wish.lease_id;
    let given = match sent.filter(|sent| sent.elapsed() * 4 < grant.wish.ttl) {
        Some(sent) => sent,
        None => {
            let kept = handling
                .slot
                .ask(&handling.core, Command::KeepAlive(lease))
                .await?;
            if !matches!(kept.outcome.answer, Answer::Renewed(_)) {
                return Ok(Acquisition::RequestEnded);
            }
            kept.sent
        }
    };
    if let Some(handler) = handling.slot.inner().handlers.get_mut(&handling.request) {
        handler.told = true;
    }
    Ok(Acquisition::Acquired(Tenure {
        lease_id: lease,
        fencing_token: grant.token,
        ttl: grant.wish.ttl,
        until: Until(given + grant.wish.ttl),
        note,
    }))
}

/// The wait of one caller is over; `None` when there is something else to tell it.
async fn give_up(handling: &Handling) -> Result<Option<Acquisition>, Fault> {
    let (slot, core) = (&handling.slot, &handling.core);
    let (is_alone, last) = {
        let inner = slot.inner();
        let handler = inner.handlers.get(&handling.request);
        (
            handler.is_none_or(Handler::is_alone),
            Arc::clone(&inner.last),
        )
    };
    if !is_alone {
        return Ok(Some(Acquisition::Held(held(&last, core.clock.now()))));
    }
    let leave = Command::Leave {
        request: handling.request.clone(),
        cause: Cause::WaitOver,
    };
    let done = slot.ask(core, leave).await?;
    Ok(match done.outcome.answer {
        Answer::Granted => None,
        Answer::Held => Some(Acquisition::Held(held(&done.lock, done.at))),
        _ => Some(Acquisition::RequestEnded),
    })
}

/// What somebody is told who does not get the lock.
fn held(lock: &Lock, now: Moment) -> Held {
    views::held_of(lock, end_of, now)
}

/// When a tenure ends, as far as its holder may count on it.
pub(super) fn end_of(grant: &Grant) -> Moment {
    let margin = Sight::with_margin(grant.wish.ttl) - grant.wish.ttl;
    Moment(grant.until.unwrap_or_default().0.saturating_sub(margin))
}

/// Looks at the lock again and again while somebody waits for it here.
pub(super) fn keep_polling(core: &Arc<Core>, slot: &Arc<Slot>) {
    let mut inner = slot.inner();
    if !inner.is_polling && Slot::has_waiters(&inner) {
        inner.is_polling = true;
        core.spawn(poll(Arc::clone(core), Arc::clone(slot)));
    }
}

async fn poll(core: Arc<Core>, slot: Arc<Slot>) {
    let mut failed = 0;
    loop {
        sleep(until_next_look(&core, &slot)).await;
        let Some(stays) = stays(&core, &slot) else {
            return;
        };
        slot.put(&core, stays);
        match slot.ask(&core, Command::Tick).await {
            Ok(_) => failed = 0,
            Err(fault) => {
                failed += 1;
                if failed >= FAILED_LOOKS {
                    let inner = slot.inner();
                    let handlers = inner.handlers.values();
                    handlers.for_each(|handler| handler.end(Stand::Failed(fault.clone())));
                }
            }
        }
    }
}

/// Until the next look is due, or a lease that was seen runs out.
fn until_next_look(core: &Core, slot: &Slot) -> Duration {
    let poll = core.jitter(core.options.poll, 0.8..1.2);
    let now = core.clock.now();
    let grants = slot.inner().last.clone();
    let ends = grants.grants.iter().filter_map(|grant| grant.until);
    let soonest = ends
        .chain(grants.rests_until)
        .map(|end| end.since(now))
        .min();
    let soonest = soonest.map(|soonest| soonest.max(core.options.poll / 10));
    soonest.unwrap_or(poll).min(poll)
}

/// What keeps those in the queue that wait here and are due; `None` when nobody waits any more.
fn stays(core: &Core, slot: &Slot) -> Option<Vec<Item>> {
    let patience = core.patience();
    let mut inner = slot.inner();
    if !Slot::has_waiters(&inner) {
        inner.is_polling = false;
        return None;
    }
    let waiting = inner.handlers.iter_mut();
    let due = waiting.filter(|(_, handler)| {
        matches!(handler.stand(), Stand::Waiting) && handler.beaten.elapsed() > patience / 3
    });
    let stay = |request: &RequestId| Command::Stay {
        request: request.clone(),
        wait: patience,
    };
    let items = due.map(|(request, handler)| {
        handler.beaten = Instant::now();
        let (reply, _) = tokio::sync::oneshot::channel();
        Item {
            command: stay(request),
            origin: Origin::default(),
            is_proof: false,
            reply,
        }
    });
    Some(items.collect())
}
