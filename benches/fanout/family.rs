//! What compares with what: a family has contenders and workloads of its own, and its tables hold no others.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// Plain TCP: lines, and protocols with light frames.
    Lines,
    /// Whatever speaks WebSocket; what is in its messages differs.
    WebSocket,
    /// chinwag by each of its doors, and the bare loop.
    Doors,
    /// chinwag alone, and as one of several processes.
    Link,
}

impl Family {
    /// For `--only`.
    pub fn name(self) -> &'static str {
        match self {
            Family::Lines => "lines",
            Family::WebSocket => "websocket",
            Family::Doors => "doors",
            Family::Link => "link",
        }
    }

    /// What a table's title begins with.
    pub fn title(self) -> &'static str {
        match self {
            Family::Lines => "",
            Family::WebSocket => "WebSocket: ",
            Family::Doors => "chinwag's doors: ",
            Family::Link => "One of several: ",
        }
    }
}
