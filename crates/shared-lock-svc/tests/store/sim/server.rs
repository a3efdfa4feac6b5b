//! The server: the machine, its journal, and the requests that are being answered.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use shared_lock_svc::{
    lease::{Claim, FencingToken, LeaseId, LockKey, RequestId},
    state::{Answer, Change, Command, Event, Grant, Moment, Outcome, Saved, Table, Wish},
};

use super::{bugs::Bugs, judge::Judge};

/// A message to the server.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Acquire { wish: Wish, wait: Duration },
    KeepAlive(LeaseId),
    Release(Claim),
}

/// A message from the server.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Acquired {
        lease: LeaseId,
        token: FencingToken,
        ttl: Duration,
        elapsed: Duration,
    },
    Held,
    Known,
    Ended,
    Renewed(Duration),
    Gone,
    Released,
}

/// Whom a reply is for: a client, and the call that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) client: usize,
    pub(crate) call: u64,
    pub(crate) arrived: Moment,
}

/// What survives a crash.
#[derive(Default)]
pub(crate) struct Disk {
    last_token: u64,
    grants: BTreeMap<LockKey, Grant>,
    ended: BTreeSet<(LockKey, RequestId)>,
}

pub(crate) struct Server {
    pub(crate) table: Table,
    handlers: HashMap<(LockKey, RequestId), Vec<Caller>>,
    /// Written and not yet synced.
    unsynced: VecDeque<(Vec<Change>, u64)>,
    written: u64,
    synced: u64,
    /// Answers that wait for the sync of a position.
    pending: VecDeque<(u64, Pending)>,
    answers_before_sync: bool,
}

enum Pending {
    Reply(Caller, Reply),
    /// The request was granted: make sure that it still is, and say so.
    Tell(LockKey, RequestId),
    /// The end of a request was acknowledged.
    Ended(RequestId),
}

/// What a call of the server leads to.
pub(crate) type Replies = Vec<(Caller, Reply)>;

impl Disk {
    fn apply(&mut self, changes: Vec<Change>, last_token: u64) {
        self.last_token = self.last_token.max(last_token);
        for change in changes {
            match change {
                Change::Grant(key, Some(grant)) => drop(self.grants.insert(key, grant)),
                Change::Grant(key, None) => drop(self.grants.remove(&key)),
                Change::Ended(key, request) => drop(self.ended.insert((key, request))),
                Change::Forgotten(key, request) => drop(self.ended.remove(&(key, request))),
            }
        }
    }

    fn saved(&self, bugs: &Bugs) -> Saved {
        Saved {
            last_token: if bugs.tokens_restart {
                0
            } else {
                self.last_token
            },
            grants: self.grants.clone().into_iter().collect(),
            ended: if bugs.restart_forgets_ended {
                Vec::new()
            } else {
                self.ended.iter().cloned().collect()
            },
        }
    }
}

impl Server {
    pub(crate) fn start(disk: &Disk, bugs: &Bugs, now: Moment) -> Self {
        Self {
            table: Table::moved_by(bugs.step).restored(disk.saved(bugs), now),
            handlers: HashMap::new(),
            unsynced: VecDeque::new(),
            written: 0,
            synced: 0,
            pending: VecDeque::new(),
            answers_before_sync: bugs.answers_before_sync,
        }
    }

