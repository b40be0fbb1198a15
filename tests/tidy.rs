//! The house rules that a program can check.
//!
//! - Imports point down, and there are no locks, and no threads besides the resolver's.
//! - Functions are short, and connections are small.
//! - Every flag has a row in the guide, and the README is short.
//! - Comments and names follow the rules of `tidy/language.rs`, those of the chat page too.

#[path = "tidy/language.rs"]
mod language;

use std::fs;
use std::path::{Path, PathBuf};

use chinwag::config::Config;
use chinwag::connection::Connection;
use chinwag::net::Net;
use chinwag::net::mio::MioNet;

/// The modules from the lowest up. A module may use those before it.
const FLOORS: [&str; 29] = [
    "guide",
    "time",
    "text",
    "logging",
    "access",
    "state",
    "config",
    "protocol",
    "metrics",
    "net",
    "host",
    "sparse",
    "timers",
    "rate",
    "load",
    "limits",
    "quota",
    "arena",
    "outbox",
    "codec",
    "inbox",
    "backplane",
    "chat",
    "pressure",
    "web",
    "connection",
    "roster",
    "server",
    "main",
];

const FUNCTION_MAX_LINES: usize = 60;
const FILE_MAX_LINES: usize = 500;
const CONNECTION_MAX_BYTES: usize = 64;
const README_MAX_WORDS: usize = 1_500;

/// Forbidden code, each with the only file that may contain it.
const FORBIDDEN: [(&str, Option<&str>); 14] = [
    ("unsafe ", None),
    ("RefCell", None),
    ("Arc<", None),
    ("Mutex", None),
    ("RwLock", None),
    ("mpsc", None),
    ("thread::", Some("net/resolve.rs")),
    ("async fn", None),
    (".await", None),
    ("use mio", Some("net/mio.rs")),
    ("Instant::now", Some("net/mio.rs")),
    ("SystemTime::now", Some("net/mio.rs")),
    (".unwrap()", None),
    // Output is written by the fan-out alone, so that a pending batch can't be bypassed.
    ("arena_mut().share", Some("server/fanout.rs")),
];

/// A file of the repository, as text.
fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The Rust files in a folder and its subfolders, sorted.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("target") => {}
                true => walk(&path, files),
                false => files.push(path),
            }
        }
    }
    let mut files = Vec::new();
    walk(folder, &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&root);
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_string();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The code of a file without its tests.
fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap()
}

/// The module a file belongs to: `server/turn.rs` to `server`.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|name| *name == module)
        .unwrap_or_else(|| panic!("{module} has no floor in tests/tidy.rs"))
}

#[test]
fn imports_point_down() {
    for (file, source) in sources().iter().filter(|(file, _)| file != "lib.rs") {
        let own = floor(module(file));
        for line in without_tests(source).lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            let paths = line.match_indices("crate::").chain(line.match_indices("chinwag::"));
            for (at, word) in paths {
                let used: String = line[at + word.len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let same = used == module(file);
                assert!(same || floor(&used) < own, "{file} looks up: {line}");
            }
        }
    }
}

#[test]
fn the_server_is_made_of_nothing_forbidden() {
    for (file, source) in sources() {
        for line in without_tests(&source).lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            for (word, only) in FORBIDDEN {
                let allowed = Some(file.as_str()) == only;
                assert!(allowed || !line.contains(word), "{file}: {word:?} in {line:?}");
            }
        }
    }
}

#[test]
fn a_function_fits_a_screen_and_a_file_is_one_idea() {
    for (file, source) in sources() {
        let code = without_tests(&source);
        assert!(code.lines().count() <= FILE_MAX_LINES, "{file} has {} lines", code.lines().count());
        let mut start: Option<(usize, &str)> = None;
        for (number, line) in code.lines().enumerate() {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            let begins = ["fn ", "pub fn ", "pub(super) fn ", "pub const fn ", "const fn "];
            if begins.iter().any(|begin| trimmed.starts_with(begin)) && indent <= 4 {
                start = Some((number, line));
            } else if line.trim_end()
                == format!("{}}}", " ".repeat(start.map_or(0, |(_, l)| l.len() - l.trim_start().len())))
                && let Some((from, name)) = start.take()
            {
                let lines = number - from + 1;
                assert!(lines <= FUNCTION_MAX_LINES, "{file}: {} has {lines} lines", name.trim());
            }
        }
    }
}

/// Build output in another folder than `target` would be committed with the next `git add`.
#[test]
fn top_level_holds_nothing_else() {
    const TOP_LEVEL: [&str; 9] = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "benches",
        "src",
        "target",
        "tests",
    ];
    let entries = fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let others: Vec<String> =
        names.filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str())).collect();
    assert_eq!(others, Vec::<String>::new(), "what belongs elsewhere");
}

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection<<MioNet as Net>::Stream>>() <= CONNECTION_MAX_BYTES);
}

#[test]
fn every_flag_has_a_variable_of_its_name_and_a_row_in_the_guide() {
    let page = read("src/guide/operating.md");
    for arg in Config::command().get_arguments() {
        let Some(long) = arg.get_long().filter(|long| !["help", "version"].contains(long)) else {
            continue;
        };
        let variable = format!("CHINWAG_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(variable.as_str()), "--{long}");
        let row = page.lines().find(|line| {
            let rest = line.strip_prefix(&format!("| `--{long}"));
            rest.is_some_and(|rest| rest.starts_with([' ', '`']))
        });
        let row = row.unwrap_or_else(|| panic!("operating.md has no row for --{long}"));
        for default in arg.get_default_values() {
            let default = default.to_str().unwrap();
            assert!(
                default.is_empty() || default == "false" || row.contains(&format!("`{default}`")),
                "{row}"
            );
        }
    }
}

#[test]
fn readme_is_short() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= README_MAX_WORDS, "README.md has {words} words; move some to src/guide/");
}
