//! Address and login of the Redis that joins several processes into one chat: [`RedisUrl`].

use std::ffi::OsString;
use std::fmt;
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::error::ErrorKind;
use http::Uri;
use percent_encoding::{percent_decode, percent_decode_str};

const DEFAULT_PORT: u16 = 6379;

const USAGE: &str = "it must be redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] or unix:///PATH[?db=N&user=U&pass=P], \
    with special characters percent-encoded";

/// Replaces clap's message about a URL without a flag in front of it, which could show a password.
pub const STRAY: &str = "unexpected URL; write the URL of Redis after --redis (--help lists the flags)";

/// Address, login and database of Redis. A user always has a password.
///
/// Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Address of the server.
    pub place: RedisAddress,
    /// `None`: the default user of Redis.
    pub user: Option<String>,
    /// `None`: no login.
    pub password: Option<String>,
    /// Number of the database. Channels are shared by all databases, but a user may be limited to one.
    pub database: u32,
}

/// Address of a Redis server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RedisAddress {
    /// A host, resolved at each connection attempt, and a port.
    Tcp {
        /// A name or an IP address; IPv6 without brackets.
        host: String,
        /// From 1.
        port: u16,
    },
    /// Absolute path of a Unix socket, within the kernel's limit on its length.
    Unix(PathBuf),
}

impl FromStr for RedisUrl {
    /// A fixed text, which can't contain a part of the URL, such as the password.
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<RedisUrl, &'static str> {
        if raw.contains('#') {
            // A parser would drop the rest as a fragment and could accept the part before it.
            return Err("write a # in its password as %23");
        }
        let (scheme, rest) = raw.split_once(':').ok_or(USAGE)?;
        match scheme {
            "redis" if rest.starts_with("//") => tcp(raw),
            "unix" => unix(rest),
            "rediss" => Err("rediss:// needs TLS, which is not built in; \
                use a tunnel such as stunnel, or a Unix socket"),
            _ => Err(USAGE),
        }
    }
}

/// Reads `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`.
fn tcp(raw: &str) -> Result<RedisUrl, &'static str> {
    let uri: Uri = raw.parse().map_err(|_| USAGE)?;
    let authority = uri.authority().ok_or(USAGE)?;
    if uri.query().is_some() {
        return Err("it must have no ?; write a ? in its password as %3F");
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
            .ok_or("its port must be a number from 1 to 65535; write a / in its password as %2F")?,
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

/// Reads a host. The brackets of an IPv6 address are removed for the resolver.
fn host(raw: &str) -> Result<String, &'static str> {
    if let Some(address) = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err("only an IPv6 address may have brackets around it"),
        };
    }
    match raw.is_empty() || raw.contains(['[', ']']) {
        true => Err(USAGE),
        false => Ok(raw.into()),
    }
}

/// Reads the part after `unix:` of `unix:///PATH[?db=N&user=U&pass=P]`. A listener's form, `unix:/PATH`, is accepted too.
fn unix(rest: &str) -> Result<RedisUrl, &'static str> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') {
        return Err("the path of its socket must begin with a /, as in unix:///run/redis.sock");
    }
    let path = PathBuf::from(OsString::from_vec(percent_decode(path.as_bytes()).collect()));
    SocketAddr::from_pathname(&path).map_err(|_| "the path of its socket is too long or has a NUL")?;
    let (mut number, mut user, mut password) = (None, None, None);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let field = match &*key {
            "db" => &mut number,
            "user" => &mut user,
            "pass" => &mut password,
            // A mistyped `pass` would otherwise mean a connection without a login.
            _ => return Err("only db, user and pass may follow its ?"),
        };
        if field.replace(value.into_owned()).is_some() {
            return Err("db, user and pass may follow its ? only once each");
        }
    }
    let database = number.map_or(Ok(0), |number| database(&number))?;
    logged_in(RedisAddress::Unix(path), user, password, database)
}

fn database(raw: &str) -> Result<u32, &'static str> {
    raw.parse().map_err(|_| "its database must be a number; write a / in its password as %2F")
}

fn decoded(raw: &str) -> Result<String, &'static str> {
    let text = percent_decode_str(raw).decode_utf8();
    text.map(String::from).map_err(|_| "its user and password must be UTF-8")
}

/// Combines the parts. An empty user counts as none.
fn logged_in(
    place: RedisAddress,
    user: Option<String>,
    password: Option<String>,
    database: u32,
) -> Result<RedisUrl, &'static str> {
    let user = user.filter(|user| !user.is_empty());
    match (&user, password.as_deref()) {
        // Without a password there is no login, and the user would be ignored.
        (Some(_), None) => Err("its user needs a password: write USER:PASSWORD@"),
        // A user without a password logs in with any password, but the default user needs no login then.
        (None, Some("")) => Err("its password is empty: write it after the colon, or remove :@"),
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

/// Whether clap's message would show a URL, and perhaps its password, as an unknown argument.
pub fn is_stray(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand)
        && error.to_string().contains(":/")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, ConfigError};

    /// Occurs in the URLs of the tests only as the password.
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
    fn redis_is_off_by_default() {
        let config = config(&[]).unwrap();
        assert_eq!(config.redis, None);
        assert_eq!(config.redis_prefix, "chinwag:");
        assert_eq!((config.redis_queue, config.redis_reply_max), (4 << 20, 32 << 20));
        assert_eq!(config.redis_expiry, Duration::from_secs(7 * 24 * 60 * 60));
        assert_eq!(config.redis_timeout, Duration::from_secs(5));
    }

    #[test]
    fn url_has_an_address_a_login_and_a_database() {
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
    fn bad_url_is_reported_without_its_password() {
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
            ("unix://run/redis.sock?pass=PW", "begin with a /"),
            ("unix:///x?password=PW", "db, user and pass"),
            ("unix:///x?pass=PW&pass=PW", "only once each"),
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
    fn password_is_never_shown() {
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
}
