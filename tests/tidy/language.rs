//! The rules for comments and names that a program can check. Each test lists all violations at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::{rust_files, without_tests};

/// The folders that these rules are applied to.
const CHECKED: [&str; 3] = ["benches", "src", "tests"];

/// A comment paragraph must not begin with a relative clause, an adverb or a negation.
const HEADLESS_OPENERS: [&str; 14] = [
    "Who",
    "Whom",
    "Whose",
    "Whoever",
    "What",
    "Whatever",
    "When",
    "Where",
    "Wherever",
    "Which",
    "Whichever",
    "How",
    "Not",
    "So",
];

/// A test's name must not begin with a relative clause.
const HEADLESS_TEST_NAMES: [&str; 6] = ["who_", "whoever_", "what_", "whatever_", "where_", "which_"];

const SENTENCE_MAX_WORDS: usize = 25;
/// A row of a table is a list more than a sentence.
const ROW_MAX_WORDS: usize = 30;

/// Words that no identifier may contain, because the field has a term for each of them.
const BANNED_WORDS: [&str; 10] =
    ["doom", "doomed", "door", "doors", "deaf", "ears", "upkeep", "rivals", "told", "hears"];

/// Names that no type may have.
const BANNED_TYPES: [&str; 14] = [
    "Life",
    "Pages",
    "Seat",
    "Solo",
    "Social",
    "Gate",
    "News",
    "Share",
    "Tempo",
    "Manner",
    "Pace",
    "Allowance",
    "Doubt",
    "Mark",
];

const BANNED_PREFIXES: [&str; 2] = ["far_", "near_"];

/// The files of the chat page whose comments and words are checked.
const PAGE_EXTENSIONS: [&str; 3] = ["css", "js", "ts"];

/// Words that the scripts of the chat page may not contain besides `BANNED_WORDS`, because they are personifications.
const BANNED_PAGE_WORDS: [&str; 5] = ["hear", "heard", "hearing", "tells", "knows"];

/// A file by its path in the repository, and its text.
type SourceFile = (String, String);

fn all_files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = ["src", "tests", "benches"].into_iter().flat_map(|folder| rust_files(&root.join(folder)));
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
    paths.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

/// Whether `file` is the file of a module, or in its folder.
fn belongs_to(file: &str, module: &str) -> bool {
    file.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn checked_files() -> Vec<SourceFile> {
    let mut files = all_files();
    files.retain(|(file, _)| CHECKED.iter().any(|module| belongs_to(file, module)));
    files
}

/// The scripts and style sheets of the chat page.
fn page_files() -> Vec<SourceFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/page");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let extension = |path: &Path| path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_string();
    paths.retain(|path| PAGE_EXTENSIONS.contains(&extension(path).as_str()));
    paths.sort();
    let name = |path: &Path| format!("src/web/page/{}", path.file_name().unwrap().to_str().unwrap());
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// A script or style sheet with `//` for each line of a block comment. Line numbers stay the same.
/// Code after the end of a comment is left out.
fn with_line_comments(source: &str) -> String {
    let mut is_in_block = false;
    let mut text = String::new();
    for line in source.lines() {
        let trimmed = line.trim();
        let opened = trimmed.strip_prefix("/**").or(trimmed.strip_prefix("/*"));
        let content = match (opened, is_in_block) {
            (Some(content), _) => Some(content),
            (None, true) => Some(trimmed.strip_prefix("*/").or(trimmed.strip_prefix('*')).unwrap_or(trimmed)),
            (None, false) => None,
        };
        is_in_block = content.is_some() && !trimmed.contains("*/");
        match content {
            Some(content) => text.push_str(&format!("// {}", content.split("*/").next().unwrap().trim())),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// The files whose comments are checked: Rust, and the chat page.
fn commented_files() -> Vec<SourceFile> {
    let page = page_files().into_iter().map(|(file, source)| (file, with_line_comments(&source)));
    checked_files().into_iter().chain(page).collect()
}

#[track_caller]
fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}, {} times:\n{}", violations.len(), violations.join("\n"));
}

/// A paragraph of a comment with the number of its first line. List items are paragraphs too.
struct Paragraph {
    line: usize,
    text: String,
}

/// The text of a line that is a comment.
fn comment_text(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.strip_prefix(['/', '!']).unwrap_or(text).trim())
}

fn paragraphs(source: &str) -> Vec<Paragraph> {
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    let (mut is_open, mut is_fenced) = (false, false);
    for (index, line) in source.lines().enumerate() {
        let text = comment_text(line).filter(|text| !text.is_empty());
        let is_fence = text.is_some_and(|text| text.starts_with("```"));
        is_fenced ^= is_fence;
        let Some(text) = text.filter(|_| !is_fenced && !is_fence) else {
            is_open = false;
            continue;
        };
        match paragraphs.last_mut().filter(|_| is_open && !text.starts_with(['-', '|', '#'])) {
            Some(paragraph) => paragraph.text = format!("{} {text}", paragraph.text),
            None => {
                paragraphs.push(Paragraph { line: index + 1, text: text.trim_start_matches("- ").into() })
            }
        }
        is_open = !text.starts_with('#');
    }
    paragraphs
}

/// The sentences of a paragraph. An end is followed by a space and no small letter.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(['.', '?', '!']) {
        let mut rest = text[at + 1..].chars();
        if rest.next() == Some(' ') && rest.next().is_some_and(|c| !c.is_lowercase()) {
            sentences.push(&text[start..=at]);
            start = at + 2;
        }
    }
    sentences.push(&text[start..]);
    sentences
}

