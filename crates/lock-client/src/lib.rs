//! Client of shared-lock-svc: locks that renew themselves and tell when they are lost.
//!
//! **Only the fencing token protects a resource.** A guard knows when its lease may run out and says
//! so in time, but a program can be paused between asking and acting, a lock can be forced open, and
//! a store can be restored. Hand the token along with every write, and let the resource refuse a
//! token lower than one it has seen.
//!
//! ```
//! use std::time::Duration;
//!
//! use lock_client::{AcquireOptions, ClientOptions, Error, LockClient};
//!
//! # async fn assign(_fencing_token: u64) -> Result<(), Error> { Ok(()) }
//! async fn report(url: &str) -> Result<(), Error> {
//!     let locks = LockClient::new(ClientOptions::new([url], "reports-7f"))?;
//!     let options = AcquireOptions { wait: Duration::from_secs(5), ..AcquireOptions::default() };
//!
//!     let guard = locks.acquire("reports/2026", options).await?;
//!     tokio::select! {
//!         outcome = assign(guard.fencing_token()) => outcome?,
//!         () = guard.lost() => return Err(Error::Lost { key: guard.key().to_owned() }),
//!     }
//!     guard.release().await
//! }
//! # #[tokio::main] async fn main() -> anyhow::Result<()> {
//! # let service = testbed::Service::new("shared-lock-svc").env("SHARED_LOCK_STORAGE_TYPE", "memory");
//! # let service = service.start().await?;
//! # Ok(report(service.url()).await?)
//! # }
//! ```
//!
//! Many locks on one lease, readers and permits, and several locks at once:
//!
//! ```
//! use lock_client::{AcquireOptions, Error, LockClient, Mode, SessionOptions};
//!
//! async fn import(locks: &LockClient) -> Result<(), Error> {
//!     let session = locks.open_session(SessionOptions::default()).await?;
//!     let shared = AcquireOptions { mode: Mode::Shared, ..AcquireOptions::default() };
//!     let catalogue = session.acquire("catalogue", shared).await?;
//!     let one_of_four = Mode::Permit { limit: 4, weight: 1 };
//!     let wanted = [("shelf/7", Mode::Exclusive), ("importers", one_of_four)];
//!     let both = session.acquire_all(&wanted, AcquireOptions::default()).await?;
//!     // … work, while none of `session.lost()`, `catalogue.lost()`, `both[0].lost()` resolves …
//!     drop((catalogue, both));
//!     session.end().await
//! }
//! # #[tokio::main] async fn main() -> anyhow::Result<()> {
//! # let service = testbed::Service::new("shared-lock-svc").env("SHARED_LOCK_STORAGE_TYPE", "memory");
//! # let service = service.start().await?;
//! # let locks = LockClient::new(lock_client::ClientOptions::new([service.url()], "importer"))?;
//! # Ok(import(&locks).await?)
//! # }
//! ```
//!
//! What holds without the caller's doing:
//! - A guard renews itself every third of its TTL. One task on a thread of its own does it for all guards
//!   of a client, so that a busy program does not stop it, and sends those that are due together as one call.
//! - A guard is lost before *expiry* can give the lock to somebody else: it is valid until `elapsed_ms` +
//!   `remaining_ms` after the *send* of the last call that was answered, less a margin (5 % of the TTL, at
//!   least 200 ms). On Linux it reads a clock that also runs while the machine is suspended
//!   (`CLOCK_BOOTTIME`); elsewhere `std::time::Instant`, which may stop then, so that only the fencing token
//!   helps after a suspend. A lock that was taken by force is lost at the next renewal.
//! - A dropped guard is released in the background. An acquire that is dropped half-way, or whose answer
//!   got lost, is undone by its request id, at any of the servers, and asked anew under another one.
//! - A server that refuses connections is passed over; the last one that answered is asked first.
//! - TLS by rustls, with an authority and a client certificate of one's own, whose files are read anew when
//!   they are replaced; a bearer token is read from its file for each request; the current trace goes along
//!   (`traceparent`).
//!
//! A program without a runtime uses `lock_client::blocking`, whose calls wait.
//!
//! What does not: within one program a lock is taken once more only by those who ask for it as `reentrant`,
//! since tasks of one program exclude each other too. Dropped guards of a program that ends at once may be
//! released by expiry only: `release().await` is sure.

mod acquire;
mod batch;
pub mod blocking;
mod client;
mod clock;
mod error;
mod events;
mod guard;
mod keeper;
mod key;
mod lease;
mod lease_wire;
mod options;
mod reentry;
mod renewal;
mod session;
mod tls;
mod trace;
mod transport;
mod view;
mod wire;

pub use client::LockClient;
pub use error::{Error, Held, Problem};
pub use events::{EventStream, Happened, LockEvent};
pub use guard::{LockGuard, Tenure};
pub use options::{AcquireOptions, ClientOptions, Mode, SessionOptions, TlsOptions};
pub use session::Session;
pub use tls::http_client;
pub use view::{HolderView, LockView, Page, WaiterView};
