//! A store in memory that does what real ones do at bad moments: it loses replies, lets writes land
//! late, answers reads from the past. And the clients and replicas around it, one call at a time, so
//! that a test decides the order of everything.

mod samples;
mod store;

use std::collections::{HashMap, VecDeque};

pub(crate) use self::samples::{fence, job, job_for, owner, prefix};
use self::store::Store;
use super::{
    Want,
    cycle::{Answer, Call, Cycle, End, Job, Reply, Request, SettledCounter},
};
use crate::{
    documents::{Owner, Record},
    hostname::Counter,
};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is served.
    Served,
    /// It is served from so many versions ago.
    Stale(usize),
    /// A read finds a document that nobody here can read.
    Unreadable,
    /// A write is accepted, or refused, and its reply is lost.
    ReplyLost,
    /// A write is on its way for as long as the test likes, and the caller hears nothing.
    Delayed,
}

/// A replica: what of it lasts from cycle to cycle, and the cycle under way.
#[derive(Default)]
pub(crate) struct Replica {
    pub(crate) cycle: Option<Cycle>,
    pub(crate) calls: VecDeque<Call>,
    pub(crate) known: Option<SettledCounter>,
    pub(crate) recovered: u64,
    pub(crate) conflicts: u64,
    /// Why its last cycle went no further, if it did not.
    pub(crate) stopped: Option<End>,
}

/// The store, the replicas, and what every owner was told.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) told: HashMap<Owner, Answer>,
    /// Who was told that a document of his cannot be read.
    pub(crate) unreadable: Vec<Owner>,
    pub(crate) wanted: HashMap<Owner, Want>,
    fence: u64,
}

impl World {
    pub(crate) fn new(replicas: usize) -> Self {
        Self {
            store: Store::default(),
            replicas: (0..replicas).map(|_| Replica::default()).collect(),
            told: HashMap::new(),
            unreadable: Vec::new(),
            wanted: HashMap::new(),
            fence: 0,
        }
    }

    /// Starts a cycle at `replica` for these owners, each wanting so many numbers.
    pub(crate) fn start(&mut self, replica: usize, jobs: &[(&str, usize)]) {
        let jobs = jobs
            .iter()
            .enumerate()
            .map(|(id, (name, count))| job(id as u64, name, *count));
        self.start_jobs(replica, jobs.collect(), false);
    }

    pub(crate) fn sweep(&mut self, replica: usize) {
        self.start_jobs(replica, Vec::new(), true);
    }

    /// The lock is of no help here: its tokens only grow, so that no cycle is refused by them.
    pub(crate) fn start_jobs(&mut self, replica: usize, jobs: Vec<Job>, sweep: bool) {
        for job in &jobs {
            self.wanted.insert(job.owner.clone(), job.want.clone());
        }
        self.fence += 1;
        let known = self.replicas[replica].known.clone();
        // Now and then the lock service is away.
        let fence = (!self.fence.is_multiple_of(3)).then(|| fence(self.fence));
        let cycle = Cycle::new(prefix(), fence, jobs, known, sweep);
        self.replicas[replica].cycle = Some(cycle);
        self.replicas[replica].calls.clear();
    }

    /// The calls that a replica has ready.
    pub(crate) fn calls(&mut self, replica: usize) -> &VecDeque<Call> {
        let replica = &mut self.replicas[replica];
        if let Some(cycle) = &mut replica.cycle {
            while let Some(call) = cycle.next_call() {
                replica.calls.push_back(call);
            }
        }
        &replica.calls
    }

    /// Decides the fate of one of the calls that are ready, and checks what the replica answers.
    pub(crate) fn step(&mut self, replica: usize, place: usize, fate: Fate) {
        self.calls(replica);
        let call = self.replicas[replica]
            .calls
            .remove(place)
            .expect("no such call");
        let write = !matches!(
            call.request,
            Request::ReadCounter | Request::ReadIdem(_) | Request::ReadRecord(_)
        );
        let reply = match fate {
            Fate::Served => self.store.serve(&call.request, 0),
            Fate::Stale(back) if !write => self.store.serve(&call.request, back),
            Fate::Unreadable if !write => Reply::Unreadable("spoiled".to_owned()),
            Fate::Stale(_) | Fate::Unreadable => self.store.serve(&call.request, 0),
            Fate::Delayed if write => {
                self.store.late.push(call.request.clone());
                Reply::Unknown
            }
            Fate::ReplyLost | Fate::Delayed => {
                self.store.serve(&call.request, 0);
                Reply::Unknown
            }
        };
        let Some(cycle) = &mut self.replicas[replica].cycle else {
            return;
        };
        cycle.reply(call.id, reply);
        self.collect(replica);
    }

    /// Takes answers and the end of a cycle.
    fn collect(&mut self, replica: usize) {
        let Some(cycle) = &mut self.replicas[replica].cycle else {
            return;
        };
        let jobs: HashMap<u64, Owner> = cycle.owners();
        let answers = cycle.take_answers();
        let tally = cycle.take_tally();
        let end = cycle.end().cloned();
        self.replicas[replica].recovered += tally.recovered;
        self.replicas[replica].conflicts += tally.conflicts;
        for (id, answer) in answers {
            self.tell(jobs[&id].clone(), answer);
        }
        match end {
            None => (),
            Some(End::Settled(known)) => {
                self.replicas[replica].known = Some(*known);
                self.replicas[replica].cycle = None;
            }
            Some(End::Fenced { .. }) => {
                self.fence += 1;
                let fence = fence(self.fence);
                self.replicas[replica].cycle.as_mut().unwrap().resume(fence);
            }
            Some(end) => {
                self.replicas[replica].stopped = Some(end);
                self.give_up(replica);
            }
        }
    }

