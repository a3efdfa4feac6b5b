//! Whether a server lets one of many conditional writes win, and no more. Some do not look at the
//! condition at all, or look first and write later.

use futures_util::future::join_all;
use uuid::Uuid;

use super::{Bucket, Condition, Put, S3Error, Written};

impl Bucket {
    /// Races conditional writes of `object`, which must be used for nothing else.
    ///
    /// # Errors
    /// [`S3Error::Refused`] when two of them won; any other when it cannot be told.
    pub async fn keeps_conditions(&self, object: &str) -> Result<(), S3Error> {
        self.race(object, Condition::Absent).await?;
        let gone = "the S3 server lost the object that was written to try it";
        let found = self.get(object).await?;
        let found = found.ok_or_else(|| S3Error::Refused(gone.to_owned()))?;
        self.race(object, Condition::Is(found.tag)).await
    }

    async fn race(&self, object: &str, condition: Condition) -> Result<(), S3Error> {
        const RACERS: usize = 8;
        let racers = (0..RACERS).map(|_| {
            let put = Put {
                condition: condition.clone(),
                metadata: Vec::new(),
                body: format!("{{\"probe\":\"{}\"}}\n", Uuid::new_v4()).into_bytes(),
            };
            self.put(object, put)
        });
        let ends = join_all(racers).await;
        let won = ends
            .iter()
            .filter(|end| matches!(end, Ok(Written::As { .. })));
        let won = won.count();
        match ends.into_iter().find_map(Result::err) {
            _ if won > 1 => Err(S3Error::Refused(format!(
                "the S3 server let {won} of {RACERS} conditional writes win"
            ))),
            Some(err) if won == 0 => Err(err),
            _ => Ok(()),
        }
    }
}
