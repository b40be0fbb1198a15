//! Words to write tests with.

use chinwag::text::{GUEST_PREFIX, Name, RoomName, Text};

/// That text, which must be clean as it is.
#[track_caller]
pub fn text(raw: &str) -> Text {
    let text = Text::clean(raw).expect("a text");
    assert_eq!(text.as_str(), raw, "a text that needs no cleaning");
    text
}

/// That name, or that guest's.
#[track_caller]
pub fn name(raw: &str) -> Name {
    match raw.strip_prefix(GUEST_PREFIX).map(str::parse) {
        Some(Ok(number)) => Name::guest(number),
        _ => Name::parse(raw).expect("a name"),
    }
}

/// Those names.
#[track_caller]
pub fn names(raw: &[&str]) -> Vec<Name> {
    raw.iter().map(|raw| name(raw)).collect()
}

/// That room's name.
#[track_caller]
pub fn room(raw: &str) -> RoomName {
    RoomName::parse(raw).expect("a room name")
}

/// The first character of `shown` that must never reach another client's terminal. Written down a second time, and
/// not taken from the code under test: Unicode's `Cc` (ECMA-48's C0, DEL and C1), its line and paragraph separators,
/// and the bidirectional embeddings, overrides and isolates of UAX 9.
pub fn harm(shown: &str) -> Option<char> {
    shown.chars().find(|c| {
        matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}
