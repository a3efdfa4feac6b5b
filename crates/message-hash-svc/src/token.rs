//! Where a write stands in the log of its shard.

use std::fmt;
use std::str::FromStr;

/// A place in a shard's write-ahead log. Who shows it reads what was written before it, also from a
/// replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The shard.
    pub shard: String,
    /// Which history of the shard; a promoted replica begins another one.
    pub timeline: u32,
    /// The place.
    pub lsn: u64,
}

/// What a write did, and where it stands; nothing says where in a store without replicas.
#[derive(Debug, Clone)]
pub struct Written<T> {
    /// What it did.
    pub outcome: T,
    /// One for each shard that was written.
    pub tokens: Vec<Token>,
}

/// A text that is no token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is `shard.timeline.place`, as the service gave it")]
pub struct NotAToken;

impl<T> Written<T> {
    /// A write to a store that is one place.
    pub fn alone(outcome: T) -> Self {
        let tokens = Vec::new();
        Self { outcome, tokens }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:x}", self.shard, self.timeline, self.lsn)
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        let mut parts = text.rsplitn(3, '.');
        let lsn = parts
            .next()
            .and_then(|lsn| u64::from_str_radix(lsn, 16).ok());
        let timeline = parts.next().and_then(|timeline| timeline.parse().ok());
        let token = match (parts.next(), timeline, lsn) {
            (Some(shard), Some(timeline), Some(lsn)) => Self {
                shard: shard.to_owned(),
                timeline,
                lsn,
            },
            _ => return Err(NotAToken),
        };
        // Rust reads numbers with a plus, too.
        let is_as_given = token.to_string() == text;
        is_as_given.then_some(token).ok_or(NotAToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = Token {
            shard: "a.b".to_owned(),
            timeline: 3,
            lsn: 0x16_b374_8d60,
        };
        assert_eq!(token.to_string().parse(), Ok(token));
        for text in ["", "a", "a.1", "a.x.1", "a.1.g", "a.+1.1", "a.1.+1", ".."] {
            assert_eq!(text.parse::<Token>(), Err(NotAToken), "{text}");
        }
    }
}
