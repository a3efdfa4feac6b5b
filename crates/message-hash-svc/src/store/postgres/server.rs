//! One PostgreSQL server: its connections, and what is done while it does not answer.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use service_kit::complaint;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::store::StoreError;
use crate::store::postgres::metrics::{Calls, NotAsked};
use crate::store::postgres::sql;
use crate::token::Token;

/// How long callers wait for a connection: a server that refuses is told to them within a second.
const ACQUIRE: Duration = Duration::from_millis(900);

/// How long nobody asks a server that did not answer; then one caller does.
const REST: Duration = Duration::from_secs(1);

/// How long a connection to a server that did not answer may take to show that it lives.
const SUSPECT: Duration = Duration::from_secs(3);

/// A connection that lay longer is asked whether it still lives before it is used.
const IDLE: Duration = Duration::from_secs(1);

/// How often something is done again whose connection turned out to be dead.
const ATTEMPTS: u32 = 3;

/// How much longer than its caller a server waits before it cancels a statement: the caller may be gone.
const LINGER: Duration = Duration::from_secs(3);

/// A pool of connections, and a breaker before it.
pub(super) struct Server {
    name: String,
    calls: Calls,
    pool: PgPool,
    breaker: Arc<Breaker>,
    timeout: Duration,
    /// How far a replica had come when it was last asked: timeline and place.
    replayed: Mutex<(u32, u64)>,
    /// Connections belong to the runtime that made them, which has to outlive the HTTP workers.
    runtime: Handle,
}

impl Server {
    /// Makes a pool of up to `connections` that is called `name`; `calls` counts what is done on it.
    pub(super) fn new(
        name: String,
        calls: Calls,
        options: PgConnectOptions,
        (connections, timeout): (u32, Duration),
    ) -> Self {
        let breaker = Arc::<Breaker>::default();
        let on_release = Arc::clone(&breaker);
        let cancelled = format!("{}ms", (timeout + LINGER).as_millis());
        let session = [
            ("statement_timeout", cancelled.as_str()),
            ("lock_timeout", "2s"),
            ("idle_in_transaction_session_timeout", &cancelled),
            ("jit", "off"),
        ];
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for < IDLE {
                        return Ok(true);
                    }
                    Ok(connection.ping().await.is_ok())
                })
            })
            .after_release(move |connection, _| {
                let is_suspect = on_release.is_open();
                Box::pin(async move {
                    if !is_suspect {
                        return Ok(true);
                    }
                    // Else it would keep its place until the kernel gives the connection up.
                    match tokio::time::timeout(SUSPECT, connection.ping()).await {
                        Ok(answered) => answered.map(|()| true),
                        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
                    }
                })
            })
            .connect_lazy_with(
                options
                    .application_name("message-hash-svc")
                    .options(session),
            );
        Self {
            name,
            calls,
            pool,
            breaker,
            timeout,
            replayed: Mutex::default(),
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
        let passed = self.breaker.pass().inspect_err(|_| {
            self.calls.not_asked(NotAsked::Resting);
        })?;
        let started = Instant::now();
        let (pool, limit) = (self.pool.clone(), self.timeout);
        let done = self.runtime.spawn(async move {
            let outcome = attempts(&pool, &passed.breaker, limit, doing).await;
            passed.report(outcome.is_err_and_down(&pool));
            outcome
        });
        let done = done.await;
        let took = started.elapsed();
        match done {
            Ok(Ok(value)) => {
                self.calls.done(true, took);
                Ok(value)
            }
            Ok(Err(Fault::Sql(sqlx::Error::PoolTimedOut))) if self.pool.size() > 0 => {
                self.calls.not_asked(NotAsked::PoolFull);
                complaint::complain("postgres-pool", "every connection is taken");
                Err(StoreError::Busy)
            }
            Ok(Err(Fault::Sql(fault))) => {
                self.calls.done(false, took);
                Err(StoreError::Unavailable(Arc::new(fault)))
            }
            Ok(Err(Fault::Silent(limit))) => {
                self.calls.done(false, took);
                Err(unavailable(format!("no answer within {limit:?}")))
            }
            Err(_) => Err(unavailable("the process is ending".to_owned())),
        }
    }
}

impl Server {
    /// What the pool is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Connections that are used, and that are idle.
    pub(super) fn connections(&self) -> (usize, usize) {
        let idle = self.pool.num_idle();
        (
            usize::try_from(self.pool.size())
                .unwrap_or(idle)
                .saturating_sub(idle),
            idle,
        )
    }

    /// Whether it answered when it was last asked.
    pub(super) fn is_up(&self) -> bool {
        !self.breaker.is_open()
    }

    /// Whether this replica has come as far as `token`.
    pub(super) async fn has_replayed(&self, token: &Token) -> bool {
        let is_past = |(timeline, lsn): (u32, u64)| timeline == token.timeline && lsn >= token.lsn;
        let known = *self.replayed.lock().unwrap_or_else(PoisonError::into_inner);
        if is_past(known) {
            return true;
        }
        let Ok(now) = self.place(sql::REPLAYED).await else {
            return false;
        };
        *self.replayed.lock().unwrap_or_else(PoisonError::into_inner) = now;
        is_past(now)
    }

    /// Timeline and place in the log, as `statement` tells them.
    pub(super) async fn place(&self, statement: &'static str) -> Result<(u32, u64), StoreError> {
        let ask = move |pool: PgPool| async move {
            sqlx::query_as::<_, (i32, i64)>(statement)
                .fetch_one(&pool)
                .await
        };
        let (timeline, lsn) = self.call(ask).await?;
        Ok((timeline.cast_unsigned(), lsn.cast_unsigned()))
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
    breaker: &Breaker,
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
    let mut all = pin!(all);
    tokio::select! {
        outcome = &mut all => outcome,
        // Before the connection goes back to the pool, which is to know that it is suspect.
        () = sleep(limit) => {
            breaker.trip();
            Err(Fault::Silent(limit))
        }
    }
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

    fn trip(&self) {
        self.state().down_until = Some(Instant::now() + REST);
    }

    fn is_open(&self) -> bool {
        self.state().down_until.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passed {
    fn report(self, is_down: bool) {
        if is_down {
            self.breaker.trip();
        } else if self.is_probe {
            self.breaker.state().down_until = None;
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
