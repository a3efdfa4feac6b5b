//! The "if" of each row: what etcd compares, on the state before the transaction.

use crate::{
    grant,
    keys::{Keys, Seen},
    mistake::Mistake,
    proposal::{Kind, Proposal},
    scenario::{Mode, Scenario},
    state::State,
};

/// What etcd makes of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All compares pass: the "then" branch is written.
    Passes,
    /// One does not: the "else" branch is read.
    Fails,
    /// The "then" branch puts a key on a lease that is gone: the whole transaction is refused.
    LeaseGone,
}

/// Evaluates `proposal` on `state`.
pub(crate) fn verdict(scenario: &Scenario, state: &State, proposal: &Proposal) -> Verdict {
    let check = Check {
        scenario,
        state,
        keys: state.keys(),
        proposal,
    };
    let (passes, lease_lives) = match proposal.kind {
        Kind::Nothing => (false, true),
        Kind::Acquire => (check.acquire(), state.lives(proposal.lease)),
        Kind::Enqueue => (
            check.enqueue(),
            state.lives(proposal.lease) && state.present(proposal.replica()),
        ),
        Kind::Promote => (check.grant(None), check.leases_of_run_live()),
        Kind::HandOver => (
            check.tenure_is_as_told() && check.grant(Some(proposal.tenure())),
            check.leases_of_run_live(),
        ),
        Kind::Release => (check.tenure_is_as_told() && check.nobody_waits(), true),
        Kind::Leave => (check.tenure_is_as_told(), true),
        Kind::Cancel => (check.entry_is(proposal.request(), proposal.token), true),
        Kind::Close => (check.neither_holds_nor_waits(), true),
        Kind::ForceRelease => (check.nothing_was_added(), true),
        Kind::PlainAcquire => (
            !check.keys.holders[proposal.lock()].present(),
            state.lives(proposal.lease),
        ),
    };
    match (passes, lease_lives) {
        (false, _) => Verdict::Fails,
        (true, false) => Verdict::LeaseGone,
        (true, true) => Verdict::Passes,
    }
}

/// The token of the holder of `lock`; zero when there is none.
pub(crate) fn holder_token(scenario: &Scenario, keys: &Keys, lock: usize) -> u8 {
    let holder = &keys.holders[lock];
    if scenario.makes(Mistake::TokenIsCreateRevision) {
        holder.created
    } else {
        holder.token
    }
}

struct Check<'a> {
    scenario: &'a Scenario,
    state: &'a State,
    keys: &'a Keys,
    proposal: &'a Proposal,
}

