//! The guide and the README are complete and true. Every flag, metric, request, error code and path is there, the command
//! lines are accepted, and the links lead somewhere. The examples themselves are run in `tests/sim/guide.rs` and
//! `tests/real/guide.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chinwag::config::Config;
use chinwag::metrics::{Gauges, LinkCounts, LinkState, Metrics};

/// A file of the repository, as text.
fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(whole).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The README and the pages of the guide.
const PAGES: [&str; 7] = [
    "README.md",
    "src/guide/protocol.md",
    "src/guide/access.md",
    "src/guide/operating.md",
    "src/guide/cluster.md",
    "src/guide/design.md",
    "src/guide/faults.md",
];

#[test]
fn every_row_for_a_flag_names_a_flag_that_exists() {
    let command = Config::command();
    for line in read("src/guide/operating.md").lines().filter(|line| line.starts_with("| `--")) {
        let flag: String = line[5..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let exists = command.get_arguments().any(|arg| arg.get_long() == Some(flag.as_str()));
        assert!(exists, "operating.md has a row for --{flag}");
    }
}

#[test]
fn flags_in_the_command_lines_of_the_guide_are_accepted() {
    let mut tried = 0;
    for page in PAGES {
        for line in read(page).lines().filter_map(|line| line.strip_prefix("chinwag --")) {
            Config::from_flags(&format!("--{line}"));
            tried += 1;
        }
    }
    assert!(tried >= 3, "{tried} command lines");
}

#[test]
fn every_metric_is_in_the_guide_and_the_guide_has_no_other() {
    let state = Gauges { link: Some((LinkCounts::default(), LinkState::default())), ..Gauges::default() };
    let text = String::from_utf8(Metrics::default().text(&state)).unwrap();
    let printed: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let page = read("src/guide/operating.md");
    let explained: BTreeSet<&str> = page.split('`').filter(|word| word.starts_with("chinwag_")).collect();
    assert_eq!(explained, printed);
}

#[test]
fn every_request_of_the_json_protocol_is_in_the_guide() {
    let (source, page) = (read("src/codec/json.rs"), read("src/guide/protocol.md"));
    let arms = source.lines().filter(|line| line.starts_with("        \"") && line.contains("\" =>"));
    let types: Vec<&str> = arms.filter_map(|line| line.split('"').nth(1)).collect();
    assert!(types.len() >= 10, "found only {types:?}");
    let of_moderators = ["kick", "mute", "unmute", "ban", "unban", "unregister", "bans"];
    for kind in types.into_iter().chain(of_moderators) {
        assert!(page.contains(&format!("`{kind} {{")), "protocol.md has no row for {kind}");
        assert!(page.contains(&format!("> {{\"type\":\"{kind}\"")), "protocol.md has no example of {kind}");
    }
}

#[test]
fn every_error_code_is_in_the_guide() {
    let (source, page) = (read("src/protocol/problem.rs"), read("src/guide/protocol.md"));
    let codes: Vec<&str> =
        source.lines().filter_map(|line| line.split("=> \"").nth(1)?.split('"').next()).collect();
    assert!(codes.len() >= 15, "found only {codes:?}");
    for code in codes {
        assert!(page.contains(&format!("`{code}`")), "protocol.md has no row for {code}");
    }
}

#[test]
fn every_path_of_the_http_listener_is_in_the_guide() {
    let (source, page) = (read("src/web/path.rs"), read("src/guide/protocol.md"));
    // The words below `/admin` have a table of their own.
    let is_path = |line: &&str| line.starts_with("[\"") && line.contains("] => ") && !line.contains("admin");
    let arms = source.lines().map(str::trim).filter(is_path);
    let segment = |segment: &str| match segment.strip_prefix('"') {
        Some(literal) => format!("/{}", literal.trim_end_matches('"')),
        None => "/ROOM".into(),
    };
    let paths: Vec<String> =
        arms.map(|arm| arm[1..].split(']').next().unwrap().split(", ").map(segment).collect()).collect();
    assert!(paths.len() >= 8, "found only {paths:?}");
    for path in paths {
        let has_row = ["GET", "POST"].iter().any(|method| page.contains(&format!("| `{method} {path}` |")));
        assert!(has_row, "protocol.md has no row for {path}");
    }
}

/// Returns the commands that a script calls.
fn commands_of(script: &str) -> BTreeSet<&str> {
    script.split("redis.call('").skip(1).filter_map(|rest| Some(rest.split_once('\'')?.0)).collect()
}

#[test]
fn rights_in_redis_are_those_that_scripts_use_and_each_session_tries_them() {
    /// Commands that processes send themselves.
    const PLAIN: &str = "evalsha incrby ping publish script|load subscribe unsubscribe";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backplane/scripts");
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let (hello, others): (Vec<_>, Vec<_>) = paths.partition(|path| path.ends_with("hello.lua"));
    let text = |paths: Vec<_>| paths.iter().map(|path| fs::read_to_string(path).expect("a script")).collect();
    let (hello, others): (String, String) = (text(hello), text(others));
    let missing: Vec<_> = commands_of(&others).difference(&commands_of(&hello)).copied().collect();
    assert!(missing.is_empty(), "hello.lua does not try {missing:?}");
    let page = read("src/guide/cluster.md");
    let listed: BTreeSet<&str> =
        page.split("```text\n").filter(|block| block.starts_with("+ping")).flat_map(block_words).collect();
    let used = commands_of(&hello).into_iter().map(str::to_lowercase).collect::<Vec<_>>();
    let used: BTreeSet<&str> = used.iter().map(String::as_str).chain(PLAIN.split(' ')).collect();
    assert_eq!(listed, used);
}

/// Returns the rights in a block of code.
fn block_words(block: &str) -> impl Iterator<Item = &str> {
    let (block, _) = block.split_once("```").expect("it ends");
    block.split_whitespace().filter_map(|word| word.strip_prefix('+'))
}

#[test]
fn files_that_the_list_of_faults_names_exist() {
    let page = read("src/guide/faults.md");
    let files: BTreeSet<&str> = page.split('`').filter(|word| word.ends_with(".rs")).collect();
    assert!(files.len() > 50, "only {} files", files.len());
    for file in files {
        read(file);
    }
}

#[test]
fn every_limit_is_in_the_list_of_faults() {
    /// Flags that set no limit, or one that a test of the flags' own bounds covers.
    const NO_LIMITS: [&str; 13] = [
        "line",
        "http",
        "guests",
        "redis",
        "log",
        "print-addresses",
        "check",
        "help",
        "version",
        "slow-client",
        "takeover",
        "jwt-audience",
        "metrics",
    ];
    let page = read("src/guide/faults.md");
    for arg in Config::command().get_arguments() {
        let long = arg.get_long().unwrap_or_default();
        let is_listed = page.contains(&format!("`--{long}`"));
        assert!(is_listed || NO_LIMITS.contains(&long), "faults.md has no row for --{long}");
    }
}

#[test]
fn each_flag_in_the_list_of_limits_is_named_by_a_test_of_its_row() {
    let page = read("src/guide/faults.md");
    for row in page.lines().filter(|line| line.starts_with("| `--")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [limit, .., tests] = &cells[..] else { panic!("{row}") };
        let quoted =
            |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(String::from).collect() };
        let files: Vec<String> = quoted(tests).iter().map(|path| read(path)).collect();
        for flag in quoted(limit).iter().filter_map(|word| word.strip_prefix("--")) {
            let flag = flag.split(' ').next().expect("a word");
            let is_named = |text: &String| text.contains(flag) || text.contains(&flag.replace('-', "_"));
            assert!(files.iter().any(is_named), "no test of its row names --{flag}");
        }
    }
}