    /// Whether there is something to sync.
    pub(crate) fn is_behind(&self) -> bool {
        self.synced < self.written
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Handles a message; `Some` asks to be called when the wait is over.
    pub(crate) fn handle(
        &mut self,
        key: &LockKey,
        caller: Caller,
        ask: Ask,
        judge: &mut Judge,
        now: Moment,
    ) -> Option<(RequestId, Moment)> {
        match ask {
            Ask::Acquire { wish, wait } => {
                return self.acquire(key, caller, wish, wait, judge, now);
            }
            Ask::KeepAlive(lease) => {
                let outcome = self.apply(key, Command::KeepAlive(lease), judge, now);
                let grant = self.table.lock(key).and_then(|lock| lock.grant.as_ref());
                let reply = match (outcome.answer, grant) {
                    (Answer::Renewed, Some(grant)) => Reply::Renewed(grant.wish.ttl),
                    _ => Reply::Gone,
                };
                // Nobody knows of the lease before its grant is synced: there is nothing to wait for.
                self.pending.push_back((0, Pending::Reply(caller, reply)));
            }
            Ask::Release(release) => {
                self.apply(key, Command::Release(release.clone()), judge, now);
                self.reply(caller, Reply::Released);
                if let Claim::Request(request) = release {
                    self.pending
                        .push_back((self.written, Pending::Ended(request)));
                }
            }
        }
        None
    }

    fn acquire(
        &mut self,
        key: &LockKey,
        caller: Caller,
        wish: Wish,
        wait: Duration,
        judge: &mut Judge,
        now: Moment,
    ) -> Option<(RequestId, Moment)> {
        let request = wish.request_id.clone();
        let id = (key.clone(), request.clone());
        if let Some(callers) = self.handlers.get_mut(&id) {
            callers.push(caller);
            return None;
        }
        let outcome = self.apply(key, Command::Acquire { wish, wait }, judge, now);
        match outcome.answer {
            Answer::Granted => {
                self.handlers.insert(id, vec![caller]);
                let tell = Pending::Tell(key.clone(), request);
                self.pending.push_back((self.written, tell));
            }
            Answer::Queued => {
                self.handlers.insert(id, vec![caller]);
                return Some((request, now + wait));
            }
            Answer::Known => self.reply(caller, Reply::Known),
            Answer::Ended => self.reply(caller, Reply::Ended),
            _ => self.reply(caller, Reply::Held),
        }
        None
    }

    /// The wait of a request is over.
    pub(crate) fn wait_over(
        &mut self,
        key: &LockKey,
        request: &RequestId,
        judge: &mut Judge,
        now: Moment,
    ) {
        if !self.is_waiting(key, request) {
            return;
        }
        let outcome = self.apply(key, Command::GiveUp(request.clone()), judge, now);
        if outcome.answer == Answer::Held {
            self.answer_all(key, request, Reply::Held);
        }
    }

    /// A caller is gone: its part in a running request ends, and the request with the last part.
    pub(crate) fn hang_up(
        &mut self,
        key: &LockKey,
        request: &RequestId,
        call: u64,
        judge: &mut Judge,
        now: Moment,
    ) {
        let id = (key.clone(), request.clone());
        let Some(callers) = self.handlers.get_mut(&id) else {
            return;
        };
        callers.retain(|caller| caller.call != call);
        if callers.is_empty() {
            self.handlers.remove(&id);
            self.apply(
                key,
                Command::Release(Claim::Request(request.clone())),
                judge,
                now,
            );
        }
    }

    /// Lets time pass for whatever is due.
    pub(crate) fn tick(&mut self, judge: &mut Judge, now: Moment) {
        for (key, outcome) in self.table.tick(now) {
            judge.stepped(&key, &Command::Tick, &outcome, self.table.lock(&key), now);
            self.follow_up(&key, &outcome);
        }
    }

    /// The disk has everything up to `position`.
    pub(crate) fn synced(&mut self, position: u64, disk: &mut Disk) {
        while self.synced < position
            && let Some((changes, last_token)) = self.unsynced.pop_front()
        {
            disk.apply(changes, last_token);
            self.synced += 1;
        }
    }

    /// The answers that need not wait any longer.
    pub(crate) fn answers(&mut self, judge: &mut Judge, now: Moment) -> Replies {
        let mut replies = Vec::new();
        let (due, later): (VecDeque<_>, _) = self
            .pending
            .drain(..)
            .partition(|(position, _)| *position <= self.synced || self.answers_before_sync);
        self.pending = later;
        for (_, pending) in due {
            match pending {
                Pending::Reply(caller, reply) => replies.push((caller, reply)),
                Pending::Tell(key, request) => {
                    replies.extend(self.tell(&key, &request, judge, now))
                }
                Pending::Ended(request) => judge.tells_end(&request),
            }
        }
        replies
    }

    /// Nobody hears of a tenure that is over; who hears of one has its full life before it.
    fn tell(
        &mut self,
        key: &LockKey,
        request: &RequestId,
        judge: &mut Judge,
        now: Moment,
    ) -> Replies {
        let Some(callers) = self.handlers.remove(&(key.clone(), request.clone())) else {
            return Vec::new();
        };
        let grant = self
            .table
            .lock(key)
            .and_then(|lock| lock.grant_of(request))
            .cloned();
        let Some(grant) = grant else {
            return callers
                .into_iter()
                .map(|caller| (caller, Reply::Ended))
                .collect();
        };
        let keep = Command::KeepAlive(grant.wish.lease_id);
        if self.apply(key, keep, judge, now).answer != Answer::Renewed {
            return callers
                .into_iter()
                .map(|caller| (caller, Reply::Ended))
                .collect();
        }
        let (lease, ttl) = (grant.wish.lease_id, grant.wish.ttl);
        judge.tells(key, request, lease, grant.token, now + ttl);
        let reply = |caller: Caller| Reply::Acquired {
            lease,
            token: grant.token,
            ttl,
            elapsed: now.since(caller.arrived),
        };
        callers
            .into_iter()
            .map(|caller| (caller, reply(caller)))
            .collect()
    }

    fn apply(
        &mut self,
        key: &LockKey,
        command: Command,
        judge: &mut Judge,
        now: Moment,
    ) -> Outcome {
        judge.command(key, &command);
        let outcome = self.table.step(key, command.clone(), now);
        judge.stepped(key, &command, &outcome, self.table.lock(key), now);
        self.follow_up(key, &outcome);
        outcome
    }

    fn follow_up(&mut self, key: &LockKey, outcome: &Outcome) {
        let changes = self.table.changes(key, outcome);
        if !changes.is_empty() {
            self.written += 1;
            self.unsynced.push_back((changes, self.table.last_token()));
        }
        for event in &outcome.events {
            match event {
                Event::Granted(request) if self.is_handled(key, request) => {
                    let tell = Pending::Tell(key.clone(), request.clone());
                    self.pending.push_back((self.written, tell));
                }
                Event::Ended(request, _) => self.answer_all(key, request, Reply::Ended),
                Event::Granted(_) | Event::Forgotten(_) => {}
            }
        }
    }

    fn is_handled(&self, key: &LockKey, request: &RequestId) -> bool {
        self.handlers.contains_key(&(key.clone(), request.clone()))
    }

    fn is_waiting(&self, key: &LockKey, request: &RequestId) -> bool {
        let lock = self.table.lock(key);
        self.is_handled(key, request) && lock.is_some_and(|lock| lock.is_waiting(request))
    }

    fn answer_all(&mut self, key: &LockKey, request: &RequestId, reply: Reply) {
        let callers = self.handlers.remove(&(key.clone(), request.clone()));
        for caller in callers.into_iter().flatten() {
            self.reply(caller, reply.clone());
        }
    }

    fn reply(&mut self, caller: Caller, reply: Reply) {
        self.pending
            .push_back((self.written, Pending::Reply(caller, reply)));
    }
}
