//! Client of shared-lock-svc: locks that renew themselves and tell when they are lost.
//!
//! **Only the fencing token protects a resource.** A guard knows when its lease may run out and says
//! so in time ([`LockGuard::lost`]), but a program can be paused between asking and acting, a lock can
//! be forced open, and a store can be restored. Hand [`LockGuard::fencing_token`] along with every
//! write, and let the resource refuse a token lower than one it has seen.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lock_client::{AcquireOptions, ClientOptions, Error, LockClient};
//!
//! # async fn assign(_fencing_token: u64) -> Result<(), Error> { Ok(()) }
//! # async fn example() -> Result<(), Error> {
//! let locks = LockClient::new(ClientOptions::new(["http://127.0.0.1:8080"], "reports-7f"))?;
//! let options = AcquireOptions { wait: Duration::from_secs(5), ..AcquireOptions::default() };
//!
//! let guard = locks.acquire("reports/2026", options).await?;
//! tokio::select! {
//!     outcome = assign(guard.fencing_token()) => outcome?,
//!     () = guard.lost() => return Err(Error::Lost { key: guard.key().to_owned() }),
//! }
//! guard.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What holds without the caller's doing:
//! - A guard renews itself every third of its TTL, by a task of the runtime that acquired it.
//! - A guard is lost before *expiry* can give the lock to somebody else. On Linux it reads a clock that
//!   also runs while the machine is suspended (`CLOCK_BOOTTIME`); elsewhere [`std::time::Instant`],
//!   which may stop then, so that only the fencing token helps after a suspend.
//! - A dropped guard is released in the background. An `acquire` that is dropped half-way, or whose
//!   answer got lost, is undone by its request id, at any of the servers.
//! - A server that refuses connections is passed over; the last one that answered is asked first.

mod acquire;
mod client;
mod clock;
mod error;
mod guard;
mod key;
mod trace;
mod transport;
mod wire;

pub use client::{AcquireOptions, ClientOptions, LockClient};
pub use error::{Error, Held, Problem};
pub use guard::LockGuard;
