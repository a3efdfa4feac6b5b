//! Locks in memory: for one replica, and gone with it. The tentens-tech/shared-lock wire calls it
//! `mock`; the life of a lease is as real here as anywhere.

use uuid::Uuid;

use super::machine::{Clock, Machine, OnMachine};
use crate::state::Table;

/// A store in memory.
pub struct MemoryStore {
    machine: Machine,
}

impl MemoryStore {
    /// An empty store, whose tokens start again: its epoch is a new one each time. Must be called on
    /// a tokio runtime, whose clock it follows.
    #[expect(
        clippy::new_without_default,
        reason = "it starts a task, which `default` does not tell"
    )]
    pub fn new() -> Self {
        let epoch = Uuid::new_v4().to_string();
        Self {
            machine: Machine::start(Table::default(), Clock::start(), epoch, None),
        }
    }
}

impl OnMachine for MemoryStore {
    fn machine(&self) -> &Machine {
        &self.machine
    }
}
