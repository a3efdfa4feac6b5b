//! Planted bugs: what each of them breaks must be seen, or the simulation proves nothing.

use std::{collections::VecDeque, time::Duration};

use shared_lock_svc::{
    lease::Claim,
    state::{Answer, Command, Ended, Lock, Moment, Outcome, Step, step},
};

/// What is wrong with a world.
#[derive(Clone)]
pub(crate) struct Bugs {
    pub(crate) name: &'static str,
    /// What moves the locks.
    pub(crate) step: Step,
    /// A restart begins to count tokens anew.
    pub(crate) tokens_restart: bool,
    /// A restart remembers no ended requests.
    pub(crate) restart_forgets_ended: bool,
    /// Answers do not wait for the disk.
    pub(crate) answers_before_sync: bool,
    /// The resource takes every write, whatever its token.
    pub(crate) unfenced: bool,
}

/// A world in which nothing is wrong.
pub(crate) const NONE: Bugs = Bugs {
    name: "nothing",
    step,
    tokens_restart: false,
    restart_forgets_ended: false,
    answers_before_sync: false,
    unfenced: false,
};

const fn machine(name: &'static str, step: Step) -> Bugs {
    Bugs { name, step, ..NONE }
}

/// Worlds in which one thing is wrong.
pub(crate) const BUGS: &[Bugs] = &[
    machine("a release does not look at the token", release_skips_token),
    machine("a keepalive does not look at the lease", any_lease_renews),
    machine("ended requests are forgotten at once", forgets_ended),
    machine("the second waiter is served first", second_first),
    machine("leases never run out", never_expires),
    machine("leases run out early", expires_early),
    machine("a hand-over keeps the token", handover_keeps_token),
    machine("a release wakes nobody", release_wakes_nobody),
    machine("who gave up stays in the queue", give_up_stays),
    machine("a held lock is given to whoever asks", gives_what_is_held),
    machine("keepalives are answered, not made", keepalive_does_nothing),
    Bugs {
        name: "tokens restart with the process",
        tokens_restart: true,
        ..NONE
    },
    Bugs {
        name: "ended requests are not durable",
        restart_forgets_ended: true,
        ..NONE
    },
    Bugs {
        name: "answers do not wait for the disk",
        answers_before_sync: true,
        ..NONE
    },
    Bugs {
        name: "the resource has no fence",
        unfenced: true,
        ..NONE
    },
];

fn release_skips_token(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let command = match (command, &lock.grant) {
        (Command::Release(Claim::Tenure { .. }), Some(grant)) => Command::Release(Claim::Tenure {
            lease_id: grant.wish.lease_id,
            fencing_token: grant.token,
        }),
        (command, _) => command,
    };
    step(lock, command, now)
}

fn any_lease_renews(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let command = match (command, &lock.grant) {
        (Command::KeepAlive(_), Some(grant)) => Command::KeepAlive(grant.wish.lease_id),
        (command, _) => command,
    };
    step(lock, command, now)
}

fn forgets_ended(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let (mut lock, outcome) = step(lock, command, now);
    lock.ended = Ended::default();
    (lock, outcome)
}

fn second_first(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    if matches!(command, Command::Release(Claim::Tenure { .. })) && lock.queue.len() > 1 {
        lock.queue.swap(0, 1);
    }
    step(lock, command, now)
}

fn never_expires(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    if let Some(grant) = &mut lock.grant {
        grant.until = now + Duration::from_secs(1);
    }
    step(lock, command, now)
}

fn expires_early(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    if let Some(grant) = &mut lock.grant
        && grant.until.since(now) < grant.wish.ttl / 4
    {
        grant.until = now;
    }
    step(lock, command, now)
}

fn handover_keeps_token(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let before = lock.grant.as_ref().map(|grant| grant.token);
    let (mut lock, outcome) = step(lock, command, now);
    if let (Some(before), Some(grant)) = (before, &mut lock.grant) {
        grant.token = before;
        lock.last_token = before.0.get();
    }
    (lock, outcome)
}

fn release_wakes_nobody(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    if !matches!(command, Command::Release(_)) {
        return step(lock, command, now);
    }
    let queue = std::mem::take(&mut lock.queue);
    let (mut lock, outcome) = step(lock, command, now);
    lock.queue = queue;
    (lock, outcome)
}

fn give_up_stays(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let queue: VecDeque<_> = lock.queue.clone();
    let gives_up = matches!(command, Command::GiveUp(_));
    let (mut lock, outcome) = step(lock, command, now);
    if gives_up && outcome.answer == Answer::Held {
        lock.queue = queue;
        for waiter in &mut lock.queue {
            waiter.until = now + Duration::from_secs(60);
        }
    }
    (lock, outcome)
}

fn gives_what_is_held(mut lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    let asks_at_once = matches!(&command, Command::Acquire { wait, .. } if wait.is_zero());
    if asks_at_once && lock.queue.is_empty() {
        lock.grant = None;
    }
    step(lock, command, now)
}

fn keepalive_does_nothing(lock: Lock, command: Command, now: Moment) -> (Lock, Outcome) {
    if !matches!(command, Command::KeepAlive(_)) {
        return step(lock, command, now);
    }
    let until = lock.grant.as_ref().map(|grant| grant.until);
    let (mut lock, outcome) = step(lock, command, now);
    if let (Some(grant), Some(until)) = (&mut lock.grant, until) {
        grant.until = until;
    }
    (lock, outcome)
}
