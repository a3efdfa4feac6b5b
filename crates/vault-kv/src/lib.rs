//! Vault KV v2 as Holdfast uses it: check-and-set writes, reads with their version, the kinds of 404.
