//! Unique hostnames, with counter and audit records in Vault.
