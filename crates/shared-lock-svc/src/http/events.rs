//! What happens to locks, as it happens: [Server-Sent Events](https://html.spec.whatwg.org/multipage/server-sent-events.html).

use std::{convert::Infallible, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, Bytes, Data, ServiceConfig},
};
use futures_util::stream;
use jiff::Timestamp;
use serde::Serialize;
use service_kit::problem::Problem;
use tokio::time::{Instant, timeout_at};

use super::{LOCK, admin::Prefix, bodies::ModeBody, call::Call};
use crate::{
    lease::{FencingToken, Holder, LockEvent, LockKey},
    locks::{Events, Happened, Locks},
};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource(format!("{LOCK}/events")).get(of_a_lock))
        .service(web::resource("/v1/events").get(of_many));
}

/// Which locks a caller hears of.
enum Wanted {
    Lock(LockKey),
    Prefix(String),
}

impl Wanted {
    fn includes(&self, key: &LockKey) -> bool {
        match self {
            Self::Lock(wanted) => wanted == key,
            Self::Prefix(prefix) => key.as_str().starts_with(prefix),
        }
    }
}

async fn of_a_lock(
    request: HttpRequest,
    mut call: Call,
    locks: Data<Locks>,
) -> Result<HttpResponse, Problem> {
    let key = call.key();
    let wanted = call.fields.finish(|| key.map(Wanted::Lock))?;
    open(&request, wanted, locks).await
}

async fn of_many(
    request: HttpRequest,
    call: Call,
    locks: Data<Locks>,
) -> Result<HttpResponse, Problem> {
    let mut fields = call.fields;
    if fields.has("key") && fields.has("prefix") {
        fields.refuse("prefix", "stands instead of `key`, not beside it");
    }
    let key = fields.optional::<LockKey>("key").map(Wanted::Lock);
    let prefix = fields.optional::<Prefix>("prefix");
    let prefix = prefix.map(|Prefix(prefix)| prefix).unwrap_or_default();
    let wanted = fields.finish(|| key.or(Some(Wanted::Prefix(prefix))))?;
    open(&request, wanted, locks).await
}

async fn open(
    request: &HttpRequest,
    wanted: Wanted,
    locks: Data<Locks>,
) -> Result<HttpResponse, Problem> {
    let token_epoch = locks.token_epoch().await?;
    let stream = EventStream {
        events: locks.events()?,
        locks,
        wanted,
        token_epoch,
        greeting: Some(greeting(request)),
        quiet_until: Instant::now() + EventStream::HEARTBEAT,
    };
    let chunks = stream::unfold(stream, |mut stream| async {
        let chunk = stream.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(chunk)), stream))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // Proxies that buffer answers would keep the events to themselves.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(chunks))
}

/// Says that from now on nothing is missed; whoever comes back has missed what was in between.
fn greeting(request: &HttpRequest) -> String {
    let begin = "retry: 1000\n: listening\n\n";
    match request.headers().contains_key("last-event-id") {
        true => format!("{begin}{}", missed(None)),
        false => begin.to_owned(),
    }
}

struct EventStream {
    events: Events,
    locks: Data<Locks>,
    wanted: Wanted,
    token_epoch: String,
    greeting: Option<String>,
    quiet_until: Instant,
}

impl EventStream {
    /// How long a stream says nothing: a caller, and every proxy between, can tell it from a dead one.
    const HEARTBEAT: Duration = Duration::from_secs(15);

    /// The next piece of the stream; nothing when it ends.
    async fn next(&mut self) -> Option<String> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        loop {
            let text = match timeout_at(self.quiet_until, self.events.next()).await {
                Err(_) => ": heartbeat\n\n".to_owned(),
                Ok(None) => return None,
                Ok(Some(Happened::Missed(count))) => missed(Some(count)),
                Ok(Some(Happened::Event(event))) => {
                    if !self.wanted.includes(&event.key) {
                        continue;
                    }
                    self.told(&event)
                }
            };
            if self.is_of_another_epoch().await {
                return None;
            }
            self.quiet_until = Instant::now() + Self::HEARTBEAT;
            return Some(text);
        }
    }

    /// Whether the store was replaced since the stream began: whoever hears of it comes back, and looks
    /// at the locks anew.
    async fn is_of_another_epoch(&self) -> bool {
        let epoch = self.locks.token_epoch().await;
        epoch.is_ok_and(|epoch| epoch != self.token_epoch)
    }

    fn told(&self, event: &LockEvent) -> String {
        let kind = event.kind.as_str();
        let body = EventBody {
            key: &event.key,
            event: kind,
            holder: event.holder.as_ref(),
            mode: event.mode.into(),
            fencing_token: event.fencing_token,
            token_epoch: &self.token_epoch,
            reason: event.reason.as_deref(),
            at: Timestamp::try_from(event.at).unwrap_or_default(),
        };
        let data = serde_json::to_string(&body).unwrap_or_default();
        format!("id: {}\nevent: {kind}\ndata: {data}\n\n", event.position)
    }
}

/// Neither a lease nor a request id: either would let everybody end what it names.
#[derive(Serialize)]
struct EventBody<'a> {
    key: &'a LockKey,
    event: &'static str,
    holder: Option<&'a Holder>,
    #[serde(flatten)]
    mode: ModeBody,
    fencing_token: Option<FencingToken>,
    token_epoch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    at: Timestamp,
}

/// Events were lost on the way to this caller: it looks at the locks anew.
fn missed(count: Option<u64>) -> String {
    let data = serde_json::json!({ "missed": count });
    format!("event: missed\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests;
