//! The service as its callers know it: the shipped binary, over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod acquire;
mod admin;
mod app;
mod audit;
mod client;
mod clock_steps;
mod epochs;
mod events;
mod inspect;
mod keep_alive;
mod keys;
mod kills;
mod life;
mod limits;
mod metrics;
mod modes;
mod outage;
mod pauses;
mod pprof;
mod rejections;
mod release;
mod replicas;
mod s3_store;
mod sessions;
mod settings;
mod several;
mod spans;
mod sse;
mod stores;
mod verify;
mod waiting;
mod wire_cache;
mod wire_compat;
mod wire_curl;
mod wire_environment;
mod wire_etcd;
mod wire_lease;
