//! What the service can be told.

mod compat;
mod etcd;
mod limits;
mod s3;
mod vault;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Deserializer, de::Error};
use service_kit::{
    cli::ServiceSettings,
    duration::GoDuration,
    server::ServerSettings,
    settings,
    settings::{Flag, Section, Setting, SettingsError},
    telemetry::{LogLevel, TelemetrySettings},
};

use crate::audit::AuditTarget;

pub use self::{
    compat::CompatSettings, etcd::EtcdSettings, limits::LimitSettings, s3::S3Settings,
    vault::VaultSettings,
};

settings! {
    /// The settings as they are written down.
    pub struct Written {
        sections {
            /// The HTTP server.
            pub server: ServerSettings,
            /// Logs and traces.
            pub telemetry: TelemetrySettings,
            /// The store `etcd`.
            pub etcd: EtcdSettings,
            /// The store `vault`.
            pub vault: VaultSettings,
            /// The store `s3`.
            pub s3: S3Settings,
            /// Replicas of tentens-tech/shared-lock beside ours.
            pub compat: CompatSettings,
            /// What callers may ask for.
            pub limits: LimitSettings,
        }
        /// Address that the service listens on; `0.0.0.0` is every IPv4 one.
        pub server_address: IpAddr => Setting::env("SERVER_ADDRESS").default("127.0.0.1").allowed("an IP address"),
        /// Port that the service listens on; 0 is a free one.
        pub server_port: u16 => Setting::env("SERVER_PORT").default("8080").allowed("a port number"),
        /// How long a call of the tentens-tech/shared-lock wire may take to be answered.
        pub write_timeout: GoDuration => Setting::env("SERVER_WRITE_TIMEOUT").default("10s").allowed("a duration such as `10s`"),
        /// Where the locks are.
        pub storage_type: StorageType => Setting::env("STORAGE_TYPE").default("etcd").allowed("`etcd`, `vault`, `s3`, `embedded`, `memory` or `mock` (the same as `memory`)"),
        /// Directory of the store `embedded`; one process at a time has it.
        pub data_dir: PathBuf => Setting::env("DATA_DIR").default(".holdfast/shared-lock").allowed("a directory that is there or can be made"),
        /// Names the life of the store in every answer. An operator changes it when the store was restored or replaced; without it the store keeps a name of its own.
        pub token_epoch: Option<TokenEpoch> => Setting::env("TOKEN_EPOCH").allowed("a text of 1 to 64 characters"),
        /// Where each change of a holder is written down, one JSON object a line.
        pub audit_log: Option<AuditTarget> => Setting::env("AUDIT_LOG").allowed("`stdout`, or a file to append to"),
        /// Whether `/lease` may answer "held" from memory, up to a second late.
        pub cache_enabled: Flag => Setting::env("CACHE_ENABLED").default("false").allowed("`true` or `false`"),
        /// Keys that this memory holds.
        pub cache_size: i64 => Setting::env("CACHE_SIZE").default("1000").allowed("a number up to 9223372036854775807"),
        /// Logs what the service does in detail, whatever the log level says.
        pub debug: Flag => Setting::env("DEBUG").default("false").allowed("`true` or `false`"),
        /// Whether a CPU profile is served at `/debug/pprof/profile`, to whoever asks.
        pub pprof_enabled: Flag => Setting::env("PPROF_ENABLED").default("false").allowed("`true` or `false`"),
    }
}

/// Which store keeps the locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageType {
    /// etcd, for any number of replicas.
    Etcd,
    /// Documents in Vault, for any number of replicas.
    Vault,
    /// Objects in an S3 bucket, for any number of replicas.
    S3,
    /// A directory of this process's own.
    Embedded,
    /// Memory, gone with the process.
    #[serde(alias = "mock")]
    Memory,
}

/// A name that an operator gives the life of the store: 1 to 64 characters, none of them a control
/// character.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct TokenEpoch(pub String);

impl TryFrom<String> for TokenEpoch {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
            true => Ok(Self(name)),
            false => Err("expected a text of 1 to 64 characters"),
        }
    }
}

/// Settings of shared-lock-svc.
#[derive(Debug, Clone)]
pub struct Settings(pub Written);

impl Settings {
    /// What the environment variables begin with.
    pub const PREFIX: &'static str = "SHARED_LOCK";

    /// Checks what no single value tells.
    ///
    /// # Errors
    /// Two settings do not go together.
    pub fn check(&self) -> Result<(), SettingsError> {
        match self.0.storage_type {
            StorageType::Etcd => self.0.etcd.check(),
            StorageType::Vault => {
                self.0.vault.options()?;
                self.count_needs_a_feed()
            }
            StorageType::S3 => {
                self.0.s3.options()?;
                self.count_needs_a_feed()
            }
            StorageType::Embedded | StorageType::Memory => Ok(()),
        }
    }

    /// Who has how many locks at all replicas is counted from the events of all of them.
    fn count_needs_a_feed(&self) -> Result<(), SettingsError> {
        match self.0.limits.max_locks_per_holder {
            0 => Ok(()),
            limit => Err(SettingsError(format!(
                "setting limits.max_locks_per_holder (SHARED_LOCK_MAX_LOCKS_PER_HOLDER) is `{limit}`: expected 0 with this store, which does not tell what other replicas grant"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut written = Written::deserialize(deserializer)?;
        if written.debug.0 {
            let level = LogLevel::try_from(DEBUG_LEVEL.to_owned());
            written.telemetry.log_level = level.map_err(D::Error::custom)?;
        }
        Ok(Self(written))
    }
}

/// What we do, not what every library below us does.
const DEBUG_LEVEL: &str = "info,shared_lock_svc=debug";

impl Section for Settings {
    fn table() -> Vec<Setting> {
        Written::table()
    }
}

impl ServiceSettings for Settings {
    const PREFIX: &'static str = Self::PREFIX;

    fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.0.server_address, self.0.server_port)
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.0.telemetry
    }
}
