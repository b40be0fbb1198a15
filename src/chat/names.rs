//! The table of taken names: [`Names`].
//!
//! The table stores client ids alone, about eight bytes per client; the clients have the names. A name is taken if a client
//! has a name that looks like it ([`Looks`]).

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::ids::ClientId;
use crate::text::{Looks, Name};

/// The ids of the clients that have taken a name. The caller of each method passes a function that finds a client's name.
#[derive(Debug)]
pub struct Names {
    /// The clients, by the first keys of their names.
    first: HashTable<ClientId>,
    /// The clients with further keys, which few names have, and the indices of these keys.
    further: HashTable<(ClientId, u8)>,
    /// The hasher has random keys, so that no client can choose names that collide.
    state: RandomState,
}

impl Names {
    pub fn with_capacity(clients: usize) -> Names {
        let first = HashTable::with_capacity(clients);
        Names { first, further: HashTable::new(), state: RandomState::new() }
    }

    /// Finds the client with that name, in any spelling. A look-alike is another name.
    pub fn find<'a>(&self, name: &str, name_of: impl Fn(ClientId) -> &'a str) -> Option<ClientId> {
        let hash = self.state.hash_one(Looks::of(name).first());
        self.first.find(hash, |id| Name::are_same(name_of(*id), name)).copied()
    }

    /// Finds the clients whose names look like `name`. Two such names need not look like each other.
    pub fn look_alikes<'a>(&self, name: &str, name_of: impl Fn(ClientId) -> &'a str) -> Vec<ClientId> {
        let mut found = Vec::new();
        for key in Looks::of(name).keys() {
            let hash = self.state.hash_one(key);
            let first = |id: &ClientId| Looks::of(name_of(*id)).first() == key;
            let further = |(id, index): &(ClientId, u8)| further_key(name_of(*id), *index) == key;
            found.extend(self.first.find(hash, first));
            found.extend(self.further.find(hash, further).map(|(id, _)| *id));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Takes a client's name for it. The name must be free.
    pub fn insert<'a>(&mut self, id: ClientId, name_of: impl Fn(ClientId) -> &'a str) {
        debug_assert_eq!(self.look_alikes(name_of(id), &name_of), [], "the name is taken");
        let state = &self.state;
        let looks = Looks::of(name_of(id));
        let first_hash = |id: &ClientId| state.hash_one(Looks::of(name_of(*id)).first());
        self.first.insert_unique(state.hash_one(looks.first()), id, first_hash);
        for (index, key) in further(&looks) {
            let hash = |(id, index): &(ClientId, u8)| state.hash_one(further_key(name_of(*id), *index));
            self.further.insert_unique(state.hash_one(key), (id, index), hash);
        }
    }

    /// Frees `name`, if that client has taken it. A client in a name conflict has not, and one that has quit has freed it.
    pub fn remove(&mut self, id: ClientId, name: &str) {
        let looks = Looks::of(name);
        let hash = self.state.hash_one(looks.first());
        if let Ok(entry) = self.first.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        for (index, key) in further(&looks) {
            let hash = self.state.hash_one(key);
            if let Ok(entry) = self.further.find_entry(hash, |other| *other == (id, index)) {
                entry.remove();
            }
        }
    }

    /// The clients in the table, in no order. A client with further keys is listed several times.
    pub fn ids(&self) -> impl Iterator<Item = ClientId> {
        self.first.iter().copied().chain(self.further.iter().map(|(id, _)| *id))
    }

    /// The number of taken names.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// The number of further keys.
    pub fn further_len(&self) -> usize {
        self.further.len()
    }
}

/// The keys after the first, with their indices.
fn further(looks: &Looks) -> impl Iterator<Item = (u8, &str)> {
    (0..).zip(looks.keys()).skip(1)
}

fn further_key(name: &str, index: u8) -> String {
    let looks = Looks::of(name);
    let key = looks.keys().nth(usize::from(index));
    debug_assert!(key.is_some(), "{name} has no key {index}");
    key.unwrap_or_default().into()
}
