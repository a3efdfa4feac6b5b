//! The audit log.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use testbed::{Scratch, Signal, eventually};

use crate::app::TestApp;

const SOON: Duration = Duration::from_secs(5);

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

async fn has_lines(file: &Path, count: usize) -> Vec<Value> {
    eventually("the lines are there", SOON, async || match lines(file) {
        lines if lines.len() >= count => Ok(lines),
        lines => Err(format!("{lines:?}")),
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn every_change_of_a_holder_is_one_line() {
    let dir = Scratch::new("audit").unwrap();
    let file = dir.path().join("audit.jsonl");
    let app = TestApp::with(&[("AUDIT_LOG", file.to_str().unwrap())]).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traced = format!(
        "content-type: application/json\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n"
    );
    let wish = json!({ "holder": "me", "ttl_ms": 60_000, "request_id": "q" }).to_string();
    let taken = app
        .call("POST", "/v1/locks/a%2Fb/acquire", &traced, wish)
        .await;
    assert_eq!(taken.status, 201);
    let tenure: Value = serde_json::from_str(&taken.body).unwrap();
    let forced = app
        .call("DELETE", "/v1/locks/a%2Fb?reason=it+hangs", &traced, "")
        .await;
    assert_eq!(forced.status, 200);
    let old = app
        .call("POST", "/lease", &traced, r#"{"key":"old","value":"v"}"#)
        .await;
    assert_eq!(old.status, 201);
    let found = has_lines(&file, 3).await;
    let mut acquired = found[0].clone();
    assert!(acquired["at"].take().as_str().unwrap().ends_with('Z'));
    assert!(
        acquired["position"]
            .take()
            .as_str()
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    assert_eq!(
        acquired,
        json!({
            "at": null, "event": "acquired", "key": "a/b", "holder": "me", "mode": "exclusive",
            "fencing_token": tenure["fencing_token"], "token_epoch": tenure["token_epoch"],
            "request_id": "q", "trace_id": trace, "reason": null, "position": null,
        })
    );
    let lost = &found[1];
    assert_eq!(
        (&lost["event"], &lost["reason"]),
        (&json!("lost"), &json!("it hangs"))
    );
    assert_eq!(
        (&lost["holder"], &lost["trace_id"]),
        (&json!("me"), &json!(trace))
    );
    assert_eq!(
        (&found[2]["key"], &found[2]["holder"]),
        (&json!("old"), &json!("v"))
    );
    assert_eq!(found[2]["trace_id"], trace);
    assert!(!found.iter().any(|line| {
        line.to_string()
            .contains(tenure["lease_id"].as_str().unwrap())
    }));
}

#[tokio::test]
async fn nothing_is_lost_by_the_way_down_and_the_file_is_continued() {
    let dir = Scratch::new("audit").unwrap();
    let file = dir.path().join("audit.jsonl");
    let app = TestApp::with(&[("AUDIT_LOG", file.to_str().unwrap())]).await;
    for turn in 0..50 {
        let tenure = app.holds(&format!("jobs-{turn}"), "me").await;
        app.gives_back(&format!("jobs-{turn}"), &tenure).await;
    }
    let status = app.service.terminate().await.unwrap();
    assert!(status.success(), "{status:?}");
    assert_eq!(lines(&file).len(), 100);
    app.service.restart().await.unwrap();
    app.holds("jobs", "me").await;
    has_lines(&file, 101).await;
    let metrics = app.get_text("/metrics").await;
    let written = r#"shared_lock_audit_lines_total{outcome="written"} 1"#;
    assert!(metrics.lines().any(|line| line == written), "{metrics}");
}

/// All replicas hear of everything; one of them writes it down.
#[tokio::test]
async fn replicas_write_each_change_once_between_them() {
    let dir = Scratch::new("audit").unwrap();
    let files = ["one", "two"].map(|name| dir.path().join(name));
    let (etcd, first) = TestApp::on_etcd(&[("AUDIT_LOG", files[0].to_str().unwrap())]).await;
    let second = TestApp::with(&[
        ("STORAGE_TYPE", "etcd"),
        ("ETCD_ADDR_LIST", etcd.endpoint()),
        ("AUDIT_LOG", files[1].to_str().unwrap()),
    ])
    .await;
    for turn in 0..10 {
        let key = format!("jobs-{turn}");
        let tenure = first.holds(&key, "me").await;
        second.gives_back(&key, &tenure).await;
    }
    second.holds("forced", "me").await;
    first.delete("/v1/locks/forced?reason=it+hangs").await;
    let brief = json!({ "holder": "me", "ttl_ms": 2000 });
    assert_eq!(first.acquire("brief", brief).await.status, 201);
    let all = eventually("all is written", 2 * SOON, async || {
        let all = files
            .iter()
            .flat_map(|file| lines(file))
            .collect::<Vec<_>>();
        match all.len() {
            24.. => Ok(all),
            few => Err(few),
        }
    })
    .await
    .unwrap();
    for app in [first, second] {
        assert!(app.service.terminate().await.unwrap().success());
    }
    let mut told: Vec<_> = files.iter().flat_map(|file| lines(file)).collect();
    assert_eq!(told.len(), all.len(), "{told:#?}");
    told.sort_by_key(|line| line["position"].as_str().unwrap().parse::<u64>().unwrap());
    let of = |key: &str| -> Vec<_> {
        let lines = told.iter().filter(|line| line["key"] == key);
        lines.map(|line| line["event"].as_str().unwrap()).collect()
    };
    for turn in 0..10 {
        assert_eq!(of(&format!("jobs-{turn}")), ["acquired", "released"]);
    }
    assert_eq!(of("forced"), ["acquired", "lost"]);
    assert_eq!(of("brief"), ["acquired", "expired"]);
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_opened_anew_on_sighup() {
    let dir = Scratch::new("audit").unwrap();
    let (file, moved) = (dir.path().join("audit.jsonl"), dir.path().join("audit.1"));
    let app = TestApp::with(&[("AUDIT_LOG", file.to_str().unwrap())]).await;
    app.holds("a", "me").await;
    has_lines(&file, 1).await;
    std::fs::rename(&file, &moved).unwrap();
    app.holds("b", "me").await;
    has_lines(&moved, 2).await;
    app.service.process().signal(Signal::HUP).unwrap();
    app.service
        .logs()
        .wait_for("opened anew", SOON)
        .await
        .unwrap();
    app.holds("c", "me").await;
    assert_eq!(has_lines(&file, 1).await[0]["key"], "c");
    assert_eq!(lines(&moved).len(), 2);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_told_at_the_start() {
    let service = TestApp::service(&[("AUDIT_LOG", "/nowhere/audit.jsonl")]);
    let told = format!("{:#}", service.start().await.err().unwrap());
    let line =
        "setting audit_log (SHARED_LOCK_AUDIT_LOG) is `/nowhere/audit.jsonl`, which cannot be";
    assert!(told.contains(line), "{told}");
}
