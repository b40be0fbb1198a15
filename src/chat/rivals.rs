//! Names that two clients have at once, at different processes that did not know of each other: [`Rivals`]. Who took it
//! first keeps it, which is the same to both processes.
//!
//! To its rooms here, a rival is nobody until it has a name of its own: what it does under the name would be taken for
//! what the other does. When it gets one it has joined.

use std::collections::BTreeMap;

use super::ids::ClientId;
use super::moves::Notice;
use super::{Chat, Effect};
use crate::protocol::{Event, Problem, Share};
use crate::text::Name;
use crate::time::Now;

/// Those whose name somebody else had when they came by it. One of the two is about to lose it; if it is the other, the
/// name must not be free. With each is noted whether its rooms are to be told once it has a name of its own.
#[derive(Debug, Default)]
pub struct Rivals(BTreeMap<(String, ClientId), Notice>);

impl Rivals {
    fn insert(&mut self, name: &str, id: ClientId, notice: Notice) {
        self.0.insert((Name::folded(name).collect(), id), notice);
    }

    fn remove(&mut self, name: &str, id: ClientId) -> Option<Notice> {
        self.0.remove(&(Name::folded(name).collect(), id))
    }

    fn has(&self, name: &str, id: ClientId) -> bool {
        // Mostly there are none, and a name need not be folded.
        !self.0.is_empty() && self.0.contains_key(&(Name::folded(name).collect(), id))
    }

    /// One of those with that name, which is none any more.
    fn take(&mut self, name: &str) -> Option<(ClientId, Notice)> {
        let lowest = (Name::folded(name).collect(), ClientId(0));
        let (first, _) = self.0.range(&lowest..).next().filter(|((other, _), _)| *other == lowest.0)?;
        let (first, id) = (first.clone(), first.1);
        self.0.remove(&first).map(|notice| (id, notice))
    }
}

impl Chat {
    /// The client of ours with that name.
    pub(super) fn find_near(&self, name: &Name) -> Option<ClientId> {
        self.find(name.as_str()).filter(|id| id.far_key().is_none())
    }

    /// Notes a far client's name as taken, unless somebody has it: then one of the two is about to lose it. `notice` says
    /// whether its rooms are to be told later.
    pub(super) fn take_far_name(&mut self, client: ClientId, notice: Notice) {
        let name = self.clients.name_of(client);
        match self.find(name) {
            None => self.take_name(client, None),
            Some(_) => {
                let name = name.to_string();
                self.clients.far.rivals.insert(&name, client, notice);
            }
        }
    }

    /// A far client has this name no more. If it was a rival for it: whether its rooms are still to be told of it.
    pub(super) fn lose_far_name(&mut self, client: ClientId, name: &str) -> Option<Notice> {
        self.names.remove(client, name);
        self.clients.far.rivals.remove(name, client)
    }

    /// Whether another client has the name of this one here.
    pub(super) fn is_rival(&self, client: ClientId) -> bool {
        self.clients.far.rivals.has(self.clients.name_of(client), client)
    }

    /// Has the link find out whether the holder of a name is still there, if it is a far one: its process may have died
    /// unnoticed, and who wants the name may be the same person. `wanted_by` is the process that wants it.
    pub(super) fn doubt_holder(&self, name: &str, wanted_by: Option<u64>, effects: &mut Vec<Effect>) {
        let process = self.find(name).and_then(|holder| self.clients.far.process_of(holder));
        if let Some(process) = process.filter(|process| Some(*process) != wanted_by) {
            effects.push(Effect::Share(Share::Doubt { process }));
        }
    }

    /// Somebody has lost this name, or given it up, and all rooms know: whoever else has it keeps it.
    pub(super) fn name_is_free(&mut self, name: &str, now: Now, effects: &mut Vec<Effect>) {
        if self.find(name).is_none()
            && let Some((rival, notice)) = self.clients.far.rivals.take(name)
        {
            self.take_name(rival, None);
            self.tell_joined_everywhere(rival, notice, now, effects);
        }
    }

    /// If somebody of ours has that name and took it later, it is a guest from now on. Who took it first is the same to
    /// both processes, so the other does nothing.
    pub(super) fn settle_name(
        &mut self,
        process: u64,
        name: &Name,
        since: u64,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some((holder, shared)) = self.find_near(name).zip(self.shared.as_ref()) else {
            return;
        };
        if (since, process) < (shared.claim_of(holder), shared.process) {
            let problem = Problem::NameYielded(name.clone());
            effects.push(Effect::Reply(holder, Event::Problem { problem, unnamed: false }));
            let guest = self.next_guest();
            self.rename(holder, guest, now, effects);
        }
    }
}
