//! When which lease is renewed: what is due soon goes along with what is due, in one call.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tracing::{Dispatch, dispatcher, warn};

use crate::batch::{Batch, Fate, Item, pack};
use crate::clock::{Moment, sleep_until};
use crate::key::Key;
use crate::lease::Lease;
use crate::transport::{Transport, pause};

/// How far ahead to look, at most, for leases that may go along.
const LOOK_AHEAD: Duration = Duration::from_secs(5);

/// A lease, and whether it is one of the tentens-tech/shared-lock wire: the two know nothing of each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) id: Arc<str>,
    pub(crate) of_lease_wire: bool,
}

/// Somebody whose time is that of a lease: a guard, or a session.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) lease: Weak<Lease>,
    /// The lock, and the token of its tenure. Without that tenure the lease is worth nothing to it.
    pub(crate) lock: Option<(Key, u64)>,
}

/// The leases that a client renews.
#[derive(Debug, Default)]
pub(crate) struct Tending {
    table: Mutex<Table>,
    /// Something is due sooner than all before.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Table {
    leases: HashMap<Name, Tended>,
    /// Those of which no renewal is under way.
    due: BTreeSet<(Moment, Name)>,
}

/// A lease, renewed for all its members at once.
#[derive(Debug)]
struct Tended {
    ttl: Duration,
    due: Moment,
    members: Vec<Arc<Member>>,
    /// How many left since the others were last looked through.
    left: usize,
    failures: u32,
    /// Members of which an answer is awaited, and whether one of this time was no good.
    awaited: usize,
    failed: bool,
    /// Where what happens to it is told.
    dispatch: Dispatch,
}

impl Tending {
    /// Renews a lease every third of its TTL from now on.
    pub(crate) fn begin(&self, name: &Name, member: Member, ttl: Duration) {
        let mut table = self.table();
        let first = table.first();
        table.join(name, Arc::new(member), ttl);
        if table.first() < first || first.is_none() {
            self.sooner.notify_one();
        }
    }

    /// Somebody needs it no more.
    pub(crate) fn leave(&self, name: &Name) {
        let mut table = self.table();
        let Some(tended) = table.leases.get_mut(name) else {
            return;
        };
        tended.left += 1;
        // Each looks through as many as left: a session of thousands is not searched for each of them.
        if 2 * tended.left >= tended.members.len() {
            tended.left = 0;
            tended.members.retain(|member| member.stands());
        }
        if tended.members.is_empty() {
            table.remove(name);
        }
    }

    /// It is over, for everybody.
    pub(crate) fn end(&self, name: &Name) {
        let ended = self.table().remove(name);
        for member in ended.iter().flat_map(|ended| &ended.members) {
            member.lose();
        }
    }

