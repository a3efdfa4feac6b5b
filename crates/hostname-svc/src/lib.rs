//! Unique hostnames, with counter and audit records in Vault.

pub mod hostname;
pub mod documents;
pub mod locks;
pub mod metrics;
pub mod allocator;
pub mod store;
