//! The part of the chat that other processes share: [`Shared`], and the events that are published to them.

use super::clients::Membership;
use super::ids::ClientId;
use super::rooms::Room;
use super::{Chat, Ctx};
use crate::protocol::{Event, LocalEvent, Presence};
use crate::text::Text;
use crate::time::Now;

/// The state of a chat that runs in several processes.
#[derive(Debug)]
pub struct Shared {
    /// The number of this process.
    pub process: u64,
    /// The time when each local client took its name, in milliseconds since the Unix epoch, by its slot in the roster.
    claims: Vec<u64>,
    /// Whether the other processes are out of reach.
    pub is_disconnected: bool,
}

impl Shared {
    pub fn new(process: u64) -> Shared {
        Shared { process, claims: Vec::new(), is_disconnected: false }
    }

    /// Records that a local client has taken a name, its first or another.
    pub fn claim(&mut self, id: ClientId, now: Now) {
        let slot = id.0 as usize;
        if self.claims.len() <= slot {
            self.claims.resize(slot + 1, 0);
        }
        self.claims[slot] = now.unix_millis;
    }

    /// Removes the claim of a local client that has left.
    pub fn remove(&mut self, id: ClientId) {
        // A client that never had a name has no claim.
        if let Some(claim) = self.claims.get_mut(id.0 as usize) {
            *claim = 0;
        }
    }

    /// The slots of the clients that have a claim.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        let claims = self.claims.iter().enumerate();
        claims.filter(|(_, since)| **since != 0).map(|(slot, _)| slot as u32)
    }

    /// The time when a local client took its name, in milliseconds since the Unix epoch.
    pub(super) fn claim_of(&self, id: ClientId) -> u64 {
        let claim = self.claims.get(id.0 as usize).copied();
        debug_assert!(claim.is_some(), "{id:?} has a name and no claim");
        claim.unwrap_or_default()
    }
}

impl Chat {
    /// The presence of each named local client, by its serial number, to register this process.
    pub fn presences(&self) -> Vec<(u32, Presence)> {
        self.clients.local().filter_map(|(id, _)| self.presence(id)).collect()
    }

    /// The number of rooms that have local subscribers, for tests.
    pub fn rooms_with_subscribers(&self) -> usize {
        self.rooms.with_local_subscribers()
    }

    /// The serial number and presence of a local client; `None` for one without a name, and if there are no other processes.
    fn presence(&self, id: ClientId) -> Option<(u32, Presence)> {
        let shared = self.shared.as_ref()?;
        let client = self.clients.existing(id).filter(|client| !client.is_unnamed())?;
        let name = client.name()?.clone();
        let since_unix_millis = shared.claim_of(id);
        let room = |membership: Membership| self.rooms.existing(self.rooms.at(membership.slot)?);
        let rooms = client.memberships().filter_map(room).map(|room| room.name.clone()).collect();
        Some((self.unique_id(id).serial, Presence { name, since_unix_millis, rooms }))
    }

    /// Publishes the name and the rooms of a local client.
    pub(super) fn publish_presence(&self, id: ClientId, ctx: &mut Ctx<'_>) {
        if let Some((client, presence)) = self.presence(id) {
            ctx.publish(|| LocalEvent::Present { client, presence });
        }
    }

    /// Publishes that a local client has left.
    pub(super) fn publish_gone(&self, id: ClientId, reason: Option<Text>, ctx: &mut Ctx<'_>) {
        ctx.publish(|| LocalEvent::Gone { client: self.unique_id(id).serial, reason });
    }

    /// Sends a client that has just entered the notice that the other processes are out of reach, if they are.
    pub(super) fn reply_if_disconnected(&self, id: ClientId, ctx: &mut Ctx<'_>) {
        if self.shared.as_ref().is_some_and(|shared| shared.is_disconnected) {
            ctx.reply(id, Event::Disconnected);
        }
    }
}

/// Publishes that a room has got its first local subscriber or lost its last, if so.
pub fn publish_subscription(room: &Room, local_subscribers_before: usize, ctx: &mut Ctx<'_>) {
    let (before, any) = (local_subscribers_before > 0, room.local_subscribers() > 0);
    if before != any {
        ctx.publish(|| LocalEvent::Subscribed { room: room.name.clone(), has_subscribers: any });
    }
}
