//! Deadlines: [`Timers`].
//!
//! A connection has at most one deadline that matters, and it moves with every byte. Moving it changes only a field of the
//! connection. The timer in this queue stays, and is at or before the deadline. A timer that fires too early is set again or
//! removed *before* the loop sleeps. So activity costs nothing here, and an idle server sleeps on.
//!
//! The queue is a binary heap with an index of its slots. So each connection has at most one timer, which is moved or removed
//! without a search.

use crate::time::Moment;

/// Capacity kept in the queue when a burst that needed more is over.
const KEPT: usize = 64;

/// The index of a slot without a timer.
const NONE: u32 = u32::MAX;

/// At most one timer for each connection, by its slot.
#[derive(Debug, Default)]
pub struct Timers {
    /// A binary heap, the earliest first: no timer at index `i` is before the one at `(i - 1) / 2`.
    heap: Vec<(Moment, u32)>,
    /// The index in the heap of each slot's timer.
    indices: Vec<u32>,
}

impl Timers {
    /// No timers, and an index for so many slots. The kernel provides its memory only when it is used.
    pub fn with_capacity(slots: usize) -> Timers {
        Timers { heap: Vec::new(), indices: Vec::with_capacity(slots) }
    }

    /// Sets the timer of `slot`, which replaces the one that it had.
    pub fn set(&mut self, slot: u32, moment: Moment) {
        let index = match self.index(slot) {
            Some(index) => index,
            None => {
                let slots = self.indices.len().max(slot as usize + 1);
                self.indices.resize(slots, NONE);
                self.heap.push((moment, slot));
                self.heap.len() - 1
            }
        };
        self.store(index, (moment, slot));
        self.settle(index);
    }

    pub fn get(&self, slot: u32) -> Option<Moment> {
        self.index(slot).map(|index| self.heap[index].0)
    }

    pub fn remove(&mut self, slot: u32) {
        let Some(index) = self.index(slot) else {
            // Most slots have no timer in most queues.
            return;
        };
        let last = self.heap.len() - 1;
        self.swap(index, last);
        self.heap.truncate(last);
        self.indices[slot as usize] = NONE;
        if index < last {
            self.settle(index);
        }
        if self.heap.capacity() > KEPT && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(KEPT.max(self.heap.len() * 2));
        }
    }

    /// The earliest timer.
    pub fn first(&self) -> Option<(Moment, u32)> {
        self.heap.first().copied()
    }

    /// The slots that have a timer, in no order.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.heap.iter().map(|(_, slot)| *slot)
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    fn index(&self, slot: u32) -> Option<usize> {
        self.indices.get(slot as usize).filter(|index| **index != NONE).map(|index| *index as usize)
    }

    fn store(&mut self, index: usize, timer: (Moment, u32)) {
        self.heap[index] = timer;
        self.indices[timer.1 as usize] = index as u32;
    }

    fn swap(&mut self, one: usize, other: usize) {
        let (first, second) = (self.heap[one], self.heap[other]);
        self.store(one, second);
        self.store(other, first);
    }

    /// Restores the order of the heap by moving one timer up or down.
    fn settle(&mut self, mut index: usize) {
        while index > 0 && self.heap[index] < self.heap[(index - 1) / 2] {
            self.swap(index, (index - 1) / 2);
            index = (index - 1) / 2;
        }
        while let Some(child) = self.earlier_child(index)
            && self.heap[child] < self.heap[index]
        {
            self.swap(index, child);
            index = child;
        }
    }

    fn earlier_child(&self, index: usize) -> Option<usize> {
        let children = [2 * index + 1, 2 * index + 2].into_iter().filter(|child| *child < self.heap.len());
        children.min_by_key(|child| self.heap[*child])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_has_one_timer_and_the_earliest_is_first() {
        let mut timers = Timers::default();
        let at = Moment::from_millis;
        for (slot, moment) in [(1, 30), (2, 10), (3, 20), (9, 40)] {
            timers.set(slot, at(moment));
        }
        assert_eq!(timers.first(), Some((at(10), 2)));
        timers.set(2, at(25));
        assert_eq!((timers.first(), timers.get(2)), (Some((at(20), 3)), Some(at(25))));
        [3, 3, 10].into_iter().for_each(|slot| timers.remove(slot));
        timers.set(9, at(5));
        assert_eq!((timers.first(), timers.len()), (Some((at(5), 9)), 3));
        [1, 2, 9].into_iter().for_each(|slot| timers.remove(slot));
        assert_eq!((timers.is_empty(), timers.first(), timers.get(2)), (true, None, None));
    }

    #[test]
    fn capacity_shrinks_after_a_burst() {
        let mut timers = Timers::default();
        (0..10_000).for_each(|slot| timers.set(slot, Moment::default()));
        (0..10_000).for_each(|slot| timers.remove(slot));
        assert!(timers.heap.capacity() <= 2 * KEPT);
    }
}
