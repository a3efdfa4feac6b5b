//! `lockctl run`, when all goes well: what the command sees, what is passed on, and one at a time.

use std::fs;
use std::time::Duration;

use testbed::{FaultProxy, Launch, Signal, eventually};

use crate::app::{
    SOON, client, eventually_free, launch, lockctl, on_etcd, outcome, run, scratch, sh, shared,
    start,
};

#[tokio::test]
async fn a_command_sees_its_lock_and_its_code_is_passed_on() {
    let service = shared().await;
    let script = "echo $LOCK_KEY:$LOCK_FENCING_TOKEN:$LOCK_LEASE_ID:$LOCK_TOKEN_EPOCH; exit 7";
    let (code, text) = run(
        service.url(),
        &["run", "-k", "seen", "--", "sh", "-c", script],
    )
    .await;
    assert_eq!(code, 7, "{text}");
    let fields: Vec<&str> = text.trim().split(':').collect();
    assert_eq!(fields[0], "seen");
    assert!(
        fields[1].parse::<u64>().unwrap() > 0 && !fields[2].is_empty() && !fields[3].is_empty()
    );
    let lock = client(service).inspect("seen").await.unwrap();
    assert!(lock.holders.is_empty(), "it is given back before we end");
}

#[tokio::test]
async fn a_command_that_a_signal_ends_or_that_does_not_start_has_its_own_code() {
    let url = shared().await.url();
    let dir = scratch("codes");
    let file = dir.path().join("no-program");
    fs::write(&file, "").unwrap();
    for (command, expected) in [
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["no-such-command"], 127),
        (vec![file.to_str().unwrap()], 126),
        (vec!["true"], 0),
    ] {
        let args = [vec!["run", "-k", "codes", "--"], command].concat();
        let (code, text) = run(url, &args).await;
        assert_eq!(code, expected, "{args:?}: {text}");
    }
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_has_a_code_of_its_own_and_says_who_has_it() {
    let service = shared().await;
    let _guard = client(service)
        .acquire("taken", Default::default())
        .await
        .unwrap();
    let args = ["run", "-k", "taken", "-w", "0s", "--", "echo", "ran"];
    let (code, text) = run(service.url(), &args).await;
    assert_eq!(
        (code, text.trim()),
        (75, "lockctl: lock `taken` is held by `the test`")
    );
    let args = [
        "run",
        "-k",
        "taken",
        "-w",
        "0s",
        "--exit-not-acquired",
        "3",
        "--",
        "echo",
        "ran",
    ];
    assert_eq!(run(service.url(), &args).await.0, 3);
    let (code, _) = run(
        "http://127.0.0.1:1",
        &["run", "-k", "x", "-w", "0s", "--", "true"],
    )
    .await;
    assert_eq!(code, 69);
}

#[tokio::test]
async fn a_long_wait_says_who_has_the_lock_and_our_place_in_the_queue() {
    let service = shared().await;
    let guard = client(service)
        .acquire("long", Default::default())
        .await
        .unwrap();
    let waiter = lockctl(service.url(), &["run", "-k", "long", "--", "true"]);
    let told = waiter.log().wait_for("place 1 of 1 in the queue", SOON);
    told.await.unwrap();
    assert!(waiter.log().contains("held by `the test` for"));
    guard.release().await.unwrap();
    assert_eq!(outcome(&waiter).await.0, 0);
}

#[tokio::test]
async fn fifty_at_once_on_one_key_run_strictly_one_at_a_time() {
    let service = shared().await;
    let dir = scratch("fifty");
    let log = dir.path().join("log");
    // Making a directory that is there fails: then somebody else is inside.
    let script = "mkdir inside || { echo overlap >> log; exit 1; }; echo $LOCK_FENCING_TOKEN >> log; rmdir inside";
    let all: Vec<_> = (0..50)
        .map(|_| {
            let args = ["run", "-k", "fifty", "-w", "5m", "-q", "--timeout", "20s"];
            let args = [&args[..], &["--", "sh", "-c", script]].concat();
            launch(service.url())
                .dir(dir.path())
                .args(args)
                .spawn()
                .unwrap()
        })
        .collect();
    for process in &all {
        let (code, text) = outcome(process).await;
        assert_eq!(code, 0, "{text}");
    }
    let log = fs::read_to_string(log).unwrap();
    let tokens: Vec<u64> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(tokens.len(), 50);
    assert!(tokens.is_sorted(), "{tokens:?}");
}

#[tokio::test]
async fn signals_are_passed_on_and_the_commands_own_end_counts() {
    let service = shared().await;
    let script = "trap 'echo heard; exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let process = lockctl(
        service.url(),
        &["run", "-k", "signals", "--", "sh", "-c", script],
    );
    process.log().wait_for("ready", SOON).await.unwrap();
    process.signal(Signal::TERM).unwrap();
    let (code, text) = outcome(&process).await;
    assert_eq!(code, 9, "{text}");
    assert!(text.contains("heard"));
    eventually_free(service, "signals").await;
}

#[tokio::test]
async fn a_signal_ends_the_wait_for_a_service_that_is_away_when_the_command_has_ended() {
    let service = start("memory").await;
    let dir = scratch("gives-back");
    let script = "trap '' INT; echo ready; while ! test -e end; do sleep 0.05; done; exit 3";
    let args = sh("gives-back", "10m", script);
    let process = launch(service.url())
        .dir(dir.path())
        .args(args)
        .spawn()
        .unwrap();
    process.log().wait_for("ready", SOON).await.unwrap();
    service.kill().unwrap();
    fs::write(dir.path().join("end"), "").unwrap();
    // Those that come before its end go to the command, which does not listen.
    eventually("it ends", SOON, async || {
        let _ = process.signal(Signal::INT);
        process
            .exit_status()
            .ok_or_else(|| process.log().text())
            .map(|_| ())
    })
    .await
    .unwrap();
    assert_eq!(outcome(&process).await.0, 3);
}

