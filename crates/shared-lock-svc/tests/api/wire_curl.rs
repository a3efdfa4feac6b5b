//! The calls of the tentens-tech/shared-lock documentation, to the letter, by curl.

use tokio::process::Command;

use crate::app::TestApp;

const CREATE: &str = r#"curl -X POST http://localhost:8080/lease \
          -H "Content-Type: application/json" \
          -H "x-lease-ttl: 60s" \
          -d '{"key": "value"}'"#;

const KEEP_ALIVE: &str = r#"curl -X POST http://localhost:8080/keepalive \
          -H "Content-Type: application/json" \
          -d "12345""#;

const HEALTH: &str = "curl -X GET http://localhost:8080/health";

/// Runs a documented call against `app`, and gives status and body.
async fn run(app: &TestApp, call: &str) -> (u16, String) {
    let call = call.replace("http://localhost:8080", app.service.url());
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "{call} --silent --show-error --write-out '\\n%{{http_code}}'"
        ))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{call}: {output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let (body, status) = told.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn the_documented_calls_work_to_the_letter() {
    TestApp::on_each_store(async |app| {
        let (status, lease) = run(app, CREATE).await;
        assert_eq!(status, 201);
        assert!(lease.parse::<i64>().unwrap() > 0);
        assert_eq!(run(app, CREATE).await, (202, lease.clone()));
        assert_eq!(run(app, KEEP_ALIVE).await, (204, String::new()));
        let own = KEEP_ALIVE.replace("12345", &lease);
        assert_eq!(run(app, &own).await, (200, String::new()));
        assert_eq!(run(app, HEALTH).await, (200, String::new()));
    })
    .await;
}
