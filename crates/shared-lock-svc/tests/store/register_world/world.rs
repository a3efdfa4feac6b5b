//! A simulated world around the stores on a register: replicas that are cut off, killed and started anew,
//! whose clocks do not run alike, on a register that loses answers and writes late. All of it follows from
//! one seed, on a clock that jumps from event to event.

mod bugs;
mod client;
mod judge;
mod shelf;

use std::{
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use shared_lock_svc::store::register::{RegisterOptions, RegisterStore};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep, timeout},
};

pub(crate) use self::bugs::{BUGS, Bug, NONE};
use self::{client::Client, judge::Judge, shelf::Shelf};
use crate::sim::{
    bugs::machine,
    rng::{self, Rng},
};

const REPLICAS: usize = 3;

const CLIENTS: u64 = 6;

/// How long there are faults, in the time of the world.
const WORK: Duration = Duration::from_secs(40);

/// After the faults everybody gets the lock within this: the leases and places of the dead run out first.
const RECOVERY: Duration = Duration::from_secs(120);

/// What a run came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first thing that must not happen.
    pub(crate) violation: Option<String>,
    /// Grants that were told to a client.
    pub(crate) told: usize,
    /// Swaps whose answer was lost.
    pub(crate) lost: usize,
    /// Kills of a replica.
    pub(crate) crashes: usize,
}

/// What everybody in it sees.
struct World {
    bug: &'static Bug,
    seed: u64,
    shelf: Arc<Shelf>,
    replicas: RwLock<Vec<Arc<RegisterStore>>>,
    judge: Mutex<Judge>,
}

/// Lives through one world.
pub(crate) fn run(seed: u64, bug: &'static Bug) -> Run {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(live(seed, bug))
}

async fn live(seed: u64, bug: &'static Bug) -> Run {
    let mut rng = Rng::new(seed);
    let shelf = Arc::new(Shelf::new(Rng::new(seed ^ 0x5e1f), bug.register));
    let world = Arc::new(World {
        bug,
        seed,
        shelf,
        replicas: RwLock::default(),
        judge: Mutex::default(),
    });
    for number in 0..REPLICAS {
        let replica = world.replica(number);
        world.replicas.write().unwrap().push(replica);
    }
    let clients = (0..CLIENTS).map(|number| {
        let client = Client::new(&world, number, Rng::new(seed.wrapping_mul(31) ^ number));
        tokio::spawn(client.work(Instant::now() + WORK))
    });
    let clients: Vec<_> = clients.collect();
    let crashes = faults(&world, &mut rng).await;
    world.shelf.heal();
    let everybody = async {
        for client in clients {
            client.await.unwrap();
        }
    };
    let recovered = timeout(RECOVERY, everybody).await;
    let mut judge = world.judge.lock().unwrap();
    if recovered.is_err() {
        judge.fault("somebody waits in vain".to_owned());
    }
    Run {
        violation: judge.violation.clone(),
        told: judge.told,
        lost: world.shelf.lost(),
        crashes,
    }
}

/// Cuts replicas off and kills them, for as long as there are faults.
async fn faults(world: &World, rng: &mut Rng) -> usize {
    let (end, mut crashes) = (Instant::now() + WORK, 0);
    while Instant::now() < end {
        sleep(rng.millis(500, 5_000)).await;
        let number = rng.between(0, REPLICAS as u64) as usize;
        if rng.chance(40) {
            let anew = world.replica(number);
            world.replicas.write().unwrap()[number] = anew;
            crashes += 1;
        } else {
            let cut_off = rng.millis(100, 8_000);
            world.shelf.cut_off(number, Instant::now() + cut_off);
        }
    }
    crashes
}

impl World {
    /// A replica whose clock differs from a good one by no more than the margin of a lease covers.
    fn replica(&self, number: usize) -> Arc<RegisterStore> {
        let rate = 1.0 + (number as f64 - 1.0) * self.bug.drift;
        let options = RegisterOptions {
            step: self.bug.step,
            seed: Some(self.seed + number as u64),
            clock_rate: rate,
            ..RegisterOptions::default()
        };
        let register = self.shelf.seen_by(number);
        Arc::new(RegisterStore::new(Arc::new(register), options))
    }

    fn any(&self, rng: &mut Rng) -> Arc<RegisterStore> {
        let replicas = self.replicas.read().unwrap();
        Arc::clone(&replicas[rng.between(0, REPLICAS as u64) as usize])
    }
}
