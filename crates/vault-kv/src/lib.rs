//! Vault KV v2 as Holdfast uses it: check-and-set writes, reads with their version, the kinds of 404.
//!
//! Three things about [KV v2](https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2) decide
//! whether a counter kept in it is safe, and this crate turns each into a type:
//!
//! - **A 404 has three meanings**: never written ([`Read::Absent`]), deleted but with its version kept
//!   ([`Read::Deleted`]), and no such mount ([`VaultError::MissingMount`]). Starting a counter again on
//!   the second or the third would hand out a name twice.
//! - **A write without an answer may have happened**: [`VaultError::Unknown`], told apart from the
//!   failures that surely wrote nothing ([`VaultError::surely_not_written`]).
//! - **A stale read is possible** (a standby answers it), so only a [`Write`] decides: write with the
//!   version read, and `cas = 0` where nothing is believed to exist.
//!
//! ```no_run
//! use secrecy::SecretString;
//! use vault_kv::{Auth, Read, VaultKv, VaultOptions, Write};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Counter {
//!     value: u64,
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let token = SecretString::from("hvs.example");
//! let vault = VaultKv::connect(VaultOptions::new("http://127.0.0.1:8200", Auth::Token(token)))?;
//!
//! let (cas, mut counter) = match vault.read("counters/web").await? {
//!     Read::Absent => (0, Counter { value: 0 }),
//!     Read::Deleted { .. } => return Err("somebody deleted the counter".into()),
//!     Read::Present(secret) => (secret.version, secret.data),
//! };
//! counter.value += 1;
//! match vault.write("counters/web", cas, &counter).await? {
//!     Write::Written { version } => println!("{} is ours, in version {version}", counter.value),
//!     Write::Mismatch => println!("another writer was first: read again"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `vaultrs` and its HTTP layer log every 404 and every lost compare-and-set as an error. Whoever sets
//! up logging adds [`LOG_DIRECTIVES`] to the filter; what matters is logged here.

mod auth;
mod error;
mod exec;
mod health;
mod options;
mod path;
mod secrets;

pub use error::VaultError;
pub use health::Health;
pub use options::{Auth, InvalidOption, VaultOptions};
pub use secrets::{MountConfig, Read, Secret, VaultKv, Write};

/// Directives for a filter of `tracing_subscriber` that silence what `vaultrs` and its HTTP layer log:
/// ordinary outcomes (a 404, a lost compare-and-set), all of them as errors.
pub const LOG_DIRECTIVES: &str = "vaultrs=off,rustify=off";
