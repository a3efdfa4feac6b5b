//! Machines that are wrong in one thing.

use std::{mem, num::NonZeroU32, sync::Arc, time::Duration};

use shared_lock_svc::{
    lease::{Claim, Mode},
    state::{Cause, Command, Ended, Event, Grant, Lock, Moment, Outcome, Wish, step},
};

pub(crate) fn release_skips_token(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let first = lock.grants.first().cloned();
    let command = match (command, first) {
        (
            Command::Release {
                claim: Claim::Tenure { .. },
                note,
            },
            Some(first),
        ) => Command::Release {
            claim: tenure(&first),
            note,
        },
        (command, _) => command,
    };
    step(lock, command, now)
}

pub(crate) fn release_by_lease(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let command = match command {
        Command::Release {
            claim:
                Claim::Tenure {
                    lease_id,
                    fencing_token,
                },
            note,
        } => {
            let mut grants = lock.grants.iter();
            let same = grants.find(|grant| grant.wish.lease_id == lease_id);
            let claim = match same {
                Some(grant) => tenure(grant),
                None => Claim::Tenure {
                    lease_id,
                    fencing_token,
                },
            };
            Command::Release { claim, note }
        }
        command => command,
    };
    step(lock, command, now)
}

pub(crate) fn any_lease_renews(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let command = match (command, lock.grants.last()) {
        (Command::KeepAlive(_), Some(grant)) => Command::KeepAlive(grant.wish.lease_id),
        (command, _) => command,
    };
    step(lock, command, now)
}

pub(crate) fn forgets_ended(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let (mut lock, outcome) = step(lock, command, now);
    lock.ended = Ended::default();
    (lock, outcome)
}

pub(crate) fn second_first(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    if matches!(command, Command::Release { .. }) && lock.queue.len() > 1 {
        lock.queue.swap(0, 1);
    }
    step(lock, command, now)
}

pub(crate) fn never_expires(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    for grant in &mut lock.grants {
        grant.until = grant.until.map(|_| now + Duration::from_secs(1));
    }
    step(lock, command, now)
}

pub(crate) fn expires_early(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    for grant in &mut lock.grants {
        if grant
            .until
            .is_some_and(|until| until.since(now) < grant.wish.ttl / 4)
        {
            grant.until = Some(now);
        }
    }
    step(lock, command, now)
}

pub(crate) fn handover_keeps_token(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let before = lock.grants.first().map(|grant| grant.token);
    let (mut lock, mut outcome) = step(lock, command, now);
    if let (Some(before), [grant]) = (before, lock.grants.as_mut_slice()) {
        grant.token = before;
        lock.last_token = before.0.get();
        for event in &mut outcome.events {
            if let Event::Granted(granted) = event {
                granted.token = before;
            }
        }
    }
    (lock, outcome)
}

pub(crate) fn release_wakes_nobody(
    mut lock: Lock,
    command: Command,
    now: Moment,
) -> (Lock, Outcome) {
    if !matches!(command, Command::Release { .. }) {
        return step(lock, command, now);
    }
    let queue = mem::take(&mut lock.queue);
    let (mut lock, outcome) = step(lock, command, now);
    lock.queue = queue;
    (lock, outcome)
}

pub(crate) fn serves_one(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    if !matches!(command, Command::Release { .. }) || lock.queue.len() < 2 {
        return step(lock, command, now);
    }
    let behind = lock.queue.split_off(1);
    let (mut lock, outcome) = step(lock, command, now);
    lock.queue.extend(behind);
    (lock, outcome)
}

pub(crate) fn waits_for_ever(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    for waiter in &mut lock.queue {
        waiter.until = now + Duration::from_secs(60);
    }
    let command = match command {
        Command::Leave {
            cause: Cause::WaitOver,
            ..
        } => Command::Tick,
        command => command,
    };
    step(lock, command, now)
}

pub(crate) fn gives_what_is_held(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let asks_at_once = matches!(&command, Command::Acquire { wait, .. } if wait.is_zero());
    if asks_at_once && lock.queue.is_empty() {
        lock.grants.clear();
    }
    step(lock, command, now)
}

pub(crate) fn keepalive_does_nothing(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    if !matches!(command, Command::KeepAlive(_)) {
        return step(lock, command, now);
    }
    let until: Vec<_> = lock
        .grants
        .iter()
        .map(|grant| (grant.token, grant.until))
        .collect();
    let (mut lock, outcome) = step(lock, command, now);
    for grant in &mut lock.grants {
        if let Some((_, until)) = until.iter().find(|(token, _)| *token == grant.token) {
            grant.until = *until;
        }
    }
    (lock, outcome)
}

