//! One PostgreSQL server: its connections, and what is done while it does not answer.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use service_kit::complaint;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::store::StoreError;

/// How long callers wait for a connection: a server that refuses is told to them within a second.
const ACQUIRE: Duration = Duration::from_millis(900);

/// How long nobody asks a server that did not answer; then one caller does.
const REST: Duration = Duration::from_secs(1);

/// A connection that lay longer is asked whether it still lives before it is used.
const IDLE: Duration = Duration::from_secs(1);

/// How often something is done again whose connection turned out to be dead.
const ATTEMPTS: u32 = 3;

/// Cancelled by the server itself, should the caller be gone.
const SESSION: [(&str, &str); 4] = [
    ("statement_timeout", "5s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("jit", "off"),
];

/// A pool of connections, and a breaker before it.
pub(super) struct Server {
    pool: PgPool,
    breaker: Arc<Breaker>,
    timeout: Duration,
    /// Connections belong to the runtime that made them, which has to outlive the HTTP workers.
    runtime: Handle,
}

impl Server {
    pub(super) fn new(options: PgConnectOptions, connections: u32, timeout: Duration) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for < IDLE {
                        return Ok(true);
                    }
                    use sqlx::Connection;
                    Ok(connection.ping().await.is_ok())
                })
            })
            .connect_lazy_with(
                options
                    .application_name("message-hash-svc")
                    .options(SESSION),
            );
        Self {
            pool,
            breaker: Arc::default(),
            timeout,
            runtime: Handle::current(),
        }
    }

    /// Does something on a connection; once more when the connection was dead, so it has to be
    /// something that may be done twice.
    pub(super) async fn call<T, F>(
        &self,
        doing: impl Fn(PgPool) -> F + Send + Sync + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, sqlx::Error>> + Send + 'static,
    {
        let passed = self.breaker.pass()?;
        let (pool, limit) = (self.pool.clone(), self.timeout);
        let done = self.runtime.spawn(async move {
            let outcome = attempts(&pool, limit, doing).await;
            passed.report(outcome.is_err_and_down(&pool));
            outcome
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Fault::Sql(sqlx::Error::PoolTimedOut))) if self.pool.size() > 0 => {
                complaint::complain("postgres-pool", "every connection is taken");
                Err(StoreError::Busy)
            }
            Ok(Err(Fault::Sql(fault))) => Err(StoreError::Unavailable(Arc::new(fault))),
            Ok(Err(Fault::Silent(limit))) => {
                Err(unavailable(format!("no answer within {limit:?}")))
            }
            Err(_) => Err(unavailable("the process is ending".to_owned())),
        }
    }
}

/// Why something was not done.
enum Fault {
    Sql(sqlx::Error),
    Silent(Duration),
}

trait Outcome {
    fn is_err_and_down(&self, pool: &PgPool) -> bool;
}

impl<T> Outcome for Result<T, Fault> {
    /// Whether the server is to be left alone for a while.
    fn is_err_and_down(&self, pool: &PgPool) -> bool {
        match self {
            Ok(_) => false,
            Err(Fault::Silent(_)) => true,
            Err(Fault::Sql(sqlx::Error::PoolTimedOut)) => pool.size() == 0,
            Err(Fault::Sql(fault)) => is_connection_dead(fault),
        }
    }
}

async fn attempts<T, F>(
    pool: &PgPool,
    limit: Duration,
    doing: impl Fn(PgPool) -> F,
) -> Result<T, Fault>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let all = async {
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match doing(pool.clone()).await {
                Err(fault) if left > 0 && is_connection_dead(&fault) => (),
                outcome => return outcome.map_err(Fault::Sql),
            }
        }
    };
    timeout(limit, all)
        .await
        .unwrap_or(Err(Fault::Silent(limit)))
}

/// Whether the connection and not the question was the trouble.
fn is_connection_dead(fault: &sqlx::Error) -> bool {
    match fault {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // Class 57: shut down by an administrator, crashed, or starting up.
        sqlx::Error::Database(fault) => fault
            .code()
            .is_some_and(|code| matches!(&*code, "57P01" | "57P02" | "57P03")),
        _ => false,
    }
}

fn unavailable(why: String) -> StoreError {
    StoreError::Unavailable(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(
        why,
    )))
}

/// Spares a server that does not answer, and its callers the wait for it.
#[derive(Default)]
struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    down_until: Option<Instant>,
    is_asked: bool,
}

/// One caller who may ask the server.
struct Passed {
    breaker: Arc<Breaker>,
    is_probe: bool,
}

impl Breaker {
    fn pass(self: &Arc<Self>) -> Result<Passed, StoreError> {
        let mut state = self.state();
        let is_probe = match state.down_until {
            None => false,
            Some(until) if Instant::now() >= until && !state.is_asked => true,
            Some(_) => return Err(unavailable("it did not answer a moment ago".to_owned())),
        };
        state.is_asked = is_probe;
        Ok(Passed {
            breaker: Arc::clone(self),
            is_probe,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passed {
    fn report(self, is_down: bool) {
        let mut state = self.breaker.state();
        if is_down {
            state.down_until = Some(Instant::now() + REST);
        } else if self.is_probe {
            state.down_until = None;
        }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.state().is_asked = false;
        }
    }
}
