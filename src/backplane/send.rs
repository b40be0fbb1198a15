//! What goes out: what is said here, who is here, and the signs of life.

use std::collections::BTreeMap;
use std::mem;

use super::packet::{self, Offset, Packet, PacketBody, What};
use super::queue::Purpose;
use super::session::{self, Link};
use super::{BEAT, Backplane, ChannelNames, Phase};
use crate::codec::resp;
use crate::protocol::{LocalEvent, Presence, RemoteEvent, Sender};
use crate::text::RoomName;
use crate::time::{Moment, Now};

/// How long Redis keeps the clients of a process that gives no sign of life.
const EXPIRY_MILLIS: &[u8] = b"20000";

/// The field with the version in the hash of a process's clients; no client's number looks like it.
pub(super) const VERSION: &[u8] = b"v";

/// A field that is written with each sign of life, so that a Redis that takes no data is noticed though nobody comes or
/// goes. A hash with nothing else is not taken for a whole one.
const ALIVE: &[u8] = b"alive";

/// Clients in one `HSET`.
const CLIENTS_A_COMMAND: usize = 500;

impl Backplane {
    /// Something happened that other processes are to know.
    pub fn share(&mut self, share: LocalEvent, now: Now) {
        match share {
            LocalEvent::Subscribed { room, any } => {
                if self.rooms.set_subscribed(&room, any, self.is_open(), now) {
                    session::subscribe(
                        &[self.names.channel(&room)],
                        &mut self.out[Link::Subscriptions as usize],
                    );
                }
                self.tell_unheard();
            }
            LocalEvent::Message { room, message } => {
                let what = What::Body(message.kind, message.body.clone());
                let (from, sender, at) = (message.from.clone(), message.sender, message.at_unix_millis);
                let said = |place| PacketBody::Message { place, from, sender, at, what: Some(what) };
                self.publish_message(room, said, now);
            }
            LocalEvent::Relayed { room, by, from, payload, at_unix_millis: at } => {
                let (sender, what) = (Sender::Client(by), Some(What::Relayed(payload)));
                self.publish_message(
                    room,
                    |place| PacketBody::Message { place, from, sender, at, what },
                    now,
                );
            }
            LocalEvent::Present { client, presence } => self.change(client, Ok(presence)),
            LocalEvent::Gone { client, reason } => self.change(client, Err(reason)),
            LocalEvent::Private { process, to, by, from, text } => {
                let purpose = Purpose::Private { from: from.clone(), to: to.clone() };
                self.privates += 1;
                let said = PacketBody::Private { n: self.privates, to, by: Some(by), from, text };
                self.publish(&self.inbox(process), said, purpose);
            }
            LocalEvent::Doubt { process } => {
                // Who is expected is waited for in any case.
                if self.is_up() && !self.expected.contains(&process) && self.peers.doubt(process) {
                    // Each process is subscribed to what is for it alone.
                    let channel = self.inbox(process);
                    self.command(Purpose::Probe { process }, &[b"PUBSUB", b"NUMSUB", &channel]);
                }
            }
            LocalEvent::Nobody { process, from, called } => {
                self.publish(
                    &self.inbox(process),
                    PacketBody::Nobody { from, called },
                    Purpose::Housekeeping,
                );
            }
        }
    }

    /// These are all clients of this process: puts them into Redis, in the place of whatever is there, and says hello.
    pub fn register(&mut self, clients: &[(u32, Presence)]) {
        self.try_again();
        self.changes.clear();
        self.version += 1;
        self.registered = self.version;
        let key = self.names.own.clone();
        self.command(Purpose::Housekeeping, &[b"DEL", &key]);
        for clients in clients.chunks(CLIENTS_A_COMMAND) {
            let fields = clients.iter().map(|(client, presence)| field(*client, presence));
            self.set_fields(fields.collect());
            // At once, so that nothing stays for ever if we end here.
            self.renew();
        }
        // The version comes last: without it, nobody takes what is there for the whole.
        self.set_fields(vec![self.version_field()]);
        self.renew_for(Purpose::Registered);
    }

