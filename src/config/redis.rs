//! Where the Redis is that joins several processes into one chat: [`RedisUrl`], and the bounds of the flags about it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};
use http::Uri;
use percent_encoding::{percent_decode, percent_decode_str};

use super::units::{size, span};

/// The port Redis has unless told otherwise.
const DEFAULT_PORT: u16 = 6379;
/// The longest `--redis-prefix`, in bytes: every message to Redis carries it.
const PREFIX_MAX_BYTES: usize = 64;
/// The smallest sensible buffer on the link: the longest default message must fit.
const BUFFER_LEAST: usize = 64 * 1024;
/// The largest.
const BUFFER_MOST: usize = 1 << 30;
/// The most processes and clients of others that can be allowed: a thousand full processes.
const COUNT_MOST: usize = 10_000_000;

const USAGE: &str = "it is redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] or unix:///PATH[?db=N&user=U&pass=P], \
    with what is special in them percent-encoded";

/// Said of a URL that no flag stands in front of, in the place of what clap says.
pub const STRAY: &str = "unexpected URL; that of Redis goes behind --redis (--help lists the flags)";

/// Where Redis is, and as whom to speak to it. A user never comes without a password.
///
/// Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Where it listens.
    pub place: RedisAddress,
    /// The user, or else Redis's default one.
    pub user: Option<String>,
    /// The password, where one is asked for.
    pub password: Option<String>,
    /// The number of the database. Channels know nothing of databases, but a user may be kept to one.
    pub database: u32,
}

/// Where Redis listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RedisAddress {
    /// A host, resolved when the link is made, and a port.
    Tcp {
        /// A name or an address; an IPv6 one without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// A Unix socket's absolute path, short enough for one.
    Unix(PathBuf),
}

impl FromStr for RedisUrl {
    /// A fixed text: it can't hold a part of the URL, and so no password.
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<RedisUrl, &'static str> {
        if raw.contains('#') {
            // What follows would be thrown away as a fragment, and what is in front of it might look whole.
            return Err("a # in its password is written %23");
        }
        let (scheme, rest) = raw.split_once(':').ok_or(USAGE)?;
        match scheme {
            "redis" if rest.starts_with("//") => tcp(raw),
            "unix" => unix(rest),
            "rediss" => Err("rediss:// needs TLS, which is not built in; \
                put a tunnel such as stunnel in front, or use a Unix socket"),
            _ => Err(USAGE),
        }
    }
}

/// Reads `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`.
fn tcp(raw: &str) -> Result<RedisUrl, &'static str> {
    let uri: Uri = raw.parse().map_err(|_| USAGE)?;
    let authority = uri.authority().ok_or(USAGE)?;
    if uri.query().is_some() {
        return Err("a ? in its password is written %3F; nothing else can have one");
    }
    let (login, place) = match authority.as_str().rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority.as_str()),
    };
    let port = match place.strip_prefix(authority.host()) {
        Some("") => DEFAULT_PORT,
        Some(port) => port
            .strip_prefix(':')
            .and_then(|port| port.parse().ok())
            .filter(|port| *port > 0)
            .ok_or("its port is a number from 1 to 65535; a / in its password is written %2F")?,
        None => return Err(USAGE),
    };
    let (user, password) = match login.map(|login| login.split_once(':')) {
        None => (None, None),
        Some(None) => return Err("its password comes after a colon, as in redis://:PASSWORD@HOST"),
        Some(Some((user, password))) => (Some(decoded(user)?), Some(decoded(password)?)),
    };
    let database = match uri.path() {
        "" | "/" => 0,
        path => database(&path[1..])?,
    };
    logged_in(RedisAddress::Tcp { host: host(authority.host())?, port }, user, password, database)
}

/// A host as it is resolved: an IPv6 address without its brackets.
fn host(raw: &str) -> Result<String, &'static str> {
    if let Some(address) = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err("only an IPv6 address has brackets around it"),
        };
    }
    match raw.is_empty() || raw.contains(['[', ']']) {
        true => Err(USAGE),
        false => Ok(raw.into()),
    }
}

/// Reads what follows `unix:` in `unix:///PATH[?db=N&user=U&pass=P]`; `unix:/PATH`, as a listener has it, will do.
fn unix(rest: &str) -> Result<RedisUrl, &'static str> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') {
        return Err("the path of its socket begins with a /, as in unix:///run/redis.sock");
    }
    let path = PathBuf::from(OsString::from_vec(percent_decode(path.as_bytes()).collect()));
    SocketAddr::from_pathname(&path).map_err(|_| "the path of its socket is too long")?;
    let (mut number, mut user, mut password) = (None, None, None);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let field = match &*key {
            "db" => &mut number,
            "user" => &mut user,
            "pass" => &mut password,
            // A mistyped `pass` would otherwise be a link without one.
            _ => return Err("db, user and pass are all there may be after its ?"),
        };
        if field.replace(value.into_owned()).is_some() {
            return Err("db, user and pass come once each after its ?");
        }
    }
    let database = number.map_or(Ok(0), |number| database(&number))?;
    logged_in(RedisAddress::Unix(path), user, password, database)
}

