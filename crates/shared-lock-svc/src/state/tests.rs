use std::{sync::Arc, time::Duration};

use super::{
    Answer, Bounds, Cause, Command, Event, Lock, Moment, Outcome, TOMBSTONE_LIFE, Table, Wish, step,
};
use crate::lease::{Claim, Holder, LeaseId, LockKey, Metadata, Mode, RequestId};

const TTL: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn id(name: &str) -> RequestId {
    RequestId::try_from(name.to_owned()).unwrap()
}

fn acquire(name: &str, wait: Duration) -> Command {
    let wish = Wish {
        request_id: id(name),
        holder: Holder::unnamed(),
        metadata: Metadata::new(),
        mode: Mode::Exclusive,
        lease_id: LeaseId(7),
        ttl: TTL,
        in_session: false,
        lock_delay: Duration::ZERO,
        trace_id: None,
    };
    let wish = Arc::new(wish);
    Command::Acquire { wish, wait }
}

fn end(name: &str) -> Command {
    Command::Release {
        claim: Claim::Request(id(name)),
        note: None,
    }
}

fn apply(lock: &mut Lock, command: Command, now: Moment) -> Outcome {
    let (after, outcome) = step(std::mem::take(lock), command, now);
    *lock = after;
    outcome
}

#[test]
fn time_passes_before_a_command_is_looked_at() {
    let mut lock = Lock::default();
    apply(&mut lock, acquire("a", Duration::ZERO), at(0));
    let early = apply(&mut lock, acquire("b", Duration::ZERO), at(9));
    assert_eq!(early.answer, Answer::Held);
    let due = apply(&mut lock, acquire("b", Duration::ZERO), at(10));
    assert_eq!(due.answer, Answer::Granted);
}

#[test]
fn a_wait_is_over_by_itself() {
    let mut lock = Lock::default();
    apply(&mut lock, acquire("a", Duration::ZERO), at(0));
    apply(&mut lock, acquire("b", Duration::from_secs(3)), at(1));
    apply(&mut lock, acquire("c", LONG), at(2));
    assert_eq!(lock.next_change(), Some(at(4)));
    let outcome = apply(&mut lock, Command::Tick, at(4));
    let [Event::Left(wish, Cause::WaitOver)] = outcome.events.as_slice() else {
        panic!("{outcome:?}")
    };
    assert_eq!(wish.request_id, id("b"));
    let late = apply(&mut lock, acquire("b", LONG), at(5));
    assert_eq!(late.answer, Answer::Ended);
    apply(&mut lock, end("a"), at(5));
    assert!(lock.grant_of(&id("c")).is_some(), "{lock:?}");
}

#[test]
fn a_queue_is_bounded() {
    let mut lock = Lock::default();
    apply(&mut lock, acquire("holder", Duration::ZERO), at(0));
    let bound = Bounds::default().waiters;
    for waiter in 0..bound {
        let outcome = apply(&mut lock, acquire(&waiter.to_string(), LONG), at(1));
        assert_eq!(outcome.answer, Answer::Queued);
    }
    let outcome = apply(&mut lock, acquire("one.too.many", LONG), at(1));
    assert_eq!(outcome.answer, Answer::Held);
    assert_eq!(lock.queue.len(), bound);
}

#[test]
fn an_ended_request_is_remembered_for_its_time_and_no_longer() {
    let mut lock = Lock::default();
    apply(&mut lock, end("a"), at(0));
    let just_before = Moment(TOMBSTONE_LIFE - Duration::from_millis(1));
    let outcome = apply(&mut lock, acquire("a", Duration::ZERO), just_before);
    assert_eq!(outcome.answer, Answer::Ended);
    apply(&mut lock, Command::Tick, Moment(TOMBSTONE_LIFE));
    assert!(lock.is_idle());
}

