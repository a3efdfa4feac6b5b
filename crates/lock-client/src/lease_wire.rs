//! The wire of tentens-tech/shared-lock: its answers, as the native ones say the same.
//!
//! It has neither waiting nor release nor request ids: whoever wants a lock that is held asks again, a lock
//! that is given up runs out, and so does one whose answer got lost.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::json;

use crate::acquire::{self, alive};
use crate::client::{Inner, LockClient};
use crate::clock::{Moment, sleep_until};
use crate::error::{Error, Held, Problem};
use crate::guard::LockGuard;
use crate::key::Key;
use crate::lease::{Lease, Purpose};
use crate::options::AcquireOptions;
use crate::transport::{Failure, Message};
use crate::wire::{AcquiredBody, KeptAliveBody, milliseconds};

pub(crate) const TTL: &str = "x-lease-ttl";

/// How often a lock that is held is asked for again: often enough for a person, seldom enough for many.
const AGAIN: Duration = Duration::from_millis(500);

impl LockClient {
    /// Takes a lock over the wire of tentens-tech/shared-lock, by asking until it is free or `options.wait`
    /// is over; there is no queue. Of the options, `ttl` and `wait` count. The guard renews itself as any
    /// other; its fencing token is 0 where the server tells none, and a release is left to expiry.
    ///
    /// # Errors
    /// As [`LockClient::acquire`]; a lock whose answer got lost is held by nobody until its TTL is over.
    pub async fn acquire_lease(
        &self,
        key: &str,
        options: AcquireOptions,
    ) -> Result<LockGuard, Error> {
        acquire::runtime()?;
        let key = Key::parse(key)?;
        let until = Moment::now() + options.wait;
        loop {
            let error = match ask(&self.0, &key, &options).await {
                Ok((sent, granted)) => return self.lease_guard(&key, &options, sent, granted),
                Err(error) => error,
            };
            let next = Moment::now() + AGAIN.mul_f64(rand::random_range(0.8..1.2));
            if next >= until || !matches!(error, Error::Held(_)) {
                return Err(error);
            }
            sleep_until(next).await;
        }
    }

    /// Renews a lease by hand over the wire of tentens-tech/shared-lock. What is left of it is not told: two
    /// seconds, the shortest TTL there is.
    ///
    /// # Errors
    /// [`Error::Lost`] when the lease is gone.
    pub async fn keep_lease_alive(&self, key: &str, lease_id: &str) -> Result<Duration, Error> {
        const LEAST: Duration = Duration::from_secs(2);
        acquire::runtime()?;
        let transport = &self.0.transport;
        let message = renewal(lease_id, LEAST);
        let kept = transport.send::<KeptAliveBody>(&message, transport.request_timeout);
        match kept.await {
            Ok(_) => Ok(LEAST),
            Err(Failure::Refused(problem)) if problem.says_gone() => Err(Error::Lost {
                key: key.to_owned(),
            }),
            Err(failure) => Err(failure.into_error()),
        }
    }

    fn lease_guard(
        &self,
        key: &Key,
        options: &AcquireOptions,
        sent: Moment,
        granted: AcquiredBody,
    ) -> Result<LockGuard, Error> {
        let (id, life) = (granted.lease_id.clone(), granted.life.since(sent));
        let lease = Lease::kept_by(&self.0.keeper, id, life, Purpose::LeaseWire);
        let lock = (key, options.mode);
        let guard = LockGuard::new(&self.0, lock, granted.into(), lease, None);
        guard.runs_out();
        alive(guard)
    }
}

async fn ask(
    client: &Inner,
    key: &Key,
    options: &AcquireOptions,
) -> Result<(Moment, AcquiredBody), Error> {
    let body = json!({ "key": key.as_str(), "value": client.holder });
    let body = body.to_string().into_bytes();
    let message = Message::of_the_lease_wire("/lease", body, options.ttl);
    let sent = Moment::now();
    match client
        .transport
        .send(&message, client.transport.request_timeout)
        .await
    {
        Ok(granted) => Ok((sent, granted)),
        Err(Failure::Refused(problem)) if problem.code == "lock-held" => {
            let keys = std::slice::from_ref(key);
            Err(Error::Held(Held::of(keys, &problem)))
        }
        Err(failure) => Err(failure.into_error()),
    }
}

pub(crate) fn renewal(lease_id: &str, ttl: Duration) -> Message {
    Message::of_the_lease_wire("/keepalive", lease_id.as_bytes().to_vec(), ttl)
}

/// As the server parses it: it drops fractions of a second by itself.
pub(crate) fn go_duration(ttl: Duration) -> String {
    format!("{}ms", ttl.as_millis())
}

/// A success of this wire as a native answer, or what it is no success of.
pub(crate) fn translated(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    ttl: Duration,
) -> Result<Vec<u8>, Failure> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let granted = header("x-lease-ttl-granted").and_then(seconds);
    // The original drops fractions and grants no less than two seconds.
    let ttl = granted.unwrap_or(Duration::from_secs(ttl.as_secs().max(2)));
    let ttl_ms = milliseconds(ttl);
    let answer = match status.as_u16() {
        201 => json!({
            "lease_id": String::from_utf8_lossy(body).trim(),
            "fencing_token": header("x-fencing-token").unwrap_or("0"),
            "token_epoch": "", "ttl_ms": ttl_ms, "remaining_ms": ttl_ms, "elapsed_ms": 0,
        }),
        200 => json!({ "ttl_ms": ttl_ms, "remaining_ms": ttl_ms }),
        202 => return Err(refused(409, "lock-held", header("x-lock-holder"))),
        204 => return Err(refused(404, "lease-not-found", None)),
        other => return Err(refused(other, "", None)),
    };
    Ok(answer.to_string().into_bytes())
}

fn refused(status: u16, code: &str, holder: Option<&str>) -> Failure {
    let body = json!({ "code": code, "retryable": false, "holder": holder });
    Failure::Refused(Problem::parse(status, None, body.to_string().as_bytes()))
}

/// Whole seconds, as `10s` or `10`.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.strip_suffix('s').unwrap_or(text);
    digits.parse().ok().map(Duration::from_secs)
}
