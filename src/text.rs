//! Words that can't be wrong: [`Text`], [`Name`], [`RoomName`].
//!
//! Each is parsed once, at the edge, and from then on is what it says: safe to print on a terminal, within its length.
//! Nothing further in checks again.

use std::borrow::Cow;
use std::fmt;

use lean_string::{LeanString, ToLeanString};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest name of a client or a room, in bytes of UTF-8.
pub const NAME_MAX_BYTES: usize = 32;

/// The prefix of the names the server gives; nobody may choose one of the form `guest-7`.
pub const GUEST_PREFIX: &str = "guest-";

/// Names that would pass for the server or a door of it (`redis` speaks for foreign `PUBLISH`es, `http` for programs
/// that publish without a name).
const RESERVED: [&str; 6] = ["chinwag", "server", "system", "redis", "http", "admin"];

/// What somebody said: not empty, no control characters but the ends of lines, nothing that reorders other text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text(Box<str>);

impl Text {
    /// Takes out what must never reach another client's terminal; `None` if nothing but white space is left.
    ///
    /// Removed: the C0 and C1 controls (ECMA-48), so ESC and with it every escape sequence, DEL, and the
    /// bidirectional embeddings, overrides and isolates (UAX 9, 2.1 to 2.4). A tab and the Unicode line and
    /// paragraph separators become a space.
    pub fn clean(raw: &str) -> Option<Text> {
        let text = clean(raw);
        (!text.trim().is_empty()).then(|| Text(text.into()))
    }

    /// The same, of something that may have several lines: their ends stay, each as one LF, except at the very end.
    pub fn clean_lines(raw: &str) -> Option<Text> {
        let lines: Vec<_> = raw.split('\n').map(clean).collect();
        let text = lines.join("\n");
        (!text.trim().is_empty()).then(|| Text(text.trim_end_matches('\n').into()))
    }

    /// The name, as something that is said.
    pub fn of_name(name: &Name) -> Text {
        Text(name.as_str().into())
    }

    /// The text on one line: a space for each end of a line.
    pub fn one_line(&self) -> Cow<'_, str> {
        match self.0.contains('\n') {
            true => Cow::Owned(self.0.replace('\n', " ")),
            false => Cow::Borrowed(&self.0),
        }
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `raw` without the characters [`Text::clean`] names. Borrows when there is nothing to take out.
pub fn clean(raw: &str) -> Cow<'_, str> {
    // All that is removed starts with one of these bytes: C0 and DEL themselves, C1 behind 0xC2, the
    // separators and bidirectional controls behind 0xE2.
    let suspicious = |byte: u8| byte < 0x20 || matches!(byte, 0x7f | 0xc2 | 0xe2);
    if !raw.bytes().any(suspicious) {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.chars().filter_map(printable).collect())
}

/// The character to print for `c`, if any.
fn printable(c: char) -> Option<char> {
    match c {
        '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_control() || is_bidi_control(c) => None,
        c => Some(c),
    }
}

/// Embeddings, overrides and isolates. The plain marks (U+200E, U+200F, U+061C) reorder nothing but
/// themselves, and right-to-left text needs them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A client's name, as it was given, in Unicode's composed form (NFC).
///
/// Two names are the same if [`Name::same_as`] says so; `Eq` compares the spelling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(LeanString);

/// Why a name was refused. [`fmt::Display`] says it to the person who tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// Nothing was given.
    Empty,
    /// Over [`NAME_MAX_BYTES`].
    TooLong,
    /// White space inside.
    Space,
    /// A control or an invisible character inside.
    Invisible,
    /// A colon, which ends a name in `ann: hi`.
    Colon,
    /// Begins like a line of the server, a command, a room or a private message.
    Start(char),
    /// One of the names that would pass for the server, or a guest's.
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => write!(f, "a name needs at least one character"),
            NameError::TooLong => write!(f, "a name has at most {NAME_MAX_BYTES} bytes"),
            NameError::Space => write!(f, "a name has no space in it"),
            NameError::Invisible => write!(f, "a name has no invisible characters in it"),
            NameError::Colon => write!(f, "a name has no colon in it"),
            NameError::Start(c) => write!(f, "a name can't begin with {c}"),
            NameError::Reserved => write!(f, "that name is kept for the server"),
        }
    }
}

