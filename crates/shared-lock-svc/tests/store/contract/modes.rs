//! Readers and writers, permits, and one queue for all of them.

use std::time::Duration;

use shared_lock_svc::lease::{AcquireRequest, Acquisition, Mode};

use super::{
    Store, assert_between, end, gets, holds, key, names, patient, permit, queued, reader, refused,
    release, request, short, takes, until, waits,
};

pub(super) async fn readers_hold_together(store: Store) {
    let mut readers = Vec::new();
    for name in ["a", "b", "c"] {
        readers.push(takes(&store, reader("readers", name)).await);
    }
    let view = store.inspect(&key("readers")).await.unwrap();
    let seen: Vec<_> = view.holders.iter().map(|held| held.fencing_token).collect();
    let told: Vec<_> = readers.iter().map(|tenure| tenure.fencing_token).collect();
    assert_eq!(seen, told, "in the order of their grants");
    assert!(told.is_sorted() && told[0] < told[2], "{told:?}");
    assert!(view.holders.iter().all(|held| held.mode == Mode::Shared));
    for tenure in &readers {
        let kept = store.keep_alive(&key("readers"), tenure.lease_id).await;
        assert_eq!(kept.unwrap().unwrap().ttl, tenure.ttl);
    }
    for tenure in &readers {
        assert!(release(&store, "readers", tenure).await);
        assert!(!release(&store, "readers", tenure).await);
        let kept = store.keep_alive(&key("readers"), tenure.lease_id).await;
        assert_eq!(kept.unwrap(), None);
    }
    holds(&store, "readers", "writer").await;
}

pub(super) async fn a_writer_waits_for_the_last_reader(store: Store) {
    let first = takes(&store, reader("last-reader", "a")).await;
    let last = takes(&store, reader("last-reader", "b")).await;
    let held = refused(&store, request("last-reader", "impatient")).await;
    assert_eq!(held.holder.unwrap().as_str(), "a");
    let writer = waits(&store, "last-reader", "writer", super::LONG).await;
    assert!(release(&store, "last-reader", &first).await);
    let (holders, waiters) = names(&store, "last-reader").await;
    assert_eq!(
        (holders, waiters),
        (vec!["b".into()], vec!["writer".into()])
    );
    assert!(release(&store, "last-reader", &last).await);
    let writer = gets(writer).await;
    assert!(writer.fencing_token > last.fencing_token);
}

pub(super) async fn a_reader_does_not_pass_a_writer_that_waits(store: Store) {
    let first = takes(&store, reader("no-passing", "first")).await;
    let writer = waits(&store, "no-passing", "writer", super::LONG).await;
    let held = refused(&store, reader("no-passing", "impatient")).await;
    assert_eq!(held.queue_length, 1);
    let second = queued(&store, patient(reader("no-passing", "second"))).await;
    assert!(release(&store, "no-passing", &first).await);
    let writer = gets(writer).await;
    let (holders, waiters) = names(&store, "no-passing").await;
    assert_eq!(
        (holders, waiters),
        (vec!["writer".into()], vec!["second".into()])
    );
    assert!(release(&store, "no-passing", &writer).await);
    assert!(gets(second).await.fencing_token > writer.fencing_token);
}

pub(super) async fn readers_at_the_head_are_granted_together(store: Store) {
    let first = holds(&store, "run", "first").await;
    let mut run = Vec::new();
    for name in ["a", "b", "c"] {
        run.push(queued(&store, patient(reader("run", name))).await);
    }
    let writer = waits(&store, "run", "writer", super::LONG).await;
    let behind = queued(&store, patient(reader("run", "behind"))).await;
    assert!(release(&store, "run", &first).await);
    let mut readers = Vec::new();
    for waiter in run {
        readers.push(gets(waiter).await);
    }
    let (holders, waiters) = names(&store, "run").await;
    assert_eq!(holders, ["a", "b", "c"]);
    assert_eq!(waiters, ["writer", "behind"]);
    for tenure in &readers {
        assert!(tenure.fencing_token > first.fencing_token);
        assert!(release(&store, "run", tenure).await);
    }
    let writer = gets(writer).await;
    assert!(release(&store, "run", &writer).await);
    gets(behind).await;
}

pub(super) async fn a_writer_that_gives_up_lets_the_readers_behind_it_in(store: Store) {
    let first = takes(&store, reader("gives-up", "first")).await;
    let writer = waits(&store, "gives-up", "writer", Duration::from_secs(4)).await;
    let behind = queued(&store, patient(reader("gives-up", "behind"))).await;
    let outcome = writer.await.unwrap().unwrap();
    assert!(matches!(outcome, Acquisition::Held(_)), "{outcome:?}");
    let behind = gets(behind).await;
    let leaver = waits(&store, "gives-up", "leaver", super::LONG).await;
    let third = queued(&store, patient(reader("gives-up", "third"))).await;
    leaver.abort();
    let third = gets(third).await;
    for tenure in [first, behind, third] {
        assert!(release(&store, "gives-up", &tenure).await);
    }
}

