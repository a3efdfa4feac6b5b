//! Commands under locks that lie in a bucket.

use std::fs;

use testbed::{S3, Service};

use crate::app::{launch, outcome, scratch, sh};

#[tokio::test]
async fn commands_at_two_replicas_on_s3_run_one_at_a_time_with_rising_tokens() {
    let s3 = S3::start().await.unwrap();
    s3.bucket("locks").await.unwrap();
    let replica = async || {
        let service = Service::new("shared-lock-svc")
            .env("SHARED_LOCK_STORAGE_TYPE", "s3")
            .env("SHARED_LOCK_S3_BUCKET", "locks")
            .env("SHARED_LOCK_S3_ENDPOINT", s3.endpoint())
            .env("SHARED_LOCK_S3_PATH_STYLE", "true")
            .env("SHARED_LOCK_S3_ACCESS_KEY", s3.access_key())
            .env("SHARED_LOCK_S3_SECRET_KEY", s3.secret_key());
        service.start().await.unwrap()
    };
    let replicas = [replica().await, replica().await];
    let dir = scratch("on-s3");
    let script = "mkdir inside && echo $LOCK_FENCING_TOKEN >> tokens && sleep 0.05 && rmdir inside";
    let mut args = sh("job", "10s", script);
    args.splice(1..1, ["--wait", "2m"]);
    let commands = (0..10).map(|number| {
        let service = &replicas[number % 2];
        let command = launch(service.url()).dir(dir.path()).args(&args);
        command.spawn().unwrap()
    });
    for command in commands.collect::<Vec<_>>() {
        assert_eq!(outcome(&command).await.0, 0, "{}", command.log().text());
    }
    let tokens = fs::read_to_string(dir.path().join("tokens")).unwrap();
    let tokens: Vec<u64> = tokens.lines().map(|token| token.parse().unwrap()).collect();
    assert_eq!(tokens.len(), 10);
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
}
