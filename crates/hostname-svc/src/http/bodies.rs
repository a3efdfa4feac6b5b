//! What callers get.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    documents::{Fence, Moment, Record, Retirement},
    hostname::{Application, Counter, Environment, Hostname, Prefix, Role, Shape},
    hostnames::{Deleted, Found, Given, Outlook, Page, PrefixPage, PrefixState, encode},
};

/// A hostname and what its record says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HostnameRecord)]
pub(super) struct HostnameBody {
    hostname: Hostname,
    application: Application,
    role: Role,
    counter: Counter,
    environment: Environment,
    created_at: Moment,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    /// Null where the lock service was away.
    #[schema(required)]
    lock: Option<Fence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired: Option<RetirementBody>,
}

/// That a hostname is not in use any more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Retirement)]
struct RetirementBody {
    retired_at: Moment,
    request_id: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_by: Option<String>,
}

/// The hostnames of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HostnameBatch)]
pub(super) struct BatchBody {
    hostnames: Vec<HostnameBody>,
    /// Whether their numbers follow one another.
    contiguous: bool,
}

/// The hostnames of an import.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Imported)]
pub(super) struct ImportBody {
    hostnames: Vec<HostnameBody>,
    /// Those that are somebody else's already.
    taken: Vec<NumberBody>,
}

/// What an import would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportOutlook)]
pub(super) struct OutlookBody {
    dry_run: bool,
    hostnames: Vec<NumberBody>,
    taken: Vec<NumberBody>,
    passed: Vec<NumberBody>,
    passed_over: u64,
}

/// The next hostnames of a prefix.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Preview)]
pub(super) struct PreviewBody {
    #[serde(flatten)]
    prefix: Prefix,
    hostnames: Vec<NumberBody>,
    /// Never: whoever asks for one first gets it.
    reserved: bool,
}

/// A number and its hostname.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NumberAndHostname)]
pub(super) struct NumberBody {
    counter: Counter,
    #[schema(required)]
    hostname: Option<Hostname>,
}

/// A prefix and how far its numbers have come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PrefixState)]
pub(super) struct PrefixBody {
    #[serde(flatten)]
    prefix: Prefix,
    #[serde(flatten)]
    numbers: Option<NumbersBody>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    deleted: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PrefixNumbers)]
struct NumbersBody {
    counter: u64,
    last: u64,
    fill: f64,
    given: u64,
    pending: usize,
    skipped: usize,
    passed_over: u64,
}

/// A page of prefixes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PrefixPage)]
pub(super) struct PrefixPageBody {
    prefixes: Vec<PrefixBody>,
    #[schema(required)]
    next: Option<String>,
}

/// A page of hostnames.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HostnamePage)]
pub(super) struct PageBody {
    hostnames: Vec<HostnameBody>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    deleted: Vec<DeletedBody>,
    /// What to send as `after` to go on; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// A hostname whose record was deleted by hand; without number and name, a prefix whose counter was.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeletedByHand)]
struct DeletedBody {
    #[serde(flatten)]
    prefix: Prefix,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<Counter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<Hostname>,
}

impl From<Deleted> for DeletedBody {
    fn from(deleted: Deleted) -> Self {
        let Deleted {
            prefix,
            counter,
            hostname,
        } = deleted;
        Self {
            hostname,
            prefix,
            counter,
        }
    }
}

impl From<Record> for HostnameBody {
    fn from(record: Record) -> Self {
        Self {
            hostname: record.hostname,
            application: record.application,
            role: record.role,
            counter: record.counter,
            environment: record.environment,
            created_at: record.facts.created_at,
            request_id: record.facts.request_id,
            requested_by: record.facts.requested_by,
            reason: record.facts.reason,
            labels: record.facts.labels,
            lock: record.lock,
            retired: None,
        }
    }
}

impl From<Found> for HostnameBody {
    fn from(found: Found) -> Self {
        Self {
            retired: found.retirement.map(RetirementBody::from),
            ..Self::from(found.record)
        }
    }
}

impl From<Retirement> for RetirementBody {
    fn from(retirement: Retirement) -> Self {
        Self {
            retired_at: retirement.retired_at,
            request_id: retirement.request_id,
            reason: retirement.reason,
            requested_by: retirement.requested_by,
        }
    }
}

impl From<Given> for BatchBody {
    fn from(given: Given) -> Self {
        let numbers = given.records.iter().map(|record| record.counter.get());
        let contiguous = numbers
            .clone()
            .zip(numbers.skip(1))
            .all(|(one, next)| next == one + 1);
        Self {
            contiguous,
            hostnames: given.records.into_iter().map(HostnameBody::from).collect(),
        }
    }
}

impl ImportBody {
    /// What was imported of `chosen`.
    pub(super) fn new(prefix: &Prefix, shape: &Shape, chosen: &[Counter], given: Given) -> Self {
        let imported: Vec<_> = given.records.iter().map(|record| record.counter).collect();
        let taken = chosen.iter().filter(|counter| !imported.contains(counter));
        Self {
            taken: NumberBody::all(prefix, shape, taken.copied()),
            hostnames: given.records.into_iter().map(HostnameBody::from).collect(),
        }
    }
}

impl OutlookBody {
    /// What was found out about an import.
    pub(super) fn new(prefix: &Prefix, outlook: Outlook) -> Self {
        Self {
            dry_run: true,
            hostnames: NumberBody::all(prefix, &outlook.shape, outlook.free),
            taken: NumberBody::all(prefix, &outlook.shape, outlook.taken),
            passed: NumberBody::all(prefix, &outlook.shape, outlook.passed),
            passed_over: outlook.passed_over,
        }
    }
}

impl PreviewBody {
    /// These hostnames of `prefix`.
    pub(super) fn new(prefix: Prefix, next: Vec<(Counter, Hostname)>) -> Self {
        let hostnames = next.into_iter().map(|(counter, hostname)| NumberBody {
            counter,
            hostname: Some(hostname),
        });
        Self {
            prefix,
            hostnames: hostnames.collect(),
            reserved: false,
        }
    }
}

impl NumberBody {
    fn all(
        prefix: &Prefix,
        shape: &Shape,
        counters: impl IntoIterator<Item = Counter>,
    ) -> Vec<Self> {
        let body = |counter| Self {
            counter,
            hostname: shape.hostname(prefix, counter),
        };
        counters.into_iter().map(body).collect()
    }
}

impl From<PrefixState> for PrefixBody {
    fn from(state: PrefixState) -> Self {
        let numbers = state.counter.map(|counter| {
            let last = counter.shape(counter.value).last(&state.prefix);
            NumbersBody {
                counter: counter.value,
                last,
                fill: counter.value as f64 / last as f64,
                given: counter.given(),
                pending: counter.pending.len(),
                skipped: counter.skipped.len(),
                passed_over: counter.passed_numbers(),
            }
        });
        Self {
            deleted: numbers.is_none(),
            prefix: state.prefix,
            numbers,
        }
    }
}

impl From<PrefixPage> for PrefixPageBody {
    fn from(page: PrefixPage) -> Self {
        Self {
            prefixes: page.prefixes.into_iter().map(PrefixBody::from).collect(),
            next: page.next.as_ref().map(encode),
        }
    }
}

impl From<Page> for PageBody {
    fn from(page: Page) -> Self {
        Self {
            hostnames: page.hostnames.into_iter().map(HostnameBody::from).collect(),
            deleted: page.deleted.into_iter().map(DeletedBody::from).collect(),
            next: page.next.as_ref().map(encode),
        }
    }
}
