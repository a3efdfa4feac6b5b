//! A transaction on its way, and what it may share a journey with.

use etcd_client::{Compare, Txn, TxnOp, proto::PbTxnOpRequest};

use super::keys::{LockPath, Segment};

/// What a compare or a read takes on the wire, about.
const BYTES_OF_A_QUESTION: usize = 128;

/// A transaction that changes something, with what must be known to let it ride with others.
///
/// etcd evaluates all compares of a transaction, nested ones too, on the state before it. So two
/// proposals that name one lock never travel together.
#[derive(Debug, Clone)]
pub(super) struct Proposal {
    when: Vec<Compare>,
    then: Vec<TxnOp>,
    otherwise: Vec<TxnOp>,
    /// Whom it may ride with.
    pub(super) company: Company,
    /// Its size on the wire, about.
    pub(super) bytes: usize,
    /// Whether it makes a request hold or wait: what is not proposed while etcd has no space.
    pub(super) adds: bool,
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
    pub(super) fn of(
        path: &LockPath,
        when: impl Into<Vec<Compare>>,
        then: impl Into<Vec<TxnOp>>,
    ) -> Self {
        Self::of_all([path], when, then)
    }

    /// A row of several locks: of each lock whose keys it names, in a compare too. A row of no lock
    /// names only keys that no other proposal under way can name.
    pub(super) fn of_all<'a>(
        paths: impl IntoIterator<Item = &'a LockPath>,
        when: impl Into<Vec<Compare>>,
        then: impl Into<Vec<TxnOp>>,
    ) -> Self {
        let locks = paths.into_iter().map(|path| path.segment.clone());
        Self::new(Company::Beside(locks.collect()), when.into(), then.into())
    }

    /// What nothing else may ride with.
    pub(super) fn alone(when: impl Into<Vec<Compare>>, then: impl Into<Vec<TxnOp>>) -> Self {
        Self::new(Company::None, when.into(), then.into())
    }

    fn new(company: Company, when: Vec<Compare>, then: Vec<TxnOp>) -> Self {
        let written = then.iter().cloned();
        let written = written.map(|op| PbTxnOpRequest::from(op).encoded_len());
        Self {
            bytes: written.sum::<usize>() + when.len() * BYTES_OF_A_QUESTION,
            when,
            then,
            otherwise: Vec::new(),
            company,
            adds: false,
        }
    }

    /// What is read when the compares do not hold.
    pub(super) fn or_else(mut self, reads: impl Into<Vec<TxnOp>>) -> Self {
        self.otherwise = reads.into();
        self.bytes += self.otherwise.len() * BYTES_OF_A_QUESTION;
        self
    }

    /// Marks what makes a request hold or wait.
    pub(super) fn adding(self) -> Self {
        Self { adds: true, ..self }
    }

    pub(super) fn txn(&self) -> Txn {
        Txn::new()
            .when(self.when.clone())
            .and_then(self.then.clone())
            .or_else(self.otherwise.clone())
    }

    /// The longest of its lists of compares and operations: what etcd counts.
    pub(super) fn width(&self) -> usize {
        let written = self.then.len().max(self.otherwise.len());
        self.when.len().max(written)
    }
}
