//! The schema, step by step. A step only adds, so that a service of the version before goes on
//! working while the next one is rolled out.

use anyhow::Context;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqlSafeStr};

/// The version that this service needs; it works with later ones too.
pub(super) const NEEDED: i64 = 1;

/// Where everything is.
const SCHEMA: &str = "message_hash";

/// Which steps were taken.
const STEPS: &str = "message_hash.migrations";

/// Brings a database to version `to`, or to the last one, and lets `role` work with it.
///
/// Several at once wait for each other. `told` hears how many steps of how many were taken: one may
/// rewrite a large table.
///
/// # Errors
///
/// What the database said.
pub async fn migrate(
    database: &PgConnectOptions,
    to: Option<i64>,
    role: Option<&str>,
    told: &dyn Fn(u64, u64),
) -> anyhow::Result<i64> {
    let mut connection = database.connect().await.context("connecting")?;
    let mut migrator = Migrator::with_migrations(steps());
    migrator.dangerous_set_table_name(STEPS);
    migrator.create_schema(SCHEMA);
    // A later version of this service may have been here.
    migrator.set_ignore_missing(true);
    let steps = steps().into_iter().map(|step| step.version);
    let steps: Vec<i64> = steps
        .filter(|step| to.is_none_or(|to| *step <= to))
        .collect();
    for (taken, step) in steps.iter().enumerate() {
        told(taken as u64, steps.len() as u64);
        migrator.run_to(*step, &mut connection).await?;
    }
    if let Some(role) = role {
        grant(&mut connection, role).await?;
    }
    let version = version(&mut connection).await?;
    connection.close().await?;
    Ok(version)
}

/// The version that the database is at; 0 when nothing was ever done.
pub(super) async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let version: Result<(Option<i64>,), _> =
        sqlx::query_as("SELECT max(version) FROM message_hash.migrations WHERE success")
            .fetch_one(connection)
            .await;
    match version {
        Ok((version,)) => Ok(version.unwrap_or(0)),
        // There is no such table, or none that this role may see.
        Err(sqlx::Error::Database(fault))
            if matches!(fault.code().as_deref(), Some("42P01" | "3F000" | "42501")) =>
        {
            Ok(0)
        }
        Err(fault) => Err(fault),
    }
}

fn steps() -> Vec<Migration> {
    let step = |version, name: &'static str, sql: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    };
    vec![
        step(1, "messages", include_str!("migrations/1-messages.sql")),
        step(2, "created at", include_str!("migrations/2-created-at.sql")),
    ]
}

/// What the service needs and no more: it may make, change and drop no table.
async fn grant(connection: &mut PgConnection, role: &str) -> anyhow::Result<()> {
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let grants = format!(
        "GRANT USAGE ON SCHEMA message_hash TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA message_hash TO {role};"
    );
    sqlx::raw_sql(AssertSqlSafe(grants))
        .execute(&mut *connection)
        .await?;
    let digits = "0123456789abcdef".chars().map(|digit| format!("_{digit}"));
    for partition in std::iter::once(String::new()).chain(digits) {
        let grant =
            format!("GRANT INSERT, UPDATE, DELETE ON message_hash.message{partition} TO {role}");
        sqlx::raw_sql(AssertSqlSafe(grant))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