pub(crate) fn reader_passes_writer(
    mut lock: Lock,
    command: Command,
    now: Moment,
) -> (Lock, Outcome) {
    let reads = matches!(&command, Command::Acquire { wish, .. } if wish.mode == Mode::Shared);
    if !reads || lock.grants.is_empty() {
        return step(lock, command, now);
    }
    let queue = mem::take(&mut lock.queue);
    let (mut lock, outcome) = step(lock, command, now);
    let late = mem::replace(&mut lock.queue, queue);
    lock.queue.extend(late);
    (lock, outcome)
}

pub(crate) fn writer_joins_readers(
    mut lock: Lock,
    command: Command,
    now: Moment,
) -> (Lock, Outcome) {
    let writes = matches!(&command, Command::Acquire { wish, .. } if wish.mode == Mode::Exclusive);
    let read = lock
        .grants
        .iter()
        .all(|grant| grant.wish.mode == Mode::Shared);
    if !writes || !read {
        return step(lock, command, now);
    }
    let readers = mem::take(&mut lock.grants);
    let (mut lock, outcome) = step(lock, command, now);
    lock.grants.splice(0..0, readers);
    (lock, outcome)
}

/// Whoever holds is taken to have asked for no limit.
pub(crate) fn own_limit(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let asked: Vec<_> = lock
        .grants
        .iter()
        .map(|grant| (grant.token, Arc::clone(&grant.wish)))
        .collect();
    for grant in &mut lock.grants {
        if let Mode::Permit { weight, .. } = grant.wish.mode {
            let limit = NonZeroU32::MAX;
            grant.wish = Arc::new(Wish {
                mode: Mode::Permit { limit, weight },
                ..(*grant.wish).clone()
            });
        }
    }
    let (mut lock, outcome) = step(lock, command, now);
    for grant in &mut lock.grants {
        if let Some((_, wish)) = asked.iter().find(|(token, _)| *token == grant.token) {
            grant.wish = Arc::clone(wish);
        }
    }
    (lock, outcome)
}

pub(crate) fn skips_the_heavy(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let (mut lock, outcome) = step(lock, command, now);
    let mut queue = lock.queue.iter();
    let fits = queue.position(|waiter| lock.has_room_for(waiter.wish.mode));
    let Some(first) = fits.and_then(|place| lock.queue.remove(place)) else {
        return (lock, outcome);
    };
    lock.queue.push_front(first);
    let (lock, served) = step(lock, Command::Tick, now);
    let events = [outcome.events, served.events].concat();
    (lock, Outcome { events, ..outcome })
}

pub(crate) fn rests_after_release(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let releases = matches!(command, Command::Release { .. });
    let (mut lock, outcome) = step(lock, command, now);
    let released = outcome.events.iter().find_map(|event| match event {
        Event::Ended(grant, Cause::Released) => Some(grant.wish.lock_delay),
        _ => None,
    });
    if releases
        && lock.grants.is_empty()
        && let Some(delay) = released.filter(|it| !it.is_zero())
    {
        lock.rests_until = Some(now + delay);
    }
    (lock, outcome)
}

pub(crate) fn never_rests(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    for grant in &mut lock.grants {
        if !grant.wish.lock_delay.is_zero() {
            grant.wish = Arc::new(Wish {
                lock_delay: Duration::ZERO,
                ..(*grant.wish).clone()
            });
        }
    }
    step(lock, command, now)
}

pub(crate) fn handover_loses_note(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let command = match command {
        Command::Release { claim, .. } if !lock.queue.is_empty() => {
            Command::Release { claim, note: None }
        }
        command => command,
    };
    step(lock, command, now)
}

pub(crate) fn late_note(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let left = match &command {
        Command::Release { note, .. } => note.clone(),
        _ => None,
    };
    let (mut lock, outcome) = step(lock, command, now);
    lock.note = left.filter(|note| !note.as_str().is_empty()).or(lock.note);
    (lock, outcome)
}

pub(crate) fn session_leaves_tenures(
    mut lock: Lock,
    command: Command,
    now: Moment,
) -> (Lock, Outcome) {
    if !matches!(command, Command::EndSession { .. }) {
        return step(lock, command, now);
    }
    let grants = mem::take(&mut lock.grants);
    let queue = mem::take(&mut lock.queue);
    let (mut lock, outcome) = step(lock, command, now);
    (lock.grants, lock.queue) = (grants, queue);
    (lock, outcome)
}

pub(crate) fn force_ends_one(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    if !matches!(command, Command::Force) || lock.grants.len() < 2 {
        return step(lock, command, now);
    }
    let others = lock.grants.split_off(1);
    let queue = mem::take(&mut lock.queue);
    let (mut lock, outcome) = step(lock, command, now);
    (lock.grants, lock.queue) = (others, queue);
    (lock, outcome)
}

pub(crate) fn ring_goes_on(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let command = match command {
        Command::Leave {
            cause: Cause::Deadlock,
            ..
        } => Command::Tick,
        command => command,
    };
    step(lock, command, now)
}

fn tenure(grant: &Grant) -> Claim {
    Claim::Tenure {
        lease_id: grant.wish.lease_id,
        fencing_token: grant.token,
    }
}
