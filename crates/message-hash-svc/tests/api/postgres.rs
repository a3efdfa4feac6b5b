//! The service on PostgreSQL.

mod deletions;
mod drills;
mod faults;
mod keeping;
mod measures;
mod misses;
mod moving;
mod rolling;

use std::{process::Output, time::Duration};

use message_hash_svc::digest::Digest;
use testbed::{Postgres, build, eventually};
use tokio::process::Command;

use crate::app::{App, message};

/// As whom the service connects: it may read and write messages, and nothing else.
const ROLE: &str = "message_hash";

/// How many messages there are.
const MESSAGES: &str = "SELECT count(*) FROM message_hash.message";

/// A primary with the schema and the role.
async fn primary() -> Postgres {
    let primary = Postgres::start().await.unwrap();
    prepare(&primary, &[]).await;
    primary
}

async fn prepare(primary: &Postgres, more: &[&str]) {
    primary
        .sql(&format!("CREATE ROLE {ROLE} LOGIN"))
        .await
        .unwrap();
    let url = primary.url();
    let args = [&["migrate", "--url", &url, "--grant", ROLE], more].concat();
    let migrated = command(&args, &[]).await;
    assert!(migrated.status.success(), "{}", said(&migrated));
}

fn url(server: &Postgres) -> String {
    server.url_of(ROLE)
}

/// A service on these shards.
async fn app(shards: &str) -> App {
    app_with(shards, &[]).await
}

async fn app_with(shards: &str, settings: &[(&str, &str)]) -> App {
    let own = [("STORE", "postgres"), ("POSTGRES_SHARDS", shards)];
    App::start_with(&[&own, settings].concat()).await
}

/// Runs a subcommand of the shipped binary.
async fn command(args: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(build("message-hash-svc").unwrap());
    command.args(args);
    for (name, value) in settings {
        command.env(format!("MESSAGE_HASH_{name}"), value);
    }
    command.output().await.unwrap()
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

async fn expect(app: &App, digest: &Digest, text: &str) {
    let found = app.get(&format!("/messages/{digest}")).await;
    assert!(found == message(text), "{digest}: {found:?}");
}

/// Waits until a replica has come so far that it answers the query like this.
async fn follows(replica: &Postgres, query: &str, expected: &str) {
    let has_come = async || {
        let seen = replica.sql(query).await?;
        anyhow::ensure!(seen == expected, "{seen}");
        Ok(())
    };
    eventually("the replica to follow", Duration::from_secs(60), has_come)
        .await
        .unwrap();
}
