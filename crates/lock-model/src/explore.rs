//! Breadth-first search over all reachable states. What is found first is found by a shortest way.

use std::collections::VecDeque;

use crate::{
    event::Event,
    hash::{self, Seen},
    property::{self, EVENTUAL, Violation},
    report::{Finding, Report},
    scenario::Scenario,
    state::State,
    steps::{self, Successor},
    words,
};

/// Explores `scenario` until it is exhausted, a property is broken, or the bound is reached.
pub fn check(scenario: &Scenario) -> Report {
    let mut first = State::first(scenario);
    first.normalise();
    let mut search = Search {
        scenario,
        first,
        seen: Seen::default(),
        parents: Vec::new(),
        open: Vec::new(),
        fair: Vec::new(),
        frontier: VecDeque::new(),
        transitions: 0,
        blocked: false,
    };
    search.number(first, 0);
    let broken = search.run();
    search.report(broken)
}

struct Search<'a> {
    scenario: &'a Scenario,
    first: State,
    seen: Seen,
    /// The state from which each state was reached first.
    parents: Vec<u32>,
    /// The eventual properties that are open in each state.
    open: Vec<u8>,
    /// Fair steps: where to, and where from.
    fair: Vec<(u32, u32)>,
    /// States whose successors are still to be found, in the order of their numbers.
    frontier: VecDeque<State>,
    transitions: u64,
    blocked: bool,
}

/// A step that breaks a property, with the state before it.
struct Broken {
    before: u32,
    violation: Violation,
    event: Event,
    after: State,
}

impl Search<'_> {
    /// Returns the first step found that breaks something.
    fn run(&mut self) -> Option<Broken> {
        let mut successors = Vec::new();
        let mut number = 0;
        while let Some(state) = self.frontier.pop_front() {
            if self.parents.len() >= self.scenario.bound {
                self.frontier.push_front(state);
                return None;
            }
            self.blocked |= steps::successors(self.scenario, &state, &mut successors);
            for successor in successors.drain(..) {
                self.transitions += 1;
                if let Some(violation) = successor.violations.into_iter().next() {
                    return Some(Broken {
                        before: number,
                        violation,
                        event: successor.event,
                        after: successor.state,
                    });
                }
                let reached = self.number(successor.state, number);
                if successor.fair {
                    self.fair.push((reached, number));
                }
            }
            number += 1;
        }
        None
    }

    /// The number of `state`, a new one if it has none yet.
    fn number(&mut self, state: State, parent: u32) -> u32 {
        let next = self.parents.len() as u32;
        let number = *self.seen.entry(hash::fingerprint(&state)).or_insert(next);
        if number == next {
            self.parents.push(parent);
            self.open.push(property::open(self.scenario, &state));
            self.frontier.push_back(state);
        }
        number
    }

    fn report(mut self, broken: Option<Broken>) -> Report {
        let explored = self.parents.len() - self.frontier.len();
        let mut report = Report {
            name: self.scenario.name.clone(),
            states: self.parents.len(),
            transitions: self.transitions,
            complete: self.frontier.is_empty() && broken.is_none() && !self.blocked,
            findings: Vec::new(),
        };
        self.frontier = VecDeque::new();
        if let Some(broken) = broken {
            let (mut trace, before) = self.trace_to(broken.before);
            trace.push(words::step(
                self.scenario,
                &before,
                &broken.event,
                &broken.after,
            ));
            report.findings.push(Finding {
                property: broken.violation.property,
                what: words::violation(&broken.violation),
                trace,
            });
            return report;
        }
        let ways = FairWays::new(std::mem::take(&mut self.fair), self.parents.len());
        for (bit, &property) in EVENTUAL.iter().enumerate() {
            let settled = |state: usize| state >= explored || self.open[state] >> bit & 1 == 0;
            let Some(stuck) = ways.first_without_way_to(settled) else {
                continue;
            };
            let (mut trace, state) = self.trace_to(stuck as u32);
            trace.push(format!(
                "and from here no fair step leads out: {}",
                words::picture(self.scenario, &state)
            ));
            report.findings.push(Finding {
                property,
                what: words::unsettled(property).to_owned(),
                trace,
            });
        }
        report
    }

    /// The steps of a shortest way to a state, in words, and the state.
    fn trace_to(&self, number: u32) -> (Vec<String>, State) {
        let mut way = vec![number];
        let mut at = number;
        while at != 0 {
            at = self.parents[at as usize];
            way.push(at);
        }
        let mut state = self.first;
        let mut trace = Vec::new();
        let mut successors: Vec<Successor> = Vec::new();
        for wanted in way.into_iter().rev().skip(1) {
            steps::successors(self.scenario, &state, &mut successors);
            let taken = successors.iter().find(|successor| {
                self.seen.get(&hash::fingerprint(&successor.state)) == Some(&wanted)
            });
            let Some(taken) = taken else { break };
            trace.push(words::step(
                self.scenario,
                &state,
                &taken.event,
                &taken.state,
            ));
            state = taken.state;
        }
        (trace, state)
    }
}

/// The fair steps, turned round: for each state, from where one leads to it.
struct FairWays {
    starts: Vec<u32>,
    sources: Vec<u32>,
}

impl FairWays {
    fn new(steps: Vec<(u32, u32)>, states: usize) -> Self {
        let mut starts = vec![0u32; states + 1];
        for (to, _) in &steps {
            starts[*to as usize + 1] += 1;
        }
        for state in 0..states {
            starts[state + 1] += starts[state];
        }
        let mut next = starts.clone();
        let mut sources = vec![0; steps.len()];
        for (to, from) in steps {
            let at = &mut next[to as usize];
            sources[*at as usize] = from;
            *at += 1;
        }
        Self { starts, sources }
    }

    /// The first state from which no fair way leads to a settled one.
    fn first_without_way_to(&self, settled: impl Fn(usize) -> bool) -> Option<usize> {
        let states = self.starts.len() - 1;
        let mut good: Vec<bool> = (0..states).map(settled).collect();
        let mut pending: Vec<u32> = (0..states as u32)
            .filter(|&state| good[state as usize])
            .collect();
        while let Some(state) = pending.pop() {
            let from =
                self.starts[state as usize] as usize..self.starts[state as usize + 1] as usize;
            for &source in &self.sources[from] {
                if !good[source as usize] {
                    good[source as usize] = true;
                    pending.push(source);
                }
            }
        }
        good.iter().position(|good| !good)
    }
}
