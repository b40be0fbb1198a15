//! The configuration file: precedence, sections, and a message for each mistake.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use chinwag::access::TOPIC_MAX_BYTES;
use chinwag::access::{Allowed, FilterAction, LoginToken, Role, RoomRules, Settings};
use chinwag::config::{Config, ConfigError, DefaultValue, FILE_MAX_BYTES, FLAGS, Flag, OnReload, Unit};
use chinwag::config::{Rate, read_jwt_key};
use chinwag::text::RoomName;
use tempfile::TempDir;

/// A folder with a configuration file in it.
struct Folder(TempDir);

impl Folder {
    fn new(text: impl AsRef<[u8]>) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("chinwag.toml", text);
        folder
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("chinwag.toml")
    }

    /// Reads the file and these flags, separated by spaces. A message is without the folder.
    fn read(&self, flags: &str) -> Result<Config, String> {
        let mut args = vec!["chinwag".into(), "--config".into(), self.path().into_os_string()];
        args.extend(flags.split_whitespace().map(OsString::from));
        Config::read(args).map_err(|error| match error {
            ConfigError::Wrong(message) => self.without_folder(&message),
            ConfigError::Asked(text) => panic!("{text}"),
        })
    }

    fn without_folder(&self, message: &str) -> String {
        message.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn read(text: &str) -> Result<Config, String> {
    Folder::new(text).read("")
}

fn settings(text: &str) -> Settings {
    read(text).unwrap_or_else(|message| panic!("{message}\n{text}")).sections
}

fn hash(digit: char) -> String {
    format!("\"sha256:{}\"", digit.to_string().repeat(64))
}

/// One of three values of a flag, each different from the one before.
fn sample(flag: &Flag, number: usize) -> String {
    let name = flag.name();
    match flag.unit {
        Unit::Switch => (number == 1).to_string(),
        Unit::Count => format!("1{number}"),
        Unit::Size => match name.as_str() {
            "line-max" | "message-max" => format!("{number}k"),
            "burst-bytes" => format!("7{number}k"),
            _ => format!("{number}m"),
        },
        Unit::Time if name == "redis-expiry" => format!("1{number}s"),
        Unit::Time => format!("1{number}ms"),
        Unit::Rate => format!("1{number}/s"),
        Unit::ByteRate => format!("1{number}k/s"),
        Unit::SizeForTime => format!("64k:1{number}s"),
        Unit::Secret(_) => format!("redis://:secret@127.0.0.1/{number}"),
        Unit::Choice(_, words) => words[number % words.len()].0.into(),
        Unit::File => concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into(),
        Unit::Text(_) => match name.as_str() {
            "line" | "http" => format!("127.0.0.1:700{number}"),
            "unix-mode" => format!("060{number}"),
            "origin" => format!("https://host{number}.example"),
            "host" => format!("host{number}.example"),
            "trust-proxy" => format!("10.0.{number}.0/24"),
            "redis-prefix" => format!("prefix{number}:"),
            "jwt-audience" => format!("audience{number}"),
            "log" => ["error", "warn", "debug"][number - 1].into(),
            _ => panic!("--{name} needs a sample here"),
        },
    }
}

/// Flags that a file may set and that have values of any number. Files that must exist have a test of their own.
fn sampled() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| flag.on_reload != OnReload::NotInFile && flag.unit != Unit::File)
}

fn with_values() -> impl Iterator<Item = &'static Flag> {
    sampled().filter(|flag| flag.unit != Unit::Switch)
}

/// The line of a file that sets a flag. Plain numbers have no quotation marks.
fn line(flag: &Flag, value: &str) -> String {
    let is_bare = flag.unit == Unit::Switch || flag.unit == Unit::Count;
    let value = if is_bare { value.to_string() } else { format!("\"{value}\"") };
    let value = if flag.is_repeatable { format!("[{value}]") } else { value };
    format!("{} = {value}\n", flag.name())
}

fn file_of(flags: impl Iterator<Item = &'static Flag>, number: usize) -> String {
    flags.map(|flag| line(flag, &sample(flag, number))).collect()
}

fn flags_of(flags: impl Iterator<Item = &'static Flag>, number: usize) -> String {
    flags.map(|flag| format!(" --{}={}", flag.name(), sample(flag, number))).collect()
}

/// The names of flags that differ, besides `--config`.
fn differences(one: &Config, other: &Config) -> Vec<String> {
    let names = one.changed_flags(other).into_iter().map(Flag::name);
    names.filter(|name| name != "config").collect()
}

