//! The calls: read with the version, write by check-and-set, list.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::instrument;
use vaultrs::api::kv2::requests::{
    ListSecretsRequest, ReadConfigurationRequest, ReadSecretRequest, SetSecretRequest,
    SetSecretRequestOptions,
};
use vaultrs::api::kv2::responses::ReadSecretResponse;

use crate::auth::{Session, Sessions};
use crate::error::{Failure, VaultError};
use crate::exec::exec;
use crate::health::{self, Health};
use crate::options::{InvalidOption, VaultOptions};
use crate::path;

/// A KV v2 engine of a Vault. Clones are cheap and share the login and the connections.
#[derive(Debug, Clone)]
pub struct VaultKv {
    mount: Arc<str>,
    sessions: Arc<Sessions>,
    timeout: Duration,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read<T = Value> {
    /// Nothing was ever written there, or so says the node that answered: only `cas = 0` proves it.
    Absent,
    /// Deleted or destroyed. The number lives on: the next write needs it as its `cas`.
    Deleted {
        /// Version of the deleted secret.
        version: u32,
    },
    /// A secret.
    Present(Secret<T>),
}

/// A secret and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret<T = Value> {
    /// Counts the writes to this path, from 1; the `cas` of the next one.
    pub version: u32,
    /// What was written.
    pub data: T,
}

/// What became of a check-and-set write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Written.
    Written {
        /// The new version: the `cas` of the write plus one.
        version: u32,
    },
    /// The path is at another version: nothing was written, read again.
    Mismatch,
}

/// Settings of the whole mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountConfig {
    /// Whether writes without a `cas` are refused.
    pub cas_required: bool,
    /// Age at which versions are deleted, in Go's syntax: `0s` for never.
    pub delete_version_after: String,
    /// Versions kept of each secret; 0 means Vault's default of 10.
    pub max_versions: u64,
}

impl MountConfig {
    /// Whether secrets vanish by age alone, so that a counter would read as deleted one day.
    pub fn deletes_by_age(&self) -> bool {
        let age = &self.delete_version_after;
        !age.starts_with('-') && age.contains(|digit: char| ('1'..='9').contains(&digit))
    }
}

impl VaultKv {
    /// Checks the options and starts logging in, in the background: Vault may be down at this moment.
    ///
    /// # Errors
    /// An option that cannot be used.
    ///
    /// # Panics
    /// Outside a Tokio runtime, since the token is renewed by a task.
    pub fn connect(options: VaultOptions) -> Result<Self, InvalidOption> {
        let address = options.check()?;
        let http = options.http_client(&address)?;
        let timeout = options.operation_timeout;
        let mount = options.mount.as_str().into();
        Ok(Self {
            mount,
            sessions: Sessions::start(options, address, http),
            timeout,
        })
    }

    /// Reads a secret with its version.
    ///
    /// # Errors
    /// [`VaultError`]; of its kinds [`VaultError::Data`] when the secret does not fit `T`.
    #[instrument(name = "vault.read", skip_all, fields(otel.kind = "client", vault.path = path))]
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<Read<T>, VaultError> {
        check(path)?;
        match self.get(path).await {
            Ok(secret) => {
                let data = serde_json::from_value(secret.data)
                    .map_err(|error| VaultError::Data(Arc::new(error)))?;
                Ok(Read::Present(Secret {
                    version: version(secret.metadata.version)?,
                    data,
                }))
            }
            Err(Failure::Absent) => Ok(Read::Absent),
            Err(Failure::Deleted { version: number }) => Ok(Read::Deleted {
                version: version(number)?,
            }),
            Err(other) => Err(other.into_error()),
        }
    }

    /// Writes a secret, which must be a JSON object, if the path is at version `cas`; 0 stands for
    /// "nothing was ever written here".
    ///
    /// # Errors
    /// [`VaultError`]; after [`VaultError::Unknown`] the write may have happened or may still happen.
    /// The same write again, with the same `cas`, is safe: at most one of the two is ever accepted.
    #[instrument(name = "vault.write", skip_all, fields(otel.kind = "client", vault.path = path, vault.cas = cas))]
    pub async fn write<T: Serialize + ?Sized>(
        &self,
        path: &str,
        cas: u32,
        data: &T,
    ) -> Result<Write, VaultError> {
        check(path)?;
        let data = serde_json::to_value(data).map_err(|error| VaultError::Data(Arc::new(error)))?;
        let data = &data;
        let answer = self
            .call(|session| async move {
                let request = SetSecretRequest {
                    mount: self.mount.to_string(),
                    path: path.to_owned(),
                    data: data.clone(),
                    options: Some(SetSecretRequestOptions { cas }),
                };
                exec(session.client(), request).await
            })
            .await;
        match answer {
            Ok(metadata) => Ok(Write::Written {
                version: version(metadata.version)?,
            }),
            Err(Failure::Mismatch) => Ok(Write::Mismatch),
            Err(other) => Err(other.into_error()),
        }
    }

