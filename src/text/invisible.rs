//! Invisible characters: where a name needs one, and where it must have none ([`visible`]).

use unicode_joining_type::{JoiningType, get_joining_type};
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::UnicodeEmoji;

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';
const BLACK_FLAG: char = '\u{1f3f4}';
const KEYCAP: char = '\u{20e3}';
const END_OF_TAGS: char = '\u{e007f}';

/// Whether a character is invisible, so that two different names could look the same.
///
/// These are the default-ignorable code points of Unicode's `DerivedCoreProperties.txt`, the separators, and the blank Braille
/// cell.
pub fn is_invisible(c: char) -> bool {
    is_ignorable(c) || matches!(c, '\u{2028}' | '\u{2029}' | '\u{2800}' | '\u{fff9}'..='\u{fffb}')
}

/// Whether a character is one of the default-ignorable code points (`DerivedCoreProperties.txt`). The set has been the same since
/// Unicode 14, and reserves whole blocks for later characters.
pub fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A name without variation selectors that have no effect.
///
/// Effective selectors stay, as do the joiners of a script or an emoji, and the tags of a flag. `None` if there is any other
/// invisible character.
pub fn visible(name: &str) -> Option<String> {
    if name.is_ascii() {
        return Some(name.into());
    }
    let chars: Vec<char> = name.chars().collect();
    let mut kept = String::with_capacity(name.len());
    for (at, c) in chars.iter().copied().enumerate() {
        let (before, after) = (&chars[..at], &chars[at + 1..]);
        let stays = match c {
            _ if is_variation_selector(c) => is_varied(before, c, after),
            ZWNJ if joins_letters(before, after) || follows_virama(before) => true,
            ZWJ if joins_emoji(before, after) || follows_virama(before) => true,
            // The Mongolian vowel separator.
            '\u{180e}' if before.last().is_some_and(|c| is_mongolian(*c)) => true,
            '\u{e0020}'..=END_OF_TAGS if is_in_flag(before, c, after) => true,
            c if is_invisible(c) => return None,
            _ => true,
        };
        if stays {
            kept.push(c);
        }
    }
    Some(kept)
}

fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether a variation selector follows a character that has variants: an emoji, or a letter of some scripts.
fn is_varied(before: &[char], selector: char, after: &[char]) -> bool {
    let Some(base) = before.last().copied() else {
        return false;
    };
    match selector {
        '\u{fe0e}' | '\u{fe0f}' => {
            base.is_emoji_char() && (!base.is_ascii() || after.first() == Some(&KEYCAP))
        }
        '\u{180b}'..='\u{180f}' => is_mongolian(base),
        _ => base.is_alphabetic() && !base.is_ascii(),
    }
}

fn is_mongolian(c: char) -> bool {
    matches!(c, '\u{1820}'..='\u{18aa}')
}

/// The rule of RFC 5892, appendix A.1 and A.2.
fn follows_virama(before: &[char]) -> bool {
    const VIRAMA: u8 = 9;
    before.last().is_some_and(|c| canonical_combining_class(*c) == VIRAMA)
}

/// Whether the letters on both sides would be joined without the non-joiner (RFC 5892, appendix A.1).
fn joins_letters(before: &[char], after: &[char]) -> bool {
    let kind = |c: &char| get_joining_type(*c);
    let mut left = before.iter().rev().map(kind).filter(|kind| *kind != JoiningType::Transparent);
    let mut right = after.iter().map(kind).filter(|kind| *kind != JoiningType::Transparent);
    matches!(left.next(), Some(JoiningType::LeftJoining | JoiningType::DualJoining))
        && matches!(right.next(), Some(JoiningType::RightJoining | JoiningType::DualJoining))
}

/// Whether the joiner is between two pictograms, which may have selectors and skin tones (UAX 29, GB11).
fn joins_emoji(before: &[char], after: &[char]) -> bool {
    let pictogram = |c: &char| c.is_emoji_char() && !c.is_emoji_component();
    let extends = |c: &&char| is_variation_selector(**c) || matches!(**c, '\u{1f3fb}'..='\u{1f3ff}');
    before.iter().rev().find(|c| !extends(c)).is_some_and(pictogram) && after.first().is_some_and(pictogram)
}

