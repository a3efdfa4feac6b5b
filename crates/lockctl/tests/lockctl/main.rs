//! `lockctl`, as a process, and the shipped shared-lock-svc.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod app;
mod completion;
mod doctor;
mod ending;
mod misuse;
mod recipes;
mod registers;
mod running;
mod scripts;
mod terminal;
