//! Asking for a lock until there is an answer that can be relied on.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::{Instrument, warn};
use uuid::Uuid;

use crate::client::{AcquireOptions, Inner};
use crate::clock::{Moment, sleep_until};
use crate::error::{Error, Held};
use crate::guard::LockGuard;
use crate::key::Key;
use crate::transport::{Failure, pause};
use crate::wire::{AcquireBody, AcquiredBody, ReleaseBody, ReleasedBody, milliseconds};

/// Asks under a new request id each time: one id is one tenure at one server, and never moves.
pub(crate) async fn acquire(
    client: &Arc<Inner>,
    key: Key,
    options: &AcquireOptions,
) -> Result<LockGuard, Error> {
    let wait_ends = Moment::now() + options.wait;
    // With a second server there is time to find the first one silent.
    let answers_due =
        wait_ends + client.transport.request_timeout * client.transport.servers().min(2) as u32;
    let mut trouble = Trouble::new(client);
    loop {
        let sent = Moment::now();
        let request = Request::new(client, &key, options);
        let error = match request.run(wait_ends, answers_due).await {
            ControlFlow::Break(outcome) => return outcome,
            ControlFlow::Continue(error) => error,
        };
        match trouble.next_try(sent, &error) {
            Some(next) if next < answers_due => sleep_until(next).await,
            _ => return Err(error),
        }
    }
}

/// Decides how long to go on while nobody can help.
struct Trouble {
    patience: Duration,
    servers: u32,
    failures: u32,
    since: Option<Moment>,
}

impl Trouble {
    fn new(client: &Inner) -> Self {
        Self {
            patience: client.patience,
            servers: client.transport.servers() as u32,
            failures: 0,
            since: None,
        }
    }

    /// When to try again after a request sent at `sent` failed; `None` when patience has run out.
    fn next_try(&mut self, sent: Moment, error: &Error) -> Option<Moment> {
        let now = Moment::now();
        if now.since(sent) > self.patience {
            // It waited in a queue or on a silent server: not the trouble that came before it.
            self.since = None;
            self.failures = 0;
        }
        self.failures += 1;
        let since = *self.since.get_or_insert(now);
        // What one server says of its waiting time does not hold for the next.
        let asked = if self.failures < self.servers {
            Duration::ZERO
        } else {
            error.retry_after().unwrap_or_default()
        };
        let next = now + pause(self.failures).max(asked);
        (next.since(since) <= self.patience).then_some(next)
    }
}

/// A request whose outcome matters to the service until it is known here: dropped before that, it is
/// ended by its id.
struct Request<'a> {
    client: &'a Arc<Inner>,
    key: &'a Key,
    options: &'a AcquireOptions,
    id: String,
    runtime: Handle,
    open: bool,
}

impl<'a> Request<'a> {
    fn new(client: &'a Arc<Inner>, key: &'a Key, options: &'a AcquireOptions) -> Self {
        let id = Uuid::new_v4().to_string();
        Self {
            client,
            key,
            options,
            id,
            runtime: Handle::current(),
            open: true,
        }
    }

    /// Asks once: the outcome, or an error after which nothing is held and another request may do better.
    async fn run(
        mut self,
        wait_ends: Moment,
        answers_due: Moment,
    ) -> ControlFlow<Result<LockGuard, Error>, Error> {
        let sent = Moment::now();
        let failure = match self.send(wait_ends, answers_due).await {
            Ok(granted) => return ControlFlow::Break(self.becomes_guard(sent, granted)),
            Err(failure) => failure,
        };
        let known = match &failure {
            Failure::NotSent(_) => true,
            Failure::Lost(_) => false,
            // Somebody repeated our request: what became of the first one is as good as lost.
            Failure::Refused(problem) => {
                !matches!(problem.code.as_str(), "request-known" | "request-ended")
            }
        };
        if known {
            self.open = false;
        } else if !self.end(answers_due).await {
            return ControlFlow::Break(Err(failure.into_error()));
        }
        match failure {
            Failure::Refused(problem) if problem.code == "lock-held" => {
                let held = Held::of(self.key.as_str(), &problem);
                ControlFlow::Break(Err(Error::Held(held)))
            }
            Failure::Refused(problem) if known && !problem.retryable => {
                ControlFlow::Break(Err(Error::Server(problem)))
            }
            failure => ControlFlow::Continue(failure.into_error()),
        }
    }

    async fn send(&self, wait_ends: Moment, answers_due: Moment) -> Result<AcquiredBody, Failure> {
        let transport = &self.client.transport;
        let body = AcquireBody {
            holder: &self.client.holder,
            ttl_ms: milliseconds(self.options.ttl),
            wait_ms: milliseconds(wait_ends.left()),
            request_id: &self.id,
            metadata: &self.options.metadata,
        };
        let timeout = (wait_ends.left() + transport.request_timeout).min(answers_due.left());
        transport
            .post(&self.key.path("acquire"), &body, timeout)
            .await
    }

    /// What the server holds is the guard's from here on. If the answer was so long under way that the
    /// lease may be over, the guard gives it back.
    fn becomes_guard(mut self, sent: Moment, granted: AcquiredBody) -> Result<LockGuard, Error> {
        self.open = false;
        let guard = LockGuard::new(self.client, self.key, sent, granted);
        match guard.is_valid() {
            true => Ok(guard),
            false => Err(Error::Lost {
                key: guard.key().to_owned(),
            }),
        }
    }

    /// Ends the request at any server. If none answers while patience lasts, it is `false`, and the
    /// drop goes on with it.
    async fn end(&mut self, until: Moment) -> bool {
        let until = until.min(Moment::now() + self.client.patience);
        self.open = !end(self.client, self.key, &self.id, until).await;
        !self.open
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (client, key, id) = (
            Arc::clone(self.client),
            self.key.clone(),
            std::mem::take(&mut self.id),
        );
        // After that its queue entry is gone, and its lease with it.
        let until =
            Moment::now() + self.options.ttl + self.options.wait + client.transport.request_timeout;
        let ending = async move {
            if !end(&client, &key, &id, until).await {
                warn!(
                    "an acquire whose outcome is unknown could not be ended; its lease runs out by itself"
                );
            }
        };
        self.runtime.spawn(ending.in_current_span());
    }
}

/// Ends a request by its id; `true` once a server has said so.
async fn end(client: &Inner, key: &Key, id: &str, until: Moment) -> bool {
    let body = ReleaseBody::Request { request_id: id };
    let answer = client
        .transport
        .post_until::<ReleasedBody>(&key.path("release"), &body, until)
        .await;
    answer.is_ok()
}
