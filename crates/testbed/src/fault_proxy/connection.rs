//! One client's connection through the proxy.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

/// What the proxy does with connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Mode {
    #[default]
    Pass,
    Refuse,
    Silent,
    Reset,
}

impl Mode {
    /// Whether open connections end.
    pub(super) fn cuts(self) -> bool {
        matches!(self, Self::Refuse | Self::Reset)
    }
}

/// What all connections of a proxy look at.
#[derive(Default)]
pub(super) struct Faults {
    mode: watch::Sender<Mode>,
    /// The bytes of the request that is to fail, empty for any, and how.
    doomed: Mutex<Option<(Vec<u8>, Fate)>>,
    dropped: AtomicUsize,
    held: watch::Sender<usize>,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It arrives; its answer is thrown away, and its connection reset.
    AnswerLost,
    /// It arrives; its answer never does, and its connection stays open.
    AnswerHeld,
    /// It never arrives, and its connection stays open.
    RequestHeld,
}

impl Faults {
    pub(super) fn behave(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub(super) fn doom(&self, request: &[u8], fate: Fate) {
        let doomed = Some((request.to_owned(), fate));
        *self.doomed.lock().unwrap_or_else(PoisonError::into_inner) = doomed;
    }

    /// Returns when so many requests or answers have been held.
    pub(super) async fn held(&self, count: usize) {
        let _ = self.held.subscribe().wait_for(|held| *held >= count).await;
    }

    pub(super) fn answers_dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// What becomes of the request that `bytes` are, if it is the one that was waited for; it is only once.
    fn fate_of(&self, bytes: &[u8]) -> Option<Fate> {
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, fate) = doomed.as_ref()?;
        let hit = text.is_empty() || bytes.windows(text.len()).any(|window| window == text);
        let fate = hit.then_some(*fate);
        if hit {
            *doomed = None;
        }
        fate
    }

    fn hold_one_more(&self) {
        self.held.send_modify(|held| *held += 1);
    }
}

/// Carries bytes both ways until an end closes or the mode cuts.
pub(super) async fn carry(mut client: TcpStream, upstream: SocketAddr, faults: Arc<Faults>) {
    let mut mode = faults.mode.subscribe();
    let end = tokio::select! {
        end = through(&mut client, upstream, &faults) => end,
        _ = mode.wait_for(|mode| mode.cuts()) => End::Reset,
    };
    if end == End::Reset {
        // No lingering: the peer gets RST where an orderly close would send FIN.
        let _ = client.set_zero_linger();
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn through(client: &mut TcpStream, upstream: SocketAddr, faults: &Faults) -> End {
    let mut mode = faults.mode.subscribe();
    if *mode.borrow_and_update() == Mode::Silent {
        tokio::select! {
            () = swallow(client) => until_heard(&mut faults.mode.subscribe()).await,
            () = until_heard(&mut mode) => (),
        }
        return End::Reset;
    }
    match TcpStream::connect(upstream).await {
        Ok(server) => copy(client, server, faults, mode)
            .await
            .unwrap_or(End::Reset),
        Err(_) => End::Reset,
    }
}

/// Until the network is no longer cut.
async fn until_heard(mode: &mut watch::Receiver<Mode>) {
    let _ = mode.wait_for(|mode| *mode != Mode::Silent).await;
}

async fn swallow(mut client: impl AsyncRead + Unpin) {
    let mut bytes = [0; 4096];
    while client.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

async fn copy(
    client: &mut TcpStream,
    mut server: TcpStream,
    faults: &Faults,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<End> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let (mut asking, mut fate, mut lost_bytes) = (true, None, false);
    loop {
        tokio::select! {
            _ = mode.changed() => {
                if lost_bytes && *mode.borrow_and_update() == Mode::Pass {
                    return Ok(End::Reset);
                }
            }
            read = from_client.read(&mut request), if asking => {
                let bytes = &request[..read?];
                if *mode.borrow() == Mode::Silent {
                    lost_bytes = true;
                    asking = !bytes.is_empty();
                } else if bytes.is_empty() {
                    // The client may still wait for its answer.
                    asking = false;
                    to_server.shutdown().await?;
                } else {
                    fate = fate.or_else(|| faults.fate_of(bytes));
                    if fate == Some(Fate::RequestHeld) {
                        faults.hold_one_more();
                        swallow(from_client).await;
                        return Ok(End::Reset);
                    }
                    to_server.write_all(bytes).await?;
                }
            }
            read = from_server.read(&mut answer) => {
                let bytes = &answer[..read?];
                if *mode.borrow() == Mode::Silent {
                    lost_bytes = true;
                    if bytes.is_empty() {
                        until_heard(&mut mode).await;
                        return Ok(End::Reset);
                    }
                } else if bytes.is_empty() {
                    return Ok(End::Closed);
                } else if fate == Some(Fate::AnswerLost) {
                    faults.dropped.fetch_add(1, Ordering::SeqCst);
                    return Ok(End::Reset);
                } else if fate == Some(Fate::AnswerHeld) {
                    faults.hold_one_more();
                    swallow(from_client).await;
                    return Ok(End::Reset);
                } else {
                    to_client.write_all(bytes).await?;
                }
            }
        }
    }
}
