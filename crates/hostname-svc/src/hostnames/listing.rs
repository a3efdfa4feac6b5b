//! Pages of hostnames. A prefix is listed by its counter, number by number, since Vault knows no pages;
//! folders are listed only to find the prefixes.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Found, HostnameError, retirement};
use crate::{
    allocator::read,
    documents::{CounterDocument, StoredRecord, layout},
    hostname::{Application, Counter, Environment, Hostname, Prefix, Role},
    store::{Child, DocumentPath, DocumentStore, Read},
};

/// Records read at a time.
const PARALLEL: usize = 32;

/// Which hostnames are listed. A role needs an application, and an environment a role.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this application.
    pub application: Option<Application>,
    /// Only of this role.
    pub role: Option<Role>,
    /// Only of this environment.
    pub environment: Option<Environment>,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    #[serde(flatten)]
    prefix: Prefix,
    counter: Counter,
}

/// Some hostnames, and where the next ones begin.
#[derive(Debug)]
pub struct Page {
    /// In the order of application, role, environment and counter.
    pub hostnames: Vec<Found>,
    /// What would be among them, had it not been deleted by hand.
    pub deleted: Vec<Deleted>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

/// A document deleted by hand: the record of a number, or the counter of a whole prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The prefix.
    pub prefix: Prefix,
    /// The number; `None` when the counter is gone, and with it which numbers there were.
    pub counter: Option<Counter>,
    /// Its hostname.
    pub hostname: Option<Hostname>,
}

/// A number that is to be listed.
struct Place {
    position: Position,
    hostname: Option<Hostname>,
}

impl Position {
    /// The prefix it lies in.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }
}

/// A position as an opaque text.
pub fn encode(position: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::json!(position).to_string())
}

/// The position that [`encode`] gave.
pub fn decode<P: DeserializeOwned>(text: &str) -> Option<P> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl Filter {
    /// Whether `prefix` is one of those.
    pub fn covers(&self, prefix: &Prefix) -> bool {
        self.application
            .as_ref()
            .is_none_or(|it| *it == prefix.application)
            && self.role.as_ref().is_none_or(|it| *it == prefix.role)
            && self
                .environment
                .as_ref()
                .is_none_or(|it| *it == prefix.environment)
    }
}

pub(super) async fn list(
    store: &Arc<dyn DocumentStore>,
    filter: &Filter,
    after: Option<&Position>,
    limit: usize,
) -> Result<Page, HostnameError> {
    // One more than the page holds tells whether there is another page.
    let mut places: Vec<Place> = Vec::new();
    let mut deleted = Vec::new();
    let mut prefixes = Prefixes::new(store, filter, after.map(|position| &position.prefix));
    while places.len() <= limit
        && let Some(prefix) = prefixes.next().await?
    {
        let from = after.filter(|position| position.prefix == prefix);
        let from = from.map_or(0, |position| position.counter.get());
        let counter = match read::<CounterDocument>(store, &layout::counter(&prefix)).await? {
            Read::Present { data, .. } => data,
            Read::Absent => continue,
            Read::Deleted { .. } => {
                deleted.push(Deleted {
                    prefix,
                    counter: None,
                    hostname: None,
                });
                continue;
            }
        };
        let numbers = counter.numbers_after(from).take(limit + 1 - places.len());
        places.extend(numbers.map(|number| Place {
            hostname: counter.hostname(&prefix, number),
            position: Position {
                prefix: prefix.clone(),
                counter: number,
            },
        }));
    }
    let more = places.len() > limit;
    places.truncate(limit);
    let next = places.last().filter(|_| more);
    let next = next.map(|place| place.position.clone());
    if let Some(last) = &next {
        // What comes after it is told on the next page.
        deleted.retain(|it| it.prefix <= last.prefix);
    }
    let mut records = Vec::new();
    for (place, read) in read_all(store, places).await? {
        match read {
            Read::Present { data, .. } => records.extend(data.ours()),
            // A number that is still pending has none.
            Read::Absent => (),
            Read::Deleted { .. } => deleted.push(Deleted {
                prefix: place.position.prefix,
                counter: Some(place.position.counter),
                hostname: place.hostname,
            }),
        }
    }
    Ok(Page {
        hostnames: retirement::join(store, records).await?,
        deleted,
        next,
    })
}