#[test]
fn every_flag_may_stand_in_the_file() {
    for flag in sampled() {
        let config = read(&line(flag, &sample(flag, 1))).unwrap();
        let differs = differences(&config, &Config::from_flags(""));
        let is_default = matches!(flag.default, DefaultValue::Is(value) if value == sample(flag, 1));
        assert_eq!(differs.contains(&flag.name()), !is_default, "--{}: {differs:?}", flag.name());
    }
    for flag in FLAGS.iter().filter(|flag| flag.on_reload == OnReload::NotInFile) {
        let message = read(&line(flag, "true")).unwrap_err();
        let name = flag.name();
        assert_eq!(message, format!("chinwag.toml:1: {name}: give it on the command line, as --{name}"));
    }
}

#[test]
fn no_flag_has_the_name_of_a_section() {
    assert!(FLAGS.iter().all(|flag| !["rooms", "accounts", "filter"].contains(&flag.name().as_str())));
}

#[test]
fn flags_that_name_a_file_have_the_unit_for_it() {
    for flag in FLAGS {
        assert_ne!(flag.unit, Unit::Text("FILE"), "--{}: write File", flag.name());
    }
}

#[test]
fn file_beats_the_default_and_a_flag_beats_the_file() {
    let folder = Folder::new(file_of(sampled(), 1));
    let by_file = folder.read("").unwrap();
    let switches =
        FLAGS.iter().filter(|flag| flag.unit == Unit::Switch && flag.on_reload != OnReload::NotInFile);
    let switches: String = switches.map(|flag| format!(" --{}", flag.name())).collect();
    let by_flags = Config::from_flags(&format!("{}{switches}", flags_of(with_values(), 1)));
    assert_eq!(differences(&by_file, &by_flags), Vec::<String>::new());
    let by_both = folder.read(&flags_of(with_values(), 2)).unwrap();
    let by_flags = Config::from_flags(&format!("{}{switches}", flags_of(with_values(), 2)));
    assert_eq!(differences(&by_both, &by_flags), Vec::<String>::new());
    assert_eq!(differences(&by_both, &by_file).len(), with_values().count());
}

/// The test runs itself again in a process that has the variables, since a test may not set those of its own process.
#[test]
fn variable_beats_the_file_and_a_flag_beats_both() {
    const IS_CHILD: &str = "TEST_HAS_VARIABLES";
    if std::env::var_os(IS_CHILD).is_some() {
        return compare_with_variables();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "config_file::variable_beats_the_file_and_a_flag_beats_both"]);
    child.env(IS_CHILD, "1").envs(sampled().map(|flag| (flag.variable(), sample(flag, 2))));
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn compare_with_variables() {
    let folder = Folder::new(file_of(sampled(), 1));
    let by_flags = Config::from_flags(&flags_of(with_values(), 2));
    // The switches have variables too, so they are the same in both.
    assert_eq!(differences(&folder.read("").unwrap(), &by_flags), Vec::<String>::new());
    assert!(!folder.read("").unwrap().guests, "the file has true, and the variable false");
    let by_all = folder.read(&flags_of(with_values(), 3)).unwrap();
    assert_eq!(differences(&by_all, &Config::from_flags(&flags_of(with_values(), 3))), Vec::<String>::new());
    assert!(folder.read("--guests").unwrap().guests);
    // The variable of --redis has a password.
    let Err(ConfigError::Asked(help)) = Config::read(["chinwag".into(), "--help".into()]) else {
        panic!("--help has no text");
    };
    assert!(help.contains("[env: CHINWAG_HISTORY=12]") && !help.contains("secret@"), "{help}");
}

#[test]
fn switch_in_the_file_is_true_or_false() {
    assert!(read("guests = true").unwrap().guests);
    let folder = Folder::new("guests = false");
    assert!(!folder.read("").unwrap().guests);
    assert!(folder.read("--guests").unwrap().guests);
}

#[test]
fn rates_by_bytes_are_off_with_the_rate_unless_the_file_sets_them() {
    let off = |text: &str, flags: &str| {
        let config = Folder::new(text).read(flags).unwrap();
        [config.rate.is_none(), config.rate_bytes.is_none(), config.rate_per_ip.is_none()]
    };
    assert_eq!(off("rate = \"off\"", ""), [true, true, true]);
    assert_eq!(off("rate = \"off\"", "--rate 5/s"), [false, false, false]);
    assert_eq!(off("", "--rate off"), [true, true, true]);
    assert_eq!(off("rate-bytes = \"1k/s\"", "--rate off"), [true, false, true]);
    assert_eq!(off("rate = \"off\"\nrate-per-ip = \"1/s\"", ""), [true, true, false]);
    assert_eq!(off("rate-bytes = \"off\"", ""), [false, true, false]);
    let config = Folder::new("rate-bytes = \"1k/s\"").read("--rate-bytes 2k/s").unwrap();
    assert_eq!(config.rate_bytes.map(|rate| Rate::from(rate).amount()), Some(2048));
}

