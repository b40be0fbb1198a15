//! The table of remote clients, those of other processes: [`RemoteClients`]. Rooms and names treat them like local clients,
//! except that their events go through Redis.

use std::collections::HashMap;

use slab::Slab;

use super::clients::Client;
use super::conflicts::NameConflicts;
use super::ids::ClientId;
use crate::protocol::UniqueId;
use crate::text::Name;

#[derive(Debug)]
pub struct RemoteClients {
    clients: Slab<RemoteClient>,
    max: usize,
    /// How often a client was ignored because there were `max` already.
    ignored: u64,
    /// The keys of each process's clients, by their serial numbers.
    processes: HashMap<u64, HashMap<u32, u32>>,
    pub(super) conflicts: NameConflicts,
}

#[derive(Debug)]
struct RemoteClient {
    client: Client,
    id: UniqueId,
}

impl RemoteClients {
    /// Creates an empty table for at most `max` clients.
    pub fn new(max: usize) -> RemoteClients {
        let conflicts = NameConflicts::default();
        RemoteClients { clients: Slab::new(), max, ignored: 0, processes: HashMap::new(), conflicts }
    }

    pub fn get(&self, key: usize) -> Option<&Client> {
        self.clients.get(key).map(|remote| &remote.client)
    }

    pub fn get_mut(&mut self, key: usize) -> Option<&mut Client> {
        self.clients.get_mut(key).map(|remote| &mut remote.client)
    }

    /// The unique id of a remote client; `None` for a local one.
    pub fn unique_id(&self, id: ClientId) -> Option<UniqueId> {
        Some(self.clients.get(id.remote_key()?)?.id)
    }

    /// The process of a remote client; `None` for a local one.
    pub fn process_of(&self, id: ClientId) -> Option<u64> {
        Some(self.unique_id(id)?.process)
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn find(&self, id: UniqueId) -> Option<ClientId> {
        let key = self.processes.get(&id.process)?.get(&id.serial)?;
        Some(ClientId::remote(*key as usize))
    }

    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Adds a client, or counts it as ignored if the table is full.
    pub(super) fn insert(&mut self, id: UniqueId, name: Name) -> Option<ClientId> {
        if self.clients.len() >= self.max {
            self.ignored += 1;
            return None;
        }
        let client = Client::SingleRoom { name, membership: None };
        let key = self.clients.insert(RemoteClient { client, id });
        self.processes.entry(id.process).or_default().insert(id.serial, key as u32);
        Some(ClientId::remote(key))
    }

    pub(super) fn remove(&mut self, id: UniqueId) {
        let Some(clients) = self.processes.get_mut(&id.process) else {
            return debug_assert!(false, "{id} is not in the table");
        };
        let removed = clients.remove(&id.serial).and_then(|key| self.clients.try_remove(key as usize));
        debug_assert!(removed.is_some(), "{id} is not in the table");
        if clients.is_empty() {
            self.processes.remove(&id.process);
        }
    }

    /// The serial numbers of a process's clients, ascending.
    pub(super) fn of_process(&self, process: u64) -> Vec<u32> {
        let mut clients: Vec<u32> =
            self.processes.get(&process).into_iter().flatten().map(|(serial, _)| *serial).collect();
        clients.sort_unstable();
        clients
    }

    /// The processes that have clients, ascending.
    pub(super) fn processes(&self) -> Vec<u64> {
        let mut processes: Vec<u64> = self.processes.keys().copied().collect();
        processes.sort_unstable();
        processes
    }
}
