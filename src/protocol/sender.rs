//! The origin of a message: [`Sender`]. A name is no proof: another client may have had it a minute ago.

use std::fmt;

/// Identifies a client among those of all processes, until a process has had 2^32 connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct UniqueId {
    /// A random number that the process drew at its start.
    pub process: u64,
    pub serial: u32,
}

/// Length of the longest [`UniqueId`] as text.
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
    /// A client that had the name when it sent the message.
    Client(UniqueId),
    /// An HTTP request. Its name is any that no client had.
    Http,
    /// Another program published the message in Redis, or an older process without this field did.
    Unknown,
}

impl Sender {
    /// The word for [`Sender::Http`] on the wire, in JSON and between processes.
    pub const VIA_HTTP: &str = "http";
}
