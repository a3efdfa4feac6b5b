//! What survives a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shared_lock_svc::{
    lease::{LeaseId, LockKey, Note, RequestId},
    state::{Change, Grant, Saved, Session},
};

use super::bugs::Bugs;

#[derive(Default)]
pub(crate) struct Disk {
    last_token: u64,
    sessions: BTreeMap<LeaseId, Session>,
    grants: BTreeMap<(LockKey, RequestId), Grant>,
    resting: BTreeMap<LockKey, Duration>,
    notes: BTreeMap<LockKey, Note>,
    ended: BTreeSet<(LockKey, RequestId)>,
}

impl Disk {
    pub(crate) fn apply(&mut self, changes: Vec<Change>, last_token: u64) {
        self.last_token = self.last_token.max(last_token);
        for change in changes {
            match change {
                Change::Granted(key, grant) => {
                    let id = (key, grant.wish.request_id.clone());
                    drop(self.grants.insert(id, grant));
                }
                Change::Over(key, request) => drop(self.grants.remove(&(key, request))),
                Change::Ended(key, request) => drop(self.ended.insert((key, request))),
                Change::Forgotten(key, request) => drop(self.ended.remove(&(key, request))),
                Change::Resting(key, delay) => set(&mut self.resting, key, delay),
                Change::Note(key, note) => set(&mut self.notes, key, note),
                Change::Session(id, session) => set(&mut self.sessions, id, session),
            }
        }
    }

    /// What a restart finds.
    pub(crate) fn saved(&self, bugs: &Bugs) -> Saved {
        let mut saved = Saved {
            last_token: self.last_token,
            sessions: self.sessions.clone().into_iter().collect(),
            grants: Vec::new(),
            resting: self.resting.clone().into_iter().collect(),
            notes: self.notes.clone().into_iter().collect(),
            ended: self.ended.iter().cloned().collect(),
        };
        for ((key, _), grant) in &self.grants {
            saved.grants.push((key.clone(), grant.clone()));
        }
        (bugs.restart)(&mut saved);
        saved
    }
}

fn set<K: Ord, V>(rows: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(rows.insert(key, value)),
        None => drop(rows.remove(&key)),
    }
}