#[test]
fn numbers_and_lists_have_several_notations() {
    for history in ["1000", "1_000", "0x3e8", "\"1000\""] {
        assert_eq!(read(&format!("history = {history}")).unwrap().history, 1000, "{history}");
    }
    assert_eq!(read("line-max = 2048").unwrap().line_max, 2048);
    let lists = ["\"a:1,b:2\"", "[\"a:1\", \"b:2\"]", "[\"a:1,b:2\"]", "[\n  \"a:1\", # one\n  \"b:2\",\n]"];
    for list in lists {
        let expected = Config::from_flags("--line a:1 --line b:2").line;
        assert_eq!(read(&format!("line = {list}")).unwrap().line, expected, "{list}");
    }
    assert_eq!(Folder::new("line = \"a:1\"").read("--line b:2").unwrap().line.len(), 1);
    let expected = Config::from_flags("--origin https://a.example --origin https://b.example").origin;
    assert_eq!(read("origin = \"https://a.example,https://b.example\"").unwrap().origin, expected);
}

#[test]
fn file_may_begin_with_a_byte_order_mark_and_have_other_line_ends() {
    assert_eq!(read("\u{feff}history = 3\r\n").unwrap().history, 3);
    assert_eq!(read("").unwrap().sections, Settings::default());
    assert!(read("history = 3\r\nhistori = 4\r\n").unwrap_err().starts_with("chinwag.toml:2: histori:"));
}

#[test]
fn paths_are_relative_to_the_folder_of_the_file() {
    let folder = Folder::new("motd = \"motd.txt\"\n[filter]\nfile = \"words.txt\"\n");
    folder.write("motd.txt", "be kind\n");
    folder.write("words.txt", "# a comment\n\n  heck \r\ndarn*\n");
    let config = folder.read("").unwrap();
    assert_eq!(config.motd, Some(folder.0.path().join("motd.txt")));
    assert_eq!(config.sections.filter.unwrap().words, ["heck", "darn*"]);
    let absolute = folder.0.path().join("motd.txt");
    assert_eq!(read(&format!("motd = {absolute:?}")).unwrap().motd, Some(absolute));
}

#[test]
fn help_shows_values_of_the_file_but_no_password() {
    let folder = Folder::new("line-max = \"3k\"\nredis = \"redis://:sw0rdf1sh@127.0.0.1\"\n");
    let help =
        |path: &Path| match Config::read(["chinwag".into(), "--config".into(), path.into(), "--help".into()])
        {
            Err(ConfigError::Asked(text)) => text,
            other => panic!("{other:?}"),
        };
    let text = help(&folder.path());
    assert!(text.contains("[default: 3k]") && !text.contains("sw0rdf1sh"), "{text}");
    assert!(help(Path::new("/does/not/exist")).contains("[default: 4k]"));
    let debug = format!("{:?}", folder.read("--redis redis://:other@127.0.0.1").unwrap());
    assert!(!debug.contains("sw0rdf1sh") && !debug.contains("other"), "{debug}");
}

#[test]
fn rooms_accounts_and_the_filter_are_read() {
    let (one, two) = (hash('a'), hash('B'));
    let settings = settings(&format!(
        "[rooms.\"#Radio\"]\nspeak = [\"poller\", \"ann\"]\nenter = \"user\"\ntopic = \"now\"\nhistory = 1\nlisted = \
         false\nannounce = false\n[rooms.lobby]\n[accounts.ann]\ntoken = {one}\nrole = \
         \"admin\"\n[accounts.poller]\ntokens = [{two}]\n[filter]\nwords = [\" a b \"]\naction = \"flag\"\n"
    ));
    assert_eq!(settings.rooms[&RoomName::lobby()], RoomRules::OPEN);
    let radio = &settings.rooms[&RoomName::parse("radio").unwrap()];
    assert!(
        matches!(&radio.speak, Allowed::Accounts(names) if names[0].as_str() == "poller" && names.len() == 2)
    );
    assert_eq!(radio.enter, Allowed::Role(Role::User));
    assert_eq!(radio.topic.as_ref().map(|topic| topic.as_str()), Some("now"));
    assert_eq!((radio.history, radio.listed, radio.announce), (Some(1), false, false));
    let accounts: Vec<_> = settings
        .accounts
        .iter()
        .map(|account| (account.name.as_str(), account.role, account.tokens.len()))
        .collect();
    assert_eq!(accounts, [("ann", Role::Admin, 1), ("poller", Role::User, 1)]);
    let filter = settings.filter.unwrap();
    assert_eq!((filter.words, filter.action), (vec!["a b".to_string()], FilterAction::Flag));
}

