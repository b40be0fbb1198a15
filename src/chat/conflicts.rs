//! Names that two clients have at once, at different processes that did not know of each other: [`NameConflicts`]. Who took it
//! first keeps it, which is the same to both processes.
//!
//! To its rooms here, a rival is nobody until it has a name of its own: what it does under the name would be taken for
//! what the other does. When it gets one it has joined.

use std::collections::BTreeMap;

use super::ids::ClientId;
use super::moves::Notice;
use super::{Chat, Ctx};
use crate::protocol::{LocalEvent, Problem};
use crate::text::{Looks, Name};

/// Those whose name somebody else had when they came by it. One of the two is about to lose it; if it is the other, the
/// name must not be free. With each is noted whether its rooms are to be told once it has a name of its own.
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

    fn has(&self, name: &str, id: ClientId) -> bool {
        // Mostly there are none, and the keys of a name need not be computed.
        !self.0.is_empty() && self.0.contains_key(&(Looks::of(name).first().to_string(), id))
    }

    /// Returns those whose names have that key.
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
    /// The client of ours with that name.
    pub(super) fn find_local(&self, name: &Name) -> Option<ClientId> {
        self.find(name.as_str()).filter(|id| id.remote_key().is_none())
    }

    /// Notes a far client's name as taken, unless somebody has it: then one of the two is about to lose it. `notice` says
    /// whether its rooms are to be told later.
    pub(super) fn take_remote_name(&mut self, client: ClientId, notice: Notice) {
        let name = self.clients.name_of(client);
        match self.alike(name).is_empty() {
            true => self.take_name(client, None),
            false => {
                let name = name.to_string();
                self.clients.far.conflicts.insert(&name, client, notice);
            }
        }
    }

    /// A far client has this name no more. If it was a rival for it: whether its rooms are still to be told of it.
    pub(super) fn lose_remote_name(&mut self, client: ClientId, name: &str) -> Option<Notice> {
        self.names.remove(client, name);
        self.clients.far.conflicts.remove(name, client)
    }

    /// Whether another client has the name of this one here.
    pub(super) fn is_in_conflict(&self, client: ClientId) -> bool {
        self.clients.far.conflicts.has(self.clients.name_of(client), client)
    }

    /// Has the link find out whether the holder of a name is still there, if it is a far one: its process may have died
    /// unnoticed, and who wants the name may be the same person. `wanted_by` is the process that wants it.
    pub(super) fn doubt_holder(&self, name: &str, wanted_by: Option<u64>, ctx: &mut Ctx<'_>) {
        let processes = self.alike(name).into_iter().filter_map(|holder| self.clients.far.process_of(holder));
        let processes = processes.filter(|process| Some(*process) != wanted_by);
        processes.for_each(|process| ctx.publish(|| LocalEvent::Doubt { process }));
    }

    /// Somebody has lost this name, or given it up, and all rooms know: others who have it, or one that looks like it, keep
    /// theirs.
    pub(super) fn name_is_free(&mut self, name: &str, ctx: &mut Ctx<'_>) {
        for key in Looks::of(name).keys() {
            let is_free = |rival: &ClientId| self.alike(self.clients.name_of(*rival)).is_empty();
            // NameConflicts with this key exclude each other, so at most one can take its name.
            let rival = self.clients.far.conflicts.with_key(key).find(is_free);
            if let Some(rival) = rival {
                let name = self.clients.name_of(rival).to_string();
                let notice = self.clients.far.conflicts.remove(&name, rival);
                debug_assert!(notice.is_some(), "{rival:?} is listed under a key of another name");
                self.take_name(rival, None);
                self.announce_join_everywhere(rival, notice.unwrap_or(Notice::Silent), ctx);
            }
        }
    }

    /// Clients of ours that have that name, or one that looks like it, and took it later are guests from now on. Who took
    /// it first is the same to both processes, so the other does nothing.
    pub(super) fn settle_name(&mut self, process: u64, name: &Name, since: u64, ctx: &mut Ctx<'_>) {
        let Some(shared) = &self.shared else {
            return debug_assert!(false, "another process in a chat that is not shared");
        };
        let near = |holder: &ClientId| holder.remote_key().is_none();
        let later = |holder: &ClientId| (since, process) < (shared.claim_of(*holder), shared.process);
        let mut yielding = self.alike(name.as_str());
        yielding.retain(|holder| near(holder) && later(holder));
        for holder in yielding {
            if let Some(own) = self.present_name(holder) {
                let problem = Problem::NameYielded { name: own, to: name.clone() };
                ctx.reply_problem(holder, problem);
                let guest = self.next_guest();
                self.rename(holder, guest, ctx);
            }
        }
    }
}
