//! What a durable table promises, on real files and with real kills.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod backup;
mod dir;
mod faults;
mod groups;
mod kills;
mod opening;
mod rows;
