//! Configuration of the server, from flags, environment variables and a file: [`Config`].
//!
//! The file is optional (`--config`). A flag wins over a variable, and a variable over the file. `config/file.rs` is its text,
//! `config/flag_values.rs` its flags, `config/sections.rs` the rest of it, and `config/reload.rs` reads it again.
//!
//! Each flag is a row of `config/table.rs` with its unit, default, bounds and help. Rules that tie several flags to
//! each other are in `config/checks.rs`.

mod address;
mod allowed;
mod checks;
mod descriptors;
mod file;
mod flag;
mod flag_values;
mod jwt_key;
mod motd;
mod redis;
mod reload;
mod sections;
mod table;
mod token_command;
mod trusted;
mod units;
mod value;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction};

pub use address::{Address, UnixMode};
pub use allowed::{AllowedHost, AllowedOrigin, HostName, Origin};
pub use checks::{DISCARD_MAX_BYTES, MOST_ROOMS_PER_CLIENT, UNNAMED_BUFFER_BYTES, frame_bytes};
pub use file::FILE_MAX_BYTES;
pub use flag::{DefaultValue, Flag, OnReload, Unit};
pub use jwt_key::read_jwt_key;
pub use motd::read_motd;
pub use redis::{RedisAddress, RedisUrl};
pub use reload::Reloaded;
pub use table::{Config, FLAGS};
pub use trusted::TrustedProxy;
pub use units::{ByteRate, OrOff, Rate, Soft};

use crate::access::Settings;
use address::listeners;
use file::{FileText, Section};
use flag_values::FileValues;
use reload::ConfigSource;

/// Policy for a client that reads too slowly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlowClient {
    /// The client is closed with a reason.
    Drop,
    /// Messages are left out; once the client reads again, it is sent their number.
    Skip,
}

/// Clients that are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessMode {
    /// All.
    Open,
    /// Those that have logged in.
    Login,
}

/// Policy for a second session of an account, which has the same name as the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takeover {
    /// The newer session gets the name, and the older one is sent a notice.
    Newer,
    /// The older session keeps the name.
    Older,
}

/// Result of reading the flags other than a [`Config`].
#[derive(Debug)]
pub enum ConfigError {
    /// Text for standard output: the help, the version, or a new token.
    Asked(String),
    /// Problem with a flag or a variable, in one line that names it.
    Wrong(String),
}

