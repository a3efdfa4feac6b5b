//! `POST /lease` on new keys from 64 connections, ours and the four-call lease on the same etcd, as a burst and over a time.

use anyhow::{Context, Result};
use hyper::StatusCode;

use super::median;
use crate::{
    Plan,
    client::Connection,
    load::{self, Length, Round, Worker},
    report::{Bound, Figure, Report},
    stage::Stage,
};

const CONNECTIONS: usize = 64;

/// Acquires of a burst, enough for the pools of ours to run dry.
const BURST: u64 = 2_000;

/// Longer than any round, so that no lease runs out while others are measured.
const TTL: &str = "600s";

struct Taker {
    connection: Connection,
    prefix: String,
}

impl Worker for Taker {
    async fn work(&mut self, turn: u64) -> Result<()> {
        let key = format!("{}{turn}", self.prefix);
        let answer = self.connection.lease(&key, TTL).await?;
        anyhow::ensure!(
            answer.status == StatusCode::CREATED,
            "/lease answered {} for a new key",
            answer.status
        );
        Ok(())
    }
}

pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let stage = Stage::set(plan).await?;
    let ours = stage.shared_lock(plan).await?;
    let four_calls = stage.four_calls().await?;
    let mut sides = vec![
        ("shared-lock-svc".to_owned(), ours.url().to_owned()),
        ("four-call lease".to_owned(), four_calls.url.clone()),
    ];
    sides.extend(plan.peer_url.iter().map(|url| (url.clone(), url.clone())));
    for (length, name) in [
        (Length::Operations(BURST), "burst"),
        (Length::Time(plan.round()), "sustained"),
    ] {
        let mut rounds = vec![Vec::new(); sides.len()];
        for round in 0..plan.rounds {
            for (side, (label, url)) in sides.iter().enumerate() {
                let prefix = format!("bench-{name}-{round}-{side}-");
                let came = one_round(url, &prefix, length).await?;
                report.progress(&format!("lease {name}, {label}"), &came);
                rounds[side].push(came);
                stage.clear(&prefix).await?;
            }
        }
        judge(name, &sides, rounds, report)?;
    }
    Ok(())
}

async fn one_round(url: &str, prefix: &str, length: Length) -> Result<Round> {
    let mut takers = Vec::new();
    for worker in 0..CONNECTIONS {
        takers.push(Taker {
            connection: Connection::open(url).await?,
            prefix: format!("{prefix}{worker}-"),
        });
    }
    load::run(takers, length).await
}

fn judge(
    name: &str,
    sides: &[(String, String)],
    rounds: Vec<Vec<Round>>,
    report: &mut Report,
) -> Result<()> {
    let mut medians = rounds.into_iter().map(median);
    let ours = medians.next().flatten().context("no round of ours")?;
    for ((label, _), theirs) in sides.iter().skip(1).zip(medians) {
        let theirs = theirs.context("no round of a peer")?;
        report.add(Figure {
            what: format!("POST /lease, {name}, rate"),
            beside: label.clone(),
            unit: "/s",
            ours: ours.rate(),
            theirs: theirs.rate(),
            bound: Bound::AtLeast(2.5),
        });
        report.add(Figure {
            what: format!("POST /lease, {name}, p99"),
            beside: label.clone(),
            unit: "ms",
            ours: ours.quantile_ms(0.99),
            theirs: theirs.quantile_ms(0.99),
            bound: Bound::AtMost(0.5),
        });
    }
    Ok(())
}
