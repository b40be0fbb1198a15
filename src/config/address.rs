//! Addresses of listeners, and the permissions of their sockets: [`Address`] and [`UnixMode`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Address of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// `host:port`, resolved when the listener is opened.
    Tcp(String),
    /// Path of a Unix socket.
    Unix(PathBuf),
    /// `none`: no listener of this kind.
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

/// Permissions of a Unix socket's file, written in octal as for `chmod(1)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnixMode(pub u32);

impl FromStr for UnixMode {
    type Err = String;

    fn from_str(raw: &str) -> Result<UnixMode, String> {
        let is_octal =
            !raw.is_empty() && raw.len() <= 4 && raw.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = is_octal.then(|| u32::from_str_radix(raw, 8).ok()).flatten();
        match mode.filter(|mode| *mode <= 0o777) {
            Some(mode) => Ok(UnixMode(mode)),
            None => Err("a mode is an octal number up to 0777, as in 0660".into()),
        }
    }
}

/// Listeners from the flags, or the default one if the flag is not given.
pub(super) fn listeners(given: &[Address], default: &str) -> Vec<Address> {
    match given.is_empty() {
        true => vec![Address::Tcp(default.into())],
        false => given.iter().filter(|listener| **listener != Address::None).cloned().collect(),
    }
}
