//! `doctor`: what is wrong between here and the lock service's store, and what to do about it.

mod finding;
mod probe;

use lock_client::AcquireOptions;
use serde_json::json;
use uuid::Uuid;

use self::finding::{Finding, Kind};
use crate::cli::{Connection, Doctor, Output, Wire};
use crate::connect;
use crate::exit::{Failure, WRONG};
use crate::hold::millis;
use crate::output::{self, human};

pub(crate) async fn doctor(connection: &Connection, doctor: &Doctor) -> Result<u8, Failure> {
    // What cannot even be tried is told as everywhere else.
    connect::client(connection)?;
    let mut findings = Vec::new();
    for url in &connection.url {
        findings.extend(probe::server(connection, url).await);
    }
    if findings.iter().all(Finding::is_harmless) && connection.wire == Wire::V1 {
        findings.extend(a_lock_of_our_own(connection, doctor).await);
    }
    let well = findings.iter().all(Finding::is_harmless);
    match connection.output {
        Output::Json => output::json(&json!({ "well": well, "findings": findings }))?,
        _ => {
            for finding in &findings {
                output::line(&finding.told())?;
            }
        }
    }
    Ok(if well { 0 } else { WRONG })
}

/// Takes a lock that nobody else wants, asks whether it is ours, and gives it back.
async fn a_lock_of_our_own(connection: &Connection, doctor: &Doctor) -> Vec<Finding> {
    let everywhere = connection.url.join(",");
    let found = |kind, what: String| vec![Finding::new(kind, &everywhere, what)];
    let outcome = async {
        let client = connect::client(connection)?;
        let key = format!("lockctl-doctor/{}", Uuid::new_v4());
        let options = AcquireOptions {
            ttl: doctor.ttl,
            ..AcquireOptions::default()
        };
        let guard = client.try_acquire(&key, options).await?;
        let granted = client.inspect(&key).await?.holders;
        let granted = granted.first().and_then(|holder| holder.ttl);
        let current = guard.verify().await?;
        guard.release().await?;
        Ok::<_, Failure>((granted, current))
    };
    match outcome.await {
        Err(failure) => found(finding::kind_of(&failure), failure.why),
        Ok((_, false)) => found(
            Kind::Trouble,
            "a lock that was just granted is not held any more".to_owned(),
        ),
        Ok((Some(granted), true)) if granted > doctor.ttl => {
            let (asked, granted) = (millis(doctor.ttl), human(Some(granted)));
            let what = format!("a TTL of {asked} ms was asked for, and {granted} granted");
            found(Kind::TtlTooShort, what)
        }
        Ok(_) => found(
            Kind::Well,
            "a lock was taken, verified and given back".to_owned(),
        ),
    }
}
