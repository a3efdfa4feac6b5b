//! Locks and leases over HTTP, on etcd leases.
//!
//! The way of a request: [`http`] (the native calls under `/v1`, and the tentens-tech/shared-lock
//! wire) → [`locks`] (limits, counting) → [`store`] (etcd, Vault, S3, a disk of its own, memory). The
//! stores without etcd run the pure machine of [`state`]. What happens to the locks comes back as events,
//! to callers and to the [`audit`] log. The values that all of them speak of are in [`lease`].

pub mod audit;
pub mod cache;
pub mod http;
pub mod lease;
pub mod locks;
pub mod metrics;
pub mod settings;
pub mod state;
pub mod store;

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use async_trait::async_trait;
use prometheus::Registry;
use service_kit::{
    health::{Health, Readiness},
    server::{self, Parts},
};
use tracing::warn;
use vault_kv::VaultKv;

use crate::{
    audit::AuditLog,
    cache::LeaseCache,
    http::Compat,
    locks::Locks,
    metrics::LockMetrics,
    settings::{Settings, StorageType, TokenEpoch, Written},
    store::{
        self as lock_store,
        embedded::EmbeddedStore,
        etcd::{EtcdMetrics, EtcdOptions, EtcdStore},
        memory::MemoryStore,
        register::{Register, RegisterOptions, RegisterStore},
        s3::S3Register,
        vault::VaultRegister,
    },
};

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or its store failed: then only a new process may go on.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    settings.check()?;
    let Settings(settings) = settings;
    let address = (settings.server_address, settings.server_port).into();
    server::check(address, &settings.server, Settings::PREFIX)?;
    if settings.pprof_enabled.0 {
        warn!("whoever reaches this service may take profiles of it");
    }
    let shutdown = server::shutdown_signal()?;
    let registry = service_kit::metrics::registry()?;
    let metrics = LockMetrics::register(&registry)?;
    let cache = match settings.cache_enabled.0 {
        true => Some(start_cache(settings.cache_size, &registry)?),
        false => None,
    };
    let store = Store::open(&settings, &registry).await?;
    let token_epoch = settings.token_epoch.map(|TokenEpoch(name)| name);
    let rules = (settings.limits).rules(token_epoch, settings.compat.go_replicas.0);
    let locks = Arc::new(Locks::start(
        Arc::clone(&store.locks),
        rules,
        metrics,
        cache,
    ));
    let audit = match settings.audit_log {
        Some(target) => {
            let (events, locks) = (store.locks.events(), Arc::clone(&locks));
            Some(AuditLog::start(target, events, locks)?)
        }
        None => None,
    };
    let parts = Parts {
        listener: server::bind(address, &settings.server, Settings::PREFIX).context(
            "settings server_address and server_port (SHARED_LOCK_SERVER_ADDRESS, SHARED_LOCK_SERVER_PORT)",
        )?,
        health: Health::new(vec![Arc::new(store.clone())]),
        settings: settings.server,
        registry,
        problems: http::PROBLEMS,
        document: http::document,
    };
    let compat = Compat::new(
        &parts.settings,
        settings.write_timeout.0,
        settings.pprof_enabled.0,
    );
    let served = serve_until(parts, locks, compat, &store, shutdown).await;
    if let Some(audit) = audit {
        audit.finish().await;
    }
    served
}

fn start_cache(size: i64, registry: &Registry) -> prometheus::Result<Arc<LeaseCache>> {
    let cache = Arc::new(LeaseCache::register(size, registry)?);
    let swept = Arc::clone(&cache);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LeaseCache::STALENESS).await;
            swept.sweep();
        }
    });
    Ok(cache)
}

/// Serves until `shutdown` resolves or the store fails, ends all waits, and drains.
async fn serve_until(
    parts: Parts,
    locks: Arc<Locks>,
    compat: Compat,
    store: &Store,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let drain_delay = parts.settings.drain_delay.0;
    let mut failed = false;
    let down = async {
        tokio::select! {
            () = shutdown => (),
            () = store.failed() => failed = true,
        }
        tokio::spawn(end_waits(Arc::clone(&locks), drain_delay));
    };
    http::serve(parts, Arc::clone(&locks), compat, down)
        .await
        .context("serving")?;
    // Once more: what the last requests left behind in the store.
    locks.close().await;
    if failed || store.has_failed() {
        bail!("the store failed to write; the next start will copy it before it is ready");
    }
    Ok(())
}

/// A draining server waits for open requests, and one that waits for a lock may take minutes.
async fn end_waits(locks: Arc<Locks>, delay: Duration) {
    tokio::time::sleep(delay).await;
    locks.close().await;
}

/// The store that the settings name.
#[derive(Clone)]
struct Store {
    locks: Arc<dyn lock_store::Store>,
    name: &'static str,
    embedded: Option<Arc<EmbeddedStore>>,
}

impl Store {
    async fn open(settings: &Written, registry: &Registry) -> anyhow::Result<Self> {
        match settings.storage_type {
            StorageType::Etcd => {
                let metrics = EtcdMetrics::new()?;
                metrics.register(registry)?;
                let token_epoch = settings.token_epoch.clone().map(|TokenEpoch(name)| name);
                let options = EtcdOptions {
                    metrics: Some(metrics),
                    ..settings.etcd.options(token_epoch)
                };
                let store = EtcdStore::connect(options).await?;
                Ok(Self::of("etcd", Arc::new(store)))
            }
            StorageType::Vault => {
                let options = settings.vault.options()?;
                let vault =
                    VaultKv::connect(options).map_err(|err| settings.vault.refusal(&err))?;
                let register = VaultRegister::new(vault, &settings.vault.folder);
                Ok(Self::register("vault", register, settings.vault.timeout.0))
            }
            StorageType::S3 => {
                let (options, folder) = (settings.s3.options()?, &settings.s3.folder);
                let register = S3Register::new(options, folder);
                let register = register.map_err(|err| settings.s3.refusal(&err))?;
                Ok(Self::register("s3", register, settings.s3.timeout.0))
            }
            StorageType::Memory => Ok(Self::of("memory", Arc::new(MemoryStore::new()))),
            StorageType::Embedded => Self::embedded(&settings.data_dir).await,
        }
    }

    async fn embedded(dir: &Path) -> anyhow::Result<Self> {
        let store = EmbeddedStore::open(dir, EmbeddedStore::options()).await;
        let store = Arc::new(store.context("setting data_dir (SHARED_LOCK_DATA_DIR)")?);
        let embedded = Some(Arc::clone(&store));
        Ok(Self {
            embedded,
            ..Self::of("embedded", store)
        })
    }

    fn register(name: &'static str, register: impl Register, timeout: Duration) -> Self {
        let options = RegisterOptions {
            timeout,
            ..RegisterOptions::default()
        };
        let store = RegisterStore::new(Arc::new(register), options);
        Self::of(name, Arc::new(store))
    }

    fn of(name: &'static str, locks: Arc<dyn lock_store::Store>) -> Self {
        Self {
            locks,
            name,
            embedded: None,
        }
    }

    /// Resolves when the store can be used no more in this process.
    async fn failed(&self) {
        match &self.embedded {
            Some(store) => store.failed().await,
            None => std::future::pending().await,
        }
    }

    fn has_failed(&self) -> bool {
        self.embedded
            .as_ref()
            .is_some_and(|store| store.has_failed())
    }
}

#[async_trait]
impl Readiness for Store {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn check(&self) -> Result<(), String> {
        self.locks.ready().await.map_err(|err| match err {
            store::StoreError::Unavailable(cause) => format!("{cause:#}"),
            err => err.to_string(),
        })
    }
}
