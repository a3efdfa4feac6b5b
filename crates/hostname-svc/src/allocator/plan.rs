//! The counter's next version, as a function of what is known: no I/O, no clock.

use std::{collections::BTreeMap, num::NonZeroU64};

use crate::{
    allocator::{Want, cycle::Job},
    documents::{CounterDocument, Entry, Fence, GivenUp, Owner, Skip, SkipReason},
    hostname::{Counter, Prefix, Shape},
    policy::Policy,
};

/// How often an allocation is moved away from a number that somebody else has, before it is given up.
const MAX_GENERATION: u64 = 64;

/// How a pending entry ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of its records are its own.
    Done,
    /// Its key was given other numbers before; none of its records was written.
    Duplicate,
    /// These numbers have records of somebody else, or of nobody any more.
    Taken(Vec<(Counter, Option<Owner>)>),
}

/// What to write.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The counter's next version.
    pub(crate) counter: CounterDocument,
    /// How many numbers it skips.
    pub(crate) skipped: BTreeMap<SkipReason, u64>,
    /// How many it passes over.
    pub(crate) passed: u64,
    /// Jobs for which there is no number, and why: places in `wanted`.
    pub(crate) refused: Vec<(usize, GivenUp)>,
    /// Some of its numbers are the first ones of their form.
    pub(crate) opens: bool,
    /// The epoch of the fence that it leaves behind, when it is another.
    pub(crate) left_epoch: Option<String>,
}

/// The lock was held by somebody after us: the counter carries a higher token of the same epoch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fenced {
    /// The token in the counter.
    pub(crate) by: u64,
}

/// Plans the counter's next version: `counter` with its pending entries replaced by the ones that were
/// moved (`outcomes` tells how each ended) and by an entry for each of `wanted`.
///
/// A number that becomes no hostname is explained in `skipped` by the very write that drops it, and
/// with the number that replaces it, so that whoever looks for its owner can follow.
pub(crate) fn plan(
    prefix: &Prefix,
    counter: &CounterDocument,
    outcomes: &[Outcome],
    wanted: &[&Job],
    fence: Option<&Fence>,
) -> Result<Plan, Fenced> {
    let mut left_epoch = None;
    match (&counter.fence, fence) {
        (Some(old), Some(new)) if old.epoch != new.epoch => left_epoch = Some(old.epoch.clone()),
        (Some(old), Some(new)) if old.token > new.token => return Err(Fenced { by: old.token }),
        _ => (),
    }
    let mut next = Next {
        prefix,
        counter: CounterDocument {
            format: counter.format,
            value: counter.value,
            fence: fence.or(counter.fence.as_ref()).cloned(),
            pending: Vec::new(),
            skipped: counter.skipped.clone(),
            passed: counter.passed.clone(),
            shapes: counter.shapes.clone(),
        },
        skipped: BTreeMap::new(),
        passed: 0,
    };
    // First of all, since what was restored from an older state must give out nothing below it.
    for job in wanted {
        if let Want::Floor(floor) = job.want {
            next.passed += next.counter.pass_to(floor);
        }
    }
    for (entry, outcome) in counter.pending.iter().zip(outcomes) {
        match outcome {
            Outcome::Done => (),
            Outcome::Duplicate => next.drop_duplicate(entry),
            Outcome::Taken(taken) => next.replace(entry, taken),
        }
    }
    let refused = (0..wanted.len())
        .filter_map(|place| Some((place, next.allocate(wanted[place], fence).err()?)))
        .collect();
    Ok(Plan {
        opens: next.counter.shapes.len() > counter.shapes.len(),
        counter: next.counter,
        skipped: next.skipped,
        passed: next.passed,
        refused,
        left_epoch,
    })
}

struct Next<'a> {
    prefix: &'a Prefix,
    counter: CounterDocument,
    skipped: BTreeMap<SkipReason, u64>,
    passed: u64,
}

