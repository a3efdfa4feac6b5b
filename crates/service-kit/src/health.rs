//! Liveness and readiness.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// Something a service cannot answer without.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Short name for people, as the settings call it: `etcd`, `vault`, `embedded`.
    fn name(&self) -> &'static str;

    /// Whether it answers; the error is a sentence for an operator.
    async fn check(&self) -> Result<(), String>;
}

/// The readiness of a process, looked up at most once a second.
pub struct Health {
    dependencies: Vec<Arc<dyn Readiness>>,
    draining: AtomicBool,
    looked: Mutex<Looked>,
}

#[derive(Default)]
struct Looked {
    last: Option<(Instant, Vec<Check>)>,
    told: HashMap<&'static str, Told>,
}

/// What a look at one dependency found.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// Why it is not ready; `None` when it is.
    pub fault: Option<String>,
}

impl Health {
    const FRESH: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(2);
    const WATCH: Duration = Duration::from_secs(5);
    const STARTING: Duration = Duration::from_secs(5);

    /// Health that depends on `dependencies`.
    pub fn new(dependencies: Vec<Arc<dyn Readiness>>) -> Arc<Self> {
        Arc::new(Self {
            dependencies,
            draining: AtomicBool::new(false),
            looked: Mutex::default(),
        })
    }

    /// From now on not ready: the process is on its way down.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Each dependency and its fault. A process on its way down says so and nothing else.
    pub async fn checks(&self) -> Vec<Check> {
        if self.draining.load(Ordering::SeqCst) {
            return vec![Check {
                name: "shutdown",
                fault: Some("shutting down".into()),
            }];
        }
        let mut looked = self.looked.lock().await;
        if let Some((at, checks)) = &looked.last
            && at.elapsed() < Self::FRESH
        {
            return checks.clone();
        }
        let checks = join_all(self.dependencies.iter().map(|dependency| async {
            let fault = match timeout(Self::PATIENCE, dependency.check()).await {
                Ok(answer) => answer.err(),
                Err(_) => Some(format!("no answer within {:?}", Self::PATIENCE)),
            };
            Check {
                name: dependency.name(),
                fault,
            }
        }))
        .await;
        tell(&mut looked.told, &checks);
        looked.last = Some((Instant::now(), checks.clone()));
        checks
    }

    /// Looks from time to time, whether anybody asks or not, so that an outage stands in the log once.
    pub async fn watch(&self) -> Infallible {
        loop {
            self.checks().await;
            sleep(Self::WATCH).await;
        }
    }
}

/// What the log knows of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Ready,
    /// It was not ready yet, since the first look.
    Starting(Instant),
    Away,
}

/// Says once that a dependency is away, and once that it is back. At the start it has a while to come.
fn tell(told: &mut HashMap<&'static str, Told>, checks: &[Check]) {
    for Check { name, fault } in checks {
        let before = told.get(name).copied();
        let now = match (fault, before) {
            (None, _) => Told::Ready,
            (Some(_), None) => Told::Starting(Instant::now()),
            (Some(_), Some(Told::Starting(since))) if since.elapsed() < Health::STARTING => {
                Told::Starting(since)
            }
            (Some(_), Some(_)) => Told::Away,
        };
        told.insert(name, now);
        match (before, now, fault) {
            (Some(Told::Away), Told::Ready, _) => {
                info!(dependency = name, "{name} is ready again");
            }
            (Some(Told::Ready | Told::Starting(_)), Told::Away, Some(fault)) => {
                warn!(dependency = name, "{name} is not ready: {fault}");
            }
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_has_a_while_to_come_at_the_start_and_none_later() {
        let (mut told, ready) = (
            HashMap::new(),
            Check {
                name: "it",
                fault: None,
            },
        );
        let away = Check {
            name: "it",
            fault: Some("away".to_owned()),
        };
        tell(&mut told, std::slice::from_ref(&away));
        tell(&mut told, std::slice::from_ref(&away));
        assert!(matches!(told["it"], Told::Starting(_)));
        told.insert("it", Told::Starting(Instant::now() - Health::STARTING));
        tell(&mut told, std::slice::from_ref(&away));
        assert_eq!(told["it"], Told::Away);
        tell(&mut told, &[ready]);
        assert_eq!(told["it"], Told::Ready);
        tell(&mut told, &[away]);
        assert_eq!(told["it"], Told::Away);
    }
}
