//! How it ends: exit codes, and the one line that says why.

use std::fmt;

use lock_client::Error;

pub(crate) const WRONG: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const UNAVAILABLE: u8 = 69;
pub(crate) const NOT_ACQUIRED: u8 = 75;
pub(crate) const LOST: u8 = 76;
pub(crate) const REFUSED: u8 = 77;
pub(crate) const CANNOT_START: u8 = 126;
pub(crate) const NOT_FOUND: u8 = 127;
/// And the number of the signal.
pub(crate) const SIGNALLED: u8 = 128;
const SIGPIPE: u8 = 13;

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
            Error::Server(problem) if matches!(problem.status, 400 | 422) => USAGE,
            Error::InvalidKey { .. } | Error::InvalidOption { .. } => USAGE,
            _ if error.is_outage() => UNAVAILABLE,
            _ => WRONG,
        };
        match &error {
            Error::InvalidOption { option, reason } => {
                Self::new(code, format!("{}: {reason}", named_here(option)))
            }
            _ => Self::new(code, chain(&error)),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Whoever reads has read enough: what a program without a handler says of that is nothing.
            std::io::ErrorKind::BrokenPipe => Self::new(SIGNALLED + SIGPIPE, ""),
            _ => Self::new(WRONG, error),
        }
    }
}

/// What an option of the client is called on the command line.
fn named_here(option: &str) -> &str {
    match option {
        "base_urls" => "--url (LOCK_URL)",
        "tls.ca_file" => "--tls-ca (LOCK_TLS_CA)",
        "tls.cert_file" => "--tls-cert (LOCK_TLS_CERT)",
        "tls.key_file" => "--tls-key (LOCK_TLS_KEY)",
        "bearer_token_file" => "--bearer-token-file (LOCK_BEARER_TOKEN_FILE)",
        other => other,
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
