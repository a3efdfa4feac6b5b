//! JSON as Go's `encoding/json` takes it, for the one body of this wire that is JSON.
//!
//! Unlike serde_json: names match in any case, `null` leaves a field as it is, a repeated field
//! wins, and what is not UTF-8, or half of a surrogate pair, becomes U+FFFD.

use super::date::is_rfc3339;

/// The two fields of a `/lease` body that matter. `labels` and `timestamp` must be well-formed, and
/// are not kept: so it has always been.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeaseBody {
    pub(super) key: String,
    pub(super) value: String,
}

/// The body, or `None` where Go's `json.Unmarshal` reports an error.
pub(super) fn parse(body: &[u8]) -> Option<LeaseBody> {
    let mut reader = Reader { rest: body };
    let mut parsed = LeaseBody::default();
    reader.skip_blanks();
    if !reader.null()? {
        reader.object(|reader, name| reader.field(&name, &mut parsed))?;
    }
    reader.skip_blanks();
    reader.rest.is_empty().then_some(parsed)
}

/// The field that a name means, as Go's simple case folding has it: `K` has a twin of its own, the
/// Kelvin sign, and so has `S`, the long s.
fn folded(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '\u{212a}' => 'k',
            '\u{17f}' => 's',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// Go refuses what is nested deeper; the body itself is one level.
    const MAX_DEPTH: usize = 10_000;

    fn field(&mut self, name: &str, body: &mut LeaseBody) -> Option<()> {
        match folded(name).as_str() {
            "key" => self.text_into(&mut body.key),
            "value" => self.text_into(&mut body.value),
            "labels" => self.labels(),
            "timestamp" => self.timestamp(),
            _ => self.skip_value(),
        }
    }

    fn text_into(&mut self, field: &mut String) -> Option<()> {
        if !self.null()? {
            *field = self.text()?;
        }
        Some(())
    }

    fn labels(&mut self) -> Option<()> {
        if self.null()? {
            return Some(());
        }
        self.object(|reader, _| reader.text_into(&mut String::new()))
    }

    /// A time is looked at as it is written: an escape in it is not one of its characters.
    fn timestamp(&mut self) -> Option<()> {
        if self.null()? {
            return Some(());
        }
        let before = self.rest;
        self.text()?;
        let quoted = &before[..before.len() - self.rest.len()];
        is_rfc3339(&quoted[1..quoted.len() - 1]).then_some(())
    }

    fn object(&mut self, mut member: impl FnMut(&mut Self, String) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        self.skip_blanks();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.name()?;
            member(self, name)?;
            self.skip_blanks();
            if self.take(b'}').is_some() {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    /// A name and its colon, up to the value.
    fn name(&mut self) -> Option<String> {
        self.skip_blanks();
        let name = self.text()?;
        self.skip_blanks();
        self.take(b':')?;
        self.skip_blanks();
        Some(name)
    }

    /// Any well-formed value. Without recursion: how deep it goes is up to the caller.
    fn skip_value(&mut self) -> Option<()> {
        let mut closers = Vec::new();
        loop {
            if let Some(closer) = self.open() {
                closers.push(closer);
                if closers.len() >= Self::MAX_DEPTH {
                    return None;
                }
                self.skip_blanks();
                if self.rest.first() != Some(&closer) {
                    self.skip_name_within(closer)?;
                    continue;
                }
            } else {
                self.scalar()?;
            }
            // A value has ended, or an empty list is about to.
            loop {
                let Some(&closer) = closers.last() else {
                    return Some(());
                };
                self.skip_blanks();
                if self.take(closer).is_some() {
                    closers.pop();
                    continue;
                }
                self.take(b',')?;
                self.skip_blanks();
                self.skip_name_within(closer)?;
                break;
            }
        }
    }

    /// The byte that will close what opens here.
    fn open(&mut self) -> Option<u8> {
        let closer = match self.rest.first()? {
            b'{' => b'}',
            b'[' => b']',
            _ => return None,
        };
        self.rest = &self.rest[1..];
        Some(closer)
    }

    fn skip_name_within(&mut self, closer: u8) -> Option<()> {
        match closer {
            b'}' => self.name().map(drop),
            _ => Some(()),
        }
    }

    fn scalar(&mut self) -> Option<()> {
        match self.rest.first()? {
            b'"' => self.text().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn null(&mut self) -> Option<bool> {
        match self.rest.first() {
            Some(b'n') => self.word(b"null").map(|()| true),
            _ => Some(false),
        }
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let count = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.rest = &self.rest[count..];
        (count > 0).then_some(())
    }

    fn text(&mut self) -> Option<String> {
        self.take(b'"')?;
        let mut bytes = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(lossy(&bytes)),
                b'\\' => {
                    let c = self.escape()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => return None,
                byte => bytes.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex4()?;
                self.code_point(unit)
            }
            _ => return None,
        })
    }

    /// The character of a UTF-16 unit, with the next escape when both make a pair.
    fn code_point(&mut self, unit: u16) -> char {
        let before = self.rest;
        let low = match (0xd800..0xdc00).contains(&unit) {
            true => self.word(b"\\u").and_then(|()| self.hex4()),
            false => None,
        };
        let pair = low.and_then(|low| char::decode_utf16([unit, low]).next()?.ok());
        pair.unwrap_or_else(|| {
            self.rest = before;
            char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)
        })
    }

    fn hex4(&mut self) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            Some(unit << 4 | u16::try_from(digit).ok()?)
        })
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.word(&[byte])
    }

    fn skip_blanks(&mut self) {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let blanks = self.rest.iter().take_while(|byte| blank(byte)).count();
        self.rest = &self.rest[blanks..];
    }
}

/// As Go reads strings: each byte that begins no character becomes U+FFFD of its own.
fn lossy(mut bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    while let Err(err) = std::str::from_utf8(bytes) {
        let (valid, rest) = bytes.split_at(err.valid_up_to());
        text.push_str(&String::from_utf8_lossy(valid));
        text.push(char::REPLACEMENT_CHARACTER);
        bytes = &rest[1..];
    }
    text.push_str(&String::from_utf8_lossy(bytes));
    text
}

#[cfg(test)]
mod tests;
