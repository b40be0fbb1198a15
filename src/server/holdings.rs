//! All state that the server stores for connections, in one list: the tables whose keys are slots, and the counts that are
//! zero without connections.
//!
//! A new table or count belongs in this list. Debug builds check after each tick that no table has a free slot, since its
//! entry would go to the next connection there. The simulation checks at the end of a test (`Stage::end`) that all counts are
//! as at the start.

use super::Server;
use crate::chat::ClientId;
use crate::net::Net;
use crate::quota::Quota;

/// The name of a table, and the slots in it.
pub type Table = (&'static str, Vec<u32>);

impl<N: Net> Server<N> {
    /// The tables whose keys are the slots of connections.
    fn tables(&self) -> Vec<Table> {
        let mut tables = vec![
            ("inboxes", self.inboxes.slots().collect()),
            ("load", self.load.slots().collect()),
            ("unsent last bytes", self.unsent.slots().collect()),
            ("echoes", self.echoes.slots().collect()),
            ("questions", self.link.iter().flat_map(|link| link.asked.slots()).collect()),
            ("proxies", self.admission.proxied_slots().collect()),
            ("queue", self.admission.waiting_slots().collect()),
        ];
        tables.extend(self.roster.tables());
        tables.extend(self.fanout.chat().tables());
        tables
    }

    /// The size of all state that is stored for connections, by name.
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
            ("tickets", self.link.as_ref().map_or(0, |link| link.tickets.len())),
            ("subscribers of rooms", census.subscribers),
        ]);
        holdings
    }

    /// Checks that no table has a free slot.
    ///
    /// # Panics
    /// If one has.
    pub(super) fn assert_tables_have_no_free_slot(&self) {
        for (name, slots) in self.tables() {
            for slot in slots {
                assert!(
                    self.roster.token(ClientId(slot)).is_some(),
                    "the table {name:?} has the free slot {slot}"
                );
            }
        }
    }
}
