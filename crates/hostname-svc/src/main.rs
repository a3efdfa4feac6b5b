//! Command line of hostname-svc.

use std::process::ExitCode;

use hostname_svc::{http, serve};
use service_kit::cli::{self, Program};

const PROGRAM: Program = Program {
    name: "hostname-svc",
    about: "Unique hostnames, with counter and audit records in Vault",
    version: env!("CARGO_PKG_VERSION"),
    quiet: vault_kv::LOG_DIRECTIVES,
    document: http::document,
};

fn main() -> ExitCode {
    cli::run(PROGRAM, serve)
}
