//! Locks in the hands of a script: what is printed, and what it means.

use testbed::{Launch, Signal};

use crate::app::{
    SOON, client, eventually_free, json, launch, lockctl, outcome, run, shared, start,
};

#[tokio::test]
async fn a_lock_is_acquired_renewed_verified_and_released_by_separate_commands() {
    let service = shared().await;
    let url = service.url();
    let taken = json(url, &["acquire", "-k", "steps"]).await;
    let text = |field: &str| taken[field].as_str().unwrap().to_owned();
    let (lease, token) = (text("lease_id"), text("fencing_token"));
    let tenure = ["-k", "steps", "-l", &lease, "-t", &token];
    assert!(taken["remaining_ms"].as_u64().unwrap() > 5_000);
    let kept = json(url, &["keepalive", "-k", "steps", "-l", &lease]).await;
    assert!(kept["remaining_ms"].as_u64().unwrap() > 5_000);
    let verified = json(url, &[&["verify"], &tenure[..]].concat()).await;
    assert_eq!(verified["current"], true);
    let shown = json(url, &["show", "steps"]).await;
    assert_eq!(shown["holders"][0]["fencing_token"], token);
    let release = [&["release"], &tenure[..]].concat();
    for released in [true, false] {
        assert_eq!(json(url, &release).await["released"], released);
    }
    let (code, text) = run(url, &[&["verify"], &tenure[..]].concat()).await;
    assert_eq!((code, text.trim()), (1, "not the current tenure"));
    assert_eq!(
        run(url, &["keepalive", "-k", "steps", "-l", &lease])
            .await
            .0,
        76
    );
}

#[tokio::test]
async fn what_acquire_prints_for_a_shell_is_what_the_others_read() {
    let service = shared().await;
    let key = "it's a key; $(touch never)";
    let script = r#"set -e
        eval "$("$LOCKCTL" acquire -k "$THE_KEY" -o env)"
        test "$LOCK_KEY" = "$THE_KEY"
        "$LOCKCTL" keepalive; "$LOCKCTL" verify; "$LOCKCTL" release"#;
    let bash = Launch::new("bash", "bash")
        .args(["-c", script])
        .env("LOCKCTL", env!("CARGO_BIN_EXE_lockctl"))
        .env("THE_KEY", key)
        .env("LOCK_URL", service.url())
        .spawn()
        .unwrap();
    let (code, text) = outcome(&bash).await;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("current") && text.contains("released"),
        "{text}"
    );
    eventually_free(service, key).await;
}

#[tokio::test]
async fn a_lock_is_kept_by_a_loop_until_it_is_taken_by_force() {
    let service = shared().await;
    let url = service.url();
    let taken = json(url, &["acquire", "-k", "looped", "--ttl", "2s"]).await;
    let lease = taken["lease_id"].as_str().unwrap();
    let keeper = lockctl(url, &["keepalive", "--loop", "-k", "looped", "-l", lease]);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let taken = json(url, &["force-release", "looped", "--reason", "a test"]).await;
    assert_eq!(taken["released"].as_array().unwrap().len(), 1);
    assert_eq!(outcome(&keeper).await.0, 76);
}

