//! Hearing of deletions that other replicas of the service make, while they are made.

use std::time::Duration;

use service_kit::complaint;
use sqlx::Executor;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{sleep, timeout};

use crate::store::Heard;
use crate::store::postgres::shard::Shard;
use crate::store::postgres::sql;

/// What PostgreSQL calls the connection.
const NAME: &str = "message-hash-svc deletions";

/// How often a connection that says nothing is asked whether it still lives.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How long it may take to be made, or to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long nobody is asked after it broke.
const REST: Duration = Duration::from_secs(1);

/// Tells of every deletion on `shard`, on a connection of its own: notices come to those who hold one.
pub(super) async fn hear_forever(shard: &Shard, heard: &(dyn Fn(Heard) + Send + Sync)) {
    loop {
        if let Err(fault) = hear(shard, heard).await {
            complaint::complain("postgres-deletions", fault);
        }
        sleep(REST).await;
    }
}

/// Ends when the connection does.
async fn hear(shard: &Shard, heard: &(dyn Fn(Heard) + Send + Sync)) -> Result<(), sqlx::Error> {
    // A pool for one connection: a later one must not wait for the place of one that hangs.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(shard.address().application_name(NAME));
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(sql::DELETIONS).await?;
    heard(Heard::Missed);
    complaint::settle("postgres-deletions");
    loop {
        match timeout(ASK_EVERY, listener.try_recv()).await {
            Ok(Ok(Some(notice))) => {
                if let Ok(digest) = notice.payload().parse() {
                    shard.remember_deleted(digest);
                    heard(Heard::Deleted(digest));
                }
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(fault)) => return Err(fault),
            Err(_) => {
                let silent = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
                timeout(PATIENCE, listener.execute("SELECT 1"))
                    .await
                    .map_err(silent)??;
            }
        }
    }
}
