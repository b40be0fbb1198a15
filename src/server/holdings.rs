//! All that the server holds for its connections, in one list: the tables that have a slot as their key, and the counts that
//! are nothing when nobody is there.
//!
//! A new table or count belongs into this list. Debug builds check after each tick that no table has a free slot, since the
//! next connection there would inherit it; the simulation checks at the end of each test that all counts are as at the
//! start.

use super::Server;
use crate::chat::ClientId;
use crate::net::Net;
use crate::quota::Quota;

/// A table by its name, and the slots of connections that it has.
pub type Table = (&'static str, Vec<u32>);

impl<N: Net> Server<N> {
    /// The tables that have the slots of connections as their keys.
    fn tables(&self) -> Vec<Table> {
        let mut tables = vec![
            ("inboxes", self.inboxes.slots().collect()),
            ("load", self.load.slots().collect()),
            ("bytes that a peer has not taken", self.untaken.slots().collect()),
            ("waiting for a quota", self.admission.waiting_slots().collect()),
        ];
        tables.extend(self.roster.tables());
        tables.extend(self.fanout.chat().tables());
        tables
    }

    /// The amount of everything that is held for connections, by name.
    pub fn holdings(&self) -> Vec<(&'static str, usize)> {
        let tables = self.tables();
        let mut holdings: Vec<_> = tables.into_iter().map(|(name, slots)| (name, slots.len())).collect();
        let taken: usize = Quota::ALL.into_iter().map(|quota| self.admission.quotas().taken(quota)).sum();
        holdings.push(("quotas", taken));
        let census = self.fanout.chat().census();
        holdings.extend([
            ("connections", self.roster.len()),
            ("addresses", self.admission.addresses().count()),
            ("addresses with load", self.load.len()),
            ("addresses with rates", self.roster.address_rates().len()),
            ("refusals to be logged", self.admission.addresses().refusals()),
            ("bytes of output", self.fanout.arena().held_bytes() as usize),
            ("clients", census.clients),
            ("names", census.names),
            ("further keys of names", census.further_keys),
            ("conflicts for a name", census.conflicts),
            ("members of rooms", census.members),
        ]);
        holdings
    }

    /// Checks that no table has a slot that is free.
    ///
    /// # Panics
    /// When one has.
    pub(super) fn assert_free_slots_are_forgotten(&self) {
        for (name, slots) in self.tables() {
            for slot in slots {
                assert!(self.roster.token(ClientId(slot)).is_some(), "{name}: the free slot {slot} is in it");
            }
        }
    }
}
