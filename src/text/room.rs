//! Names of rooms: [`RoomName`].

use std::fmt;

use lean_string::LeanString;
use unicode_normalization::char::is_combining_mark;

use super::NAME_MAX_BYTES;
use super::invisible::visible;
use super::looks::{Looks, fold};
use super::typed::SPELLING_MAX_BYTES;

const LOBBY: &str = "lobby";

/// A room's name: letters, digits, `-`, `_` and `.` of any script, in lower case, without the `#`.
///
/// No allowed character has a special meaning in a terminal, a URL or Redis.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RoomName(LeanString);

/// The reason why a room name was refused. [`fmt::Display`] is the text for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomNameError {
    Empty,
    /// Over [`NAME_MAX_BYTES`].
    TooLong,
    Character,
    /// `.` or `..`, which have another meaning in the path of a URL (RFC 3986, 5.2.4).
    Dots,
    /// It looks like `lobby`.
    Lobby,
}

impl fmt::Display for RoomNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoomNameError::Empty => write!(f, "a room name needs at least one character"),
            RoomNameError::TooLong => write!(f, "a room name has at most {NAME_MAX_BYTES} bytes"),
            RoomNameError::Character => write!(f, "a room name has letters, digits, and - _ . only"),
            RoomNameError::Dots => write!(f, "a room name is not . or .. alone"),
            RoomNameError::Lobby => write!(f, "that room name looks like {LOBBY} and is not: choose another"),
        }
    }
}

impl RoomName {
    /// The room that line clients enter first.
    pub fn lobby() -> RoomName {
        RoomName(LeanString::from_static_str(LOBBY))
    }

    /// Parses a room's name, with or without the `#`. Case and joiners make no difference.
    ///
    /// # Errors
    /// The first rule that the name breaks.
    pub fn parse(raw: &str) -> Result<RoomName, RoomNameError> {
        let raw = raw.trim();
        let raw = raw.strip_prefix('#').unwrap_or(raw);
        // Some checks below take time in proportion to the square of the length.
        if raw.len() > SPELLING_MAX_BYTES {
            return Err(RoomNameError::TooLong);
        }
        if visible(raw).is_none_or(|shown| shown != raw) {
            return Err(RoomNameError::Character);
        }
        let name: LeanString = fold(raw).collect();
        if name.is_empty() {
            return Err(RoomNameError::Empty);
        }
        if name.len() > NAME_MAX_BYTES {
            return Err(RoomNameError::TooLong);
        }
        let allowed = |c: char| c.is_alphanumeric() || is_combining_mark(c) || matches!(c, '-' | '_' | '.');
        if !name.chars().all(allowed) {
            return Err(RoomNameError::Character);
        }
        if matches!(name.as_str(), "." | "..") {
            return Err(RoomNameError::Dots);
        }
        if name != LOBBY && Looks::of(&name).alike(&Looks::of(LOBBY)) {
            return Err(RoomNameError::Lobby);
        }
        Ok(RoomName(name))
    }

    /// The name, without `#`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    /// Writes the name with the `#`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names_are_accepted_or_refused_with_the_right_reason() {
        let table = [
            ("dev", "dev"),
            ("#Dev", "dev"),
            ("a.b-c_d", "a.b-c_d"),
            ("日本", "日本"),
            ("Ärger", "ärger"),
            ("علی\u{200c}رضا", "علیرضا"),
            ("葛\u{e0100}", "葛"),
            ("lobbyist", "lobbyist"),
            ("LOBBY", "lobby"),
            ("ｌｏｂｂｙ", "lobby"),
        ];
        for (raw, expected) in table {
            assert_eq!(RoomName::parse(raw).unwrap().as_str(), expected);
        }
        assert!(RoomName::parse(&"x".repeat(NAME_MAX_BYTES)).is_ok());
        assert_eq!(RoomName::parse(&"x".repeat(NAME_MAX_BYTES + 1)), Err(RoomNameError::TooLong));
        assert_eq!(RoomName::parse("#"), Err(RoomNameError::Empty));
        for bad in ["a b", "a/b", "a\r\nb", "a\x1b", "##a", "a:b", "$4\r\n", "a*"] {
            assert_eq!(RoomName::parse(bad), Err(RoomNameError::Character), "{bad:?}");
        }
        for bad in
            ["a\u{200b}b", "a\u{200d}b", "a\u{200c}b", "dev\u{fe0f}", "\u{feff}a", "a\u{202e}b", "a\u{3164}"]
        {
            assert_eq!(RoomName::parse(bad), Err(RoomNameError::Character), "{bad:?}");
        }
        for lobby in ["lоbby", "1obby", "lobbу", "#ӏоbbу", "l0bby"] {
            assert_eq!(RoomName::parse(lobby), Err(RoomNameError::Lobby), "{lobby:?}");
        }
        for dots in [".", "..", "#.", " .. "] {
            assert_eq!(RoomName::parse(dots), Err(RoomNameError::Dots), "{dots:?}");
        }
        assert!(RoomName::parse("...").is_ok() && RoomName::parse(".a").is_ok());
    }
}
