//! Care for a store: `backup`, `verify`, `restore`, `scrub`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::ArgMatches;
use durable::OpenError;
use reqwest::Method;
use serde::Deserialize;

use crate::commands::bar::Bar;
use crate::commands::{calls, file_of};
use crate::messages::{CacheLimits, Messages, Scrubbed};
use crate::metrics::MessageMetrics;
use crate::settings::Settings;
use crate::store::embedded::{self, EmbeddedStore};
use crate::store::{Backup, MessageStore, Summary};

/// The file has its name only when it is whole, synced, and was read back.
pub(super) async fn backup(settings: Settings, args: ArgMatches) -> anyhow::Result<()> {
    let file = file_of(&args);
    let partial = PathBuf::from(format!("{}.partial", file.display()));
    let out = File::create(&partial).with_context(|| format!("creating {}", partial.display()))?;
    let mut out = BufWriter::new(out);
    match open(&settings)? {
        Some(store) => {
            let bar = Bar::new("backing up");
            store.backup(&mut out, &mut |it| bar.show(it.rows, it.of))?;
        }
        None => {
            let mut answer = calls::ask(&settings, Method::GET, "/admin/backup").await?;
            let bar = Bar::bytes("backing up", None);
            while let Some(piece) = answer.chunk().await? {
                out.write_all(&piece)?;
                bar.add(piece.len());
            }
        }
    }
    out.into_inner().map_err(io::Error::from)?.sync_all()?;
    let summary = check(&partial)?;
    std::fs::rename(&partial, &file)?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()?;
    say(&format!("{}: {}", file.display(), told(summary)))
}

pub(super) async fn verify(args: ArgMatches) -> anyhow::Result<()> {
    let file = file_of(&args);
    let summary = check(&file)?;
    say(&format!("{}: {}", file.display(), told(summary)))
}

pub(super) async fn restore(settings: Settings, args: ArgMatches) -> anyhow::Result<()> {
    let file = file_of(&args);
    let bar = Bar::new("restoring");
    let summary = embedded::restore(&settings.data_dir, &mut reader(&file)?, &mut |it| {
        bar.show(it.rows, it.of);
    })?;
    drop(bar);
    say(&format!(
        "{}: {}",
        settings.data_dir.display(),
        told(summary)
    ))
}

/// Ends with an error when a message is damaged.
pub(super) async fn scrub(settings: Settings) -> anyhow::Result<()> {
    let bar = Bar::new("scrubbing");
    let done = match open(&settings)? {
        Some(store) => {
            let store: Arc<dyn MessageStore> = Arc::new(store);
            let metrics = MessageMetrics::register(&prometheus::Registry::new())?;
            let cache = CacheLimits {
                bytes: 0,
                max_age: None,
            };
            let messages = Messages::new(store, metrics, settings.message_limit, cache);
            let told = |so_far: Scrubbed| bar.show(so_far.checked, so_far.of);
            messages.scrub(None, told).await?
        }
        None => scrub_by_service(&settings, &bar).await?,
    };
    drop(bar);
    let Scrubbed {
        checked, damaged, ..
    } = done;
    ensure!(damaged == 0, "{damaged} of {checked} messages are damaged");
    say(&format!("{checked} messages are sound"))
}

/// One line of the service's answer.
#[derive(Deserialize)]
struct Line {
    checked: u64,
    of: u64,
    damaged: u64,
    done: bool,
}

async fn scrub_by_service(settings: &Settings, bar: &Bar) -> anyhow::Result<Scrubbed> {
    let mut answer = calls::ask(settings, Method::POST, "/admin/scrub").await?;
    let mut rest = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Line = serde_json::from_slice(&rest[..end])?;
            rest.drain(..=end);
            bar.show(line.checked, line.of);
            if line.done {
                return Ok(Scrubbed {
                    checked: line.checked,
                    of: line.of,
                    damaged: line.damaged,
                });
            }
        }
    }
    anyhow::bail!("the service gave the scrub up");
}

/// The embedded store; `None` when a service uses it. A store that is not there is not made.
pub(super) fn open(settings: &Settings) -> anyhow::Result<Option<EmbeddedStore>> {
    let dir = &settings.data_dir;
    ensure!(dir.is_dir(), "there is no store in {}", dir.display());
    match EmbeddedStore::open(dir, EmbeddedStore::options()) {
        Ok(store) => Ok(Some(store)),
        Err(OpenError::InUse { .. }) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}

fn check(file: &Path) -> anyhow::Result<Summary> {
    let bar = Bar::new("verifying");
    let summary = embedded::verify(&mut reader(file)?, &mut |it| bar.show(it.rows, it.of));
    summary.with_context(|| file.display().to_string())
}

fn reader(file: &Path) -> anyhow::Result<BufReader<File>> {
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    Ok(BufReader::new(opened))
}

fn told(summary: Summary) -> String {
    match summary.damaged {
        0 => format!("{} rows, all sound", summary.rows),
        damaged => format!("{} rows, {damaged} marked as damaged", summary.rows),
    }
}

pub(super) fn say(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}
