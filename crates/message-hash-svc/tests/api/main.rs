//! The service as its callers know it: the shipped binary, over HTTP, on a real disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod app;
mod cli;
mod contract;
mod damage;
mod faults;
mod kills;
mod life;
mod refusals;
