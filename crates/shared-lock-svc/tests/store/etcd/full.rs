//! etcd has no space left: its alarm lets deletes pass, and no put.

use std::time::Duration;

use anyhow::ensure;
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client};
use shared_lock_svc::{
    lease::{Acquisition, Note},
    store::{ForceRelease, Release, StoreError},
};
use testbed::{Etcd, eventually};

use super::{plain, replica};
use crate::contract::{
    acquired, end, gets, holds, key, names, of, opens, patient, permit, queued, reader, release,
    request, takes, within,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_full_etcd_is_asked_for_no_new_lock_and_keeps_what_is_held() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(&etcd).await;
    let held = holds(&store, "held", "holder").await;
    alarm(&mut client, AlarmAction::Activate).await;
    eventually("acquires are refused", PATIENCE, async || {
        let outcome = store.acquire(request("new", "holder")).await;
        ensure!(
            matches!(&outcome, Err(StoreError::Unavailable(why)) if why.to_string().contains("no space left")),
            "{outcome:?}"
        );
        Ok(())
    })
    .await
    .unwrap();
    let kept = store.keep_alive(&key("held"), held.lease_id).await.unwrap();
    assert_eq!(kept.unwrap().ttl, held.ttl);

    alarm(&mut client, AlarmAction::Deactivate).await;
    eventually("acquires go on", PATIENCE, async || {
        let outcome = store.acquire(request("new", "holder")).await;
        outcome.map(drop).map_err(anyhow::Error::from)
    })
    .await
    .unwrap();
    assert!(release(&store, "held", &held).await);
}

/// Neither hand-over nor tombstone can be written; both come about when there is space again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_etcd_frees_what_is_released_and_no_request_comes_back() {
    let etcd = Etcd::start().await.unwrap();
    let (here, there) = (
        replica(etcd.endpoint()).await,
        replica(etcd.endpoint()).await,
    );
    let mut client = plain(&etcd).await;
    let session = opens(&here, "holder").await;
    let asked = [
        request("own", "holder"),
        within(&session, request("session", "holder")),
        reader("reader", "holder"),
        permit("permit", "holder", 3, 2),
    ];
    let mut tenures = Vec::new();
    for asked in &asked {
        tenures.push(takes(&here, asked.clone()).await);
    }
    let by_id = request("by-id", "holder");
    takes(&there, by_id.clone()).await;
    let waiter = queued(&there, patient(request("own", "waiter"))).await;
    alarm(&mut client, AlarmAction::Activate).await;

    for (asked, tenure) in asked.iter().zip(&tenures) {
        let name = asked.key.as_str();
        assert!(release(&here, name, tenure).await, "{name}");
        assert!(!release(&here, name, tenure).await, "{name}");
        assert_eq!(names(&there, name).await.0, [""; 0], "{name}");
    }
    assert!(end(&here, "by-id", &by_id.request_id).await);
    assert_eq!(names(&there, "by-id").await.0, [""; 0]);
    assert!(!waiter.is_finished());

    // A proxy brings them all once more.
    for asked in asked.iter().chain([&by_id]) {
        let again = here.acquire(asked.clone()).await.unwrap();
        assert_eq!(again, Acquisition::RequestEnded, "{:?}", asked.key);
    }
    alarm(&mut client, AlarmAction::Deactivate).await;
    for asked in asked.iter().chain([&by_id]) {
        eventually(
            "it is told that it has ended",
            PATIENCE,
            async || match there.acquire(asked.clone()).await {
                Ok(Acquisition::RequestEnded) => Ok(()),
                Ok(Acquisition::Acquired(_)) => panic!("{:?} came back", asked.key),
                other => Err(format!("{other:?}")),
            },
        )
        .await
        .unwrap();
    }
    let next = gets(waiter).await;
    assert!(next.fencing_token > tenures[0].fencing_token);
    assert!(release(&there, "own", &next).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_etcd_lets_sessions_end_and_administrators_free_locks() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(&etcd).await;
    let session = opens(&store, "holder").await;
    for name in ["a", "b"] {
        takes(&store, within(&session, request(name, "holder"))).await;
    }
    takes(&store, reader("c", "one")).await;
    takes(&store, reader("c", "two")).await;
    alarm(&mut client, AlarmAction::Activate).await;
    assert!(store.end_session(session.id).await.unwrap());
    let order = ForceRelease {
        reason: None,
        trace_id: None,
    };
    let before = store.force_release(&key("c"), order).await.unwrap();
    assert_eq!(before.holders.len(), 2);
    for name in ["a", "b", "c"] {
        assert_eq!(names(&store, name).await.0, [""; 0], "{name}");
    }
}

/// What its holder leaves to the next is not lost without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_etcd_refuses_a_release_that_leaves_a_note() {
    let etcd = Etcd::start().await.unwrap();
    let store = replica(etcd.endpoint()).await;
    let mut client = plain(&etcd).await;
    let tenure = holds(&store, "noted", "holder").await;
    alarm(&mut client, AlarmAction::Activate).await;
    let leaves = Release {
        note: Some(Note::try_from("42".to_owned()).unwrap()),
        ..of(&tenure)
    };
    let refused = store.release(&key("noted"), leaves.clone()).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(names(&store, "noted").await.0, ["holder"]);
    alarm(&mut client, AlarmAction::Deactivate).await;
    eventually("the release is done", PATIENCE, async || {
        store.release(&key("noted"), leaves.clone()).await
    })
    .await
    .unwrap();
    let next = eventually("locks are granted", PATIENCE, async || {
        store.acquire(request("noted", "next")).await
    });
    let next = acquired(Ok(next.await.unwrap()));
    assert_eq!(next.note.as_ref().map(Note::as_str), Some("42"));
}

pub(super) async fn alarm(client: &mut Client, action: AlarmAction) {
    let member = client.member_list().await.unwrap().members()[0].id();
    let mut options = AlarmOptions::new();
    options.with_member(member);
    client
        .alarm(action, AlarmType::Nospace, Some(options))
        .await
        .unwrap();
}
