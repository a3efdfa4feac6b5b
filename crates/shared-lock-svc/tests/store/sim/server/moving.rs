//! Moving the table, with the judge looking on.

use shared_lock_svc::{
    lease::LeaseId,
    state::{Answer, Command, Moment, Moved},
};

use super::Server;
use crate::sim::{judge::Judge, messages::Ask};

impl Server {
    /// Carries it out, and sees to what that entails.
    pub(super) fn carry_out(&mut self, ask: &Ask, judge: &mut Judge, now: Moment) -> Answer {
        judge.asked(ask);
        let moved = self.moves(ask.clone(), now);
        if !moved.changes.is_empty() {
            self.written += 1;
            let last_token = self.table.last_token();
            self.unsynced.push_back((moved.changes.clone(), last_token));
        }
        judge.moved(ask, &moved, self.written, now);
        for (key, event) in &moved.events {
            self.follow_up(key, event);
        }
        self.try_again(judge, now);
        moved.answer
    }

    fn moves(&mut self, ask: Ask, now: Moment) -> Moved {
        let table = &mut self.table;
        match ask {
            Ask::Acquire { key, wish, wait } => {
                let acquire = Command::Acquire { wish, wait };
                table.step(&key, acquire, now)
            }
            Ask::AcquireAll { several, .. } if self.bugs.all_means_some => {
                self.bugs.take_some(table, &several, now)
            }
            Ask::AcquireAll { several, .. } => table.acquire_all(&several, now),
            Ask::OpenSession { id, holder, ttl } => {
                table.open_session(id.unwrap_or(LeaseId(0)), holder, ttl, now)
            }
            Ask::EndSession(id) => table.end_session(id, now),
            Ask::KeepAlive(lease) => table.keep_lease_alive(lease, now),
            Ask::Release { key, claim, note } => {
                table.step(&key, Command::Release { claim, note }, now)
            }
            Ask::Force(key) => table.step(&key, Command::Force, now),
            Ask::Leave {
                key,
                request,
                cause,
            } => table.step(&key, Command::Leave { request, cause }, now),
            Ask::Tick => table.tick(now),
        }
    }
}
