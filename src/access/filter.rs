//! The filter of words: [`Filter`].
//!
//! Words and texts are folded alike (`filter/folded.rs`), and all words are searched for in one pass (Aho and Corasick, 1975). The time
//! grows with the length of the text, and hardly with the number of words.
//!
//! A digit or sign that looks like a letter is found in two steps. The automaton runs over classes, in which `1`, `i` and `l`
//! are the same. Then the characters of each candidate are compared: `1` stands for `i` and for `l`, but `l` is no `i`. A
//! match needs a letter of its own, so `455` is a number.
//!
//! A word matches whole words only, unless it has a `*` at that side. Languages without spaces need `*` at both sides. A `*`
//! inside a word is an ordinary character.

mod folded;

use std::mem;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use unicode_normalization::char::is_combining_mark;

use self::folded::Folded;
use super::settings::{FilterAction, FilterSettings};
use crate::text::clean;

/// The result for a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilterVerdict {
    Clean,
    /// The text with `*` for each character of a word besides white space.
    Mask(String),
    Refuse,
    Flag,
}

/// The words of the configuration file, ready for the search.
#[derive(Debug)]
pub struct Filter {
    action: FilterAction,
    /// Finds the classes of words, without duplicates.
    automaton: AhoCorasick,
    /// The words, sorted by their classes.
    words: Box<[Word]>,
    /// The words of each pattern of the automaton begin at its index, and end where those of the next begin.
    firsts: Box<[u32]>,
    /// The folded words, one behind the other.
    folded_words: Box<[u8]>,
    /// The text of the last call. Its memory is used again.
    text: Folded,
    /// The matches of the last call, in bytes of the folded text.
    matches: Vec<Range<usize>>,
}

/// A word, which is as long as its classes.
#[derive(Clone, Copy, Debug)]
struct Word {
    /// Index of its first byte in the folded words.
    at: u32,
    /// Whether it may be preceded by other letters.
    is_open_before: bool,
    /// Whether it may be followed by other letters.
    is_open_after: bool,
}

/// A word on its way into the filter. The order of the fields sorts by classes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct FoldedWord {
    classes: Box<[u8]>,
    folded: Box<str>,
    is_open_before: bool,
    is_open_after: bool,
}

impl FoldedWord {
    fn new(word: &str, scratch: &mut Folded) -> Result<FoldedWord, String> {
        scratch.set(word.trim_matches('*').trim());
        let folded = scratch.text();
        let (Some(first), Some(last)) = (folded.chars().next(), folded.chars().next_back()) else {
            return Err(
                clean(&format!("the word '{word}' of the filter has no visible character")).into_owned()
            );
        };
        // A word that ends in a sign is whole whatever follows.
        Ok(FoldedWord {
            is_open_before: word.starts_with('*') || !is_of_a_word(first),
            is_open_after: word.ends_with('*') || !is_of_a_word(last),
            classes: scratch.classes().into(),
            folded: folded.into(),
        })
    }
}

impl Filter {
    /// Prepares the words of the settings. Duplicates are ignored.
    ///
    /// # Errors
    /// A word is invisible, or the words are too long together.
    pub fn new(settings: &FilterSettings) -> Result<Filter, String> {
        let mut text = Folded::default();
        let entries: Result<Vec<FoldedWord>, String> =
            settings.words.iter().map(|word| FoldedWord::new(word, &mut text)).collect();
        let mut entries = entries?;
        entries.sort_unstable();
        entries.dedup();
        let too_long = || "the words of the filter are too long together".to_string();
        let (mut words, mut firsts, mut folded_words) =
            (Vec::with_capacity(entries.len()), Vec::new(), Vec::new());
        let mut patterns: Vec<Box<[u8]>> = Vec::new();
        for entry in entries {
            if patterns.last() != Some(&entry.classes) {
                firsts.push(u32::try_from(words.len()).map_err(|_| too_long())?);
                patterns.push(entry.classes);
            }
            let at = u32::try_from(folded_words.len()).map_err(|_| too_long())?;
            let FoldedWord { is_open_before, is_open_after, .. } = entry;
            words.push(Word { at, is_open_before, is_open_after });
            folded_words.extend_from_slice(entry.folded.as_bytes());
        }
        firsts.push(u32::try_from(words.len()).map_err(|_| too_long())?);
        // Only this kind finds matches that overlap: a longer candidate that fails must not hide a shorter one.
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(patterns);
        Ok(Filter {
            action: settings.action,
            automaton: automaton.map_err(|_| too_long())?,
            words: words.into(),
            firsts: firsts.into(),
            folded_words: folded_words.into(),
            text,
            matches: Vec::new(),
        })
    }

    /// Searches a text for the words. It allocates only for a masked text, or if the text is longer than all before it.
    pub fn check(&mut self, text: &str) -> FilterVerdict {
        self.text.set(text);
        let mut matches = mem::take(&mut self.matches);
        matches.clear();
        for found in self.automaton.find_overlapping_iter(self.text.classes()) {
            if self.is_match(found.pattern().as_usize(), found.range()) {
                matches.push(found.range());
                if self.action != FilterAction::Mask {
                    break;
                }
            }
        }
        let verdict = match self.action {
            _ if matches.is_empty() => FilterVerdict::Clean,
            FilterAction::Mask => FilterVerdict::Mask(self.text.masked(text, &mut matches)),
            FilterAction::Refuse => FilterVerdict::Refuse,
            FilterAction::Flag => FilterVerdict::Flag,
        };
        self.matches = matches;
        verdict
    }

    /// Whether that part of the text is a word with the classes of the pattern.
    fn is_match(&self, pattern: usize, range: Range<usize>) -> bool {
        let text = self.text.text();
        let begins_word = !text[..range.start].chars().next_back().is_some_and(is_of_a_word);
        let ends_word = !text[range.end..].chars().next().is_some_and(is_of_a_word);
        let words = &self.words[self.firsts[pattern] as usize..self.firsts[pattern + 1] as usize];
        words.iter().any(|word| {
            let at = word.at as usize;
            (begins_word || word.is_open_before)
                && (ends_word || word.is_open_after)
                && is_written_as(&text.as_bytes()[range.clone()], &self.folded_words[at..at + range.len()])
        })
    }
}

/// Whether a text of the same classes is the word, perhaps with digits and signs in place of letters.
fn is_written_as(text: &[u8], word: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
    let (mut has_letter, mut has_substitute) = (false, false);
    for (written, meant) in text.iter().copied().zip(word.iter().copied()) {
        match meant {
            _ if written == meant => has_letter |= is_letter(meant),
            // Any white space has its class.
            b' ' => {}
            _ if is_letter(written) || !is_letter(meant) => return false,
            _ => has_substitute = true,
        }
    }
    has_letter || !has_substitute
}

/// Whether a character continues a word. The underscore does not, since it often stands for a space.
fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || !c.is_ascii() && is_combining_mark(c)
}