    /// Redis has taken our clients: the other processes may be told, and what was said may go out.
    pub(super) fn announce_hello(&mut self) {
        if self.left {
            return;
        }
        if let Phase::Up(up) = &mut self.phase {
            up.registered = true;
        }
        let hello = PacketBody::Beat { version: self.version, hello: true };
        self.publish(&self.names.presence.clone(), hello, Purpose::Announced);
        self.release_if_in_order();
    }

    /// This process ends. Its clients are gone at once, for all others; its rooms are heard to the end.
    pub fn leave(&mut self) {
        if !mem::replace(&mut self.left, true) && self.is_up() {
            self.say_bye();
        }
    }

    pub(super) fn say_bye(&mut self) {
        // It can't wait for anybody any more. What was said comes first, so that nobody is gone who then speaks.
        self.expected.clear();
        self.release_if_all_are_here();
        let key = self.names.own.clone();
        self.command(Purpose::Housekeeping, &[b"DEL", &key]);
        self.announce(PacketBody::Bye);
    }

    /// Brings what is to be sent to the links; to be called when a tick has brought all it has.
    pub fn send(&mut self, now: Now) {
        self.tell_changes();
        self.answer_hello();
        self.send_commands(now);
        // A number is no use in front of the message that it counts, nor to a Redis that takes nothing.
        if !self.owing.is_empty() && self.is_up() && self.queue.is_sent() {
            for room in mem::take(&mut self.owing) {
                self.mark(&room, false, now);
            }
            self.send_commands(now);
        }
    }

    fn send_commands(&mut self, now: Now) {
        if self.queue.is_over() {
            return self.broken("it takes nothing", now);
        }
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let was_waiting = self.queue.is_waiting();
        if self.queue.send(&mut self.out[Link::Commands as usize]) && !was_waiting {
            up.answered_at = now.moment;
        }
    }

