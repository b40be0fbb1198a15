//! Every flag, with its unit, default and environment variable: [`Config`].
//!
//! `chinwag --help` is made from this file. A new limit starts here, and its bounds are in `config/bounds.rs`;
//! `tests/tidy.rs` fails until it also has a row in `src/guide/operating.md`.

mod address;
mod allowed;
mod bounds;
mod descriptors;
mod motd;
mod redis;
mod units;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{CommandFactory, Parser, ValueEnum};
use log::LevelFilter;

use address::listeners;
pub use address::{Address, UnixMode};
pub use allowed::{AllowedHost, AllowedOrigin, HostName, Origin};
pub use bounds::{DISCARD_MAX_BYTES, MOST_ROOMS_PER_CLIENT, UNNAMED_BUFFER_BYTES, frame_bytes};
pub use motd::read_motd;
use redis::SecretParser;
pub use redis::{RedisAddress, RedisUrl};
pub use units::{ByteRate, OrOff, Rate, Soft};
use units::{size, span};

/// The headings of `--help`.
const DOORS: &str = "Listeners";
const CHAT: &str = "Chat";
const CLIENT: &str = "Limits for one client";
const SERVER: &str = "Limits for the server";
const REDIS: &str = "Redis";
const OPERATION: &str = "Operation";

/// What the server was asked to be. Field by field, the flags of `chinwag --help`.
///
/// Sizes are `512`, `64k`, `1m`, `2g` (powers of 1024, bytes), times `500ms`, `10s`, `5m`, `1h`, rates `5/s`,
/// `30/m`; `off` lifts a limit where that is safe. Each flag is also an environment variable: `CHINWAG_` and its name.
#[derive(Parser, Clone, Debug)]
#[command(name = "chinwag", version, about = "A chat and broadcast server on one poll loop.", long_about = None)]
#[command(
    after_help = "Sizes: 512, 64k, 1m. Times: 500ms, 10s, 5m. Rates: 5/s, 30/m. `off` lifts a limit where \
    that is safe.\nEach flag is also an environment variable: --line-max is CHINWAG_LINE_MAX."
)]
pub struct Config {
    /// Address of the line listener: HOST:PORT, unix:/PATH, or none (repeatable) [default: 127.0.0.1:7711]
    #[arg(long, value_name = "ADDR", env = "CHINWAG_LINE", value_delimiter = ',', help_heading = DOORS)]
    pub line: Vec<Address>,

    /// Address of the HTTP and WebSocket listener: HOST:PORT, unix:/PATH, or none (repeatable) [default: 127.0.0.1:7712]
    #[arg(long, value_name = "ADDR", env = "CHINWAG_HTTP", value_delimiter = ',', help_heading = DOORS)]
    pub http: Vec<Address>,

    /// Permissions of the Unix sockets of --line and --http, in octal as in 0660 [default: what the umask leaves]
    #[arg(long, value_name = "MODE", env = "CHINWAG_UNIX_MODE", help_heading = DOORS)]
    pub unix_mode: Option<UnixMode>,

    /// Web page, besides our own, that may open WebSockets, publish and read: https://HOST, http://HOST:PORT,
    /// https://*.DOMAIN, null for pages from files, or * (repeatable)
    #[arg(long, value_name = "ORIGIN", env = "CHINWAG_ORIGIN", value_delimiter = ',', help_heading = DOORS)]
    pub origin: Vec<AllowedOrigin>,

    /// Name that the HTTP listener answers to besides localhost: NAME, NAME:PORT, *.DOMAIN, or * (repeatable) [default: none
    /// on a loopback address, every name elsewhere]
    #[arg(long, value_name = "HOST", env = "CHINWAG_HOST", value_delimiter = ',', help_heading = DOORS)]
    pub host: Vec<AllowedHost>,

    /// Let everyone start under a guest name instead of asking for one
    #[arg(long, env = "CHINWAG_GUESTS", value_parser = FalseyValueParser::new(), help_heading = CHAT)]
    pub guests: bool,

    /// File whose lines greet everyone who connects; read again on SIGHUP
    #[arg(long, value_name = "FILE", env = "CHINWAG_MOTD", help_heading = CHAT)]
    pub motd: Option<PathBuf>,

