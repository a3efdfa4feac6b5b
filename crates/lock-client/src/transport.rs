//! Requests to whichever server answers, and what their failures prove.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select_ok;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::ClientOptions;
use crate::clock::{Moment, sleep_until};
use crate::error::{Error, Problem};
use crate::trace::trace_headers;

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The servers, any of which may be asked anything.
#[derive(Debug)]
pub(crate) struct Transport {
    http: Client,
    bases: Vec<String>,
    /// The one to ask first: the last that answered.
    preferred: AtomicUsize,
    life: SignsOfLife,
    pub(crate) request_timeout: Duration,
}

/// Why a request has no good answer, by what that proves.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No server took the request: it was not done.
    NotSent(Error),
    /// A server took it, and what became of it is unknown.
    Lost(Error),
    /// A server answered that it was not done.
    Refused(Problem),
}

impl Failure {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::NotSent(error) | Self::Lost(error) => error,
            Self::Refused(problem) => Error::Server(problem),
        }
    }
}

impl Transport {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        let invalid = |reason: String| Error::InvalidOption {
            option: "base_urls",
            reason,
        };
        let bases = options
            .base_urls
            .iter()
            .map(|url| base(url))
            .collect::<Result<Vec<_>, _>>()
            .map_err(invalid)?;
        if bases.is_empty() {
            return Err(invalid("at least one is needed".to_owned()));
        }
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_timeout);
        if bases.iter().all(|base| base.starts_with("http://")) {
            // Else the system's certificates are looked for, and a machine without any is refused.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            life: SignsOfLife::new(bases.len()),
            http,
            bases,
            preferred: AtomicUsize::new(0),
            request_timeout: options.request_timeout,
        })
    }

    pub(crate) fn servers(&self) -> usize {
        self.bases.len()
    }

    /// Asks the servers in turn until one takes the request.
    pub(crate) async fn post<A>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<A, Failure>
    where
        A: DeserializeOwned,
    {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last_failure = None;
        for server in (0..self.bases.len()).map(|step| (first + step) % self.bases.len()) {
            match self.post_to(server, path, body, timeout).await {
                Ok(answer) => {
                    self.preferred.store(server, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failure @ Failure::NotSent(_)) => last_failure = Some(failure),
                Err(failure) => {
                    self.turn_from(server, &failure);
                    return Err(failure);
                }
            }
        }
        Err(last_failure.unwrap_or(Failure::Lost(Error::Timeout)))
    }

    /// Whether any server says that it is ready.
    pub(crate) async fn ready(&self) -> Result<(), Error> {
        let ask = |base: &String| {
            let request = self.http.get(format!("{base}/readyz"));
            Box::pin(async move {
                let answer = request.timeout(2 * self.request_timeout).send().await;
                let answer = answer.map_err(|error| of_transport(error).into_error())?;
                let (status, retry_after) = (answer.status(), retry_after(&answer));
                if status.is_success() {
                    return Ok(());
                }
                let body = answer.bytes().await.unwrap_or_default();
                let problem = Problem::parse(status.as_u16(), retry_after, &body);
                Err(Error::Server(problem))
            })
        };
        select_ok(self.bases.iter().map(ask)).await.map(|_| ())
    }

    /// Repeats a request that is safe to repeat until a server has a definite answer to it.
    pub(crate) async fn post_until<A>(
        &self,
        path: &str,
        body: &impl Serialize,
        until: Moment,
    ) -> Result<A, Failure>
    where
        A: DeserializeOwned,
    {
        let mut failures = 0;
        loop {
            let failure = match self
                .post(path, body, self.request_timeout.min(until.left()))
                .await
            {
                Err(Failure::Refused(problem)) if !problem.retryable => {
                    return Err(Failure::Refused(problem));
                }
                Err(failure) => failure,
                Ok(answer) => return Ok(answer),
            };
            failures += 1;
            let next = Moment::now() + pause(failures);
            if next >= until {
                return Err(failure);
            }
            sleep_until(next).await;
        }
    }

    async fn post_to<A>(
        &self,
        server: usize,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<A, Failure>
    where
        A: DeserializeOwned,
    {
        let url = format!("{}{path}", self.bases[server]);
        let request = self
            .http
            .post(url)
            .headers(trace_headers())
            .json(body)
            .timeout(timeout);
        let response = tokio::select! {
            answer = request.send() => answer.map_err(of_transport)?,
            () = self.silence(server), if timeout > self.request_timeout => {
                return Err(Failure::Lost(Error::Timeout));
            }
        };
        self.life.seen(server);
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = response.bytes().await.map_err(of_transport)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                let mut problem = Problem::parse(status.as_u16(), None, b"");
                problem.detail = format!("an answer that is not understood: {error}");
                Failure::Lost(Error::Server(problem))
            });
        }
        let problem = Problem::parse(status.as_u16(), retry_after, &body);
        match problem.status {
            // Our service's own 503 says that nothing is held; anyone else's says nothing.
            503 if !problem.code.is_empty() => Err(Failure::Refused(problem)),
            500.. => Err(Failure::Lost(Error::Server(problem))),
            _ => Err(Failure::Refused(problem)),
        }
    }

    /// Resolves when a server, asked for a sign of life while a request waits there for a lock, gives
    /// none: a server with a queue does not answer for a while, and nor does a dead one.
    async fn silence(&self, server: usize) {
        let half = self.request_timeout / 2;
        loop {
            tokio::time::sleep(half.mul_f64(rand::random_range(0.9..1.0))).await;
            // One of many waiters asks for all.
            if self.life.seen_within(server, half) {
                continue;
            }
            let livez = format!("{}/livez", self.bases[server]);
            match self.http.get(livez).timeout(half).send().await {
                Ok(_) => self.life.seen(server),
                Err(_) => return,
            }
        }
    }

    /// Asks another server first the next time, if this one is silent or in trouble.
    fn turn_from(&self, server: usize, failure: &Failure) {
        let in_trouble = match failure {
            Failure::NotSent(_) | Failure::Lost(_) => true,
            Failure::Refused(problem) => problem.status >= 500,
        };
        let next = if in_trouble {
            (server + 1) % self.bases.len()
        } else {
            server
        };
        self.preferred.store(next, Ordering::Relaxed);
    }
}

