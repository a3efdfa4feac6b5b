//! Locks in an S3 bucket: objects written under conditions, and never deleted.

mod bucket;
mod credentials;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use self::bucket::{Bucket, Condition, Put};
pub use self::{
    bucket::{S3Error, S3Options},
    credentials::Keys,
};
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

    /// Finds out, once, whether this server lets one of many conditional writes win, and no more. Some do not
    /// look at the condition at all, or look first and write later.
    async fn holds_conditions(&self) -> Result<(), RegisterError> {
        let proven = self.holds.get_or_try_init(|| self.probe()).await;
        if matches!(proven, Err(RegisterError::Refused(_)))
            && !self.told.swap(true, Ordering::SeqCst)
        {
            tracing::error!(
                "the S3 server does not keep conditional writes apart: no lock can be kept in it"
            );
        }
        proven.map(drop)
    }

    async fn probe(&self) -> Result<(), RegisterError> {
        const RACERS: usize = 8;
        let object = self.object("~probe");
        let body = || json!({ "probe": Uuid::new_v4().to_string() });
        let put = |condition| async { self.bucket.put(&object, condition, &body()).await };
        let race = async |condition: Condition| {
            let racers = (0..RACERS).map(|_| put(condition.clone()));
            let ends = join_all(racers).await;
            let won = ends.iter().filter(|end| matches!(end, Ok(Put::Written(_))));
            let won = won.count();
            match ends.into_iter().find_map(Result::err) {
                _ if won > 1 => Err(RegisterError::Refused(format!(
                    "the S3 server let {won} of {RACERS} conditional writes win"
                ))),
                Some(err) if won == 0 => Err(err.into()),
                _ => Ok(()),
            }
        };
        race(Condition::Absent).await?;
        let Some((tag, _)) = self.bucket.get(&object).await? else {
            let gone = "the S3 server lost the object that was written to try it";
            return Err(RegisterError::Refused(gone.to_owned()));
        };
        race(Condition::Is(tag)).await
    }
}

#[async_trait]
impl Register for S3Register {
    async fn read(&self, name: &str) -> Result<Option<Stored>, RegisterError> {
        let found = self.bucket.get(&self.object(name)).await?;
        Ok(found.map(|(tag, document)| Stored {
            version: Version(tag),
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
        Ok(
            match self
                .bucket
                .put(&self.object(name), condition, document)
                .await?
            {
                Put::Written(tag) => Swap::Written(Version(tag)),
                Put::Refused => Swap::Mismatch,
            },
        )
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
                Self::Unavailable(err.into())
            }
            S3Error::Unknown(_) => Self::Unknown(err.into()),
            S3Error::Refused(_) | S3Error::Option(..) => Self::Refused(err.to_string()),
        }
    }
}