fn database(raw: &str) -> Result<u32, &'static str> {
    raw.parse().map_err(|_| "its database is a number; a / in its password is written %2F")
}

fn decoded(raw: &str) -> Result<String, &'static str> {
    let text = percent_decode_str(raw).decode_utf8();
    text.map(String::from).map_err(|_| "its user and password are UTF-8")
}

/// Puts them together; an empty user is none.
fn logged_in(
    place: RedisAddress,
    user: Option<String>,
    password: Option<String>,
    database: u32,
) -> Result<RedisUrl, &'static str> {
    let user = user.filter(|user| !user.is_empty());
    match (&user, password.as_deref()) {
        // Without a password nobody logs in, and the user would be left out in silence.
        (Some(_), None) => Err("a user needs a password"),
        // Redis has users without a password, who log in with any; but the default one then needs no login.
        (None, Some("")) => Err("its password is empty"),
        _ => Ok(RedisUrl { place, user, password, database }),
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUrl")
            .field("place", &self.place)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| format_args!("hidden")))
            .field("database", &self.database)
            .finish()
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedisAddress::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            RedisAddress::Tcp { host, port } => write!(f, "{host}:{port}"),
            RedisAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads a [`RedisUrl`] for clap, which would repeat a wrong value, with the password in it.
#[derive(Clone)]
pub struct SecretParser;

impl TypedValueParser for SecretParser {
    type Value = RedisUrl;

