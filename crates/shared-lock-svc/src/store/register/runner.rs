//! Read, step, compare-and-swap: how the commands for a lock come about.

use std::{collections::HashSet, mem, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Core, Fault, RegisterError, Swap,
    document::{Document, Stepped, fresh},
    slot::{Done, Item, Known, Slot},
};
use crate::{
    state::{Answer, Command, Event, Lock, Outcome},
    store::machine::feed::lock_event,
};

/// Commands in one swap at most.
const BATCH: usize = 64;

/// Swaps that may be lost to others before the callers are told to come back.
const ROUNDS: u32 = 16;

/// Tenures of a lock that its document takes.
const HOLDERS: usize = 128;

/// A swap that was sent.
struct Attempt {
    /// Its name in the document, should it be written.
    write: String,
    document: Document,
    /// Of each command; what a document cannot take is refused alone.
    outcomes: Vec<Result<Outcome, Fault>>,
    lock: Lock,
    sent: Instant,
}

/// Runs commands until there are none.
pub(super) async fn run(core: Arc<Core>, slot: Arc<Slot>) {
    let mut known = slot.known.lock().await;
    loop {
        let items = slot.take(BATCH);
        if items.is_empty() {
            return;
        }
        let commands = items.iter().map(|item| item.command.clone()).collect();
        let is_proof = items.iter().any(|item| item.is_proof);
        match (Batch {
            core: &core,
            slot: &slot,
            commands,
            is_proof,
        })
        .make(&mut known)
        .await
        {
            Ok((attempt, is_written)) => tell(&core, &slot, items, attempt, is_written),
            Err(fault) => {
                // What is known may be old.
                known.document = None;
                for item in items {
                    // Whoever asked may be gone.
                    let _ = item.reply.send(Err(fault.clone()));
                }
            }
        }
    }
}

struct Batch<'a> {
    core: &'a Arc<Core>,
    slot: &'a Arc<Slot>,
    commands: Vec<Command>,
    is_proof: bool,
}

