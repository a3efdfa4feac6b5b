#![doc = include_str!("../README.md")]

mod scenario;
mod mistake;
pub mod runs;
pub mod spec;

mod keys;
mod lease;
mod state;

mod grant;
mod proposal;
mod compare;
mod write;
mod outcome;

mod client;
mod handler;
mod release;
mod watch;
mod fault;
mod steps;

mod property;
mod explore;
mod hash;
mod report;
mod words;

pub use explore::check;
pub use mistake::Mistake;
pub use property::Property;
pub use report::{Finding, Report};
pub use scenario::{Faults, Mode, Request, Scenario};
