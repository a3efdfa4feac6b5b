//! Planted bugs: what each of them breaks must be seen, or the simulation proves nothing.

pub(crate) mod machine;

use std::{sync::Arc, time::Duration};

use shared_lock_svc::state::{Answer, Command, Moment, Moved, Saved, Several, Step, Table, step};

/// What is wrong with a world.
#[derive(Clone)]
pub(crate) struct Bugs {
    pub(crate) name: &'static str,
    /// What moves the locks.
    pub(crate) step: Step,
    /// What a restart makes of what it finds.
    pub(crate) restart: fn(&mut Saved),
    /// Answers do not wait for the disk.
    pub(crate) answers_before_sync: bool,
    /// Of several locks, those are taken that are free.
    pub(crate) all_means_some: bool,
    /// A request for several locks does not hear when one of them changes.
    pub(crate) never_looks_again: bool,
    /// The resource takes every write, whatever its token.
    pub(crate) unfenced: bool,
}

/// A world in which nothing is wrong.
pub(crate) const NONE: Bugs = Bugs {
    name: "nothing",
    step,
    restart: |_| {},
    answers_before_sync: false,
    all_means_some: false,
    never_looks_again: false,
    unfenced: false,
};

const fn machine(name: &'static str, step: Step) -> Bugs {
    Bugs { name, step, ..NONE }
}

const fn restart(name: &'static str, restart: fn(&mut Saved)) -> Bugs {
    Bugs {
        name,
        restart,
        ..NONE
    }
}

/// Worlds in which one thing is wrong.
pub(crate) const BUGS: &[Bugs] = &[
    machine(
        "a release does not look at the token",
        machine::release_skips_token,
    ),
    machine(
        "a release looks at the lease alone",
        machine::release_by_lease,
    ),
    machine(
        "a keepalive does not look at the lease",
        machine::any_lease_renews,
    ),
    machine(
        "ended requests are forgotten at once",
        machine::forgets_ended,
    ),
    machine("the second waiter is served first", machine::second_first),
    machine("leases never run out", machine::never_expires),
    machine("leases run out early", machine::expires_early),
    machine("a hand-over keeps the token", machine::handover_keeps_token),
    machine("a release wakes nobody", machine::release_wakes_nobody),
    machine("a hand-over serves one reader alone", machine::serves_one),
    machine("waits are never over", machine::waits_for_ever),
    machine(
        "a held lock is given to whoever asks",
        machine::gives_what_is_held,
    ),
    machine(
        "keepalives are answered, not made",
        machine::keepalive_does_nothing,
    ),
    machine(
        "a reader passes a writer that waits",
        machine::reader_passes_writer,
    ),
    machine("a writer joins readers", machine::writer_joins_readers),
    machine("each permit counts its own limit alone", machine::own_limit),
    machine("who does not fit is skipped", machine::skips_the_heavy),
    machine("a lock rests after a release", machine::rests_after_release),
    machine("a lock does not rest after an expiry", machine::never_rests),
    machine(
        "a note is lost at a hand-over",
        machine::handover_loses_note,
    ),
    machine(
        "a note is left by whoever comes too late",
        machine::late_note,
    ),
    machine(
        "a session that is over keeps its tenures",
        machine::session_leaves_tenures,
    ),
    machine("force ends the first holder alone", machine::force_ends_one),
    machine(
        "whoever waits in a ring goes on waiting",
        machine::ring_goes_on,
    ),
    restart("tokens restart with the process", |saved| {
        saved.last_token = 0
    }),
    restart("ended requests are not durable", |saved| {
        saved.ended.clear()
    }),
    restart("notes are not durable", |saved| saved.notes.clear()),
    restart("delays are not durable", |saved| saved.resting.clear()),
    restart("a restart ends sessions", |saved| {
        saved.sessions.clear();
        saved.grants.retain(|(_, grant)| !grant.wish.in_session);
    }),
    Bugs {
        name: "answers do not wait for the disk",
        answers_before_sync: true,
        ..NONE
    },
    Bugs {
        name: "all locks at once means some of them",
        all_means_some: true,
        ..NONE
    },
    Bugs {
        name: "several locks are not looked at again",
        never_looks_again: true,
        ..NONE
    },
    Bugs {
        name: "the resource has no fence",
        unfenced: true,
        ..NONE
    },
];

impl Bugs {
    /// Takes one lock after the other, up to the first that is held.
    pub(crate) fn take_some(&self, table: &mut Table, several: &Several, now: Moment) -> Moved {
        let mut all = table.tick(now);
        if let Some((holder, ttl)) = several.opens.clone() {
            let opened = table.open_session(several.session, holder, ttl, now);
            all.changes.extend(opened.changes);
        }
        all.answer = Answer::Granted;
        for (key, wish) in &several.wishes {
            let acquire = Command::Acquire {
                wish: Arc::clone(wish),
                wait: Duration::ZERO,
            };
            let moved = table.step(key, acquire, now);
            all.events.extend(moved.events);
            all.changes.extend(moved.changes);
            if moved.answer != Answer::Granted {
                all.answer = Answer::HeldAt(key.clone());
                break;
            }
        }
        all
    }
}