/// Code without comments and the content of strings.
fn without_strings(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => string_len(rest),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |end| end + 2),
            '\'' if rest.starts_with("'\"'") => 3,
            '\'' if rest.starts_with("'\\\"'") => 4,
            c => {
                code.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[skipped..];
    }
    code
}

/// Length of the string literal at the start of `source`, with its quotation marks.
fn string_len(source: &str) -> usize {
    let mut is_escaped = false;
    let end = source.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_end
    });
    end.map_or(source.len(), |(at, _)| at + 1)
}

fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The words of an identifier or a text in lower case. `hearAll`, `HEAR_ALL` and "hear all" have two words each.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous = ' ';
    for c in text.chars() {
        let is_next = !c.is_alphanumeric() || (c.is_uppercase() && previous.is_lowercase());
        if is_next {
            words.push(String::new());
        }
        if let (Some(word), true) = (words.last_mut(), c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        previous = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The reason why an identifier is refused.
fn ban(identifier: &str) -> Option<String> {
    let lower = identifier.to_lowercase();
    let word = BANNED_WORDS.iter().find(|word| lower.split('_').any(|part| part == **word));
    let prefix = BANNED_PREFIXES.iter().find(|prefix| identifier.starts_with(**prefix));
    let name = BANNED_TYPES.iter().find(|name| identifier == **name);
    word.or(prefix).or(name).map(|banned| format!("{identifier} ({banned})"))
}

#[test]
fn every_checked_module_exists() {
    let files = all_files();
    let exists = |module: &&str| files.iter().any(|(file, _)| belongs_to(file, module));
    let missing: Vec<String> =
        CHECKED.iter().filter(|module| !exists(module)).map(ToString::to_string).collect();
    assert_none("a checked module has no file", &missing);
}

#[test]
fn comments_open_with_a_subject() {
    let mut violations = Vec::new();
    for (file, source) in commented_files() {
        for paragraph in paragraphs(&source) {
            let first = sentences(&paragraph.text)[0];
            let opener = first.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            if HEADLESS_OPENERS.contains(&opener) && !first.ends_with('?') {
                violations.push(format!("{file}:{}: {first}", paragraph.line));
            }
        }
    }
    assert_none("a comment opens with a relative clause", &violations);
}

#[test]
fn sentences_of_comments_are_short() {
    let mut violations = Vec::new();
    for (file, source) in commented_files() {
        for paragraph in paragraphs(&source) {
            let long = sentences(&paragraph.text).into_iter().filter(|sentence| {
                let is_word = |word: &&str| word.contains(char::is_alphanumeric);
                let max = if sentence.starts_with('|') { ROW_MAX_WORDS } else { SENTENCE_MAX_WORDS };
                sentence.split_whitespace().filter(is_word).count() > max
            });
            violations.extend(long.map(|sentence| format!("{file}:{}: {sentence}", paragraph.line)));
        }
    }
    assert_none("a sentence of a comment is too long", &violations);
}

#[test]
fn type_names_are_unique() {
    let mut definitions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, source) in all_files().into_iter().filter(|(file, _)| file.starts_with("src/")) {
        let code = without_strings(without_tests(&source));
        let words: Vec<&str> = code.split_whitespace().collect();
        for pair in words.windows(2).filter(|pair| ["struct", "enum", "trait", "union"].contains(&pair[0])) {
            let name = identifiers(pair[1]).next().unwrap_or_default();
            definitions.entry(name.into()).or_default().push(file.clone());
        }
    }
    let is_checked = |file: &String| CHECKED.iter().any(|module| belongs_to(file, module));
    let duplicates =
        definitions.into_iter().filter(|(_, files)| files.len() > 1 && files.iter().any(is_checked));
    let violations: Vec<String> = duplicates.map(|(name, files)| format!("{name}: {files:?}")).collect();
    assert_none("two types have one name", &violations);
}

#[test]
fn identifiers_have_no_banned_words() {
    let mut violations = Vec::new();
    for (file, source) in checked_files().into_iter().filter(|(file, _)| file.starts_with("src/")) {
        let code = without_strings(&source);
        for (index, line) in code.lines().enumerate() {
            let banned = identifiers(line).filter_map(ban);
            violations.extend(banned.map(|banned| format!("{file}, about line {}: {banned}", index + 1)));
        }
    }
    assert_none("an identifier has a banned word", &violations);
}

/// Names, comments and texts are all checked, because a user's text has no such words either.
#[test]
fn chat_page_has_no_banned_words() {
    let mut violations = Vec::new();
    for (file, source) in page_files() {
        let name = file.rsplit('/').next().unwrap_or_default().to_string();
        for (number, line) in [(0, name.as_str())].into_iter().chain((1..).zip(source.lines())) {
            let is_banned =
                |word: &String| [&BANNED_WORDS[..], &BANNED_PAGE_WORDS].concat().contains(&word.as_str());
            let banned = words(line).into_iter().filter(is_banned);
            violations.extend(banned.map(|word| format!("{file}:{number}: {word}")));
        }
    }
    assert_none("a file of the chat page has a banned word", &violations);
}

#[test]
fn test_names_have_a_subject() {
    let mut violations = Vec::new();
    for (file, source) in checked_files() {
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            if line.trim() != "#[test]" {
                continue;
            }
            // Other attributes may be between `#[test]` and the function.
            let function = lines.find_map(|line| line.trim().strip_prefix("fn ")).unwrap_or_default();
            if HEADLESS_TEST_NAMES.iter().any(|opener| function.starts_with(opener)) {
                violations.push(format!("{file}: {}", function.split('(').next().unwrap_or_default()));
            }
        }
    }
    assert_none("the name of a test opens with a relative clause", &violations);
}

