//! Steps and states in words. Requests are called A, B, C and D.

use std::fmt::Write as _;

use crate::{
    compare::Verdict,
    event::Event,
    keys::{Keys, PLAIN, Seen},
    lease::{self, Use},
    property::{Property, Violation},
    proposal::{Kind, Proposal, Source},
    scenario::{LOCKS, Mode, Scenario},
    state::State,
};

/// A step in words, with the keys after it where it changes them.
pub(crate) fn step(scenario: &Scenario, before: &State, event: &Event, after: &State) -> String {
    let line = sentence(scenario, event);
    if pictured(scenario, before.keys()) == pictured(scenario, after.keys()) {
        line
    } else {
        format!("{line}  [{}]", pictured(scenario, after.keys()))
    }
}

/// The keys and who is at what.
pub(crate) fn picture(scenario: &Scenario, state: &State) -> String {
    let mut line = pictured(scenario, state.keys());
    for request in 0..scenario.requests.len() {
        let _ = write!(
            line,
            "; {}: client {:?}",
            name(request),
            state.clients[request].stage
        );
        for (replica, handler) in state.handlers[request].iter().enumerate() {
            if handler.stage != crate::handler::Stage::Idle {
                let _ = write!(line, ", handler at replica {replica} {:?}", handler.stage);
            }
        }
    }
    line
}

/// A broken property in words.
pub(crate) fn violation(violation: &Violation) -> String {
    match violation.request {
        Some(request) => format!("{} {}", name(request), violation.what),
        None => violation.what.clone(),
    }
}

/// What an eventual property that stays open means.
pub(crate) fn unsettled(property: Property) -> &'static str {
    match property {
        Property::NoLostWakeUp => "a live waiter is first and fits, and is never granted",
        Property::ReleasesEnd => "a release is never answered",
        Property::RequestsAreAnswered => "a request is never answered",
        Property::NoGhostHold => "a request that is over holds the lock for ever",
        Property::NoGhostEntry => "a request that is over stands in the queue for ever",
        _ => "is broken in the end",
    }
}

fn sentence(scenario: &Scenario, event: &Event) -> String {
    let r = |request: &usize| name(*request);
    match event {
        Event::Delivered { replica } => format!("replica {replica} sees the next event"),
        Event::Applied { proposal, verdict } => {
            let late = if proposal.abandoned { ", late" } else { "" };
            format!(
                "etcd applies{late}: {} - {}",
                act(scenario, proposal),
                outcome(*verdict)
            )
        }
        Event::AppliedTogether {
            batch: [first, second],
        } => format!(
            "etcd applies in one transaction: {} - {}, and {} - {}",
            act(scenario, &first.0),
            outcome(first.1),
            act(scenario, &second.0),
            outcome(second.1)
        ),
        Event::AnswerLost { proposal } => {
            format!(
                "replica {} never gets the answer to: {} (it may be applied yet)",
                proposal.replica,
                act(scenario, proposal)
            )
        }
        Event::Proposed { proposal } => format!(
            "replica {} proposes: {}",
            proposal.replica,
            act(scenario, proposal)
        ),
        Event::Expired { lease, kept } => {
            format!(
                "{} expires{}",
                lease_name(*lease),
                if *kept {
                    " though it is kept alive"
                } else {
                    ""
                }
            )
        }
        Event::DelayOver { lock } => format!("the lock-delay of lock {lock} is over"),
        Event::Forgotten { request } => format!("the tombstone of {} expires", r(request)),
        Event::Crashed { replica } => format!("replica {replica} dies"),
        Event::PlainAsks => "a plain etcd client proposes to create the holder key".to_owned(),
        Event::PlainReleases => "the plain etcd client revokes its lease".to_owned(),
        Event::Forced { lock } => {
            format!("an administrator proposes to end all tenures of lock {lock}")
        }
        Event::Sent { request, replica } => {
            let wish = scenario.requests[*request];
            format!(
                "client {} asks replica {replica} for lock {}: request {} ({})",
                wish.client,
                wish.lock,
                r(request),
                mode(wish.mode)
            )
        }
        Event::Broken { request } => format!("the connection of {} breaks", r(request)),
        Event::Repeated { request, replica } => {
            format!("a proxy sends {} again, to replica {replica}", r(request))
        }
        Event::Died { request } => format!("the client of {} dies", r(request)),
        Event::EndsById { request, replica } => format!(
            "the client of {} ends it by its id, at replica {replica}",
            r(request)
        ),
        Event::Releases {
            request,
            replica,
            again,
        } => {
            format!(
                "the client of {} releases{} at replica {replica}",
                r(request),
                if *again { " once more, late," } else { "" }
            )
        }
        Event::ReadsAgain { request, replica } => format!(
            "replica {replica} does not find the tenure to release for {} and reads again",
            r(request)
        ),
        Event::IsOver { request, replica } => format!(
            "replica {replica} reads that the tenure to release for {} is over already",
            r(request)
        ),
        Event::EndsAndLooks {
            request,
            replica,
            seen,
        } => format!(
            "replica {replica} puts the tombstone of {} and reads that it {}",
            r(request),
            looks(seen)
        ),
        Event::Noticed { request, replica } => format!(
            "replica {replica} notices that the client of {} is gone",
            r(request)
        ),
        Event::Dropped { request, replica } => format!(
            "replica {replica} drops {}, whose client is gone",
            r(request)
        ),
        Event::Looked { request, replica } => {
            format!("replica {replica} reads what there is of {}", r(request))
        }
        Event::WaitOver { request, replica } => format!(
            "the wait of {} is over: replica {replica} proposes to cancel its entry",
            r(request)
        ),
        Event::Revoked { request, replica } => format!(
            "replica {replica} does not know what became of {} and revokes its lease",
            r(request)
        ),
        Event::AnsweredKnown { request, replica } => {
            format!("replica {replica} answers {}: known elsewhere", r(request))
        }
        Event::Confirmed { request, replica } => format!(
            "replica {replica} hears that the lease of {} lives",
            r(request)
        ),
        Event::AnsweredNot { request, replica } => format!(
            "replica {replica} answers {}: not acquired, for its lease is gone",
            r(request)
        ),
        Event::Answered {
            request,
            replica,
            heard,
        } => {
            format!(
                "replica {replica} answers {}: acquired{}",
                r(request),
                if *heard { "" } else { " (nobody hears it)" }
            )
        }
        Event::CleansUp { request, replica } => format!(
            "replica {replica} sees that {} got the lock and its client is gone: it cleans up",
            r(request)
        ),
        Event::ClearedAway {
            request,
            replica,
            unserved,
        } => {
            let why = if *unserved {
                "which nobody serves"
            } else {
                "whose lease is gone"
            };
            format!(
                "replica {replica} clears away the entry of {}, {why}",
                r(request)
            )
        }
    }
}

