//! `lockctl run`, when the lock cannot be kept: the command is stopped in time, whatever it does.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use testbed::{FaultProxy, Process, Signal};

use crate::app::{SOON, client, launch, lockctl, outcome, scratch, sh, shared, start, written};

const TTL: Duration = Duration::from_secs(5);

/// Says every 20 ms, in a process below it, that it still runs.
const BUSY: &str = "sh -c 'while :; do date +%s%N >> alive; sleep 0.02; done' & echo ready; wait";

/// When the command last said that it runs.
fn last_sign(dir: &Path) -> Duration {
    let text = fs::read_to_string(dir.join("alive")).unwrap();
    // It may have been stopped in the middle of a line.
    let (whole, _) = text.rsplit_once('\n').unwrap();
    Duration::from_nanos(whole.lines().last().unwrap().parse().unwrap())
}

fn now() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
}

fn busy(url: &str, dir: &Path, key: &str, script: &str) -> Process {
    let args = sh(key, "5s", script);
    launch(url).dir(dir).args(args).spawn().unwrap()
}

#[tokio::test]
async fn a_command_is_stopped_before_the_validity_ends_when_its_server_is_killed() {
    let deaf = format!("trap '' TERM; {BUSY}");
    for script in [BUSY, deaf.as_str()] {
        let service = start("memory").await;
        let dir = scratch("killed");
        let process = busy(service.url(), dir.path(), "killed", script);
        process.log().wait_for("ready", SOON).await.unwrap();
        written(&dir.path().join("alive"), |text| {
            text.ends_with('\n').then_some(())
        })
        .await;
        let killed = now();
        service.kill().unwrap();
        let (code, text) = outcome(&process).await;
        assert!(
            code == 76 && text.contains("the command was stopped"),
            "{text}"
        );
        let last = last_sign(dir.path());
        // The latest renewal that may have succeeded was sent before the kill.
        assert!(last < killed + TTL, "{:?} after the kill", last - killed);
        println!(
            "its last sign {:?} after the kill",
            last.saturating_sub(killed)
        );
    }
}

#[tokio::test]
async fn a_command_that_is_cut_off_is_gone_before_the_next_holder_has_the_lock() {
    let service = shared().await;
    let deaf = format!("trap '' TERM; {BUSY}");
    for (key, script) in [("cut-off/hears", BUSY), ("cut-off/deaf", deaf.as_str())] {
        let proxy = FaultProxy::start(service.url()).await.unwrap();
        let dir = scratch("cut-off");
        let process = busy(&proxy.url(), dir.path(), key, script);
        process.log().wait_for("ready", SOON).await.unwrap();
        written(&dir.path().join("alive"), |text| {
            text.ends_with('\n').then_some(())
        })
        .await;
        proxy.silent().await.unwrap();
        let options = lock_client::AcquireOptions::default();
        let guard = client(service).acquire(key, options).await.unwrap();
        let granted = now();
        let (code, text) = outcome(&process).await;
        assert_eq!(code, 76, "{text}");
        let last = last_sign(dir.path());
        assert!(last < granted, "{:?} too late", last - granted);
        println!(
            "{key}: its last sign {:?} before the next grant",
            granted - last
        );
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_command_whose_lock_is_taken_by_force_is_stopped_within_one_keepalive() {
    let service = shared().await;
    let dir = scratch("forced");
    let process = busy(service.url(), dir.path(), "run-forced", BUSY);
    process.log().wait_for("ready", SOON).await.unwrap();
    let forced = Instant::now();
    client(service)
        .force_release("run-forced", "a test")
        .await
        .unwrap();
    let (code, text) = outcome(&process).await;
    assert_eq!(code, 76, "{text}");
    let took = forced.elapsed();
    assert!(took < TTL / 3 + Duration::from_millis(1500), "{took:?}");
}

#[tokio::test]
async fn what_a_command_started_outside_of_its_group_is_stopped_with_it() {
    let service = shared().await;
    let dir = scratch("outside");
    // In a session of its own, deaf to SIGTERM, and left behind by a command that hears it.
    let busy = "trap \"\" TERM; while :; do date +%s%N >> alive; sleep 0.02; done";
    let script = format!("setsid sh -c '{busy}' > /dev/null 2>&1 & echo ready; wait");
    let process = self::busy(service.url(), dir.path(), "outside", &script);
    process.log().wait_for("ready", SOON).await.unwrap();
    written(&dir.path().join("alive"), |text| {
        text.ends_with('\n').then_some(())
    })
    .await;
    let locks = client(service);
    locks.force_release("outside", "a test").await.unwrap();
    assert_eq!(outcome(&process).await.0, 76);
    let ended = now();
    // Longer than it is ever silent, on a busy machine.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(last_sign(dir.path()) < ended + Duration::from_millis(200));
}

#[tokio::test]
async fn a_command_dies_with_the_one_who_holds_its_lock() {
    let service = shared().await;
    let dir = scratch("dies");
    let script = "echo $$ > pid; echo ready; while :; do sleep 0.02; done";
    let process = busy(service.url(), dir.path(), "dies", script);
    process.log().wait_for("ready", SOON).await.unwrap();
    let pid: i32 = written(&dir.path().join("pid"), |text| text.trim().parse().ok()).await;
    process.signal(Signal::KILL).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    testbed::eventually("the command is gone", SOON, async || {
        match rustix::process::test_kill_process(pid) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_lock_that_was_lost_before_its_command_ended_well_is_told() {
    let service = shared().await;
    let lockctl_path = env!("CARGO_BIN_EXE_lockctl");
    let script = format!("{lockctl_path} force-release quick --reason test");
    let args = ["run", "-k", "quick", "--", "sh", "-c", &script];
    let process = lockctl(
        service.url(),
        &[&args[..1], &["--exit-lost", "42"], &args[1..]].concat(),
    );
    // The command finds the service by the same variable.
    let (code, text) = outcome(&process).await;
    assert_eq!(code, 42, "{text}");
}

#[tokio::test]
async fn a_command_that_is_paused_with_its_holder_is_stopped_when_both_wake_up() {
    let service = shared().await;
    let dir = scratch("paused");
    let process = busy(service.url(), dir.path(), "run-paused", BUSY);
    process.log().wait_for("ready", SOON).await.unwrap();
    process.signal(Signal::STOP).unwrap();
    let next = client(service);
    let options = lock_client::AcquireOptions::default();
    let guard = next.acquire("run-paused", options).await.unwrap();
    process.signal(Signal::CONT).unwrap();
    let (code, text) = outcome(&process).await;
    assert_eq!(code, 76, "{text}");
    assert!(guard.verify().await.unwrap());
}
