//! The service as its callers know it: the shipped binary, over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod acquire;
mod app;
mod client;
mod inspect;
mod keep_alive;
mod keys;
mod kills;
mod life;
mod outage;
mod rejections;
mod release;
mod settings;
mod stores;
mod waiting;
mod wire_cache;
mod wire_compat;
mod wire_curl;
mod wire_environment;
mod wire_etcd;
mod wire_lease;
