//! What the lock protects: it sees who enters and leaves, and refuses whoever comes with an old token.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use testbed::eventually;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::Instant,
};

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    /// Critical sections entered.
    pub(crate) accepted: usize,
    /// Writes of holders of the past that were turned away.
    pub(crate) refused: usize,
    /// Sections that came with a token that another one had.
    pub(crate) twins: usize,
    /// Sections that began while another one went on.
    pub(crate) overlaps: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            refused,
            twins,
            overlaps,
        } = self;
        write!(
            f,
            "{accepted} sections, {refused} writes of holders of the past refused, {twins} tokens given twice, \
             {overlaps} overlaps"
        )
    }
}

#[derive(Default)]
struct State {
    count: Count,
    newest: u64,
    inside: Option<u32>,
}

pub(crate) struct Resource(Mutex<State>);

impl Resource {
    pub(crate) async fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let resource = Arc::new(Self(Mutex::default()));
        let serving = Arc::clone(&resource);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        (resource, address)
    }

    pub(crate) fn count(&self) -> Count {
        self.0.lock().unwrap().count
    }

    /// The process that is in its critical section.
    pub(crate) fn inside(&self) -> Option<u32> {
        self.0.lock().unwrap().inside
    }

    /// Waits until somebody enters, and tells how long that took.
    pub(crate) async fn progress(&self, within: Duration) -> Duration {
        let (before, asked) = (self.count().accepted, Instant::now());
        let entered = eventually("the next critical section", within, async || {
            anyhow::ensure!(self.count().accepted > before, "{}", self.count());
            Ok(())
        });
        entered.await.unwrap();
        asked.elapsed()
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let (mut line, mut whose) = (String::new(), None);
        while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
            let mut words = line.split_whitespace();
            let verb = words.next().unwrap();
            let pid: u32 = words.next().unwrap().parse().unwrap();
            let token: u64 = words.next().unwrap().parse().unwrap();
            whose = Some(pid);
            match verb {
                "enter" => self.enter(pid, token),
                _ => self.leave(pid, token),
            }
            let _ = stream.get_mut().write_all(b"seen\n").await;
            line.clear();
        }
        // Whoever is killed is out.
        let mut state = self.0.lock().unwrap();
        state.inside = state.inside.filter(|inside| Some(*inside) != whose);
    }

    /// A token of zero is none.
    fn enter(&self, pid: u32, token: u64) {
        let mut state = self.0.lock().unwrap();
        if token > 0 && token < state.newest {
            state.count.refused += 1;
            return;
        }
        state.count.twins += usize::from(token > 0 && token == state.newest);
        state.count.overlaps += usize::from(state.inside.is_some());
        state.newest = token;
        state.inside = Some(pid);
        state.count.accepted += 1;
    }

    fn leave(&self, pid: u32, token: u64) {
        let mut state = self.0.lock().unwrap();
        state.count.refused += usize::from(token < state.newest);
        state.inside = state.inside.filter(|inside| *inside != pid);
    }
}
