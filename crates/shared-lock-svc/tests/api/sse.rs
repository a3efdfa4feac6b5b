//! A reader of Server-Sent Events.

use std::time::Duration;

use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;

use crate::app::TestApp;

/// A stream of events, from the moment that nothing is missed any more.
pub(crate) struct Events {
    response: Response,
    unread: String,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<u64>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Events {
    pub(crate) async fn open(app: &TestApp, path: &str) -> Self {
        Self::of(app.get(path).await).await
    }

    /// Reads the greeting of a stream.
    pub(crate) async fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        let mut events = Self {
            response,
            unread: String::new(),
        };
        let greeting = events.block().await.unwrap();
        assert_eq!(greeting, "retry: 1000\n: listening");
        events
    }

    /// The next event; nothing when the stream has ended as it should.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let block = self.block().await?;
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        Some(Event {
            id: field("id: ").map(|id| id.parse().unwrap()),
            name: field("event: ").unwrap().to_owned(),
            data: serde_json::from_str(field("data: ").unwrap()).unwrap(),
        })
    }

    /// The next event, as its name and who it is about.
    pub(crate) async fn told(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let holder = event.data["holder"].as_str().unwrap_or_default();
        (event.name, holder.to_owned())
    }

    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let block = block.to_owned();
                self.unread = rest.to_owned();
                return Some(block);
            }
            let chunk = timeout(Duration::from_secs(10), self.response.chunk());
            let chunk = chunk.await.expect("something comes").unwrap()?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
