//! What happens to locks, as it happens: the service's [Server-Sent
//! Events](https://html.spec.whatwg.org/multipage/server-sent-events.html).

use std::time::Duration;

use reqwest::Response;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Problem};

/// What happened to a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockEvent {
    /// The lock.
    pub key: String,
    /// `acquired`, `released`, `expired`, `lost` or `queued`; a newer service may know more.
    pub event: String,
    /// Whose doing, or whose loss, where that is known.
    pub holder: Option<String>,
    /// `exclusive`, `shared` or `permit`.
    pub mode: String,
    /// The token of the tenure, as a decimal string; none of somebody who waits.
    pub fencing_token: Option<String>,
    /// Tokens compare only within one epoch.
    pub token_epoch: String,
    /// Why it was taken by force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, as in [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339).
    pub at: String,
}

/// What a stream of events tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// Something happened.
    Event(LockEvent),
    /// So many events were lost to this reader because it was too slow: it looks at the locks anew.
    Missed(Option<u64>),
}

/// Events, from the moment at which the stream was opened.
#[derive(Debug)]
pub struct EventStream {
    answer: Response,
    unread: Vec<u8>,
}

impl EventStream {
    /// A service that lives says something at least every 15 s.
    const LONGEST_SILENCE: Duration = Duration::from_secs(40);
    /// Bytes; more than any event has. What goes on for longer is something else.
    const LONGEST_EVENT: usize = 64 * 1024;

    pub(crate) fn new(answer: Response) -> Self {
        let unread = Vec::new();
        Self { answer, unread }
    }

    /// The next one; `None` when the server closed the stream: open another, and look at the locks anew.
    ///
    /// # Errors
    /// The connection broke, the server is silent, or what it sends are no events.
    pub async fn next(&mut self) -> Result<Option<Happened>, Error> {
        loop {
            while let Some(block) = self.block() {
                if let Some(happened) = happened(&block) {
                    return Ok(Some(happened));
                }
            }
            if self.unread.len() > Self::LONGEST_EVENT {
                let mut problem = Problem::parse(self.answer.status().as_u16(), None, b"");
                problem.detail = "what it sends are no events".to_owned();
                return Err(Error::Server(problem));
            }
            let more = tokio::time::timeout(Self::LONGEST_SILENCE, self.answer.chunk()).await;
            let more = more.map_err(|_| Error::Timeout)?;
            match more.map_err(|error| Error::Transport(error.without_url()))? {
                Some(bytes) => self.unread.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// The lines up to the next empty one.
    fn block(&mut self) -> Option<String> {
        const END: &[u8] = b"\n\n";
        let end = self.unread.windows(END.len()).position(|two| two == END)?;
        let rest = self.unread.split_off(end + END.len());
        let block = std::mem::replace(&mut self.unread, rest);
        Some(String::from_utf8_lossy(&block).into_owned())
    }
}

/// What a block of lines tells; comments and what nobody here knows tell nothing.
fn happened(block: &str) -> Option<Happened> {
    #[derive(Deserialize)]
    struct Missed {
        missed: Option<u64>,
    }
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches(' ')))
    };
    let data = field("data:")?;
    match field("event:")? {
        "missed" => {
            let missed: Missed = serde_json::from_str(data).ok()?;
            Some(Happened::Missed(missed.missed))
        }
        _ => serde_json::from_str(data).ok().map(Happened::Event),
    }
}
