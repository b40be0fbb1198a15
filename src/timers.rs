//! Deadlines: [`Timers`].
//!
//! A connection has at most one deadline that matters, and it moves with every byte. Moving it only changes a field
//! of the connection; the queue holds an older, earlier guess, and finds out when that guess comes to its head. So
//! activity costs nothing here, and a head that turns out stale is mended or thrown away *before* the loop sleeps on
//! it: an idle server is not woken for a deadline that is none.
//!
//! The queue is a binary heap that knows where in it each connection is, so there is one guess of each at most, and one
//! that is moved or taken out is not searched for.

use crate::time::Moment;

/// Room kept in the queue; a burst that needed more gives it back.
const KEPT: usize = 64;

/// No place in the heap.
const NOWHERE: u32 = u32::MAX;

/// For each connection, by its slot, at most one guess of when it is due; the earliest first.
#[derive(Debug, Default)]
pub struct Timers {
    /// No guess is before its parent's, which is at half its index.
    heap: Vec<(Moment, u32)>,
    /// Where in the heap each slot is.
    places: Vec<u32>,
}

impl Timers {
    /// Room to find the guesses of so many slots. It takes memory only where it is used.
    pub fn with_capacity(slots: usize) -> Timers {
        Timers { heap: Vec::new(), places: Vec::with_capacity(slots) }
    }

    /// Guesses that `slot` is due at `moment`, whatever the guess was.
    pub fn set(&mut self, slot: u32, moment: Moment) {
        let place = match self.place(slot) {
            Some(place) => place,
            None => {
                let slots = self.places.len().max(slot as usize + 1);
                self.places.resize(slots, NOWHERE);
                self.heap.push((moment, slot));
                self.heap.len() - 1
            }
        };
        self.put(place, (moment, slot));
        self.settle(place);
    }

    /// When `slot` is guessed to be due.
    pub fn get(&self, slot: u32) -> Option<Moment> {
        self.place(slot).map(|place| self.heap[place].0)
    }

    /// Guesses nothing of `slot` any more.
    pub fn remove(&mut self, slot: u32) {
        let Some(place) = self.place(slot) else {
            return;
        };
        let last = self.heap.len() - 1;
        self.swap(place, last);
        self.heap.truncate(last);
        self.places[slot as usize] = NOWHERE;
        if place < last {
            self.settle(place);
        }
        if self.heap.capacity() > KEPT && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(KEPT.max(self.heap.len() * 2));
        }
    }

    /// The earliest guess.
    pub fn first(&self) -> Option<(Moment, u32)> {
        self.heap.first().copied()
    }

    /// The slots that something is guessed of, in no order.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.heap.iter().map(|(_, slot)| *slot)
    }

    /// How many guesses there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    fn place(&self, slot: u32) -> Option<usize> {
        self.places.get(slot as usize).filter(|place| **place != NOWHERE).map(|place| *place as usize)
    }

    fn put(&mut self, place: usize, guess: (Moment, u32)) {
        self.heap[place] = guess;
        self.places[guess.1 as usize] = place as u32;
    }

    fn swap(&mut self, one: usize, other: usize) {
        let (first, second) = (self.heap[one], self.heap[other]);
        self.put(one, second);
        self.put(other, first);
    }

    /// Moves a guess that may be in the wrong place up, or else down, to where it belongs.
    fn settle(&mut self, mut place: usize) {
        while place > 0 && self.heap[place] < self.heap[(place - 1) / 2] {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        while let Some(child) = self.earlier_child(place)
            && self.heap[child] < self.heap[place]
        {
            self.swap(place, child);
            place = child;
        }
    }

    fn earlier_child(&self, place: usize) -> Option<usize> {
        let children = [2 * place + 1, 2 * place + 2].into_iter().filter(|child| *child < self.heap.len());
        children.min_by_key(|child| self.heap[*child])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_guess_a_slot_and_the_earliest_first() {
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
    fn a_burst_gives_its_room_back() {
        let mut timers = Timers::default();
        (0..10_000).for_each(|slot| timers.set(slot, Moment::default()));
        (0..10_000).for_each(|slot| timers.remove(slot));
        assert!(timers.heap.capacity() <= 2 * KEPT);
    }
}