impl Check<'_> {
    fn acquire(&self) -> bool {
        let Self {
            scenario,
            keys,
            proposal,
            ..
        } = self;
        let over_itself = keys.tenures[proposal.request()].present()
            && !scenario.makes(Mistake::AcquireOverTheOwnTenure);
        self.room_for(scenario.mode_of(proposal.request()), None)
            && (self.nobody_waits() || scenario.makes(Mistake::BargingPastTheQueue))
            && !over_itself
            && self.may_begin()
    }

    fn enqueue(&self) -> bool {
        let Self {
            scenario: _,
            keys,
            proposal,
            ..
        } = self;
        let request = proposal.request();
        !keys.waiters[request].present() && self.does_not_hold(request) && self.may_begin()
    }

    /// A reader or a permit has a key of its own; of a holder it is known that it is another
    /// request's as long as it is the one that was read.
    fn does_not_hold(&self, request: usize) -> bool {
        let Self {
            scenario,
            keys,
            proposal,
            ..
        } = self;
        if scenario.mode_of(request) == Mode::Exclusive {
            let as_read = keys.holders[proposal.lock()].token == proposal.token;
            as_read || scenario.makes(Mistake::EnqueueIgnoresTheHolder)
        } else {
            !keys.tenures[request].present() || scenario.makes(Mistake::EnqueueBesideTheOwnTenure)
        }
    }

    /// Neither has the request ended, nor its replica, nor its session.
    fn may_begin(&self) -> bool {
        let Self {
            scenario,
            state,
            keys,
            proposal,
        } = self;
        let ended = state.has_ended(proposal.request()) && !scenario.makes(Mistake::NoTombstone);
        let present =
            state.present(proposal.replica()) || scenario.makes(Mistake::NoLivenessCompare);
        !ended && present && (!scenario.sessions || keys.guarded(proposal.lease))
    }

    /// The whole run waits as it did, its head is the head, and there is room for it.
    fn grant(&self, leaving: Option<usize>) -> bool {
        let Self {
            scenario,
            keys,
            proposal,
            ..
        } = self;
        let Some(head) = proposal.head() else {
            return false;
        };
        let guarded = |waiter: usize| {
            keys.guarded(keys.waiters[waiter].lease) || scenario.makes(Mistake::GrantWithoutGuard)
        };
        proposal
            .granted()
            .all(|waiter| self.entry_is(waiter, proposal.run[waiter]) && guarded(waiter))
            && self.is_head(head)
            && self.room_for(scenario.mode_of(head), leaving)
    }

    /// No entry of the queue is older than that of `head`.
    fn is_head(&self, head: usize) -> bool {
        let Self {
            scenario,
            keys,
            proposal,
            ..
        } = self;
        let older = |&other: &usize| {
            other != head
                && keys.waiters[other].present()
                && keys.waiters[other].place < proposal.run[head]
        };
        let unordered = scenario.makes(Mistake::GrantWithoutOrder)
            || (scenario.makes(Mistake::PromotionWithoutOrder) && proposal.kind == Kind::Promote);
        unordered || scenario.requests_for(proposal.lock()).filter(older).count() == 0
    }

    /// What stays once `leaving` is gone is compatible with `mode`.
    fn room_for(&self, mode: Mode, leaving: Option<usize>) -> bool {
        let Self {
            scenario,
            keys,
            proposal,
            ..
        } = self;
        let lock = proposal.lock();
        if proposal.kind != Kind::Acquire && scenario.makes(Mistake::GrantWithoutRoom) {
            return true;
        }
        let holder = &keys.holders[lock];
        let holder_leaves = holder.present() && leaving == Some(usize::from(holder.request));
        let closed = !holder_leaves
            && (holder.present() || keys.delays[lock] && !scenario.makes(Mistake::DelayIgnored));
        let no_readers = keys
            .readers(scenario, lock)
            .all(|reader| leaving == Some(reader));
        let no_permits = keys
            .permits(scenario, lock)
            .all(|(permit, ..)| leaving == Some(permit));
        !closed
            && match mode {
                Mode::Exclusive => {
                    no_permits && (no_readers || scenario.makes(Mistake::WriterIgnoresReaders))
                }
                Mode::Shared => no_permits,
                Mode::Permit { .. } => {
                    no_readers
                        && (scenario.makes(Mistake::NoCapacityCompare)
                            || grant::newest_permit(scenario, keys, lock) <= proposal.counted)
                }
            }
    }

    /// The tenure that is to end is there, and is the one that its holder was told of.
    fn tenure_is_as_told(&self) -> bool {
        let Self {
            scenario,
            keys,
            proposal,
            ..
        } = self;
        let tenure = proposal.tenure();
        let (token, lease) = if scenario.mode_of(tenure) == Mode::Exclusive {
            (
                holder_token(scenario, keys, proposal.lock()),
                keys.holders[proposal.lock()].lease,
            )
        } else {
            (keys.tenures[tenure].token, keys.tenures[tenure].lease)
        };
        let by_lease = scenario.makes(Mistake::ReleaseByLeaseAlone);
        token != 0
            && if by_lease {
                lease == proposal.lease
            } else {
                token == proposal.token
            }
    }

    fn nobody_waits(&self) -> bool {
        self.keys
            .queue(self.scenario, self.proposal.lock())
            .is_empty()
    }

    fn entry_is(&self, request: usize, place: u8) -> bool {
        let waiter = &self.keys.waiters[request];
        waiter.present() && waiter.place == place
    }

    /// Of a holder it is known that it is another request's as long as it is the one that was read.
    fn neither_holds_nor_waits(&self) -> bool {
        let Self {
            scenario,
            keys,
            proposal,
            ..
        } = self;
        let exclusive = scenario.mode_of(proposal.request()) == Mode::Exclusive;
        keys.look(scenario, proposal.request()) == Seen::Nothing
            && (!exclusive || keys.holders[proposal.lock()].token == proposal.token)
    }

    /// No tenure of the lock is newer than those that were read.
    fn nothing_was_added(&self) -> bool {
        let Self {
            scenario,
            keys,
            proposal,
            ..
        } = self;
        keys.holders[proposal.lock()].token <= proposal.counted
            && keys
                .tenures_of(scenario, proposal.lock())
                .all(|tenure| keys.tenures[tenure].token <= proposal.counted)
    }

    fn leases_of_run_live(&self) -> bool {
        self.proposal
            .granted()
            .all(|waiter| self.state.lives(self.keys.waiters[waiter].lease))
    }
}