impl Config {
    /// Reads flags (the first argument is the program's name), the environment, and the file that they name.
    ///
    /// # Errors
    /// [`ConfigError::Wrong`] for a bad value and for flags that don't fit each other, [`ConfigError::Asked`] for
    /// `--help`, `--version` and the command `token`.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Config, ConfigError> {
        let args: Vec<OsString> = args.into_iter().collect();
        let (file, sections) = configuration_file(&args).map_err(ConfigError::Wrong)?;
        let matches =
            table::command(&file).try_get_matches_from(&args).map_err(|error| match error.use_stderr() {
                true if redis::is_stray(&error) => ConfigError::Wrong(redis::STRAY.into()),
                true => ConfigError::Wrong(one_line(&error.to_string())),
                false => ConfigError::Asked(error.to_string()),
            })?;
        if let Some((_, matches)) = matches.subcommand() {
            let text = token_command::run(matches).map_err(ConfigError::Wrong)?;
            return Err(ConfigError::Asked(text));
        }
        let used = file.used(&matches);
        let config = Config::from_matches(
            matches,
            sections,
            ConfigSource { args, descriptors: None, has_http_listener: None },
        );
        checks::check(&config)
            .map_err(|problem| ConfigError::Wrong(flag_values::with_places(&problem, &used)))?;
        Ok(config)
    }

    /// Whether line clients are asked for their names when they connect. A client that must log in is.
    pub fn asks_names(&self) -> bool {
        !self.guests || self.access == AccessMode::Login
    }

    /// The command line as clap reads it, without a configuration file.
    pub fn command() -> clap::Command {
        table::command(&FileValues::default())
    }

    /// Like [`Config::read`], for tests and benches.
    ///
    /// # Panics
    /// If a flag is wrong.
    pub fn from_flags(flags: &str) -> Config {
        let args = std::iter::once("chinwag").chain(flags.split_whitespace()).map(OsString::from);
        match Config::read(args) {
            Ok(config) => config,
            Err(error) => panic!("flags {flags:?}: {error:?}"),
        }
    }

    /// Addresses of the line listeners to open.
    pub fn line_listeners(&self) -> Vec<Address> {
        listeners(&self.line, "127.0.0.1:7711")
    }

    /// Addresses of the HTTP listeners to open.
    pub fn http_listeners(&self) -> Vec<Address> {
        listeners(&self.http, "127.0.0.1:7712")
    }

    /// Records whether an HTTP listener was opened.
    pub fn record_listeners(&mut self, has_http: bool) {
        self.source.has_http_listener = Some(has_http);
    }

    /// Most HTTP connections that are not clients: 0 without an HTTP listener.
    pub fn http_slots(&self) -> usize {
        let has_http = self.source.has_http_listener.unwrap_or(!self.http_listeners().is_empty());
        if has_http { self.max_http } else { 0 }
    }

    /// `--message-max`, or less if `--write-buffer` can't hold that message as JSON.
    pub fn message_max_bytes(&self) -> usize {
        self.message_max.min(checks::longest_text_in(self.write_buffer))
    }

    /// `--line-max`, or less if `--write-buffer` can't hold that line as JSON.
    pub fn line_max_bytes(&self) -> usize {
        self.line_max.min(checks::longest_text_in(self.write_buffer))
    }

    /// `--burst-bytes` or its default.
    pub fn burst_bytes(&self) -> usize {
        self.burst_bytes.unwrap_or(self.write_buffer / 2)
    }

    /// `--write-buffer-soft`, with enough time for the slowest supported reader to take a whole round.
    pub fn soft(&self) -> Option<Soft> {
        let least = checks::time_at_floor(checks::ROUND_BYTES.min(self.round_bytes()));
        self.write_buffer_soft.map(|soft| Soft { span: soft.span.max(least), ..soft })
    }

    /// High-water mark of a client's queued output: above it a slow client holds back the senders in its rooms. The
    /// longest message still fits into the write buffer above it.
    pub fn watermark_bytes(&self) -> usize {
        let soft_bytes = self.write_buffer_soft.map_or(self.write_buffer / 2, |soft| soft.bytes);
        soft_bytes.min(self.write_buffer.saturating_sub(self.frame_max_bytes()))
    }

    /// Most output queued above the high-water mark in one round.
    pub fn round_bytes(&self) -> usize {
        let most_bytes = checks::ROUND_BYTES.max(self.frame_max_bytes());
        most_bytes.min(self.write_buffer - self.watermark_bytes())
    }

    /// Most bytes that one message takes in one client's queue.
    fn frame_max_bytes(&self) -> usize {
        checks::frame_bytes(self.line_max_bytes().max(self.message_max_bytes()))
    }

    /// Variables that begin with `CHINWAG_` but belong to no flag: most likely typing errors.
    pub fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
        let is_known = |name: &str| table::FLAGS.iter().any(|flag| flag.variable() == name);
        names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name.starts_with("CHINWAG_") && !is_known(name))
            .collect()
    }
}

/// Reads the configuration file, if there is one. `--help` and the command `token` work with a bad file too.
fn configuration_file(args: &[OsString]) -> Result<(FileValues, Settings), String> {
    let (path, is_asked) = configuration_path(args);
    let Some(path) = path else {
        return Ok(Default::default());
    };
    let read = || {
        let file = FileText::read(&path, "--config ")?;
        let document = file.parse()?;
        let top = Section::new(&file, document.get_ref());
        Ok((FileValues::read(top)?, sections::read(top)?))
    };
    match read() {
        Err(_) if is_asked => Ok(Default::default()),
        result => result,
    }
}

/// The value of `--config`, and whether `--help`, `--version` or a command is given. If a flag is wrong there is no value, and
/// the reading without the file reports the flag.
fn configuration_path(args: &[OsString]) -> (Option<PathBuf>, bool) {
    let asked =
        |name: &'static str, short: char| Arg::new(name).long(name).short(short).action(ArgAction::SetTrue);
    let command = Config::command()
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args([asked("help", 'h'), asked("version", 'V')]);
    match command.try_get_matches_from(args) {
        Ok(mut matches) => {
            let is_asked =
                matches.get_flag("help") || matches.get_flag("version") || matches.subcommand().is_some();
            (matches.remove_one("config"), is_asked)
        }
        Err(_) => (None, false),
    }
}

