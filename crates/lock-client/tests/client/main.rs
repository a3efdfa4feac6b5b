//! The client against the real service, and against servers that misbehave on command.

mod acquiring;
mod keeping;
mod releasing;
mod scripted;
mod service;
mod tracing_context;