    /// What must hold whenever an answer leaves, even into a broken connection.
    fn tell(&mut self, owner: Owner, answer: Answer) {
        if let Answer::Unreadable(_) = answer {
            return self.unreadable.push(owner);
        }
        if let Answer::Named(records) = &answer {
            let numbers: Vec<_> = records.iter().map(|record| record.counter).collect();
            match &self.wanted[&owner] {
                Want::Chosen(chosen) => assert!(
                    numbers.iter().all(|number| chosen.contains(number)),
                    "{owner:?} is told numbers that it did not choose: {numbers:?}"
                ),
                want => assert_eq!(
                    numbers.len(),
                    want.numbers(),
                    "{owner:?} is told too few or too many"
                ),
            }
            for record in records {
                let stored = self.store.records.get(&record.hostname);
                assert_eq!(
                    stored,
                    Some(record),
                    "{owner:?} is told a name without its record"
                );
                assert_eq!(
                    record.owner, owner,
                    "{owner:?} is told somebody else's name"
                );
            }
        }
        if let (Some(before), Answer::Named(_) | Answer::GivenUp(_)) =
            (self.told.get(&owner), &answer)
        {
            assert_eq!(*before, answer, "{owner:?} is told two things");
        }
        self.told.insert(owner, answer);
    }

    /// Serves the calls of a replica, in order, until its cycle ends.
    pub(crate) fn run(&mut self, replica: usize) {
        self.until(replica, |_| false);
    }

    /// Serves the calls of a replica, in order, until the next one is `stop`, or its cycle ends.
    pub(crate) fn until(&mut self, replica: usize, stop: impl Fn(&Request) -> bool) {
        for _ in 0..10_000 {
            match self.calls(replica).front() {
                None => return,
                Some(call) if stop(&call.request) => return,
                Some(_) => self.step(replica, 0, Fate::Served),
            }
        }
        panic!("the cycle does not end");
    }

    /// The process ends and starts again: nothing of it lasts.
    pub(crate) fn crash(&mut self, replica: usize) {
        self.replicas[replica] = Replica::default();
    }

    /// The cycle is given up; the process goes on.
    pub(crate) fn give_up(&mut self, replica: usize) {
        self.replicas[replica].cycle = None;
        self.replicas[replica].calls.clear();
    }

    /// A late write lands.
    pub(crate) fn land(&mut self, place: usize) {
        let request = self.store.late.remove(place);
        self.store.serve(&request, 0);
    }

    /// Somebody else takes the hostname of a number, if it is free.
    pub(crate) fn take(&mut self, number: u64) {
        let counter = Counter::new(number).unwrap();
        let newest = self.store.counter.last().cloned().unwrap_or_default();
        let hostname = newest.hostname(&prefix(), counter).unwrap();
        let job = job(0, "somebody-else", 1);
        let record = Record {
            format: crate::documents::Format,
            hostname: hostname.clone(),
            application: "other".to_owned().try_into().unwrap(),
            role: "role".to_owned().try_into().unwrap(),
            counter,
            environment: "dev".to_owned().try_into().unwrap(),
            owner: job.owner,
            lock: Some(fence(0)),
            facts: job.facts,
        };
        self.store.records.entry(hostname).or_insert(record);
    }

    /// The numbers that an owner was told.
    pub(crate) fn numbers(&self, name: &str) -> Vec<u64> {
        match self.told.get(&owner(name)) {
            Some(Answer::Named(records)) => {
                records.iter().map(|record| record.counter.get()).collect()
            }
            other => panic!("{name} was told {other:?}"),
        }
    }

    /// What must hold when all are answered and nothing is pending: every number up to the counter's
    /// value has one of our records or is skipped, none has both, none is above, and nobody has more
    /// than he asked for.
    pub(crate) fn check_explained(&self) {
        let counter = self.store.counter.last().cloned().unwrap_or_default();
        assert_eq!(counter.pending, [], "still pending");
        let mut owned: HashMap<&Owner, usize> = HashMap::new();
        for record in self.store.records.values() {
            if record.application.as_str() == "other" {
                continue;
            }
            assert!(
                record.counter.get() <= counter.value,
                "a record above the counter"
            );
            *owned.entry(&record.owner).or_default() += 1;
        }
        for number in 1..=counter.value {
            let hostname = counter.hostname(&prefix(), Counter::new(number).unwrap());
            let hostname = hostname.unwrap();
            let ours = self
                .store
                .records
                .get(&hostname)
                .is_some_and(|record| record.application.as_str() != "other");
            let skipped = counter.skipped.contains_key(&number) || counter.has_passed(number);
            assert!(!(counter.skipped.contains_key(&number) && counter.has_passed(number)));
            assert!(
                ours != skipped,
                "number {number}: recorded {ours}, skipped {skipped}"
            );
        }
        for (owner, count) in owned {
            assert!(
                count <= self.wanted[owner].numbers(),
                "{owner:?} owns {count} records"
            );
        }
    }
}
