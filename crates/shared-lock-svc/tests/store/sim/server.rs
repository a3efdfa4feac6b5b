//! The server: the machine, its journal, and the requests that are being answered.

mod moving;
mod telling;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use shared_lock_svc::{
    lease::{Claim, LeaseId, LockKey, RequestId},
    state::{Answer, Cause, Change, Event, Moment, Several, Table, Wish},
};

use super::{
    bugs::Bugs,
    disk::Disk,
    judge::Judge,
    messages::{Ask, Caller, Id, Reply},
};

pub(crate) struct Server {
    pub(crate) table: Table,
    bugs: Bugs,
    last_id: i64,
    handlers: HashMap<Id, Vec<Caller>>,
    /// Requests for several locks that try again when one of them changes.
    trying: Vec<Trying>,
    /// Written and not yet synced.
    unsynced: VecDeque<(Vec<Change>, u64)>,
    written: u64,
    synced: u64,
    /// Answers that wait for the sync of a position.
    pending: VecDeque<(u64, Pending)>,
}

struct Trying {
    caller: Caller,
    several: Several,
    looks_again: bool,
}

enum Pending {
    Reply(Caller, Reply),
    /// The request was granted: make sure that it still is, and say so.
    Tell(Id),
    /// The same of several locks.
    TellAll(Caller, Several),
    /// The end of a request, or whatever else was written up to here, was acknowledged.
    Acknowledged(Option<Id>),
    /// A session begins to live when it is told.
    Opened(Caller, LeaseId, Duration),
}

/// What a call of the server leads to.
pub(crate) type Replies = Vec<(Caller, Reply)>;

