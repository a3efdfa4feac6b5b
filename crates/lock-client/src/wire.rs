//! Bodies of the native lock API. Numbers of 64 bits travel as strings; unknown members of an answer
//! are left alone, so that a newer server is understood.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::guard::Tenure;
use crate::lease::Life;
use crate::options::Mode;

#[derive(Debug, Serialize)]
pub(crate) struct AcquireBody<'a> {
    pub(crate) holder: &'a str,
    #[serde(flatten)]
    pub(crate) anchor: AnchorBody<'a>,
    #[serde(flatten)]
    pub(crate) mode: Option<ModeBody>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) lock_delay_ms: u64,
    pub(crate) wait_ms: u64,
    pub(crate) request_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: &'a BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct AcquireAllBody<'a> {
    pub(crate) holder: &'a str,
    #[serde(flatten)]
    pub(crate) anchor: AnchorBody<'a>,
    pub(crate) locks: Vec<WantedBody>,
    pub(crate) wait_ms: u64,
    pub(crate) request_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: &'a BTreeMap<String, String>,
}

/// One of several locks that are asked for at once.
#[derive(Debug, Serialize)]
pub(crate) struct WantedBody {
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) mode: Option<ModeBody>,
}

/// What the tenure shall hang on.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum AnchorBody<'a> {
    Own { ttl_ms: u64 },
    Session { session_id: &'a str },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub(crate) enum ModeBody {
    Exclusive,
    Shared,
    Permit { limit: u32, weight: u32 },
}

impl ModeBody {
    /// As a request says it: the default is left out.
    pub(crate) fn wanted(mode: Mode) -> Option<Self> {
        (mode != Mode::default()).then(|| mode.into())
    }
}

impl From<Mode> for ModeBody {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Exclusive => Self::Exclusive,
            Mode::Shared => Self::Shared,
            Mode::Permit { limit, weight } => Self::Permit { limit, weight },
        }
    }
}

impl From<ModeBody> for Mode {
    fn from(mode: ModeBody) -> Self {
        match mode {
            ModeBody::Exclusive => Self::Exclusive,
            ModeBody::Shared => Self::Shared,
            ModeBody::Permit { limit, weight } => Self::Permit { limit, weight },
        }
    }
}

/// How long a lease lives, as an answer tells it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct LifeBody {
    ttl_ms: u64,
    /// What is left of the lease at the moment of the answer.
    remaining_ms: u64,
    /// From the arrival of the request to the answer, by the server's clock.
    elapsed_ms: u64,
}

impl LifeBody {
    /// It was asked for at `sent`.
    pub(crate) fn since(self, sent: Moment) -> Life {
        Life {
            sent,
            ttl_ms: self.ttl_ms,
            remaining_ms: self.remaining_ms,
            elapsed_ms: self.elapsed_ms,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct AcquiredBody {
    pub(crate) lease_id: String,
    #[serde(with = "number_in_a_string")]
    pub(crate) fencing_token: u64,
    token_epoch: String,
    note: Option<String>,
    #[serde(flatten)]
    pub(crate) life: LifeBody,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AllAcquiredBody {
    pub(crate) session_id: String,
    token_epoch: String,
    #[serde(flatten)]
    pub(crate) life: LifeBody,
    locks: Vec<OneOfAllBody>,
}

#[derive(Debug, Deserialize)]
struct OneOfAllBody {
    #[serde(with = "number_in_a_string")]
    fencing_token: u64,
    note: Option<String>,
}

/// What one lock was granted with.
#[derive(Debug)]
pub(crate) struct OneBody {
    pub(crate) fencing_token: u64,
    pub(crate) token_epoch: String,
    pub(crate) note: Option<String>,
}

impl From<AcquiredBody> for OneBody {
    fn from(granted: AcquiredBody) -> Self {
        Self {
            fencing_token: granted.fencing_token,
            token_epoch: granted.token_epoch,
            note: granted.note,
        }
    }
}

impl From<&Tenure> for OneBody {
    fn from(tenure: &Tenure) -> Self {
        Self {
            fencing_token: tenure.fencing_token,
            token_epoch: tenure.token_epoch.clone(),
            note: None,
        }
    }
}

impl AllAcquiredBody {
    /// The locks, in the order in which they were asked for.
    pub(crate) fn tenures(self) -> Vec<OneBody> {
        let one = |lock: OneOfAllBody| OneBody {
            fencing_token: lock.fencing_token,
            token_epoch: self.token_epoch.clone(),
            note: lock.note,
        };
        self.locks.into_iter().map(one).collect()
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct OpenSessionBody<'a> {
    pub(crate) holder: &'a str,
    pub(crate) ttl_ms: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SessionBody {
    pub(crate) session_id: String,
    #[serde(flatten)]
    pub(crate) life: LifeBody,
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

impl KeptAliveBody {
    /// It was asked for at `sent`.
    pub(crate) fn since(self, sent: Moment) -> Life {
        Life {
            sent,
            ttl_ms: self.ttl_ms,
            remaining_ms: self.remaining_ms,
            elapsed_ms: 0,
        }
    }
}

/// Many leases at once, and tenures that are asked after.
#[derive(Debug, Serialize)]
pub(crate) struct KeepAllBody<'a> {
    pub(crate) lease_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) locks: Vec<TenureBody<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TenureBody<'a> {
    pub(crate) key: &'a str,
    pub(crate) lease_id: &'a str,
    pub(crate) fencing_token: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeptAllBody {
    pub(crate) leases: Vec<KeptOneBody>,
    #[serde(default)]
    pub(crate) locks: Vec<LookedAtBody>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeptOneBody {
    pub(crate) lease_id: String,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) remaining_ms: Option<u64>,
    pub(crate) code: Option<String>,
}

/// A tenure that was asked after; with a `code` where the answer is not known.
#[derive(Debug, Deserialize)]
pub(crate) struct LookedAtBody {
    pub(crate) key: String,
    #[serde(with = "number_in_a_string")]
    pub(crate) fencing_token: u64,
    pub(crate) current: bool,
    pub(crate) code: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ReleaseBody<'a> {
    Tenure {
        lease_id: &'a str,
        fencing_token: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'a str>,
    },
    Request {
        request_id: &'a str,
    },
}

/// Of a release, and of the end of a session.
#[derive(Debug, Deserialize)]
pub(crate) struct ReleasedBody {
    /// `false`: it was over already.
    #[serde(alias = "ended")]
    pub(crate) released: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct VerifiedBody {
    pub(crate) current: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct KeyBody<'a> {
    pub(crate) key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ForcedBody {
    pub(crate) released: Vec<crate::view::HolderView>,
}

/// Whole milliseconds, as the wire has them.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// 64 bits are more than a number of JSON may have.
pub(crate) mod number_in_a_string {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(Error::custom)
    }
}
