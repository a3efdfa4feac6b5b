//! message-hash-svc: a message from memory beside a bare handler, and a durable post beside the group commits of its store
//! alone.

use std::{env, time::Duration};

use anyhow::{Context, Result, ensure};
use durable::{Durable, Options, WriteError};
use hyper::StatusCode;
use serde_json::json;
use testbed::{Launch, RunningService, Scratch, Service};

use super::median;
use crate::{
    Plan,
    client::Connection,
    load::{self, Length, Round, Worker},
    peers::bare,
    report::{Bound, Figure, Report},
    stage::Peer,
};

const CONNECTIONS: usize = 64;

/// Bytes of a message.
const SIZE: usize = 200;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

struct Getter {
    connection: Connection,
    path: String,
    size: usize,
}

impl Worker for Getter {
    async fn work(&mut self, _: u64) -> Result<()> {
        let answer = self.connection.get(&self.path).await?;
        ensure!(
            answer.status == StatusCode::OK && answer.body.len() == self.size,
            "{} answered {} with {} bytes",
            self.path,
            answer.status,
            answer.body.len()
        );
        Ok(())
    }
}

struct Poster {
    connection: Connection,
    prefix: String,
}

impl Worker for Poster {
    async fn work(&mut self, turn: u64) -> Result<()> {
        let message = message(&self.prefix, turn);
        let answer = self
            .connection
            .post("/messages", &json!({"message": message}))
            .await?;
        ensure!(
            answer.status == StatusCode::OK,
            "a post was answered {}",
            answer.status
        );
        Ok(())
    }
}

/// Puts the same rows into a table of the same kind, without HTTP.
struct Committer {
    table: Durable,
    prefix: String,
}

impl Worker for Committer {
    async fn work(&mut self, turn: u64) -> Result<()> {
        let message = message(&self.prefix, turn);
        let key = format!("{:-<32}", format!("{turn}{}", self.prefix));
        self.table
            .transact(move |tx| {
                tx.put("messages", key.as_bytes(), message.as_bytes());
                Ok::<_, WriteError>(())
            })
            .await?;
        Ok(())
    }
}

/// `GET /messages/{digest}` of a message that lies in memory.
pub(crate) async fn cached(plan: &Plan, report: &mut Report) -> Result<()> {
    let service = service(plan).await?;
    let mut connection = Connection::open(service.url()).await?;
    let posted = connection
        .post("/messages", &json!({"message": message("", 0)}))
        .await?;
    let digest = posted.json(StatusCode::OK)?["digest"]
        .as_str()
        .context("no digest")?
        .to_owned();
    let path = format!("/messages/{digest}");
    let size = connection.get(&path).await?.body.len();
    let bare = bare_handler(size).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        for (url, rounds) in [(service.url(), &mut ours), (bare.url.as_str(), &mut theirs)] {
            let mut getters = Vec::new();
            for _ in 0..CONNECTIONS {
                let (connection, path) = (Connection::open(url).await?, path.clone());
                getters.push(Getter {
                    connection,
                    path,
                    size,
                });
            }
            let round = load::run(getters, Length::Time(plan.round())).await?;
            report.progress(&format!("cached message, {url}"), &round);
            rounds.push(round);
        }
    }
    let what = "GET /messages/{digest}, cached, rate";
    judge(
        report,
        what,
        "bare handler",
        Bound::AtLeast(0.9),
        (ours, theirs),
    )
}

/// `POST /messages` of new messages, each durable before its answer.
pub(crate) async fn durable(plan: &Plan, report: &mut Report) -> Result<()> {
    let service = service(plan).await?;
    let dir = Scratch::new("bench-durable")?;
    let table = Durable::open(dir.path(), Options::new("bench", 1))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let mut posters = Vec::new();
        let mut committers = Vec::new();
        for worker in 0..CONNECTIONS {
            let prefix = format!("-{round}-{worker}");
            let connection = Connection::open(service.url()).await?;
            posters.push(Poster {
                connection,
                prefix: prefix.clone(),
            });
            committers.push(Committer {
                table: table.clone(),
                prefix,
            });
        }
        let posted = load::run(posters, Length::Time(plan.round())).await?;
        report.progress("durable post, message-hash-svc", &posted);
        ours.push(posted);
        let committed = load::run(committers, Length::Time(plan.round())).await?;
        report.progress("durable post, group commits alone", &committed);
        theirs.push(committed);
    }
    table.close().await;
    let what = "POST /messages, durable, rate";
    judge(
        report,
        what,
        "group commits alone",
        Bound::AtLeast(0.8),
        (ours, theirs),
    )
}

/// Letters that compression makes little of.
fn message(prefix: &str, turn: u64) -> String {
    let mut text = format!("{turn}{prefix} ");
    let mut state = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() < SIZE {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        text.push(char::from(b'a' + (state >> 59).to_le_bytes()[0] % 26));
    }
    text
}

async fn service(plan: &Plan) -> Result<RunningService> {
    Service::new("message-hash-svc")
        .binary(plan.binaries.join("message-hash-svc"))
        .env("MESSAGE_HASH_LOG_LEVEL", "warn,service_kit=info")
        .start()
        .await
        .context("starting message-hash-svc; `just bench` builds it first")
}

async fn bare_handler(size: usize) -> Result<Peer> {
    let process = Launch::new("bare", env::current_exe()?)
        .args(["bare", "--size", &size.to_string()])
        .spawn()?;
    Peer::listening(process, bare::LISTENING, START).await
}

fn judge(
    report: &mut Report,
    what: &str,
    beside: &str,
    bound: Bound,
    (ours, theirs): (Vec<Round>, Vec<Round>),
) -> Result<()> {
    let ours = median(ours).context("no round of ours")?;
    let theirs = median(theirs).context("no round of a peer")?;
    report.add(Figure {
        what: what.to_owned(),
        beside: beside.to_owned(),
        unit: "/s",
        ours: ours.rate(),
        theirs: theirs.rate(),
        bound,
    });
    Ok(())
}
