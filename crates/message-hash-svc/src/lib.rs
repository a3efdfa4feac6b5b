//! The SHA-256 digest of a message, and the message back.
//!
//! `POST /messages` keeps a message and answers its digest; `GET /messages/{digest}` gives it back.
//! Who got a digest can ask for the message for good: the answer comes after the message is on
//! disk, and what comes off the disk is hashed again before anybody sees it.
//!
//! The way of a request: [`http`] (the form of the message challenge) → [`messages`] (limits,
//! hashing, checking) → [`store`] (bodies under digests; embedded on [`durable`]).

pub mod commands;
pub mod digest;
pub mod http;
pub mod message;
pub mod messages;
pub mod metrics;
pub mod settings;
pub mod store;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use service_kit::health::Health;
use service_kit::server::{self, Parts};

use crate::http::{Api, Rules};
use crate::messages::{CacheLimits, Messages};
use crate::metrics::MessageMetrics;
use crate::settings::Settings;
use crate::store::embedded::EmbeddedStore;

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
///
/// It could not start, or its store failed: then only a new process may go on.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let shutdown = server::shutdown_signal()?;
    let registry = service_kit::metrics::registry()?;
    let metrics = MessageMetrics::register(&registry)?;
    let mut options = EmbeddedStore::options();
    options.on_commit = Some(Arc::new({
        let metrics = metrics.clone();
        move |commit| metrics.committed(commit)
    }));
    let store = EmbeddedStore::open(&settings.data_dir, options)?;
    let cache = CacheLimits {
        bytes: settings.cache_bytes,
        max_age: None,
    };
    let messages = Messages::new(
        Arc::new(store.clone()),
        metrics,
        settings.message_limit,
        cache,
    );
    let api = Api {
        messages: Arc::new(messages),
        backup: Some(Arc::new(store.clone())),
        rules: Rules::of(&settings),
    };
    let scrub_every = settings.scrub_every.0;
    let parts = Parts {
        listener: server::bind(settings.listen, &settings.server, "MESSAGE_HASH")?,
        settings: settings.server,
        health: Health::new(vec![Arc::new(store.clone())]),
        registry,
        problems: http::PROBLEMS,
    };
    serve_until(parts, (api, scrub_every), store, shutdown).await
}

/// Serves until `shutdown` resolves or `store` fails, drains, and closes the store.
///
/// # Errors
///
/// The server or the store failed.
pub async fn serve_until(
    parts: Parts,
    (api, scrub_every): (Api, Duration),
    store: EmbeddedStore,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let down = async {
        tokio::select! {
            () = shutdown => (),
            () = store.poisoned() => (),
        }
    };
    let upkeep = [
        tokio::spawn(Arc::clone(&api.messages).expire_forever()),
        tokio::spawn(Arc::clone(&api.messages).scrub_forever(scrub_every)),
    ];
    let served = http::serve(parts, api, down).await;
    for task in upkeep {
        task.abort();
    }
    served.context("serving")?;
    // Also when it failed only on the way down.
    if store.is_poisoned() {
        bail!("the store failed to write; the next start will copy it before it is ready");
    }
    store.close().await;
    Ok(())
}
