//! Asking for a lock until there is an answer that can be relied on.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tracing::warn;
use uuid::Uuid;

use crate::client::Inner;
use crate::clock::{Moment, sleep_until};
use crate::error::{Error, Held};
use crate::guard::LockGuard;
use crate::key::Key;
use crate::options::{AcquireOptions, Mode};
use crate::transport::{Failure, Message, Transport, pause};
use crate::wire::{
    AcquireAllBody, AcquireBody, AcquiredBody, AllAcquiredBody, AnchorBody, ModeBody, ReleaseBody,
    ReleasedBody, WantedBody, milliseconds,
};

/// What is asked for.
pub(crate) trait Ask {
    type Granted: DeserializeOwned;

    fn options(&self) -> &AcquireOptions;

    fn keys(&self) -> Vec<Key>;

    /// The request under an id of its own, which waits for at most `wait`.
    fn message(&self, holder: &str, request_id: &str, wait: Duration) -> Message;
}

/// What the tenure shall hang on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor<'a> {
    /// A lease of its own.
    Own,
    Session(&'a str),
}

impl<'a> Anchor<'a> {
    fn body(self, options: &AcquireOptions) -> AnchorBody<'a> {
        match self {
            Self::Own => AnchorBody::Own {
                ttl_ms: milliseconds(options.ttl),
            },
            Self::Session(session_id) => AnchorBody::Session { session_id },
        }
    }
}

/// One lock.
pub(crate) struct One<'a> {
    pub(crate) key: &'a Key,
    pub(crate) options: &'a AcquireOptions,
    pub(crate) anchor: Anchor<'a>,
}

impl Ask for One<'_> {
    type Granted = AcquiredBody;

    fn options(&self) -> &AcquireOptions {
        self.options
    }

    fn keys(&self) -> Vec<Key> {
        vec![self.key.clone()]
    }

    fn message(&self, holder: &str, request_id: &str, wait: Duration) -> Message {
        let body = AcquireBody {
            holder,
            anchor: self.anchor.body(self.options),
            mode: ModeBody::wanted(self.options.mode),
            lock_delay_ms: milliseconds(self.options.lock_delay),
            wait_ms: milliseconds(wait),
            request_id,
            metadata: &self.options.metadata,
        };
        Message::post(self.key.path("acquire"), &body)
    }
}

/// Several locks or none.
struct All<'a> {
    locks: &'a [(Key, Mode)],
    options: &'a AcquireOptions,
    anchor: Anchor<'a>,
}

impl Ask for All<'_> {
    type Granted = AllAcquiredBody;

    fn options(&self) -> &AcquireOptions {
        self.options
    }

    fn keys(&self) -> Vec<Key> {
        self.locks.iter().map(|(key, _)| key.clone()).collect()
    }

    fn message(&self, holder: &str, request_id: &str, wait: Duration) -> Message {
        let one = |(key, mode): &'_ (Key, Mode)| WantedBody {
            key: key.as_str().to_owned(),
            mode: ModeBody::wanted(*mode),
        };
        let body = AcquireAllBody {
            holder,
            anchor: self.anchor.body(self.options),
            locks: self.locks.iter().map(one).collect(),
            wait_ms: milliseconds(wait),
            request_id,
            metadata: &self.options.metadata,
        };
        Message::post("/v1/locks:acquire-all", &body)
    }
}

/// Asks for several locks or none: when, for which, and the grant.
pub(crate) async fn acquire_all(
    client: &Arc<Inner>,
    locks: &[(&str, Mode)],
    options: &AcquireOptions,
    anchor: Anchor<'_>,
) -> Result<(Moment, Vec<(Key, Mode)>, AllAcquiredBody), Error> {
    let locks = several(locks)?;
    let ask = All {
        locks: &locks,
        options,
        anchor,
    };
    let (sent, granted) = acquire(client, &ask).await?;
    Ok((sent, locks, granted))
}

/// The keys of several locks, each checked.
fn several(locks: &[(&str, Mode)]) -> Result<Vec<(Key, Mode)>, Error> {
    let one = |(key, mode): &(&str, Mode)| Ok((Key::parse(key)?, *mode));
    locks.iter().map(one).collect()
}

