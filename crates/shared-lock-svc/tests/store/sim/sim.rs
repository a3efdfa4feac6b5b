//! A simulated world around the lock state machine: clients that pause and die, a network that
//! loses, repeats, delays and reorders, a server that is killed between a write and its sync. All
//! of it follows from one seed, on a clock that jumps from event to event.
//!
//! The server does what the stores `memory` and `embedded` do with the machine, without threads and
//! without waiting: see `store/machine.rs`. The [`judge`] looks at every step and every answer, and
//! knows nothing of the machine but what it says.

pub(crate) mod bugs;
mod client;
mod disk;
mod judge;
mod messages;
mod resource;
pub(crate) mod rng;
mod server;
mod world;

use std::time::Duration;

pub(crate) use self::bugs::{BUGS, Bugs, NONE};
use self::{rng::Rng, world::World};

/// How long clients are at work, in the time of the world.
const WORK: Duration = Duration::from_secs(30);

/// What a run came to.
#[derive(Default)]
pub(crate) struct Run {
    /// The first thing that must not happen, and when it did.
    pub(crate) violation: Option<String>,
    /// Grants that were told to a client.
    pub(crate) told: usize,
    /// Requests that were told that they would wait for themselves.
    pub(crate) deadlocks: usize,
    /// Kills of the server.
    pub(crate) crashes: usize,
    /// Writes that the fence refused.
    pub(crate) fenced: usize,
    /// What happened, line by line, if it was asked for.
    pub(crate) trace: Vec<String>,
}

/// Lives through one world.
pub(crate) fn run(seed: u64, bugs: &Bugs, trace: bool) -> Run {
    let mut world = World::new(Rng::new(seed), bugs, trace);
    world.live(WORK);
    world.verdict()
}
