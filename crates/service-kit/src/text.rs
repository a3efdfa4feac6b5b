//! Texts that people write for people.

use icu_properties::{
    CodePointSetData,
    props::{DefaultIgnorableCodePoint, ExtendedPictographic},
};

/// What [`is_plain`] lets through, as a refusal says it.
pub const PLAIN: &str =
    "without control, invisible and bidirectional characters, and not of white space alone";

/// Whether a reader sees what stands there: nothing hides in the text, breaks its line or turns its
/// order round, and it is more than white space. What joins or colours an emoji is seen with it.
pub fn is_plain(text: &str) -> bool {
    // What turns the order round is among them (UAX #44, `Bidi_Control`).
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let is_seen = |(at, c): (usize, char)| {
        let separates_lines = matches!(c, '\u{2028}' | '\u{2029}');
        let hides = c.is_control() || separates_lines || ignorable.contains(c);
        !hides || is_of_an_emoji(c, &text[..at], &text[at + c.len_utf8()..])
    };
    !text.trim().is_empty() && text.char_indices().all(is_seen)
}

/// Whether `c` asks for the colours of the picture before it, or joins the pictures on its two sides
/// ([UTS #51](https://www.unicode.org/reports/tr51/), `emoji_zwj_element`).
fn is_of_an_emoji(c: char, before: &str, after: &str) -> bool {
    const COLOURED: char = '\u{fe0f}';
    const JOINED: char = '\u{200d}';
    let pictures = CodePointSetData::new::<ExtendedPictographic>();
    let is_picture = |c: Option<char>| c.is_some_and(|c| pictures.contains(c));
    match c {
        COLOURED => is_picture(before.chars().next_back()),
        JOINED => {
            let dressed = |c| matches!(c, COLOURED | '\u{1f3fb}'..='\u{1f3ff}');
            let undressed = before.trim_end_matches(dressed);
            is_picture(undressed.chars().next_back()) && is_picture(after.chars().next())
        }
        _ => false,
    }
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
            "a\u{fe0f}",
            "\u{2764}\u{fe0f}\u{fe0f}",
            "🔥\u{200d}",
            "🔥\u{200d}a",
            "🔥\u{200d}\u{200d}🔥",
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
            "\u{2764}\u{fe0f}",
            "\u{2764}\u{fe0f}\u{200d}🔥",
            "👩🏽\u{200d}🚀",
            "👨\u{200d}👩\u{200d}👧",
        ] {
            assert!(is_plain(plain), "{plain:?}");
        }
    }
}
