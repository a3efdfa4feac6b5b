//! The one object of a lock under the conditional strategy.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    bucket::{Condition, Put},
    error::Error,
    strategy::Place,
};

const FORMAT: u32 = 1;

/// What stands in the master object. It is written anew for every change, and no two writings are equal,
/// so that no ETag comes twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Master {
    format: u32,
    pub(crate) state: State,
    /// Who holds the lock, or held it last.
    pub(crate) owner: Uuid,
    /// Grows with every grant, and survives every release.
    pub(crate) fencing_token: u64,
    /// How long the owner may be missed before the lock is over.
    timeout_ms: u64,
    /// Another one in every writing.
    nonce: Uuid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Held,
    Free,
}

impl Master {
    pub(crate) fn new(place: &Place, state: State, fencing_token: u64) -> Self {
        Self {
            format: FORMAT,
            state,
            owner: place.owner,
            fencing_token,
            timeout_ms: u64::try_from(place.timeout.as_millis()).unwrap_or(u64::MAX),
            nonce: Uuid::new_v4(),
        }
    }

    pub(crate) fn parse(key: &str, body: &[u8]) -> Result<Self, Error> {
        let unfit = |why: String| Error::Unfit(format!("the object `{key}` {why}"));
        let master: Self = serde_json::from_slice(body)
            .map_err(|err| unfit(format!("is not the master of a lock: {err}")))?;
        match master.format {
            FORMAT => Ok(master),
            other => Err(unfit(format!(
                "has format {other}; this version knows {FORMAT}"
            ))),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Whether this says that a tenure lives.
    pub(crate) fn is_held_by(&self, owner: Uuid) -> bool {
        self.state == State::Held && self.owner == owner
    }

    /// A writing of this. Owner and timeout stand in the metadata too, for those who look with a HEAD.
    ///
    /// # Errors
    /// Never, as far as known: it is plain JSON.
    pub(crate) fn to_put(&self, condition: Condition) -> Result<Put, Error> {
        let body = serde_json::to_vec_pretty(self).map_err(|err| Error::Unfit(err.to_string()))?;
        Ok(Put {
            condition,
            metadata: vec![
                ("owner", self.owner.to_string()),
                ("timeout-ms", self.timeout_ms.to_string()),
            ],
            body,
        })
    }
}
