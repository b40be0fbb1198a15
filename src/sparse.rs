//! What few connections have: [`Sparse`].
//!
//! Ten thousand connections are mostly idle, so what an idle one has no use for is no field of it: whoever has it is in a
//! table, by its slot.

use std::collections::HashMap;

/// Room kept in a table; a burst that needed more gives it back.
const KEPT: usize = 64;

/// Something that few connections have, by their slots.
#[derive(Debug)]
pub struct Sparse<T> {
    entries: HashMap<u32, T>,
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Sparse { entries: HashMap::new() }
    }
}

impl<T> Sparse<T> {
    /// What the connection has.
    pub fn get(&self, slot: u32) -> Option<&T> {
        self.entries.get(&slot)
    }

    /// What the connection has, or what it has from now on.
    pub fn get_or_default(&mut self, slot: u32) -> &mut T
    where
        T: Default,
    {
        self.entries.entry(slot).or_default()
    }

    /// From now on the connection has this.
    pub fn insert(&mut self, slot: u32, value: T) {
        self.entries.insert(slot, value);
    }

    /// Takes what the connection has.
    pub fn take(&mut self, slot: u32) -> Option<T> {
        // Mostly nobody has anything; this spares them the hash.
        if self.entries.is_empty() {
            return None;
        }
        let taken = self.entries.remove(&slot);
        self.give_back();
        taken
    }

    /// Throws away what is not worth keeping.
    pub fn retain(&mut self, mut keeps: impl FnMut(&T) -> bool) {
        self.entries.retain(|_, value| keeps(value));
        self.give_back();
    }

    /// How many have something.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody has anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Who has something, in no order.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.entries.keys().copied()
    }

    fn give_back(&mut self) {
        if self.entries.capacity() > KEPT && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(KEPT.max(self.entries.len() * 2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_gives_its_room_back() {
        let mut sparse = Sparse::default();
        for slot in 0..10_000 {
            *sparse.get_or_default(slot) = slot;
        }
        for slot in 0..5_000 {
            assert_eq!(sparse.take(slot), Some(slot));
        }
        assert_eq!((sparse.take(7), sparse.get(5_000), sparse.len()), (None, Some(&5_000), 5_000));
        sparse.retain(|slot| *slot > 9_990);
        let mut left: Vec<u32> = sparse.slots().collect();
        left.sort_unstable();
        assert_eq!(left, (9_991..10_000).collect::<Vec<u32>>());
        // A table has room for seven in eight of a power of two.
        assert!(sparse.entries.capacity() <= 4 * KEPT, "{}", sparse.entries.capacity());
    }
}
