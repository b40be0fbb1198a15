//! What the other processes are told of this one, and what they know its clients by: [`Shared`].

use super::clients::Membership;
use super::ids::ClientId;
use super::{Chat, Ctx};
use crate::protocol::{Event, LocalEvent, Presence};
use crate::text::Text;
use crate::time::Now;

/// What a chat knows of itself that is one of several.
#[derive(Debug)]
pub struct Shared {
    /// The process it is in.
    pub process: u64,
    /// When each client of ours took its name, in milliseconds since the Unix epoch, by its place in the roster.
    claims: Vec<u64>,
    /// Whether the others are out of reach.
    pub apart: bool,
}

impl Shared {
    /// In that process, where nobody is yet.
    pub fn new(process: u64) -> Shared {
        Shared { process, claims: Vec::new(), apart: false }
    }

    /// A client has taken a name, its first or another.
    pub fn claim(&mut self, id: ClientId, now: Now) {
        let slot = id.0 as usize;
        if self.claims.len() <= slot {
            self.claims.resize(slot + 1, 0);
        }
        self.claims[slot] = now.unix_millis;
    }

    /// A client is gone, and so is its claim.
    pub fn remove(&mut self, id: ClientId) {
        // A client that never had a name has no claim.
        if let Some(claim) = self.claims.get_mut(id.0 as usize) {
            *claim = 0;
        }
    }

    /// The slots of clients that have a claim.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        let claims = self.claims.iter().enumerate();
        claims.filter(|(_, since)| **since != 0).map(|(slot, _)| slot as u32)
    }

    /// When a client took its name, in milliseconds since the Unix epoch.
    pub(super) fn claim_of(&self, id: ClientId) -> u64 {
        let claim = self.claims.get(id.0 as usize).copied();
        debug_assert!(claim.is_some(), "{id:?} has a name and no claim");
        claim.unwrap_or_default()
    }
}

impl Chat {
    /// All who are here under a name, for processes that know nothing yet.
    pub fn presences(&self) -> Vec<(u32, Presence)> {
        self.clients.near().filter_map(|(id, _)| self.presence(id)).collect()
    }

    /// Rooms that somebody here listens to.
    pub fn rooms_with_subscribers(&self) -> usize {
        self.rooms.with_local_subscribers()
    }

    /// The number of a client of ours, and how things are with it.
    fn presence(&self, id: ClientId) -> Option<(u32, Presence)> {
        let shared = self.shared.as_ref()?;
        let client = self.clients.present(id).filter(|client| !client.is_unnamed())?;
        let name = client.name()?.clone();
        let since_unix_millis = shared.claim_of(id);
        let room = |seat: Membership| Some(self.rooms.present(self.rooms.at(seat.slot)?)?.name.clone());
        let rooms = client.memberships().filter_map(room).collect();
        Some((self.unique(id).serial, Presence { name, since_unix_millis, rooms }))
    }

    /// Lets the other processes know how things are with a client of ours.
    pub(super) fn share_presence(&self, id: ClientId, ctx: &mut Ctx<'_>) {
        if let Some((client, presence)) = self.presence(id) {
            ctx.publish(|| LocalEvent::Present { client, presence });
        }
    }

    /// Lets the other processes know that a client of ours is gone.
    pub(super) fn share_gone(&self, id: ClientId, reason: Option<Text>, ctx: &mut Ctx<'_>) {
        ctx.publish(|| LocalEvent::Gone { client: self.unique(id).serial, reason });
    }

    /// Tells somebody who has just come that the others are out of reach, if they are.
    pub(super) fn tell_if_apart(&self, id: ClientId, ctx: &mut Ctx<'_>) {
        if self.shared.as_ref().is_some_and(|shared| shared.apart) {
            ctx.reply(id, Event::Disconnected);
        }
    }
}
