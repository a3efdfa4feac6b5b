//! Command line of shared-lock-svc.

use std::process::ExitCode;

use service_kit::cli::{self, Program};
use shared_lock_svc::{http, serve};

const PROGRAM: Program = Program {
    name: "shared-lock-svc",
    about: "Locks and leases over HTTP, on etcd leases",
    version: env!("CARGO_PKG_VERSION"),
    quiet: vault_kv::LOG_DIRECTIVES,
    document: http::document,
};

fn main() -> ExitCode {
    cli::run(PROGRAM, serve)
}
