//! Answers that had to wait for the disk.

use std::{collections::VecDeque, sync::Arc};

use shared_lock_svc::{
    lease::LockKey,
    state::{Answer, Moment, Several, Wish},
};

use super::{Pending, Replies, Server};
use crate::sim::{
    judge::Judge,
    messages::{Ask, Caller, Id, Reply},
};

impl Server {
    /// The answers that need not wait any longer.
    pub(crate) fn answers(&mut self, judge: &mut Judge, now: Moment) -> Replies {
        let mut replies = Vec::new();
        let early = self.bugs.answers_before_sync;
        let (due, later): (VecDeque<_>, _) = self
            .pending
            .drain(..)
            .partition(|(position, _)| *position <= self.synced || early);
        self.pending = later;
        for (position, pending) in due {
            match pending {
                Pending::Reply(caller, reply) => replies.push((caller, reply)),
                Pending::Tell(id) => replies.extend(self.tell(&id, judge, now)),
                Pending::TellAll(caller, several) => {
                    replies.push((caller, self.tell_all(caller, &several, judge, now)));
                }
                Pending::Acknowledged(ended) => judge.acknowledged(ended, position),
                Pending::Opened(caller, id, ttl) => {
                    let reply = match self.carry_out(&Ask::KeepAlive(id), judge, now) {
                        Answer::Renewed(_) => {
                            judge.tells_session(id, now + ttl);
                            let elapsed = now.since(caller.arrived);
                            Reply::SessionOpened { id, ttl, elapsed }
                        }
                        _ => Reply::SessionGone,
                    };
                    replies.push((caller, reply));
                }
            }
        }
        replies
    }

    /// Nobody hears of a tenure that is over; who hears of one has its full life before it.
    fn tell(&mut self, id: &Id, judge: &mut Judge, now: Moment) -> Replies {
        let (key, request) = id;
        let lock = self.table.lock(key);
        let grant = lock.and_then(|lock| lock.grant_of(request)).cloned();
        let Some(callers) = self.handlers.remove(id) else {
            return Vec::new();
        };
        let lease = grant.as_ref().map(|grant| grant.wish.lease_id);
        let kept = lease.map(|lease| self.carry_out(&Ask::KeepAlive(lease), judge, now));
        let (Some(grant), Some(Answer::Renewed(ttl))) = (grant, kept) else {
            return callers
                .into_iter()
                .map(|caller| (caller, Reply::Ended))
                .collect();
        };
        let note = self.table.lock(key).and_then(|lock| lock.note.clone());
        judge.tells(id, &grant, note, now + ttl);
        let reply = |caller: Caller| Reply::Acquired {
            tenures: vec![(key.clone(), grant.token)],
            lease: grant.wish.lease_id,
            ttl,
            elapsed: now.since(caller.arrived),
        };
        callers
            .into_iter()
            .map(|caller| (caller, reply(caller)))
            .collect()
    }

    fn tell_all(
        &mut self,
        caller: Caller,
        several: &Several,
        judge: &mut Judge,
        now: Moment,
    ) -> Reply {
        let keep = Ask::KeepAlive(several.session);
        let Answer::Renewed(ttl) = self.carry_out(&keep, judge, now) else {
            return Reply::SessionGone;
        };
        let tenure = |(key, wish): &(LockKey, Arc<Wish>)| {
            let lock = self.table.lock(key)?;
            let grant = lock.grant_of(&wish.request_id)?.clone();
            Some((key.clone(), grant, lock.note.clone()))
        };
        let all: Option<Vec<_>> = several.wishes.iter().map(tenure).collect();
        let Some(all) = all else {
            self.give_back(several, judge, now);
            return Reply::Ended;
        };
        judge.tells_session(several.session, now + ttl);
        let mut tenures = Vec::new();
        for (key, grant, note) in all {
            let id = (key.clone(), grant.wish.request_id.clone());
            judge.tells(&id, &grant, note, now + ttl);
            tenures.push((key, grant.token));
        }
        Reply::Acquired {
            tenures,
            lease: several.session,
            ttl,
            elapsed: now.since(caller.arrived),
        }
    }
}
