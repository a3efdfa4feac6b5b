//! What the three Holdfast services share, and that knows no word of any domain.
//!
//! A service's `main` names its [`Program`](cli::Program) and hands over one function that builds
//! everything in the order data flows; the rest of the life of a process is here: settings from
//! defaults, file and environment, logs and traces, the HTTP server with its common routes, errors
//! as problem+json, and the way down on SIGTERM.

pub mod body;
pub mod cli;
pub mod complaint;
mod connection;
pub mod duration;
pub mod health;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod query;
pub mod request;
pub mod server;
pub mod settings;
pub mod telemetry;
pub mod text;

/// That of the C library makes a service half as fast under load, musl's slower still.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
