//! The audit log: every change of a holder, one JSON object a line, written by one replica each.
//!
//! A line is in the hands of the operating system before the next events are looked at, so a kill
//! loses none that were written. A file that cannot be written to is tried again; what cannot be
//! kept meanwhile is told as `missed`.

mod sink;

use std::{fmt, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service_kit::settings::SettingsError;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::sink::Sink;
use crate::{
    lease::{EventKind, FencingToken, Holder, LockEvent, LockKey, Mode, RequestId},
    locks::Locks,
};

/// Where the audit log goes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum AuditTarget {
    /// The standard output of the process, which carries nothing else.
    Stdout,
    /// A file, which is appended to; SIGHUP opens it anew.
    File(PathBuf),
}

impl fmt::Display for AuditTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl From<String> for AuditTarget {
    fn from(target: String) -> Self {
        match target.as_str() {
            "stdout" => Self::Stdout,
            _ => Self::File(target.into()),
        }
    }
}

/// The task that writes. It ends with [`AuditLog::finish`].
pub struct AuditLog {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl AuditLog {
    /// Writes down `events` from now on. Must be called on a runtime of several threads.
    ///
    /// # Errors
    /// The file cannot be opened, or the signal to open it anew not be listened for.
    pub fn start(
        target: AuditTarget,
        events: Receiver<Arc<LockEvent>>,
        locks: Arc<Locks>,
    ) -> anyhow::Result<Self> {
        let sink = Sink::open(target.clone()).map_err(|err| {
            SettingsError(format!(
                "setting audit_log (SHARED_LOCK_AUDIT_LOG) is `{target}`, which cannot be opened: {err}"
            ))
        })?;
        let hangup = match target {
            AuditTarget::Stdout => None,
            AuditTarget::File(_) => Some(signal(SignalKind::hangup())?),
        };
        let stop = CancellationToken::new();
        let auditor = Auditor {
            events,
            locks,
            sink,
            hangup,
        };
        let task = tokio::spawn(auditor.run(stop.clone()));
        Ok(Self { stop, task })
    }

    /// Writes down what is still on its way, and makes it safe.
    pub async fn finish(self) {
        self.stop.cancel();
        if let Err(err) = self.task.await {
            error!("the audit log ended badly: {err}");
        }
    }
}

struct Auditor {
    events: Receiver<Arc<LockEvent>>,
    locks: Arc<Locks>,
    sink: Sink,
    hangup: Option<Signal>,
}

impl Auditor {
    /// How long after a failed write the next one is tried.
    const AGAIN: Duration = Duration::from_secs(1);

    /// How long no event may come before the last one is taken to have come.
    const QUIET: Duration = Duration::from_millis(200);

    async fn run(mut self, stop: CancellationToken) {
        loop {
            let idle = self.sink.is_empty();
            tokio::select! {
                () = stop.cancelled() => break,
                () = hung_up(&mut self.hangup) => self.sink.reopen(),
                event = self.events.recv(), if idle => {
                    if !self.take(event).await {
                        break;
                    }
                }
                () = sleep(Self::AGAIN), if !idle => {}
            }
            self.flush();
        }
        while let Ok(event) = timeout(Self::QUIET, self.events.recv()).await {
            if !self.take(event).await {
                break;
            }
        }
        self.flush();
        self.sink.end();
    }

    /// Takes an event, and all that came with it; `false` when there will be no other.
    async fn take(&mut self, first: Result<Arc<LockEvent>, RecvError>) -> bool {
        const AT_ONCE: usize = 1024;
        let epoch = self.locks.token_epoch().await.ok();
        let mut next = Some(first);
        for _ in 0..AT_ONCE {
            match next.take() {
                Some(Ok(event)) => self.note(&event, epoch.as_deref()),
                Some(Err(RecvError::Lagged(count))) => self.missed(count),
                Some(Err(RecvError::Closed)) => return false,
                None => return true,
            }
            next = match self.events.try_recv() {
                Ok(event) => Some(Ok(event)),
                Err(TryRecvError::Lagged(count)) => Some(Err(RecvError::Lagged(count))),
                Err(TryRecvError::Empty | TryRecvError::Closed) => None,
            };
        }
        true
    }

    fn note(&mut self, event: &LockEvent, token_epoch: Option<&str>) {
        if !event.is_ours || event.kind == EventKind::Queued {
            return;
        }
        let (limit, weight) = match event.mode {
            Mode::Permit { limit, weight } => (Some(limit), Some(weight)),
            Mode::Exclusive | Mode::Shared => (None, None),
        };
        self.sink.add(&Line {
            at: Timestamp::try_from(event.at).unwrap_or_default(),
            event: event.kind.as_str(),
            key: &event.key,
            holder: event.holder.as_ref(),
            mode: event.mode.as_str(),
            limit,
            weight,
            fencing_token: event.fencing_token,
            token_epoch,
            request_id: event.request_id.as_ref(),
            trace_id: event.trace_id.as_deref(),
            reason: event.reason.as_deref(),
            position: event.position.to_string(),
        });
    }

    fn missed(&mut self, missed: u64) {
        error!(
            "{missed} events came faster than the audit log could be written, and are not in it"
        );
        self.locks.metrics().audited("missed", missed);
        self.sink.add(&MissedLine {
            at: Timestamp::now(),
            event: "missed",
            missed,
        });
    }

    fn flush(&mut self) {
        let lines = self.sink.lines();
        let metrics = self.locks.metrics();
        match tokio::task::block_in_place(|| self.sink.flush()) {
            Ok(()) => metrics.audited("written", lines),
            Err(err) => {
                error!("the audit log cannot be written: {err}");
                metrics.audited("delayed", lines);
            }
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// A change of a holder. What is not known is null.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    event: &'static str,
    key: &'a LockKey,
    holder: Option<&'a Holder>,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<NonZeroU32>,
    fencing_token: Option<FencingToken>,
    token_epoch: Option<&'a str>,
    request_id: Option<&'a RequestId>,
    trace_id: Option<&'a str>,
    reason: Option<&'a str>,
    position: String,
}

#[derive(Serialize)]
struct MissedLine {
    at: Timestamp,
    event: &'static str,
    missed: u64,
}
