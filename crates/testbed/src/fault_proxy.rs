//! A TCP proxy that fails on command.

mod connection;

use std::{net::SocketAddr, sync::Arc, thread};

use anyhow::{Context, Result, anyhow};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::free_port;
use connection::{Fate, Faults, Mode};

/// A loopback port in front of another, for lost answers, silent dependencies and cut connections.
///
/// It begins by passing everything on. Each call returns when the new behaviour is in force, for connections that are
/// already open as well.
pub struct FaultProxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    orders: mpsc::UnboundedSender<Order>,
}

struct Order {
    mode: Mode,
    done: oneshot::Sender<Result<()>>,
}

impl FaultProxy {
    /// Starts one in front of `upstream`, an address (`127.0.0.1:2379`) or a URL without a path (`http://127.0.0.1:2379`).
    ///
    /// # Errors
    /// When `upstream` is no address, or no port is free.
    pub async fn start(upstream: &str) -> Result<Self> {
        let upstream = upstream.trim_start_matches("http://").trim_end_matches('/');
        let upstream: SocketAddr = upstream
            .parse()
            .with_context(|| format!("{upstream} is no address"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let faults = Arc::new(Faults::default());
        let (orders, inbox) = mpsc::unbounded_channel();
        let front = Front {
            address,
            upstream,
            faults: Arc::clone(&faults),
        };
        // A runtime of its own: the proxy then serves every test of a binary, whichever started it.
        thread::spawn(move || front.run(inbox));
        let proxy = Self {
            address,
            faults,
            orders,
        };
        proxy.pass().await?;
        Ok(proxy)
    }

    /// Where clients connect: `127.0.0.1:…`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL: `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Passes everything on. Connections that lost bytes while it was silent are reset.
    ///
    /// # Errors
    /// When the port cannot be listened on again.
    pub async fn pass(&self) -> Result<()> {
        self.behave(Mode::Pass).await
    }

    /// Refuses connections, and cuts those that are open: the server is dead.
    ///
    /// # Errors
    /// When the proxy is gone.
    pub async fn refuse(&self) -> Result<()> {
        self.behave(Mode::Refuse).await
    }

    /// Accepts connections and swallows what comes, both ways: the network is cut. What is swallowed never arrives; for
    /// requests that arrive late, pause the server instead.
    ///
    /// # Errors
    /// When the port cannot be listened on again.
    pub async fn silent(&self) -> Result<()> {
        self.behave(Mode::Silent).await
    }

    /// Accepts connections and resets them, and those that are open.
    ///
    /// # Errors
    /// When the port cannot be listened on again.
    pub async fn reset(&self) -> Result<()> {
        self.behave(Mode::Reset).await
    }

    /// The next request reaches the server; its answer is thrown away and its connection reset.
    pub fn drop_next_answer(&self) {
        self.faults.doom(b"", Fate::AnswerLost);
    }

    /// The same for the next request whose bytes contain `text`, such as a path. HTTP/1 only: later versions compress them.
    pub fn drop_answer_to(&self, text: &str) {
        self.faults.doom(text.as_bytes(), Fate::AnswerLost);
    }

    /// The next request whose bytes contain `text` reaches the server, and its answer never comes: its client waits in an open
    /// connection, as if the world stood still behind that call.
    pub fn hold_answer_to(&self, text: &str) {
        self.faults.doom(text.as_bytes(), Fate::AnswerHeld);
    }

    /// The same for the request itself: it never reaches the server.
    pub fn hold_request(&self, text: &str) {
        self.faults.doom(text.as_bytes(), Fate::RequestHeld);
    }

    /// Returns when so many requests and answers have been held.
    pub async fn held(&self, count: usize) {
        self.faults.held(count).await;
    }

    /// How many answers have been thrown away.
    pub fn answers_dropped(&self) -> usize {
        self.faults.answers_dropped()
    }

    async fn behave(&self, mode: Mode) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.orders
            .send(Order { mode, done })
            .map_err(|_| anyhow!("the proxy is gone"))?;
        answer.await.context("the proxy is gone")?
    }
}

/// The side that clients see.
struct Front {
    address: SocketAddr,
    upstream: SocketAddr,
    faults: Arc<Faults>,
}

impl Front {
    fn run(self, inbox: mpsc::UnboundedReceiver<Order>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve(inbox)),
            Err(error) => eprintln!("testbed: no runtime for a proxy: {error}"),
        }
    }

    /// Until the proxy is dropped.
    async fn serve(self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut listener = None;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                order = inbox.recv() => {
                    let Some(Order { mode, done }) = order else { return };
                    let outcome = self.listen(mode, &mut listener).await;
                    self.faults.behave(mode);
                    if mode.cuts() {
                        while connections.join_next().await.is_some() {}
                    }
                    let _ = done.send(outcome);
                }
                client = accept(listener.as_ref()) => {
                    connections.spawn(connection::carry(client, self.upstream, Arc::clone(&self.faults)));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn listen(&self, mode: Mode, listener: &mut Option<TcpListener>) -> Result<()> {
        if mode == Mode::Refuse {
            *listener = None;
        } else if listener.is_none() {
            let bound = TcpListener::bind(self.address).await;
            *listener = Some(bound.with_context(|| format!("listening on {}", self.address))?);
        }
        Ok(())
    }
}

/// The next client; never one while there is no listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    loop {
        match listener {
            None => std::future::pending().await,
            Some(listener) => {
                if let Ok((client, _)) = listener.accept().await {
                    return client;
                }
            }
        }
    }
}
