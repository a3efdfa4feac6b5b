//! A transaction on its way, and what it may share a journey with.

use etcd_client::{Txn, proto::PbTxnRequest};
use prost::Message;

use super::keys::{LockPath, Segment};

/// A transaction that changes something, with what must be known to let it ride with others.
///
/// etcd evaluates all compares of a transaction, nested ones too, on the state before it. So two
/// proposals that name one lock never travel together.
#[derive(Debug, Clone)]
pub(super) struct Proposal {
    pub(super) txn: Txn,
    /// Whom it may ride with.
    pub(super) company: Company,
    /// Its size on the wire.
    pub(super) bytes: usize,
    /// Whether it makes a request hold or wait: what is not proposed while etcd has no space.
    pub(super) adds: bool,
    /// The longest of its lists of compares and operations: what etcd counts.
    pub(super) width: usize,
}

/// Whom a proposal may ride with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Company {
    /// All that name none of these locks.
    Beside(Vec<Segment>),
    /// Nobody.
    None,
}

impl Proposal {
    /// A row of one lock.
    pub(super) fn of(path: &LockPath, txn: Txn) -> Self {
        Self::of_all([path], txn)
    }

    /// A row of several locks: of each lock whose keys it names, in a compare too. A row of no lock
    /// names only keys that no other proposal under way can name.
    pub(super) fn of_all<'a>(paths: impl IntoIterator<Item = &'a LockPath>, txn: Txn) -> Self {
        let locks = paths.into_iter().map(|path| path.segment.clone());
        Self::new(Company::Beside(locks.collect()), txn)
    }

    /// What nothing else may ride with.
    pub(super) fn alone(txn: Txn) -> Self {
        Self::new(Company::None, txn)
    }

    /// Marks what makes a request hold or wait.
    pub(super) fn adding(self) -> Self {
        Self { adds: true, ..self }
    }

    fn new(company: Company, txn: Txn) -> Self {
        let request = PbTxnRequest::from(txn.clone());
        let lists = [
            request.compare.len(),
            request.success.len(),
            request.failure.len(),
        ];
        Self {
            txn,
            company,
            bytes: request.encoded_len(),
            adds: false,
            width: lists.into_iter().max().unwrap_or_default(),
        }
    }
}
