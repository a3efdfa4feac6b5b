//! Everything that can happen next in a state.

use crate::{
    client,
    compare::{self, Verdict},
    event::Event,
    fault, handler,
    mistake::Mistake,
    outcome,
    property::Violation,
    proposal::{Kind, Proposal},
    release,
    scenario::{Mode, Scenario},
    state::{FLIGHT, State},
    watch,
    write::Write,
};

/// A state that follows, and what happened on the way.
pub(crate) struct Successor {
    pub(crate) state: State,
    pub(crate) event: Event,
    /// It happens in the end, if nothing else changes that. Trouble and the whims of clients are
    /// not fair: nothing may depend on them.
    pub(crate) fair: bool,
    pub(crate) violations: Vec<Violation>,
}

/// Gathers the successors of one state.
pub(crate) struct Steps<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) from: &'a State,
    pub(crate) found: &'a mut Vec<Successor>,
    /// Something could not happen because too many proposals were on their way: a bound of the
    /// model, not of the protocol.
    pub(crate) blocked: bool,
}

impl Steps<'_> {
    /// A step that is bound to happen.
    pub(crate) fn fair(&mut self, event: Event, state: State) {
        self.add(true, event, state, Vec::new());
    }

    /// A step that may happen.
    pub(crate) fn may(&mut self, event: Event, state: State) {
        self.add(false, event, state, Vec::new());
    }

    pub(crate) fn add(
        &mut self,
        fair: bool,
        event: Event,
        mut state: State,
        violations: Vec<Violation>,
    ) {
        state.normalise();
        if state != *self.from || !violations.is_empty() {
            self.found.push(Successor {
                state,
                event,
                fair,
                violations,
            });
        }
    }

    /// Whether one more proposal fits; remembers it when not.
    pub(crate) fn has_room(&mut self) -> bool {
        let room = self.from.has_room();
        self.blocked |= !room;
        room
    }
}

/// Puts the successors of `from` into `found`; says whether a bound of the model cut something off.
pub(crate) fn successors(scenario: &Scenario, from: &State, found: &mut Vec<Successor>) -> bool {
    found.clear();
    let mut steps = Steps {
        scenario,
        from,
        found,
        blocked: false,
    };
    watch::deliver(&mut steps);
    for slot in 0..FLIGHT {
        apply(&mut steps, slot);
        if scenario.batches || scenario.makes(Mistake::TwoOperationsInABatch) {
            (slot + 1..FLIGHT).for_each(|other| apply_together(&mut steps, slot, other));
        }
    }
    fault::steps(&mut steps);
    for request in 0..scenario.requests.len() {
        client::steps(&mut steps, request);
        release::steps(&mut steps, request);
        handler::steps(&mut steps, request);
    }
    watch::react(&mut steps);
    steps.blocked
}

/// etcd applies a proposal, and its proposer gets the answer.
fn apply(steps: &mut Steps<'_>, slot: usize) {
    let proposal = steps.from.flight[slot];
    if proposal.kind == Kind::Nothing {
        return;
    }
    let verdict = compare::verdict(steps.scenario, steps.from, &proposal);
    let mut state = *steps.from;
    state.flight[slot] = Proposal::default();
    let mut violations = write(steps, &mut state, &[(proposal, verdict)]);
    outcome::learn(
        steps.scenario,
        &mut state,
        &proposal,
        verdict,
        &mut violations,
    );
    steps.add(
        !proposal.abandoned,
        Event::Applied { proposal, verdict },
        state,
        violations,
    );

    if steps.from.left.unknown > 0 && outcome::may_be_unknown(&proposal) {
        let mut state = *steps.from;
        state.left.unknown -= 1;
        state.flight[slot].abandoned = true;
        outcome::give_up(&mut state, &proposal);
        steps.may(Event::AnswerLost { proposal }, state);
    }
}