#[test]
fn what_a_request_has_by_another_lease_is_not_withdrawn() {
    let withdraw = |request, lease| Command::Withdraw {
        request: id(request),
        lease: LeaseId(lease),
    };
    let mut lock = Lock::default();
    apply(&mut lock, acquire("holder", Duration::ZERO), at(0));
    apply(&mut lock, acquire("waiter", LONG), at(0));
    for request in ["holder", "waiter"] {
        let outcome = apply(&mut lock, withdraw(request, 8), at(1));
        assert_eq!(outcome.answer, Answer::Known);
        assert_eq!(outcome.events, []);
    }
    assert_eq!(
        apply(&mut lock, withdraw("late", 8), at(1)).answer,
        Answer::Over
    );
    let late = apply(&mut lock, acquire("late", LONG), at(1));
    assert_eq!(late.answer, Answer::Ended);
    for request in ["waiter", "holder"] {
        let outcome = apply(&mut lock, withdraw(request, 7), at(1));
        assert_eq!(outcome.answer, Answer::Released);
    }
    assert!(lock.grants.is_empty() && lock.queue.is_empty(), "{lock:?}");
}

#[test]
fn so_many_ended_requests_are_remembered_and_no_more() {
    let mut lock = Lock::default();
    lock.bounds.ended = 3;
    for name in ["a", "b", "c", "d"] {
        apply(&mut lock, end(name), at(0));
    }
    let answer = |lock: &mut Lock, name| apply(lock, acquire(name, Duration::ZERO), at(1)).answer;
    assert_eq!(answer(&mut lock, "d"), Answer::Ended);
    assert_eq!(answer(&mut lock, "b"), Answer::Ended);
    assert_eq!(
        answer(&mut lock, "a"),
        Answer::Granted,
        "the oldest goes first"
    );
}

#[test]
fn a_table_forgets_idle_locks_but_not_their_tokens() {
    let mut table = Table::default();
    let (key, other) = (LockKey::parse("a").unwrap(), LockKey::parse("b").unwrap());
    table.step(&key, acquire("a", Duration::ZERO), at(0));
    table.step(&key, end("a"), at(1));
    assert_eq!(
        table.next_alarm(),
        Some(at(10)),
        "alarms are early, never late"
    );
    assert_eq!(table.tick(at(10)).events.len(), 0);
    assert_eq!(table.next_alarm(), Some(at(61)));
    assert_eq!(table.tick(at(61)).events.len(), 1);
    assert!(table.is_empty());
    assert_eq!(table.key_of(LeaseId(7)), None);
    table.step(&key, acquire("c", Duration::ZERO), at(62));
    table.step(&other, acquire("d", Duration::ZERO), at(62));
    let token = |key| table.lock(key).unwrap().grants[0].token.0.get();
    assert_eq!((token(&key), token(&other)), (2, 3));
}

/// Both get the lock at once when its holder lets go, so neither waits for the other's end.
#[test]
fn readers_behind_one_another_are_no_ring() {
    let mut table = Table::default();
    let (read, held) = (LockKey::parse("a").unwrap(), LockKey::parse("b").unwrap());
    for session in [1, 2] {
        table.open_session(LeaseId(session), Holder::unnamed(), LONG, at(0));
    }
    let within = |name: &str, session, mode| {
        let Command::Acquire { wish, .. } = acquire(name, LONG) else {
            unreachable!()
        };
        let wish = Arc::new(Wish {
            mode,
            lease_id: LeaseId(session),
            in_session: true,
            ..(*wish).clone()
        });
        Command::Acquire { wish, wait: LONG }
    };
    table.step(&read, acquire("writer", Duration::ZERO), at(0));
    table.step(&held, within("holds", 2, Mode::Exclusive), at(0));
    table.step(&read, within("reads.first", 1, Mode::Shared), at(1));
    table.step(&read, within("reads.second", 2, Mode::Shared), at(1));
    let outcome = table.step(&held, within("waits", 1, Mode::Exclusive), at(2));
    assert_eq!(outcome.answer, Answer::Queued);
    let ring = table.step(&read, within("writes", 2, Mode::Exclusive), at(2));
    assert!(matches!(ring.answer, Answer::Deadlock(_)), "{ring:?}");
}
