//! The table of flags. To add one, add a row here and use its field. `tests/tidy.rs` requires a row in
//! `src/guide/operating.md` too. A flag that changes at once (`on_reload`) is read from the configuration at each use, or set
//! in `server/reload.rs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, Command};
use log::LevelFilter;

use super::checks::{MOST_ROOMS_PER_CLIENT, UNNAMED_BUFFER_BYTES};
use super::flag::{Bounds, DefaultValue, Field, Flag, OnReload, Unit};
use super::flag_values::FileValues;
use super::reload::ConfigSource;
use super::token_command;
use super::{
    AccessMode, Address, AllowedHost, AllowedOrigin, ByteRate, OrOff, Rate, RedisUrl, SlowClient, Soft,
    Takeover, TrustedProxy, UnixMode,
};
use crate::access::Settings;
use Bounds::{AtLeast, AtMost, Between, ByType, Unbounded};
use DefaultValue::{Absent, Described, Is, UnlessRateIsOff};
use OnReload::{AtOnce, NeedsRestart, NotInFile};
use Unit::{Choice, Count, File, Secret, Size, SizeForTime, Switch, Text, Time};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Makes `Config`, with a field for each row, and `FLAGS`, with a [`Flag`] for each row.
macro_rules! flags {
    ($($heading:literal {
        $($field:ident: $type:ty {
            unit: $unit:expr, default: $default:expr, bounds: $bounds:expr, on_reload: $on_reload:expr,
            help: $help:literal $(,)?
        })*
    })*) => {
        /// Configuration of the server. Each field is the flag of that name in `chinwag --help`.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[doc = $help] pub $field: $type,)*)*
            /// Rooms, accounts and the filter, from the configuration file.
            pub sections: Settings,
            pub(super) source: ConfigSource,
        }

        /// All flags, in the order of `--help`.
        pub static FLAGS: &[Flag] = &[$($(Flag {
            field: stringify!($field),
            heading: $heading,
            unit: $unit,
            default: $default,
            bounds: $bounds,
            on_reload: $on_reload,
            help: $help,
            is_repeatable: <$type as Field>::IS_REPEATABLE,
            configure: <$type as Field>::configure,
            check: <$type as Field>::check,
        },)*)*];

        impl Config {
            pub(super) fn from_matches(mut matches: ArgMatches, sections: Settings, source: ConfigSource) -> Config {
                Config { $($($field: Field::take(&mut matches, stringify!($field)),)*)* sections, source }
            }

            /// The flags whose values differ.
            pub fn changed_flags(&self, other: &Config) -> Vec<&'static Flag> {
                let is_changed = [$($(self.$field != other.$field,)*)*];
                FLAGS.iter().zip(is_changed).filter(|(_, is_changed)| *is_changed).map(|(flag, _)| flag).collect()
            }

            /// Takes the values of flags with that [`OnReload`] from another configuration.
            pub(super) fn take_flags(&mut self, other: &Config, on_reload: OnReload) {
                $($(if $on_reload == on_reload {
                    self.$field = other.$field.clone();
                })*)*
            }
        }
    };
}

/// The command line as clap reads it. Values from the configuration file are defaults there.
pub fn command(file: &FileValues) -> Command {
    Command::new("chinwag")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A chat and broadcast server on one poll loop.")
        .after_help(
            "Sizes: 512, 64k, 1m. Times: 500ms, 10s, 5m. Rates: 5/s, 30/m. `off` lifts a limit where that is safe.\n\
             Each flag is also an environment variable, and a key in the file of --config: --line-max is CHINWAG_LINE_MAX and\n\
             line-max.",
        )
        .args(FLAGS.iter().map(|flag| flag.arg(file.get(flag))))
        .disable_help_subcommand(true)
        .subcommand(token_command::command())
}

