//! Which names are taken: [`Names`].
//!
//! The tables have client ids alone, about eight bytes a client; the names themselves are with the clients. A name is
//! taken if somebody has one that looks like it ([`Looks`]).

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::ids::ClientId;
use crate::text::{Looks, Name};

/// The ids of the clients that have a name. Every call is told how to find a client's name.
#[derive(Debug)]
pub struct Names {
    /// By the first key of a name.
    first: HashTable<ClientId>,
    /// By the further keys that few names have, with their index.
    further: HashTable<(ClientId, u8)>,
    /// Keyed at random, so that nobody can choose names that collide.
    state: RandomState,
}

impl Names {
    /// Room for the names of so many clients.
    pub fn with_capacity(clients: usize) -> Names {
        let first = HashTable::with_capacity(clients);
        Names { first, further: HashTable::new(), state: RandomState::new() }
    }

    /// Finds the client with that name, in whatever spelling. Look-alikes are other names.
    pub fn find<'a>(&self, name: &str, name_of: impl Fn(ClientId) -> &'a str) -> Option<ClientId> {
        let hash = self.state.hash_one(Looks::of(name).first());
        self.first.find(hash, |id| Name::are_same(name_of(*id), name)).copied()
    }

    /// Finds the clients whose names look like `name`. Several may look like it and not like each other.
    pub fn alike<'a>(&self, name: &str, name_of: impl Fn(ClientId) -> &'a str) -> Vec<ClientId> {
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

    /// Takes the name of `id` for it. The name must be free.
    pub fn insert<'a>(&mut self, id: ClientId, name_of: impl Fn(ClientId) -> &'a str) {
        debug_assert_eq!(self.alike(name_of(id), &name_of), [], "a name given twice");
        let state = &self.state;
        let looks = Looks::of(name_of(id));
        let first_hash = |id: &ClientId| state.hash_one(Looks::of(name_of(*id)).first());
        self.first.insert_unique(state.hash_one(looks.first()), id, first_hash);
        for (index, key) in further(&looks) {
            let hash = |(id, index): &(ClientId, u8)| state.hash_one(further_key(name_of(*id), *index));
            self.further.insert_unique(state.hash_one(key), (id, index), hash);
        }
    }

    /// Frees the name that `id` took as `name`. It has not taken it if another client has it too, or if it has quit.
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

    /// The clients in the tables, in no order; those with further keys several times.
    pub fn ids(&self) -> impl Iterator<Item = ClientId> {
        self.first.iter().copied().chain(self.further.iter().map(|(id, _)| *id))
    }

    /// How many names are taken.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// The number of keys besides the first one of each name.
    pub fn further_len(&self) -> usize {
        self.further.len()
    }
}

/// The keys behind the first, with their indices.
fn further(looks: &Looks) -> impl Iterator<Item = (u8, &str)> {
    (0..).zip(looks.keys()).skip(1)
}

fn further_key(name: &str, index: u8) -> String {
    Looks::of(name).keys().nth(usize::from(index)).unwrap_or_default().into()
}
