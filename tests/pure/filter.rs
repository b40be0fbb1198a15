//! The filter of words, against tables and against a naive search.

use std::ops::Range;

use chinwag::access::{Filter, FilterAction, FilterSettings, FilterVerdict};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::random::check;

fn filter(words: &[&str], action: FilterAction) -> Filter {
    let words = words.iter().map(ToString::to_string).collect();
    Filter::new(&FilterSettings { words, action }).unwrap()
}

/// The text with its words masked.
fn masked(words: &[&str], text: &str) -> String {
    match filter(words, FilterAction::Mask).check(text) {
        FilterVerdict::Clean => text.into(),
        FilterVerdict::Mask(masked) => {
            assert_ne!(masked, text);
            masked
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn word_is_masked_as_a_whole_word_or_a_part() {
    for (word, text, expected) in [
        ("ass", "ass", "***"),
        ("ass", "An ASS, as ass_hat", "An ***, as ***_hat"),
        ("ass", "class assert ass2 assé éass", "class assert ass2 assé éass"),
        ("ass*", "assert class", "***ert class"),
        ("*ass", "class assert", "cl*** assert"),
        ("*ass*", "classes", "cl***es"),
        ("kill you", "kill\nyou, KILL\tYOU! kill  you", "****\n***, ****\t***! kill  you"),
        ("f*ck", "f*ck fuck", "**** fuck"),
        ("**x**", "axa", "a*a"),
        ("🖕", "hey🖕🏽you", "hey*🏽you"),
        (":-(", "no:-(no", "no***no"),
        ("傻逼", "傻逼 你傻逼", "** 你傻逼"),
        ("*傻逼*", "你傻逼啊", "你**啊"),
        ("88", "88 188 8.88", "** 188 8.**"),
    ] {
        assert_eq!(masked(&[word], text), expected, "{word}");
    }
}

#[test]
fn word_is_found_in_disguise() {
    for text in [
        "shit",
        "SHIT",
        "5hit",
        "sh1t",
        "$h!7",
        "ｓｈｉｔ",
        "ѕһіt",
        "s\u{200b}hi\u{ad}t",
        "s\u{336}h\u{336}i\u{336}t",
        "𝓼𝓱𝓲𝓽",
        "ⓢⓗⓘⓣ",
    ] {
        assert_eq!(masked(&["shit"], text), "****", "{text}");
        assert_eq!(masked(&["shit"], &format!("é {text}, é")), "é ****, é", "{text}");
        assert_eq!(
            masked(&[text], "oh shit"),
            if text.contains(['5', '1', '$']) { "oh shit" } else { "oh ****" }
        );
    }
    assert_eq!(masked(&["milf", "dildo"], "m11f d1ld0 MILF"), "**** ***** ****");
    assert_eq!(masked(&["oﬃce"], "the OFFICE oﬃce"), "the ****** ****");
    assert_eq!(masked(&["*off*"], "oﬃce"), "**ce");
    assert_eq!(masked(&["хуй"], "ХУЙ xyй хуи\u{306} хуи"), "*** *** *** хуи");
    assert_eq!(masked(&["zoë"], "zoe\u{308} zoë zoe"), "*** *** zoe");
}

#[test]
fn ordinary_words_and_numbers_stay() {
    for (word, text) in [
        ("ass", "455 4ss5 passes 45 5"),
        ("fail", "a fall of fa1ll"),
        ("slit", "silt s1lt"),
        ("ano*", "años an\u{303}os"),
        ("sh1t", "shit"),
        ("1488", "i488 l4bb"),
        ("schon", "schön"),
        ("하", "한 하나"),
    ] {
        assert_eq!(masked(&[word], text), text, "{word}");
    }
    assert_eq!(masked(&["1488", "4"], "1488 4"), "**** *", "digits of a word are themselves");
}

#[test]
fn candidate_that_fails_hides_no_other_word() {
    // The long word is no whole word here.
    assert_eq!(masked(&["abcde", "*bcd*"], "abcdef"), "a***ef");
    assert_eq!(masked(&["abc", "*ab*", "bc*"], "abcd"), "**cd");
    assert_eq!(masked(&["*abc*", "*cde*", "*b*", "d"], "abcde d"), "***** *");
    assert_eq!(masked(&["a b c", "b", "b c d"], "a b c d"), "* * * *");
    // Words of one class.
    assert_eq!(masked(&["fail", "fall", "fill*"], "fail fall fell fills fiil"), "**** **** fell ****s fiil");
    assert_eq!(masked(&["ass", "ass*", "*ass", "ass"], "ass assa aass"), "*** ***a a***");
}

#[test]
fn action_decides_the_verdict() {
    for (action, verdict) in [
        (FilterAction::Mask, FilterVerdict::Mask("a *** b".into())),
        (FilterAction::Refuse, FilterVerdict::Refuse),
        (FilterAction::Flag, FilterVerdict::Flag),
    ] {
        let mut filter = filter(&["bad"], action);
        assert_eq!(filter.check("a bad b"), verdict);
        assert_eq!(filter.check("a good b"), FilterVerdict::Clean);
        assert_eq!(filter.check(""), FilterVerdict::Clean);
    }
}

#[test]
fn list_may_be_empty_and_no_word_may_be_invisible() {
    for action in [FilterAction::Mask, FilterAction::Refuse, FilterAction::Flag] {
        assert_eq!(filter(&[], action).check("anything"), FilterVerdict::Clean);
    }
    for word in ["\u{200b}", "*", "", "*\u{ad}*", " ", "* *", "\u{301}"] {
        let settings = FilterSettings { words: vec!["good".into(), word.into()], action: FilterAction::Mask };
        let error = Filter::new(&settings).unwrap_err();
        assert_eq!(error, format!("the word '{word}' of the filter has no visible character"));
    }
}

#[test]
fn hundred_thousand_words_are_found() {
    let word = |number: u32| format!("x{}z", number.to_string().replace(['0', '1', '3', '4', '5', '7'], "q"));
    let words: Vec<String> = (0..100_000).map(|number| format!("{}{number:05}b", word(number))).collect();
    let mut filter =
        Filter::new(&FilterSettings { words: words.clone(), action: FilterAction::Mask }).unwrap();
    for word in words.iter().step_by(997) {
        let expected = "*".repeat(word.len());
        assert_eq!(filter.check(word), FilterVerdict::Mask(expected));
        assert_eq!(filter.check(&format!("{word}b")), FilterVerdict::Clean);
    }
}

/// The class of an ASCII character.
fn class(c: char) -> char {
    match c {
        '1' | 'l' => 'i',
        '4' => 'a',
        c => c,
    }
}

/// Whether the word is at that place of the text, tried character by character.
fn is_at(text: &[char], range: Range<usize>, word: &str) -> bool {
    let core: Vec<char> = word.trim_matches('*').chars().collect();
    let is_of_a_word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric());
    let before = range.start.checked_sub(1).and_then(|at| text.get(at));
    let starts = word.starts_with('*') || !is_of_a_word(core.first()) || !is_of_a_word(before);
    let ends = word.ends_with('*') || !is_of_a_word(core.last()) || !is_of_a_word(text.get(range.end));
    let pairs: Vec<(char, char)> = text[range].iter().copied().zip(core).collect();
    let same = |(written, meant): &(char, char)| {
        written == meant
            || written.is_ascii_digit() && meant.is_alphabetic() && class(*written) == class(*meant)
    };
    let has_letter = pairs.iter().any(|(written, meant)| written == meant && meant.is_alphabetic());
    starts
        && ends
        && pairs.iter().all(same)
        && (has_letter || pairs.iter().all(|(written, meant)| written == meant))
}

fn naive(words: &[String], text: &str) -> String {
    let written: Vec<char> = text.chars().collect();
    let lower: Vec<char> = text.to_lowercase().chars().collect();
    let mut is_masked = vec![false; lower.len()];
    for word in words {
        let length = word.trim_matches('*').chars().count();
        for start in 0..=lower.len().saturating_sub(length) {
            let range = start..start + length;
            if range.end <= lower.len() && is_at(&lower, range.clone(), word) {
                is_masked[range].fill(true);
            }
        }
    }
    let masked = written.iter().zip(is_masked);
    masked.map(|(c, is_masked)| if is_masked && *c != ' ' { '*' } else { *c }).collect()
}

#[test]
fn random_words_are_found_as_by_a_naive_search() {
    // Few characters, so that words are nested and share classes. The last one is not ASCII.
    let word = ("\\*?", "[ail14.]|[ail14é. ][ail14é ]{0,2}[ail14é.]", "\\*?");
    let word = word.prop_map(|(before, core, after)| format!("{before}{core}{after}"));
    let word = word.prop_filter("visible", |word| !word.trim_matches('*').starts_with(' '));
    let text = prop_oneof!["[ailAI14. ]{0,16}", "[ailAIL14é. ]{0,16}"];
    check(5_000, &(vec(word, 0..8), vec(text, 1..4)), |(words, texts)| {
        let mut filter =
            Filter::new(&FilterSettings { words: words.clone(), action: FilterAction::Mask }).unwrap();
        let refusing = FilterSettings { words: words.clone(), action: FilterAction::Refuse };
        let mut refusing = Filter::new(&refusing).unwrap();
        for text in texts {
            let expected = naive(&words, &text);
            let verdict = filter.check(&text);
            match verdict {
                FilterVerdict::Clean => assert_eq!(text, expected, "{words:?}"),
                FilterVerdict::Mask(masked) => assert_eq!(masked, expected, "{words:?} in {text:?}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(
                refusing.check(&text) == FilterVerdict::Refuse,
                expected != text,
                "{words:?} in {text:?}"
            );
        }
    });
}

#[test]
fn random_text_of_any_characters_is_masked_or_clean() {
    check(2_000, &vec(any::<char>(), 0..20), |chars| {
        let mut filter = filter(&["*a*", "*1*", "*\u{301}x*", "*ß*", "*é*", "*한*"], FilterAction::Mask);
        let text: String = chars.into_iter().collect();
        if let FilterVerdict::Mask(masked) = filter.check(&text) {
            assert!(masked.contains('*') && masked.len() <= text.len(), "{text:?}");
            assert_eq!(filter.check(&masked), FilterVerdict::Clean, "{text:?}");
        }
    });
}
