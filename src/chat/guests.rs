//! The numbers of guests: [`GuestNumbers`].

use std::ops::RangeInclusive;

/// More numbers are reserved when this many are left.
const LOW: u64 = 100;

/// The numbers that only guests of this process get. A single process has all.
#[derive(Debug)]
pub struct GuestNumbers {
    /// The number of the last guest.
    taken: u64,
    end: u64,
    reserve: Option<RangeInclusive<u64>>,
}

impl Default for GuestNumbers {
    fn default() -> GuestNumbers {
        GuestNumbers { taken: 0, end: u64::MAX, reserve: None }
    }
}

impl GuestNumbers {
    /// Takes the next number. Returns it, and whether more should be reserved.
    pub fn take(&mut self) -> (u64, bool) {
        if self.taken >= self.end {
            let reserve = self.reserve.take();
            // Without a reserve the numbers may be those of another process. The claim of the name fails then.
            let last = reserve.as_ref().map_or(u64::MAX, |reserve| *reserve.end());
            self.taken = reserve.map_or(self.taken, |reserve| reserve.start() - 1);
            self.end = last;
        }
        self.taken += 1;
        (self.taken, self.end - self.taken == LOW && self.reserve.is_none())
    }

    /// Adds reserved numbers. They replace those of a process that has all.
    pub fn reserve(&mut self, numbers: RangeInclusive<u64>) {
        if self.end < u64::MAX {
            self.reserve = Some(numbers);
        } else {
            (self.taken, self.end) = (numbers.start() - 1, *numbers.end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_process_has_all_numbers() {
        let mut guests = GuestNumbers::default();
        assert_eq!([guests.take(), guests.take()], [(1, false), (2, false)]);
    }

    #[test]
    fn reserved_numbers_follow_each_other_and_more_are_asked_for_in_time() {
        let mut guests = GuestNumbers::default();
        guests.reserve(1001..=1101);
        assert_eq!([guests.take(), guests.take()], [(1001, true), (1002, false)]);
        guests.reserve(5001..=5002);
        let all: Vec<u64> = (0..101).map(|_| guests.take().0).collect();
        assert_eq!((all[0], all[98], all[99], all[100]), (1003, 1101, 5001, 5002));
        assert_eq!(guests.take(), (5003, false), "without a reserve the numbers go on");
    }
}
