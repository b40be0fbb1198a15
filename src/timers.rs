//! Deadlines: [`Timers`].
//!
//! A connection has at most one deadline that matters, and it moves with every byte. Moving it only changes a field
//! of the connection; the queue holds an older, earlier guess, and finds out when that guess comes to its head. So
//! activity costs nothing here, and a head that turns out stale is mended or thrown away *before* the loop sleeps on
//! it: an idle server is not woken for a deadline that is none.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::net::Token;
use crate::time::Moment;

/// Room kept in the queue; a burst that needed more gives it back.
const KEPT: usize = 64;

/// A queue of guesses, the earliest first. At most one guess of a connection is *the* one it is armed with; the
/// connection knows its moment, and guesses with another moment are leftovers.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BinaryHeap<Reverse<(Moment, Token)>>,
}

impl Timers {
    /// Guesses that `token` is due at `moment`.
    pub fn push(&mut self, moment: Moment, token: Token) {
        self.queue.push(Reverse((moment, token)));
    }

    /// The earliest guess that `check` confirms. `check` is given the head and answers what to do with it.
    pub fn head(&mut self, mut check: impl FnMut(Moment, Token) -> Guess) -> Option<(Moment, Token)> {
        loop {
            let Reverse((moment, token)) = *self.queue.peek()?;
            match check(moment, token) {
                Guess::Right => return Some((moment, token)),
                Guess::Wrong => self.pop(),
                Guess::Later(later) => {
                    self.queue.pop();
                    self.queue.push(Reverse((later, token)));
                }
            }
        }
    }

    /// Takes the head out.
    pub fn pop(&mut self) {
        self.queue.pop();
        if self.queue.capacity() > KEPT && self.queue.len() < self.queue.capacity() / 4 {
            self.queue.shrink_to(KEPT.max(self.queue.len() * 2));
        }
    }

    /// Guesses in the queue, stale ones too.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is no guess at all.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// What became of a guess.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guess {
    /// It holds.
    Right,
    /// The deadline has moved to that moment.
    Later(Moment),
    /// There is no such deadline any more.
    Wrong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(slot: u32) -> Token {
        Token { slot, serial: 0 }
    }

    #[test]
    fn heads_are_checked_before_anybody_sleeps_on_them() {
        let mut timers = Timers::default();
        let at = Moment::from_millis;
        for (slot, moment) in [(1, 30), (2, 10), (3, 20)] {
            timers.push(at(moment), token(slot));
        }
        let head = timers.head(|moment, token| match token.slot {
            2 if moment == at(10) => Guess::Later(at(25)),
            3 => Guess::Wrong,
            _ => Guess::Right,
        });
        assert_eq!(head, Some((at(25), token(2))));
        assert_eq!(timers.len(), 2);
        assert_eq!(timers.head(|_, _| Guess::Wrong), None);
        assert!(timers.is_empty());
    }

    #[test]
    fn a_burst_gives_its_room_back() {
        let mut timers = Timers::default();
        for slot in 0..10_000 {
            timers.push(Moment::default(), token(slot));
        }
        assert_eq!(timers.head(|_, _| Guess::Wrong), None);
        assert!(timers.queue.capacity() <= 2 * KEPT);
    }
}