#[tokio::test]
async fn a_loop_goes_on_through_a_restart_of_the_service() {
    let service = start("embedded").await;
    let url = service.url();
    let taken = json(url, &["acquire", "-k", "looped", "--ttl", "8s"]).await;
    let lease = taken["lease_id"].as_str().unwrap();
    let keeper = lockctl(url, &["keepalive", "--loop", "-k", "looped", "-l", lease]);
    let ttl = std::time::Duration::from_secs(8);
    // Its renewals find nobody there, and then a lease that lives no longer than that without them.
    tokio::time::sleep(ttl / 2).await;
    service.kill().unwrap();
    tokio::time::sleep(ttl / 2).await;
    service.restart().await.unwrap();
    tokio::time::sleep(ttl + ttl / 4).await;
    assert!(keeper.exit_status().is_none(), "{}", keeper.log().text());
    let shown = json(url, &["show", "looped"]).await;
    assert_eq!(shown["holders"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_locks_of_a_session_live_and_end_with_it() {
    let service = shared().await;
    let url = service.url();
    let options = Default::default();
    let _held = client(service).acquire("in-session/held", options).await;
    let opened = json(url, &["session", "open", "--ttl", "10s"]).await;
    let id = opened["session_id"].as_str().unwrap();
    for key in ["in-session/1", "in-session/2"] {
        let taken = json(url, &["acquire", "-k", key, "--session", id]).await;
        assert_eq!(taken["lease_id"], id);
    }
    let waiter = lockctl(url, &["acquire", "-k", "in-session/held", "--session", id]);
    let told = waiter.log().wait_for("place 1 of 1 in the queue", SOON);
    told.await.unwrap();
    waiter.signal(Signal::INT).unwrap();
    assert_eq!(outcome(&waiter).await.0, 130);
    let kept = json(url, &["session", "keepalive", id]).await;
    assert!(kept["remaining_ms"].as_u64().unwrap() > 5_000);
    let listed = json(url, &["list", "in-session/"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
    json(url, &["session", "end", id]).await;
    let listed = json(url, &["list", "in-session/"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(run(url, &["session", "keepalive", id]).await.0, 76);
}

#[tokio::test]
async fn events_are_told_as_they_happen() {
    let service = shared().await;
    let url = service.url();
    let watching = launch(url)
        .args(["watch", "watched", "--count", "2", "-o", "json"])
        .spawn()
        .unwrap();
    // It tells nothing until something happens: so until it has told both, something happens.
    while watching.exit_status().is_none() {
        let (code, text) = run(url, &["run", "-k", "watched", "--", "true"]).await;
        assert_eq!(code, 0, "{text}");
    }
    let (code, text) = outcome(&watching).await;
    assert_eq!(code, 0, "{text}");
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        events.iter().all(|event| event["key"] == "watched"),
        "{text}"
    );
}

#[tokio::test]
async fn tables_are_for_people_and_have_no_colour_but_on_a_terminal() {
    let service = shared().await;
    let url = service.url();
    let _guard = client(service)
        .acquire("table", Default::default())
        .await
        .unwrap();
    let (code, text) = run(url, &["list", "table"]).await;
    assert_eq!(code, 0);
    assert!(text.contains("KEY") && text.contains("the test"), "{text}");
    assert!(
        !text.contains('\u{1b}'),
        "no colour but on a terminal: {text:?}"
    );
    let (_, text) = run(url, &["show", "nobody's"]).await;
    assert_eq!(text.trim(), "free");
}

#[tokio::test]
async fn the_old_wire_holds_a_lock_as_long_as_the_command_runs() {
    let service = shared().await;
    let url = service.url();
    let script = "echo ready $LOCK_FENCING_TOKEN; sleep 5";
    let args = [
        "run", "--wire", "lease", "-k", "old-wire", "--ttl", "3s", "--", "sh", "-c", script,
    ];
    let first = lockctl(url, &args);
    first.log().wait_for("ready", SOON).await.unwrap();
    let args = [
        "run", "--wire", "lease", "-k", "old-wire", "-w", "0s", "--", "true",
    ];
    assert_eq!(run(url, &args).await.0, 75);
    assert_eq!(outcome(&first).await.0, 0, "{}", first.log().text());
    // Its lease runs out; who waits for it gets it.
    let args = [
        "run", "--wire", "lease", "-k", "old-wire", "-w", "20s", "--", "true",
    ];
    assert_eq!(run(url, &args).await.0, 0);
    for native in [&["list"][..], &["acquire", "-k", "x", "--session", "1"]] {
        let (code, text) = run(url, &[native, &["--wire", "lease"]].concat()).await;
        assert!(code == 2 && text.contains("nothing else"), "{text}");
    }
}

#[tokio::test]
async fn a_bench_counts_what_it_did() {
    let url = shared().await.url();
    let counted = json(url, &["bench", "--duration", "500ms", "-c", "4"]).await;
    assert!(counted["acquired"].as_u64().unwrap() >= 4);
}
