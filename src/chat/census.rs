//! Counts of everything in the chat, for metrics and tests: [`Census`].

use super::Chat;
use super::ids::ClientId;
use super::shared::Shared;

/// The sizes of the chat's tables. All but the rooms and bytes of the history are zero when all clients have left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Local clients, with and without a name.
    pub clients: usize,
    /// Remote clients.
    pub remote: usize,
    /// How often a remote client was ignored because of `--redis-clients`.
    pub remote_ignored: u64,
    /// Taken names.
    pub names: usize,
    /// Keys of taken names besides the first of each.
    pub further_keys: usize,
    /// Keys of names in conflict.
    pub conflicts: usize,
    /// Rooms with subscribers or a history.
    pub rooms: usize,
    /// Subscribers of all rooms: their members and SSE clients.
    pub members: usize,
    /// SSE clients that are catching up.
    pub catching_up: usize,
    /// Scheduled summaries.
    pub summaries: usize,
    pub history_bytes: usize,
}

impl Chat {
    pub fn census(&self) -> Census {
        let remote = &self.clients.remote;
        Census {
            clients: self.clients.local().count(),
            remote: remote.len(),
            remote_ignored: remote.ignored(),
            names: self.names.len(),
            further_keys: self.names.further_len(),
            conflicts: remote.conflicts.len(),
            rooms: self.rooms.len(),
            members: self.rooms.subscribers().count(),
            catching_up: self.catch_ups.len(),
            summaries: self.crowds.len(),
            history_bytes: self.rooms.history_bytes(),
        }
    }

    /// The tables whose keys are slots of the roster, with the slots in each.
    pub fn tables(&self) -> Vec<(&'static str, Vec<u32>)> {
        let local = |ids: &mut dyn Iterator<Item = ClientId>| -> Vec<u32> {
            ids.filter(|id| id.remote_key().is_none()).map(|id| id.0).collect()
        };
        let claims = self.shared.iter().flat_map(Shared::slots).collect();
        let mut tables = vec![
            ("clients of the chat", local(&mut self.clients.local().map(|(id, _)| id))),
            ("taken names", local(&mut self.names.ids())),
            ("subscribers", local(&mut self.rooms.subscribers())),
            ("claims", claims),
            ("clients that catch up", self.catch_ups.slots().collect()),
        ];
        tables.push(("clients that ignore others", self.ignores.slots().collect()));
        tables.extend(self.access.tables());
        tables
    }
}
