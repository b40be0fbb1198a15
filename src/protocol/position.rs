//! A [`Position`] in a room's messages: an [`Epoch`] and a sequence number in it.

use std::fmt;
use std::str::FromStr;

/// The epoch of a room's sequence numbers. Numbers of two epochs can't be compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Epoch {
    /// A random number that each process draws at its start.
    pub process: u64,
    /// The room's serial number in the process. A room that is closed and opened again gets a new one.
    pub room: u32,
}

/// A point between two messages of a room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Position {
    pub epoch: Epoch,
    /// The last sequence number before the point.
    pub seq: u64,
}

/// The text is not a position that this server has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PositionError;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.process, self.room)
    }
}

/// `EPOCH-SEQ`, at most 48 bytes: `00c0ffee00c0ffee-3-57`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Epoch {
    type Err = PositionError;

    /// Accepts only what `Display` writes.
    fn from_str(raw: &str) -> Result<Epoch, PositionError> {
        let (process, room) = raw.split_once('-').ok_or(PositionError)?;
        let process = u64::from_str_radix(process, 16).map_err(|_| PositionError)?;
        let epoch = Epoch { process, room: room.parse().map_err(|_| PositionError)? };
        // `parse` accepts a sign and leading zeros, which `Display` never writes.
        if epoch.to_string() == raw { Ok(epoch) } else { Err(PositionError) }
    }
}

impl FromStr for Position {
    type Err = PositionError;

    /// Accepts only what `Display` writes.
    fn from_str(raw: &str) -> Result<Position, PositionError> {
        let (epoch, seq) = raw.rsplit_once('-').ok_or(PositionError)?;
        let position = Position { epoch: epoch.parse()?, seq: seq.parse().map_err(|_| PositionError)? };
        if position.to_string() == raw { Ok(position) } else { Err(PositionError) }
    }
}
