//! How to reach etcd, and how patient to be with it.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use secrecy::{ExposeSecret, SecretString};

use super::metrics::EtcdMetrics;

const PLAIN: &str = "http://";

/// Everything that [`super::EtcdStore`] wants to know.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// Members of the cluster, as URLs.
    pub endpoints: Vec<String>,
    /// Files for TLS. `https` endpoints without them are checked against the system's roots.
    pub tls: Option<EtcdTls>,
    /// User and password.
    pub credentials: Option<(String, SecretString)>,
    /// Where calls and what comes of them are counted.
    pub metrics: Option<EtcdMetrics>,
    /// How long one call may take.
    pub operation_timeout: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// Life of the lease that says this replica is alive: when it dies, its waiters leave the
    /// queue after this time and about one second.
    pub liveness_ttl: Duration,
    /// How long etcd remembers that a request has ended.
    pub tombstone_ttl: Duration,
    /// Names the life of this etcd; by default a name kept in etcd itself. An operator changes it
    /// after a restore from a backup.
    pub token_epoch: Option<String>,
}

/// PEM files for TLS; they are read again for each new connection, so certificates may rotate.
#[derive(Debug, Clone, Default)]
pub struct EtcdTls {
    /// The authority that etcd's certificate must come from.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl EtcdOptions {
    /// A request that stalled in a stopped replica must not outlive the tombstone that ends it.
    const TOMBSTONES_OUTLIVE_LIVENESS: u32 = 10;

    /// The usual patience with these endpoints.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: None,
            credentials: None,
            metrics: None,
            operation_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            liveness_ttl: Duration::from_secs(3),
            tombstone_ttl: Duration::from_secs(60),
            token_epoch: None,
        }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.endpoints.is_empty(), "no etcd endpoint is given");
        let shortest = self.liveness_ttl * Self::TOMBSTONES_OUTLIVE_LIVENESS;
        ensure!(
            self.tombstone_ttl >= shortest,
            "the tombstone TTL must be at least {shortest:?}, ten times the liveness TTL, was {:?}",
            self.tombstone_ttl
        );
        for endpoint in &self.endpoints {
            ensure!(
                self.tls.is_none() || !endpoint.starts_with(PLAIN),
                "etcd endpoint {endpoint} is not https, but TLS is asked for"
            );
            self.connect_options(endpoint)
                .with_context(|| format!("etcd endpoint {endpoint}"))?;
        }
        Ok(())
    }

    pub(super) fn connect_options(&self, endpoint: &str) -> anyhow::Result<ConnectOptions> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_require_leader(true)
            // etcd hangs up on clients that ping more often than every 5 s, or with no call open.
            .with_keep_alive(Duration::from_secs(10), Duration::from_secs(3))
            .with_keep_alive_while_idle(false);
        if let Some((user, password)) = &self.credentials {
            options = options
                .with_user(user, password.expose_secret())
                .with_auto_token_refresh(true);
        }
        if self.tls.is_some() || endpoint.starts_with("https://") {
            options = options.with_tls(self.tls.clone().unwrap_or_default().read()?);
        }
        Ok(options)
    }
}

impl EtcdTls {
    fn read(&self) -> anyhow::Result<TlsOptions> {
        let read =
            |path: &PathBuf| fs::read(path).with_context(|| format!("reading {}", path.display()));
        let mut tls = TlsOptions::new();
        tls = match &self.ca {
            Some(ca) => tls.ca_certificate(Certificate::from_pem(read(ca)?)),
            None => tls.with_enabled_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(tls)
    }
}
