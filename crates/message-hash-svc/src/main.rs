//! Command line of message-hash-svc.

use std::process::ExitCode;

use message_hash_svc::{commands, http, serve};
use service_kit::cli::{self, Program};

const PROGRAM: Program = Program {
    name: "message-hash-svc",
    about: "The SHA-256 digest of a message, and the message back",
    version: env!("CARGO_PKG_VERSION"),
    quiet: "",
    document: http::document,
};

fn main() -> ExitCode {
    cli::run_with(PROGRAM, serve, &commands::all())
}
