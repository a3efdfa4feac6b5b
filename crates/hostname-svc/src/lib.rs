//! Unique hostnames, with counter and audit records in Vault.
//!
//! The way of a request: [`http`] → [`hostnames`] (the public verbs; the registry of stems) →
//! [`allocator`] (queue → lock → counter → keys → records) → [`store`] (documents moved by
//! check-and-set, in Vault or on this machine's disk). The lock of a prefix comes from
//! shared-lock-svc ([`locks`]). The values of a hostname are in [`hostname`], what is stored in
//! [`documents`].

pub mod allocator;
pub mod breaker;
pub mod documents;
pub mod hostname;
pub mod hostnames;
pub mod http;
pub mod locks;
pub mod metrics;
pub mod policy;
pub mod settings;
pub mod store;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use async_trait::async_trait;
use service_kit::{
    cli::ServiceSettings,
    health::{Health, Readiness},
    server::{self, Parts},
};
use uuid::Uuid;
use vault_kv::VaultKv;

use crate::{
    allocator::Allocator,
    hostnames::Hostnames,
    metrics::Metrics,
    settings::{Settings, StoreType},
    store::{
        DocumentStore, StoreError, embedded::EmbeddedStore, measured::Measured, vault::VaultStore,
        watched::Watched,
    },
};

/// How long the tasks of the prefixes may take to end.
const CLOSING: Duration = Duration::from_secs(3);

/// Why the process ends after a failed write to the disk.
const POISONED: &str = "the store failed to write; the next start will copy it before it is ready";

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or its store failed: then only a new process may go on.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    server::check(settings.listen, &settings.server, Settings::PREFIX)?;
    let (policies, policy_file) = settings.policies()?;
    let limits = settings.allocation.limits(settings.lock.outage, policies);
    let budget = limits.budget;
    let shutdown = server::shutdown_signal()?;
    let registry = service_kit::metrics::registry()?;
    let metrics = Metrics::register(&registry)?;
    let instance = format!("hostname-svc/{}", Uuid::new_v4());
    let locks = settings.lock.locks(&instance)?;
    let opened = Opened::open(&settings)?;
    if let Opened::Vault(store) = &opened {
        metrics::register_token_ttl(&registry, Arc::clone(store))?;
    }
    let watched = Watched::new(opened.store());
    let silence = settings.allocation.store_timeout.0 * 3 / 4;
    let watching_store = Arc::clone(&watched).watch(opened.name(), silence, metrics.clone());
    let watching_store = tokio::spawn(watching_store);
    let store: Arc<dyn DocumentStore> =
        Arc::new(Measured::new(watched, metrics.store_operations.clone()));
    let watching_locks = tokio::spawn(locks.clone().watch(metrics.clone()));
    // Without the lock service hostnames are looked up and listed all the same.
    let readiness = StoreReadiness {
        name: opened.name(),
        store: Arc::clone(&store),
    };
    let allocator = Allocator::new(Arc::clone(&store), locks, metrics.clone(), instance, limits);
    let hostnames = Arc::new(Hostnames::new(store, allocator, metrics.clone(), budget));
    let parts = Parts {
        listener: server::bind(settings.listen, &settings.server, Settings::PREFIX)
            .context("setting listen (HOSTNAME_SVC_LISTEN)")?,
        health: Health::new(vec![Arc::new(readiness)]),
        settings: settings.server,
        registry,
        problems: http::PROBLEMS,
        document: http::document,
    };
    let sweeper = tokio::spawn({
        let hostnames = Arc::clone(&hostnames);
        async move {
            hostnames
                .sweep_for_ever(settings.allocation.sweep_interval.0)
                .await
        }
    });
    let following = policy_file.map(|file| tokio::spawn(file.follow(metrics.policy_reloads)));
    let mut failed = None;
    let down = async {
        tokio::select! {
            () = shutdown => (),
            why = opened.failed() => failed = Some(why),
        }
    };
    http::serve(parts, Arc::clone(&hostnames), down)
        .await
        .context("serving")?;
    sweeper.abort();
    watching_store.abort();
    watching_locks.abort();
    following.iter().for_each(|task| task.abort());
    hostnames.close(CLOSING).await;
    match failed {
        Some(why) => bail!(why),
        None if opened.has_failed() => bail!(POISONED),
        None => Ok(()),
    }
}

/// The store that the settings name.
enum Opened {
    Vault(Arc<VaultStore>),
    Embedded(Arc<EmbeddedStore>),
}

impl Opened {
    fn open(settings: &Settings) -> anyhow::Result<Self> {
        match settings.store {
            StoreType::Embedded => {
                let store = EmbeddedStore::open(&settings.data_dir);
                let store = store.context("setting data_dir (HOSTNAME_SVC_DATA_DIR)")?;
                Ok(Self::Embedded(store))
            }
            StoreType::Vault => {
                let options = settings
                    .vault
                    .options(settings.allocation.store_timeout.0)?;
                let vault =
                    VaultKv::connect(options).map_err(|error| settings.vault.refusal(&error))?;
                Ok(Self::Vault(Arc::new(VaultStore::new(
                    vault,
                    &settings.vault.base_path,
                ))))
            }
        }
    }

    /// As the settings call it.
    fn name(&self) -> &'static str {
        match self {
            Self::Vault(_) => "vault",
            Self::Embedded(_) => "embedded",
        }
    }

    fn store(&self) -> Arc<dyn DocumentStore> {
        match self {
            Self::Vault(store) => Arc::clone(store) as Arc<dyn DocumentStore>,
            Self::Embedded(store) => Arc::clone(store) as Arc<dyn DocumentStore>,
        }
    }

    /// Resolves when the store must not or cannot be written to any more by this process.
    async fn failed(&self) -> String {
        match self {
            Self::Vault(store) => store.unfit().await,
            Self::Embedded(store) => {
                store.poisoned().await;
                POISONED.to_owned()
            }
        }
    }

    fn has_failed(&self) -> bool {
        matches!(self, Self::Embedded(store) if store.is_poisoned())
    }
}

struct StoreReadiness {
    name: &'static str,
    store: Arc<dyn DocumentStore>,
}

#[async_trait]
impl Readiness for StoreReadiness {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn check(&self) -> Result<(), String> {
        let told = |error: StoreError| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        self.store.ready().await.map_err(told)
    }
}
