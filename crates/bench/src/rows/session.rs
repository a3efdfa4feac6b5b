//! Acquire and release in a session from 256 connections, beside plain one-key etcd transactions at the same concurrency.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::median;
use crate::{
    Plan,
    client::Connection,
    cost,
    load::{self, Length, Round, Worker},
    peers::transactions::Pairs,
    report::{Bound, Figure, Report},
    stage::Stage,
};

const CONNECTIONS: usize = 256;

/// Connections that share a session, as the threads of one client would.
const SHARING: usize = 16;

struct Pair {
    connection: Connection,
    session: Value,
    key: String,
}

impl Worker for Pair {
    async fn work(&mut self, _: u64) -> Result<()> {
        let body = json!({"holder": "bench", "session_id": self.session});
        let path = format!("/v1/locks/{}/acquire", self.key);
        let answer = self.connection.post(&path, &body).await?;
        let tenure = answer.json(StatusCode::CREATED)?;
        let body =
            json!({"lease_id": tenure["lease_id"], "fencing_token": tenure["fencing_token"]});
        let path = format!("/v1/locks/{}/release", self.key);
        self.connection
            .post(&path, &body)
            .await?
            .json(StatusCode::OK)?;
        Ok(())
    }
}

/// A round, and the processor time that etcd used for it.
struct Priced {
    round: Round,
    etcd: Option<Duration>,
}

pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let stage = Stage::set(plan).await?;
    let service = stage.shared_lock(plan).await?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let pairs = pairs(service.url()).await?;
        ours.push(priced(&stage, pairs, plan).await?);
        plain.push(priced(&stage, Pairs::of(&stage.client, CONNECTIONS), plan).await?);
        for (label, rounds) in [("shared-lock-svc", &ours), ("plain transactions", &plain)] {
            if let Some(last) = rounds.last() {
                report.progress(&format!("session, {label}"), &last.round);
            }
        }
    }
    let (ours, plain) = (total(ours)?, total(plain)?);
    report.add(Figure {
        what: "acquire + release in a session, rate".into(),
        beside: "plain etcd transactions".into(),
        unit: "pairs/s",
        ours: ours.0.rate(),
        theirs: plain.0.rate(),
        bound: Bound::AtLeast(2.0),
    });
    if let (Some(ours), Some(theirs)) = (ours.1, plain.1) {
        report.add(Figure {
            what: "acquire + release in a session, per CPU second of etcd".into(),
            beside: "plain etcd transactions".into(),
            unit: "pairs",
            ours,
            theirs,
            bound: Bound::AtLeast(2.0),
        });
    }
    Ok(())
}

async fn pairs(url: &str) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    let mut session = Value::Null;
    for worker in 0..CONNECTIONS {
        let mut connection = Connection::open(url).await?;
        if worker % SHARING == 0 {
            let body = json!({"holder": "bench", "ttl_ms": 600_000});
            let opened = connection.post("/v1/sessions", &body).await?;
            session = opened.json(StatusCode::CREATED)?["session_id"].clone();
        }
        pairs.push(Pair {
            connection,
            session: session.clone(),
            key: format!("bench-session-{worker}"),
        });
    }
    Ok(pairs)
}

async fn priced<W: Worker>(stage: &Stage, workers: Vec<W>, plan: &Plan) -> Result<Priced> {
    let used = || stage.etcd_pid().map(cost::of).transpose();
    let before = used()?;
    let round = load::run(workers, Length::Time(plan.round())).await?;
    let etcd = used()?
        .zip(before)
        .map(|(after, before)| after.cpu - before.cpu);
    Ok(Priced { round, etcd })
}

/// The median round, and pairs for a second of etcd's processor time over all rounds.
fn total(rounds: Vec<Priced>) -> Result<(Round, Option<f64>)> {
    let pairs: u64 = rounds
        .iter()
        .map(|priced| priced.round.latencies.len())
        .sum();
    let etcd: Option<Duration> = rounds.iter().map(|priced| priced.etcd).sum();
    let median = median(rounds.into_iter().map(|priced| priced.round).collect());
    let per_second = etcd.map(|etcd| pairs as f64 / etcd.as_secs_f64());
    Ok((median.context("no round")?, per_second))
}