#[test]
fn parts_of_sources_are_recognised() {
    let source = "/// One. Two e.g. this?\n///\n/// - Three\n///   four\nlet x = \"// \\\" door\"; // five\n//! # Six\n//! Seven\n";
    let found: Vec<(usize, String)> =
        paragraphs(source).into_iter().map(|part| (part.line, part.text)).collect();
    let expected = [(1, "One. Two e.g. this?"), (3, "Three four"), (6, "# Six"), (7, "Seven")];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_string())));
    assert_eq!(sentences(&found[0].1), ["One.", "Two e.g. this?"]);
    assert_eq!(without_strings(source).trim(), "let x = ;");
    assert_eq!(without_strings("a('\"', r#\"b\"#, '\\\"', \"c\\\\\")"), "a(, , , )");
    let script = "/** One. */\nlet x = 2 * 3;\n/**\n * Two\n * three\n */\n  /* Four\n     five */\nsix();\n/* Seven */ .a {}\n.b {}\n";
    let found: Vec<(usize, String)> =
        paragraphs(&with_line_comments(script)).into_iter().map(|part| (part.line, part.text)).collect();
    assert_eq!(
        found,
        [(1, "One."), (4, "Two three"), (7, "Four five"), (10, "Seven")]
            .map(|(line, text)| (line, text.to_string()))
    );
    assert_eq!(words("#hearAll(HEAR_ALL, \"you hear\")"), ["hear", "all", "hear", "all", "you", "hear"]);
    let banned = ["front_door", "FIRST_DOOR_SLOT", "far_chat", "Life"];
    assert!(banned.into_iter().all(|name| ban(name).is_some()));
    assert!(["doorstep", "Lifetime", "farewell", "_far"].into_iter().all(|name| ban(name).is_none()));
}