pub(super) async fn a_reader_whose_lease_ran_out_makes_room_for_the_writer(store: Store) {
    let gone = takes(&store, short(reader("gone-reader", "gone"))).await;
    let stays = takes(&store, reader("gone-reader", "stays")).await;
    let writer = waits(&store, "gone-reader", "writer", super::LONG).await;
    assert!(release(&store, "gone-reader", &stays).await);
    let took = until(&store, "gone-reader", "the writer has it", |view| {
        view.waiters.is_empty()
    })
    .await;
    assert_between(took, Duration::from_secs(1), Duration::from_millis(4500));
    let writer = gets(writer).await;
    assert!(writer.fencing_token > gone.fencing_token);
    assert!(!release(&store, "gone-reader", &gone).await);
}

pub(super) async fn a_request_id_ends_one_of_several(store: Store) {
    let asked = reader("one-of-several", "a");
    takes(&store, asked.clone()).await;
    takes(&store, reader("one-of-several", "b")).await;
    let again = store.acquire(asked.clone()).await.unwrap();
    assert_eq!(again, Acquisition::RequestKnown);
    assert!(end(&store, "one-of-several", &asked.request_id).await);
    assert!(!end(&store, "one-of-several", &asked.request_id).await);
    assert_eq!(names(&store, "one-of-several").await.0, ["b"]);
    let again = store.acquire(asked).await.unwrap();
    assert_eq!(again, Acquisition::RequestEnded);
}

pub(super) async fn permits_fit_up_to_the_limit(store: Store) {
    let first = takes(&store, permit("permits", "first", 3, 1)).await;
    takes(&store, permit("permits", "second", 3, 2)).await;
    refused(&store, permit("permits", "third", 3, 1)).await;
    assert!(release(&store, "permits", &first).await);
    refused(&store, permit("permits", "too heavy", 3, 2)).await;
    takes(&store, permit("permits", "fits", 3, 1)).await;
    let view = store.inspect(&key("permits")).await.unwrap();
    let modes: Vec<_> = view.holders.iter().map(|held| held.mode).collect();
    let asked = [
        permit("any", "any", 3, 2).mode,
        permit("any", "any", 3, 1).mode,
    ];
    assert_eq!(modes, asked);
}

pub(super) async fn the_least_limit_of_all_counts(store: Store) {
    takes(&store, permit("least", "wide", 5, 2)).await;
    refused(&store, permit("least", "narrow", 2, 1)).await;
    let narrow = takes(&store, permit("least", "narrow", 3, 1)).await;
    refused(&store, permit("least", "wide too", 5, 1)).await;
    assert!(release(&store, "least", &narrow).await);
    takes(&store, permit("least", "wide too", 5, 3)).await;
}

pub(super) async fn a_heavy_permit_at_the_head_is_not_passed_by_a_light_one(store: Store) {
    let first = takes(&store, permit("heavy", "first", 3, 2)).await;
    let heavy = queued(&store, patient(permit("heavy", "heavy", 3, 2))).await;
    refused(&store, permit("heavy", "impatient", 3, 1)).await;
    let light = queued(&store, patient(permit("heavy", "light", 3, 1))).await;
    assert_eq!(names(&store, "heavy").await.1, ["heavy", "light"]);
    assert!(release(&store, "heavy", &first).await);
    gets(heavy).await;
    gets(light).await;
    assert_eq!(names(&store, "heavy").await.0, ["heavy", "light"]);
}

pub(super) async fn permits_readers_and_writers_exclude_each_other(store: Store) {
    let modes: [fn(&str) -> AcquireRequest; 3] = [
        |name| request("kinds", name),
        |name| reader("kinds", name),
        |name| permit("kinds", name, 5, 1),
    ];
    for (at, has) in modes.iter().enumerate() {
        let tenure = takes(&store, has("holder")).await;
        for (other, wants) in modes.iter().enumerate() {
            if other != at {
                refused(&store, wants("other")).await;
            }
        }
        assert!(release(&store, "kinds", &tenure).await);
    }
}

pub(super) async fn one_queue_serves_all_modes_in_the_order_of_arrival(store: Store) {
    let mut tenure = holds(&store, "mixed", "first").await;
    let wishes = [
        permit("mixed", "permit", 2, 2),
        reader("mixed", "reader"),
        request("mixed", "writer"),
        reader("mixed", "reader again"),
        permit("mixed", "permit again", 2, 1),
    ];
    let mut waiters = Vec::new();
    for wish in wishes {
        waiters.push(queued(&store, patient(wish)).await);
    }
    for waiter in waiters {
        assert_eq!(names(&store, "mixed").await.0.len(), 1);
        assert!(release(&store, "mixed", &tenure).await);
        let next = gets(waiter).await;
        assert!(next.fencing_token > tenure.fencing_token);
        tenure = next;
    }
}
