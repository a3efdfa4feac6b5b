//! What the service can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use service_kit::cli::ServiceSettings;
use service_kit::server::ServerSettings;
use service_kit::settings;
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
        /// Largest message, in bytes of its UTF-8.
        pub message_limit: usize => Setting::env("MESSAGE_LIMIT").default("1048576").allowed("a number of bytes"),
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
