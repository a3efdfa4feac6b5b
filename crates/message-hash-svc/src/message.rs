//! What is kept and given back: values, no I/O.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::digest::Digest;

/// What the JSON answer of the message challenge begins and ends with.
const JSON_START: &[u8] = br#"{"message": ""#;
const JSON_END: &[u8] = br#""}"#;

/// A message on its way into a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// SHA-256 of the body.
    pub digest: Digest,
    /// The bytes.
    pub body: Bytes,
    /// How long it is to be kept.
    pub expiry: Expiry,
}

/// A moment of this machine's clock, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// When a message stops being given back. Ordered: later is more, never is most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    /// At this moment.
    At(Moment),
    /// Not by itself.
    Never,
}

/// A message as it is given back; what every answer needs is made once.
#[derive(Debug)]
pub struct Shown {
    /// Its name.
    pub digest: Digest,
    /// The bytes.
    pub body: Bytes,
    /// The JSON answer with its own digest; none when the bytes are no text.
    pub json: Option<(Bytes, Digest)>,
    /// When it ends.
    pub expiry: Expiry,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// What is left of the time from now to this moment.
    #[must_use]
    pub fn remaining(self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(Self::now().0))
    }
}

impl Expiry {
    /// `ttl` from now.
    #[must_use]
    pub fn after(ttl: Duration) -> Self {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        Self::At(Moment(Moment::now().0.saturating_add(ttl)))
    }

    /// Whether that moment has come.
    #[must_use]
    pub fn has_passed(self) -> bool {
        match self {
            Self::Never => false,
            Self::At(moment) => moment <= Moment::now(),
        }
    }
}

impl Shown {
    /// Prepares the answers for a body whose digest was checked.
    #[must_use]
    pub fn new(digest: Digest, body: Bytes, expiry: Expiry) -> Self {
        let (body, json) = match std::str::from_utf8(&body) {
            Err(_) => (body, None),
            Ok(text) if needs_no_escape(text) => {
                let json = [JSON_START, &body, JSON_END].concat();
                let json = Bytes::from(json);
                // One piece of memory serves both.
                let body = json.slice(JSON_START.len()..json.len() - JSON_END.len());
                (body, Some(json))
            }
            Ok(text) => {
                let json = format!(r#"{{"message": {}}}"#, serde_json::Value::from(text));
                (body, Some(Bytes::from(json)))
            }
        };
        let json = json.map(|json| {
            let digest = Digest::of(&json);
            (json, digest)
        });
        Self {
            digest,
            body,
            json,
            expiry,
        }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let json = self.json.as_ref().map_or(0, |(json, _)| json.len());
        let is_shared = json == JSON_START.len() + self.body.len() + JSON_END.len();
        let body = if is_shared { 0 } else { self.body.len() };
        size_of::<Self>() + body + json
    }
}

/// Whether JSON takes these letters as they are.
fn needs_no_escape(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &'static [u8]) -> Shown {
        Shown::new(Digest::of(body), Bytes::from_static(body), Expiry::Never)
    }

    #[test]
    fn the_json_answer_is_what_serde_would_write() {
        for text in [
            "",
            "foo",
            "a\"b",
            "a\\b",
            "a\nb",
            "\0",
            "\u{7f}",
            "é𝄞\u{2028}",
        ] {
            let shown = shown(text.as_bytes());
            let (json, digest) = shown.json.unwrap();
            let expected = format!(r#"{{"message": {}}}"#, serde_json::json!(text));
            assert_eq!(json, expected, "{text:?}");
            assert_eq!(digest, Digest::of(&json));
            assert_eq!(shown.body, text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_have_no_json_answer() {
        assert!(shown(b"\xff").json.is_none());
    }

    #[test]
    fn never_is_later_than_any_moment() {
        assert!(Expiry::Never > Expiry::At(Moment(u64::MAX)));
        assert!(!Expiry::Never.has_passed());
        assert!(Expiry::At(Moment(1)).has_passed());
        assert!(!Expiry::after(Duration::from_secs(60)).has_passed());
    }
}
