//! Renewals that go with one call, and what its answer says of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::instrument::WithSubscriber;
use tracing::{Dispatch, Instrument, debug, info_span};

use crate::clock::Moment;
use crate::lease::margin;
use crate::lease_wire;
use crate::renewal::{Member, Name};
use crate::transport::{Failure, Message, Transport};
use crate::wire::{KeepAllBody, KeptAliveBody, KeptAllBody, TenureBody};

/// What one call may ask for. The service takes 1000 leases and 1000 locks, and bodies of 64 KiB as a rule.
const MOST: usize = 1000;
const MOST_BYTES: usize = 16 * 1024;

/// What is asked for one member of a lease.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) name: Name,
    pub(crate) member: Arc<Member>,
    pub(crate) ttl: Duration,
    /// How many times in a row it was asked in vain.
    pub(crate) failures: u32,
    pub(crate) timeout: Duration,
    pub(crate) dispatch: Dispatch,
}

/// Items, and the answer to them.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    pub(crate) sent: Moment,
    answer: Option<Answer>,
}

/// What an answer says of an item.
#[derive(Debug)]
pub(crate) enum Fate {
    Kept { ttl: Duration, until: Moment },
    Gone,
    Unknown,
}

#[derive(Debug)]
struct Answer {
    leases: HashMap<String, LeaseFate>,
    /// By key and token: whether the tenure is current, `None` if that is not known.
    locks: HashMap<(String, u64), Option<bool>>,
}

#[derive(Debug, Clone, Copy)]
enum LeaseFate {
    Renewed { ttl: Duration, remaining: Duration },
    Gone,
    Unknown,
}

/// As few calls as these items need. What failed before does not keep waiting what did not; the wire of
/// tentens-tech/shared-lock knows no more than one lease at a time.
pub(crate) fn pack(items: Vec<Item>) -> Vec<Batch> {
    let (alone, together): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| item.name.of_lease_wire);
    let (well, late): (Vec<_>, Vec<_>) = together.into_iter().partition(|item| item.failures == 0);
    let mut batches: Vec<Batch> = alone
        .into_iter()
        .map(|item| Batch::of(vec![item]))
        .collect();
    for group in [well, late] {
        let (mut items, mut bytes) = (Vec::new(), 0);
        for item in group {
            bytes += item.bytes();
            if items.len() == MOST || bytes > MOST_BYTES && !items.is_empty() {
                bytes = item.bytes();
                batches.push(Batch::of(std::mem::take(&mut items)));
            }
            items.push(item);
        }
        if !items.is_empty() {
            batches.push(Batch::of(items));
        }
    }
    batches
}

impl Item {
    fn tenure(&self) -> Option<TenureBody<'_>> {
        let (key, token) = self.member.lock.as_ref()?;
        Some(TenureBody {
            key: key.as_str(),
            lease_id: &self.name.id,
            fencing_token: token.to_string(),
        })
    }

    /// At most, in a body: what JSON escapes of a key becomes two bytes.
    fn bytes(&self) -> usize {
        let lock = self.member.lock.as_ref();
        100 + lock.map_or(0, |(key, _)| 2 * key.as_str().len())
    }
}

impl Batch {
    fn of(items: Vec<Item>) -> Self {
        Self {
            items,
            sent: Moment::now(),
            answer: None,
        }
    }

    /// Asks once, and comes back with the answer, if there was one.
    pub(crate) async fn send(mut self, transport: &Transport) -> Self {
        let span = info_span!(parent: None, "lock.keepalive", otel.kind = "client", lock.count = self.items.len());
        let dispatch = self
            .items
            .first()
            .map(|item| item.dispatch.clone())
            .unwrap_or_default();
        let asking = async {
            self.sent = Moment::now();
            match self.ask(transport).await {
                Ok(answer) => self.answer = Some(answer),
                Err(failure) => {
                    let failures = self.items.first().map_or(0, |item| item.failures + 1);
                    debug!(error = %failure.into_error(), lock.renewals_failed = failures, "a renewal failed");
                }
            }
        };
        asking.instrument(span).with_subscriber(dispatch).await;
        self
    }

    pub(crate) fn fate_of(&self, item: &Item) -> Fate {
        let Some(answer) = &self.answer else {
            return Fate::Unknown;
        };
        let stands = match &item.member.lock {
            Some((key, token)) => {
                let lock = (key.as_str().to_owned(), *token);
                answer.locks.get(&lock).copied().flatten()
            }
            None => Some(true),
        };
        match (answer.leases.get(&*item.name.id), stands) {
            (Some(LeaseFate::Gone), _) | (_, Some(false)) => Fate::Gone,
            (Some(&LeaseFate::Renewed { ttl, remaining }), Some(true)) => Fate::Kept {
                ttl,
                until: self.sent + remaining - margin(ttl),
            },
            _ => Fate::Unknown,
        }
    }

    async fn ask(&self, transport: &Transport) -> Result<Answer, Failure> {
        let timeouts = self.items.iter().map(|item| item.timeout);
        let timeout = timeouts
            .min()
            .unwrap_or_default()
            .min(transport.request_timeout);
        match self.items.first() {
            Some(item) if item.name.of_lease_wire => {
                let renewal = lease_wire::renewal(&item.name.id, item.ttl);
                let fate = match transport.send::<KeptAliveBody>(&renewal, timeout).await {
                    Ok(kept) => LeaseFate::Renewed {
                        ttl: Duration::from_millis(kept.ttl_ms),
                        remaining: Duration::from_millis(kept.remaining_ms),
                    },
                    Err(Failure::Refused(problem)) if problem.says_gone() => LeaseFate::Gone,
                    Err(failure) => return Err(failure),
                };
                Ok(Answer {
                    leases: HashMap::from([(item.name.id.to_string(), fate)]),
                    locks: HashMap::new(),
                })
            }
            _ => {
                let message = Message::post("/v1/keepalive", &self.body());
                let answer = transport.send::<KeptAllBody>(&message, timeout).await?;
                Ok(answer.into())
            }
        }
    }

    fn body(&self) -> KeepAllBody<'_> {
        let mut lease_ids: Vec<&str> = self.items.iter().map(|item| &*item.name.id).collect();
        // Those of one lease stand together.
        lease_ids.dedup();
        KeepAllBody {
            lease_ids,
            locks: self.items.iter().filter_map(Item::tenure).collect(),
        }
    }
}

impl From<KeptAllBody> for Answer {
    fn from(body: KeptAllBody) -> Self {
        let leases = body.leases.into_iter().map(|lease| {
            let fate = match (lease.code.as_deref(), lease.ttl_ms, lease.remaining_ms) {
                (None, Some(ttl), Some(remaining)) => LeaseFate::Renewed {
                    ttl: Duration::from_millis(ttl),
                    remaining: Duration::from_millis(remaining),
                },
                (Some("lease-not-found"), ..) => LeaseFate::Gone,
                _ => LeaseFate::Unknown,
            };
            (lease.lease_id, fate)
        });
        let locks = body.locks.into_iter().map(|lock| {
            let known = lock.code.is_none().then_some(lock.current);
            ((lock.key, lock.fencing_token), known)
        });
        Self {
            leases: leases.collect(),
            locks: locks.collect(),
        }
    }
}
