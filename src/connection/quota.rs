//! The quota that a connection counts against: [`Quota`].

/// The quota that a connection counts against, from accept until its descriptor is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quota {
    /// Clients (`--max-clients`).
    Client,
    /// Clients in the queue (`--max-waiting`).
    Queue,
    /// HTTP connections (`--max-http`).
    Http,
    /// Closing connections (`--max-closing`). Its address still counts it.
    Closing,
    /// The same, of an address that already had `--max-per-ip` connections.
    Refused,
}

impl Quota {
    /// All places, in the order of their numbers.
    pub const ALL: [Quota; 5] = [Quota::Client, Quota::Queue, Quota::Http, Quota::Closing, Quota::Refused];
}
