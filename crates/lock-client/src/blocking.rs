//! The client for programs without a runtime: each call waits for its answer.
//!
//! ```
//! use lock_client::blocking::LockClient;
//! use lock_client::{AcquireOptions, ClientOptions, Error};
//!
//! fn report(url: &str) -> Result<(), Error> {
//!     let locks = LockClient::new(ClientOptions::new([url], "reports-7f"))?;
//!     let guard = locks.acquire("reports/2026", AcquireOptions::default())?;
//!     for _part in 0..3 {
//!         if !guard.is_valid() {
//!             return Err(Error::Lost { key: guard.key().to_owned() });
//!         }
//!         // … a piece of work whose writes carry `guard.fencing_token()` …
//!     }
//!     guard.release()
//! }
//! # fn main() -> anyhow::Result<()> {
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # let service = testbed::Service::new("shared-lock-svc").env("SHARED_LOCK_STORAGE_TYPE", "memory");
//! # let service = runtime.block_on(service.start())?;
//! # Ok(report(service.url())?)
//! # }
//! ```
//!
//! A guard renews itself, as every guard does: on a thread that is there in any case.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::client;
use crate::error::Error;
use crate::guard::{self, Tenure};
use crate::options::{AcquireOptions, ClientOptions, Mode};
use crate::view::LockView;

/// A client of the lock service whose calls wait. Clones are cheap, and threads may share one.
#[derive(Debug, Clone)]
pub struct LockClient {
    client: client::LockClient,
    runtime: Arc<Own>,
}

/// A lock held. Dropping it gives the lock back in the background; [`LockGuard::release`] waits for it. What
/// does not wait is asked of it as of [a guard](guard::LockGuard).
#[derive(Debug)]
#[must_use = "dropping the guard gives the lock back"]
pub struct LockGuard {
    guard: guard::LockGuard,
    runtime: Arc<Own>,
}

impl LockClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::InvalidOption {
            option: "runtime",
            reason: error.to_string(),
        })?;
        Ok(Self {
            client: client::LockClient::new(options)?,
            runtime: Arc::new(Own(Some(runtime))),
        })
    }

    /// Takes a lock, or stands in its queue for at most `options.wait`.
    ///
    /// # Errors
    /// As [`client::LockClient::acquire`]; [`Error::InsideRuntime`] in an async program.
    pub fn acquire(&self, key: &str, options: AcquireOptions) -> Result<LockGuard, Error> {
        let guard = wait(&self.runtime, self.client.acquire(key, options))?;
        Ok(self.guard(guard))
    }

    /// Takes a lock if it is free, without waiting.
    ///
    /// # Errors
    /// As [`LockClient::acquire`].
    pub fn try_acquire(&self, key: &str, options: AcquireOptions) -> Result<LockGuard, Error> {
        self.acquire_timeout(key, Duration::ZERO, options)
    }

    /// Takes a lock, or stands in its queue for at most `wait` instead of `options.wait`.
    ///
    /// # Errors
    /// As [`LockClient::acquire`].
    pub fn acquire_timeout(
        &self,
        key: &str,
        wait: Duration,
        options: AcquireOptions,
    ) -> Result<LockGuard, Error> {
        self.acquire(key, AcquireOptions { wait, ..options })
    }

    /// Takes several locks or none, as [`client::LockClient::acquire_all`] does.
    ///
    /// # Errors
    /// As there; [`Error::InsideRuntime`] in an async program.
    pub fn acquire_all(
        &self,
        locks: &[(&str, Mode)],
        options: AcquireOptions,
    ) -> Result<Vec<LockGuard>, Error> {
        let guards = wait(&self.runtime, self.client.acquire_all(locks, options))?;
        Ok(guards.into_iter().map(|guard| self.guard(guard)).collect())
    }

    /// Whether a tenure is the current one, as [`client::LockClient::verify`] asks it.
    ///
    /// # Errors
    /// As there; [`Error::InsideRuntime`] in an async program.
    pub fn verify(&self, tenure: &Tenure) -> Result<bool, Error> {
        wait(&self.runtime, self.client.verify(tenure))
    }

    /// Gives a lock back if this tenure still has it; `false` when it was over already.
    ///
    /// # Errors
    /// As [`client::LockClient::remove_if_owner`]; [`Error::InsideRuntime`] in an async program.
    pub fn remove_if_owner(&self, tenure: &Tenure) -> Result<bool, Error> {
        wait(&self.runtime, self.client.remove_if_owner(tenure))
    }

    /// Who has a lock, and who waits for it.
    ///
    /// # Errors
    /// As [`client::LockClient::inspect`]; [`Error::InsideRuntime`] in an async program.
    pub fn inspect(&self, key: &str) -> Result<LockView, Error> {
        wait(&self.runtime, self.client.inspect(key))
    }

    /// Waits until what was dropped before is given back: the last thing that a program does. `false` when
    /// that takes longer than `within`, or when guards or other clones of this client live.
    pub fn close(self, within: Duration) -> bool {
        wait(&self.runtime, async { Ok(self.client.close(within).await) }).unwrap_or(false)
    }

    fn guard(&self, guard: guard::LockGuard) -> LockGuard {
        LockGuard {
            guard,
            runtime: Arc::clone(&self.runtime),
        }
    }
}

impl LockGuard {
    /// Waits until the lock is no longer surely held, for at most `within`: whether it is lost.
    ///
    /// # Errors
    /// [`Error::InsideRuntime`] in an async program.
    pub fn lost_within(&self, within: Duration) -> Result<bool, Error> {
        let lost = self.guard.lost();
        wait(&self.runtime, async {
            Ok(tokio::time::timeout(within, lost).await.is_ok())
        })
    }

    /// Asks the service whether this tenure is the current one.
    ///
    /// # Errors
    /// The service did not answer; [`Error::InsideRuntime`] in an async program.
    pub fn verify(&self) -> Result<bool, Error> {
        wait(&self.runtime, self.guard.verify())
    }

    /// Gives the lock back and waits until the service knows it.
    ///
    /// # Errors
    /// As [`guard::LockGuard::release`]; [`Error::InsideRuntime`] in an async program, where the lock is given
    /// back in the background.
    pub fn release(self) -> Result<(), Error> {
        let Self { guard, runtime } = self;
        wait(&runtime, guard.release())
    }
}

impl Deref for LockGuard {
    type Target = guard::LockGuard;

    fn deref(&self) -> &guard::LockGuard {
        &self.guard
    }
}

/// A runtime that may be dropped anywhere: it waits for nothing, since what runs in the background does so on
/// the thread that renews.
#[derive(Debug)]
struct Own(Option<Runtime>);

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Inside of another runtime, waiting would stop its thread; Tokio panics there.
fn wait<T>(own: &Own, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match (&own.0, Handle::try_current()) {
        (Some(runtime), Err(_)) => runtime.block_on(call),
        _ => Err(Error::InsideRuntime),
    }
}
