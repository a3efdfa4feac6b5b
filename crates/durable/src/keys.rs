//! Which keys a scan covers.

use std::ops::Bound;

/// A range of keys, in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
}

impl Keys {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self {
            from: Bound::Unbounded,
            to: Bound::Unbounded,
        }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self {
            from: Bound::Included(prefix.to_vec()),
            to: end_of(prefix).map_or(Bound::Unbounded, Bound::Excluded),
        }
    }

    /// Every key from `from` (included) to `to` (excluded).
    #[must_use]
    pub fn between(from: &[u8], to: &[u8]) -> Self {
        Self {
            from: Bound::Included(from.to_vec()),
            to: Bound::Excluded(to.to_vec()),
        }
    }

    /// The same range, but only what comes after `key`: the next page of a listing.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        let is_behind = match &self.from {
            Bound::Unbounded => true,
            Bound::Included(from) | Bound::Excluded(from) => key >= from.as_slice(),
        };
        if is_behind {
            self.from = Bound::Excluded(key.to_vec());
        }
        self
    }

    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (
            self.from.as_ref().map(Vec::as_slice),
            self.to.as_ref().map(Vec::as_slice),
        )
    }

    /// Maps that panic on an inverted range are asked only for ranges that hold something.
    pub(crate) fn is_empty(&self) -> bool {
        match self.bounds() {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(to) | Bound::Excluded(to),
            ) => from >= to,
        }
    }
}

/// The first key after all that begin with `prefix`; none when it is empty or all 0xff.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_last_byte_below_ff_grows() {
        assert_eq!(end_of(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end_of(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(end_of(b"\xff\xff"), None);
        assert_eq!(end_of(b""), None);
    }

    #[test]
    fn a_page_never_starts_before_its_range() {
        let keys = Keys::prefix(b"m");
        assert_eq!(keys.clone().after(b"a"), keys);
        assert_eq!(keys.after(b"mm").from, Bound::Excluded(b"mm".to_vec()));
    }

    #[test]
    fn an_inverted_range_is_empty() {
        assert!(Keys::between(b"b", b"a").is_empty());
        assert!(Keys::prefix(b"a").after(b"b").is_empty());
        assert!(!Keys::prefix(b"a").is_empty());
        assert!(!Keys::all().is_empty());
    }
}
