//! Several replicas at once, on a store that fails them in every way it knows, in an order drawn from a
//! seed. A failure names its seed, and the same seed fails again.

use std::{collections::BTreeMap, num::NonZeroU64, sync::Arc};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    hostname::{Counter, Shape, Template},
    policy::Policy,
};

use super::{
    Want,
    cycle::Answer,
    world::{Fate, World, job_for, owner},
};

/// What may go wrong, each as a chance in a thousand of a step.
#[derive(Clone, Copy)]
struct Faults {
    lost: u32,
    delayed: u32,
    stale: u32,
    crash: u32,
    give_up: u32,
    take: u32,
    land: u32,
    /// Callers come under a policy of chance, whatever the others have.
    policies: bool,
}

const NONE: Faults = Faults {
    lost: 0,
    delayed: 0,
    stale: 0,
    crash: 0,
    give_up: 0,
    take: 0,
    land: 0,
    policies: false,
};

/// A caller: it asks some replica, and another one after a while, until it is answered. Without a key
/// each time is a new request.
struct Client {
    name: String,
    keyed: bool,
    want: Want,
    attempt: u32,
    answered: bool,
}

impl Client {
    /// As whom it has asked so far, the last one last.
    fn owner_names(&self) -> Vec<String> {
        match self.keyed {
            true => vec![self.name.clone()],
            false => (1..=self.attempt)
                .map(|attempt| format!("keyless-{}-{attempt}", self.name))
                .collect(),
        }
    }
}

struct Run {
    rng: StdRng,
    world: World,
    clients: Vec<Client>,
    faults: Faults,
}

impl Run {
    fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let replicas = rng.random_range(1..=3);
        let clients = (0..rng.random_range(1..=8)).map(|client| Client {
            name: format!("client{client}"),
            keyed: rng.random_ratio(2, 3),
            want: Want::One,
            attempt: 0,
            answered: false,
        });
        let mut clients: Vec<Client> = clients.collect();
        for client in &mut clients {
            client.want = match rng.random_range(0..10) {
                0 | 1 => Want::Count(3),
                2 if client.keyed => {
                    let first = rng.random_range(1..20);
                    let chosen = (0..rng.random_range(1..4)).map(|place| first + 2 * place);
                    Want::Chosen(chosen.filter_map(Counter::new).collect())
                }
                3 if !client.keyed => Want::Floor(rng.random_range(1..20)),
                _ => Want::One,
            };
        }
        Self {
            world: World::new(replicas),
            rng,
            clients,
            faults,
        }
    }

    fn chance(&mut self, in_a_thousand: u32) -> bool {
        self.rng.random_ratio(in_a_thousand, 1000)
    }

    fn play(&mut self, steps: u32) {
        for _ in 0..steps {
            self.mishap();
            let replica = self.rng.random_range(0..self.world.replicas.len());
            let ready = self.world.calls(replica).len();
            if self.world.replicas[replica].cycle.is_none() {
                self.ask(replica);
            } else if ready > 0 {
                let place = self.rng.random_range(0..ready);
                let fate = self.fate();
                self.world.step(replica, place, fate);
            }
            self.notice();
        }
    }

    fn fate(&mut self) -> Fate {
        let Faults {
            lost,
            delayed,
            stale,
            ..
        } = self.faults;
        if self.chance(lost) {
            Fate::ReplyLost
        } else if self.chance(delayed) {
            Fate::Delayed
        } else if self.chance(stale) {
            Fate::Stale(self.rng.random_range(1..=3))
        } else {
            Fate::Served
        }
    }

    /// What happens to a replica and around it.
    fn mishap(&mut self) {
        let replica = self.rng.random_range(0..self.world.replicas.len());
        if self.chance(self.faults.crash) {
            self.world.crash(replica);
        }
        if self.chance(self.faults.give_up) {
            self.world.give_up(replica);
        }
        if self.chance(self.faults.take) {
            let value = self
                .world
                .store
                .counter
                .last()
                .map_or(0, |counter| counter.value);
            let number = value + self.rng.random_range(0..=2);
            if number > 0 {
                self.world.take(number);
            }
        }
        if self.chance(self.faults.land) && !self.world.store.late.is_empty() {
            let place = self.rng.random_range(0..self.world.store.late.len());
            self.world.land(place);
        }
    }

    /// Some of the open callers ask this replica, in one batch; or nobody does, and it sweeps.
    fn ask(&mut self, replica: usize) {
        if self.rng.random_ratio(1, 8) {
            return self.world.sweep(replica);
        }
        let mut jobs = BTreeMap::new();
        for client in &mut self.clients {
            if client.answered || !self.rng.random_ratio(1, 2) {
                continue;
            }
            client.attempt += 1;
            let name = client.owner_names().pop();
            jobs.extend(name.map(|name| (name, client.want.clone())));
        }
        if jobs.is_empty() {
            return;
        }
        let (rng, differ) = (&mut self.rng, self.faults.policies);
        let jobs = jobs.iter().enumerate().map(|(id, (name, want))| {
            let mut job = job_for(id as u64, name, want.clone());
            if differ {
                job.policy = Arc::new(policy(rng.random_range(0..4)));
            }
            job
        });
        self.world.start_jobs(replica, jobs.collect(), false);
    }

    fn notice(&mut self) {
        for client in &mut self.clients {
            let told = |name: &String| self.world.told.contains_key(&owner(name));
            client.answered |= client.owner_names().iter().any(told);
        }
    }

    /// Without any more faults all are answered soon, and then every number is explained, also after
    /// the last late write has landed.
    fn finish(&mut self) {
        self.faults = NONE;
        for _ in 0..200 {
            if self.clients.iter().all(|client| client.answered) {
                break;
            }
            self.play(200);
        }
        assert!(
            self.clients.iter().all(|client| client.answered),
            "somebody waits for ever"
        );
        for replica in 0..self.world.replicas.len() {
            self.world.run(replica);
        }
        while !self.world.store.late.is_empty() {
            self.world.land(0);
        }
        self.world.sweep(0);
        self.world.run(0);
        self.world.check_explained();
        let mut given: Vec<u64> = Vec::new();
        for answer in self.world.told.values() {
            if let Answer::Named(records) = answer {
                given.extend(records.iter().map(|record| record.counter.get()));
            }
        }
        let all = given.len();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), all, "a number was given twice");
    }
}

