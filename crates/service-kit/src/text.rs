//! Texts that people write for people.

use icu_properties::{
    CodePointSetData,
    props::{BidiControl, DefaultIgnorableCodePoint},
};

/// What [`is_plain`] lets through, as a refusal says it.
pub const PLAIN: &str =
    "without control, invisible and bidirectional characters, and not of white space alone";

/// Whether a reader sees what stands there: nothing hides in the text, breaks its line or turns its
/// order round, and it is more than white space.
pub fn is_plain(text: &str) -> bool {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let bidi = CodePointSetData::new::<BidiControl>();
    let is_seen = |c: char| {
        let separates_lines = matches!(c, '\u{2028}' | '\u{2029}');
        !c.is_control() && !separates_lines && !ignorable.contains(c) && !bidi.contains(c)
    };
    !text.trim().is_empty() && text.chars().all(is_seen)
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn a_text_that_hides_something_is_not_plain() {
        for hidden in [
            "",
            " ",
            "\u{a0}\u{3000}",
            "a\0",
            "a\nb",
            "a\u{85}b",
            "a\u{200b}b",
            "a\u{200d}b",
            "\u{feff}a",
            "a\u{ad}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200f}b",
            "a\u{61c}b",
            "a\u{2028}b",
            "a\u{2060}b",
            "\u{3164}",
            "a\u{e0041}b",
        ] {
            assert!(!is_plain(hidden), "{hidden:?}");
        }
        for plain in [
            "x",
            " scrapped, see #7 ",
            "Zoë",
            "e\u{301}",
            "תיקון",
            "廃止",
            "🔥",
        ] {
            assert!(is_plain(plain), "{plain:?}");
        }
    }
}
