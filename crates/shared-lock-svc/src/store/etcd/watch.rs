//! Feeds the view: one watch over all keys of all locks, so that their events come in one order.

use std::{sync::Arc, time::Duration};

use etcd_client::{GetOptions, WatchOptions, WatchStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, warn};

use super::{
    Core,
    fault::Fault,
    keys::{
        ENDINGS, EPOCH, GUARDS, HOLDERS, HOLDS, LockPath, METAS, QUEUES, RANGE_END, RANGE_START,
        REPLICAS,
    },
    sight::{Waiting, by_place},
    view::Listing,
};
use crate::lease::LockEvent;

/// How often the watch is asked how far it is.
const ASK: Duration = Duration::from_millis(500);

/// After this long without progress, locks with waiters are read without the watch.
const STALLED: Duration = Duration::from_secs(1);

/// After this long without progress, the watch is given up and everything is listed anew.
const DEAD: Duration = Duration::from_secs(3);

const RETRY: Duration = Duration::from_millis(100);

/// Keys in one page of a listing.
const PAGE: i64 = 500;

impl Core {
    /// Follows all locks; for ever.
    pub(super) async fn follow(self: &Arc<Self>) {
        let mut resume = None;
        let mut followed = None;
        loop {
            // The revisions of another etcd begin anew: ours would be waited for in vain.
            match self.ask_epoch().await {
                Ok(epoch) if followed.as_ref() == Some(&epoch) => (),
                Ok(epoch) => (resume, followed) = (None, Some(epoch)),
                Err(fault) => {
                    debug!(error = %fault, "etcd does not tell its epoch: {fault}");
                    sleep(RETRY).await;
                    continue;
                }
            }
            let start = match resume {
                Some(revision) => Ok(revision),
                // What was listed comes again, and changes nothing: etcd tells no progress to a watch
                // that begins after its last revision.
                None => self.list_all().await,
            };
            match start {
                Ok(start) => {
                    resume = self.follow_from(start).await;
                    self.epoch.doubt();
                }
                Err(fault) => debug!(error = %fault, "locks cannot be listed: {fault}"),
            }
            sleep(RETRY).await;
        }
    }

    /// Looks after what events alone do not bring about; for ever.
    pub(super) async fn tend(self: &Arc<Self>) {
        let mut ticks = interval(ASK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self
                .view
                .silence()
                .is_some_and(|silence| silence >= STALLED)
            {
                self.reread_awaited().await;
            }
            self.react();
        }
    }

    /// Acts on what the view shows: heads that fit, entries without a handler.
    fn react(self: &Arc<Self>) {
        for head in self.view.orphans() {
            self.consider_promoting(head);
        }
        let unserved = |waiting: &Waiting| {
            let meta = &waiting.waiter.meta;
            let name = (meta.key.clone(), waiting.request.clone());
            meta.replica == self.replica.id && !self.requests.is_known(&name)
        };
        for stray in self.view.waiting(unserved) {
            self.sweep(stray);
        }
    }

    /// Reads each lock that a request here waits for: its hand-over must not hang on the watch.
    async fn reread_awaited(&self) {
        for path in self.view.listened() {
            match self.list_one(&path).await {
                Ok(listing) => self.tell(self.view.replace_one(&path, &listing)),
                Err(_) => return,
            }
        }
    }

    /// Watches from a revision on. Returns where to go on, or `None` to list everything anew.
    async fn follow_from(self: &Arc<Self>, start: i64) -> Option<i64> {
        let mut stream = match self.open_watch(start).await {
            Ok(stream) => stream,
            Err(_) => return Some(start),
        };
        let mut resume = start;
        let mut heard = Instant::now();
        let mut ticks = interval(ASK);
        loop {
            tokio::select! {
                message = stream.message() => match message {
                    Ok(Some(response)) if response.canceled() => {
                        warn!(reason = response.cancel_reason(), "the watch was cancelled, listing all locks anew");
                        return None;
                    }
                    Ok(Some(response)) => {
                        heard = Instant::now();
                        self.etcd.hear();
                        let wanted = self.events.receiver_count() > 0;
                        let (heads, told) = self.view.apply(response.events(), wanted);
                        self.tell(told);
                        heads.into_iter().for_each(|head| self.consider_promoting(head));
                        if response.events().is_empty() && !response.created()
                            && let Some(header) = response.header()
                        {
                            self.view.progress(header.revision());
                            self.etcd.metrics.watch_is_current();
                        }
                        if let Some(last) = response.events().last().and_then(|event| event.kv()) {
                            // The revision may continue in the next response: a watch that goes on
                            // there sees all of it again, which changes nothing.
                            resume = last.mod_revision();
                        }
                    }
                    Ok(None) | Err(_) => {
                        self.etcd.suspect();
                        return Some(resume);
                    }
                },
                () = self.asked.notified() => ask(&mut stream).await,
                _ = ticks.tick() => {
                    if heard.elapsed() >= DEAD {
                        self.etcd.suspect();
                        return None;
                    }
                    ask(&mut stream).await;
                }
            }
        }
    }

