//! Names that clients of two processes hold at once, until one of them gives way: [`NameConflicts`].
//!
//! Two processes that were disconnected may have given one name to two clients. The client that took it first keeps it;
//! both processes compare the same times, so they agree.
//!
//! A remote client in conflict is not announced in the rooms here, since its actions would be taken for the local
//! client's. It joins when it has a name of its own.

use std::collections::BTreeMap;

use super::ids::ClientId;
use super::membership::Notice;
use super::{Chat, Ctx};
use crate::protocol::{LocalEvent, Problem};
use crate::text::{Looks, Name};

/// The remote clients whose name another client had when they took it. They must not free that name when they leave.
///
/// The entries are the keys of the name. [`Notice`] is for the rooms of the client once it has a name of its own.
#[derive(Debug, Default)]
pub struct NameConflicts(BTreeMap<(String, ClientId), Notice>);

impl NameConflicts {
    fn insert(&mut self, name: &str, id: ClientId, notice: Notice) {
        self.0.extend(Looks::of(name).keys().map(|key| ((key.to_string(), id), notice)));
    }

    fn remove(&mut self, name: &str, id: ClientId) -> Option<Notice> {
        let mut notice = None;
        for key in Looks::of(name).keys() {
            notice = self.0.remove(&(key.to_string(), id)).or(notice);
        }
        notice
    }

    fn contains(&self, name: &str, id: ClientId) -> bool {
        // The table is empty most of the time, and then the keys need not be computed.
        !self.0.is_empty() && self.0.contains_key(&(Looks::of(name).first().to_string(), id))
    }

    /// The clients whose names have that key.
    fn with_key(&self, key: &str) -> impl Iterator<Item = ClientId> {
        let lowest = (key.to_string(), ClientId(0));
        self.0
            .range(lowest..)
            .map(|((other, id), _)| (other, *id))
            .take_while(move |(other, _)| *other == key)
            .map(|(_, id)| id)
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Chat {
    /// Finds the local client with that name.
    pub(super) fn find_local(&self, name: &Name) -> Option<ClientId> {
        self.find_client(name.as_str()).filter(|id| id.remote_key().is_none())
    }

    /// Takes a remote client's name for it, or records a conflict if the name is taken. `notice` is for its rooms then.
    pub(super) fn take_remote_name(&mut self, client: ClientId, notice: Notice) {
        let name = self.clients.name_of(client);
        match self.look_alikes(name).is_empty() {
            true => self.take_name(client, None),
            false => {
                let name = name.to_string();
                self.clients.remote.conflicts.insert(&name, client, notice);
            }
        }
    }

    /// Frees a remote client's name, or ends its conflict: then the result is the notice for its rooms.
    pub(super) fn free_remote_name(&mut self, client: ClientId, name: &str) -> Option<Notice> {
        self.names.remove(client, name);
        self.clients.remote.conflicts.remove(name, client)
    }

    /// Whether another client has taken the name of this one.
    pub(super) fn is_in_conflict(&self, client: ClientId) -> bool {
        self.clients.remote.conflicts.contains(self.clients.name_of(client), client)
    }

    /// Checks whether remote holders of a name are still connected: their process may have died unnoticed, and their user
    /// may be the client that wants the name now. `wanted_by` is that client's process, if it is a remote one.
    pub(super) fn check_holders(&self, name: &str, wanted_by: Option<u64>, ctx: &mut Ctx<'_>) {
        let holders = self.look_alikes(name).into_iter();
        let processes = holders.filter_map(|holder| self.clients.remote.process_of(holder));
        let processes = processes.filter(|process| Some(*process) != wanted_by);
        processes.for_each(|process| ctx.publish(|| LocalEvent::ProbeProcess { process }));
    }

    /// Gives a name that was freed to the client in conflict about it, if there is one, and announces that client. The
    /// rooms of the former holder must have been sent its leave or its new name.
    pub(super) fn on_name_freed(&mut self, name: &str, ctx: &mut Ctx<'_>) {
        for key in Looks::of(name).keys() {
            let can_take = |client: &ClientId| self.look_alikes(self.clients.name_of(*client)).is_empty();
            // The names with this key exclude each other, so at most one client can take its name.
            let client = self.clients.remote.conflicts.with_key(key).find(can_take);
            if let Some(client) = client {
                let name = self.clients.name_of(client).to_string();
                let notice = self.clients.remote.conflicts.remove(&name, client);
                debug_assert!(notice.is_some(), "{client:?} is listed under a key of another name");
                self.take_name(client, None);
                self.announce_join_everywhere(client, notice.unwrap_or(Notice::Silent), ctx);
            }
        }
    }

    /// Renames local clients to guests if a remote client has taken their name, or a look-alike, before them. If a local
    /// client was first, its name stays, and the other process renames the remote one.
    pub(super) fn give_way(&mut self, process: u64, name: &Name, since_unix_millis: u64, ctx: &mut Ctx<'_>) {
        let Some(shared) = &self.shared else {
            return debug_assert!(false, "a remote client in a chat that is not shared");
        };
        let is_local = |holder: &ClientId| holder.remote_key().is_none();
        let is_later =
            |holder: &ClientId| (since_unix_millis, process) < (shared.claim_of(*holder), shared.process);
        let mut later = self.look_alikes(name.as_str());
        later.retain(|holder| is_local(holder) && is_later(holder));
        for holder in later {
            if let Some(own) = self.existing_name(holder) {
                ctx.reply_problem(holder, Problem::NameLost { name: own, to: name.clone() });
                let guest = self.next_guest_name();
                self.rename(holder, guest, ctx);
            }
        }
    }
}
