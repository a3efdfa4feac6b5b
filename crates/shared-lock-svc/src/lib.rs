//! Locks and leases over HTTP, on etcd leases.

pub mod lease;
pub mod state;
pub mod store;
