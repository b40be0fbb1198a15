//! Text as the filter compares it: [`Folded`].
//!
//! It has the compatibility form (Unicode 3.13, NFKC), lower case, and the ASCII letter for a letter that looks like one (UTS
//! 39). Invisible characters are left out. So are accents that no letter has a form with: they strike letters through.

use std::ops::Range;
use std::sync::LazyLock;

use unicode_normalization::char::is_combining_mark;
use unicode_security::skeleton;

use crate::text::{fold, is_ignorable};

/// The folded form of the last text.
#[derive(Default, Debug)]
pub struct Folded {
    text: String,
    /// The classes of the bytes of the text: characters that look alike have one class.
    classes: Vec<u8>,
    /// For each byte of the text, the index of its character in the original. Empty for ASCII, where they are the same.
    origins: Vec<usize>,
}

impl Folded {
    /// Folds a text, in the memory of the last one.
    pub fn set(&mut self, original: &str) {
        self.text.clear();
        self.origins.clear();
        if original.is_ascii() {
            self.text.push_str(original);
            self.text.make_ascii_lowercase();
        } else {
            for (at, character) in characters(original) {
                fold_into(character, &mut self.text);
                self.origins.resize(self.text.len(), at);
            }
        }
        self.classes.clear();
        self.classes.extend(self.text.bytes().map(|byte| CLASSES[usize::from(byte)]));
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn classes(&self) -> &[u8] {
        &self.classes
    }

    /// The original with `*` for each character of the matches besides white space. The matches are ranges of the folded text,
    /// which are not empty.
    pub fn masked(&self, original: &str, matches: &mut [Range<usize>]) -> String {
        matches.sort_unstable_by_key(|found| found.start);
        let origin = |at: usize| self.origins.get(at).copied().unwrap_or(at);
        let mut matches = matches.iter().map(|found| (origin(found.start), origin(found.end - 1))).peekable();
        let mut masked = String::with_capacity(original.len());
        // The last character of the matches that have begun.
        let mut last: Option<usize> = None;
        for (at, character) in characters(original) {
            while let Some((_, end)) = matches.next_if(|(start, _)| *start <= at) {
                last = last.max(Some(end));
            }
            match last.is_some_and(|last| at <= last) && !character.starts_with(char::is_whitespace) {
                true => masked.push('*'),
                false => masked.push_str(character),
            }
        }
        masked
    }
}

/// The class of each byte. A class is named by one of its bytes.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'0' => b'o',
            b'1' | b'!' | b'l' => b'i',
            b'3' => b'e',
            b'4' | b'@' => b'a',
            b'5' | b'$' => b's',
            b'7' => b't',
            b'\t'..=b'\r' => b' ',
            other => other,
        };
        byte += 1;
    }
    classes
};

/// The characters of a text as a reader sees them, each with its marks and the invisible characters after it. They are folded
/// apart from each other, because composition needs no more context.
fn characters(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text[at..];
        let first = rest.chars().next()?.len_utf8();
        let length = rest[first..].find(|c| !is_continuation(c)).map_or(rest.len(), |length| first + length);
        let start = at;
        at += length;
        Some((start, &rest[..length]))
    })
}

/// Whether a character belongs to the one before it: a mark, a vowel or final of a Hangul syllable, or an invisible one.
fn is_continuation(c: char) -> bool {
    !c.is_ascii() && (matches!(c, '\u{1160}'..='\u{11ff}') || is_combining_mark(c) || is_ignorable(c))
}

/// Characters below this have their folded form in a table: those of two bytes, among them Latin, Greek, Cyrillic, Hebrew
/// and Arabic.
const TABLE_END: u32 = 0x800;

/// Appends the folded form of one character with its marks.
fn fold_into(character: &str, text: &mut String) {
    static TABLE: LazyLock<Vec<Option<char>>> = LazyLock::new(|| {
        let only = |c: char| {
            let mut folded = slow_fold(c.encode_utf8(&mut [0; 4])).collect::<Vec<char>>().into_iter();
            folded.next().filter(|_| folded.len() == 0)
        };
        (0..TABLE_END).map(|code| char::from_u32(code).and_then(only)).collect()
    });
    let mut chars = character.chars();
    let quick = chars.next().filter(|_| chars.as_str().is_empty());
    let folded =
        |c: char| if is_its_own_fold(c) { Some(c) } else { TABLE.get(c as usize).copied().flatten() };
    match quick.and_then(folded) {
        Some(folded) => text.push(folded),
        None => text.extend(slow_fold(character)),
    }
}

/// Whether a character is in one of the large blocks of letters that folding leaves as they are: Hiragana, Katakana, Chinese
/// characters and Hangul syllables. A few look like ASCII letters, but are words of their own more often (`丫`).
fn is_its_own_fold(c: char) -> bool {
    matches!(c,
        '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}')
}

fn slow_fold(character: &str) -> impl Iterator<Item = char> + '_ {
    fold(character).filter(|c| !is_accent(*c)).map(|c| match c {
        c if c.is_whitespace() => ' ',
        c => ascii_look(c).unwrap_or(c),
    })
}

/// Whether a character is an accent of no script in particular (the blocks of combining diacritical marks). Vowel signs of
/// other scripts are none.
fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}')
}

/// The ASCII letter or digit that looks like another character.
fn ascii_look(c: char) -> Option<char> {
    if c.is_ascii() || is_its_own_fold(c) {
        return None;
    }
    let mut buffer = [0; 4];
    let mut looks = skeleton(c.encode_utf8(&mut buffer));
    let look = looks.next().filter(char::is_ascii_alphanumeric)?;
    looks.next().is_none().then(|| look.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut folded = Folded::default();
        folded.set(text);
        folded.text
    }

    #[test]
    fn variants_of_a_text_are_folded_to_one_form() {
        for variant in
            ["Scope", "ＳＣＯＰＥ", "ѕсоре", "s\u{200b}c\u{ad}ope", "s\u{336}c\u{336}o\u{336}pe", "𝓼𝓬𝓸𝓹𝓮"]
        {
            assert_eq!(folded(variant), "scope", "{variant}");
        }
        for (one, other) in
            [("AÑO", "an\u{303}o"), ("é", "e\u{200b}\u{301}"), ("한", "\u{1112}\u{1161}\u{11ab}"), ("ς", "Σ")]
        {
            assert_eq!(folded(one), folded(other));
        }
        assert_eq!(folded("año 한 क\u{93f}"), "año 한 क\u{93f}", "letters that differ stay");
    }

    #[test]
    fn ascii_is_folded_the_same_way_in_other_text() {
        let ascii: String = ('\0'..='\x7f').collect();
        let (mut alone, mut mixed) = (Folded::default(), Folded::default());
        alone.set(&ascii);
        mixed.set(&format!("{ascii}é"));
        assert_eq!(alone.classes(), &mixed.classes()[..128]);
    }

    #[test]
    fn quick_fold_equals_the_slow_one() {
        for c in '\0'..'\u{e000}' {
            let mut quick = String::new();
            fold_into(c.encode_utf8(&mut [0; 4]), &mut quick);
            assert!(slow_fold(c.encode_utf8(&mut [0; 4])).eq(quick.chars()), "{c:?}");
        }
    }
}
