//! When something happened.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, to the millisecond. As text it is RFC 3339 in UTC and always as long
/// (`2026-01-02T03:04:05.000Z`), so that texts sort as moments do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(Timestamp);

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Timestamp::now().into()
    }
}

impl From<Timestamp> for Moment {
    fn from(time: Timestamp) -> Self {
        Self(Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_is_as_long_as_every_other() {
        for (nanoseconds, text) in [
            (0, "2026-01-02T03:04:05.000Z"),
            (1, "2026-01-02T03:04:05.000Z"),
            (100_000_000, "2026-01-02T03:04:05.100Z"),
            (120_000_000, "2026-01-02T03:04:05.120Z"),
            (999_999_999, "2026-01-02T03:04:05.999Z"),
        ] {
            let moment = Moment::from(Timestamp::new(1_767_323_045, nanoseconds).unwrap());
            let json = serde_json::to_value(moment).unwrap();
            assert_eq!(json, text);
            assert_eq!(serde_json::from_value::<Moment>(json).unwrap(), moment);
        }
    }
}
