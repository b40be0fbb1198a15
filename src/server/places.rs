//! Quotas of connections: [`Places`] counts the connections in each [`Place`].

use crate::connection::Place;

/// The number of connections in each place. Each connection is in exactly one, from accept until its descriptor is
/// closed; the debug assertions of the server compare these numbers with the roster after every tick.
#[derive(Debug, Default)]
pub struct Places {
    taken: [usize; Place::ALL.len()],
}

impl Places {
    /// The number of connections in a place.
    pub fn taken(&self, place: Place) -> usize {
        self.taken[place as usize]
    }

    /// The number of closing connections, those of refused ones included.
    pub fn closing(&self) -> usize {
        self.taken(Place::Closing) + self.taken(Place::Refused)
    }

    /// Counts a new connection.
    pub fn take(&mut self, place: Place) {
        self.taken[place as usize] += 1;
    }

    /// Counts a connection that is closed, as of now.
    pub fn give_back(&mut self, place: Place) {
        self.taken[place as usize] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_counted_for_itself() {
        let mut places = Places::default();
        Place::ALL.into_iter().for_each(|place| places.take(place));
        places.take(Place::Refused);
        places.give_back(Place::Client);
        assert_eq!(Place::ALL.map(|place| places.taken(place)), [0, 1, 1, 1, 2]);
        assert_eq!(places.closing(), 3);
    }
}
