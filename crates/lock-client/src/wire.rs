//! Bodies of the native lock API. Numbers of 64 bits travel as strings; unknown members of an answer
//! are left alone, so that a newer server is understood.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

#[derive(Debug, Serialize)]
pub(crate) struct AcquireBody<'a> {
    pub(crate) holder: &'a str,
    pub(crate) ttl_ms: u64,
    pub(crate) wait_ms: u64,
    pub(crate) request_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: &'a BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AcquiredBody {
    pub(crate) lease_id: String,
    #[serde(deserialize_with = "number_in_a_string")]
    pub(crate) fencing_token: u64,
    pub(crate) token_epoch: String,
    pub(crate) ttl_ms: u64,
    /// What is left of the lease at the moment of the answer.
    pub(crate) remaining_ms: u64,
    /// From the arrival of the request to the answer, by the server's clock.
    pub(crate) elapsed_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct KeepAliveBody<'a> {
    pub(crate) lease_id: &'a str,
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeptAliveBody {
    pub(crate) ttl_ms: u64,
    pub(crate) remaining_ms: u64,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ReleaseBody<'a> {
    Tenure {
        lease_id: &'a str,
        fencing_token: String,
    },
    Request {
        request_id: &'a str,
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReleasedBody {
    /// `false`: it was over already.
    pub(crate) released: bool,
}

/// Whole milliseconds, as the wire has them.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn number_in_a_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}
