//! How it ends: exit codes, and the one line that says why.

use std::fmt;

use lock_client::Error;

pub(crate) const WRONG: u8 = 1;
pub(crate) const UNAVAILABLE: u8 = 69;
pub(crate) const NOT_ACQUIRED: u8 = 75;
pub(crate) const LOST: u8 = 76;
pub(crate) const REFUSED: u8 = 77;
pub(crate) const CANNOT_START: u8 = 126;
pub(crate) const NOT_FOUND: u8 = 127;
/// And the number of the signal.
pub(crate) const SIGNALLED: u8 = 128;

/// Why it ends, and with which code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) why: String,
}

impl Failure {
    pub(crate) fn new(code: u8, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self { code, why }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Held(_) => NOT_ACQUIRED,
            Error::Lost { .. } => LOST,
            Error::Server(problem) if matches!(problem.status, 401 | 403) => REFUSED,
            _ if error.is_outage() => UNAVAILABLE,
            _ => WRONG,
        };
        Self::new(code, chain(&error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(WRONG, error)
    }
}

/// An error with its causes, none of which repeats the one before.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