/// What is stored at these places.
async fn read_all(
    store: &Arc<dyn DocumentStore>,
    places: Vec<Place>,
) -> Result<Vec<(Place, Read<StoredRecord>)>, HostnameError> {
    let reads = stream::iter(places)
        .map(|place| async move {
            let read = match &place.hostname {
                Some(hostname) => read(store, &layout::record(hostname)).await?,
                None => Read::Absent,
            };
            Ok((place, read))
        })
        .buffered(PARALLEL);
    reads.try_collect().await
}

/// The prefixes that have a counter, in order, looked up as they are asked for.
pub(super) struct Prefixes<'a> {
    store: &'a Arc<dyn DocumentStore>,
    filter: &'a Filter,
    from: Option<&'a Prefix>,
    applications: Option<Names<Application>>,
    roles: Names<Role>,
    environments: Names<Environment>,
    application: Option<Application>,
    role: Option<Role>,
}

/// Names in a folder, the next one last.
type Names<T> = Vec<T>;

impl<'a> Prefixes<'a> {
    pub(super) fn new(
        store: &'a Arc<dyn DocumentStore>,
        filter: &'a Filter,
        from: Option<&'a Prefix>,
    ) -> Self {
        Self {
            store,
            filter,
            from,
            applications: None,
            roles: Vec::new(),
            environments: Vec::new(),
            application: None,
            role: None,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Prefix>, HostnameError> {
        loop {
            if let (Some(application), Some(role), Some(environment)) =
                (&self.application, &self.role, self.environments.pop())
            {
                let prefix = Prefix::new(application.clone(), role.clone(), environment);
                let Ok(prefix) = prefix else {
                    continue;
                };
                if self.from.is_none_or(|from| prefix >= *from) {
                    return Ok(Some(prefix));
                }
            } else if let (Some(application), Some(role)) = (&self.application, self.roles.pop()) {
                let folder = [layout::COUNTERS, application.as_str(), role.as_str()];
                self.environments =
                    names(self.store, &folder, self.filter.environment.as_ref()).await?;
                self.role = Some(role);
            } else {
                let Some(application) = self.next_application().await? else {
                    return Ok(None);
                };
                let folder = [layout::COUNTERS, application.as_str()];
                self.roles = names(self.store, &folder, self.filter.role.as_ref()).await?;
                let reached = self.from.filter(|from| from.application == application);
                self.roles
                    .retain(|role| reached.is_none_or(|from| *role >= from.role));
                self.application = Some(application);
            }
        }
    }

    async fn next_application(&mut self) -> Result<Option<Application>, HostnameError> {
        if self.applications.is_none() {
            let mut all = names(
                self.store,
                &[layout::COUNTERS],
                self.filter.application.as_ref(),
            )
            .await?;
            all.retain(|application| {
                self.from
                    .is_none_or(|from| *application >= from.application)
            });
            self.applications = Some(all);
        }
        Ok(self.applications.as_mut().and_then(Names::pop))
    }
}

/// The names in a folder, in reverse order; with `only` just that one, and no listing.
async fn names<T>(
    store: &Arc<dyn DocumentStore>,
    folder: &[&str],
    only: Option<&T>,
) -> Result<Names<T>, HostnameError>
where
    T: Clone + Ord + TryFrom<String>,
{
    if let Some(only) = only {
        return Ok(vec![only.clone()]);
    }
    let children = store.list(&DocumentPath::new(folder)).await?;
    let mut names: Vec<T> = children
        .into_iter()
        .filter_map(|child| match child {
            Child::Document(name) | Child::Folder(name) => T::try_from(name).ok(),
        })
        .collect();
    names.sort();
    names.dedup();
    names.reverse();
    Ok(names)
}