/// Problem and tips of clap's message, on one line.
fn one_line(message: &str) -> String {
    let mut paragraphs = message.split("\n\n").map(|paragraph| {
        let words = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        words.trim_start_matches("error: ").to_string()
    });
    let mut line = paragraphs.next().unwrap_or_default();
    for hint in paragraphs.filter(|paragraph| paragraph.starts_with("tip:")) {
        line = format!("{line}; {}", hint.trim_start_matches("tip: "));
    }
    format!("{line} (--help lists the flags)")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn defaults_are_those_of_the_promises() {
        let config = Config::from_flags("");
        assert_eq!(config.line_listeners(), [Address::Tcp("127.0.0.1:7711".into())]);
        assert_eq!((config.line_max, config.write_buffer, config.memory), (4 << 10, 256 << 10, 256 << 20));
        let soft = config.write_buffer_soft.unwrap();
        assert_eq!((soft.bytes, soft.span), (64 << 10, Duration::from_secs(10)));
        let rate = config.rate.unwrap();
        assert_eq!((rate.amount(), rate.span()), (5, Duration::from_secs(1)));
        let rate = Rate::from(config.rate_bytes.unwrap());
        assert_eq!(
            (rate.amount(), rate.span(), config.burst_bytes()),
            (64 << 10, Duration::from_secs(1), 128 << 10)
        );
        assert_eq!((config.watermark_bytes(), config.round_bytes()), (64 << 10, 192 << 10));
        assert_eq!((config.max_clients, config.max_waiting, *config.max_per_ip), (10_000, 1_000, Some(64)));
        assert_eq!((config.history, config.history_shown, config.history_memory), (100, 20, 16 << 20));
        assert_eq!(*config.idle_timeout, None);
        assert_eq!(config.slow_client, SlowClient::Drop);
    }

    #[test]
    fn repeated_listeners_replace_the_default() {
        let config = Config::from_flags("--line [::1]:7000 --line unix:/tmp/x --line localhost:0");
        let expected = [
            Address::Tcp("[::1]:7000".into()),
            Address::Unix("/tmp/x".into()),
            Address::Tcp("localhost:0".into()),
        ];
        assert_eq!(config.line_listeners(), expected);
        assert_eq!(Config::from_flags("--line none").line_listeners(), []);
        for bad in ["7711", ":7711", "host:", "host:99999", "unix:"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_of_unix_sockets_are_octal() {
        assert_eq!(Config::from_flags("").unix_mode, None);
        for (good, mode) in [("0660", 0o660), ("660", 0o660), ("0777", 0o777), ("0", 0)] {
            assert_eq!(Config::from_flags(&format!("--unix-mode {good}")).unix_mode, Some(UnixMode(mode)));
        }
        for bad in ["0668", "1000", "7777", "00660", "0o660", "-660", "+660", "rw", ""] {
            assert!(bad.parse::<UnixMode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn variable_without_a_flag_is_found() {
        let names = ["CHINWAG_LINE_MAX", "CHINWAG_LINEMAX", "HOME"].map(OsString::from);
        assert_eq!(Config::unknown_variables(names.into_iter()), ["CHINWAG_LINEMAX"]);
    }

    fn wrong(flags: &str) -> String {
        let args = std::iter::once("chinwag").chain(flags.split_whitespace()).map(OsString::from);
        match Config::read(args) {
            Err(ConfigError::Wrong(message)) => message,
            other => panic!("{flags:?} gave {other:?}"),
        }
    }

    #[test]
    fn bad_flag_is_reported_in_one_line_that_names_it() {
        let table = [
            ("--lien x", "--lien"),
            ("--line 7711", "HOST:PORT"),
            ("--line-max 64q", "--line-max"),
            ("--line-max 100", "between 128 and 1m"),
            ("--line-max 2m", "between 128 and 1m"),
            ("--write-buffer 4095", "between 4k and 1g"),
            ("--line-max 4k --write-buffer 8191", "twice --line-max"),
            ("--write-buffer 64k --write-buffer-soft 65537:1s", "at most --write-buffer"),
            ("--memory 1k", "--memory"),
            ("--write-buffer 1025m --memory 2g", "between 4k and 1g"),
            ("--burst 0", "--burst"),
            ("--burst-bytes 65535", "--burst-bytes must be at least --message-max"),
            ("--burst-bytes 4095 --message-max 1k", "--burst-bytes must be at least --line-max"),
            ("--burst-bytes 131073", "--burst-bytes must be at most half of --write-buffer"),
            (
                "--burst-bytes 100k --write-buffer 150k",
                "--burst-bytes must be at most half of --write-buffer",
            ),
            ("--rate-bytes 64k", "--rate-bytes"),
            ("--rate-bytes 0/s", "--rate-bytes"),
            ("--line-max 1m --write-buffer 2m", "--write-buffer-soft must be at least 16778ms"),
            ("--message-max 2m --write-buffer 8m --write-buffer-soft 64k:33s", "--message-max"),
            ("--name-timeout 0s", "--name-timeout"),
            ("--write-buffer-soft 64k:0s", "--write-buffer-soft"),
            ("--max-clients 0", "at least 1"),
            ("--max-rooms 0", "at least 1"),
            ("--max-clients 2000000", "at most"),
            (
                "--max-clients 1000000 --max-waiting 48575 --max-http 1 --max-closing 1",
                "together must be at most 1048576",
            ),
            ("--max-http 0", "'0' for '--max-http <N>': it must be at least 1"),
            ("--max-closing 0", "--max-closing"),
            ("--max-rooms-per-client 0", "between 1 and 1024"),
            ("--max-rooms-per-client 1025", "between 1 and 1024"),
            ("--message-max 511", "between 512 and 16m"),
            ("--message-max 16777217", "between 512 and 16m"),
            ("--http-timeout 0s", "--http-timeout"),
            ("--ping-interval 0s", "--ping-interval"),
            ("--ping-timeout 0s", "--ping-timeout"),
            ("--origin localhost", "an origin is https://HOST"),
            ("--origin https://localhost/", "an origin is https://HOST"),
            ("--origin https://localhost?a", "an origin is https://HOST"),
            ("--origin https://", "an origin is https://HOST"),
            ("--origin ://localhost", "an origin is https://HOST"),
            ("--origin https://localhost/", "write https://localhost"),
            ("--origin https://a,https://*", "write * alone"),
            ("--host https://localhost", "write localhost"),
            ("--host chat.*", "a host is NAME"),
            ("--rate 5", "--rate"),
            ("--rate 0/s", "--rate"),
            ("--stall-timeout 5", "--stall-timeout"),
            ("--slow-client maybe", "drop"),
            ("--log loud", "--log"),
            ("--motd /does/not/exist", "/does/not/exist"),
            ("--coalesce 101ms", "between 1ms and 100ms"),
            ("--grace", "--grace"),
            ("stray", "stray"),
        ];
        for (flags, expected) in table {
            let message = wrong(flags);
            assert!(message.contains(expected), "{flags:?}: {message}");
            assert!(!message.contains('\n'), "{flags:?}: {message}");
        }
    }

    #[test]
    fn flags_that_fit_each_other_are_accepted() {
        for flags in [
            "--line-max 128",
            "--line-max 1m --write-buffer 2m --write-buffer-soft 64k:17s",
            "--line-max 1m --write-buffer 2m --write-buffer-soft off",
            "--message-max 2m --write-buffer 8m --write-buffer-soft 64k:34s",
            "--burst-bytes 65536 --write-buffer 256k",
            "--burst-bytes 131072",
            "--burst-bytes 4k --message-max 1k",
            "--rate-bytes 1/h",
            "--rate-bytes off",
            "--line-max 2k --write-buffer 4096 --write-buffer-soft 4096:1s",
            "--write-buffer 64k --write-buffer-soft 65536:1s",
            "--write-buffer 64k --write-buffer-soft off --memory 64k",
            "--write-buffer 1g --memory 1g",
            "--burst 1 --max-clients 1 --max-rooms 1 --max-waiting 0 --history 0 --grace 0s",
            "--max-clients 1000000 --max-waiting 48574 --max-http 1 --max-closing 1",
            "--max-rooms-per-client 1",
            "--max-rooms-per-client 1024",
            "--message-max 512",
            "--message-max 16m",
            "--name-timeout 1ms --http-timeout 1ms --ping-interval 1ms --ping-timeout 1ms",
            "--write-buffer-soft 64k:1ms",
            "--origin https://localhost --origin *",
            "--origin https://localhost:443,HTTP://*.example.org:8080,null,https://bücher.example",
            "--host Chat.Example.,chat.example:8080,*.example.org,[::1]:80,::1,10.0.0.1,bücher.example,*",
            "--coalesce 100ms",
            "--coalesce off",
        ] {
            Config::from_flags(flags);
        }
    }
}