    /// Lists the names in a folder, in Vault's order; `""` is the top, and a name that ends in `/` is a
    /// folder of its own. A folder that does not exist is empty. Vault knows no pages: keep folders small.
    ///
    /// # Errors
    /// [`VaultError`]
    #[instrument(name = "vault.list", skip_all, fields(otel.kind = "client", vault.path = folder))]
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, VaultError> {
        if !folder.is_empty() {
            check(folder)?;
        }
        let answer = self
            .call(|session| async move {
                let request = ListSecretsRequest {
                    mount: self.mount.to_string(),
                    path: folder.to_owned(),
                };
                exec(session.client(), request).await
            })
            .await;
        match answer {
            Ok(found) => Ok(found.keys),
            Err(Failure::Absent) => Ok(Vec::new()),
            Err(other) => Err(other.into_error()),
        }
    }

    /// Whether Vault lets us read at a path, written or not: the least that shows that our login is taken.
    /// Asked by the clock and not for a caller, it has no span.
    ///
    /// # Errors
    /// [`VaultError`]
    pub async fn check(&self, path: &str) -> Result<(), VaultError> {
        check(path)?;
        match self.get(path).await {
            Ok(_) | Err(Failure::Absent | Failure::Deleted { .. }) => Ok(()),
            Err(other) => Err(other.into_error()),
        }
    }

    /// Asks Vault how it is; needs no login.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`] when nobody answers in time.
    pub async fn health(&self) -> Result<Health, VaultError> {
        let answer = health::ask(self.sessions.http(), self.sessions.address());
        match timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| VaultError::Unavailable(Some(Arc::new(error)))),
            Err(_) => Err(VaultError::Unavailable(None)),
        }
    }

    /// Reads the settings of the mount, which can make secrets vanish ([`MountConfig::deletes_by_age`]).
    ///
    /// # Errors
    /// [`VaultError`]
    #[instrument(name = "vault.mount_config", skip_all, fields(otel.kind = "client"))]
    pub async fn mount_config(&self) -> Result<MountConfig, VaultError> {
        let config = self
            .call(|session| async move {
                let mount = self.mount.to_string();
                exec(session.client(), ReadConfigurationRequest { mount }).await
            })
            .await
            .map_err(Failure::into_error)?;
        Ok(MountConfig {
            cas_required: config.cas_required,
            delete_version_after: config.delete_version_after,
            max_versions: config.max_versions,
        })
    }

    /// Time until the token in use ends, if there is one and it ends at all.
    pub fn token_ttl(&self) -> Option<Duration> {
        self.sessions.token_ttl()
    }

    async fn get(&self, path: &str) -> Result<ReadSecretResponse, Failure> {
        self.call(|session| {
            let request = ReadSecretRequest {
                mount: self.mount.to_string(),
                path: path.to_owned(),
                version: None,
            };
            async move { exec(session.client(), request).await }
        })
        .await
    }

    /// Makes a call in time, with a token; after a 403 once more with a newer token, if there is one.
    async fn call<T, F, Fut>(&self, request: F) -> Result<T, Failure>
    where
        F: Fn(Arc<Session>) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let deadline = Instant::now() + self.timeout;
        let session = self
            .sessions
            .current(deadline)
            .await
            .map_err(Failure::Error)?;
        let answer = in_time(deadline, request(Arc::clone(&session))).await;
        let Err(Failure::Error(VaultError::Forbidden(_))) = answer else {
            return answer;
        };
        match self.sessions.newer_than(&session, deadline).await {
            Some(newer) => in_time(deadline, request(newer)).await,
            None => answer,
        }
    }
}

/// From here on the request may be on its way, so time running out means "unknown".
async fn in_time<T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout_at(deadline, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::Error(VaultError::timed_out())),
    }
}

fn check(path: &str) -> Result<(), VaultError> {
    path::check(path).map_err(|reason| VaultError::InvalidPath {
        path: path.to_owned(),
        reason,
    })
}

/// A `cas` has 32 bits in `vaultrs`: a secret beyond that could be read but never written again.
fn version(number: u64) -> Result<u32, VaultError> {
    let reason = || format!("version {number} is beyond 32 bits");
    u32::try_from(number).map_err(|_| VaultError::Unknown {
        reason: reason(),
        source: None,
    })
}
