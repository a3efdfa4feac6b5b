//! What a lock asks of its way to stand in a bucket.

use std::{future::Future, time::Duration};

use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    bucket::{Bucket, S3Error},
    clock::Moment,
    error::{Error, Held, Step},
};

/// How a lock stands in a bucket: [`Conditional`](crate::Conditional) or [`Versioned`](crate::Versioned).
pub trait Strategy: sealed::Strategy {}

impl<S: sealed::Strategy> Strategy for S {}

/// Which lock, in which bucket, and who asks.
#[derive(Debug)]
pub struct Place {
    pub(crate) bucket: Bucket,
    pub(crate) key: String,
    /// One for each instance of a lock.
    pub(crate) owner: Uuid,
    /// How long a tenure lives without a renewal.
    pub(crate) timeout: Duration,
}

/// What became of a try to take a lock.
#[derive(Debug)]
pub enum Claimed<T> {
    /// It is ours, and lives from then on.
    Won(T, Moment),
    /// Somebody else has it.
    Held(Held),
}

/// The state of a lock as it was seen last, and since when: the only clock that ends a tenure is our own.
#[derive(Debug, Default)]
pub struct Sight(Option<(String, Moment)>);

impl Place {
    /// How long S3 may be silent at a step.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Makes a call in time; its error names the step.
    pub(crate) async fn at<T>(
        &self,
        step: Step,
        call: impl Future<Output = Result<T, S3Error>>,
    ) -> Result<T, Error> {
        let silent = || S3Error::Unknown("S3 is silent".into());
        let answer = timeout(Self::PATIENCE, call).await;
        let answer = answer.unwrap_or_else(|_| Err(silent()));
        answer.map_err(|source| Error::S3 { step, source })
    }

    pub(crate) fn held(&self, owner: &str, remaining: Duration) -> Held {
        Held {
            key: self.key.clone(),
            owner: owner.to_owned(),
            remaining,
        }
    }
}

impl Sight {
    /// What is left of a tenure that lives for `life` and whose state is called `name`: it is over when
    /// the same state was seen for its whole life and a margin, which is what two clocks may differ by
    /// and a write may take to be noticed.
    pub(crate) fn left(&mut self, name: &str, life: Duration) -> Duration {
        let now = Moment::now();
        let since = match &self.0 {
            Some((seen, since)) if seen == name => *since,
            _ => {
                self.0 = Some((name.to_owned(), now));
                now
            }
        };
        since
            .after(life + life / 100 + Duration::from_millis(250))
            .left()
    }
}

pub(crate) mod sealed {
    use super::{Claimed, Error, Future, Place, Sight};

    /// One way for a lock to stand in a bucket.
    pub trait Strategy: Send + Sync + Sized + 'static {
        /// What is known of a tenure of our own.
        type Tenure: Send + Sync + Clone + std::fmt::Debug + 'static;

        /// Whether the bucket is fit for it.
        fn probe(place: &Place) -> impl Future<Output = Result<(), Error>> + Send;

        /// Looks at the lock, and takes it if it is free or over.
        fn claim(
            place: &Place,
            sight: &mut Sight,
        ) -> impl Future<Output = Result<Claimed<Self::Tenure>, Error>> + Send;

        /// Restarts the life of a tenure; `None` when it is over.
        fn renew(
            place: &Place,
            tenure: Self::Tenure,
        ) -> impl Future<Output = Result<Option<Self::Tenure>, Error>> + Send;

        /// Gives it back; `false` when it was over.
        fn release(
            place: &Place,
            tenure: Self::Tenure,
        ) -> impl Future<Output = Result<bool, Error>> + Send;

        /// Removes whatever says that this owner has the lock; `false` when nothing does.
        fn remove(place: &Place) -> impl Future<Output = Result<bool, Error>> + Send;
    }
}
