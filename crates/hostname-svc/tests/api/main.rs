//! The service from outside: the shipped binary, over HTTP, beside real servers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod allocate;
mod app;
mod durability;
mod faults;
mod idempotency;
mod listing;
mod main_job;
mod rejections;
mod settings;
mod stores;
mod traces;
mod vault;
