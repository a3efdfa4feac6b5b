//! PostgreSQL, alone and with a replica.

use std::time::Duration;

use testbed::{Postgres, eventually};

#[tokio::test]
async fn what_was_committed_survives_a_crash_and_reaches_the_replica() {
    let primary = Postgres::start().await.unwrap();
    primary
        .sql("CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let replica = primary.replica().await.unwrap();
    assert_eq!(
        replica.sql("SELECT pg_is_in_recovery()").await.unwrap(),
        "t"
    );
    primary.crash().await.unwrap();
    assert!(primary.sql("SELECT 1").await.is_err());
    assert_eq!(replica.sql("SELECT x FROM t").await.unwrap(), "1");
    primary.restart().await.unwrap();
    primary.sql("INSERT INTO t VALUES (2)").await.unwrap();
    eventually(
        "the replica to follow",
        Duration::from_secs(60),
        async || {
            let seen = replica.sql("SELECT sum(x) FROM t").await?;
            anyhow::ensure!(seen == "3", "{seen}");
            Ok(())
        },
    )
    .await
    .unwrap();
}