/// When each server last answered anything.
#[derive(Debug)]
struct SignsOfLife(Mutex<Vec<Option<Moment>>>);

impl SignsOfLife {
    fn new(servers: usize) -> Self {
        Self(Mutex::new(vec![None; servers]))
    }

    fn seen(&self, server: usize) {
        self.times()[server] = Some(Moment::now());
    }

    fn seen_within(&self, server: usize, time: Duration) -> bool {
        self.times()[server].is_some_and(|seen| Moment::now().since(seen) < time)
    }

    fn times(&self) -> MutexGuard<'_, Vec<Option<Moment>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait after so many failures in a row: longer each time, and never in step with others.
pub(crate) fn pause(failures: u32) -> Duration {
    let pause = Duration::from_millis(25) * 2u32.saturating_pow(failures.min(10));
    pause
        .min(LONGEST_PAUSE)
        .mul_f64(rand::random_range(0.5..1.0))
}

fn base(url: &str) -> Result<String, String> {
    let parsed = Url::parse(url).map_err(|error| format!("`{url}`: {error}"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("`{url}` is neither http:// nor https://"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(format!("`{url}` has a query or a fragment"));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// Only a connection that never opened proves that nothing was sent. The URL names the lock, which is
/// no business of a log.
fn of_transport(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    match (error.is_connect() || error.is_builder(), error.is_timeout()) {
        (true, _) => Failure::NotSent(Error::Transport(error)),
        (false, true) => Failure::Lost(Error::Timeout),
        (false, false) => Failure::Lost(Error::Transport(error)),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}
