//! A word from one holder to the next.

use std::time::Duration;

use shared_lock_svc::{
    lease::{AcquireRequest, Claim},
    store::Release,
};

use super::{
    Store, gets, holds, key, leaves, note, patient, queued, reader, release, release_of, request,
    short, takes, until, waits,
};

pub(super) async fn a_note_is_given_to_every_holder_until_it_is_written_over(store: Store) {
    let first = holds(&store, "note", "first").await;
    assert_eq!(first.note, None);
    assert!(leaves(&store, "note", &first, "ärger: 42").await);
    let second = holds(&store, "note", "second").await;
    assert_eq!(second.note, Some(note("ärger: 42")));
    assert!(release(&store, "note", &second).await);
    let third = holds(&store, "note", "third").await;
    assert_eq!(third.note, Some(note("ärger: 42")));
    assert!(leaves(&store, "note", &third, "43").await);
    let fourth = holds(&store, "note", "fourth").await;
    assert_eq!(fourth.note, Some(note("43")));
    assert!(leaves(&store, "note", &fourth, "").await);
    assert_eq!(holds(&store, "note", "fifth").await.note, None);
    assert_eq!(holds(&store, "other note", "a").await.note, None);
}

pub(super) async fn a_note_is_handed_over_with_the_lock(store: Store) {
    let first = holds(&store, "note-handed", "first").await;
    let second = waits(&store, "note-handed", "second", super::LONG).await;
    let readers = [
        queued(&store, patient(reader("note-handed", "a"))).await,
        queued(&store, patient(reader("note-handed", "b"))).await,
    ];
    assert!(leaves(&store, "note-handed", &first, "from the first").await);
    let second = gets(second).await;
    assert_eq!(second.note, Some(note("from the first")));
    assert!(leaves(&store, "note-handed", &second, "from the second").await);
    for reader in readers {
        assert_eq!(gets(reader).await.note, Some(note("from the second")));
    }
}

pub(super) async fn a_release_that_comes_too_late_leaves_no_note(store: Store) {
    let first = holds(&store, "note-late", "first").await;
    assert!(leaves(&store, "note-late", &first, "kept").await);
    assert!(!leaves(&store, "note-late", &first, "late").await);
    let second = holds(&store, "note-late", "second").await;
    assert_eq!(second.note, Some(note("kept")));
    assert!(!leaves(&store, "note-late", &first, "later").await);
    assert!(release(&store, "note-late", &second).await);
    assert_eq!(
        holds(&store, "note-late", "third").await.note,
        Some(note("kept"))
    );
}

pub(super) async fn a_release_by_request_id_leaves_a_note_if_the_request_held(store: Store) {
    let release = |asked: &AcquireRequest, words| Release {
        note: Some(note(words)),
        ..release_of(Claim::Request(asked.request_id.clone()))
    };
    let name = key("note-request");
    let asked = request("note-request", "first");
    takes(&store, asked.clone()).await;
    let waits = patient(request("note-request", "second"));
    let waiter = queued(&store, waits.clone()).await;
    assert!(
        store
            .release(&name, release(&waits, "waited"))
            .await
            .unwrap()
    );
    waiter.await.unwrap().unwrap();
    assert!(store.release(&name, release(&asked, "held")).await.unwrap());
    assert!(!store.release(&name, release(&asked, "late")).await.unwrap());
    let third = holds(&store, "note-request", "third").await;
    assert_eq!(third.note, Some(note("held")));
}

pub(super) async fn a_note_outlives_an_expiry(store: Store) {
    let first = holds(&store, "note-expiry", "first").await;
    let longest = "n".repeat(1024);
    assert!(leaves(&store, "note-expiry", &first, &longest).await);
    takes(&store, short(request("note-expiry", "second"))).await;
    let took = until(&store, "note-expiry", "the lease ran out", |view| {
        view.holders.is_empty()
    })
    .await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(
        holds(&store, "note-expiry", "third").await.note,
        Some(note(&longest))
    );
}
