//! `show`, `list`, `watch`, `force-release`: locks as everybody may see them.

use lock_client::{Happened, HolderView, LockView, Mode};
use serde_json::json;

use crate::cli::{Connection, ForceRelease, List, Output, Show, Watch};
use crate::connect;
use crate::exit::{Failure, UNAVAILABLE};
use crate::output::{self, human, printable};

/// Locks of one page.
const PAGE: u32 = 500;

pub(crate) async fn show(connection: &Connection, show: &Show) -> Result<u8, Failure> {
    let lock = connect::native(connection)?.inspect(&show.key).await?;
    match connection.output {
        Output::Json => output::json(&lock)?,
        _ if lock.holders.is_empty() && lock.waiters.is_empty() => output::line("free")?,
        _ => output::table(
            ["", "HOLDER", "MODE", "FENCING TOKEN", "FOR", "TTL", "LEFT"],
            &rows(&lock),
        )?,
    }
    Ok(0)
}

fn rows(lock: &LockView) -> Vec<[String; 7]> {
    let holders = lock.holders.iter().map(|holder| {
        [
            "held".to_owned(),
            name(holder.holder.as_deref()),
            mode(holder.mode),
            holder.fencing_token.to_string(),
            human(holder.held_for),
            human(holder.ttl),
            human(holder.remaining),
        ]
    });
    let waiters = lock.waiters.iter().map(|waiter| {
        let none = String::new;
        [
            "waits".to_owned(),
            name(waiter.holder.as_deref()),
            mode(waiter.mode),
            none(),
            human(waiter.waiting_for),
            none(),
            none(),
        ]
    });
    holders.chain(waiters).collect()
}

pub(crate) async fn list(connection: &Connection, list: &List) -> Result<u8, Failure> {
    let client = connect::native(connection)?;
    let mut locks: Vec<LockView> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = client.list(&list.prefix, PAGE, cursor.as_deref()).await?;
        locks.extend(page.locks);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if connection.output == Output::Json {
        output::json(&locks)?;
        return Ok(0);
    }
    let row = |lock: &LockView| {
        let first = lock.holders.first();
        let holder = match (first, lock.holders.len()) {
            (None, _) => "-".to_owned(),
            (Some(first), 1) => name(first.holder.as_deref()),
            (Some(first), all) => format!("{} +{}", name(first.holder.as_deref()), all - 1),
        };
        [
            printable(&lock.key),
            holder,
            first.map_or_else(String::new, |first| mode(first.mode)),
            first.map_or_else(String::new, |first| human(first.held_for)),
            lock.waiters.len().to_string(),
        ]
    };
    let rows: Vec<_> = locks.iter().map(row).collect();
    output::table(["KEY", "HOLDER", "MODE", "FOR", "WAITERS"], &rows)?;
    Ok(0)
}

pub(crate) async fn watch(connection: &Connection, watch: &Watch) -> Result<u8, Failure> {
    let client = connect::native(connection)?;
    let mut events = match watch.prefix || watch.key.is_empty() {
        true => client.watch_prefix(&watch.key).await?,
        false => client.watch(&watch.key).await?,
    };
    let mut left = watch.count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(happened) = events.next().await? else {
            let why = "the lock service closed the stream of events";
            return Err(Failure::new(UNAVAILABLE, why));
        };
        match (happened, connection.output) {
            (Happened::Event(event), Output::Json) => output::json(&event)?,
            (Happened::Event(event), _) => {
                let holder = name(event.holder.as_deref());
                let token = event.fencing_token.unwrap_or_else(|| "-".to_owned());
                let reason = event
                    .reason
                    .map(|reason| format!("  ({})", printable(&reason)));
                let (key, reason) = (printable(&event.key), reason.unwrap_or_default());
                let (at, kind) = (event.at, event.event);
                output::line(&format!("{at}  {kind:8}  {key}  {holder}  {token}{reason}"))?;
            }
            (Happened::Missed(count), Output::Json) => output::json(&json!({ "missed": count }))?,
            (Happened::Missed(_), _) => output::line("events were missed: look at the locks anew")?,
        }
        left -= 1;
    }
    Ok(0)
}

pub(crate) async fn force_release(
    connection: &Connection,
    order: &ForceRelease,
) -> Result<u8, Failure> {
    let client = connect::native(connection)?;
    let released = client.force_release(&order.key, &order.reason).await?;
    match connection.output {
        Output::Json => output::json(&json!({ "key": order.key, "released": released }))?,
        _ if released.is_empty() => output::line("nobody held it")?,
        _ => {
            let names: Vec<_> = released.iter().map(taken_from).collect();
            output::line(&format!("taken from {}", names.join(", ")))?;
        }
    }
    Ok(0)
}

fn taken_from(holder: &HolderView) -> String {
    format!(
        "{} (token {})",
        name(holder.holder.as_deref()),
        holder.fencing_token
    )
}

fn name(holder: Option<&str>) -> String {
    holder.map_or_else(|| "?".to_owned(), printable)
}

fn mode(mode: Mode) -> String {
    match mode {
        Mode::Exclusive => "exclusive".to_owned(),
        Mode::Shared => "shared".to_owned(),
        Mode::Permit { limit, weight } => format!("{weight} of {limit} permits"),
    }
}