impl Name {
    /// Reads a name; white space around it does not count.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(raw: &str) -> Result<Name, NameError> {
        let name: LeanString = raw.trim().nfc().collect();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_MAX_BYTES {
            return Err(NameError::TooLong);
        }
        // The compatibility form unmasks full-width, small and other variants of what a name may not have.
        if let Some(error) = name.chars().chain(fold(&name)).find_map(bad_in_name) {
            return Err(error);
        }
        let first = fold(&name).next();
        if let Some(first) = first.filter(|c| bad_at_start(*c)) {
            return Err(NameError::Start(first));
        }
        if is_reserved(&name) {
            return Err(NameError::Reserved);
        }
        Ok(Name(name))
    }

    /// Reads a name that another process of the chat has given or accepted: it may be one that is kept for the server.
    pub fn of_far(raw: &str) -> Option<Name> {
        match Name::parse(raw) {
            Ok(name) => Some(name),
            Err(NameError::Reserved) => Some(Name(raw.trim().into())),
            Err(_) => None,
        }
    }

    /// Who says what a program publishes by Redis.
    pub fn of_redis() -> Name {
        Name(LeanString::from_static_str("redis"))
    }

    /// The name of the `number`th guest.
    pub fn guest(number: u64) -> Name {
        Name(format_args!("{GUEST_PREFIX}{number}").to_lean_string())
    }

    /// Who says what a program publishes by HTTP without a name.
    pub fn of_http() -> Name {
        Name(LeanString::from_static_str("http"))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Memory it takes besides itself: of one longer than fits, its bytes, a reference count and a capacity.
    pub fn heap_bytes(&self) -> usize {
        const AROUND: usize = 2 * size_of::<usize>();
        if self.0.is_heap_allocated() { AROUND + self.0.capacity() } else { 0 }
    }

    /// Whether a person would take the two for one name: case and compatibility variants don't count.
    pub fn same_as(&self, other: &str) -> bool {
        fold(&self.0).eq(fold(other))
    }

    /// The characters by which names are compared ([`Name::same_as`]) and found.
    pub fn folded(raw: &str) -> impl Iterator<Item = char> {
        fold(raw)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower case of the compatibility form (Unicode 3.13, NFKC; TR 36 names it for identifiers).
fn fold(raw: &str) -> impl Iterator<Item = char> + '_ {
    // Greek has two small letters for one capital; `to_lowercase` knows the one, people mean either.
    let lower = |c: char| c.to_lowercase().map(|c| if c == 'ς' { 'σ' } else { c });
    raw.nfkc().flat_map(lower).nfkc()
}

fn bad_in_name(c: char) -> Option<NameError> {
    match c {
        ':' | '\u{2236}' | '\u{a789}' => Some(NameError::Colon),
        '\t' => Some(NameError::Space),
        c if c.is_control() || is_bidi_control(c) || is_invisible(c) => Some(NameError::Invisible),
        c if c.is_whitespace() => Some(NameError::Space),
        _ => None,
    }
}

/// Characters that print as nothing, so that two names could differ and look the same
/// (the default-ignorable code points of Unicode's `DerivedCoreProperties.txt`, and the blank Braille cell).
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// `-` and `*` begin the server's lines, `/` commands, `#` rooms, `[` private messages. With the first two go
/// the dashes and asterisks that look like them.
fn bad_at_start(c: char) -> bool {
    match c {
        '*' | '/' | '#' | '[' => true,
        '\u{2217}'
        | '\u{204e}'
        | '\u{2055}'
        | '\u{66d}'
        | '\u{2731}'..='\u{273d}'
        | '\u{2722}'..='\u{2725}' => true,
        c => looks_like_a_dash(c) || is_combining_mark(c),
    }
}

fn looks_like_a_dash(c: char) -> bool {
    matches!(
        c,
        '-' | '\u{2010}'
            ..='\u{2015}'
                | '\u{2043}'
                | '\u{2212}'
                | '\u{2500}'
                | '\u{2501}'
                | '\u{2796}'
                | '\u{2e17}'
                | '\u{2e3a}'
                | '\u{2e3b}'
                | '\u{58a}'
                | '\u{5be}'
                | '\u{1806}'
    )
}

fn is_reserved(name: &str) -> bool {
    let folded: String = fold(name).map(|c| if looks_like_a_dash(c) { '-' } else { c }).collect();
    let guest =
        folded.strip_prefix(GUEST_PREFIX).is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()));
    guest || RESERVED.contains(&folded.as_str())
}

