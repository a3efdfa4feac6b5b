//! Starts real etcd, Vault API, S3 and PostgreSQL servers and the Holdfast services, for tests and for a run on one machine.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let etcd = testbed::Etcd::start().await?;
//! let locks = testbed::Service::new("shared-lock-svc")
//!     .env("SHARED_LOCK_STORAGE_TYPE", "etcd")
//!     .env("SHARED_LOCK_ETCD_ADDR_LIST", etcd.endpoint())
//!     .start()
//!     .await?;
//! locks.kill()?; // SIGKILL: what the shipped binary had not made durable is gone
//! locks.restart().await?; // the same port, the same environment, the same data directory
//! # Ok(())
//! # }
//! ```
//!
//! Everything listens on loopback only. A server ends when its value is dropped; when the test process is killed instead,
//! the kernel kills the servers (Linux), and the next run removes their directories. A server that a whole test binary
//! shares may therefore live in a `static`, which is never dropped.
//!
//! When a test panics, each server dropped by it prints the end of its log.

mod binaries;
mod collector;
mod contract;
mod etcd;
mod fault_proxy;
mod http;
mod log;
mod openbao;
mod ports;
mod postgres;
mod process;
mod s3;
mod scratch;
pub mod servers;
mod service;
mod slot;
mod spawner;
mod stepped_clock;
mod tls;
mod wait;
mod workspace;

pub use binaries::build;
pub use collector::{Collector, Span};
pub use contract::{Contract, Exchange, Reply};
pub use etcd::{Etcd, EtcdCluster};
pub use fault_proxy::FaultProxy;
pub use log::Log;
pub use openbao::OpenBao;
pub use ports::{free_port, free_ports};
pub use postgres::Postgres;
pub use process::{Launch, Process, Signal};
pub use s3::S3;
pub use scratch::Scratch;
pub use service::{RunningService, Service};
pub use stepped_clock::SteppedClock;
pub use tls::{Authority, tls_before};
pub use wait::eventually;
pub use workspace::workspace_root;
