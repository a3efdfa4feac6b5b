#![doc = include_str!("../README.md")]

mod mistake;
pub mod runs;
mod scenario;
pub mod spec;

mod keys;
mod lease;
mod state;

mod compare;
mod grant;
mod outcome;
mod proposal;
mod write;

mod client;
mod fault;
mod handler;
mod release;
mod steps;
mod watch;

mod event;
mod explore;
mod hash;
mod property;
mod report;
mod words;

pub use explore::check;
pub use mistake::Mistake;
pub use property::Property;
pub use report::{Finding, Report};
pub use scenario::{Faults, Mode, Request, Scenario};
