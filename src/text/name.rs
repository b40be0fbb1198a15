//! Names of clients: [`Name`].

use std::fmt;
use std::sync::LazyLock;

use lean_string::{LeanString, ToLeanString};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::skeleton;

use super::invisible::visible;
use super::looks::{Looks, fold};
use super::typed::SPELLING_MAX_BYTES;
use super::{NAME_MAX_BYTES, is_bidi_control};

/// The prefix of guest names. Clients can't choose a name of the form `guest-7`.
pub const GUEST_PREFIX: &str = "guest-";

/// The names of the server. `redis` is the sender of foreign `PUBLISH`es, `http` of HTTP messages without a
/// name.
const RESERVED: [&str; 6] = ["chinwag", "server", "system", "redis", "http", "admin"];

/// A client's name in Unicode's composed form (NFC).
///
/// [`Name::same_as`] decides whether two names are the same; `Eq` compares the spelling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(LeanString);

/// The reason why a name was refused. [`fmt::Display`] is the text for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    Empty,
    /// Over [`NAME_MAX_BYTES`].
    TooLong,
    Space,
    /// A control character, or an invisible character that no script needs there.
    Invisible,
    /// A colon, which ends a name in `ann: hi`.
    Colon,
    /// The first character would make it look like a server line, a command, a room or a private message.
    Start(char),
    /// A name of the server or of a guest, or one that looks like it.
    Reserved,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => write!(f, "a name needs at least one character"),
            NameError::TooLong => write!(f, "a name has at most {NAME_MAX_BYTES} bytes"),
            NameError::Space => write!(f, "a name has no space in it"),
            NameError::Invisible => {
                write!(f, "a name has no invisible characters in it: type it rather than paste it")
            }
            NameError::Colon => write!(f, "a name has no colon in it"),
            NameError::Start(c) => write!(f, "a name can't begin with {c}"),
            NameError::Reserved => {
                write!(f, "that name is kept for the server, or looks like one that is: choose another")
            }
        }
    }
}

impl Name {
    /// Parses a name. White space around it is ignored.
    ///
    /// # Errors
    /// The first rule that the name breaks.
    pub fn parse(raw: &str) -> Result<Name, NameError> {
        let name = Name::check(raw)?;
        if is_reserved(name.as_str()) {
            return Err(NameError::Reserved);
        }
        Ok(name)
    }

    /// Parses a name from another process of the chat, which may be a guest name or a name of the server.
    pub fn of_remote(raw: &str) -> Option<Name> {
        let name = Name::check(raw).ok()?;
        let number = name.as_str().strip_prefix(GUEST_PREFIX);
        let given = number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
            || [Name::of_redis(), Name::of_http()].contains(&name);
        (given || !is_reserved(name.as_str())).then_some(name)
    }

    fn check(raw: &str) -> Result<Name, NameError> {
        let raw = raw.trim();
        // Some checks below take time in proportion to the square of the length.
        if raw.len() > SPELLING_MAX_BYTES {
            return Err(NameError::TooLong);
        }
        let composed: String = raw.nfc().collect();
        let name = visible(&composed).ok_or(NameError::Invisible)?;
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_MAX_BYTES {
            return Err(NameError::TooLong);
        }
        // The compatibility form reveals full-width, small and other variants of forbidden characters.
        if let Some(error) = name.chars().chain(fold(&name)).find_map(bad_in_name) {
            return Err(error);
        }
        if let Some(first) = fold(&name).next().filter(|c| bad_at_start(*c)) {
            return Err(NameError::Start(first));
        }
        Ok(Name(name.into()))
    }

    /// The sender of messages that another program publishes in Redis.
    pub fn of_redis() -> Name {
        Name(LeanString::from_static_str("redis"))
    }

    /// The name of the `number`th guest.
    pub fn guest(number: u64) -> Name {
        Name(format_args!("{GUEST_PREFIX}{number}").to_lean_string())
    }

