//! Unique hostnames, with counter and audit records in Vault.

pub mod hostname;
pub mod documents;
pub mod store;
mod allocator;
