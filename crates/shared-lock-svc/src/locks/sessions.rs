//! Sessions: leases that carry many locks.

use super::{LockError, Locks};
use crate::{
    lease::{LeaseId, Session, SessionRequest},
    store::Renewal,
};

impl Locks {
    /// Begins a session.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn open_session(&self, request: SessionRequest) -> Result<Session, LockError> {
        let opening = self.store.open_session(request);
        let outcome = self.unless_closing(opening).await;
        self.metrics.session_opened(outcome.is_ok());
        outcome
    }

    /// Restarts the life of a session.
    ///
    /// # Errors
    /// It is gone, or the store did not answer.
    pub async fn keep_session_alive(&self, id: LeaseId) -> Result<Renewal, LockError> {
        let outcome = self.store.keep_lease_alive(id).await;
        self.metrics.kept_alive("keepalive_session", &outcome);
        outcome?.ok_or(LockError::SessionNotFound(id))
    }

    /// Ends a session and all that hangs on it; `false` if it was over.
    ///
    /// # Errors
    /// The store did not do it.
    pub async fn end_session(&self, id: LeaseId) -> Result<bool, LockError> {
        let outcome = self.store.end_session(id).await;
        self.metrics.released("end_session", &outcome);
        Ok(outcome?)
    }
}