    /// The sender of messages that a program publishes by HTTP without a name.
    pub fn of_http() -> Name {
        Name(LeanString::from_static_str("http"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bytes of heap memory: a long name has its bytes, a reference count and a capacity there.
    pub fn heap_bytes(&self) -> usize {
        const AROUND: usize = 2 * size_of::<usize>();
        if self.0.is_heap_allocated() { AROUND + self.0.capacity() } else { 0 }
    }

    /// Whether two names differ only in case, compatibility variants and variation selectors.
    pub fn same_as(&self, other: &str) -> bool {
        Name::are_same(&self.0, other)
    }

    /// [`Name::same_as`] for text that may be no valid name.
    pub fn are_same(one: &str, other: &str) -> bool {
        one.eq_ignore_ascii_case(other) || fold(one).eq(fold(other))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn bad_in_name(c: char) -> Option<NameError> {
    match c {
        c if looks_like(c, ':') => Some(NameError::Colon),
        // The length mark of phonetic alphabets and the modifier letter colon count as letters in Unicode.
        '\u{2d0}' | '\u{a789}' => Some(NameError::Colon),
        '\t' => Some(NameError::Space),
        c if c.is_control() || is_bidi_control(c) => Some(NameError::Invisible),
        c if c.is_whitespace() => Some(NameError::Space),
        _ => None,
    }
}

/// Whether a character is that sign, or is confusable with it and no letter (UTS 39).
fn looks_like(c: char, sign: char) -> bool {
    c == sign || !c.is_ascii() && !c.is_alphanumeric() && skeleton(c.encode_utf8(&mut [0; 4])).eq([sign])
}

/// Whether a name must not begin with `c`. `-` and `*` begin the server's lines, `/` commands, `#` rooms, `[` private
/// messages. Dashes and asterisks that look like the first two are refused too.
fn bad_at_start(c: char) -> bool {
    match c {
        '*' | '/' | '#' | '[' => true,
        '\u{2217}'
        | '\u{204e}'
        | '\u{2055}'
        | '\u{66d}'
        | '\u{2731}'..='\u{273d}'
        | '\u{2722}'..='\u{2725}' => true,
        c => looks_like_a_dash(c) || looks_like(c, '*') || is_combining_mark(c),
    }
}

fn looks_like_a_dash(c: char) -> bool {
    let listed = matches!(
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
    );
    listed || looks_like(c, '-')
}

/// Whether a name is one of the server's, or looks like one.
fn is_reserved(name: &str) -> bool {
    static KEPT: LazyLock<Vec<Looks>> = LazyLock::new(|| {
        RESERVED.iter().flat_map(|word| [Looks::of(word), Looks::of(&word.to_ascii_uppercase())]).collect()
    });
    let looks = Looks::of(name);
    looks_like_a_guest(name) || KEPT.iter().any(|kept| kept.alike(&looks))
}

/// Whether a name looks like a guest's: with digits of any script, or letters that look like digits (`guest-lO`).
fn looks_like_a_guest(name: &str) -> bool {
    static DIGITS: LazyLock<String> = LazyLock::new(|| Looks::of("0123456789").keys().collect());
    let plain = |c: char| match c {
        c if looks_like_a_dash(c) => '-',
        c if c.is_numeric() => '7',
        c => c,
    };
    let looks = Looks::of(&name.chars().map(plain).collect::<String>());
    let number = |key: &str| Some(key.strip_prefix(GUEST_PREFIX)?.chars().all(|c| DIGITS.contains(c)));
    looks.keys().any(|key| number(key) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_accepted_or_refused_with_the_right_reason() {
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
            "guest-lox",
            "guesst-7",
            "一",
            "ノア",
            "दुःख",
            "❤\u{fe0f}",
            "☕\u{fe0f}",
            "علی\u{200c}رضا",
            "क्\u{200d}ष",
            "👩\u{200d}🚀",
            "🇩🇪",
            "admins",
            "Readmin",
            "мaster",
            "Вова_DJ",
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
            ("аdmin", NameError::Reserved),
            ("ADМIN", NameError::Reserved),
            ("adm1n", NameError::Reserved),
            ("adrnin", NameError::Reserved),
            ("AdmІn", NameError::Reserved),
            ("ѕеrvеr", NameError::Reserved),
            ("ѕуѕtem", NameError::Reserved),
            ("SYSTEΜ", NameError::Reserved),
            ("rediѕ", NameError::Reserved),
            ("ＲEDІS", NameError::Reserved),
            ("һttр", NameError::Reserved),
            ("ΗΤΤΡ", NameError::Reserved),
            ("сhinwаg", NameError::Reserved),
            ("ch1nwag", NameError::Reserved),
            ("CHІNWAG", NameError::Reserved),
            ("admin\u{fe0f}", NameError::Reserved),
            ("guest-٧", NameError::Reserved),
            ("guest-۷", NameError::Reserved),
            ("guest-७", NameError::Reserved),
            ("guest-７", NameError::Reserved),
            ("guest-𝟕", NameError::Reserved),
            ("guest-⑦", NameError::Reserved),
            ("guest-l", NameError::Reserved),
            ("guest-1O", NameError::Reserved),
            ("guеst-7", NameError::Reserved),
            ("ＧＵＥＳＴ－７", NameError::Reserved),
            ("guest–٧", NameError::Reserved),
            ("a\u{589}b", NameError::Colon),
            ("a\u{2d0}b", NameError::Colon),
            ("\u{2d7}\u{2d7}x", NameError::Start('\u{2d7}')),
            ("\u{204e}x", NameError::Start('\u{204e}')),
            ("a\u{200c}b", NameError::Invisible),
            ("a\u{200d}b", NameError::Invisible),
            ("\u{fe0f}", NameError::Empty),
            ("guest-", NameError::Reserved),
            ("guest-7", NameError::Reserved),
            ("GUEST-12", NameError::Reserved),
        ];
        for (raw, error) in table {
            assert_eq!(Name::parse(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn remote_names_may_be_guests_but_no_look_alikes() {
        for given in ["guest-7", "redis", "http", "ann", "علی\u{200c}رضا"] {
            assert_eq!(Name::of_remote(given).unwrap().as_str(), given);
        }
        for forged in ["guest-٧", "guest-lO", "аdmin", "admin", "server", "a b", "a\u{200d}b", ""] {
            assert_eq!(Name::of_remote(forged), None, "{forged}");
        }
    }

    #[test]
    fn variation_selector_without_effect_is_dropped() {
        assert_eq!(Name::parse("ann\u{fe0f}").unwrap().as_str(), "ann");
        let longest = format!("{}\u{fe0f}", "x".repeat(NAME_MAX_BYTES));
        assert_eq!(Name::parse(&longest).unwrap().as_str().len(), NAME_MAX_BYTES);
    }

    #[test]
    fn names_that_look_the_same_are_the_same() {
        let ann = Name::parse("Ann").unwrap();
        assert!(ann.same_as("ann") && ann.same_as("ANN") && ann.same_as("Ａnn"));
        assert!(!ann.same_as("anna"));
        assert!(Name::parse("Σίσυφος").unwrap().same_as("ΣΊΣΥΦΟΣ"));
        assert!(Name::parse("zoë").unwrap().same_as("ZOE\u{308}"));
        assert!(Name::parse("❤\u{fe0f}").unwrap().same_as("❤"));
        assert!(!ann.same_as("аnn"), "a look-alike is another name");
    }
}
