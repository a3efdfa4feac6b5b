//! That a hostname is not in use any more.

use serde::{Deserialize, Serialize};

use super::{Format, Moment};
use crate::hostname::Hostname;

/// That a hostname is not in use any more: written once. Its record stays, and nobody is given the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retirement {
    /// Format of this document.
    pub format: Format,
    /// The name.
    pub hostname: Hostname,
    /// When it was retired.
    pub retired_at: Moment,
    /// The request that asked for it.
    pub request_id: String,
    /// Why.
    pub reason: String,
    /// For whom, as the caller says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}
