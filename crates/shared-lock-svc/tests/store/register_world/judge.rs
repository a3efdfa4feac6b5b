//! What must hold whatever happens. It knows nothing of the stores but what they tell their clients.

use std::collections::{BTreeMap, BTreeSet};

use shared_lock_svc::lease::{Mode, Tenure};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) violation: Option<String>,
    pub(super) told: usize,
    locks: BTreeMap<String, Book>,
}

/// What clients were told of one lock.
#[derive(Debug, Default)]
struct Book {
    /// Who may rely on it, and until when, by their tokens.
    promises: BTreeMap<u64, Promise>,
    /// The largest token of an exclusive tenure that was told.
    highest: u64,
    tokens: BTreeSet<u64>,
    requests: BTreeMap<String, u64>,
    ended: BTreeSet<String>,
}

#[derive(Debug)]
struct Promise {
    mode: Mode,
    until: Instant,
}

impl Judge {
    pub(super) fn fault(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A client is told that it has the lock.
    pub(super) fn told(&mut self, key: &str, request: &str, mode: Mode, tenure: &Tenure) {
        let now = Instant::now();
        let (token, until) = (tenure.fencing_token.0.get(), tenure.until.0);
        self.told += 1;
        let book = self.locks.entry(key.to_owned()).or_default();
        let mut faults = Vec::new();
        match book.requests.get(request) {
            Some(before) if *before != token => {
                faults.push(format!(
                    "{key}: request {request} got {before} and then {token}"
                ));
            }
            Some(_) => {}
            None if !book.tokens.insert(token) => {
                faults.push(format!("{key}: two requests got {token}"));
            }
            None => {}
        }
        if book.ended.contains(request) {
            faults.push(format!(
                "{key}: request {request} had ended, and got {token}"
            ));
        }
        let is_new = !book.requests.contains_key(request);
        book.requests.insert(request.to_owned(), token);
        if until > now {
            book.promises.retain(|_, other| other.until > now);
            let mut others = book.promises.iter().filter(|(other, _)| **other != token);
            if let Some((other, _)) = others.find(|(_, other)| !goes_with(mode, other.mode)) {
                faults.push(format!("{key}: {token} was given beside {other}"));
            }
            if is_new && token < book.highest {
                let highest = book.highest;
                faults.push(format!("{key}: {token} was given after {highest}"));
            }
            book.promises.insert(token, Promise { mode, until });
            if mode == Mode::Exclusive {
                book.highest = book.highest.max(token);
            }
        }
        if let Some(fault) = faults.into_iter().next() {
            self.fault(fault);
        }
    }

    /// A client is told that it may rely on the lock for longer.
    pub(super) fn renewed(&mut self, key: &str, token: u64, mode: Mode, until: Instant) {
        let now = Instant::now();
        let book = self.locks.entry(key.to_owned()).or_default();
        book.promises
            .retain(|other, promise| promise.until > now || *other == token);
        let mut others = book.promises.iter().filter(|(other, _)| **other != token);
        let beside = others.find(|(_, other)| !goes_with(mode, other.mode) && until > now);
        let fault = beside.map(|(other, _)| format!("{key}: {token} was renewed beside {other}"));
        match book.promises.get_mut(&token) {
            Some(promise) => promise.until = promise.until.max(until),
            None => drop(book.promises.insert(token, Promise { mode, until })),
        }
        if let Some(fault) = fault {
            self.fault(fault);
        }
    }

    /// A client does not rely on it any more.
    pub(super) fn leaves(&mut self, key: &str, token: u64) {
        let book = self.locks.entry(key.to_owned()).or_default();
        book.promises.remove(&token);
    }

    /// A lock that nobody gave back, nor could have, is gone before its time.
    pub(super) fn gone(&mut self, key: &str, token: u64) {
        let now = Instant::now();
        let book = self.locks.entry(key.to_owned()).or_default();
        if book
            .promises
            .get(&token)
            .is_some_and(|promise| promise.until > now)
        {
            self.fault(format!("{key}: {token} ended before its time"));
        }
    }

    /// A client relies on nothing that a request got.
    pub(super) fn withdrawn(&mut self, key: &str, request: &str) {
        let book = self.locks.entry(key.to_owned()).or_default();
        if let Some(token) = book.requests.get(request) {
            book.promises.remove(token);
        }
    }

    /// The end of a request was confirmed.
    pub(super) fn ended(&mut self, key: &str, request: &str) {
        let book = self.locks.entry(key.to_owned()).or_default();
        book.ended.insert(request.to_owned());
    }
}

fn goes_with(one: Mode, other: Mode) -> bool {
    one == Mode::Shared && other == Mode::Shared
}
