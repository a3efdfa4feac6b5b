//! What is done to PostgreSQL: `migrate`, `copy`, `rebalance`.

use std::str::FromStr;

use anyhow::{Context, ensure};
use clap::ArgMatches;
use prometheus::Registry;
use sqlx::postgres::PgConnectOptions;

use crate::commands::bar::Bar;
use crate::commands::upkeep::{open, say};
use crate::digest::Digest;
use crate::message::Message;
use crate::settings::Settings;
use crate::store::postgres::{PostgresStore, migrate};
use crate::store::{Found, MessageStore};

/// Messages that are copied at once.
const PAGE: usize = 128;

pub(super) async fn migrate(settings: Settings, args: ArgMatches) -> anyhow::Result<()> {
    let role = args.get_one::<String>("grant").map(String::as_str);
    let to = args.get_one::<i64>("to").copied();
    let databases = match args.get_one::<String>("url") {
        Some(url) => vec![("database".to_owned(), PgConnectOptions::from_str(url)?)],
        None => {
            let shards = settings.postgres()?.shards.into_iter();
            shards
                .map(|it| (format!("shard {}", it.name), it.primary))
                .collect()
        }
    };
    for (name, database) in databases {
        let bar = Bar::new("migrating");
        let version = migrate::migrate(&database, to, role, &|step, of| bar.show(step, of)).await;
        drop(bar);
        let version = version.with_context(|| format!("migrating {name}"))?;
        say(&format!("{name} has schema version {version}"))?;
    }
    Ok(())
}

/// Running it again copies what is missing.
pub(super) async fn copy(settings: Settings) -> anyhow::Result<()> {
    let from = open(&settings)?.context("a service uses the embedded store: stop it first")?;
    let to = PostgresStore::open(settings.postgres()?, &Registry::new())?;
    let bar = Bar::new("copying");
    let of = from.count().await?;
    let (mut last, mut done, mut damaged) = (None, 0, 0);
    loop {
        let page = from.page(last, PAGE).await?;
        let Some((digest, _)) = page.last() else {
            break;
        };
        last = Some(*digest);
        done += page.len() as u64;
        damaged += copy_page(&to, page).await?;
        bar.show(done, of);
    }
    drop(bar);
    say(&format!(
        "{} of {done} messages and tombstones copied and compared",
        done - damaged
    ))?;
    ensure!(
        damaged == 0,
        "{damaged} messages are damaged and were left out"
    );
    Ok(())
}

/// Copies a page, reads it back, and tells how many were damaged before.
async fn copy_page(to: &PostgresStore, page: Vec<(Digest, Found)>) -> anyhow::Result<u64> {
    let mut damaged = 0;
    let mut messages = Vec::new();
    for (digest, found) in page {
        match found {
            Found::Message(body, expiry) if Digest::of(&body) == digest => {
                if !expiry.has_passed() {
                    messages.push(Message {
                        digest,
                        body,
                        expiry,
                    });
                }
            }
            Found::Deleted { blocks: true } => {
                to.delete(&digest, true).await?;
            }
            Found::Deleted { blocks: false } | Found::Absent => (),
            Found::Message(..) | Found::Damaged => damaged += 1,
        }
    }
    if messages.is_empty() {
        return Ok(damaged);
    }
    to.put(messages.clone()).await?;
    for message in messages {
        let digest = message.digest;
        match to.get(&digest, &[]).await? {
            Found::Message(body, expiry) if body == message.body && expiry >= message.expiry => (),
            // Deleted there since: that counts.
            Found::Deleted { .. } => (),
            found => anyhow::bail!("message {digest} did not arrive as it was: {found:?}"),
        }
    }
    Ok(damaged)
}

pub(super) async fn rebalance(settings: Settings) -> anyhow::Result<()> {
    ensure!(
        settings.postgres_also_read.is_some(),
        "MESSAGE_HASH_POSTGRES_ALSO_READ is not set: nothing is to be moved"
    );
    let store = PostgresStore::open(settings.postgres()?, &Registry::new())?;
    let bar = Bar::new("moving");
    let moved = store.rebalance(&mut |it| bar.show(it.rows, it.of)).await?;
    drop(bar);
    say(&format!("{moved} messages moved"))
}
