//! What callers get.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    documents::{Fence, Moment, Record},
    hostname::{Application, Counter, Environment, Hostname, Prefix, Role},
    hostnames::{Deleted, Page},
};

/// A hostname and what its record says.
#[derive(Debug, Serialize)]
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
    labels: BTreeMap<String, String>,
    lock: Fence,
}

/// A page of hostnames.
#[derive(Debug, Serialize)]
pub(super) struct PageBody {
    hostnames: Vec<HostnameBody>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<DeletedBody>,
    /// What to send as `after` to go on; null at the end.
    next: Option<String>,
}

/// A hostname whose record was deleted by hand; without number and name, a prefix whose counter was.
#[derive(Debug, Serialize)]
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
        let Deleted { prefix, counter } = deleted;
        Self {
            hostname: counter.and_then(|counter| prefix.hostname(counter)),
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
        }
    }
}

impl From<Page> for PageBody {
    fn from(page: Page) -> Self {
        Self {
            hostnames: page.records.into_iter().map(HostnameBody::from).collect(),
            deleted: page.deleted.into_iter().map(DeletedBody::from).collect(),
            next: page.next.map(|position| position.encode()),
        }
    }
}