#[tokio::test]
async fn a_signal_while_waiting_ends_the_wait_and_leaves_the_queue() {
    let service = shared().await;
    let _guard = client(service)
        .acquire("interrupted", Default::default())
        .await
        .unwrap();
    let process = lockctl(service.url(), &["run", "-k", "interrupted", "--", "true"]);
    let client = client(service);
    eventually("it waits", SOON, async || {
        let lock = client.inspect("interrupted").await.unwrap();
        (!lock.waiters.is_empty()).then_some(()).ok_or("not yet")
    })
    .await
    .unwrap();
    process.signal(Signal::INT).unwrap();
    assert_eq!(outcome(&process).await.0, 130);
    assert!(
        client
            .inspect("interrupted")
            .await
            .unwrap()
            .waiters
            .is_empty()
    );
}

#[tokio::test]
async fn it_does_in_a_script_and_a_makefile_what_a_command_does() {
    let service = shared().await;
    let dir = scratch("make");
    let lockctl = env!("CARGO_BIN_EXE_lockctl");
    let makefile = format!(
        "all:\n\t{lockctl} run -k made -- sh -c 'echo first'\n\t{lockctl} run -k made -- false\n\techo never\n"
    );
    fs::write(dir.path().join("Makefile"), makefile).unwrap();
    let make = Launch::new("make", "make")
        .dir(dir.path())
        .env("LOCK_URL", service.url())
        .spawn()
        .unwrap();
    let (code, text) = outcome(&make).await;
    assert!(
        code == 2 && text.contains("first") && !text.contains("\nnever"),
        "{text}"
    );
    let script = format!(
        "set -e; {lockctl} run -k script -- true; echo before; {lockctl} run -k script -- sh -c 'exit 5'; echo after"
    );
    let bash = Launch::new("bash", "bash")
        .args(["-c", &script])
        .env("LOCK_URL", service.url())
        .spawn()
        .unwrap();
    let (code, text) = outcome(&bash).await;
    assert!(
        code == 5 && text.contains("before") && !text.contains("after"),
        "{text}"
    );
}

/// Needs the right to make a process namespace, as the suite of a container's root has.
#[tokio::test]
async fn as_the_first_process_of_a_container_it_reaps_what_is_left_to_it_and_passes_signals_on() {
    let service = shared().await;
    let script = "(sleep 0.1 &) ; sleep 0.6; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l; \
                  trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let container = Launch::new("unshare", "unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .args([env!("CARGO_BIN_EXE_lockctl"), "run", "-k", "first-process"])
        .args(["--", "sh", "-c", script])
        .env("LOCK_URL", service.url())
        .spawn()
        .unwrap();
    container.log().wait_for("ready", SOON).await.unwrap();
    assert!(
        container.log().text().starts_with("0\n"),
        "{}",
        container.log().text()
    );
    let first =
        fs::read_to_string(format!("/proc/{0}/task/{0}/children", container.pid())).unwrap();
    let first = rustix::process::Pid::from_raw(first.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(first, Signal::TERM).unwrap();
    assert_eq!(outcome(&container).await.0, 9);
    eventually_free(service, "first-process").await;
}

#[tokio::test]
async fn a_network_that_is_cut_for_less_than_the_ttl_costs_nothing() {
    let service = shared().await;
    let proxy = FaultProxy::start(service.url()).await.unwrap();
    let script = "echo ready; sleep 5; echo done";
    let args = sh("cut", "6s", script);
    let process = lockctl(&proxy.url(), &args);
    process.log().wait_for("ready", SOON).await.unwrap();
    proxy.silent().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    proxy.pass().await.unwrap();
    let (code, text) = outcome(&process).await;
    assert!(code == 0 && text.contains("done"), "{text}");
}

#[tokio::test]
async fn a_restart_of_the_service_and_an_etcd_that_is_away_for_a_while_cost_nothing() {
    let etcd = testbed::Etcd::start().await.unwrap();
    let service = on_etcd(&etcd).await;
    let dir = scratch("restarted");
    let script = "echo ready; while ! test -e done; do sleep 0.05; done";
    let args = [
        "run",
        "-k",
        "restarted",
        "--ttl",
        "15s",
        "--",
        "sh",
        "-c",
        script,
    ];
    let process = launch(service.url())
        .dir(dir.path())
        .args(args)
        .spawn()
        .unwrap();
    process.log().wait_for("ready", SOON).await.unwrap();
    service.restart().await.unwrap();
    // From here on every renewal is a 503, until etcd is back.
    etcd.kill().unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    etcd.restart().await.unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(process.exit_status().is_none(), "{}", process.log().text());
    let holders = client(&service).inspect("restarted").await.unwrap().holders;
    assert_eq!(holders.len(), 1);
    fs::write(dir.path().join("done"), "").unwrap();
    assert_eq!(outcome(&process).await.0, 0, "{}", process.log().text());
}

#[tokio::test]
async fn a_store_that_is_started_again_keeps_the_lock_of_a_running_command() {
    let service = start("embedded").await;
    let args = [
        "run",
        "-k",
        "durable",
        "--ttl",
        "10s",
        "--",
        "sh",
        "-c",
        "echo ready; sleep 8",
    ];
    let process = lockctl(service.url(), &args);
    process.log().wait_for("ready", SOON).await.unwrap();
    service.restart().await.unwrap();
    assert_eq!(outcome(&process).await.0, 0, "{}", process.log().text());
}
