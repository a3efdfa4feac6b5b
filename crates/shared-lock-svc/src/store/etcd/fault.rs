//! What may go wrong between us and etcd, sorted by what it says about the request.

use std::{error::Error as _, sync::Arc};

use etcd_client::Error;
use tonic::{Code, ConnectError};

use crate::store::StoreError;

/// Why a call brought no answer. The kind decides what may be believed of its effect.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    /// It was never sent: nothing happened.
    #[error("etcd cannot be reached: {0}")]
    Unreachable(Arc<str>),
    /// It was sent and its answer is lost, or says neither yes nor no: it may have happened.
    #[error("etcd gave no usable answer: {0}")]
    Lost(Arc<str>),
    /// It was sent and nothing came back in time: it may have happened, and still may.
    #[error("etcd did not answer in time")]
    Silent,
    /// A lease that it names is gone: nothing happened.
    #[error("the lease is gone")]
    LeaseNotFound,
    /// etcd understood and will not: nothing happened.
    #[error("etcd refuses: {0}")]
    Refused(String),
}

impl Fault {
    pub(super) fn unreachable(why: impl Into<Arc<str>>) -> Self {
        Self::Unreachable(why.into())
    }

    /// What it is called in metrics and traces.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Lost(_) => "lost",
            Self::Silent => "silent",
            Self::LeaseNotFound => "lease_not_found",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether what was asked may have happened, or may happen yet.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Silent)
    }

    /// Whether the next step is to see how things stand: it may have happened, or must be asked
    /// for in another way.
    pub(super) fn deserves_a_look(&self) -> bool {
        self.is_unknown() || matches!(self, Self::LeaseNotFound)
    }

    /// Whether the member that was asked should be looked at before it is asked again.
    pub(super) fn blames_member(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Lost(_) | Self::Silent)
    }
}

impl From<Error> for Fault {
    fn from(err: Error) -> Self {
        match err {
            Error::GRpcStatus(status) => from_status(&status),
            // etcd-client says so when a keepalive came back with a TTL of zero.
            Error::LeaseKeepAliveError(text) if text == "lease not found" => Self::LeaseNotFound,
            Error::InvalidArgs(text) => Self::Refused(text),
            Error::InvalidUri(err) => Self::Refused(err.to_string()),
            Error::TransportError(err) => Self::Unreachable(deepest(&err).into()),
            other => Self::Lost(other.to_string().into()),
        }
    }
}

fn from_status(status: &tonic::Status) -> Fault {
    let text = status.message();
    match status.code() {
        Code::NotFound if text.contains("requested lease not found") => Fault::LeaseNotFound,
        // A member that was asked as the leader, and is it no longer.
        Code::FailedPrecondition if text == "etcdserver: not leader" => Fault::Lost(text.into()),
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::NotFound => Fault::Refused(text.to_owned()),
        Code::Unavailable if never_sent(status) => Fault::Unreachable(deepest(status).into()),
        // Also `no space`: etcd may have applied what it complains of.
        _ => Fault::Lost(format!("{:?}: {text}", status.code()).into()),
    }
}

/// No connection came about, or etcd turned the request away at its door for want of a leader.
fn never_sent(status: &tonic::Status) -> bool {
    let mut source = status.source();
    while let Some(err) = source {
        if err.is::<ConnectError>() {
            return true;
        }
        source = err.source();
    }
    status.message() == "etcdserver: no leader"
}

/// The innermost cause says most: `Connection refused (os error 111)`.
fn deepest(err: &(dyn std::error::Error + 'static)) -> String {
    let mut err = err;
    while let Some(source) = err.source() {
        err = source;
    }
    err.to_string()
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Silent => Self::Timeout,
            Fault::Refused(why) => Self::Refused(why),
            Fault::Unreachable(_) | Fault::Lost(_) | Fault::LeaseNotFound => {
                Self::Unavailable(fault.into())
            }
        }
    }
}