/// A room's name: letters, digits, `-`, `_` and `.` of any script, in lower case, without the `#`.
///
/// The character set leaves nothing that could mean something to a terminal, a URL or Redis.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RoomName(LeanString);

/// Why a room name was refused. [`fmt::Display`] says it to the person who tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomNameError {
    /// Nothing was given.
    Empty,
    /// Over [`NAME_MAX_BYTES`].
    TooLong,
    /// A character that room names don't have.
    Character,
    /// `.` or `..`, which in the path of a URL mean something else (RFC 3986, 5.2.4).
    Dots,
}

impl fmt::Display for RoomNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoomNameError::Empty => write!(f, "a room name needs at least one character"),
            RoomNameError::TooLong => write!(f, "a room name has at most {NAME_MAX_BYTES} bytes"),
            RoomNameError::Character => write!(f, "a room name has letters, digits, and - _ . only"),
            RoomNameError::Dots => write!(f, "a room name is not . or .. alone"),
        }
    }
}

impl RoomName {
    /// Where everybody starts.
    pub fn lobby() -> RoomName {
        RoomName(LeanString::from_static_str("lobby"))
    }

    /// Reads a room's name, with or without the `#`; upper and lower case are one room.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(raw: &str) -> Result<RoomName, RoomNameError> {
        let raw = raw.trim();
        let name: LeanString = fold(raw.strip_prefix('#').unwrap_or(raw)).collect();
        if name.is_empty() {
            return Err(RoomNameError::Empty);
        }
        if name.len() > NAME_MAX_BYTES {
            return Err(RoomNameError::TooLong);
        }
        let allowed = |c: char| c.is_alphanumeric() || is_combining_mark(c) || matches!(c, '-' | '_' | '.');
        if !name.chars().all(|c| allowed(c) && !is_invisible(c)) {
            return Err(RoomNameError::Character);
        }
        if matches!(name.as_str(), "." | "..") {
            return Err(RoomNameError::Dots);
        }
        Ok(RoomName(name))
    }

    /// The name, without `#`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    /// With the `#`, as people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_loses_what_a_terminal_would_obey_and_nothing_else() {
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
    fn no_character_that_clean_must_remove_survives_it() {
        for c in '\0'..=char::MAX {
            let cleaned = clean(&format!("a{c}b")).into_owned();
            let harmful = c.is_control() || is_bidi_control(c) || matches!(c, '\u{2028}' | '\u{2029}');
            assert_eq!(cleaned.contains(c), !harmful, "{:?}", c);
        }
    }

    #[test]
    fn names() {
        for good in [
            "ann",
            "Ann_2",
            "zoë",
            "李",
            "O'Brien",
            "a-b",
            "x*y",
            "🦀",
            "~k",
            "नमस्ते",
            "guest-x",
            "guest-7x",
            "一",
        ] {
            assert_eq!(Name::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(Name::parse("  ann ").unwrap().as_str(), "ann");
        assert_eq!(Name::parse("e\u{301}").unwrap().as_str(), "é", "stored composed");
        let longest = "x".repeat(NAME_MAX_BYTES);
        assert!(Name::parse(&longest).is_ok());
        let too_long = format!("{longest}x");
        let table = [
            ("", NameError::Empty),
            ("   ", NameError::Empty),
            (too_long.as_str(), NameError::TooLong),
            ("ann lee", NameError::Space),
            ("ann\u{a0}lee", NameError::Space),
            ("a\tb", NameError::Space),
            ("a\x1bb", NameError::Invisible),
            ("a\u{200b}b", NameError::Invisible),
            ("a\u{202e}b", NameError::Invisible),
            ("a\u{feff}", NameError::Invisible),
            ("a:b", NameError::Colon),
            ("a\u{fe55}b", NameError::Colon),
            ("a\u{2236}b", NameError::Colon),
            ("guest\u{2011}9", NameError::Reserved),
            ("-ann", NameError::Start('-')),
            ("--", NameError::Start('-')),
            ("*", NameError::Start('*')),
            ("\u{ff0d}x", NameError::Start('-')),
            ("\u{2014}x", NameError::Start('\u{2014}')),
            ("\u{2212}x", NameError::Start('\u{2212}')),
            ("\u{ff0a}x", NameError::Start('*')),
            ("\u{2217}x", NameError::Start('\u{2217}')),
            ("\u{2722}x", NameError::Start('\u{2722}')),
            ("\u{2725}x", NameError::Start('\u{2725}')),
            ("\u{2731}x", NameError::Start('\u{2731}')),
            ("\u{273d}x", NameError::Start('\u{273d}')),
            ("\u{1806}x", NameError::Start('\u{1806}')),
            ("\u{2e3a}x", NameError::Start('\u{2e3a}')),
            ("/nick", NameError::Start('/')),
            ("#dev", NameError::Start('#')),
            ("[bob]", NameError::Start('[')),
            ("\u{301}x", NameError::Start('\u{301}')),
            ("Chinwag", NameError::Reserved),
            ("SYSTEM", NameError::Reserved),
            ("ｓｅｒｖｅｒ", NameError::Reserved),
            ("guest-", NameError::Reserved),
            ("guest-7", NameError::Reserved),
            ("GUEST-12", NameError::Reserved),
        ];
        for (raw, error) in table {
            assert_eq!(Name::parse(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn names_that_look_the_same_are_the_same() {
        let ann = Name::parse("Ann").unwrap();
        assert!(ann.same_as("ann") && ann.same_as("ANN") && ann.same_as("Ａnn"));
        assert!(!ann.same_as("anna"));
        assert!(Name::parse("Σίσυφος").unwrap().same_as("ΣΊΣΥΦΟΣ"));
        assert!(Name::parse("zoë").unwrap().same_as("ZOE\u{308}"));
    }

    #[test]
    fn room_names() {
        let table =
            [("dev", "dev"), ("#Dev", "dev"), ("a.b-c_d", "a.b-c_d"), ("日本", "日本"), ("Ärger", "ärger")];
        for (raw, expected) in table {
            assert_eq!(RoomName::parse(raw).unwrap().as_str(), expected);
        }
        assert!(RoomName::parse(&"x".repeat(NAME_MAX_BYTES)).is_ok());
        assert_eq!(RoomName::parse(&"x".repeat(NAME_MAX_BYTES + 1)), Err(RoomNameError::TooLong));
        assert_eq!(RoomName::parse("#"), Err(RoomNameError::Empty));
        for bad in ["a b", "a/b", "a\r\nb", "a\x1b", "##a", "a:b", "$4\r\n", "a*"] {
            assert_eq!(RoomName::parse(bad), Err(RoomNameError::Character), "{bad:?}");
        }
        for dots in [".", "..", "#.", " .. "] {
            assert_eq!(RoomName::parse(dots), Err(RoomNameError::Dots), "{dots:?}");
        }
        assert!(RoomName::parse("...").is_ok() && RoomName::parse(".a").is_ok());
    }
}