/// etcd applies two proposals as one transaction: both compare the state before it.
fn apply_together(steps: &mut Steps<'_>, slot: usize, other: usize) {
    let pair = [steps.from.flight[slot], steps.from.flight[other]];
    if pair.iter().any(|proposal| proposal.kind == Kind::Nothing) {
        return;
    }
    let one_lock = pair[0].lock == pair[1].lock;
    if one_lock && !steps.scenario.makes(Mistake::TwoOperationsInABatch) {
        return;
    }
    for pair in [pair, [pair[1], pair[0]]] {
        let verdicts = pair.map(|proposal| compare::verdict(steps.scenario, steps.from, &proposal));
        if verdicts.contains(&Verdict::LeaseGone)
            || one_lock && verdicts == [Verdict::Passes; 2] && refused(steps.scenario, &pair)
        {
            continue;
        }
        let batch = [(pair[0], verdicts[0]), (pair[1], verdicts[1])];
        let mut state = *steps.from;
        state.flight[slot] = Proposal::default();
        state.flight[other] = Proposal::default();
        let mut violations = write(steps, &mut state, &batch);
        for (proposal, verdict) in batch {
            outcome::learn(
                steps.scenario,
                &mut state,
                &proposal,
                verdict,
                &mut violations,
            );
        }
        steps.add(false, Event::AppliedTogether { batch }, state, violations);
    }
}

/// etcd refuses a transaction that puts a key twice, or puts a key after deleting it.
fn refused(scenario: &Scenario, pair: &[Proposal; 2]) -> bool {
    let [first, second] = pair.map(|proposal| Touched::by(scenario, &proposal));
    first.puts & second.puts != 0 || first.deletes & second.puts != 0
}

/// The keys that a proposal may write: bit 0 is H, then four tenures, then four entries.
struct Touched {
    puts: u16,
    deletes: u16,
}

impl Touched {
    fn by(scenario: &Scenario, proposal: &Proposal) -> Self {
        let entry = |request: usize| 1 << (5 + request);
        let tenure = |request: usize| match scenario.mode_of(request) {
            Mode::Exclusive => 1,
            Mode::Shared | Mode::Permit { .. } => 1 << (1 + request),
        };
        let own = proposal.request();
        let grants = proposal.granted().map(tenure).fold(0, |all, one| all | one);
        let served = proposal.granted().map(entry).fold(0, |all, one| all | one);
        match proposal.kind {
            Kind::Acquire => Self {
                puts: tenure(own),
                deletes: 0,
            },
            Kind::PlainAcquire => Self {
                puts: 1,
                deletes: 0,
            },
            Kind::Enqueue => Self {
                puts: entry(own),
                deletes: 0,
            },
            Kind::Promote => Self {
                puts: grants,
                deletes: served,
            },
            Kind::HandOver => Self {
                puts: grants,
                deletes: served | tenure(proposal.tenure()) & !grants,
            },
            Kind::Release | Kind::Leave => Self {
                puts: 0,
                deletes: tenure(proposal.tenure()),
            },
            Kind::ForceRelease => Self {
                puts: 0,
                deletes: 0b1_1111,
            },
            Kind::Cancel => Self {
                puts: 0,
                deletes: entry(own),
            },
            Kind::Close | Kind::Nothing => Self {
                puts: 0,
                deletes: 0,
            },
        }
    }
}

fn write(steps: &Steps<'_>, state: &mut State, batch: &[(Proposal, Verdict)]) -> Vec<Violation> {
    let mut keys = *state.keys();
    let mut violations = Vec::new();
    for (proposal, _) in batch
        .iter()
        .filter(|(_, verdict)| *verdict == Verdict::Passes)
    {
        let mut write = Write {
            scenario: steps.scenario,
            before: steps.from,
            state,
            keys: &mut keys,
            revision: steps.from.next_revision(),
            violations: &mut violations,
        };
        write.apply(proposal);
    }
    state.commit(steps.scenario, keys);
    violations
}