impl Next<'_> {
    /// The next number of the form that the last one had, unless its hostname would be too long.
    fn take(&mut self) -> Option<Counter> {
        let shape = self.counter.shape(self.counter.value);
        self.take_of(&shape)
    }

    fn take_of(&mut self, shape: &Shape) -> Option<Counter> {
        let number = Counter::new(shape.next_after(self.counter.value)?)?;
        shape.hostname(self.prefix, number)?;
        if self.counter.shape(number.get()) != *shape {
            // Between two forms there are no steps.
            self.passed += self.counter.pass_to(number.get() - 1);
            self.counter.form(number.get(), shape);
        }
        self.counter.value = number.get();
        Some(number)
    }

    fn skip(&mut self, number: Counter, skip: Skip) {
        *self.skipped.entry(skip.why).or_default() += 1;
        self.counter.skipped.insert(number.get(), skip);
    }

    fn drop_duplicate(&mut self, entry: &Entry) {
        for &number in &entry.numbers {
            let skip = Skip {
                why: SkipReason::Duplicate,
                owner: None,
                next: None,
            };
            self.skip(number, skip);
        }
    }

    /// Only the taken numbers are replaced: the others have their records already.
    fn replace(&mut self, entry: &Entry, taken: &[(Counter, Option<Owner>)]) {
        let mut moved = entry.clone();
        moved.generation += 1;
        if moved.generation > MAX_GENERATION && !moved.chosen {
            moved.failed = Some(GivenUp::AlwaysTaken);
        }
        moved.numbers.clear();
        for &number in &entry.numbers {
            let Some((_, owner)) = taken.iter().find(|(other, _)| *other == number) else {
                moved.numbers.push(number);
                continue;
            };
            let next = match moved.failed {
                None if !moved.chosen => self.take(),
                _ => None,
            };
            if next.is_none() && !moved.chosen {
                moved.failed.get_or_insert(GivenUp::Exhausted);
            }
            moved.numbers.extend(next);
            let skip = Skip {
                why: SkipReason::Taken,
                owner: owner.clone(),
                next,
            };
            self.skip(number, skip);
        }
        if moved.numbers.is_empty() {
            moved.failed.get_or_insert(GivenUp::Taken);
        }
        self.counter.pending.push(moved);
    }

    /// Gives a job its numbers, unless there is none for each that is wanted.
    fn allocate(&mut self, job: &Job, fence: Option<&Fence>) -> Result<(), GivenUp> {
        if matches!(job.want, Want::Floor(_)) {
            return Ok(());
        }
        let wanted = job.want.numbers() as u64;
        let within = |quota| self.counter.given().saturating_add(wanted) <= quota;
        if !job.policy.quota.is_none_or(within) {
            return Err(GivenUp::Quota);
        }
        let mut failed = None;
        let numbers = match &job.want {
            Want::Chosen(chosen) => {
                let numbers = self.choose(chosen, &job.policy.shape);
                failed = numbers.is_empty().then_some(GivenUp::Passed);
                numbers
            }
            want => self
                .next_numbers(want.numbers(), &job.policy)
                .ok_or(GivenUp::Exhausted)?,
        };
        self.counter.pending.push(Entry {
            owner: job.owner.clone(),
            body_hash: job.body_hash.clone(),
            numbers,
            generation: 0,
            failed,
            lock: fence.cloned(),
            chosen: matches!(job.want, Want::Chosen(_)),
            facts: job.facts.clone(),
        });
        Ok(())
    }

    /// The next numbers, so many; none of them when one is missing.
    fn next_numbers(&mut self, count: usize, policy: &Policy) -> Option<Vec<Counter>> {
        let CounterDocument {
            format,
            value,
            passed,
            shapes,
            ..
        } = &self.counter;
        let before = (*format, *value, passed.clone(), shapes.clone(), self.passed);
        self.passed += self.counter.pass_to(policy.start.get() - 1);
        let numbers: Option<Vec<_>> = (0..count).map(|_| self.take_of(&policy.shape)).collect();
        if numbers.is_none() {
            let counter = &mut self.counter;
            (
                counter.format,
                counter.value,
                counter.passed,
                counter.shapes,
                self.passed,
            ) = before;
        }
        numbers
    }

    /// The chosen numbers, in order; none when the first of them is not beyond the counter. That is
    /// remembered like a name, since only the document of its key tells a refusal from a stale read.
    fn choose(&mut self, chosen: &[Counter], shape: &Shape) -> Vec<Counter> {
        let beyond = chosen
            .first()
            .is_some_and(|it| it.get() > self.counter.value);
        if !beyond {
            return Vec::new();
        }
        for number in chosen {
            self.passed += self.counter.pass_to(number.get() - 1);
            let shape = match shape.holds(number.get()) {
                true => shape.clone(),
                // A number between two steps is a run of its own.
                false => Shape {
                    step: NonZeroU64::MIN,
                    offset: 0,
                    ..shape.clone()
                },
            };
            self.counter.form(number.get(), &shape);
            self.counter.value = number.get();
        }
        chosen.to_vec()
    }
}
