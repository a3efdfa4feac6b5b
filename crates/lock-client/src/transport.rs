//! Requests to whichever server answers, and what their failures prove.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select_ok;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::{Moment, sleep_until};
use crate::error::{Error, Problem};
use crate::key::Key;
use crate::lease_wire;
use crate::options::ClientOptions;
use crate::tls::{BearerToken, Http};
use crate::trace::trace_headers;
use crate::wire::KeepAliveBody;

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The servers, any of which may be asked anything.
#[derive(Debug)]
pub(crate) struct Transport {
    http: Http,
    bases: Vec<String>,
    /// The one to ask first: the last that answered.
    preferred: AtomicUsize,
    life: SignsOfLife,
    token: Option<BearerToken>,
    pub(crate) request_timeout: Duration,
}

/// A request, to whichever server.
#[derive(Debug)]
pub(crate) struct Message {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
    /// The TTL of a message of the tentens-tech/shared-lock wire.
    lease_ttl: Option<Duration>,
}

impl Message {
    pub(crate) fn post(path: impl Into<String>, body: &impl Serialize) -> Self {
        // Our own bodies are text, numbers, and maps with text as keys: they have a form in JSON.
        let body = Some(serde_json::to_vec(body).unwrap_or_default());
        let (method, path) = (Method::POST, path.into());
        Self {
            method,
            path,
            body,
            lease_ttl: None,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::bare(Method::GET, path.into())
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::bare(Method::DELETE, path.into())
    }

    /// Renews a lease, if it holds this lock.
    pub(crate) fn keepalive(key: &Key, lease_id: &str) -> Self {
        Self::post(key.path("keepalive"), &KeepAliveBody { lease_id })
    }

    /// A message of the tentens-tech/shared-lock wire, whose leases live for `ttl`.
    pub(crate) fn of_the_lease_wire(path: &str, body: Vec<u8>, ttl: Duration) -> Self {
        Self {
            method: Method::POST,
            path: path.to_owned(),
            body: Some(body),
            lease_ttl: Some(ttl),
        }
    }

    /// The same to another path.
    pub(crate) fn to(self, path: String) -> Self {
        Self { path, ..self }
    }

    fn bare(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            body: None,
            lease_ttl: None,
        }
    }
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
        Ok(Self {
            life: SignsOfLife::new(bases.len()),
            http: Http::new(options)?,
            token: BearerToken::of(options)?,
            bases,
            preferred: AtomicUsize::new(0),
            request_timeout: options.request_timeout,
        })
    }

    pub(crate) fn servers(&self) -> usize {
        self.bases.len()
    }

    /// Asks the servers in turn until one takes the request.
    pub(crate) async fn send<A>(&self, message: &Message, timeout: Duration) -> Result<A, Failure>
    where
        A: DeserializeOwned,
    {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last_failure = None;
        for server in (0..self.bases.len()).map(|step| (first + step) % self.bases.len()) {
            match self.send_to(server, message, timeout).await {
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
            let request = self.http.client().get(format!("{base}/readyz"));
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
    pub(crate) async fn send_until<A>(&self, message: &Message, until: Moment) -> Result<A, Failure>
    where
        A: DeserializeOwned,
    {
        self.send_again(message, until, &mut false).await
    }

    /// The same; `unsure` is set if a try before the answer may have been heard.
    pub(crate) async fn send_again<A>(
        &self,
        message: &Message,
        until: Moment,
        unsure: &mut bool,
    ) -> Result<A, Failure>
    where
        A: DeserializeOwned,
    {
        let mut failures = 0;
        loop {
            let timeout = self.request_timeout.min(until.left());
            let failure = match self.send(message, timeout).await {
                Err(Failure::Refused(problem)) if !problem.retryable => {
                    return Err(Failure::Refused(problem));
                }
                Err(failure) => failure,
                Ok(answer) => return Ok(answer),
            };
            *unsure |= !matches!(failure, Failure::NotSent(_));
            failures += 1;
            let next = Moment::now() + pause(failures);
            if next >= until {
                return Err(failure);
            }
            sleep_until(next).await;
        }
    }

    /// A request that waits for events, at the first server that opens a stream of them.
    pub(crate) async fn open(&self, message: &Message) -> Result<Response, Failure> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last_failure = Failure::Lost(Error::Timeout);
        for server in (0..self.bases.len()).map(|step| (first + step) % self.bases.len()) {
            let opening = self.request(server, message)?.send();
            let answer = tokio::time::timeout(self.request_timeout, opening).await;
            let failure = match answer {
                Ok(Ok(answer)) if answer.status().is_success() => return Ok(answer),
                Ok(Ok(answer)) => refusal(answer).await,
                Ok(Err(error)) => of_transport(error),
                Err(_) => Failure::Lost(Error::Timeout),
            };
            match failure {
                Failure::Refused(problem) if problem.status < 500 => {
                    return Err(Failure::Refused(problem));
                }
                failure => last_failure = failure,
            }
        }
        Err(last_failure)
    }

    fn request(&self, server: usize, message: &Message) -> Result<RequestBuilder, Failure> {
        let url = format!("{}{}", self.bases[server], message.path);
        let request = self.http.client().request(message.method.clone(), url);
        let mut request = request.headers(trace_headers());
        if let Some(token) = &self.token {
            let header = token.header().map_err(Failure::NotSent)?;
            request = request.header(AUTHORIZATION, header);
        }
        if let Some(ttl) = message.lease_ttl {
            request = request.header(lease_wire::TTL, lease_wire::go_duration(ttl));
        }
        Ok(match &message.body {
            Some(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone()),
            None => request,
        })
    }

    async fn send_to<A>(
        &self,
        server: usize,
        message: &Message,
        timeout: Duration,
    ) -> Result<A, Failure>
    where
        A: DeserializeOwned,
    {
        let request = self.request(server, message)?.timeout(timeout);
        let response = tokio::select! {
            answer = request.send() => answer.map_err(of_transport)?,
            () = self.silence(server), if timeout > self.request_timeout => {
                return Err(Failure::Lost(Error::Timeout));
            }
        };
        self.life.seen(server);
        let status = response.status();
        if !status.is_success() {
            return Err(refusal(response).await);
        }
        let headers = response.headers().clone();
        let mut body = response.bytes().await.map_err(of_transport)?;
        if let Some(ttl) = message.lease_ttl {
            body = lease_wire::translated(status, &headers, &body, ttl)?.into();
        }
        serde_json::from_slice(&body).map_err(|error| {
            let mut problem = Problem::parse(status.as_u16(), None, b"");
            problem.detail = format!("an answer that is not understood: {error}");
            Failure::Lost(Error::Server(problem))
        })
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
            match self.http.client().get(livez).timeout(half).send().await {
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
    let expected =
        |error| format!("`{url}` is no `http://host:port` or `https://host:port`: {error}");
    let parsed = Url::parse(url).map_err(expected)?;
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

/// What an answer says that is no success.
async fn refusal(answer: Response) -> Failure {
    let (status, retry_after) = (answer.status().as_u16(), retry_after(&answer));
    let body = match answer.bytes().await {
        Ok(body) => body,
        Err(error) => return of_transport(error),
    };
    let problem = Problem::parse(status, retry_after, &body);
    match problem.status {
        // Our service's own 503 says that nothing is held; anyone else's says nothing.
        503 if !problem.code.is_empty() => Failure::Refused(problem),
        500.. => Failure::Lost(Error::Server(problem)),
        _ => Failure::Refused(problem),
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
