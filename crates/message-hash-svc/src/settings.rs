//! What the service can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use service_kit::cli::ServiceSettings;
use service_kit::duration::GoDuration;
use service_kit::server::ServerSettings;
use service_kit::settings;
use service_kit::settings::Flag;
use service_kit::telemetry::TelemetrySettings;

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
        /// Key of the administrator, as `Authorization: Bearer`: without one nothing can be deleted or backed up over HTTP.
        pub admin_key: Option<SecretString> => Setting::env("ADMIN_KEY").secret().allowed("at least 16 letters"),
        /// How often every message is hashed to find damage before a caller does; `0s` never.
        pub scrub_every: GoDuration => Setting::env("SCRUB_EVERY").default("24h").allowed("a duration such as `24h`, or `0s`"),
        /// Memory for messages that were looked up lately, in bytes; 0 is no cache.
        pub cache_bytes: usize => Setting::env("CACHE_BYTES").default("67108864").allowed("a number of bytes"),
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