    fn parse_ref(&self, _: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<RedisUrl, clap::Error> {
        value.to_str().ok_or(USAGE).and_then(str::parse).map_err(|why| {
            let flag = arg.map(Arg::to_string).unwrap_or_default();
            clap::Error::raw(ErrorKind::ValueValidation, format!("invalid value for '{flag}': {why}"))
        })
    }
}

/// Whether clap's message would show a URL, and so perhaps a password, because it stands where no argument belongs.
pub fn is_stray(error: &clap::Error) -> bool {
    error.kind() == ErrorKind::UnknownArgument && error.to_string().contains(":/")
}

/// Reads a `--redis-prefix`.
pub fn prefix(raw: &str) -> Result<String, String> {
    let bad = |c: char| c.is_whitespace() || c.is_control();
    match raw.len() > PREFIX_MAX_BYTES || raw.contains(bad) {
        true => Err(format!("at most {PREFIX_MAX_BYTES} bytes, without white space and control characters")),
        false => Ok(raw.into()),
    }
}

/// Reads the size of a buffer on the link.
pub fn buffer(raw: &str) -> Result<usize, String> {
    let bytes = size(raw)?;
    match (BUFFER_LEAST..=BUFFER_MOST).contains(&bytes) {
        true => Ok(bytes),
        false => Err("it is between 64k and 1g".into()),
    }
}

/// Reads how many there may be of something.
pub fn count(raw: &str) -> Result<usize, String> {
    let bounds = 1..=COUNT_MOST;
    raw.parse()
        .ok()
        .filter(|count| bounds.contains(count))
        .ok_or(format!("it is a number from 1 to {COUNT_MOST}"))
}

/// Reads a `--redis-timeout`.
pub fn timeout(raw: &str) -> Result<Duration, String> {
    match span(raw)? {
        Duration::ZERO => Err("it is over zero".into()),
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    /// No test's URL has it, but for the place of the password.
    const PASSWORD: &str = "sw0rdf1sh";

    fn tcp(host: &str, port: u16) -> RedisAddress {
        RedisAddress::Tcp { host: host.into(), port }
    }

    fn config(args: &[&str]) -> Result<Config, String> {
        let args = ["chinwag"].iter().chain(args).map(OsString::from);
        Config::read(args).map_err(|error| match error {
            ConfigError::Asked(text) | ConfigError::Wrong(text) => text,
        })
    }

    #[test]
    fn there_is_no_redis_unless_asked_for() {
        let config = config(&[]).unwrap();
        assert_eq!(config.redis, None);
        assert_eq!(config.redis_prefix, "chinwag:");
        assert_eq!((config.redis_queue, config.redis_reply_max), (4 << 20, 32 << 20));
        assert_eq!((config.redis_processes, config.redis_clients), (256, 1_000_000));
        assert_eq!(config.redis_timeout, Duration::from_secs(5));
    }

    #[test]
    fn places_logins_and_databases() {
        let rows = [
            ("redis://db", tcp("db", 6379), None, None, 0),
            ("redis://db/", tcp("db", 6379), None, None, 0),
            ("redis://db.example.org:1/15", tcp("db.example.org", 1), None, None, 15),
            ("redis://:pw@10.0.0.1:65535", tcp("10.0.0.1", 65_535), None, Some("pw"), 0),
            ("redis://ann:pw@[::1]:7000/2", tcp("::1", 7000), Some("ann"), Some("pw"), 2),
            ("redis://[0:0::1]", tcp("::1", 6379), None, None, 0),
            ("redis://%40nn:p%3A%2Fw%25@db", tcp("db", 6379), Some("@nn"), Some("p:/w%"), 0),
            ("redis://ann:p:w@db", tcp("db", 6379), Some("ann"), Some("p:w"), 0),
            ("redis://:p@w@db", tcp("db", 6379), None, Some("p@w"), 0),
            ("redis://ann:@db", tcp("db", 6379), Some("ann"), Some(""), 0),
            ("unix:///run/redis.sock", RedisAddress::Unix("/run/redis.sock".into()), None, None, 0),
            ("unix:/run/redis.sock", RedisAddress::Unix("/run/redis.sock".into()), None, None, 0),
            (
                "unix:///a%20b?db=3&user=ann&pass=p%26w",
                RedisAddress::Unix("/a b".into()),
                Some("ann"),
                Some("p&w"),
                3,
            ),
            ("unix:///x?pass=pw", RedisAddress::Unix("/x".into()), None, Some("pw"), 0),
        ];
        for (raw, place, user, password, database) in rows {
            let (user, password) = (user.map(String::from), password.map(String::from));
            assert_eq!(raw.parse(), Ok(RedisUrl { place, user, password, database }), "{raw}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        let rows = [
            ("", "redis://[[USER]:PASSWORD@]HOST"),
            ("PW", "redis://[[USER]:PASSWORD@]HOST"),
            ("http://:PW@db", "redis://[[USER]:PASSWORD@]HOST"),
            ("redis:db", "redis://[[USER]:PASSWORD@]HOST"),
            ("redis://", "redis://[[USER]:PASSWORD@]HOST"),
            ("redis://:PW@", "redis://[[USER]:PASSWORD@]HOST"),
            ("redis://:PW @db", "percent-encoded"),
            ("redis://:%ff@db", "UTF-8"),
            ("rediss://:PW@db", "stunnel"),
            ("redis://PW@db", "comes after a colon"),
            ("redis://:@db", "empty"),
            ("redis://:PW@db:0", "from 1 to 65535"),
            ("redis://:PW@db:65536", "from 1 to 65535"),
            ("redis://:PW@db:", "from 1 to 65535"),
            ("redis://:PW@[db]", "brackets"),
            ("redis://:x/PW@db", "%2F"),
            ("redis://:x?PW@db", "%3F"),
            ("redis://:x#PW@db", "%23"),
            ("redis://:PW@db/-1", "database"),
            ("redis://:PW@db/4294967296", "database"),
            ("redis://:PW@db/1/2", "database"),
            ("unix://run/redis.sock?pass=PW", "begins with a /"),
            ("unix:///x?password=PW", "db, user and pass"),
            ("unix:///x?pass=PW&pass=PW", "once each"),
            ("unix:///x?pass=PW&db=", "database"),
            ("unix:///x?user=ann", "needs a password"),
        ];
        for (raw, expected) in rows {
            let message = config(&["--redis", &raw.replace("PW", PASSWORD)]).unwrap_err();
            assert!(message.contains("--redis <URL>") && message.contains(expected), "{raw}: {message}");
            assert!(!message.contains(PASSWORD) && !message.contains('\n'), "{raw}: {message}");
        }
        assert!(format!("unix:///{}", "x".repeat(107)).parse::<RedisUrl>().is_err());
        assert!(format!("unix:///{}", "x".repeat(106)).parse::<RedisUrl>().is_ok());
    }

    #[test]
    fn nothing_shows_the_password() {
        let url = format!("redis://ann:{PASSWORD}@[::1]/2");
        let config = config(&["--redis", &url]).unwrap();
        let redis = config.redis.as_ref().unwrap();
        assert_eq!(redis.password.as_deref(), Some(PASSWORD));
        assert_eq!(redis.to_string(), "[::1]:6379");
        assert!(!format!("{config:?} {redis:#?}").contains(PASSWORD));
        let twice = ["--redis", &url, "--redis", &url];
        for args in [&twice[..], &["--rediss", &url], &[&format!("--rediss={url}")], &[&url], &["--redis"]] {
            let message = self::config(args).unwrap_err();
            assert!(!message.contains(PASSWORD), "{message}");
        }
    }

    #[test]
    fn both_sides_of_the_bounds() {
        let longest = "x".repeat(PREFIX_MAX_BYTES);
        for (flag, good, bad) in [
            ("--redis-prefix", ["", "a:b", &longest], ["a b", "a\n", &format!("{longest}x")]),
            ("--redis-queue", ["65536", "64k", "1g"], ["65535", "1073741825", "64"]),
            ("--redis-reply-max", ["65536", "64k", "1g"], ["65535", "1073741825", "64"]),
            ("--redis-processes", ["1", "256", "10000000"], ["0", "10000001", "1k"]),
            ("--redis-clients", ["1", "256", "10000000"], ["0", "10000001", "1k"]),
            ("--redis-timeout", ["1ms", "5s", "1h"], ["0s", "0ms", "5"]),
        ] {
            for value in good {
                config(&[flag, value]).unwrap();
            }
            for value in bad {
                let message = config(&[flag, value]).unwrap_err();
                assert!(message.contains(flag), "{value}: {message}");
            }
        }
    }
}
