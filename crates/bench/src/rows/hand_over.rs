//! A lock that a hundred want goes from hand to hand: from the send of a release to the answer of the next acquire, beside one etcd
//! transaction on the idle etcd.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use etcd_client::{Txn, TxnOp};
use hyper::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    Plan,
    client::Connection,
    load::Round,
    report::{Bound, Figure, Report},
    stage::Stage,
};

const WAITERS: usize = 100;

/// When the last release was sent.
type Sent = Arc<Mutex<Option<Instant>>>;

pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let stage = Stage::set(plan).await?;
    let replicas = [
        stage.shared_lock(plan).await?,
        stage.shared_lock(plan).await?,
    ];
    let urls = [replicas[0].url(), replicas[1].url()];
    let mut one = Round::empty()?;
    let mut handed = Round::empty()?;
    for round in 0..plan.rounds {
        transactions(&stage, &mut one).await?;
        let key = format!("bench-hand-over-{round}");
        queue(&urls, &key, &mut handed).await?;
    }
    report.add(Figure {
        what: format!("hand-over with {WAITERS} waiting, two replicas, p99"),
        beside: "one etcd transaction, p99".into(),
        unit: "ms",
        ours: handed.quantile_ms(0.99),
        theirs: one.quantile_ms(0.99),
        bound: Bound::AtMost(2.0),
    });
    Ok(())
}

/// Transactions one after the other, each a put.
async fn transactions(stage: &Stage, round: &mut Round) -> Result<()> {
    let mut client = stage.client.kv_client();
    for _ in 0..WAITERS {
        let begun = Instant::now();
        let put = TxnOp::put("/bench/one", "bench", None);
        client.txn(Txn::new().and_then([put])).await?;
        round.record(begun.elapsed());
    }
    Ok(())
}

/// All queue up one after the other behind a holder, who then lets go; each who gets the lock gives it back at once.
async fn queue(urls: &[&str], key: &str, round: &mut Round) -> Result<()> {
    let sent = Sent::default();
    let mut first = Connection::open(urls[0]).await?;
    let tenure = acquire(&mut first, key, "first", 0).await?;
    let mut waiting = JoinSet::new();
    for place in 0..WAITERS {
        let mut connection = Connection::open(urls[place % urls.len()]).await?;
        let (lock, sent) = (key.to_owned(), Arc::clone(&sent));
        waiting.spawn(async move {
            let tenure = acquire(&mut connection, &lock, &place.to_string(), 60_000).await?;
            let took = sent
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .map(|sent| sent.elapsed());
            release(&mut connection, &lock, &tenure, &sent).await?;
            anyhow::Ok((place, tenure.token, took))
        });
        queued(&mut first, key, place + 1).await?;
    }
    release(&mut first, key, &tenure, &sent).await?;
    let mut served = Vec::new();
    while let Some(done) = waiting.join_next().await {
        let (place, token, took) = done??;
        served.push((token, place));
        round.record(took.context("nobody released before")?);
    }
    served.sort_unstable();
    ensure!(
        served.iter().map(|(_, place)| *place).eq(0..WAITERS),
        "the waiters were not served in order"
    );
    Ok(())
}

struct Tenure {
    lease: serde_json::Value,
    token: u64,
}

async fn acquire(
    connection: &mut Connection,
    key: &str,
    holder: &str,
    wait_ms: u64,
) -> Result<Tenure> {
    let body = json!({"holder": holder, "ttl_ms": 60_000, "wait_ms": wait_ms});
    let path = format!("/v1/locks/{key}/acquire");
    let acquired = connection
        .post(&path, &body)
        .await?
        .json(StatusCode::CREATED)?;
    let token = acquired["fencing_token"].as_str().context("no token")?;
    Ok(Tenure {
        token: token.parse()?,
        lease: acquired["lease_id"].clone(),
    })
}

async fn release(
    connection: &mut Connection,
    key: &str,
    tenure: &Tenure,
    sent: &Sent,
) -> Result<()> {
    let body = json!({"lease_id": tenure.lease, "fencing_token": tenure.token.to_string()});
    *sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    let path = format!("/v1/locks/{key}/release");
    connection.post(&path, &body).await?.json(StatusCode::OK)?;
    Ok(())
}

/// Waits until so many stand in the queue.
async fn queued(connection: &mut Connection, key: &str, length: usize) -> Result<()> {
    loop {
        let lock = connection
            .get(&format!("/v1/locks/{key}"))
            .await?
            .json(StatusCode::OK)?;
        if lock["waiters"]
            .as_array()
            .is_some_and(|waiters| waiters.len() >= length)
        {
            return Ok(());
        }
    }
}
