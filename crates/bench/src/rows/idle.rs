//! 10,000 locks held in 100 sessions that are kept alive every third of their TTL: what that costs the service.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    Plan,
    client::Connection,
    cost,
    report::{Bound, Figure, Report},
    stage::Stage,
};

const SESSIONS: usize = 100;
const LOCKS: usize = 100;
const TTL: Duration = Duration::from_secs(15);

pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let stage = Stage::set(plan).await?;
    let service = stage.shared_lock(plan).await?;
    let at_rest = cost::of(service.pid())?;
    let mut keeping = JoinSet::new();
    let (mut opening, url) = (JoinSet::new(), service.url().to_owned());
    for session in 0..SESSIONS {
        opening.spawn(fill(url.clone(), session));
    }
    while let Some(filled) = opening.join_next().await {
        let (connection, session) = filled??;
        keeping.spawn(keep(connection, session));
    }
    let (before, began) = (cost::of(service.pid())?, Instant::now());
    tokio::select! {
        () = tokio::time::sleep(plan.round().max(TTL)) => (),
        // They keep for ever, unless one fails.
        Some(ended) = keeping.join_next() => ended??,
    }
    let after = cost::of(service.pid())?;
    let cores = (after.cpu - before.cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    report.add(Figure {
        what: format!("{} locks held: processor", SESSIONS * LOCKS),
        beside: "one core".into(),
        unit: "cores",
        ours: cores,
        theirs: 1.0,
        bound: Bound::AtMost(0.05),
    });
    report.add(Figure {
        what: format!("{} locks held: resident memory", SESSIONS * LOCKS),
        beside: "100 MB".into(),
        unit: "MB",
        ours: megabytes(after.resident),
        theirs: 100.0,
        bound: Bound::AtMost(1.0),
    });
    report.add(Figure {
        what: "at rest: resident memory".into(),
        beside: "20 MB".into(),
        unit: "MB",
        ours: megabytes(at_rest.resident),
        theirs: 20.0,
        bound: Bound::AtMost(1.0),
    });
    Ok(())
}

/// Opens a session and takes its locks.
async fn fill(url: String, session: usize) -> Result<(Connection, Value)> {
    let mut connection = Connection::open(&url).await?;
    let body = json!({"holder": "bench", "ttl_ms": TTL.as_millis()});
    let opened = connection.post("/v1/sessions", &body).await?;
    let id = opened.json(StatusCode::CREATED)?["session_id"].clone();
    for lock in 0..LOCKS {
        let body = json!({"holder": "bench", "session_id": id});
        let path = format!("/v1/locks/bench-idle-{session}-{lock}/acquire");
        connection
            .post(&path, &body)
            .await?
            .json(StatusCode::CREATED)?;
    }
    Ok((connection, id))
}

async fn keep(mut connection: Connection, session: Value) -> Result<()> {
    let id = session.as_str().context("no session id")?;
    let path = format!("/v1/sessions/{id}/keepalive");
    let mut ticks = interval(TTL / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        connection
            .post(&path, &json!({}))
            .await?
            .json(StatusCode::OK)?;
    }
}
