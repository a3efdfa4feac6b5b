//! `lockctl` in rough hands: wrong settings, pipes that close, bytes that are no text, shells that ignore signals.

use testbed::Launch;

use crate::app::{SOON, client, eventually_free, json, launch, outcome, run, scratch, shared};

/// A script that finds `lockctl` as `$L`, and the service.
fn bash(url: &str, script: &str) -> Launch {
    Launch::new("bash", "bash")
        .args(["-c", script])
        .env("L", env!("CARGO_BIN_EXE_lockctl"))
        .env("LOCK_URL", url)
}

async fn runs(url: &str, script: &str) -> (i32, String) {
    outcome(&bash(url, script).spawn().unwrap()).await
}

#[tokio::test]
async fn what_is_wrong_on_the_command_line_is_named_as_it_is_written_there() {
    let url = shared().await.url();
    let cases: &[(&[&str], &str)] = &[
        (&["--url", "ftp://x", "show", "x"], "--url (LOCK_URL)"),
        (&["--url", "", "show", "x"], "`http://host:port`"),
        (
            &["--tls-key", "/no", "show", "x"],
            "--tls-cert (LOCK_TLS_CERT)",
        ),
        (&["--tls-ca", "/no", "show", "x"], "--tls-ca (LOCK_TLS_CA)"),
        (
            &["--bearer-token-file", "/no", "show", "x"],
            "--bearer-token-file (LOCK_",
        ),
        (&["--timeout", "0s", "show", "x"], "longer than nothing"),
        (&["show", ""], "it is empty"),
        (&["run", "-k", "x", "--ttl", "500h", "--", "true"], "ttl_ms"),
        (
            &["run", "-k", "x", "--ttl", "5", "--", "true"],
            "`500ms`, `10s` or `1m30s`",
        ),
        (
            &[
                "run", "-k", "x", "--ttl", "4s", "--grace", "3s", "--", "true",
            ],
            "--grace",
        ),
        (&["verify", "-k", "x", "-l", "abc", "-t", "1"], "lease_id"),
        (&["-o", "env", "show", "x"], "--output env"),
        (&["--tls-ca", "/no", "doctor"], "--tls-ca (LOCK_TLS_CA)"),
        (
            &["--bearer-token-file", "/no", "doctor"],
            "--bearer-token-file (LOCK_",
        ),
        (&["run", "-k", "x"], "<COMMAND>"),
    ];
    for (args, named) in cases {
        let (code, text) = run(url, args).await;
        assert!(code == 2 && text.contains(named), "{args:?}: {code} {text}");
    }
    let (code, text) = run(url, &[]).await;
    assert!(code == 2 && text.contains("force-release"), "{text}");
    assert!(!text.contains("run-command"), "what is hidden is not shown");
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_without_a_word() {
    let url = shared().await.url();
    for command in ["show x", "man", "completion bash", "doctor"] {
        // The reader has gone before the first word is said: `yes` ends when it has.
        let script = format!("{{ yes 2> no; \"$L\" {command}; echo $? > code; }} | true; cat code");
        let dir = scratch("leaves");
        let (_, text) = outcome(&bash(url, &script).dir(dir.path()).spawn().unwrap()).await;
        assert_eq!(text.trim(), "141", "{command}");
    }
}

#[tokio::test]
async fn a_lock_that_cannot_be_told_is_given_back() {
    let service = shared().await;
    let (code, text) = runs(
        service.url(),
        "\"$L\" acquire -k untold --ttl 60s > /dev/full",
    )
    .await;
    assert!(code == 1 && text.contains("No space left"), "{text}");
    eventually_free(service, "untold").await;
}

#[tokio::test]
async fn bytes_go_through_as_they_are() {
    let service = shared().await;
    let script = r#"set -o pipefail
        "$L" run -k bytes -- printf '%s' $'a\xff\xfeb' | od -An -tx1
        head -c 3000000 /dev/zero | "$L" run -k bytes -- wc -c
        "$L" run -k bytes -- head -c 100000000 /dev/zero | wc -c
        "$L" run -k bytes -- true <&- >&- 2>&- && echo closed"#;
    let (code, text) = runs(service.url(), script).await;
    assert_eq!(code, 0, "{text}");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines, ["61 ff fe 62", "3000000", "100000000", "closed"]);
    eventually_free(service, "bytes").await;
}

#[tokio::test]
async fn what_nohup_and_a_shell_have_it_ignore_stays_ignored_by_it_and_by_its_command() {
    let service = shared().await;
    let script = r#"trap '' HUP INT
        exec "$L" run -k ignoring -- sh -c 'echo ready; while ! test -e end; do sleep 0.05; done; exit 6'"#;
    let dir = scratch("ignoring");
    let process = bash(service.url(), script).dir(dir.path()).spawn().unwrap();
    process.log().wait_for("ready", SOON).await.unwrap();
    let command = || {
        let pid = process.pid();
        let below = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        below
            .trim()
            .parse::<i32>()
            .ok()
            .and_then(rustix::process::Pid::from_raw)
    };
    let command = command().unwrap();
    for signal in [testbed::Signal::HUP, testbed::Signal::INT] {
        process.signal(signal).unwrap();
        rustix::process::kill_process(command, signal).unwrap();
    }
    // Whoever hears a signal is gone by the time that a lock of its own was taken and given back.
    assert_eq!(
        run(service.url(), &["run", "-k", "meanwhile", "--", "true"])
            .await
            .0,
        0
    );
    assert!(process.exit_status().is_none(), "{}", process.log().text());
    std::fs::write(dir.path().join("end"), "").unwrap();
    assert_eq!(outcome(&process).await.0, 6, "{}", process.log().text());
}

#[tokio::test]
async fn the_end_of_a_session_is_safe_to_repeat() {
    let service = shared().await;
    let url = service.url();
    let opened = json(url, &["session", "open"]).await;
    let id = opened["session_id"].as_str().unwrap();
    for ended in [true, false] {
        assert_eq!(json(url, &["session", "end", id]).await["ended"], ended);
    }
    let (code, text) = run(url, &["session", "keepalive", id]).await;
    assert!(code == 76 && text.contains("session"), "{text}");
}

#[tokio::test]
async fn an_acquire_that_is_interrupted_while_it_waits_leaves_the_queue() {
    let service = shared().await;
    let locks = client(service);
    let guard = locks.acquire("waits", Default::default()).await.unwrap();
    for (signal, code) in [(testbed::Signal::INT, 130), (testbed::Signal::HUP, 129)] {
        let args = ["acquire", "-k", "waits"];
        let waiter = launch(service.url()).args(args).spawn().unwrap();
        let told = waiter.log().wait_for("place 1 of 1", SOON);
        told.await.unwrap();
        waiter.signal(signal).unwrap();
        assert_eq!(outcome(&waiter).await.0, code);
    }
    guard.release().await.unwrap();
    eventually_free(service, "waits").await;
}
