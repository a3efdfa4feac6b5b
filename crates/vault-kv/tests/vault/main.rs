//! vault-kv against a real server that speaks Vault's API.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod kinds_of_answers;
mod kubernetes;
mod kv;
mod logging;
mod login;
mod outages;
mod server;