    /// Members up to which a room announces each join and leave; a larger one gets a summary every 10 s
    #[arg(long, value_name = "N", env = "CHINWAG_ANNOUNCE_MAX", default_value = "50", help_heading = CHAT)]
    pub announce_max: usize,

    /// Messages a room remembers
    #[arg(long, value_name = "N", env = "CHINWAG_HISTORY", default_value = "100", help_heading = CHAT)]
    pub history: usize,

    /// Remembered messages shown to who joins a room
    #[arg(long, value_name = "N", env = "CHINWAG_HISTORY_SHOWN", default_value = "20", help_heading = CHAT)]
    pub history_shown: usize,

    /// Memory for the history of all rooms together; past it the oldest messages go
    #[arg(long, value_name = "SIZE", env = "CHINWAG_HISTORY_MEMORY", default_value = "16m",
          value_parser = size, help_heading = CHAT)]
    pub history_memory: usize,

    /// Longest line a client may send, without its end; past it an error and the rest of the line is thrown away
    #[arg(long, value_name = "SIZE", env = "CHINWAG_LINE_MAX", default_value = "4k", value_parser = size,
          help_heading = CLIENT)]
    pub line_max: usize,

    /// Lines or messages a client may send in the long run, or off; past it the client is read more slowly, nothing is lost
    #[arg(long, value_name = "RATE", env = "CHINWAG_RATE", default_value = "5/s", help_heading = CLIENT)]
    pub rate: OrOff<Rate>,

    /// Lines or messages a client may send at once before --rate applies
    #[arg(long, value_name = "N", env = "CHINWAG_BURST", default_value = "10", help_heading = CLIENT)]
    pub burst: u32,

    /// Bytes of text and data a client may send in the long run, or off; past it the client is read more slowly [default:
    /// 64k/s, or off where --rate is off]
    #[arg(long, value_name = "RATE", env = "CHINWAG_RATE_BYTES", default_value = "64k/s", hide_default_value = true,
          default_value_if("rate", "off", "off"), help_heading = CLIENT)]
    pub rate_bytes: OrOff<ByteRate>,

    /// Bytes a client may send at once before --rate-bytes applies [default: half of --write-buffer]
    #[arg(long, value_name = "SIZE", env = "CHINWAG_BURST_BYTES", value_parser = size, help_heading = CLIENT)]
    pub burst_bytes: Option<usize>,

    /// Output waiting for one client at which it is dropped (see --slow-client)
    #[arg(long, value_name = "SIZE", env = "CHINWAG_WRITE_BUFFER", default_value = "256k",
          value_parser = size, help_heading = CLIENT)]
    pub write_buffer: usize,

    /// Output waiting for one client that may not stay longer than this, or off
    #[arg(long, value_name = "SIZE:TIME", env = "CHINWAG_WRITE_BUFFER_SOFT", default_value = "64k:10s",
          help_heading = CLIENT)]
    pub write_buffer_soft: OrOff<Soft>,

    /// A client that takes nothing of its waiting output for this long is dropped, or off
    #[arg(long, value_name = "TIME", env = "CHINWAG_STALL_TIMEOUT", default_value = "10s",
          help_heading = CLIENT)]
    pub stall_timeout: OrOff<Duration>,

    /// What becomes of a client that reads too slowly: drop closes it, skip leaves messages out and says how many
    #[arg(long, value_name = "POLICY", env = "CHINWAG_SLOW_CLIENT", default_value = "drop",
          help_heading = CLIENT)]
    pub slow_client: SlowClient,

    /// Time a client has to give a name
    #[arg(long, value_name = "TIME", env = "CHINWAG_NAME_TIMEOUT", default_value = "60s",
          value_parser = span, help_heading = CLIENT)]
    pub name_timeout: Duration,

    /// A client that sends nothing for this long is told and closed
    #[arg(long, value_name = "TIME", env = "CHINWAG_IDLE_TIMEOUT", default_value = "off",
          help_heading = CLIENT)]
    pub idle_timeout: OrOff<Duration>,

    /// Longest WebSocket message, and longest body of an HTTP request; past it closed with 1009, or refused with 413
    #[arg(long, value_name = "SIZE", env = "CHINWAG_MESSAGE_MAX", default_value = "64k",
          value_parser = size, help_heading = CLIENT)]
    pub message_max: usize,

    /// Rooms that a WebSocket client may be in at once
    #[arg(long, value_name = "N", env = "CHINWAG_MAX_ROOMS_PER_CLIENT", default_value = "64",
          help_heading = CLIENT)]
    pub max_rooms_per_client: usize,

    /// Time an HTTP client has to finish the head of a request, and to begin the next one
    #[arg(long, value_name = "TIME", env = "CHINWAG_HTTP_TIMEOUT", default_value = "10s",
          value_parser = span, help_heading = CLIENT)]
    pub http_timeout: Duration,

    /// Silence after which a WebSocket client is asked whether it is still there
    #[arg(long, value_name = "TIME", env = "CHINWAG_PING_INTERVAL", default_value = "25s",
          value_parser = span, help_heading = CLIENT)]
    pub ping_interval: Duration,

    /// Time it has to answer
    #[arg(long, value_name = "TIME", env = "CHINWAG_PING_TIMEOUT", default_value = "10s",
          value_parser = span, help_heading = CLIENT)]
    pub ping_timeout: Duration,

    /// HTTP connections at once that are not clients of the chat; past it the longest idle is closed, or newcomers wait
    #[arg(long, value_name = "N", env = "CHINWAG_MAX_HTTP", default_value = "1000", help_heading = SERVER)]
    pub max_http: usize,

    /// Closing connections at once; more take places that are free, and are cut off when a newcomer needs one
    #[arg(long, value_name = "N", env = "CHINWAG_MAX_CLOSING", default_value = "64", help_heading = SERVER)]
    pub max_closing: usize,

    /// Clients at once; more wait for a place (fitted under the limit on open files)
    #[arg(long, value_name = "N", env = "CHINWAG_MAX_CLIENTS", default_value = "10000",
          help_heading = SERVER)]
    pub max_clients: usize,

    /// Clients that may wait for a place; more are told the server is full and closed
    #[arg(long, value_name = "N", env = "CHINWAG_MAX_WAITING", default_value = "1000", help_heading = SERVER)]
    pub max_waiting: usize,

    /// Connections from one IPv4 address or IPv6 /64, until they are closed, or off; loopback is exempt
    #[arg(long, value_name = "N", env = "CHINWAG_MAX_PER_IP", default_value = "64", help_heading = SERVER)]
    pub max_per_ip: OrOff<u32>,

    /// Messages from one IPv4 address or IPv6 /64 in the long run, or off; two seconds' worth at once. Past it they are delayed, as
    /// by --rate; loopback is exempt [default: 50/s, or off where --rate is off]
    #[arg(long, value_name = "RATE", env = "CHINWAG_RATE_PER_IP", default_value = "50/s", hide_default_value = true,
          default_value_if("rate", "off", "off"), help_heading = SERVER)]
    pub rate_per_ip: OrOff<Rate>,

    /// Bytes of text and data from one address in the long run, or off; loopback is exempt [default: 512k/s, or off where
    /// --rate is off]
    #[arg(long, value_name = "RATE", env = "CHINWAG_RATE_BYTES_PER_IP", default_value = "512k/s",
          hide_default_value = true, default_value_if("rate", "off", "off"), help_heading = SERVER)]
    pub rate_bytes_per_ip: OrOff<ByteRate>,

    /// HTTP GETs and WebSocket pings from one address in the long run, or off; past it they are delayed; loopback is exempt
    #[arg(long, value_name = "RATE", env = "CHINWAG_REQUESTS_PER_IP", default_value = "100/s", help_heading = SERVER)]
    pub requests_per_ip: OrOff<Rate>,

    /// New connections from one address in the long run, or off; past it they are told and closed; loopback is exempt
    #[arg(long, value_name = "RATE", env = "CHINWAG_CONNECTS_PER_IP", default_value = "50/s", help_heading = SERVER)]
    pub connects_per_ip: OrOff<Rate>,

    /// Rooms at once
    #[arg(long, value_name = "N", env = "CHINWAG_MAX_ROOMS", default_value = "10000", help_heading = SERVER)]
    pub max_rooms: usize,

    /// Output waiting for all clients together; past it whoever holds most is dropped, until under
    #[arg(long, value_name = "SIZE", env = "CHINWAG_MEMORY", default_value = "256m", value_parser = size,
          help_heading = SERVER)]
    pub memory: usize,

    /// Redis that joins several processes into one chat: redis://USER:PASSWORD@HOST:PORT/DB, of which HOST alone must be
    /// there, or unix:///PATH
    #[arg(long, value_name = "URL", env = "CHINWAG_REDIS", hide_env_values = true,
          value_parser = SecretParser, help_heading = REDIS)]
    pub redis: Option<RedisUrl>,

    /// What the names of all keys and channels in Redis begin with; who has another prefix is in another chat
    #[arg(long, value_name = "TEXT", env = "CHINWAG_REDIS_PREFIX", default_value = "chinwag:",
          value_parser = redis::prefix, help_heading = REDIS)]
    pub redis_prefix: String,

    /// What may wait for Redis while it is away
    #[arg(long, value_name = "SIZE", env = "CHINWAG_REDIS_QUEUE", default_value = "4m",
          value_parser = redis::buffer, help_heading = REDIS)]
    pub redis_queue: usize,

    /// Time that Redis has to answer
    #[arg(long, value_name = "TIME", env = "CHINWAG_REDIS_TIMEOUT", default_value = "5s",
          value_parser = redis::timeout, help_heading = REDIS)]
    pub redis_timeout: Duration,

    /// Largest reply taken from Redis
    #[arg(long, value_name = "SIZE", env = "CHINWAG_REDIS_REPLY_MAX", default_value = "32m",
          value_parser = redis::buffer, help_heading = REDIS)]
    pub redis_reply_max: usize,

    /// Most other processes in the chat; more are ignored
    #[arg(long, value_name = "N", env = "CHINWAG_REDIS_PROCESSES", default_value = "256",
          value_parser = redis::count, help_heading = REDIS)]
    pub redis_processes: usize,

    /// Most clients of other processes that are known here; more are ignored
    #[arg(long, value_name = "N", env = "CHINWAG_REDIS_CLIENTS", default_value = "1000000",
          value_parser = redis::count, help_heading = REDIS)]
    pub redis_clients: usize,

    /// Longest wait of a part of a dear flush for what else is coming, so that it needs no write of its own
    #[arg(long, value_name = "TIME", env = "CHINWAG_COALESCE", default_value = "10ms",
          help_heading = OPERATION)]
    pub coalesce: OrOff<Duration>,

    /// Time that SIGTERM leaves to flush what is waiting
    #[arg(long, value_name = "TIME", env = "CHINWAG_GRACE", default_value = "2s", value_parser = span,
          help_heading = OPERATION)]
    pub grace: Duration,

    /// What to log on standard error: off, error, warn, info, debug or trace [default: RUST_LOG, or else info]
    #[arg(long, value_name = "LEVEL", env = "CHINWAG_LOG", help_heading = OPERATION)]
    pub log: Option<LevelFilter>,

    /// Write the bound addresses to standard output, as one line of JSON, once connections are accepted
    #[arg(long, env = "CHINWAG_PRINT_ADDRESSES", value_parser = FalseyValueParser::new(),
          help_heading = OPERATION)]
    pub print_addresses: bool,

    /// Check the flags and the files they name, and exit
    #[arg(long, env = "CHINWAG_CHECK", value_parser = FalseyValueParser::new(), help_heading = OPERATION)]
    pub check: bool,
}

