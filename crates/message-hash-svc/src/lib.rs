//! The SHA-256 digest of a message, and the message back.
//!
//! `POST /messages` keeps a message and answers its digest; `GET /messages/{digest}` gives it back.
//! Who got a digest can ask for the message for good: the answer comes after the message is on
//! disk, and what comes off the disk is hashed again before anybody sees it.
//!
//! The way of a request: [`http`] (the form of the message challenge) → [`messages`] (limits,
//! hashing, checking) → [`store`] (bodies under digests; embedded on [`durable`], or in PostgreSQL).

pub mod commands;
pub mod digest;
pub mod http;
pub mod message;
pub mod messages;
pub mod metrics;
pub mod settings;
pub mod store;
pub mod token;

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, bail};
use durable::Commit;
use prometheus::Registry;
use service_kit::cli::ServiceSettings;
use service_kit::health::{Health, Readiness};
use service_kit::server::{self, Parts};

use crate::http::{Api, Rules};
use crate::messages::{CacheLimits, Messages};
use crate::metrics::MessageMetrics;
use crate::settings::{Settings, StoreKind};
use crate::store::embedded::EmbeddedStore;
use crate::store::postgres::PostgresStore;
use crate::store::{Backup, MessageStore, Shared};

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
///
/// It could not start, or its store failed: then only a new process may go on.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let shutdown = server::shutdown_signal()?;
    server::check(settings.listen, &settings.server, Settings::PREFIX)?;
    let rules = Rules::of(&settings)?;
    settings.check_admin_key()?;
    let registry = service_kit::metrics::registry()?;
    let metrics = MessageMetrics::register(&registry)?;
    match settings.store {
        StoreKind::Embedded => {
            let store = open_embedded(&settings, &metrics)?;
            let shared = Arc::new(store.clone());
            let stores = Stores {
                messages: shared.clone(),
                readiness: shared.clone(),
                backup: Some(shared),
                shared: None,
            };
            let down = async {
                tokio::select! {
                    () = shutdown => (),
                    () = store.poisoned() => (),
                }
            };
            serve_until(settings, stores, (registry, metrics, rules), down).await?;
            // Also when it failed only on the way down.
            if store.is_poisoned() {
                bail!("the store failed to write; the next start will copy it before it is ready");
            }
            store.close().await;
        }
        StoreKind::Postgres => {
            let mut options = settings.postgres()?;
            options.on_commit = Some(told_of_commits(&metrics));
            let store = Arc::new(PostgresStore::open(options, &registry)?);
            let stores = Stores {
                messages: store.clone(),
                readiness: store.clone(),
                backup: None,
                shared: Some(store),
            };
            serve_until(settings, stores, (registry, metrics, rules), shutdown).await?;
        }
    }
    Ok(())
}

/// The store, as those see it who need a part of it.
struct Stores {
    messages: Arc<dyn MessageStore>,
    readiness: Arc<dyn Readiness>,
    backup: Option<Arc<dyn Backup>>,
    shared: Option<Arc<dyn Shared>>,
}

fn open_embedded(settings: &Settings, metrics: &MessageMetrics) -> anyhow::Result<EmbeddedStore> {
    let mut options = EmbeddedStore::options();
    options.on_commit = Some(told_of_commits(metrics));
    EmbeddedStore::open(&settings.data_dir, options)
        .context("setting data_dir (MESSAGE_HASH_DATA_DIR)")
}

fn told_of_commits(metrics: &MessageMetrics) -> Arc<dyn Fn(&Commit) + Send + Sync> {
    let metrics = metrics.clone();
    Arc::new(move |commit| metrics.committed(commit))
}

/// Serves until `shutdown` resolves, and drains.
async fn serve_until(
    settings: Settings,
    stores: Stores,
    (registry, metrics, rules): (Registry, MessageMetrics, Rules),
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let others_delete = settings.store == StoreKind::Postgres && settings.admin_key.is_some();
    let cache = CacheLimits {
        bytes: settings.cache_bytes,
        max_age: others_delete.then_some(settings.cache_max_age.0),
    };
    let mut messages = Messages::new(stores.messages, metrics, settings.message_limit, cache);
    if let Some(shared) = stores.shared {
        messages = messages.sharing(shared, settings.miss_rate);
    }
    let api = Api {
        messages: Arc::new(messages),
        backup: stores.backup,
        rules,
    };
    let upkeep = [
        tokio::spawn(Arc::clone(&api.messages).expire_forever()),
        tokio::spawn(Arc::clone(&api.messages).hear_forever()),
        tokio::spawn(Arc::clone(&api.messages).scrub_forever(settings.scrub_every.0)),
    ];
    let parts = Parts {
        listener: server::bind(settings.listen, &settings.server, Settings::PREFIX)
            .context("setting listen (MESSAGE_HASH_LISTEN)")?,
        settings: settings.server,
        health: Health::new(vec![stores.readiness]),
        registry,
        problems: http::PROBLEMS,
        document: http::document,
    };
    let served = http::serve(parts, api, shutdown).await;
    for task in upkeep {
        task.abort();
    }
    served.context("serving")
}
