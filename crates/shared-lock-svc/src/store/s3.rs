//! Locks in an S3 bucket: objects written under conditions, and never deleted.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use s3_lock::bucket::{Bucket, Condition, Put, Written};
pub use s3_lock::bucket::{Keys, S3Error, S3Options};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::register::{Register, RegisterError, Stored, Swap, Version};

/// Objects below a prefix of a bucket. A version is the ETag of the object: since no two documents are
/// alike, neither are their ETags.
#[derive(Debug)]
pub struct S3Register {
    bucket: Bucket,
    folder: String,
    holds: OnceCell<()>,
    told: AtomicBool,
}

impl S3Register {
    /// Objects below `folder`.
    ///
    /// # Errors
    /// An option cannot be used.
    pub fn new(options: S3Options, folder: impl Into<String>) -> Result<Self, S3Error> {
        Ok(Self {
            bucket: Bucket::new(options)?,
            folder: folder.into(),
            holds: OnceCell::new(),
            told: AtomicBool::new(false),
        })
    }

    fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Finds out, once, whether this server keeps conditional writes apart.
    async fn holds_conditions(&self) -> Result<(), RegisterError> {
        let probe = || async {
            let object = self.object("~probe");
            Ok(self.bucket.keeps_conditions(&object).await?)
        };
        let proven: Result<_, RegisterError> = self.holds.get_or_try_init(probe).await;
        if matches!(proven, Err(RegisterError::Refused(_)))
            && !self.told.swap(true, Ordering::SeqCst)
        {
            tracing::error!(
                "the S3 server does not keep conditional writes apart: no lock can be kept in it"
            );
        }
        proven.map(drop)
    }
}

#[async_trait]
impl Register for S3Register {
    async fn read(&self, name: &str) -> Result<Option<Stored>, RegisterError> {
        let object = self.object(name);
        let Some(found) = self.bucket.get(&object).await? else {
            return Ok(None);
        };
        let document = serde_json::from_slice(&found.body).map_err(|err| {
            RegisterError::Refused(format!("the object {object} is not JSON: {err}"))
        })?;
        Ok(Some(Stored {
            version: Version(found.tag),
            document,
        }))
    }

    async fn swap(
        &self,
        name: &str,
        expected: Option<&Version>,
        document: &Value,
    ) -> Result<Swap, RegisterError> {
        self.holds_conditions().await?;
        let condition = match expected {
            Some(Version(tag)) => Condition::Is(tag.clone()),
            None => Condition::Absent,
        };
        let put = Put {
            condition,
            metadata: Vec::new(),
            body: format!("{document:#}\n").into_bytes(),
        };
        Ok(match self.bucket.put(&self.object(name), put).await? {
            Written::As { tag, .. } => Swap::Written(Version(tag)),
            Written::Refused => Swap::Mismatch,
        })
    }

    /// S3 has read-after-write consistency, and so has what speaks its language.
    fn reads_are_current(&self) -> bool {
        true
    }
}

impl From<S3Error> for RegisterError {
    fn from(err: S3Error) -> Self {
        match err {
            S3Error::NotSent(_) | S3Error::Forbidden(_) | S3Error::NoBucket => {
                Self::Unavailable(anyhow::Error::new(err))
            }
            S3Error::Unknown(_) => Self::Unknown(err.into()),
            S3Error::Refused(_) | S3Error::Option(..) => Self::Refused(err.to_string()),
        }
    }
}