    /// Renews for as long as it is polled.
    pub(crate) async fn go_on(&self, transport: &Transport) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let first = self.table().first();
            if first.is_some_and(|due| due.left().is_zero()) {
                let batches = pack(self.take_due());
                under_way.extend(batches.into_iter().map(|batch| batch.send(transport)));
                continue;
            }
            tokio::select! {
                Some(batch) = under_way.next() => self.settle(batch),
                () = sleep_until(first.unwrap_or_else(Moment::now)), if first.is_some() => (),
                () = self.sooner.notified() => (),
            }
        }
    }

    /// What is to be asked now.
    fn take_due(&self) -> Vec<Item> {
        let table = &mut *self.table();
        let now = Moment::now();
        let near = table
            .due
            .iter()
            .take_while(|(due, _)| *due <= now + LOOK_AHEAD);
        let goes_along = |due: &(Moment, Name)| {
            let ttl = table
                .leases
                .get(&due.1)
                .map_or(Duration::ZERO, |tended| tended.ttl);
            due.0 <= now + ttl / 12
        };
        let taken: Vec<_> = near.filter(|due| goes_along(due)).cloned().collect();
        let mut items = Vec::new();
        for due in taken {
            table.due.remove(&due);
            let Some(tended) = table.leases.get_mut(&due.1) else {
                continue;
            };
            tended.lose_what_is_over();
            if tended.members.is_empty() {
                table.leases.remove(&due.1);
                continue;
            }
            items.extend(tended.ask(&due.1));
        }
        items
    }

    /// What was answered, or not.
    fn settle(&self, batch: Batch) {
        let table = &mut *self.table();
        for item in &batch.items {
            let fate = batch.fate_of(item);
            if matches!(fate, Fate::Gone) && item.member.lose() {
                let told = "a lock was lost: the service knows it, or its lease, no more";
                dispatcher::with_default(&item.dispatch, || warn!("{told}"));
            }
            let Some(tended) = table.leases.get_mut(&item.name) else {
                continue;
            };
            tended.awaited = tended.awaited.saturating_sub(1);
            match fate {
                Fate::Gone => (),
                Fate::Unknown => tended.failed = true,
                Fate::Kept { ttl, until } => {
                    tended.ttl = ttl;
                    item.member.extend(until);
                }
            }
            if tended.awaited == 0 {
                // It may be there: of a lease that was handed off and taken over meanwhile.
                table.due.remove(&(tended.due, item.name.clone()));
                tended.settle(batch.sent);
                table.due.insert((tended.due, item.name.clone()));
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn first(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }

    fn join(&mut self, name: &Name, member: Arc<Member>, ttl: Duration) {
        // A lease that was granted while it waited may be older than its TTL says.
        let due = Moment::now() + (ttl / 3).min(member.left() / 2);
        let tended = self.leases.entry(name.clone()).or_insert_with(|| Tended {
            ttl,
            due,
            members: Vec::new(),
            left: 0,
            failures: 0,
            awaited: 0,
            failed: false,
            dispatch: dispatcher::get_default(Dispatch::clone),
        });
        tended.members.push(member);
        let before = (tended.due, name.clone());
        if tended.awaited == 0 {
            tended.due = tended.due.min(due);
            self.due.remove(&before);
            self.due.insert((tended.due, name.clone()));
        }
    }

    fn remove(&mut self, name: &Name) -> Option<Tended> {
        let tended = self.leases.remove(name)?;
        self.due.remove(&(tended.due, name.clone()));
        Some(tended)
    }
}

impl Tended {
    /// One question for each member.
    fn ask(&mut self, name: &Name) -> Vec<Item> {
        self.awaited = self.members.len();
        self.failed = false;
        let item = |member: &Arc<Member>| Item {
            name: name.clone(),
            member: Arc::clone(member),
            ttl: self.ttl,
            failures: self.failures,
            timeout: (self.ttl / 3).min(member.left()),
            dispatch: self.dispatch.clone(),
        };
        self.members.iter().map(item).collect()
    }

    /// All have been answered of what was asked at `sent`.
    fn settle(&mut self, sent: Moment) {
        self.members.retain(|member| member.stands());
        let next = if self.failed {
            self.failures += 1;
            // Many tries before the lease is over, however short it is.
            Moment::now() + pause(self.failures).min(self.ttl / 10)
        } else {
            self.failures = 0;
            sent + self.ttl / 3
        };
        let ends = self.members.iter().map(|member| member.left()).min();
        self.due = next.min(Moment::now() + ends.unwrap_or_default());
    }

    /// Members whose time is over before a renewal came back.
    fn lose_what_is_over(&mut self) {
        let failures = self.failures;
        let dispatch = &self.dispatch;
        self.members.retain(|member| {
            if member.stands() && member.left().is_zero() && member.lose() {
                dispatcher::with_default(dispatch, || {
                    warn!(
                        lock.renewals_failed = failures,
                        "a lock was lost: no renewal came back in time"
                    );
                });
            }
            member.stands()
        });
    }
}

impl Member {
    fn stands(&self) -> bool {
        self.lease.upgrade().is_some_and(|lease| !lease.is_lost())
    }

    /// Time for which it surely has what it has.
    fn left(&self) -> Duration {
        let lease = self.lease.upgrade();
        lease.map_or(Duration::ZERO, |lease| lease.until().left())
    }

    fn extend(&self, until: Moment) {
        if let Some(lease) = self.lease.upgrade() {
            lease.extend(until);
        }
    }

    /// `false` if it was lost before, or given up.
    fn lose(&self) -> bool {
        self.lease.upgrade().is_some_and(|lease| lease.mark_lost())
    }
}
