//! Liveness and readiness.

use std::{
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
    last: Mutex<Option<(Instant, Vec<Check>)>>,
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

    /// Health that depends on `dependencies`.
    pub fn new(dependencies: Vec<Arc<dyn Readiness>>) -> Arc<Self> {
        Arc::new(Self {
            dependencies,
            draining: AtomicBool::new(false),
            last: Mutex::new(None),
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
        let mut last = self.last.lock().await;
        if let Some((at, checks)) = &*last
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
        let before = last.replace((Instant::now(), checks.clone()));
        tell(before.map(|(_, checks)| checks), &checks);
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

/// Says which dependencies went away and which came back since `before`.
fn tell(before: Option<Vec<Check>>, now: &[Check]) {
    let before = before.unwrap_or_default();
    for check in now {
        let name = check.name;
        let was_ready = before
            .iter()
            .find(|it| it.name == name)
            .map(|it| it.fault.is_none());
        match (&check.fault, was_ready) {
            (Some(fault), Some(true) | None) => {
                warn!(dependency = name, "{name} is not ready: {fault}");
            }
            (None, Some(false)) => info!(dependency = name, "{name} is ready again"),
            _ => (),
        }
    }
}
