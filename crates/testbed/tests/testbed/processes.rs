//! Children: their logs, their signals, their end.

use std::{process::Command, time::Duration};

use testbed::{Launch, Process};

/// Whether a process of that number exists and is more than a zombie.
pub(crate) fn runs(pid: u32) -> bool {
    let state = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.starts_with('Z')
}

fn shell(script: &str) -> Process {
    Launch::new("a shell", "sh")
        .args(["-c", script])
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn both_outputs_are_in_the_log_in_order() {
    let process = shell("echo one; echo two >&2; echo three");
    assert!(process.ended().await.unwrap().success());
    assert_eq!(process.log().text(), "one\ntwo\nthree\n");
}

#[tokio::test]
async fn a_server_that_ends_before_it_is_ready_fails_with_its_log() {
    let process = shell("echo the disk is full; exit 3");
    let never = process.ready(Duration::from_secs(30), async || anyhow::bail!("not yet"));
    let error = never.await.map(|()| "ready").unwrap_err().to_string();
    assert!(
        error.contains("exit status: 3") && error.contains("the disk is full"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_never_gets_ready_fails_with_its_log() {
    let process = shell("echo waiting for godot; exec sleep 60");
    process
        .log()
        .wait_for("godot", Duration::from_secs(60))
        .await
        .unwrap();
    let never = process.ready(Duration::from_millis(100), async || {
        anyhow::bail!("not yet")
    });
    let error = never.await.map(|()| "ready").unwrap_err().to_string();
    assert!(
        error.contains("not yet") && error.contains("waiting for godot"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stopped_server_can_be_killed() {
    let process = shell("exec sleep 60");
    process.pause().unwrap();
    process.kill().unwrap();
    assert!(!runs(process.pid()));
    assert!(process.exit_status().is_some());
}

#[tokio::test]
async fn an_ended_server_is_not_signalled_since_its_number_may_be_anothers() {
    let process = shell("exit 0");
    process.ended().await.unwrap();
    assert!(
        process
            .pause()
            .unwrap_err()
            .to_string()
            .contains("has ended already")
    );
    process.kill().unwrap();
}

#[tokio::test]
async fn terminate_tells_how_the_server_ended() {
    let process = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    process
        .log()
        .wait_for("ready", Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(
        process
            .terminate(Duration::from_secs(60))
            .await
            .unwrap()
            .code(),
        Some(7)
    );
}

#[tokio::test]
async fn a_server_outlives_the_thread_that_asked_for_it() {
    let process = std::thread::spawn(|| shell("exec sleep 60"))
        .join()
        .unwrap();
    assert!(runs(process.pid()));
    // What the thread's end would have sent is there before what is sent now.
    process.pause().unwrap();
    process.resume().unwrap();
    assert_eq!(process.exit_status(), None);
}

#[tokio::test]
async fn a_server_does_not_see_the_settings_of_our_shell() {
    let process = shell("env");
    process.ended().await.unwrap();
    assert!(
        !process.log().contains("CARGO_MANIFEST_DIR"),
        "{}",
        process.log().text()
    );
}
