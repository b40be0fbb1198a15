//! How much there is of everything: [`Census`].

/// How much there is of everything ([`Chat::census`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Clients, with and without a name.
    pub clients: usize,
    /// Clients of other processes.
    pub far: usize,
    /// How often a client of another process was ignored because of `--redis-clients`.
    pub remote_ignored: u64,
    /// Names taken.
    pub names: usize,
    /// Keys of names besides their first.
    pub further_keys: usize,
    /// Keys of names that clients of other processes have while somebody else has them.
    pub conflicts: usize,
    /// Rooms with members or a history.
    pub rooms: usize,
    /// Members of all rooms, and listeners.
    pub members: usize,
    /// Listeners that catch up.
    pub returning: usize,
    /// Rooms that owe a summary.
    pub summaries: usize,
    /// Memory of the history.
    pub history_bytes: usize,
}
