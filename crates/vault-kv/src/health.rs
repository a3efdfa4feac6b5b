//! Whether Vault can do anything for us.

use reqwest::{Client, Url};
use serde_json::Value;

/// What `sys/health` says of the node that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The active node.
    Active,
    /// A standby that passes calls on to the active node, or serves reads itself.
    Standby,
    /// A standby that cannot reach the active node.
    Cut,
    /// A secondary for disaster recovery, which answers no calls, or a node taken out of its cluster.
    OutOfService,
    /// Not initialised yet.
    Uninitialised,
    /// Sealed: an operator has to unseal it.
    Sealed,
    /// A status that Vault does not use: as a rule something between us and Vault.
    Strange(u16),
}

impl Health {
    /// Whether this node takes our calls.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Active | Self::Standby)
    }

    /// <https://developer.hashicorp.com/vault/api-docs/system/health>; 429 means "standby" only here.
    fn of(status: u16, body: &Value) -> Self {
        match status {
            200 => Self::Active,
            429 | 473 => Self::Standby,
            474 => Self::Cut,
            472 | 530 => Self::OutOfService,
            501 => Self::Uninitialised,
            503 if body["sealed"] == Value::Bool(true) => Self::Sealed,
            other => Self::Strange(other),
        }
    }
}

/// Asks for the health with a call of our own: `vaultrs` insists on a field that OpenBao leaves out,
/// and does not know all statuses. It goes to the root namespace, without a token.
pub(crate) async fn ask(http: &Client, address: &Url) -> Result<Health, reqwest::Error> {
    let url = format!("{address}v1/sys/health");
    let response = http.get(url).send().await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?;
    Ok(Health::of(
        status,
        &serde_json::from_slice(&body).unwrap_or_default(),
    ))
}
