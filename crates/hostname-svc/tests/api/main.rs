//! The service from outside: the shipped binary, over HTTP, beside real servers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alerts;
mod allocate;
mod allocator;
mod ambiguity;
mod app;
mod batch;
mod breaker;
mod clock;
mod crash_steps;
mod durability;
mod endurance;
mod idempotency;
mod imports;
mod listing;
mod lock_faults;
mod lock_outage;
mod main_job;
mod operations;
mod policies;
mod prefixes;
mod preview;
mod regressed;
mod rejections;
mod retirement;
mod settings;
mod stage;
mod stores;
mod traces;
mod vault;
mod vault_documents;
mod vault_faults;
mod vault_mount;
