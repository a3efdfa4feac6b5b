#![doc = include_str!("../README.md")]

pub mod bucket;
mod clock;
mod conditional;
mod error;
mod guard;
mod lock;
mod master;
mod strategy;
mod versioned;

pub use self::{
    conditional::Conditional,
    error::{Error, Held, Step},
    guard::Guard,
    lock::S3Lock,
    strategy::Strategy,
    versioned::Versioned,
};