/// Files with a mistake, and the whole message.
#[test]
fn mistake_in_a_flag_is_reported_with_file_line_and_key() {
    for (text, message) in [
        ("\nlien-max = 3", "2: lien-max: the key is unknown; did you mean line-max?"),
        ("line_max = 3", "1: line_max: the key is unknown; did you mean line-max?"),
        ("[room.a]", "1: room: the key is unknown; did you mean rooms?"),
        ("qqqq = 1", "1: qqqq: the key is unknown; --help lists the flags"),
        ("line-max = \"1\"", "1: line-max: it must be between 128 and 1m"),
        ("line-max = 127", "1: line-max: it must be between 128 and 1m"),
        ("line-max = true", "1: line-max: it must be a string or a whole number, and is true or false"),
        ("history = 1.5", "1: history: it must be a string or a whole number, and is a fraction"),
        ("history = -1", "1: history: a number is whole and not negative, as in 100"),
        ("history = 99999999999999999999", "1: history: the number is too large; write a smaller one"),
        ("history = [1]", "1: history: it must be a string or a whole number, and is a list"),
        ("history = 2026-01-01", "1: history: it must be a string or a whole number, and is a date or time"),
        ("[history]", "1: history: it must be a string or a whole number, and is a section"),
        ("name-timeout = 60", "1: name-timeout: a time is a whole number and ms, s, m, h or d, as in 10s"),
        ("coalesce = \"1s\"", "1: coalesce: it must be between 1ms and 100ms; `off` lifts the limit"),
        ("log = \"loud\"", "1: log: a level is off, error, warn, info, debug or trace"),
        ("unix-mode = 660", "1: unix-mode: it must be a string, and is a whole number"),
        (
            "guests = \"true\"",
            "1: guests: it must be true or false, without quotation marks, and is a string",
        ),
        ("guests = 1", "1: guests: it must be true or false, without quotation marks, and is a whole number"),
        ("slow-client = \"wait\"", "1: slow-client: a policy is drop or skip"),
        ("host = []", "1: host: the list needs a value; for the default leave the key out"),
        ("host = [\n  \"a\",\n  \"chat.*\",\n]", "3: host: "),
        ("host = [1]", "1: host: it must be a string, and is a whole number"),
        ("redis = \"http://secret\"", "1: redis: it must be redis://"),
        ("rooms = 1", "1: rooms: it must be a section, and is a whole number"),
        ("[[filter]]", "1: filter: it must be a section, and is a list"),
        ("history = 1\nhistory = 2", "2: it is no TOML: duplicate key"),
        ("line-max == 2", "1: it is no TOML: extra `=`, expected nothing"),
        ("\n\na = \"secret", "3: it is no TOML: invalid basic string, expected `\"`"),
        ("unix-mode = 0660", "1: it is no TOML: unexpected leading zero, expected nothing"),
        ("\"a\\u001b[2J\\nb\" = 1", "1: a[2Jb: the key is unknown; --help lists the flags"),
    ] {
        assert_mistake(text, message);
    }
    let nested = format!("a = {}", "[".repeat(1_000_000));
    assert!(read(&nested).unwrap_err().starts_with("chinwag.toml:1: it is no TOML"));
}

#[track_caller]
fn assert_mistake(text: &str, message: &str) {
    let found = read(text).expect_err(text);
    let expected = format!("chinwag.toml:{message}");
    assert!(
        found == expected || message.ends_with([' ', '/']) && found.starts_with(&expected),
        "{text}\n{found}"
    );
    assert!(!found.contains('\n') && !found.contains("secret"), "{found}");
}

#[test]
fn mistake_in_a_room_is_reported_with_file_line_and_key() {
    let long = format!("[rooms.a]\ntopic = \"{}\"", "x".repeat(TOPIC_MAX_BYTES + 1));
    for (text, message) in [
        ("[rooms.\"a b\"]", "1: [rooms.a b]: a room name has letters, digits, and - _ . only"),
        ("[rooms.\"\"]", "1: [rooms.]: a room name needs at least one character"),
        ("[rooms.l0bby]", "1: [rooms.l0bby]: that room name looks like lobby and is not: choose another"),
        ("[rooms.a]\n[rooms.A]", "2: [rooms.A]: it is the same room as in chinwag.toml:1"),
        ("[rooms.a]\n[rooms.\"#a\"]", "2: [rooms.#a]: it is the same room as in chinwag.toml:1"),
        ("[rooms.a]\n[rooms.a]", "2: it is no TOML: duplicate key"),
        ("[rooms]\na = 1", "2: [rooms.a]: it must be a section, and is a whole number"),
        ("[rooms.a]\nspeek = \"user\"", "2: [rooms.a] speek: the key is unknown; did you mean speak?"),
        (
            "[rooms.a]\nq = 1",
            "2: [rooms.a] q: the key is unknown; write one of enter, speak, topic, history, listed, announce",
        ),
        (
            "[rooms.a]\nline-max = 1",
            "2: [rooms.a] line-max: it is a flag, and must be above the first section",
        ),
        (
            "[rooms.a]\nenter = \"gest\"",
            "2: [rooms.a] enter: a role is guest, user, moderator or admin; a list of accounts is in brackets, as in \
             [\"ann\", \"poller\"]",
        ),
        ("[rooms.a]\nenter = 1", "2: [rooms.a] enter: it must be a string, and is a whole number"),
        (
            "[rooms.a]\nspeak = [\"admin\"]",
            "2: [rooms.a] speak: a list has names of accounts; for the role write \"admin\" alone",
        ),
        (
            "[rooms.a]\nspeak = [\n\"ann\",\n\"a b\"]",
            "4: [rooms.a] speak: 'a b' can't be an account: a name has no space in it",
        ),
        (
            "[rooms.a]\ntopic = \" \"",
            "2: [rooms.a] topic: a topic must not be blank; leave the key out for none",
        ),
        (
            "[rooms.a]\ntopic = \"a\\nb\"",
            "2: [rooms.a] topic: a topic is one line without control characters",
        ),
        (&long, "2: [rooms.a] topic: a topic has at most 512 bytes"),
        (
            "[rooms.a]\nhistory = -1",
            "2: [rooms.a] history: the number must be whole, from 0, and not too large",
        ),
        ("[rooms.a]\nhistory = \"1\"", "2: [rooms.a] history: it must be a whole number, and is a string"),
        (
            "[rooms.a]\nlisted = \"no\"",
            "2: [rooms.a] listed: it must be true or false, without quotation marks, and is a string",
        ),
    ] {
        assert_mistake(text, message);
    }
    settings(&long.replacen('x', "", 1));
    settings("[rooms.a]\nspeak = []\nhistory = 0");
}

