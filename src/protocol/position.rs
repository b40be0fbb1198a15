//! Where somebody is in what was said in a room: an [`Epoch`], which numbering, and a number in it, the [`Position`].

use std::fmt;
use std::str::FromStr;

/// What the numbers of a room's messages belong to. A number says nothing in another epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Epoch {
    /// A number that the process drew at its start: each counts for itself, and anew when it is started again.
    pub process: u64,
    /// The room's serial number there: one that was closed is another one when it is opened again.
    pub room: u32,
}

/// A place between two numbers of a room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Position {
    /// Which numbering.
    pub epoch: Epoch,
    /// The last number before it.
    pub seq: u64,
}

/// It is no position that we have written.
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

impl FromStr for Position {
    type Err = PositionError;

    /// Reads what `Display` has written, and nothing else.
    fn from_str(raw: &str) -> Result<Position, PositionError> {
        let position = read(raw).ok_or(PositionError)?;
        // The numbers of the library may have signs, and zeros in front.
        if position.to_string() == raw { Ok(position) } else { Err(PositionError) }
    }
}

fn read(raw: &str) -> Option<Position> {
    let [process, room, seq] = raw.split('-').collect::<Vec<_>>().try_into().ok()?;
    let epoch = Epoch { process: u64::from_str_radix(process, 16).ok()?, room: room.parse().ok()? };
    Some(Position { epoch, seq: seq.parse().ok()? })
}