/// What becomes of a client that reads too slowly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SlowClient {
    /// Close it, and say why.
    Drop,
    /// Keep it, leave messages out, and say how many once it reads again.
    Skip,
}

/// Why there is no [`Config`].
#[derive(Debug)]
pub enum ConfigError {
    /// Help or the version was asked for; this is the text.
    Asked(String),
    /// A flag or variable is wrong; one line that says which and how.
    Wrong(String),
}

impl Config {
    /// Reads flags (the first argument is the program's name) and the environment.
    ///
    /// # Errors
    /// [`ConfigError`]; a flag that doesn't fit another one is [`ConfigError::Wrong`] too.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Config, ConfigError> {
        let config = Config::try_parse_from(args).map_err(|error| match error.use_stderr() {
            true if redis::is_stray(&error) => ConfigError::Wrong(redis::STRAY.into()),
            true => ConfigError::Wrong(one_line(&error.to_string())),
            false => ConfigError::Asked(error.to_string()),
        })?;
        bounds::check(&config).map_err(ConfigError::Wrong)?;
        Ok(config)
    }

    /// The configuration those flags give, for tests and benches; the environment counts too.
    ///
    /// # Panics
    /// When a flag is wrong.
    pub fn from_flags(flags: &str) -> Config {
        let args = std::iter::once("chinwag").chain(flags.split_whitespace()).map(OsString::from);
        match Config::read(args) {
            Ok(config) => config,
            Err(error) => panic!("flags {flags:?}: {error:?}"),
        }
    }

    /// The line listeners to open: `--line`, or its default.
    pub fn line_listeners(&self) -> Vec<Address> {
        listeners(&self.line, "127.0.0.1:7711")
    }

    /// The HTTP listeners to open: `--http`, or its default.
    pub fn http_listeners(&self) -> Vec<Address> {
        listeners(&self.http, "127.0.0.1:7712")
    }

    /// The most HTTP connections that are not clients: none where there is no listener for them.
    pub fn http_slots(&self) -> usize {
        if self.http_listeners().is_empty() { 0 } else { self.max_http }
    }

    /// `--message-max`, or less where `--write-buffer` could not hold the message as JSON.
    pub fn message_max_bytes(&self) -> usize {
        self.message_max.min(bounds::longest_text_in(self.write_buffer))
    }

    /// `--line-max`, or less where `--write-buffer` could not hold the line as JSON.
    pub fn line_max_bytes(&self) -> usize {
        self.line_max.min(bounds::longest_text_in(self.write_buffer))
    }

    /// `--burst-bytes`, or its default.
    pub fn burst_bytes(&self) -> usize {
        self.burst_bytes.unwrap_or(self.write_buffer / 2)
    }

    /// `--write-buffer-soft`. Its time is raised to what a client at the floor may need for a whole round of talk.
    pub fn soft(&self) -> Option<Soft> {
        let least = bounds::time_at_floor(bounds::ROUND_BYTES.min(self.round_bytes()));
        self.write_buffer_soft.map(|soft| Soft { span: soft.span.max(least), ..soft })
    }

    /// The output from which on a client that reads slowly makes its rooms wait: `--write-buffer-soft`, or less where the
    /// longest message would not fit behind it.
    pub fn watermark_bytes(&self) -> usize {
        let soft_bytes = self.write_buffer_soft.map_or(self.write_buffer / 2, |soft| soft.bytes);
        soft_bytes.min(self.write_buffer.saturating_sub(self.frame_max_bytes()))
    }

    /// The most output that is queued behind the mark before everybody was written to.
    pub fn round_bytes(&self) -> usize {
        let most_bytes = bounds::ROUND_BYTES.max(self.frame_max_bytes());
        most_bytes.min(self.write_buffer - self.watermark_bytes())
    }

    /// The most that one message is for one client.
    fn frame_max_bytes(&self) -> usize {
        bounds::frame_bytes(self.line_max_bytes().max(self.message_max_bytes()))
    }

    /// Names among the environment's variables that begin like ours but are no flag: most likely typing errors.
    pub fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
        let command = Config::command();
        let known = |name: &OsString| command.get_arguments().any(|arg| arg.get_env() == Some(name));
        names
            .filter(|name| name.to_string_lossy().starts_with("CHINWAG_") && !known(name))
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

/// The part of clap's message that tells what to do, on one line.
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
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_promises() {
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
    fn listeners() {
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
    fn variables_that_are_no_flag_are_noticed() {
        let names = ["CHINWAG_LINE_MAX", "CHINWAG_LINEMAX", "HOME"].map(OsString::from);
        assert_eq!(Config::unknown_variables(names.into_iter()), ["CHINWAG_LINEMAX"]);
    }
}