#[test]
fn mistake_in_an_account_is_reported_with_file_line_and_key() {
    let (one, two) = (hash('1'), hash('2'));
    let account = |rest: &str| format!("[accounts.ann]\n{rest}");
    let token = "a token is sha256: and the 64 hexadecimal digits of its SHA-256 hash";
    for (text, message) in [
        (account("role = \"user\""), "1: [accounts.ann]: an account needs a token".into()),
        (account("token = \"secret\""), format!("2: [accounts.ann] token: {token}")),
        (account("token = \"\""), format!("2: [accounts.ann] token: {token}")),
        (account("token = 1"), "2: [accounts.ann] token: it must be a string, and is a whole number".into()),
        (
            account("tokens = []"),
            "2: [accounts.ann] tokens: the list needs a token".into(),
        ),
        (account("tokens = \"x\""), "2: [accounts.ann] tokens: it must be a list of strings, and is a string".into()),
        (account(&format!("tokens = [\n{one},\n\"\"]")), format!("4: [accounts.ann] tokens: {token}")),
        (
            account(&format!("tokens = [{one}]\ntoken = {two}")),
            "3: [accounts.ann] token: write either token or tokens".into(),
        ),
        (
            account(&format!("tokens = [{one},\n{one}]")),
            "3: [accounts.ann] tokens: the account in chinwag.toml:1 has the same token".into(),
        ),
        (
            account(&format!("token = {one}\n[accounts.bob]\ntoken = {one}")),
            "4: [accounts.bob] token: the account in chinwag.toml:1 has the same token".into(),
        ),
        (
            account(&format!("token = {one}\nrole = \"guest\"")),
            "3: [accounts.ann] role: the role of an account is user, moderator or admin".into(),
        ),
        (
            account(&format!("token = {one}\nroll = \"user\"")),
            "3: [accounts.ann] roll: the key is unknown; did you mean role?".into(),
        ),
        (
            account(&format!("token = {one}\n[accounts.Ann]\ntoken = {two}")),
            "3: [accounts.Ann]: the name is the same as the account ann in chinwag.toml:1".into(),
        ),
        (
            account(&format!("token = {one}\n[accounts.\"аnn\"]\ntoken = {two}")),
            "3: [accounts.аnn]: the name looks like the account ann in chinwag.toml:1".into(),
        ),
        ("[accounts.\"a b\"]".into(), "1: [accounts.a b]: a name has no space in it".into()),
        (
            "[accounts.guest-7]".into(),
            "1: [accounts.guest-7]: that name is kept for the server, or looks like one that is: choose another".into(),
        ),
    ] {
        assert_mistake(&text, &message);
    }
    // Names and tokens of many accounts are compared by tables, not by pairs.
    let account = |number: usize| format!("[accounts.user{number}x]\ntoken = \"sha256:{number:064}\"\n");
    let many: String = (0..5_000).map(account).collect();
    assert_eq!(settings(&many).accounts.len(), 5_000);
    settings(&format!("[accounts.ivan]\ntoken = {one}\n[accounts.lvan]\ntoken = {two}"));
}

