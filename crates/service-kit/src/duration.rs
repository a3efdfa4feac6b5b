//! Durations as Go writes them: `10s`, `1m30s`, `1.5h`. The syntax of every setting, and of the
//! tentens-tech/shared-lock wire.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// Nanoseconds of a Go duration, or `None` where Go's `time.ParseDuration` refuses.
///
/// `[+-]? (digits [. digits] unit)+`; only zero stands without a unit.
pub fn parse_nanos(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (value, after) = term(rest)?;
        total = total.checked_add(value)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// One `digits [. digits] unit`, in nanoseconds, and what follows it.
fn term(text: &str) -> Option<(i128, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // Nanoseconds resolve no more than 13 decimals of an hour: what follows them is dropped, as Go does.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction.parse::<i128>() {
        Ok(digits) => digits * scale / 10_i128.pow(u32::try_from(fraction.len()).ok()?),
        Err(_) => 0,
    };
    Some((whole.checked_mul(*scale)?.checked_add(part)?, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// A duration in a setting: zero or more, in Go's syntax.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct GoDuration(pub Duration);

impl TryFrom<String> for GoDuration {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        parse_nanos(&text)
            .and_then(|nanos| u64::try_from(nanos).ok())
            .map(|nanos| Self(Duration::from_nanos(nanos)))
            .ok_or("expected a duration such as `500ms`, `10s` or `1m30s`")
    }
}

/// A duration in a setting that is no shorter than so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "GoDuration")]
pub struct LongDuration<const LEAST_MS: u64>(pub Duration);

impl<const LEAST_MS: u64> TryFrom<GoDuration> for LongDuration<LEAST_MS> {
    type Error = &'static str;

    fn try_from(duration: GoDuration) -> Result<Self, Self::Error> {
        match duration.0 >= Duration::from_millis(LEAST_MS) {
            true => Ok(Self(duration.0)),
            false => Err("expected a longer duration"),
        }
    }
}

impl fmt::Debug for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::parse_nanos;

    #[test]
    fn what_go_parses_is_parsed_to_the_same_nanoseconds() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("+5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1s1s", 2_000_000_000),
            ("1.9s", 1_900_000_000),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("2562047h47m16.854775807s", i64::MAX),
        ] {
            assert_eq!(parse_nanos(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "", "60", "1d", "10S", "1m 5s", "1e3s", ".s", "s", "1m30", "-", "+", " 1s", "1s ",
            "9999999h",
        ] {
            assert_eq!(parse_nanos(text), None, "{text}");
        }
    }
}
