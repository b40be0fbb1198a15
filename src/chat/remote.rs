//! The table of clients of other processes: [`RemoteClients`]. To the rooms and to the names they are clients as any
//! others; what they are told goes through the link.

use std::collections::HashMap;

use slab::Slab;

use super::clients::Client;
use super::conflicts::NameConflicts;
use super::ids::ClientId;
use crate::protocol::UniqueId;
use crate::text::Name;

/// The clients of all other processes.
#[derive(Debug)]
pub struct RemoteClients {
    clients: Slab<RemoteClient>,
    max: usize,
    /// How many were too many.
    ignored: u64,
    /// The keys of each process's clients, by their numbers there.
    processes: HashMap<u64, HashMap<u32, u32>>,
    pub(super) conflicts: NameConflicts,
}

#[derive(Debug)]
struct RemoteClient {
    client: Client,
    id: UniqueId,
}

impl RemoteClients {
    /// None so far, and never more than that.
    pub fn new(max: usize) -> RemoteClients {
        let conflicts = NameConflicts::default();
        RemoteClients { clients: Slab::new(), max, ignored: 0, processes: HashMap::new(), conflicts }
    }

    /// The client with that key.
    pub fn get(&self, key: usize) -> Option<&Client> {
        self.clients.get(key).map(|far| &far.client)
    }

    /// The client with that key.
    pub fn get_mut(&mut self, key: usize) -> Option<&mut Client> {
        self.clients.get_mut(key).map(|far| &mut far.client)
    }

    /// The id of a client of another process; `None` if it is one of ours.
    pub fn unique(&self, id: ClientId) -> Option<UniqueId> {
        Some(self.clients.get(id.remote_key()?)?.id)
    }

    /// The process that a client is connected to; `None` if it is one of ours.
    pub fn process_of(&self, id: ClientId) -> Option<u64> {
        Some(self.unique(id)?.process)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// The client that another process knows by that number.
    pub(super) fn find(&self, id: UniqueId) -> Option<ClientId> {
        let key = self.processes.get(&id.process)?.get(&id.serial)?;
        Some(ClientId::far(*key as usize))
    }

    /// How often one was not taken note of, since there are as many as there may be.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes note of one, if there is room.
    pub(super) fn insert(&mut self, id: UniqueId, name: Name) -> Option<ClientId> {
        if self.clients.len() >= self.max {
            self.ignored += 1;
            return None;
        }
        let key = self.clients.insert(RemoteClient { client: Client::SingleRoom { name, seat: None }, id });
        self.processes.entry(id.process).or_default().insert(id.serial, key as u32);
        Some(ClientId::far(key))
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, id: UniqueId) {
        let Some(clients) = self.processes.get_mut(&id.process) else {
            return debug_assert!(false, "{id} is not here");
        };
        let removed = clients.remove(&id.serial).and_then(|key| self.clients.try_remove(key as usize));
        debug_assert!(removed.is_some(), "{id} is not here");
        if clients.is_empty() {
            self.processes.remove(&id.process);
        }
    }

    /// The numbers of a process's clients, ascending.
    pub(super) fn of_process(&self, process: u64) -> Vec<u32> {
        let mut clients: Vec<u32> =
            self.processes.get(&process).into_iter().flatten().map(|(id, _)| *id).collect();
        clients.sort_unstable();
        clients
    }

    /// All processes that have clients, ascending.
    pub(super) fn processes(&self) -> Vec<u64> {
        let mut processes: Vec<u64> = self.processes.keys().copied().collect();
        processes.sort_unstable();
        processes
    }
}