impl Batch<'_> {
    /// The attempt that counts, and whether it changed anything.
    async fn make(&self, known: &mut Known) -> Result<(Attempt, bool), Fault> {
        let deadline = Instant::now() + self.core.options.timeout * 2;
        let mut sent: Vec<Attempt> = Vec::new();
        let mut is_fresh = false;
        let mut round = 0;
        loop {
            if known.document.is_none() {
                self.read(known, !sent.is_empty()).await?;
                is_fresh = true;
                if let Some(written) = self.find(known, &mut sent)? {
                    return Ok((written, true));
                }
            }
            let (attempt, is_change) = self.step(known)?;
            let proves = self.is_proof && !self.core.register.reads_are_current();
            if !is_change && !proves {
                if is_fresh {
                    return Ok((attempt, false));
                }
                known.document = None;
                continue;
            }
            if round == ROUNDS || Instant::now() > deadline {
                return Err(Fault::Unavailable("others were always first".to_owned()));
            }
            if round > 0 {
                sleep(pause(self.core, round)).await;
            }
            round += 1;
            if self.swap(known, &attempt).await? {
                return Ok((attempt, true));
            }
            sent.push(attempt);
        }
    }

    async fn read(&self, known: &mut Known, is_look_back: bool) -> Result<(), Fault> {
        // After a swap without an answer there is less time left.
        let within = match is_look_back {
            true => self.core.options.timeout / 4,
            false => self.core.options.timeout,
        };
        let found = self.core.read(&self.slot.name, within).await?;
        let key = &self.slot.key;
        let document = match found {
            Some(stored) => (Document::parse(key, stored.document)?, Some(stored.version)),
            None => (Document::new(key.clone()), None),
        };
        known.sight.see(&document.0, self.core.clock.now());
        known.document = Some(document);
        Ok(())
    }

    /// One of our own swaps in what was read: it was written, whatever its answer was. What is not in it
    /// and could not be any more is settled too; what may have been pushed out of it is not.
    fn find(&self, known: &Known, sent: &mut Vec<Attempt>) -> Result<Option<Attempt>, Fault> {
        let Some((document, _)) = &known.document else {
            return Ok(None);
        };
        let found = sent
            .iter()
            .position(|attempt| document.holds_write(&attempt.write));
        if let Some(found) = found {
            return Ok(Some(sent.swap_remove(found)));
        }
        match sent
            .iter()
            .any(|attempt| document.forgets(attempt.document.seq))
        {
            true => Err(Fault::Timeout),
            false => Ok(None),
        }
    }

    /// Makes the commands' steps, in their order.
    fn step(&self, known: &Known) -> Result<(Attempt, bool), Fault> {
        let core = self.core;
        let now = core.clock.now();
        let Some((document, _)) = &known.document else {
            return Err(Fault::Timeout);
        };
        let before = document.to_lock(&known.sight, now);
        let (mut lock, mut outcomes) = (before.clone(), Vec::new());
        let (mut leases, mut requests) = (HashSet::new(), HashSet::new());
        for command in &self.commands {
            let is_acquire = matches!(command, Command::Acquire { .. });
            if is_acquire && lock.grants.len() >= HOLDERS {
                let full =
                    format!("{HOLDERS} hold this lock, which is all that its document takes");
                outcomes.push(Err(Fault::Refused(full)));
                continue;
            }
            let (next, outcome) = (core.options.step)(mem::take(&mut lock), command.clone(), now);
            lock = next;
            if let Answer::Renewed(_) = outcome.answer {
                match command {
                    Command::KeepAlive(lease) => drop(leases.insert(*lease)),
                    Command::Stay { request, .. } => drop(requests.insert(request.clone())),
                    _ => {}
                }
            }
            outcomes.push(Ok(outcome));
        }
        let is_change = !leases.is_empty()
            || !requests.is_empty()
            || events_of(&outcomes).any(|event| !matches!(event, Event::Forgotten(_)));
        let stepped = Stepped {
            before,
            after: lock,
            leases,
            requests,
        };
        let write = fresh();
        let document = document.after(&stepped, write.clone(), now);
        let attempt = Attempt {
            write,
            document,
            outcomes,
            lock: stepped.after,
            sent: Instant::now(),
        };
        Ok((attempt, is_change))
    }

    /// Whether it is written, as far as the answer tells; if not, what is known is forgotten.
    async fn swap(&self, known: &mut Known, attempt: &Attempt) -> Result<bool, Fault> {
        let Some((_, version)) = known.document.take() else {
            return Err(Fault::Timeout);
        };
        let value = attempt.document.to_value()?;
        match self
            .core
            .swap(&self.slot.name, version.as_ref(), &value)
            .await
        {
            Ok(Swap::Written(version)) => {
                known.sight.see(&attempt.document, self.core.clock.now());
                known.document = Some((attempt.document.clone(), Some(version)));
                Ok(true)
            }
            Ok(Swap::Mismatch) | Err(RegisterError::Unknown(_)) => Ok(false),
            Err(err) => Err(err.into()),
        }
    }
}

/// Tells everybody what came of a batch.
fn tell(core: &Arc<Core>, slot: &Arc<Slot>, items: Vec<Item>, attempt: Attempt, is_written: bool) {
    let lock = Arc::new(attempt.lock);
    let events: Vec<_> = events_of(&attempt.outcomes).collect();
    slot.show(&lock, &events, is_written.then_some(attempt.sent));
    if is_written && core.events.receiver_count() > 0 {
        for (item, outcome) in items.iter().zip(&attempt.outcomes) {
            let told = outcome.iter().flat_map(|outcome| &outcome.events);
            let told = told.filter_map(|event| {
                lock_event(&slot.key, event, &item.origin, attempt.document.seq)
            });
            for event in told {
                // Nobody may be listening any more.
                let _ = core.events.send(Arc::new(event));
            }
        }
    }
    let at = core.clock.now();
    for (item, outcome) in items.into_iter().zip(attempt.outcomes) {
        let done = outcome.map(|outcome| Done {
            outcome,
            lock: Arc::clone(&lock),
            at,
            sent: attempt.sent,
        });
        // Whoever asked may be gone.
        let _ = item.reply.send(done);
    }
    super::acquire::keep_polling(core, slot);
}

fn events_of(outcomes: &[Result<Outcome, Fault>]) -> impl Iterator<Item = &Event> {
    let made = outcomes.iter().flatten();
    made.flat_map(|outcome| &outcome.events)
}

/// Longer from round to round, and never the same for two.
fn pause(core: &Core, round: u32) -> Duration {
    let most = Duration::from_millis(10) * 2_u32.pow(round.min(5));
    core.jitter(most, 0.2..1.0)
}
