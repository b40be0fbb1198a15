//! Counts of everything in the chat, for metrics and tests: [`Census`].

use super::Chat;
use super::ids::ClientId;

/// The sizes of the chat's tables. When all clients have left, only those of rooms and of the history may be above zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Clients, with and without a name.
    pub clients: usize,
    /// Taken names.
    pub names: usize,
    /// Keys of taken names besides the first of each.
    pub further_keys: usize,
    /// Rooms with subscribers or a history.
    pub rooms: usize,
    /// Subscribers of all rooms: their members and SSE clients.
    pub subscribers: usize,
    /// Clients that are catching up.
    pub catching_up: usize,
    /// Scheduled summaries.
    pub summaries: usize,
    pub history_bytes: usize,
}

impl Chat {
    pub fn census(&self) -> Census {
        Census {
            clients: self.clients.all().count(),
            names: self.names.len(),
            further_keys: self.names.further_len(),
            rooms: self.rooms.len(),
            subscribers: self.rooms.subscribers().count(),
            catching_up: self.catch_ups.len(),
            summaries: self.crowds.len(),
            history_bytes: self.rooms.history_bytes(),
        }
    }

    /// The tables whose keys are slots of the roster, with the slots in each.
    pub fn tables(&self) -> Vec<(&'static str, Vec<u32>)> {
        let slots = |ids: &mut dyn Iterator<Item = ClientId>| -> Vec<u32> { ids.map(|id| id.0).collect() };
        let mut tables = vec![
            ("clients of the chat", slots(&mut self.clients.all().map(|(id, _)| id))),
            ("taken names", slots(&mut self.names.ids())),
            ("subscribers", slots(&mut self.rooms.subscribers())),
            ("clients that catch up", self.catch_ups.slots().collect()),
        ];
        tables.push(("clients that ignore others", self.ignores.slots().collect()));
        tables.push(("courtesies", self.courtesies.slots().collect()));
        tables.extend(self.access.tables());
        tables
    }
}
