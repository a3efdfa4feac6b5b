//! Keeps a token fresh: renewal at two thirds of its life, a new login before its life is over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};
use vaultrs::error::ClientError;
use vaultrs::token;

use super::{Life, Session, Sessions};
use crate::error::{Failure, VaultError};
use crate::options::Auth;

/// Longest pause between two tries to log in or to renew while Vault is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Keeps a token at hand for as long as anybody holds the client.
pub(super) async fn keep(
    sessions: Weak<Sessions>,
    mut watcher: watch::Receiver<Option<Arc<Session>>>,
) {
    let mut failures = 0;
    loop {
        let session = watcher.borrow_and_update().clone();
        tokio::select! {
            () = until_due(session.as_deref(), failures) => (),
            changed = watcher.changed() => match changed {
                Ok(()) => {
                    failures = 0;
                    continue;
                }
                Err(_) => return,
            },
        }
        let Some(sessions) = sessions.upgrade() else {
            return;
        };
        match sessions.refresh(session.as_deref()).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                warn!(%error, vault.failures = failures, "no fresh Vault token");
            }
        }
    }
}

/// Waits until the session needs something: at two thirds of the token's life, spread a little so that
/// replicas started together do not come together.
async fn until_due(session: Option<&Session>, failures: u32) {
    let due = match session.map(|session| session.life) {
        _ if failures > 0 => {
            let pause = Duration::from_millis(100) * 2u32.saturating_pow(failures.min(10));
            pause
                .min(LONGEST_PAUSE)
                .mul_f64(rand::random_range(0.5..1.0))
        }
        None | Some(Life::Unasked) => Duration::ZERO,
        Some(Life::Fixed) => return std::future::pending().await,
        Some(Life::Until { granted, ttl, .. }) => {
            let age = ttl.mul_f64(rand::random_range(0.6..0.667));
            age.saturating_sub(granted.elapsed())
        }
    };
    sleep(due).await;
}

impl Sessions {
    /// What the keeper does when the time has come: log in, renew, or ask how long the token lives.
    async fn refresh(&self, session: Option<&Session>) -> Result<(), VaultError> {
        let deadline = Instant::now() + self.options.operation_timeout;
        let Some(session) = session else {
            return self.log_in(None, deadline).await.map(drop);
        };
        match session.life {
            Life::Fixed => Ok(()),
            Life::Unasked => self.ask_for_life(session).await,
            Life::Until {
                renewable: true,
                first_ttl,
                ..
            } => self.renew(session, first_ttl).await,
            Life::Until {
                renewable: false, ..
            } => self.replace(session).await,
        }
    }

    async fn ask_for_life(&self, session: &Session) -> Result<(), VaultError> {
        let life = match self.in_time(token::lookup_self(&session.client)).await {
            Ok(found) if found.ttl > 0 => {
                let ttl = Duration::from_secs(found.ttl);
                let renewable = found.renewable.unwrap_or(false);
                Life::Until {
                    granted: Instant::now(),
                    ttl,
                    renewable,
                    first_ttl: ttl,
                }
            }
            Ok(_) => Life::Fixed,
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => {
                warn!(%error, "Vault does not tell how long the token lives, so it is not renewed");
                Life::Fixed
            }
        };
        self.carry_on(session, life);
        Ok(())
    }

    async fn renew(&self, session: &Session, first_ttl: Duration) -> Result<(), VaultError> {
        match self.in_time(token::renew_self(&session.client, None)).await {
            Ok(granted) if Duration::from_secs(granted.lease_duration) * 2 < first_ttl => {
                debug!("the Vault token nears its maximum life");
                self.replace(session).await
            }
            Ok(granted) => {
                debug!(
                    vault.token_ttl_s = granted.lease_duration,
                    "Vault token renewed"
                );
                self.carry_on(session, Life::granted(&granted, first_ttl));
                Ok(())
            }
            Err(error) if error.is_outage() => Err(error),
            Err(error) => {
                warn!(%error, "Vault does not renew the token");
                self.replace(session).await
            }
        }
    }

    /// Logs in anew, or lets a token that was given to us run out.
    async fn replace(&self, session: &Session) -> Result<(), VaultError> {
        if matches!(self.options.auth, Auth::Token(_)) {
            warn!(
                vault.token_ttl_s = session.ttl().map(|ttl| ttl.as_secs()),
                "the Vault token ends and cannot be renewed"
            );
            self.carry_on(session, Life::Fixed);
            return Ok(());
        }
        let deadline = Instant::now() + self.options.operation_timeout;
        self.log_in(Some(session.token()), deadline).await.map(drop)
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, VaultError> {
        match timeout(self.options.operation_timeout, call).await {
            Ok(answer) => answer.map_err(|error| Failure::of(error).into_error()),
            Err(_) => Err(VaultError::timed_out()),
        }
    }
}