    /// Gives a sign of life, if it is time.
    pub(super) fn beat(&mut self, now: Moment) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if self.left || up.heartbeat_at > now {
            return;
        }
        up.heartbeat_at = now + BEAT;
        up.echo_by = up.echo_by.or(Some(now + self.timeout));
        self.check();
        self.set_fields(vec![(ALIVE.into(), b"1".into())]);
        self.renew();
        self.announce(PacketBody::Beat { version: self.version, hello: false });
    }

    /// Answers all who have just come.
    fn answer_hello(&mut self) {
        if !self.is_up() || !mem::take(&mut self.greeted) {
            return;
        }
        if !self.left {
            self.announce(PacketBody::Beat { version: self.version, hello: false });
        }
        self.owing.extend(self.rooms.deaf());
    }

    /// Tells the other processes in a room the number of our last message there; `asks` for theirs.
    pub(super) fn mark(&mut self, room: &RoomName, asks: bool, now: Now) {
        let (place, ages) = (self.rooms.place(room), self.rooms.ages(room, now));
        self.publish(&self.names.channel(room), PacketBody::Mark { place, ages, asks }, Purpose::Mark);
    }

    /// Asks Redis for all clients of a process.
    pub(super) fn read_clients(&mut self, process: u64) {
        let key = self.inbox(process);
        self.command(Purpose::Snapshot { process }, &[b"HGETALL", &key]);
    }

    pub(super) fn unsubscribe(&mut self, room: &RoomName) {
        if self.is_open() {
            let out = &mut self.out[Link::Subscriptions as usize];
            resp::encode(&[b"UNSUBSCRIBE", &self.names.channel(room)], out);
        }
    }

    fn publish_message(&mut self, room: RoomName, said: impl FnOnce(Offset) -> PacketBody, now: Now) {
        // So that nobody speaks before the others know that it is there.
        self.tell_changes();
        let said = said(self.rooms.next_place(&room, now));
        self.publish(&self.names.channel(&room), said, Purpose::Message { room });
    }

    fn change(&mut self, client: u32, state: packet::PresenceChange) {
        if self.is_up() && !self.left {
            // Of several changes in a row, as when a client moves from room to room, only the last counts.
            match self.changes.last_mut().filter(|(last, before)| *last == client && before.is_ok()) {
                Some((_, before)) => *before = state,
                None => self.changes.push((client, state)),
            }
        }
    }

    /// Tells what became of our clients: first to Redis, then to the processes.
    fn tell_changes(&mut self) {
        if self.changes.is_empty() || !self.is_up() {
            return;
        }
        let changes = mem::take(&mut self.changes);
        // Of a hash that is gone, what follows would make one that looks whole.
        self.check();
        self.version += 1;
        let last: BTreeMap<u32, &packet::PresenceChange> =
            changes.iter().map(|(client, state)| (*client, state)).collect();
        let gone: Vec<String> =
            last.iter().filter(|(_, state)| state.is_err()).map(|(id, _)| id.to_string()).collect();
        let present = last.iter().filter_map(|(client, state)| Some(field(*client, state.as_ref().ok()?)));
        let fields: Vec<_> = present.chain([self.version_field()]).collect();
        if !gone.is_empty() {
            let key = self.names.own.clone();
            let words = [b"HDEL", &key[..]].into_iter().chain(gone.iter().map(String::as_bytes));
            self.command(Purpose::Removal, &words.collect::<Vec<_>>());
        }
        // In one command with the version, and after those who are gone: nobody can take half of it for the whole.
        self.set_fields(fields);
        self.renew();
        self.announce(PacketBody::Clients { version: self.version, changes });
    }

    fn version_field(&self) -> (Vec<u8>, Vec<u8>) {
        (VERSION.into(), self.version.to_string().into())
    }

    fn set_fields(&mut self, fields: Vec<(Vec<u8>, Vec<u8>)>) {
        let key = self.names.own.clone();
        let fields = fields.iter().flat_map(|(name, value)| [&name[..], &value[..]]);
        let words: Vec<&[u8]> = [&b"HSET"[..], &key].into_iter().chain(fields).collect();
        self.command(Purpose::Housekeeping, &words);
    }

    fn renew(&mut self) {
        self.renew_for(Purpose::Housekeeping);
    }

    fn renew_for(&mut self, purpose: Purpose) {
        let key = self.names.own.clone();
        self.command(purpose, &[b"PEXPIRE", &key, EXPIRY_MILLIS]);
    }

    /// Asks Redis for the version of our clients that it has.
    fn check(&mut self) {
        let key = self.names.own.clone();
        self.command(Purpose::Check { version: self.version }, &[b"HGET", &key, VERSION]);
    }

    /// Tells all processes.
    fn announce(&mut self, said: PacketBody) {
        self.publish(&self.names.presence.clone(), said, Purpose::Housekeeping);
    }

    fn publish(&mut self, channel: &[u8], said: PacketBody, purpose: Purpose) {
        let payload = packet::encode(&Packet { process: self.process, said });
        self.command(purpose, &[b"PUBLISH", channel, &payload]);
    }

    pub(super) fn command(&mut self, purpose: Purpose, words: &[&[u8]]) {
        let mut command = Vec::new();
        resp::encode(words, &mut command);
        self.enqueue(purpose, command);
    }

    pub(super) fn enqueue(&mut self, purpose: Purpose, command: Vec<u8>) {
        self.queue.push(purpose, command);
        for shed in self.queue.take_shed() {
            self.give_up(shed);
        }
    }

    /// Something that was said does not get to Redis.
    fn give_up(&mut self, what: Purpose) {
        self.counts.shed += 1;
        match what {
            Purpose::Message { room } => {
                self.owing.insert(room);
            }
            Purpose::Private { from, to } => self.tell(RemoteEvent::Nobody { from, called: to }),
            _ => {}
        }
    }

    /// The channel for a process, which is also the key of its clients.
    fn inbox(&self, process: u64) -> Vec<u8> {
        ChannelNames::process(&self.names.prefix, process)
    }

    /// Whether Redis is being spoken to: what is subscribed to later must be added.
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Opening { .. } | Phase::Up(_))
    }
}

fn field(client: u32, presence: &Presence) -> (Vec<u8>, Vec<u8>) {
    (client.to_string().into(), packet::encode_presence(presence))
}
