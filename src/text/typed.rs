//! Names as people type them: [`TypedName`].

use std::fmt;

use super::{NAME_MAX_BYTES, Name, NameError, Text};

/// The longest spelling of a name. A decomposed character has up to four times as many bytes as a composed one, and selectors
/// without an effect may follow each.
pub(super) const SPELLING_MAX_BYTES: usize = 16 * NAME_MAX_BYTES;

/// The name of somebody else in a request. Perhaps no client has it, and it may be no valid [`Name`].
///
/// Names are compared by forms that have up to eighteen times as many characters. So a request has no name that is
/// longer than a spelling can be. One of 64 KiB would stop the loop for a part of a second.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypedName(Text);

impl TypedName {
    /// Parses a name. White space around it is ignored.
    ///
    /// # Errors
    /// It is blank or too long.
    pub fn parse(raw: &str) -> Result<TypedName, NameError> {
        let raw = raw.trim();
        if raw.len() > SPELLING_MAX_BYTES {
            return Err(NameError::TooLong);
        }
        Text::clean(raw).map(TypedName).ok_or(NameError::Empty)
    }

    pub fn of(name: &Name) -> TypedName {
        TypedName(Text(name.as_str().into()))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for TypedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_name_is_bounded_whatever_its_characters_are() {
        let flag = |tags: usize| format!("🏴{}\u{e007f}", "\u{e0061}".repeat(tags));
        let fits = ["a".repeat(SPELLING_MAX_BYTES), format!(" {} ", "\u{fdfa}".repeat(170)), flag(126)];
        for raw in fits {
            assert_eq!(TypedName::parse(&raw).unwrap().as_str(), raw.trim());
        }
        let too_long = ["a".repeat(SPELLING_MAX_BYTES + 1), "\u{fdfa}".repeat(171), flag(127)];
        for raw in too_long {
            assert_eq!(TypedName::parse(&raw), Err(NameError::TooLong));
            assert_eq!(Name::parse(&raw), Err(NameError::TooLong));
        }
        assert_eq!(TypedName::parse(" \u{1b}\t"), Err(NameError::Empty));
    }
}
