//! Quotas of connections: [`Quotas`] counts the connections in each [`Quota`].

use crate::connection::Quota;

/// The number of connections in each place. Each connection is in exactly one, from accept until its descriptor is
/// closed; the debug assertions of the server compare these numbers with the roster after every tick.
#[derive(Debug, Default)]
pub struct Quotas {
    taken: [usize; Quota::ALL.len()],
}

impl Quotas {
    /// The number of connections in a place.
    pub fn taken(&self, quota: Quota) -> usize {
        self.taken[quota as usize]
    }

    /// The number of closing connections, those of refused ones included.
    pub fn closing(&self) -> usize {
        self.taken(Quota::Closing) + self.taken(Quota::Refused)
    }

    /// Counts a new connection.
    pub fn take(&mut self, quota: Quota) {
        self.taken[quota as usize] += 1;
    }

    /// Counts a connection that is closed, as of now.
    pub fn give_back(&mut self, quota: Quota) {
        self.taken[quota as usize] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_counted_for_itself() {
        let mut quotas = Quotas::default();
        Quota::ALL.into_iter().for_each(|quota| quotas.take(quota));
        quotas.take(Quota::Refused);
        quotas.give_back(Quota::Client);
        assert_eq!(Quota::ALL.map(|quota| quotas.taken(quota)), [0, 1, 1, 1, 2]);
        assert_eq!(quotas.closing(), 3);
    }
}
