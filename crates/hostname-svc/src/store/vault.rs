//! Documents in a KV v2 engine of Vault.

use std::{sync::Arc, time::Duration};

use anyhow::{Error, anyhow};
use async_trait::async_trait;
use serde_json::Value;
use vault_kv::{Health, VaultError, VaultKv};

use super::{Child, DocumentPath, DocumentStore, Read, StoreError, Write};
use crate::documents::layout;

/// Nothing is ever written there; whoever may read counters may read it.
const READINESS: [&str; 2] = [layout::COUNTERS, "readiness"];

/// When the settings of the mount are asked for again, while Vault does not tell them.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A store below one path of a KV v2 mount.
pub struct VaultStore {
    vault: VaultKv,
    base: String,
}

impl VaultStore {
    /// The store below `base`.
    pub fn new(vault: VaultKv, base: &str) -> Self {
        Self {
            vault,
            base: base.trim_matches('/').to_owned(),
        }
    }

    /// Looks at the settings of the mount, as soon as Vault tells them; resolves when hostnames must not
    /// be kept there.
    pub async fn unfit(&self) -> String {
        loop {
            match self.vault.mount_config().await {
                Ok(config) if config.deletes_by_age() => {
                    return format!(
                        "the mount deletes what is older than {} (delete_version_after): counters would vanish, and \
                         idempotency keys be forgotten; set it to `0s`",
                        config.delete_version_after
                    );
                }
                Ok(config) => {
                    tracing::info!(
                        vault.max_versions = config.max_versions,
                        vault.cas_required = config.cas_required,
                        "the mount keeps what is written to it"
                    );
                    if !config.cas_required {
                        tracing::info!(
                            "the mount takes writes without check-and-set (cas_required is false): others with the \
                             right to could write over a counter; this service never does"
                        );
                    }
                    return std::future::pending().await;
                }
                Err(error @ VaultError::Forbidden(_)) => {
                    tracing::warn!(%error, "the settings of the mount were not looked at");
                    return std::future::pending().await;
                }
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Time until the token in use ends, if it ends at all.
    pub fn token_ttl(&self) -> Option<Duration> {
        self.vault.token_ttl()
    }

    fn path(&self, path: &DocumentPath) -> String {
        match self.base.as_str() {
            "" => path.to_string(),
            base => format!("{base}/{path}"),
        }
    }

    /// What a 403 to a write with `cas` 0 means. A policy that lets documents be created but not changed
    /// says so where there is one, which a node that lags behind may not show yet.
    async fn denied(&self, path: &str, denial: VaultError) -> Result<Write, StoreError> {
        match self.vault.read::<Value>(path).await {
            Ok(vault_kv::Read::Present(_) | vault_kv::Read::Deleted { .. }) => Ok(Write::Mismatch),
            Ok(vault_kv::Read::Absent) => Err(StoreError::Denied(Error::new(denial))),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl DocumentStore for VaultStore {
    async fn read(&self, path: &DocumentPath) -> Result<Read<Value>, StoreError> {
        Ok(match self.vault.read::<Value>(&self.path(path)).await? {
            vault_kv::Read::Absent => Read::Absent,
            vault_kv::Read::Deleted { version } => Read::Deleted {
                version: version.into(),
            },
            vault_kv::Read::Present(secret) => Read::Present {
                version: secret.version.into(),
                data: secret.data,
            },
        })
    }

    async fn write(
        &self,
        path: &DocumentPath,
        cas: u64,
        data: &Value,
    ) -> Result<Write, StoreError> {
        let path = self.path(path);
        let version = u32::try_from(cas).map_err(|_| {
            StoreError::Refused(anyhow!(
                "{path} was written {cas} times, more than Vault can count"
            ))
        })?;
        match self.vault.write(&path, version, data).await {
            Ok(vault_kv::Write::Written { .. }) => Ok(Write::Written),
            Ok(vault_kv::Write::Mismatch) => Ok(Write::Mismatch),
            Err(denial @ VaultError::Forbidden(_)) if cas == 0 => self.denied(&path, denial).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn list(&self, folder: &DocumentPath) -> Result<Vec<Child>, StoreError> {
        let names = self.vault.list(&self.path(folder)).await?;
        let mut children: Vec<_> = names
            .into_iter()
            .map(|name| match name.strip_suffix('/') {
                Some(folder) => Child::Folder(folder.to_owned()),
                None => Child::Document(name),
            })
            .collect();
        children.sort();
        Ok(children)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        match self.vault.health().await? {
            Health::Sealed => return Err(StoreError::Sealed),
            health if health.is_usable() => (),
            health => return Err(StoreError::Unavailable(anyhow!("Vault says {health:?}"))),
        }
        // Vault may be well, and refuse our token.
        Ok(self
            .vault
            .check(&self.path(&DocumentPath::new(&READINESS)))
            .await?)
    }

    async fn away(&self) -> Arc<StoreError> {
        std::future::pending().await
    }
}

impl From<VaultError> for StoreError {
    fn from(error: VaultError) -> Self {
        match &error {
            VaultError::Sealed => Self::Sealed,
            VaultError::RateLimited { retry_after } => Self::Busy {
                retry_after: *retry_after,
            },
            VaultError::Unknown { .. } => Self::Unknown(Error::new(error)),
            VaultError::Unavailable(_) | VaultError::MissingMount(_) => {
                Self::Unavailable(Error::new(error))
            }
            VaultError::Forbidden(_)
            | VaultError::BadRequest(_)
            | VaultError::InvalidPath { .. }
            | VaultError::Data(_) => Self::Refused(Error::new(error)),
        }
    }
}
