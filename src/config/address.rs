//! Where a door listens: [`Address`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a door listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// `host:port`; resolved when the door opens.
    Tcp(String),
    /// A Unix socket's path.
    Unix(PathBuf),
    /// No door.
    None,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(raw: &str) -> Result<Address, String> {
        if raw == "none" {
            return Ok(Address::None);
        }
        if let Some(path) = raw.strip_prefix("unix:") {
            return match path {
                "" => Err("unix: needs a path, as in unix:/run/chinwag.sock".into()),
                path => Ok(Address::Unix(path.into())),
            };
        }
        let port = raw.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        match port.map(u16::from_str) {
            Some(Ok(_)) => Ok(Address::Tcp(raw.into())),
            _ => Err("an address is HOST:PORT, [IPV6]:PORT, unix:/PATH or none".into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => f.write_str(address),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::None => f.write_str("none"),
        }
    }
}

/// The doors that were asked for, or the one that is there if none was.
pub(super) fn doors(asked: &[Address], default: &str) -> Vec<Address> {
    match asked.is_empty() {
        true => vec![Address::Tcp(default.into())],
        false => asked.iter().filter(|door| **door != Address::None).cloned().collect(),
    }
}