flags! {
    "Listeners" {
        line: Vec<Address> {
            unit: Text("ADDR"), default: Described("127.0.0.1:7711"), bounds: ByType,
            on_reload: NeedsRestart,
            help: "Address of the line listener: HOST:PORT, unix:/PATH, or none (repeatable)",
        }
        http: Vec<Address> {
            unit: Text("ADDR"), default: Described("127.0.0.1:7712"), bounds: ByType,
            on_reload: NeedsRestart,
            help: "Address of the HTTP and WebSocket listener: HOST:PORT, unix:/PATH, or none (repeatable)",
        }
        unix_mode: Option<UnixMode> {
            unit: Text("MODE"), default: Described("according to the umask"), bounds: ByType,
            on_reload: NeedsRestart,
            help: "Permissions of the Unix sockets of --line and --http, in octal, as in 0660",
        }
        origin: Vec<AllowedOrigin> {
            unit: Text("ORIGIN"), default: Absent, bounds: ByType,
            on_reload: AtOnce,
            help: "Origin of web pages, besides the server's own, that may open WebSockets, publish and read: \
                https://HOST, http://HOST:PORT, https://*.DOMAIN, null for pages from files, or * (repeatable)",
        }
        host: Vec<AllowedHost> {
            unit: Text("HOST"),
            default: Described("none on a loopback address, every name elsewhere"), bounds: ByType,
            on_reload: AtOnce,
            help: "Host name that the HTTP listener accepts besides localhost: NAME, NAME:PORT, *.DOMAIN, or * \
                (repeatable)",
        }
        trust_proxy: Vec<TrustedProxy> {
            unit: Text("CIDR"), default: Absent, bounds: ByType, on_reload: NeedsRestart,
            help: "Address or network of proxies that pass on the addresses of their clients, or unix for all Unix \
                sockets: by the PROXY protocol on the line listener, by X-Forwarded-For or Forwarded on the HTTP \
                listener (repeatable)",
        }
    }
    "Chat" {
        guests: bool {
            unit: Switch, default: Absent, bounds: ByType,
            on_reload: NeedsRestart,
            help: "Give each client a guest name instead of asking for a name",
        }
        motd: Option<PathBuf> {
            unit: File, default: Absent, bounds: ByType,
            on_reload: AtOnce,
            help: "File with the message of the day, sent to each new client; SIGHUP reads it again",
        }
        announce_max: usize {
            unit: Count, default: Is("50"), bounds: Unbounded("0 makes every room send summaries"),
            on_reload: AtOnce,
            help: "Most members of a room that announces each join and leave; a larger room sends a summary every 10 s",
        }
        history: usize {
            unit: Count, default: Is("100"), bounds: Unbounded("--history-memory limits the memory"),
            on_reload: AtOnce,
            help: "Messages that a room keeps",
        }
        history_shown: usize {
            unit: Count, default: Is("20"), bounds: Unbounded("a room shows no more than it keeps"),
            on_reload: AtOnce,
            help: "Kept messages that a client gets when it joins a room",
        }
        history_memory: usize {
            unit: Size, default: Is("16m"), bounds: Unbounded("0 keeps no message"),
            on_reload: AtOnce,
            help: "Memory for the history of all rooms together; beyond it the oldest messages are deleted",
        }
    }
    "Access" {
        access: AccessMode {
            unit: Choice("MODE", &[
                ("open", "Serve everybody"),
                ("login", "Serve clients that have logged in; others can do nothing but log in"),
            ]),
            default: Is("open"), bounds: ByType,
            on_reload: AtOnce,
            help: "Clients that are served",
        }
        registration: bool {
            unit: Switch, default: Absent, bounds: ByType,
            on_reload: AtOnce,
            help: "Let a client register its name, and give it a token to log in with",
        }
        takeover: Takeover {
            unit: Choice("SESSION", &[
                ("newer", "The newer session takes the name from the older one"),
                ("older", "The older session keeps the name"),
            ]),
            default: Is("newer"), bounds: ByType,
            on_reload: AtOnce,
            help: "The one of several sessions of an account that has its name",
        }
        jwt_key: Option<PathBuf> {
            unit: File, default: Absent, bounds: ByType,
            on_reload: AtOnce,
            help: "File with the key of JSON Web Tokens that clients may log in with: a public key in PEM (Ed25519, \
                P-256 or RSA), or a secret of at least 32 bytes for HS256; SIGHUP reads it again",
        }
        jwt_audience: Option<String> {
            unit: Text("TEXT"), default: Absent, bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Audience (aud) that each JSON Web Token must have; without this flag none may have one",
        }
        state: Option<PathBuf> {
            unit: File, default: Absent, bounds: ByType,
            on_reload: NeedsRestart,
            help: "File that keeps registered names, bans and mutes; without it they are lost at the end",
        }
        metrics: AccessMode {
            unit: Choice("MODE", &[
                ("open", "Everybody"),
                ("login", "Clients that have logged in"),
            ]),
            default: Is("open"), bounds: ByType,
            on_reload: AtOnce,
            help: "Clients that may read /metrics",
        }
    }
    "Limits for one client" {
        // A command with a name in it must fit.
        line_max: usize {
            unit: Size, default: Is("4k"), bounds: Between(128, MIB),
            on_reload: NeedsRestart,
            help: "Longest line a client may send, without its line end; a longer line is discarded with an error",
        }
        rate: OrOff<Rate> {
            unit: Unit::Rate, default: Is("5/s"), bounds: Between(1, u32::MAX as u64),
            on_reload: AtOnce,
            help: "Lines or messages a client may send on average, or off; beyond it the client is read more slowly, \
                and nothing is lost",
        }
        burst: u32 {
            unit: Count, default: Is("10"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Lines or messages a client may send at once before --rate applies",
        }
        rate_bytes: OrOff<ByteRate> {
            unit: Unit::ByteRate, default: UnlessRateIsOff("64k/s"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Bytes of text and data a client may send on average, or off; beyond it the client is read more \
                slowly",
        }
        burst_bytes: Option<usize> {
            unit: Size, default: Described("half of --write-buffer"),
            bounds: Unbounded("the checks against --write-buffer, --message-max and --line-max limit it"),
            on_reload: AtOnce,
            help: "Bytes a client may send at once before --rate-bytes applies",
        }
        // Outboxes count their bytes in 32 bits, with room to spare.
        write_buffer: usize {
            unit: Size, default: Is("256k"), bounds: Between(UNNAMED_BUFFER_BYTES as u64, GIB),
            on_reload: NeedsRestart,
            help: "Most output queued for one client; a client with more is dropped (see --slow-client)",
        }
        write_buffer_soft: OrOff<Soft> {
            unit: SizeForTime, default: Is("64k:10s"), bounds: AtLeast(1),
            on_reload: NeedsRestart,
            help: "Size of queued output above which a client is slow, and the longest time above it before the client is \
                dropped, or off",
        }
        stall_timeout: OrOff<Duration> {
            unit: Time, default: Is("10s"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Time without progress in sending queued output after which a client is dropped, or off",
        }
        slow_client: SlowClient {
            unit: Choice("POLICY", &[
                ("drop", "Close the client with a reason"),
                ("skip", "Keep the client, leave messages out, and send it their number once it reads again"),
            ]),
            default: Is("drop"), bounds: ByType,
            on_reload: NeedsRestart,
            help: "Policy for a client that reads too slowly",
        }
        name_timeout: Duration {
            unit: Time, default: Is("60s"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Longest time for a client to give a name, or to log in",
        }
        idle_timeout: OrOff<Duration> {
            unit: Time, default: Is("off"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Time without input after which a client is closed with a reason, or off",
        }
        // A request with a name and a room in it must fit, and each client may hold one incomplete message.
        message_max: usize {
            unit: Size, default: Is("64k"), bounds: Between(512, 16 * MIB),
            on_reload: NeedsRestart,
            help: "Longest WebSocket message, and longest body of an HTTP request; a longer one is answered with 1009 \
                or 413",
        }
        max_rooms_per_client: usize {
            unit: Count, default: Is("64"), bounds: Between(1, MOST_ROOMS_PER_CLIENT as u64),
            on_reload: AtOnce,
            help: "Most rooms that a WebSocket client may be in at once",
        }
        http_timeout: Duration {
            unit: Time, default: Is("10s"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Longest time for an HTTP client to begin a request, and then to send the rest of it",
        }
        ping_interval: Duration {
            unit: Time, default: Is("25s"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Time without input after which a WebSocket client gets a ping",
        }
        ping_timeout: Duration {
            unit: Time, default: Is("10s"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Longest time for a WebSocket client to answer a ping",
        }
    }
    "Limits for the server" {
        max_http: usize {
            unit: Count, default: Is("1000"), bounds: AtLeast(1),
            on_reload: NeedsRestart,
            help: "Most HTTP connections that are not clients of the chat; beyond it the longest idle one is closed, \
                or new ones wait",
        }
        max_closing: usize {
            unit: Count, default: Is("64"), bounds: AtLeast(1),
            on_reload: NeedsRestart,
            help: "Most closing connections; more use free slots of clients, and are cut off if a client needs one",
        }
        max_clients: usize {
            unit: Count, default: Is("10000"), bounds: AtLeast(1),
            on_reload: NeedsRestart,
            help: "Most clients; more wait in a queue (lowered to fit the limit on open files, as are --max-waiting and \
                --max-http)",
        }
        max_waiting: usize {
            unit: Count, default: Is("1000"), bounds: Unbounded("0 closes each client beyond --max-clients"),
            on_reload: NeedsRestart,
            help: "Most clients in the queue; more are closed with the reason that the server is full",
        }
        max_per_ip: OrOff<u32> {
            unit: Count, default: Is("64"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Most open connections from one IPv4 address or IPv6 /64, or off; loopback is exempt",
        }
        rate_per_ip: OrOff<Rate> {
            unit: Unit::Rate, default: UnlessRateIsOff("50/s"), bounds: Between(1, u32::MAX as u64),
            on_reload: AtOnce,
            help: "Messages from one IPv4 address or IPv6 /64 on average, or off, with bursts of two seconds' worth; \
                more are delayed, as with --rate; loopback is exempt",
        }
        rate_bytes_per_ip: OrOff<ByteRate> {
            unit: Unit::ByteRate, default: UnlessRateIsOff("512k/s"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Bytes of text and data from one address on average, or off; loopback is exempt",
        }
        requests_per_ip: OrOff<Rate> {
            unit: Unit::Rate, default: Is("100/s"), bounds: Between(1, u32::MAX as u64),
            on_reload: AtOnce,
            help: "HTTP requests that change nothing, and WebSocket pings, from one address on average, or off; more are \
                delayed; loopback is exempt",
        }
        connects_per_ip: OrOff<Rate> {
            unit: Unit::Rate, default: Is("50/s"), bounds: Between(1, u32::MAX as u64),
            on_reload: AtOnce,
            help: "New connections from one address on average, or off; more are closed with a reason; loopback is \
                exempt",
        }
        max_rooms: usize {
            unit: Count, default: Is("10000"), bounds: AtLeast(1),
            on_reload: AtOnce,
            help: "Most rooms",
        }
        memory: usize {
            unit: Size, default: Is("256m"), bounds: Unbounded("the check against --write-buffer limits it"),
            on_reload: AtOnce,
            help: "Most output queued for all clients together; beyond it the clients with most queued output are \
                dropped",
        }
    }
    "Redis" {
        redis: Option<RedisUrl> {
            unit: Secret("URL"), default: Absent, bounds: ByType,
            on_reload: NeedsRestart,
            help: "Redis server that joins several processes into one chat: redis://USER:PASSWORD@HOST:PORT/DB, of \
                which only HOST is required, or unix:///PATH",
        }
        // Each message to Redis carries it.
        redis_prefix: String {
            unit: Text("TEXT"), default: Is("chinwag:"), bounds: AtMost(64),
            on_reload: NeedsRestart,
            help: "Prefix of the names of all keys and channels in Redis; each prefix is a chat of its own",
        }
        // The longest message by default must fit.
        redis_queue: usize {
            unit: Size, default: Is("4m"), bounds: Between(64 * KIB, GIB),
            on_reload: NeedsRestart,
            help: "Most messages queued for Redis, in bytes; beyond it the oldest are discarded",
        }
        redis_timeout: Duration {
            unit: Time, default: Is("5s"), bounds: AtLeast(1),
            on_reload: NeedsRestart,
            help: "Longest time for Redis to answer",
        }
        redis_reply_max: usize {
            unit: Size, default: Is("32m"), bounds: Between(64 * KIB, GIB),
            on_reload: NeedsRestart,
            help: "Largest reply accepted from Redis",
        }
        redis_expiry: Duration {
            unit: Time, default: Is("7d"), bounds: AtLeast(1_000),
            on_reload: NeedsRestart,
            help: "Time for which Redis keeps the messages and the topic of a room after its last use",
        }
    }
    "Operation" {
        // Nothing is served during the delay.
        coalesce: OrOff<Duration> {
            unit: Time, default: Is("10ms"), bounds: Between(1, 100),
            on_reload: NeedsRestart,
            help: "Longest delay between partial flushes while batching output, or off",
        }
        grace: Duration {
            unit: Time, default: Is("2s"), bounds: Unbounded("0s exits without a flush"),
            on_reload: AtOnce,
            help: "Longest time to flush queued output after SIGTERM",
        }
        log: Option<LevelFilter> {
            unit: Text("LEVEL"), default: Described("RUST_LOG, or else info"), bounds: ByType,
            on_reload: AtOnce,
            help: "Log level on standard error: off, error, warn, info, debug or trace",
        }
        print_addresses: bool {
            unit: Switch, default: Absent, bounds: ByType,
            on_reload: NeedsRestart,
            help: "Print the bound addresses on standard output, as one line of JSON, once connections are accepted",
        }
        config: Option<PathBuf> {
            unit: File, default: Absent, bounds: ByType,
            on_reload: NotInFile,
            help: "Configuration file in TOML, with flags by their names; SIGHUP reads it again",
        }
        check: bool {
            unit: Switch, default: Absent, bounds: ByType,
            on_reload: NotInFile,
            help: "Check the flags and the files they name, and exit",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::one_line;

    /// A value with that measure, in the notation of the unit.
    fn value(unit: Unit, measure: u64) -> String {
        match unit {
            Count | Size => measure.to_string(),
            Time => format!("{measure}ms"),
            Unit::Rate | Unit::ByteRate => format!("{measure}/s"),
            SizeForTime => format!("1:{measure}ms"),
            Text(_) => "x".repeat(measure as usize),
            Switch | File | Secret(_) | Choice(..) => panic!("{unit:?} has no bounds"),
        }
    }

    fn read(flag: &Flag, measure: u64) -> Result<(), String> {
        let args = ["chinwag".into(), format!("--{}={}", flag.name(), value(flag.unit, measure))];
        Config::command().try_get_matches_from(args).map(drop).map_err(|error| one_line(&error.to_string()))
    }

    #[test]
    fn row_has_help_heading_default_and_bounds() {
        for flag in FLAGS {
            let name = flag.name();
            for text in [flag.heading, flag.help] {
                assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "--{name}: {text:?}");
                assert!(!text.ends_with('.') && !text.contains("  "), "--{name}: {text:?}");
            }
            if let Is(text) | UnlessRateIsOff(text) | Described(text) = flag.default {
                assert!(!text.is_empty(), "--{name}");
            }
            match flag.bounds {
                AtLeast(least) => assert!(least > 0, "--{name}"),
                AtMost(_) => {}
                Between(least, most) => assert!(least < most, "--{name}"),
                Unbounded(reason) => assert!(!reason.is_empty(), "--{name}"),
                ByType => assert!(
                    matches!(flag.unit, Switch | File | Text(_) | Secret(_) | Choice(..)),
                    "--{name} has a number, which needs bounds or a reason for none"
                ),
            }
        }
    }

    #[test]
    fn rows_under_a_heading_stand_together() {
        let mut headings: Vec<_> = FLAGS.iter().map(|flag| flag.heading).collect();
        headings.dedup();
        assert_eq!(headings.len(), BTreeSet::from_iter(&headings).len(), "{headings:?}");
    }

    #[test]
    fn value_is_accepted_on_the_bound_and_refused_beyond_it() {
        for flag in FLAGS {
            let within = [flag.bounds.least(), flag.bounds.most()];
            let below = flag.bounds.least().map(|least| least - 1);
            let above = flag.bounds.most().map(|most| most + 1);
            for measure in within.into_iter().flatten() {
                assert_eq!(read(flag, measure), Ok(()), "--{}", flag.name());
            }
            for measure in [below, above].into_iter().flatten() {
                let problem = read(flag, measure).unwrap_err();
                let named = format!("for '--{} <", flag.name());
                assert!(problem.contains(&named) && !problem.contains('\n'), "{measure}: {problem}");
            }
        }
    }

    #[test]
    fn number_without_bounds_may_be_zero() {
        for flag in FLAGS.iter().filter(|flag| matches!(flag.bounds, Unbounded(_))) {
            assert_eq!(read(flag, 0), Ok(()), "--{}", flag.name());
        }
    }

    #[test]
    fn bounds_are_shown_in_the_notation_of_the_flag() {
        for (flag, problem) in [
            ("--line-max=127", "'127' for '--line-max <SIZE>': it must be between 128 and 1m"),
            ("--redis-queue=1", "'1' for '--redis-queue <SIZE>': it must be between 64k and 1g"),
            ("--burst=0", "'0' for '--burst <N>': it must be at least 1"),
            (
                "--grace=1",
                "'1' for '--grace <TIME>': a time is a whole number and ms, s, m, h or d, as in 10s",
            ),
            ("--redis-expiry=999ms", "'999ms' for '--redis-expiry <TIME>': it must be at least 1s"),
            ("--name-timeout=0s", "'0s' for '--name-timeout <TIME>': it must be at least 1ms"),
            (
                "--coalesce=1s",
                "'1s' for '--coalesce <TIME>': it must be between 1ms and 100ms; `off` lifts the limit",
            ),
            ("--history=-1", "'-1' for '--history <N>': a number is whole and not negative, as in 100"),
            ("--burst=4294967296", "'4294967296' for '--burst <N>': the number is too large"),
            (
                "--write-buffer-soft=1:0s",
                "'1:0s' for '--write-buffer-soft <SIZE:TIME>': its time must be at least 1ms; `off` lifts the limit",
            ),
            ("--log=loud", "'loud' for '--log <LEVEL>': a level is off, error, warn, info, debug or trace"),
            ("--slow-client=wait", "'wait' for '--slow-client <POLICY>': a policy is drop or skip"),
        ] {
            let error = Config::command().try_get_matches_from(["chinwag", flag]).unwrap_err();
            let line = one_line(&error.to_string());
            assert!(line.starts_with(&format!("invalid value {problem}")), "{line}");
        }
        let long = format!("--redis-prefix={}", "x".repeat(65));
        let error = Config::command().try_get_matches_from(["chinwag", &long]).unwrap_err();
        assert!(error.to_string().contains("it must be at most 64 bytes long"), "{error}");
        for prefix in ["a b", "a\u{7}b", "a\u{a0}b"] {
            let flag = format!("--redis-prefix={prefix}");
            assert!(Config::command().try_get_matches_from(["chinwag", &flag]).is_err(), "{flag:?}");
        }
    }
}
