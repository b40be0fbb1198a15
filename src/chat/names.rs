//! Which names are taken: [`Names`].
//!
//! A table of client ids alone, about eight bytes a client; the names themselves are with the clients. Names that a
//! person would take for one are one ([`Name::folded`]).

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use hashbrown::HashTable;

use super::ids::ClientId;
use crate::text::Name;

/// The ids of the clients that have a name. Every call is told how to find a client's name.
#[derive(Debug)]
pub struct Names {
    table: HashTable<ClientId>,
    /// Keyed at random, so that nobody can choose names that collide.
    state: RandomState,
}

impl Names {
    /// Room for the names of so many clients.
    pub fn with_capacity(clients: usize) -> Names {
        Names { table: HashTable::with_capacity(clients), state: RandomState::new() }
    }

    /// Who has a name that looks like `name`.
    pub fn find<'a>(&self, name: &str, name_of: impl Fn(ClientId) -> &'a str) -> Option<ClientId> {
        let same = |id: &ClientId| Name::folded(name_of(*id)).eq(Name::folded(name));
        self.table.find(self.hash(name), same).copied()
    }

    /// Takes the name of `id` for it. The name must be free.
    pub fn insert<'a>(&mut self, id: ClientId, name_of: impl Fn(ClientId) -> &'a str) {
        debug_assert_eq!(self.find(name_of(id), &name_of), None, "a name given twice");
        let hash = self.hash(name_of(id));
        let state = &self.state;
        self.table.insert_unique(hash, id, |id| hash_with(state, name_of(*id)));
    }

    /// Frees the name that `id` took as `name`.
    pub fn remove(&mut self, id: ClientId, name: &str) {
        let hash = self.hash(name);
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
    }

    /// How many names are taken.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    fn hash(&self, name: &str) -> u64 {
        hash_with(&self.state, name)
    }
}

fn hash_with(state: &RandomState, name: &str) -> u64 {
    let mut hasher = state.build_hasher();
    Name::folded(name).for_each(|c| c.hash(&mut hasher));
    hasher.finish()
}