/// A guard, unless the answer was so long under way that its lease may be over: then it gives it back.
pub(crate) fn alive(guard: LockGuard) -> Result<LockGuard, Error> {
    match guard.is_valid() {
        true => Ok(guard),
        false => Err(Error::Lost {
            key: guard.key().to_owned(),
        }),
    }
}

/// Asks under a new request id each time: one id is one tenure at one server, and never moves. The
/// grant, and when it was asked for; whoever gets it owns what is held.
pub(crate) async fn acquire<A: Ask>(
    client: &Arc<Inner>,
    ask: &A,
) -> Result<(Moment, A::Granted), Error> {
    runtime()?;
    let wait_ends = Moment::now() + ask.options().wait;
    // With a second server there is time to find the first one silent.
    let answers_due =
        wait_ends + client.transport.request_timeout * client.transport.servers().min(2) as u32;
    let mut trouble = Trouble::new(client);
    loop {
        let sent = Moment::now();
        let request = Request::new(client, ask);
        let error = match request.run(wait_ends, answers_due).await {
            ControlFlow::Break(outcome) => return outcome.map(|granted| (sent, granted)),
            ControlFlow::Continue(error) => error,
        };
        match trouble.next_try(sent, &error) {
            Some(next) if next < answers_due => sleep_until(next).await,
            _ => return Err(error),
        }
    }
}

/// Outside of a runtime its timers and sockets would panic.
pub(crate) fn runtime() -> Result<(), Error> {
    let current = Handle::try_current();
    current.map(|_| ()).map_err(|_| Error::NoRuntime)
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
struct Request<'a, A: Ask> {
    client: &'a Arc<Inner>,
    ask: &'a A,
    id: String,
    open: bool,
}

impl<'a, A: Ask> Request<'a, A> {
    fn new(client: &'a Arc<Inner>, ask: &'a A) -> Self {
        let id = Uuid::new_v4().to_string();
        Self {
            client,
            ask,
            id,
            open: true,
        }
    }

    /// Asks once: the outcome, or an error after which nothing is held and another request may do better.
    async fn run(
        mut self,
        wait_ends: Moment,
        answers_due: Moment,
    ) -> ControlFlow<Result<A::Granted, Error>, Error> {
        let failure = match self.send(wait_ends, answers_due).await {
            Ok(granted) => {
                self.open = false;
                return ControlFlow::Break(Ok(granted));
            }
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
                let held = Held::of(&self.ask.keys(), &problem);
                ControlFlow::Break(Err(Error::Held(held)))
            }
            Failure::Refused(problem) if known && !problem.retryable => {
                ControlFlow::Break(Err(Error::Server(problem)))
            }
            failure => ControlFlow::Continue(failure.into_error()),
        }
    }

    async fn send(&self, wait_ends: Moment, answers_due: Moment) -> Result<A::Granted, Failure> {
        let (client, transport) = (self.client, &self.client.transport);
        let message = self.ask.message(&client.holder, &self.id, wait_ends.left());
        let timeout = (wait_ends.left() + transport.request_timeout).min(answers_due.left());
        transport.send(&message, timeout).await
    }

    /// Ends the request at any server. If none answers while patience lasts, it is `false`, and the
    /// drop goes on with it.
    async fn end(&mut self, until: Moment) -> bool {
        let until = until.min(Moment::now() + self.client.patience);
        let keys = self.ask.keys();
        self.open = !end(&self.client.transport, &keys, &self.id, until).await;
        !self.open
    }
}

impl<A: Ask> Drop for Request<'_, A> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (keeper, options) = (&self.client.keeper, self.ask.options());
        let (transport, keys) = (keeper.transport(), self.ask.keys());
        let id = std::mem::take(&mut self.id);
        // After that its queue entry is gone, and its lease with it.
        let until = Moment::now() + options.ttl + options.wait + transport.request_timeout;
        keeper.run(async move {
            if !end(&transport, &keys, &id, until).await {
                warn!(
                    "an acquire whose outcome is unknown could not be ended; its lease runs out by itself"
                );
            }
        });
    }
}

/// Ends a request by its id; `true` once a server has said so of each lock.
async fn end(transport: &Transport, keys: &[Key], id: &str, until: Moment) -> bool {
    let body = ReleaseBody::Request { request_id: id };
    for key in keys {
        let message = Message::post(key.path("release"), &body);
        let answer = transport.send_until::<ReleasedBody>(&message, until).await;
        if answer.is_err() {
            return false;
        }
    }
    true
}
