//! Bytes to requests and events to bytes, one module a door. A codec never sees an id, a room's members or a socket.

pub mod line;
pub mod telnet;

use crate::protocol::{Problem, Request};

/// One step of decoding. Give the codec what is left of the input until it answers [`Step::Incomplete`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing can be made of the input before more comes.
    Incomplete,
    /// So many bytes are used up.
    Used {
        /// How many; at least one.
        bytes: usize,
        /// What they say, if anything.
        request: Option<Result<Request, Problem>>,
    },
    /// There is no going on with this client: its line does not end.
    Endless,
}
