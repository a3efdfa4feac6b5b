//! vault-kv against a real server that speaks Vault's API.
