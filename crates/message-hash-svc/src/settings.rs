//! What the service can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use service_kit::cli::ServiceSettings;
use service_kit::duration::{GoDuration, LongDuration};
use service_kit::server::ServerSettings;
use service_kit::settings;
use service_kit::settings::{Flag, SettingsError};
use service_kit::telemetry::TelemetrySettings;

use crate::store::postgres::{PostgresOptions, options};

settings! {
    /// Settings of message-hash-svc.
    pub struct Settings {
        sections {
            /// The HTTP server.
            pub server: ServerSettings,
            /// Logs and traces.
            pub telemetry: TelemetrySettings,
        }
        /// Where the service listens.
        pub listen: SocketAddr => Setting::env("LISTEN").default("127.0.0.1:8082").allowed("an address and a port such as `127.0.0.1:8082`"),
        /// Where messages are kept: `embedded` is for one replica.
        pub store: StoreKind => Setting::env("STORE").default("embedded").allowed("`embedded` or `postgres`"),
        /// Addresses of PostgreSQL: `postgres://user@primary/db,postgres://user@replica/db`; several shards with `;` between, each as `name*weight=addresses`.
        pub postgres_shards: Option<SecretString> => Setting::env("POSTGRES_SHARDS").secret().allowed("addresses `postgres://user@host/database`"),
        /// Shards as above, of which messages move to or from the others: they are read when a message is not where it should be.
        pub postgres_also_read: Option<SecretString> => Setting::env("POSTGRES_ALSO_READ").secret().empty_is_none().allowed("addresses `postgres://user@host/database`, or nothing"),
        /// Connections to each server of PostgreSQL, for writing and for reading each.
        pub postgres_connections: u32 => Setting::env("POSTGRES_CONNECTIONS").default("8").allowed("a number from 1"),
        /// How long PostgreSQL may take for one call.
        pub postgres_timeout: LongDuration<100> => Setting::env("POSTGRES_TIMEOUT").default("2s").allowed("a duration from `100ms`"),
        /// Directory of the embedded store; one process at a time has it.
        pub data_dir: PathBuf => Setting::env("DATA_DIR").default(".holdfast/message-hash").allowed("a directory that is there or can be made"),
        /// Largest message, in bytes.
        pub message_limit: usize => Setting::env("MESSAGE_LIMIT").default("1048576").allowed("a number of bytes"),
        /// Largest body of a batch, in bytes; the answer to a batch holds as many bytes of messages at most.
        pub batch_limit: usize => Setting::env("BATCH_LIMIT").default("8388608").allowed("a number of bytes"),
        /// Answers `201 Created` with `Location` to a post of a new message, and not 200 as the message challenge does.
        pub answer_created: Flag => Setting::env("ANSWER_CREATED").default("false").allowed("`true` or `false`"),
        /// Longest time that a caller may give a message to live; `0s` refuses every expiry.
        pub max_ttl: GoDuration => Setting::env("MAX_TTL").default("0s").allowed("a duration such as `720h`, or `0s`"),
        /// How long a message is kept whose caller asks for no expiry; `0s` is for good.
        pub default_ttl: GoDuration => Setting::env("DEFAULT_TTL").default("0s").allowed("a duration up to `MAX_TTL`, or `0s`"),
        /// Answers 410 for a message that was deleted or has expired; otherwise 404, as if it had never been there.
        pub answer_gone: Flag => Setting::env("ANSWER_GONE").default("true").allowed("`true` or `false`"),
        /// Look-ups a second of one address, on PostgreSQL, that find nothing; beyond it memory and PostgreSQL's replicas alone answer it. 0 is no limit.
        pub miss_rate: u32 => Setting::env("MISS_RATE").default("1000").allowed("a number of look-ups, or 0"),
        /// Key of the administrator, as `Authorization: Bearer`: without one nothing can be deleted or backed up over HTTP.
        pub admin_key: Option<SecretString> => Setting::env("ADMIN_KEY").secret().allowed("at least 16 letters"),
        /// How often every message is hashed to find damage before a caller does; `0s` never.
        pub scrub_every: GoDuration => Setting::env("SCRUB_EVERY").default("24h").allowed("a duration such as `24h`, or `0s`"),
        /// How long memory may answer where another replica may have deleted the message: on PostgreSQL with an administrator.
        pub cache_max_age: GoDuration => Setting::env("CACHE_MAX_AGE").default("1s").allowed("a duration such as `1s`"),
        /// Memory for messages that were looked up lately, in bytes; 0 is no cache.
        pub cache_bytes: usize => Setting::env("CACHE_BYTES").default("67108864").allowed("a number of bytes"),
    }
}

/// Where messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// A file on this machine's disk.
    Embedded,
    /// PostgreSQL, which several replicas of the service share.
    Postgres,
}

impl Settings {
    /// Refuses a key that could be guessed.
    ///
    /// # Errors
    ///
    /// It is too short.
    pub fn check_admin_key(&self) -> Result<(), SettingsError> {
        let length = |key: &SecretString| key.expose_secret().chars().count();
        match self.admin_key.as_ref().map(length) {
            Some(0..16) => Err(SettingsError(
                "setting admin_key (MESSAGE_HASH_ADMIN_KEY) is too short: expected at least 16 letters"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// How PostgreSQL is to be used.
    ///
    /// # Errors
    ///
    /// A setting is missing, or is none.
    pub fn postgres(&self) -> Result<PostgresOptions, SettingsError> {
        let shards = |name: &str, text: &Option<SecretString>| match text {
            None => Ok(Vec::new()),
            Some(text) => options::shards(text.expose_secret())
                .map_err(|why| SettingsError(format!("setting {name}: {why}"))),
        };
        let connections = self.postgres_connections;
        let all = PostgresOptions {
            shards: shards("MESSAGE_HASH_POSTGRES_SHARDS", &self.postgres_shards)?,
            also_read: shards("MESSAGE_HASH_POSTGRES_ALSO_READ", &self.postgres_also_read)?,
            connections,
            timeout: self.postgres_timeout.0,
            on_commit: None,
        };
        let missing = |what: &str| Err(SettingsError(what.to_owned()));
        if all.shards.is_empty() {
            return missing(
                "setting postgres_shards (MESSAGE_HASH_POSTGRES_SHARDS) is missing: expected addresses `postgres://user@host/database`",
            );
        }
        if connections == 0 {
            return missing(
                "setting postgres_connections (MESSAGE_HASH_POSTGRES_CONNECTIONS) is `0`: expected a number from 1",
            );
        }
        Ok(all)
    }
}

impl ServiceSettings for Settings {
    const PREFIX: &'static str = "MESSAGE_HASH";

    fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }
}
