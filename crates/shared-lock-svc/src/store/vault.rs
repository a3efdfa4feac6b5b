//! Locks in Vault: documents of a KV v2 engine, written by check-and-set.

use async_trait::async_trait;
use serde_json::Value;
use vault_kv::{Read, VaultError, VaultKv, Write};

use super::register::{Register, RegisterError, Stored, Swap, Version};

/// A folder of a KV v2 engine. A version is the version of the secret.
#[derive(Debug)]
pub struct VaultRegister {
    vault: VaultKv,
    folder: String,
}

impl VaultRegister {
    /// Documents below `folder`.
    pub fn new(vault: VaultKv, folder: impl Into<String>) -> Self {
        Self {
            vault,
            folder: folder.into(),
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

#[async_trait]
impl Register for VaultRegister {
    async fn read(&self, name: &str) -> Result<Option<Stored>, RegisterError> {
        match self.vault.read::<Value>(&self.path(name)).await {
            Ok(Read::Absent) => Ok(None),
            Ok(Read::Present(secret)) => Ok(Some(Stored {
                version: Version(secret.version.to_string()),
                document: secret.data,
            })),
            // Its token is in there, and nobody may grant a smaller one.
            Ok(Read::Deleted { .. }) => Err(RegisterError::Refused(
                "somebody deleted the document of a lock in Vault; undelete it".to_owned(),
            )),
            Err(err) => Err(refusal(err)),
        }
    }

    async fn swap(
        &self,
        name: &str,
        expected: Option<&Version>,
        document: &Value,
    ) -> Result<Swap, RegisterError> {
        let cas = match expected {
            Some(Version(number)) => number
                .parse()
                .map_err(|_| RegisterError::Refused(format!("`{number}` is no version")))?,
            None => 0,
        };
        match self.vault.write(&self.path(name), cas, document).await {
            Ok(Write::Written { version }) => Ok(Swap::Written(Version(version.to_string()))),
            Ok(Write::Mismatch) => Ok(Swap::Mismatch),
            Err(err) => Err(refusal(err)),
        }
    }

    /// A standby may answer a read.
    fn reads_are_current(&self) -> bool {
        false
    }
}

fn refusal(err: VaultError) -> RegisterError {
    match err {
        VaultError::Unknown { .. } => RegisterError::Unknown(err.into()),
        VaultError::Sealed
        | VaultError::Unavailable(_)
        | VaultError::RateLimited { .. }
        | VaultError::Forbidden(_)
        | VaultError::MissingMount(_) => RegisterError::Unavailable(err.into()),
        VaultError::BadRequest(_) | VaultError::InvalidPath { .. } | VaultError::Data(_) => {
            RegisterError::Refused(format!("{:#}", anyhow::Error::new(err)))
        }
    }
}
