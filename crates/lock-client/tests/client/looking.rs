//! Asking about locks, and an administrator's word against their holders.

use std::time::Duration;

use lock_client::{Error, Happened};

use crate::scripted::{Reply, Scripted, for_ttl};
use crate::service::{TTL, client, eventually_free, eventually_waiting, shared, waiting};

#[tokio::test]
async fn a_lock_is_seen_with_its_holder_and_who_waits() {
    let service = shared().await;
    let (ann, bob) = (client(service.url(), "ann"), client(service.url(), "bob"));
    let guard = ann.acquire("seen/1", for_ttl(TTL)).await.unwrap();
    let _other = ann.acquire("seen/2", for_ttl(TTL)).await.unwrap();
    let waiter = tokio::spawn(async move { bob.acquire("seen/1", waiting(TTL, TTL)).await });
    eventually_waiting(service, "seen%2F1", "bob").await;

    let lock = ann.inspect("seen/1").await.unwrap();
    assert_eq!(lock.holders[0].holder.as_deref(), Some("ann"));
    assert_eq!(lock.holders[0].fencing_token, guard.fencing_token());
    assert_eq!(lock.waiters[0].holder.as_deref(), Some("bob"));

    let page = ann.list("seen/", 1, None).await.unwrap();
    assert_eq!(page.locks[0].key, "seen/1");
    let page = ann.list("seen/", 1, page.next.as_deref()).await.unwrap();
    assert_eq!(page.locks[0].key, "seen/2");
    waiter.abort();
}

#[tokio::test]
async fn a_guard_whose_lock_was_taken_by_force_is_lost_within_one_keepalive() {
    let service = shared().await;
    let ttl = Duration::from_secs(6);
    let (ann, admin) = (client(service.url(), "ann"), client(service.url(), "admin"));
    let guard = ann.acquire("forced", for_ttl(ttl)).await.unwrap();
    let mut events = admin.watch("forced").await.unwrap();
    let released = admin.force_release("forced", "it hangs").await.unwrap();
    assert_eq!(released[0].holder.as_deref(), Some("ann"));
    // One keepalive, on a busy machine; the validity itself would last for longer.
    let within = ttl / 3 * 2;
    tokio::time::timeout(within, guard.lost()).await.unwrap();
    assert!(!guard.verify().await.unwrap());
    let event = loop {
        match events.next().await.unwrap() {
            // The acquire may have been told late.
            Some(Happened::Event(event)) if event.event == "acquired" => (),
            Some(Happened::Event(event)) => break event,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        (event.event.as_str(), event.reason.as_deref()),
        ("lost", Some("it hangs"))
    );
    assert!(matches!(guard.release().await, Err(Error::Lost { .. })));
}

#[tokio::test]
async fn what_happens_is_told_in_order() {
    let service = shared().await;
    let ann = client(service.url(), "ann");
    let mut events = ann.watch_prefix("told/").await.unwrap();
    for key in ["told/1", "untold", "told/2"] {
        let guard = ann.acquire(key, for_ttl(TTL)).await.unwrap();
        guard.release().await.unwrap();
    }
    let mut told = Vec::new();
    while told.len() < 4 {
        let Some(Happened::Event(event)) = events.next().await.unwrap() else {
            panic!("no event")
        };
        told.push((event.key, event.event));
    }
    let told: Vec<_> = told
        .iter()
        .map(|(key, event)| (key.as_str(), event.as_str()))
        .collect();
    let expected = [
        ("told/1", "acquired"),
        ("told/1", "released"),
        ("told/2", "acquired"),
        ("told/2", "released"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_stream_without_end_that_is_none_of_events_is_told() {
    let other = Scripted::start(|_, _| Reply::ok("no event ".repeat(20_000).into())).await;
    let mut events = other.client().watch("k").await.unwrap();
    let error = events.next().await.unwrap_err();
    assert!(
        error.to_string().contains("what it sends are no events"),
        "{error}"
    );
}

#[tokio::test]
async fn a_tenure_can_be_handed_to_another_process_which_keeps_and_ends_it() {
    let service = shared().await;
    let ttl = Duration::from_secs(2);
    let guard = client(service.url(), "ann")
        .acquire("handed", for_ttl(ttl))
        .await
        .unwrap();
    let tenure = guard.hand_off();
    let text = serde_json::to_string(&tenure).unwrap();
    let tenure = serde_json::from_str(&text).unwrap();

    let other = client(service.url(), "ann's child");
    assert!(other.verify(&tenure).await.unwrap());
    assert!(
        !other
            .keep_alive("handed", &tenure.lease_id)
            .await
            .unwrap()
            .is_zero()
    );
    let guard = other.adopt(&tenure).await.unwrap();
    assert!(tokio::time::timeout(2 * ttl, guard.lost()).await.is_err());
    let tenure = guard.hand_off();
    assert!(other.remove_if_owner(&tenure).await.unwrap());
    assert!(!other.remove_if_owner(&tenure).await.unwrap());
    eventually_free(service, "handed").await;
    assert!(matches!(
        other.adopt(&tenure).await,
        Err(Error::Lost { .. })
    ));
    let error = other
        .keep_alive("handed", &tenure.lease_id)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn a_note_goes_to_the_next_holder() {
    let service = shared().await;
    let ann = client(service.url(), "ann");
    let guard = ann.acquire("noted", for_ttl(TTL)).await.unwrap();
    assert_eq!(guard.note(), None);
    guard.release_with_note("up to row 17").await.unwrap();
    let guard = ann.acquire("noted", for_ttl(TTL)).await.unwrap();
    assert_eq!(guard.note(), Some("up to row 17"));
}

#[tokio::test]
async fn a_program_that_closes_its_client_leaves_nothing_behind() {
    let service = shared().await;
    let (ann, bob) = (client(service.url(), "ann"), client(service.url(), "bob"));
    let held = bob.acquire("closing/held", for_ttl(TTL)).await.unwrap();
    let guard = ann.acquire("closing", for_ttl(TTL)).await.unwrap();
    assert!(!ann.clone().close(TTL).await, "a guard lives");
    drop(guard);
    {
        let waiter = ann.acquire("closing/held", waiting(TTL, TTL));
        tokio::select! {
            outcome = waiter => panic!("{outcome:?}"),
            () = eventually_waiting(service, "closing%2Fheld", "ann") => (),
        }
    }
    assert!(ann.close(TTL).await);
    let seen = bob.inspect("closing").await.unwrap();
    assert!(seen.holders.is_empty(), "{seen:?}");
    let seen = bob.inspect("closing/held").await.unwrap();
    assert!(seen.waiters.is_empty(), "{seen:?}");
    drop(held);
}

#[test]
fn outside_of_a_runtime_it_is_an_error_and_no_panic() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(async { shared().await.url().to_owned() });
    let ann = client(&url, "ann");
    let asked = futures_util::FutureExt::now_or_never(ann.acquire("nowhere", for_ttl(TTL)));
    assert!(matches!(asked, Some(Err(Error::NoRuntime))));
    let looked = futures_util::FutureExt::now_or_never(ann.inspect("nowhere"));
    assert!(matches!(looked, Some(Err(Error::NoRuntime))));
}
