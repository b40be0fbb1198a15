//! Validated text: [`Text`], [`Name`], [`TypedName`], [`RoomName`].
//!
//! Each is parsed once, where input enters, and its type guarantees that it is safe to print on a terminal and within its
//! length. No other module checks again.

mod invisible;
mod looks;
mod name;
mod room;
mod typed;

use std::borrow::Cow;
use std::fmt;

pub use invisible::is_ignorable;
pub use looks::{Looks, fold};
pub use name::{GUEST_PREFIX, Name, NameError};
pub use room::{RoomName, RoomNameError};
pub use typed::TypedName;

/// The longest name of a client or a room, in bytes of UTF-8.
pub const NAME_MAX_BYTES: usize = 32;

/// The text of a message: not blank, without control characters except LF, and without bidirectional overrides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text(Box<str>);

impl Text {
    /// Removes characters that must not reach another client's terminal; `None` if only white space is left.
    ///
    /// Removed are the C0 and C1 controls (ECMA-48), DEL, and the bidirectional embeddings, overrides and isolates (UAX 9, 2.1
    /// to 2.4). Without ESC there is no escape sequence. A tab and the Unicode line and
    /// paragraph separators become a space.
    pub fn clean(raw: &str) -> Option<Text> {
        let text = clean(raw);
        (!text.trim().is_empty()).then(|| Text(text.into()))
    }

    /// Like [`Text::clean`], but keeps line ends as LF, except at the end of the text.
    pub fn clean_lines(raw: &str) -> Option<Text> {
        let lines: Vec<_> = raw.split('\n').map(clean).collect();
        let text = lines.join("\n");
        (!text.trim().is_empty()).then(|| Text(text.trim_end_matches('\n').into()))
    }

    /// The text with a space for each line end.
    pub fn one_line(&self) -> Cow<'_, str> {
        match self.0.contains('\n') {
            true => Cow::Owned(self.0.replace('\n', " ")),
            false => Cow::Borrowed(&self.0),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `raw` without the characters that [`Text::clean`] removes. Borrows if there are none.
pub fn clean(raw: &str) -> Cow<'_, str> {
    // Every removed character starts with one of these bytes: C0 and DEL themselves, C1 with 0xC2, the separators and the
    // bidirectional controls with 0xE2.
    let suspicious = |byte: u8| byte < 0x20 || matches!(byte, 0x7f | 0xc2 | 0xe2);
    if !raw.bytes().any(suspicious) {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.chars().filter_map(printable).collect())
}

/// The character to print for `c`; `None` if it is removed.
fn printable(c: char) -> Option<char> {
    match c {
        '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_control() || is_bidi_control(c) => None,
        c => Some(c),
    }
}

/// Whether `c` is an embedding, override or isolate. The plain marks (U+200E, U+200F, U+061C) affect no other text, and
/// right-to-left text needs them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_loses_terminal_controls_and_nothing_else() {
        let table = [
            ("plain", "plain"),
            ("  kept inside  ", "  kept inside  "),
            ("a\tb", "a b"),
            ("a\rb\0c", "abc"),
            ("\x1b[31mred\x1b[0m", "[31mred[0m"),
            ("\x1b]0;title\x07", "]0;title"),
            ("c1 \u{9b}31m csi", "c1 31m csi"),
            ("del\x7f", "del"),
            ("\u{202e}evil\u{202c} \u{2066}iso\u{2069}", "evil iso"),
            ("two\u{2028}lines\u{2029}", "two lines "),
            ("שלום\u{200f} سلام नमस्ते 你好 🦀", "שלום\u{200f} سلام नमस्ते 你好 🦀"),
            ("£ é â €", "£ é â €"),
        ];
        for (raw, expected) in table {
            assert_eq!(Text::clean(raw).unwrap().as_str(), expected, "{raw:?}");
        }
        for nothing in ["", " ", "\t", "\x1b", "\0\0", "\u{2066}"] {
            assert_eq!(Text::clean(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn clean_removes_every_harmful_character() {
        for c in '\0'..=char::MAX {
            let cleaned = clean(&format!("a{c}b")).into_owned();
            let harmful = c.is_control() || is_bidi_control(c) || matches!(c, '\u{2028}' | '\u{2029}');
            assert_eq!(cleaned.contains(c), !harmful, "{:?}", c);
        }
    }
}
