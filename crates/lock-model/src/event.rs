//! What can happen in a step, as much of it as is needed to tell it.

use crate::{compare::Verdict, keys::Seen, proposal::Proposal};

/// What happened in a step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Delivered {
        replica: usize,
    },
    Applied {
        proposal: Proposal,
        verdict: Verdict,
    },
    AppliedTogether {
        batch: [(Proposal, Verdict); 2],
    },
    AnswerLost {
        proposal: Proposal,
    },
    Proposed {
        proposal: Proposal,
    },
    Expired {
        lease: u8,
        kept: bool,
    },
    DelayOver {
        lock: usize,
    },
    Forgotten {
        request: usize,
    },
    Crashed {
        replica: usize,
    },
    PlainAsks,
    PlainReleases,
    Forced {
        lock: usize,
    },
    Sent {
        request: usize,
        replica: usize,
    },
    Broken {
        request: usize,
    },
    Repeated {
        request: usize,
        replica: usize,
    },
    Died {
        request: usize,
    },
    EndsById {
        request: usize,
        replica: usize,
    },
    Releases {
        request: usize,
        replica: usize,
        again: bool,
    },
    ReadsAgain {
        request: usize,
        replica: usize,
    },
    IsOver {
        request: usize,
        replica: usize,
    },
    EndsAndLooks {
        request: usize,
        replica: usize,
        seen: Seen,
    },
    Noticed {
        request: usize,
        replica: usize,
    },
    Dropped {
        request: usize,
        replica: usize,
    },
    Looked {
        request: usize,
        replica: usize,
    },
    WaitOver {
        request: usize,
        replica: usize,
    },
    Revoked {
        request: usize,
        replica: usize,
    },
    AnsweredKnown {
        request: usize,
        replica: usize,
    },
    Confirmed {
        request: usize,
        replica: usize,
    },
    AnsweredNot {
        request: usize,
        replica: usize,
    },
    Answered {
        request: usize,
        replica: usize,
        heard: bool,
    },
    CleansUp {
        request: usize,
        replica: usize,
    },
    ClearedAway {
        request: usize,
        replica: usize,
        unserved: bool,
    },
}