#[test]
fn mistake_in_the_filter_is_reported_with_file_line_and_key() {
    for (text, message) in [
        ("[filter]", "1: filter: the filter needs words or file"),
        ("[filter]\nwords = \"a\"", "2: [filter] words: it must be a list of strings, and is a string"),
        (
            "[filter]\nwords = [\n\"a\",\n\"\"]",
            "4: [filter] words: a word of the filter needs a character besides *",
        ),
        ("[filter]\nwords = [\"**\"]", "2: [filter] words: a word of the filter needs a character besides *"),
        (
            "[filter]\nwords = [\"a\\u0000\"]",
            "2: [filter] words: a word of the filter has no control characters",
        ),
        ("[filter]\nwords = [1]", "2: [filter] words: it must be a string, and is a whole number"),
        ("[filter]\nwords = []\nfile = \"a\"", "3: [filter] file: write either words or file"),
        ("[filter]\nwords = []\naction = \"drop\"", "3: [filter] action: an action is mask, refuse or flag"),
        ("[filter]\nword = []", "2: [filter] word: the key is unknown; did you mean words?"),
        (
            "[filter]\nfile = \"nix\"",
            "2: [filter] file: nix: No such file or directory (os error 2); name a readable file",
        ),
    ] {
        assert_mistake(text, message);
    }
    assert_eq!(settings("[filter]\nwords = []").filter.unwrap().action, FilterAction::Mask);
    let folder = Folder::new("[filter]\nfile = \"words.txt\"");
    for (words, message) in [
        (&b"a\n*\n"[..], "words.txt:2: a word of the filter needs a character besides *"),
        (b"a\nb\n\xff\n", "chinwag.toml:2: [filter] file: words.txt:3: it is not UTF-8"),
    ] {
        folder.write("words.txt", words);
        assert_eq!(folder.read("").unwrap_err(), message);
    }
}

#[test]
fn file_that_can_not_be_read_is_reported() {
    let folder = Folder::new(b"history = 3\nline = \"\xff\"\n");
    assert_eq!(folder.read("").unwrap_err(), "chinwag.toml:2: it is not UTF-8");
    let message = |path: &Path| match Config::read(["chinwag".into(), "--config".into(), path.into()]) {
        Err(ConfigError::Wrong(message)) => folder.without_folder(&message),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        message(&folder.0.path().join("nix")),
        "--config nix: No such file or directory (os error 2); name a readable file"
    );
    assert!(message(folder.0.path()).ends_with("it is no regular file; name a readable file"));
    assert_eq!(
        message(Path::new("/dev/zero")),
        "--config /dev/zero: it is no regular file; name a readable file"
    );
    folder.write("chinwag.toml", "#".repeat(FILE_MAX_BYTES as usize));
    assert!(folder.read("").is_ok());
    folder.write("chinwag.toml", "#".repeat(FILE_MAX_BYTES as usize + 1));
    assert_eq!(folder.read("").unwrap_err(), "--config chinwag.toml: it must be at most 16 MiB long");
}

#[test]
fn flags_that_do_not_fit_each_other_are_reported_with_their_places() {
    let folder = Folder::new("\nwrite-buffer = \"4k\"\nwrite-buffer-soft = \"off\"\nmotd = \"nix\"");
    let fit = "--write-buffer must be at least twice --line-max: raise --write-buffer or lower --line-max";
    assert_eq!(folder.read("").unwrap_err(), format!("{fit}; write-buffer is in chinwag.toml:2"));
    assert_eq!(folder.read("--write-buffer 5k").unwrap_err(), fit);
    // A comma or a colon may follow the name of a flag in the message.
    let message = Folder::new("max-http = 1\nmax-waiting = 9\nmax-clients = 2000000").read("").unwrap_err();
    for (name, line) in [("max-http", 1), ("max-waiting", 2), ("max-clients", 3)] {
        assert!(message.contains(&format!("; {name} is in chinwag.toml:{line}")), "{message}");
    }
    assert_eq!(
        folder.read("--write-buffer 1m").unwrap_err(),
        "--motd nix: No such file or directory (os error 2); name a readable file; motd is in chinwag.toml:4"
    );
}

#[test]
fn value_that_a_flag_replaces_is_checked_too() {
    assert!(Folder::new("line-max = 1").read("--line-max 4k").is_err());
    assert!(Folder::new("[rooms.a]\nq = 1").read("--check").is_err());
}

#[test]
fn wrong_flag_is_reported_although_there_is_a_file() {
    let folder = Folder::new("history = 3");
    assert!(folder.read("--history x").unwrap_err().starts_with("invalid value 'x' for '--history <N>'"));
    assert!(folder.read("--histori 3").unwrap_err().starts_with("unexpected argument '--histori'"));
}

