//! A transaction on its way to etcd. What it compares is fixed when it is proposed; it is applied
//! at any later time, and whoever proposed it may have given up by then.

use crate::{
    grant::Run,
    keys::Revision,
    scenario::{REQUESTS, Scenario},
};

/// The rows of the protocol that are transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Kind {
    #[default]
    Nothing,
    Acquire,
    Enqueue,
    /// Grant the run at the head of the queue, because there is room for it.
    Promote,
    /// End a tenure and grant the run at the head of the queue.
    HandOver,
    /// End a tenure that nobody waits for.
    Release,
    /// End a tenure while the head of the queue does not fit.
    Leave,
    Cancel,
    /// Bury the request unless it holds or waits.
    Close,
    ForceRelease,
    PlainAcquire,
}

/// Who waits for the answer to a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Source {
    /// Nobody: whoever it concerns sees it in its view.
    #[default]
    Nobody,
    /// The handler of the request at the replica.
    Handler,
    /// The release that the client asked for.
    Client,
    /// The release of a handler whose client is gone.
    CleanUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Proposal {
    pub(crate) kind: Kind,
    pub(crate) source: Source,
    pub(crate) lock: u8,
    /// On whose behalf.
    pub(crate) request: u8,
    pub(crate) replica: u8,
    /// The lease that a grant or an entry hangs on, or that of the tenure that ends.
    pub(crate) lease: u8,
    /// Whose tenure ends.
    pub(crate) tenure: u8,
    /// The revision compared: of the tenure that ends, of the entry that goes, of the holder read.
    pub(crate) token: Revision,
    /// No permit may be newer than this.
    pub(crate) counted: Revision,
    /// The places of the waiters that are granted.
    pub(crate) run: [Revision; REQUESTS],
    /// Its proposer has given up on the answer.
    pub(crate) abandoned: bool,
}

impl Proposal {
    /// A proposal of `kind` for `request` by `replica`.
    pub(crate) fn new(
        scenario: &Scenario,
        kind: Kind,
        source: Source,
        request: usize,
        replica: usize,
    ) -> Self {
        Self {
            kind,
            source,
            lock: scenario.lock_of(request) as u8,
            request: request as u8,
            replica: replica as u8,
            ..Self::default()
        }
    }

    /// Grants `run` as well.
    #[must_use]
    pub(crate) fn granting(mut self, run: &Run) -> Self {
        self.run = run.places;
        self.counted = run.counted;
        self
    }

    pub(crate) fn lock(&self) -> usize {
        usize::from(self.lock)
    }

    pub(crate) fn request(&self) -> usize {
        usize::from(self.request)
    }

    pub(crate) fn replica(&self) -> usize {
        usize::from(self.replica)
    }

    pub(crate) fn tenure(&self) -> usize {
        usize::from(self.tenure)
    }

    /// Who is granted from the queue.
    pub(crate) fn granted(&self) -> impl Iterator<Item = usize> + '_ {
        (0..REQUESTS).filter(|&request| self.run[request] != 0)
    }

    /// The oldest of the waiters that are granted.
    pub(crate) fn head(&self) -> Option<usize> {
        self.granted().min_by_key(|&request| self.run[request])
    }

    pub(crate) fn each_revision(&mut self, visit: &mut impl FnMut(&mut Revision)) {
        visit(&mut self.token);
        visit(&mut self.counted);
        self.run.iter_mut().for_each(visit);
    }
}