/// What a proposal would do.
fn act(scenario: &Scenario, proposal: &Proposal) -> String {
    let request = if proposal.request == PLAIN {
        "a plain etcd client".to_owned()
    } else {
        name(proposal.request())
    };
    let granted: Vec<String> = proposal.granted().map(name).collect();
    let granted = granted.join(" and ");
    let clean_up = if proposal.source == Source::CleanUp {
        " (clean-up)"
    } else {
        ""
    };
    match proposal.kind {
        Kind::Nothing => "nothing".to_owned(),
        Kind::Acquire => format!(
            "{request} acquires ({})",
            mode(scenario.mode_of(proposal.request()))
        ),
        Kind::Enqueue => format!("{request} stands in the queue"),
        Kind::Promote => format!("{granted} promoted from the queue"),
        Kind::HandOver => format!("{request} hands over to {granted}{clean_up}"),
        Kind::Release => format!("{request} releases, nobody waits{clean_up}"),
        Kind::Leave => format!("{request} releases, who waits does not fit{clean_up}"),
        Kind::Cancel => format!("the entry of {request} is cancelled"),
        Kind::Close => format!("{request} is buried, for it neither holds nor waits"),
        Kind::ForceRelease => format!("all tenures of lock {} are ended", proposal.lock),
        Kind::PlainAcquire => "a plain etcd client creates the holder key".to_owned(),
    }
}

fn outcome(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passes => "done",
        Verdict::Fails => "a compare fails",
        Verdict::LeaseGone => "refused, the lease is gone",
    }
}

fn looks(seen: &Seen) -> &'static str {
    match seen {
        Seen::Holds { .. } => "holds",
        Seen::Waits { .. } => "waits, and proposes to cancel its entry",
        Seen::Nothing => "neither holds nor waits",
    }
}

fn mode(mode: Mode) -> String {
    match mode {
        Mode::Exclusive => "exclusive".to_owned(),
        Mode::Shared => "shared".to_owned(),
        Mode::Permit { limit, weight } => format!("permit {weight} of {limit}"),
    }
}

fn lease_name(lease: u8) -> String {
    match lease::purpose(lease) {
        Use::Pooled { request, replica } => {
            format!("the lease of {} at replica {replica}", name(request))
        }
        Use::Session { client } => format!("the session of client {client}"),
        Use::Liveness { replica } => format!("the liveness lease of replica {replica}"),
        Use::PlainClient => "the lease of the plain etcd client".to_owned(),
    }
}

/// The keys of all locks that are in use.
fn pictured(scenario: &Scenario, keys: &Keys) -> String {
    let used =
        (0..LOCKS).filter(|&lock| scenario.requests.iter().any(|request| request.lock == lock));
    let locks: Vec<String> = used
        .map(|lock| pictured_lock(scenario, keys, lock))
        .collect();
    locks.join(" | ")
}

fn pictured_lock(scenario: &Scenario, keys: &Keys, lock: usize) -> String {
    let holder = &keys.holders[lock];
    let mut parts = Vec::new();
    if holder.present() {
        parts.push(format!(
            "holder {}",
            if holder.request == PLAIN {
                "a plain etcd client".to_owned()
            } else {
                name(holder.request.into())
            }
        ));
    }
    for (what, mut requests) in [
        ("readers", keys.readers(scenario, lock).collect::<Vec<_>>()),
        (
            "permits",
            keys.permits(scenario, lock)
                .map(|(request, ..)| request)
                .collect(),
        ),
        ("queue", keys.queue(scenario, lock).iter().collect()),
    ] {
        if !requests.is_empty() {
            let names: Vec<String> = requests.drain(..).map(name).collect();
            parts.push(format!("{what} {}", names.join(" ")));
        }
    }
    if keys.delays[lock] && !holder.present() {
        parts.push("delay".to_owned());
    }
    if parts.is_empty() {
        "free".to_owned()
    } else {
        parts.join(", ")
    }
}

fn name(request: usize) -> String {
    char::from(b'A' + request as u8).to_string()
}
