//! Liveness and readiness.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::{sync::Mutex, time::timeout};

/// Something a service cannot answer without.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Short name for people: `etcd`, `vault`.
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
        *last = Some((Instant::now(), checks.clone()));
        checks
    }
}