impl Server {
    /// Begins one of its lives.
    pub(crate) fn start(disk: &Disk, bugs: &Bugs, life: u64, now: Moment) -> Self {
        Self {
            last_id: i64::try_from(life).unwrap_or_default() * 1_000_000,
            table: Table::moved_by(bugs.step).restored(disk.saved(bugs), now),
            bugs: bugs.clone(),
            handlers: HashMap::new(),
            trying: Vec::new(),
            unsynced: VecDeque::new(),
            written: 0,
            synced: 0,
            pending: VecDeque::new(),
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
        caller: Caller,
        ask: Ask,
        judge: &mut Judge,
        now: Moment,
    ) -> Option<(Id, Moment)> {
        let ask = self.with_lease(ask);
        match &ask {
            Ask::Acquire { key, wish, wait } => {
                let id = (key.clone(), wish.request_id.clone());
                return self
                    .acquire(caller, &id, &ask, judge, now)
                    .then(|| (id, now + *wait));
            }
            Ask::AcquireAll { several, wait } => {
                self.trying.push(Trying {
                    caller,
                    several: several.clone(),
                    looks_again: true,
                });
                self.try_again(judge, now);
                let id = name(several)?;
                return Some((id, now + *wait));
            }
            Ask::OpenSession { id, ttl, .. } => {
                self.carry_out(&ask, judge, now);
                let id = id.unwrap_or(LeaseId(0));
                self.later(Pending::Opened(caller, id, *ttl));
            }
            Ask::KeepAlive(_) => {
                let reply = match self.carry_out(&ask, judge, now) {
                    Answer::Renewed(ttl) => Reply::Renewed(ttl),
                    _ => Reply::Gone,
                };
                // Nobody knows of the lease before its grant is synced: there is nothing to wait for.
                self.pending.push_back((0, Pending::Reply(caller, reply)));
            }
            Ask::Release { key, claim, .. } => {
                self.carry_out(&ask, judge, now);
                let ended = match claim {
                    Claim::Request(request) => Some((key.clone(), request.clone())),
                    Claim::Tenure { .. } => None,
                };
                self.reply(caller, Reply::Done);
                self.later(Pending::Acknowledged(ended));
            }
            Ask::EndSession(_) | Ask::Force(_) | Ask::Leave { .. } | Ask::Tick => {
                self.carry_out(&ask, judge, now);
                self.reply(caller, Reply::Done);
                self.later(Pending::Acknowledged(None));
            }
        }
        None
    }

    /// Leases have ids that nobody has used: a message that comes twice gets another one each time.
    fn with_lease(&mut self, ask: Ask) -> Ask {
        self.last_id += 1;
        let fresh = LeaseId(self.last_id);
        match ask {
            Ask::Acquire { key, wish, wait } if !wish.in_session => {
                let wish = on(&wish, fresh);
                Ask::Acquire { key, wish, wait }
            }
            Ask::AcquireAll { mut several, wait } if several.opens.is_some() => {
                several.session = fresh;
                for (_, wish) in &mut several.wishes {
                    *wish = on(wish, fresh);
                }
                Ask::AcquireAll { several, wait }
            }
            Ask::OpenSession { holder, ttl, .. } => {
                let id = Some(fresh);
                Ask::OpenSession { id, holder, ttl }
            }
            ask => ask,
        }
    }

    /// Whether the request waits now, for the first time.
    fn acquire(
        &mut self,
        caller: Caller,
        id: &Id,
        ask: &Ask,
        judge: &mut Judge,
        now: Moment,
    ) -> bool {
        if let Some(callers) = self.handlers.get_mut(id) {
            callers.push(caller);
            return false;
        }
        match self.carry_out(ask, judge, now) {
            Answer::Granted => {
                self.handlers.insert(id.clone(), vec![caller]);
                self.later(Pending::Tell(id.clone()));
            }
            Answer::Queued => {
                self.handlers.insert(id.clone(), vec![caller]);
                return true;
            }
            Answer::Known => self.reply(caller, Reply::Known),
            Answer::Ended => self.reply(caller, Reply::Ended),
            Answer::SessionGone => self.reply(caller, Reply::SessionGone),
            Answer::Deadlock(_) => self.reply(caller, Reply::Deadlock),
            _ => self.reply(caller, Reply::Held),
        }
        false
    }

    /// The wait of a request is over.
    pub(crate) fn wait_over(&mut self, id: &Id, judge: &mut Judge, now: Moment) {
        let (key, request) = id.clone();
        if self.handlers.contains_key(id) {
            let cause = Cause::WaitOver;
            let leave = Ask::Leave {
                key,
                request,
                cause,
            };
            self.carry_out(&leave, judge, now);
            return;
        }
        let trying = self.trying.iter();
        let places = trying
            .enumerate()
            .filter(|(_, it)| name(&it.several).as_ref() == Some(id));
        let places: Vec<_> = places.map(|(place, _)| place).collect();
        for place in places.into_iter().rev() {
            let over = self.trying.remove(place);
            self.reply(over.caller, Reply::Held);
        }
    }

    /// A caller is gone: its part in a running request ends, and the request with the last part.
    pub(crate) fn hang_up(&mut self, client: usize, call: u64, judge: &mut Judge, now: Moment) {
        let is_it = |caller: &Caller| caller.client == client && caller.call == call;
        self.trying.retain(|trying| !is_it(&trying.caller));
        let mut left = Vec::new();
        for (id, callers) in &mut self.handlers {
            callers.retain(|caller| !is_it(caller));
            if callers.is_empty() {
                left.push(id.clone());
            }
        }
        for (key, request) in left {
            self.handlers.remove(&(key.clone(), request.clone()));
            self.end(key, request, judge, now);
        }
        // Several locks that were granted and not told yet are given back.
        let untold = self.pending.iter().position(
            |(_, pending)| matches!(pending, Pending::TellAll(caller, _) if is_it(caller)),
        );
        if let Some((_, Pending::TellAll(_, several))) =
            untold.and_then(|place| self.pending.remove(place))
        {
            self.give_back(&several, judge, now);
        }
    }

    /// Lets time pass for whatever is due.
    pub(crate) fn tick(&mut self, judge: &mut Judge, now: Moment) {
        self.carry_out(&Ask::Tick, judge, now);
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

    pub(super) fn give_back(&mut self, several: &Several, judge: &mut Judge, now: Moment) {
        for (key, wish) in &several.wishes {
            self.end(key.clone(), wish.request_id.clone(), judge, now);
        }
        if several.opens.is_some() {
            self.carry_out(&Ask::EndSession(several.session), judge, now);
        }
    }

    fn end(&mut self, key: LockKey, request: RequestId, judge: &mut Judge, now: Moment) {
        let claim = Claim::Request(request);
        let note = None;
        self.carry_out(&Ask::Release { key, claim, note }, judge, now);
    }

    fn follow_up(&mut self, key: &LockKey, event: &Event) {
        let id = |request: &RequestId| (key.clone(), request.clone());
        match event {
            Event::Granted(grant) => {
                let id = id(&grant.wish.request_id);
                if self.handlers.contains_key(&id) {
                    self.later(Pending::Tell(id));
                }
            }
            Event::Ended(grant, cause) => {
                let reply = reply_to(grant.wish.in_session, *cause);
                self.answer_all(&id(&grant.wish.request_id), &reply);
            }
            Event::Left(wish, cause) => {
                let reply = reply_to(wish.in_session, *cause);
                self.answer_all(&id(&wish.request_id), &reply);
            }
            Event::Barred(_) | Event::Rested => {}
            Event::Queued(_) | Event::Forgotten(_) | Event::Resting(_) | Event::Noted(_) => return,
        }
        if self.bugs.never_looks_again {
            return;
        }
        for trying in &mut self.trying {
            trying.looks_again |= trying.several.wishes.iter().any(|(of, _)| of == key);
        }
    }

    /// Lets those try who want several locks, one of which has changed.
    fn try_again(&mut self, judge: &mut Judge, now: Moment) {
        while let Some(place) = self.trying.iter().position(|trying| trying.looks_again) {
            let trying = self.trying.remove(place);
            let several = trying.several.clone();
            let wait = Duration::ZERO;
            let ask = Ask::AcquireAll { several, wait };
            match self.carry_out(&ask, judge, now) {
                Answer::Granted => self.later(Pending::TellAll(trying.caller, trying.several)),
                Answer::Known => self.reply(trying.caller, Reply::Known),
                Answer::Ended => self.reply(trying.caller, Reply::Ended),
                Answer::SessionGone => self.reply(trying.caller, Reply::SessionGone),
                _ => self.trying.push(Trying {
                    looks_again: false,
                    ..trying
                }),
            }
        }
        for trying in &self.trying {
            judge.tries(&trying.several, now);
        }
    }

    fn answer_all(&mut self, id: &Id, reply: &Reply) {
        for caller in self.handlers.remove(id).into_iter().flatten() {
            self.reply(caller, reply.clone());
        }
    }

    fn reply(&mut self, caller: Caller, reply: Reply) {
        self.later(Pending::Reply(caller, reply));
    }

    fn later(&mut self, pending: Pending) {
        self.pending.push_back((self.written, pending));
    }
}

fn reply_to(in_session: bool, cause: Cause) -> Reply {
    match cause {
        Cause::WaitOver => Reply::Held,
        Cause::Expired | Cause::SessionEnded if in_session => Reply::SessionGone,
        _ => Reply::Ended,
    }
}

fn name(several: &Several) -> Option<Id> {
    let (key, wish) = several.wishes.first()?;
    Some((key.clone(), wish.request_id.clone()))
}

fn on(wish: &Wish, lease_id: LeaseId) -> Arc<Wish> {
    Arc::new(Wish {
        lease_id,
        ..wish.clone()
    })
}
