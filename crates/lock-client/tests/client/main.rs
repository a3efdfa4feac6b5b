//! The client against the real service, and against servers that misbehave on command.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod acquiring;
mod blocking;
mod keeping;
mod looking;
mod package;
mod releasing;
mod scripted;
mod service;
mod sessions;
mod stores;
mod tls;
mod together;
mod tracing_context;
