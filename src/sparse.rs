//! A table of state that few connections have: [`Sparse`].
//!
//! Most connections are idle. State that an idle connection doesn't need is no field of the connection, but an entry in a
//! table, by slot.

use std::collections::HashMap;

/// The capacity that a table keeps after a burst.
const MIN_CAPACITY: usize = 64;

/// Values by the slots of connections.
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
    pub fn get(&self, slot: u32) -> Option<&T> {
        self.entries.get(&slot)
    }

    pub fn get_or_default(&mut self, slot: u32) -> &mut T
    where
        T: Default,
    {
        self.entries.entry(slot).or_default()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(&slot)
    }

    pub fn insert(&mut self, slot: u32, value: T) {
        self.entries.insert(slot, value);
    }

    pub fn take(&mut self, slot: u32) -> Option<T> {
        // The table is mostly empty; this avoids computing the hash.
        if self.entries.is_empty() {
            return None;
        }
        let taken = self.entries.remove(&slot);
        self.shrink();
        taken
    }

    pub fn retain(&mut self, mut keeps: impl FnMut(&T) -> bool) {
        self.entries.retain(|_, value| keeps(value));
        self.shrink();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The slots with a value, in no particular order.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.entries.keys().copied()
    }

    fn shrink(&mut self) {
        if self.entries.capacity() > MIN_CAPACITY && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(MIN_CAPACITY.max(self.entries.len() * 2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_burst_is_freed() {
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
        // The capacity of a table is seven eighths of a power of two.
        assert!(sparse.entries.capacity() <= 4 * MIN_CAPACITY, "{}", sparse.entries.capacity());
    }
}