#[test]
fn file_read_again_changes_flags_at_once_or_names_them() {
    let folder = Folder::new("history = 3\nline-max = \"2k\"\n");
    let config = folder.read("--grace 1s").unwrap();
    assert_eq!(config.reread().unwrap().at_once, Vec::<String>::new());
    folder.write("chinwag.toml", "history = 4\nline-max = \"3k\"\ngrace = \"9s\"\n[rooms.a]\n");
    let reloaded = config.reread().unwrap();
    assert_eq!(reloaded.at_once, ["history", "rooms"]);
    assert_eq!(reloaded.needs_restart, ["line-max"]);
    assert_eq!((reloaded.config.history, reloaded.config.line_max), (4, 2048));
    assert_eq!((reloaded.config.sections.rooms.len(), reloaded.config.grace.as_secs()), (1, 1));
    // A flag that waits for a restart is named each time.
    let again = reloaded.config.reread().unwrap();
    assert_eq!((again.at_once.len(), again.needs_restart), (0, vec!["line-max".into()]));
    folder.write("chinwag.toml", "history = 5\nline-max = 1\n");
    assert_eq!(
        folder.without_folder(&again.config.reread().unwrap_err()),
        "chinwag.toml:2: line-max: it must be between 128 and 1m"
    );
}

#[test]
fn flags_that_fit_only_after_a_restart_wait_together() {
    let folder = Folder::new("");
    let config = folder.read("").unwrap();
    folder.write(
        "chinwag.toml",
        "write-buffer = \"64k\"\nburst-bytes = \"32k\"\nmessage-max = \"16k\"\n[rooms.a]\n",
    );
    let reloaded = config.reread().unwrap();
    // The sections do not wait with them.
    assert_eq!(reloaded.at_once, ["rooms"]);
    assert_eq!(reloaded.needs_restart, ["burst-bytes", "write-buffer", "message-max"]);
    assert_eq!((reloaded.config.burst_bytes, reloaded.config.sections.rooms.len()), (None, 1));
}

#[test]
fn limits_lowered_to_fit_open_files_are_no_change() {
    let folder = Folder::new("");
    let mut config = folder.read("").unwrap();
    assert!(config.fit_descriptors(1_024).unwrap().is_some());
    let again = config.reread().unwrap();
    assert_eq!(again.needs_restart, Vec::<String>::new());
    assert_eq!(again.config.reread().unwrap().needs_restart, Vec::<String>::new(), "a second time");
    folder.write("chinwag.toml", "max-clients = 100");
    assert_eq!(config.reread().unwrap().needs_restart, ["max-clients"]);
}

#[test]
fn smallest_limit_on_open_files_leaves_a_client_and_a_request() {
    let mut config = Config::from_flags("");
    let advice = config.fit_descriptors(50).unwrap_err();
    assert!(advice.contains("raise it to at least 102, or lower --max-closing from 64"), "{advice}");
    assert!(config.fit_descriptors(102).unwrap().is_some());
    assert_eq!((config.max_clients, config.max_waiting, config.max_http), (1, 0, 1));
}

#[test]
fn guests_are_asked_for_their_names_if_they_must_log_in() {
    let asks = |flags| Config::from_flags(flags).asks_names();
    assert!(asks("") && asks("--access login") && asks("--guests --access login"));
    assert!(!asks("--guests"));
}

#[test]
fn example_of_the_guide_is_accepted() {
    let page = include_str!("../../src/guide/operating.md");
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 1);
    let folder = Folder::new(examples[0]);
    let config = folder.read("").unwrap();
    assert_eq!((config.history, config.guests, config.host.len()), (50, true, 1));
    let sections = &config.sections;
    assert_eq!((sections.rooms.len(), sections.accounts.len(), sections.filter.is_some()), (1, 2, true));
}

#[test]
fn sections_of_the_page_on_access_are_accepted() {
    let page = include_str!("../../src/guide/access.md");
    let sections: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(sections.len(), 2);
    let sections = Folder::new(sections.concat()).read("").unwrap().sections;
    assert_eq!((sections.rooms.len(), sections.filter.is_some()), (1, true));
}

#[test]
fn file_that_ends_anywhere_is_read_or_has_a_message_of_one_line() {
    let example = format!(
        "line = [\"0.0.0.0:7711\", \"unix:/run/chinwag/line.sock\"]\nguests = true\nmotd = \"motd.txt\"\n\
         [rooms.radio]\nspeak = [\"ann\"]\ntopic = \"What is playing\"\nhistory = 1\n\
         [accounts.ann]\nrole = \"moderator\"\ntokens = [\n    \"{}\",\n    \"{}\",\n]\n\
         [filter]\nwords = [\"heck\", \"darn*\"]\naction = \"mask\"\n",
        hash('1'),
        hash('2')
    );
    let folder = Folder::new("");
    folder.write("motd.txt", "be kind\n");
    let mut refused = 0;
    for end in 0..example.len() {
        folder.write("chinwag.toml", &example[..end]);
        if let Err(message) = folder.read("") {
            assert!(message.starts_with("chinwag.toml:") || message.contains("--motd"), "{end}: {message}");
            assert!(!message.contains('\n'), "{end}: {message}");
            refused += 1;
        }
    }
    assert!(refused > example.len() / 4, "{refused} of {}", example.len());
}