/// Whether a tag character belongs to the flag of a region (UTS 51, emoji tag sequence).
fn is_in_flag(before: &[char], tag: char, after: &[char]) -> bool {
    let is_tag = |c: &&char| matches!(**c, '\u{e0020}'..=END_OF_TAGS);
    let left = before.iter().rev().take_while(is_tag).filter(|c| **c != END_OF_TAGS).count();
    let right = after.iter().take_while(is_tag);
    let flag = before.iter().rev().nth(left) == Some(&BLACK_FLAG);
    let ends = right.clone().filter(|c| **c == END_OF_TAGS).count();
    flag && match tag {
        END_OF_TAGS => left > 0 && ends == 0,
        _ => ends == 1 && right.last() == Some(&END_OF_TAGS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joiners_selectors_and_tags_stay_where_they_have_an_effect() {
        let kept = [
            "ann",
            "❤\u{fe0f}",
            "☕\u{fe0f}",
            "☕\u{fe0e}",
            "1\u{fe0f}\u{20e3}",
            "علی\u{200c}رضا",
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "क्\u{200c}ष",
            "ක්\u{200d}ර",
            "👩\u{200d}🚀",
            "👩🏽\u{200d}⚕\u{fe0f}",
            "🏳\u{fe0f}\u{200d}🌈",
            "❤\u{fe0f}\u{200d}🔥",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "葛\u{e0100}",
            "ᠠ\u{180b}ᠨ",
            "ᠠ\u{180e}ᠠ",
        ];
        for name in kept {
            assert_eq!(visible(name).as_deref(), Some(name));
        }
        let dropped = [
            ("ann\u{fe0f}", "ann"),
            ("\u{fe0f}ann", "ann"),
            ("a\u{fe00}", "a"),
            ("1\u{fe0f}", "1"),
            ("a\u{e0100}", "a"),
            ("a\u{180b}", "a"),
            ("❤\u{fe0f}\u{fe0f}", "❤\u{fe0f}"),
        ];
        for (name, rest) in dropped {
            assert_eq!(visible(name).as_deref(), Some(rest), "{name:?}");
        }
    }

    #[test]
    fn invisible_characters_are_refused_elsewhere() {
        let refused = [
            "a\u{200c}b",
            "a\u{200d}b",
            "\u{200c}علی",
            "علی\u{200c}",
            "علی\u{200c}\u{200c}رضا",
            "ر\u{200c}ضا",
            "❤\u{200d}",
            "\u{200d}❤",
            "❤\u{200d}a",
            "❤\u{200c}🔥",
            "👩\u{200d}\u{200d}🚀",
            "क\u{200d}ष",
            "a\u{180e}a",
            "\u{e0067}",
            "🏴\u{e0067}",
            "🏴\u{e007f}",
            "🏴\u{e0067}\u{e007f}\u{e0067}",
            "🏴\u{e0067}\u{e007f}\u{e007f}",
            "a\u{e0067}\u{e007f}",
            "\u{feff}a",
            "a\u{200b}b",
            "a\u{2060}b",
            "a\u{ad}b",
            "a\u{200e}",
            "א\u{200f}",
            "\u{3164}",
            "\u{115f}\u{1160}",
            "\u{2800}",
            "a\u{34f}",
            "a\u{2028}b",
            "a\u{fff9}b",
        ];
        for name in refused {
            assert_eq!(visible(name), None, "{name:?}");
        }
    }

    #[test]
    fn no_two_names_differ_by_invisible_characters_alone() {
        for c in ('\0'..=char::MAX).filter(|c| is_invisible(*c)) {
            assert!(visible(&format!("a{c}b")).is_none_or(|name| name == "ab"), "{c:?}");
        }
    }
}