/// The anchor that a forge makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim().to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> Vec<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn links_of_the_readme_and_the_guide_lead_somewhere() {
    for name in PAGES {
        let page = read(name);
        for link in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => Path::new(name).to_path_buf(),
                path => Path::new(name).parent().unwrap().join(path),
            };
            let text = read(target.to_str().unwrap());
            let leads = fragment.is_empty() || anchors(&text).iter().any(|anchor| anchor == fragment);
            assert!(leads, "{name}: nothing at {link}");
        }
    }
}

/// Words that the project once had for things that the field has a term for.
#[test]
fn pages_use_the_words_of_the_field() {
    const WORDS: [&str; 10] =
        ["door", "doors", "doomed", "ears", "deaf", "hears", "heard", "told", "tells", "whoever"];
    for name in PAGES {
        let page = read(name);
        let words = page.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase);
        let found: BTreeSet<String> = words.filter(|word| WORDS.contains(&word.as_str())).collect();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

/// Code blocks without a language would be compiled by rustdoc.
#[test]
fn every_code_block_of_the_guide_names_its_language() {
    for name in PAGES {
        for (number, line) in read(name).lines().filter(|line| line.starts_with("```")).enumerate() {
            assert_eq!(line.len() > 3, number % 2 == 0, "{name}: {line}");
        }
    }
}
