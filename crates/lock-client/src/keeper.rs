//! The one task that renews all leases of a client, and sends what was given up in the background.
//!
//! It has a thread of its own, and connections of its own: neither a busy nor an ended runtime of the
//! program stops it while a guard lives.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::thread;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use opentelemetry::context::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

use crate::renewal::Tending;
use crate::transport::Transport;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where leases to renew and other background work are handed in.
#[derive(Debug)]
pub(crate) struct Keeper {
    jobs: mpsc::UnboundedSender<Job>,
    tending: Arc<Tending>,
    transport: Arc<Transport>,
    /// Never told anything; its sender goes with the thread.
    ended: oneshot::Receiver<()>,
}

impl Keeper {
    /// Starts the thread. It ends when the keeper is dropped and its work is done.
    pub(crate) fn start(transport: Transport) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let (tending, transport) = (Arc::new(Tending::default()), Arc::new(transport));
        let work = work(inbox, Arc::clone(&tending), Arc::clone(&transport));
        thread::Builder::new()
            .name("lock-keepalive".to_owned())
            .spawn(move || {
                runtime.block_on(work);
                drop(end);
            })?;
        Ok(Self {
            jobs,
            tending,
            transport,
            ended,
        })
    }

    /// Takes nothing more, and waits until all is done.
    pub(crate) async fn finish(self) {
        drop(self.jobs);
        let _ = self.ended.await;
    }

    /// The leases that it renews.
    pub(crate) fn tending(&self) -> Arc<Tending> {
        Arc::clone(&self.tending)
    }

    /// The servers, over connections that live on the keeper's thread.
    pub(crate) fn transport(&self) -> Arc<Transport> {
        Arc::clone(&self.transport)
    }

    /// Does `job` beside all others, in the caller's span and trace.
    pub(crate) fn run(&self, job: impl Future<Output = ()> + Send + 'static) {
        let job = job.in_current_span().with_current_context();
        let job = job.with_current_subscriber();
        // The thread ends only after this sender is gone.
        let _ = self.jobs.send(Box::pin(job));
    }
}

/// Until nothing is handed in any more, and then until all is done. No lease is left by then: what has one
/// keeps the inbox open.
async fn work(
    mut inbox: mpsc::UnboundedReceiver<Job>,
    tending: Arc<Tending>,
    transport: Arc<Transport>,
) {
    let mut jobs = FuturesUnordered::new();
    let mut renewing = pin!(tending.go_on(&transport));
    loop {
        tokio::select! {
            job = inbox.recv() => match job {
                Some(job) => jobs.push(job),
                None => break,
            },
            Some(()) = jobs.next() => (),
            () = &mut renewing => (),
        }
    }
    while jobs.next().await.is_some() {}
}