#[test]
fn guide_lists_the_flags_that_change_at_once() {
    let page = include_str!("../../src/guide/operating.md");
    let list = page.split("These flags take effect at once").nth(1).unwrap().split("\n- ").next().unwrap();
    let listed: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    let at_once = FLAGS.iter().filter(|flag| flag.on_reload == OnReload::AtOnce);
    assert_eq!(listed, at_once.map(Flag::name).collect::<Vec<_>>());
}

/// Runs `chinwag token` with these arguments.
fn token_command(args: &[&str]) -> Result<String, String> {
    let args = ["chinwag", "token"].iter().chain(args).map(OsString::from);
    match Config::read(args) {
        Err(ConfigError::Asked(text)) => Ok(text),
        Err(ConfigError::Wrong(message)) => Err(message),
        Ok(config) => panic!("{config:?}"),
    }
}

#[test]
fn token_command_prints_a_token_and_the_section_of_its_account() {
    for (name, args, role) in [
        ("ann", &[][..], Role::User),
        ("ann", &["--role", "moderator"], Role::Moderator),
        ("a-b_2", &["--role=admin"], Role::Admin),
        ("a.b", &[], Role::User),
        ("zoë", &[], Role::User),
        ("O'Brien", &[], Role::User),
        ("a\"b\\c", &[], Role::User),
        ("a\\\"", &[], Role::User),
        ("a]=x", &[], Role::User),
        ("🦀", &[], Role::User),
    ] {
        let text = token_command(&[&[name], args].concat()).unwrap();
        let (secret, section) = text.split_once('\n').unwrap();
        let accounts = settings(section).accounts;
        assert_eq!((accounts.len(), accounts[0].name.as_str(), accounts[0].role), (1, name, role));
        assert_eq!(accounts[0].tokens, [LoginToken::parse(secret).unwrap().hash()]);
        assert!(!section.contains(secret));
    }
    let text = token_command(&["ann"]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1..3], ["[accounts.ann]", "role = \"user\""]);
    assert_ne!(token_command(&["ann"]).unwrap(), text);
}

#[test]
fn mistake_in_the_token_command_is_reported_in_one_line() {
    for (args, part) in [
        (&[][..], "<NAME>"),
        (&["a b"], "'<NAME>': a name has no space in it"),
        (&["admin"], "that name is kept for the server"),
        (&["ann", "--role", "guest"], "the role of an account is user, moderator or admin"),
        (&["ann", "--role", "root"], "the role of an account is user, moderator or admin"),
        (&["ann", "bob"], "unexpected argument 'bob'"),
        (&["ann", "--line", "none"], "unexpected argument '--line'"),
    ] {
        let message = token_command(args).unwrap_err();
        assert!(message.contains(part) && !message.contains('\n'), "{args:?}: {message}");
    }
    // The command needs no good configuration file, since its output is for one.
    let folder = Folder::new("histori = 3");
    let args =
        ["chinwag".into(), "--config".into(), folder.path().into_os_string(), "token".into(), "ann".into()];
    assert!(matches!(Config::read(args), Err(ConfigError::Asked(_))));
    let help = Config::command().render_help().to_string();
    assert!(help.contains("token  Make a token for an account"), "{help}");
}

#[test]
fn key_of_web_tokens_is_read_from_beside_the_file() {
    let folder = Folder::new("jwt-key = \"jwt.key\"\n");
    assert_eq!(
        folder.read("").unwrap_err(),
        "--jwt-key jwt.key: No such file or directory (os error 2); name a readable file; jwt-key is in chinwag.toml:1"
    );
    folder.write("jwt.key", "short\n");
    let message = folder.read("--check").unwrap_err();
    assert!(message.starts_with("--jwt-key jwt.key: the secret has 5 bytes, but needs 32"), "{message}");
    folder.write("jwt.key", "x".repeat(32));
    let config = folder.read("").unwrap();
    assert!(read_jwt_key(&config).unwrap().is_some());
    assert!(read_jwt_key(&Config::from_flags("")).unwrap().is_none());
    folder.write("jwt.key", "short");
    assert!(config.reread().is_err());
    folder.write("chinwag.toml", "jwt-audience = \"\"");
    let message = "chinwag.toml:1: jwt-audience: it must be at least 1 bytes long";
    assert_eq!(folder.read("").unwrap_err(), message);
}

#[test]
fn changed_sections_are_named() {
    let folder = Folder::new("history = 5\n");
    let config = folder.read("").unwrap();
    folder.write("chinwag.toml", "history = 6\n[rooms.a]\nspeak = \"user\"\n[filter]\nwords = [\"heck\"]\n");
    let reloaded = config.reread().unwrap();
    assert_eq!(reloaded.at_once, ["history", "rooms", "filter"]);
    assert_eq!(reloaded.config.reread().unwrap().at_once, Vec::<String>::new());
}