/// One of several policies.
fn policy(which: u64) -> Policy {
    let step = NonZeroU64::new(1 + 2 * which).unwrap();
    let start = 1 + which;
    Policy {
        shape: Shape {
            template: Template::separated_by(["", "-"][which as usize % 2]).unwrap(),
            padding: 1 + which as u8,
            step,
            offset: start % step,
            ..Shape::default()
        },
        start: Counter::new(start).unwrap(),
        ..Policy::default()
    }
}

fn runs(seeds: std::ops::Range<u64>, faults: Faults) {
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed, faults);
            run.play(400);
            run.finish();
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}

#[test]
fn replicas_that_act_at_once_give_no_number_twice() {
    runs(0..60, NONE);
}

#[test]
fn lost_replies_and_late_writes_give_no_number_twice() {
    let faults = Faults {
        lost: 60,
        delayed: 60,
        land: 60,
        ..NONE
    };
    runs(1000..1100, faults);
}

#[test]
fn stale_reads_and_taken_names_give_no_number_twice() {
    let faults = Faults {
        stale: 150,
        take: 60,
        ..NONE
    };
    runs(2000..2100, faults);
}

#[test]
fn crashes_give_no_number_twice() {
    let faults = Faults {
        crash: 15,
        give_up: 15,
        ..NONE
    };
    runs(3000..3100, faults);
}

#[test]
fn everything_at_once_gives_no_number_twice() {
    let faults = Faults {
        lost: 40,
        delayed: 40,
        stale: 100,
        crash: 8,
        give_up: 8,
        take: 30,
        land: 60,
        policies: false,
    };
    runs(4000..4200, faults);
}

#[test]
fn policies_that_differ_and_change_give_no_number_twice() {
    let faults = Faults {
        lost: 40,
        delayed: 40,
        stale: 150,
        crash: 8,
        give_up: 8,
        take: 30,
        land: 60,
        policies: true,
    };
    runs(5000..5200, faults);
}