    /// Resolves when the view shows all that was done in etcd before the call.
    pub(super) async fn catch_up(&self) -> Result<(), Fault> {
        let keys_only = GetOptions::new().with_keys_only();
        let now = self.etcd.get(EPOCH.as_bytes(), keys_only).await?;
        let now = now.header().map_or(0, |header| header.revision());
        self.asked.notify_one();
        timeout(self.options.operation_timeout, self.view.reaches(now))
            .await
            .map_err(|_| Fault::Silent)
    }

    fn tell(&self, happened: Vec<LockEvent>) {
        for event in happened {
            // Nobody listens, and nobody misses it.
            let _ = self.events.send(Arc::new(event));
        }
    }

    async fn open_watch(&self, start: i64) -> Result<WatchStream, Fault> {
        let mut client = self.etcd.watch_client().await?;
        let options = WatchOptions::new()
            .with_range(RANGE_END)
            .with_start_revision(start)
            .with_fragment();
        let opening = client.watch(RANGE_START, Some(options));
        match timeout(self.options.operation_timeout, opening).await {
            Ok(stream) => Ok(stream?),
            Err(_) => {
                self.etcd.suspect();
                Err(Fault::Silent)
            }
        }
    }

    /// Lists all locks as of one revision, and returns it.
    async fn list_all(&self) -> Result<i64, Fault> {
        let mut listing = Listing::default();
        for (prefix, options) in [
            (HOLDERS, GetOptions::new().with_keys_only()),
            (METAS, GetOptions::new()),
            (HOLDS, GetOptions::new()),
            (GUARDS, GetOptions::new()),
            (QUEUES, GetOptions::new()),
            (ENDINGS, GetOptions::new()),
            (REPLICAS, GetOptions::new().with_keys_only()),
        ] {
            let mut from = prefix.as_bytes().to_vec();
            let mut end = from.clone();
            if let Some(last) = end.last_mut() {
                *last += 1;
            }
            loop {
                let options = options.clone().with_range(end.as_slice()).with_limit(PAGE);
                let mut page = self
                    .etcd
                    .get(&from, options.with_revision(listing.revision))
                    .await?;
                if listing.revision == 0 {
                    listing.revision = page.header().map_or(0, |header| header.revision());
                }
                let more = page.more();
                listing.keys.append(&mut page.take_kvs());
                match listing.keys.last() {
                    Some(last) if more => from = [last.key(), b"\0"].concat(),
                    _ => break,
                }
            }
        }
        self.tell(self.view.replace(&listing));
        Ok(listing.revision)
    }

    /// Lists one lock.
    async fn list_one(&self, path: &LockPath) -> Result<Listing, Fault> {
        let holder = self
            .etcd
            .get(path.holder().as_bytes(), GetOptions::new().with_keys_only())
            .await?;
        let mut listing = Listing {
            revision: holder.header().map_or(0, |header| header.revision()),
            keys: holder.kvs().to_vec(),
        };
        for (key, options) in [
            (path.meta(), GetOptions::new()),
            (path.others(), GetOptions::new().with_prefix()),
            (path.queue(), by_place()),
            (path.ending(), GetOptions::new()),
        ] {
            let mut get = self
                .etcd
                .get(key.as_bytes(), options.with_revision(listing.revision))
                .await?;
            listing.keys.append(&mut get.take_kvs());
        }
        Ok(listing)
    }
}

/// Asks how far the watch is. A full channel means that etcd takes nothing: the silence will tell.
async fn ask(stream: &mut WatchStream) {
    let _ = timeout(Duration::from_millis(10), stream.request_progress()).await;
}
