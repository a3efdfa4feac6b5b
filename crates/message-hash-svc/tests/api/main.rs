//! The service as its callers know it: the shipped binary, over HTTP, on a real disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod app;
mod bars;
mod batch;
mod caching;
mod cli;
mod contract;
mod damage;
mod deletion;
mod disk;
mod expiry;
mod faults;
mod forms;
mod kills;
mod life;
mod postgres;
mod refusals;
mod small_disk;
mod upkeep;
