//! The origin of a message: [`Sender`]. A name proves nothing: it may have been another client's a minute ago.

use std::fmt;

/// Identifies one client among those of all processes (until a process has had 2^32 connections).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct UniqueId {
    /// A number that the process drew at its start.
    pub process: u64,
    /// The connection's serial number.
    pub serial: u32,
}

/// The longest [`UniqueId`] as text, in bytes.
pub const UNIQUE_ID_MAX_BYTES: usize = "ffffffffffffffff-4294967295".len();

/// `PROCESS-SERIAL`, as in `00c0ffee00c0ffee-7`.
impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.process, self.serial)
    }
}

/// The origin of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// A client, which held the name while it said that.
    Client(UniqueId),
    /// An HTTP request: its sender may be anybody, and so may the name, if nobody present had it.
    Http,
    /// Unknown. Another program published the message in Redis, as `redis`, or a process that is too old to say relayed it.
    Unknown,
}

impl Sender {
    /// The word for [`Sender::Http`] on the wire, in JSON and between processes.
    pub const VIA_HTTP: &str = "http";
}
