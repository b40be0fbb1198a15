//! Output to Redis: messages, presence and heartbeats.

use std::collections::BTreeMap;
use std::mem;

use super::packet::{self, Content, Offset, Packet, PacketBody};
use super::queue::Purpose;
use super::session::{self, Link};
use super::{Backplane, ChannelNames, HEARTBEAT_INTERVAL, Phase};
use crate::codec::resp;
use crate::protocol::{LocalEvent, Presence, RemoteEvent, Sender};
use crate::text::RoomName;
use crate::time::{Moment, Now};

/// The time to live of the hash of a process's clients.
const EXPIRY_MILLIS: &[u8] = b"20000";

/// The field with the version in the hash of a process's clients. The other fields are serial numbers.
pub(super) const VERSION: &[u8] = b"v";

/// A field that is written with each heartbeat, to detect a Redis that refuses writes. A hash with this field alone counts as
/// incomplete.
const ALIVE: &[u8] = b"alive";

/// The most clients in one `HSET`.
const CLIENTS_PER_COMMAND: usize = 500;

impl Backplane {
    /// Publishes a local event.
    pub fn share(&mut self, event: LocalEvent, now: Now) {
        match event {
            LocalEvent::Subscribed { room, has_subscribers } => {
                if self.rooms.set_has_subscribers(&room, has_subscribers, self.is_open(), now) {
                    session::subscribe(
                        &[self.names.channel(&room)],
                        &mut self.out[Link::Subscriptions as usize],
                    );
                }
                self.deliver_unsubscribed();
            }
            LocalEvent::Message { room, message } => {
                let content = Content::Body(message.kind, message.body.clone());
                let (from, sender, at) = (message.from.clone(), message.sender, message.at_unix_millis);
                let body = |offset| PacketBody::Message { offset, from, sender, at, content: Some(content) };
                self.publish_message(room, body, now);
            }
            LocalEvent::Relayed { room, by, from, payload, at_unix_millis: at } => {
                let (sender, content) = (Sender::Client(by), Some(Content::Relayed(payload)));
                self.publish_message(
                    room,
                    |offset| PacketBody::Message { offset, from, sender, at, content },
                    now,
                );
            }
            LocalEvent::Present { client, presence } => self.change(client, Ok(presence)),
            LocalEvent::Gone { client, reason } => self.change(client, Err(reason)),
            LocalEvent::Private { process, to, by, from, text } => {
                let purpose = Purpose::Private { from: from.clone(), to: to.clone() };
                self.private_count += 1;
                let body = PacketBody::Private { n: self.private_count, to, by: Some(by), from, text };
                self.publish(&self.process_channel(process), body, purpose);
            }
            LocalEvent::ProbeProcess { process } => {
                // An expected process has its own deadline.
                if self.is_up() && !self.expected.contains(&process) && self.peers.begin_probe(process) {
                    // Each process subscribes to its own channel.
                    let channel = self.process_channel(process);
                    self.command(Purpose::Probe { process }, &[b"PUBSUB", b"NUMSUB", &channel]);
                }
            }
            LocalEvent::Undelivered { process, from, to } => {
                self.publish(
                    &self.process_channel(process),
                    PacketBody::Undelivered { from, to },
                    Purpose::Housekeeping,
                );
            }
        }
    }

    /// Registers all clients of this process, which replaces the hash in Redis. A hello follows.
    pub fn register(&mut self, clients: &[(u32, Presence)]) {
        self.retry_refused();
        self.changes.clear();
        self.version += 1;
        self.registered_version = self.version;
        let key = self.names.own.clone();
        self.command(Purpose::Housekeeping, &[b"DEL", &key]);
        for clients in clients.chunks(CLIENTS_PER_COMMAND) {
            let fields = clients.iter().map(|(client, presence)| field(*client, presence));
            self.set_fields(fields.collect());
            // Each part sets the expiry, so nothing stays forever if this process dies now.
            self.renew_expiry();
        }
        // The version comes last, because a hash without it counts as incomplete.
        self.set_fields(vec![self.version_field()]);
        self.renew_expiry_for(Purpose::Registered);
    }

    /// Publishes a hello after the confirmed registration, and releases held messages.
    pub(super) fn announce_hello(&mut self) {
        if self.leaving {
            return;
        }
        if let Phase::Up(up) = &mut self.phase {
            up.registered = true;
        }
        let hello = PacketBody::Heartbeat { version: self.version, hello: true };
        self.publish(&self.names.presence.clone(), hello, Purpose::Announced);
        self.release_if_registered();
    }

    /// Announces that this process ends. For the others its clients are gone at once. Its rooms stay subscribed.
    pub fn leave(&mut self) {
        if !mem::replace(&mut self.leaving, true) && self.is_up() {
            self.publish_bye();
        }
    }

    pub(super) fn publish_bye(&mut self) {
        // Held messages go out before the bye, so that no message comes from a departed client.
        self.expected.clear();
        self.release_if_all_returned();
        let key = self.names.own.clone();
        self.command(Purpose::Housekeeping, &[b"DEL", &key]);
        self.announce(PacketBody::Bye);
    }

    /// Moves queued commands to the output. Call it at the end of a tick.
    pub fn send(&mut self, now: Now) {
        self.publish_changes();
        self.reply_to_hello();
        self.send_commands(now);
        // A watermark must follow the messages that it counts.
        if !self.watermarks_due.is_empty() && self.is_up() && self.queue.is_sent() {
            for room in mem::take(&mut self.watermarks_due) {
                self.publish_watermark(&room, false, now);
            }
            self.send_commands(now);
        }
    }

    fn send_commands(&mut self, now: Now) {
        if self.queue.is_over_limit() {
            return self.broken("it does not read", now);
        }
        // Without a session the commands stay queued.
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        let was_waiting = self.queue.is_waiting();
        if self.queue.send(&mut self.out[Link::Commands as usize]) && !was_waiting {
            up.answered_at = now.moment;
        }
    }

    /// Sends a heartbeat if it is due.
    pub(super) fn send_heartbeat(&mut self, now: Moment) {
        // A timeout may have ended the session just before.
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if self.leaving || up.heartbeat_at > now {
            return;
        }
        up.heartbeat_at = now + HEARTBEAT_INTERVAL;
        up.echo_by = up.echo_by.or(Some(now + self.timeout));
        self.check_registration();
        self.set_fields(vec![(ALIVE.into(), b"1".into())]);
        self.renew_expiry();
        self.announce(PacketBody::Heartbeat { version: self.version, hello: false });
    }

    /// Replies to a hello with a heartbeat and watermarks.
    fn reply_to_hello(&mut self) {
        if !self.is_up() || !mem::take(&mut self.hello_received) {
            return;
        }
        if !self.leaving {
            self.announce(PacketBody::Heartbeat { version: self.version, hello: false });
        }
        self.watermarks_due.extend(self.rooms.unsubscribed_with_messages());
    }

    /// Publishes the watermark of a room; `asks` requests those of the other processes.
    pub(super) fn publish_watermark(&mut self, room: &RoomName, asks: bool, now: Now) {
        let (offset, ages) = (self.rooms.last_offset(room), self.rooms.ages(room, now));
        self.publish(
            &self.names.channel(room),
            PacketBody::Watermark { offset, ages, asks },
            Purpose::Watermark,
        );
    }

    /// Requests the snapshot of a process's clients.
    pub(super) fn read_clients(&mut self, process: u64) {
        let key = self.process_channel(process);
        self.command(Purpose::Snapshot { process }, &[b"HGETALL", &key]);
    }

    pub(super) fn unsubscribe(&mut self, room: &RoomName) {
        if self.is_open() {
            let out = &mut self.out[Link::Subscriptions as usize];
            resp::encode(&[b"UNSUBSCRIBE", &self.names.channel(room)], out);
        }
    }

    fn publish_message(&mut self, room: RoomName, body: impl FnOnce(Offset) -> PacketBody, now: Now) {
        // Presence goes out first, so that no message comes from an unknown client.
        self.publish_changes();
        let body = body(self.rooms.next_offset(&room, now));
        self.publish(&self.names.channel(&room), body, Purpose::Message { room });
    }

    fn change(&mut self, client: u32, state: packet::PresenceChange) {
        if self.is_up() && !self.leaving {
            // Consecutive changes of one client, such as moves between rooms, are merged.
            match self.changes.last_mut().filter(|(last, before)| *last == client && before.is_ok()) {
                Some((_, before)) => *before = state,
                None => self.changes.push((client, state)),
            }
        }
    }

    /// Writes the changes of local clients to the hash, then publishes them.
    fn publish_changes(&mut self) {
        if self.changes.is_empty() || !self.is_up() {
            return;
        }
        let changes = mem::take(&mut self.changes);
        // If the hash has expired, the commands below create an incomplete one with a version. The check detects that.
        self.check_registration();
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
        // One command with the version, after the removals: no reader can see a part of the changes under the new version.
        self.set_fields(fields);
        self.renew_expiry();
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

    fn renew_expiry(&mut self) {
        self.renew_expiry_for(Purpose::Housekeeping);
    }

    fn renew_expiry_for(&mut self, purpose: Purpose) {
        let key = self.names.own.clone();
        self.command(purpose, &[b"PEXPIRE", &key, EXPIRY_MILLIS]);
    }

    /// Requests the version of our clients in Redis.
    fn check_registration(&mut self) {
        let key = self.names.own.clone();
        self.command(Purpose::CheckRegistration { version: self.version }, &[b"HGET", &key, VERSION]);
    }

    /// Publishes to all processes.
    fn announce(&mut self, body: PacketBody) {
        self.publish(&self.names.presence.clone(), body, Purpose::Housekeeping);
    }

    fn publish(&mut self, channel: &[u8], body: PacketBody, purpose: Purpose) {
        let payload = packet::encode(&Packet { process: self.process, body });
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
            self.handle_shed(shed);
        }
    }

    /// Handles a message that was discarded because the queue was full.
    fn handle_shed(&mut self, purpose: Purpose) {
        self.counts.shed += 1;
        match purpose {
            Purpose::Message { room } => {
                self.watermarks_due.insert(room);
            }
            Purpose::Private { from, to } => self.deliver(RemoteEvent::Undelivered { from, to }),
            _ => {}
        }
    }

    /// The channel of a process, which is also the key of its clients.
    fn process_channel(&self, process: u64) -> Vec<u8> {
        ChannelNames::process(&self.names.prefix, process)
    }

    /// Whether the initial subscriptions are sent already, so that later ones must be added.
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Opening { .. } | Phase::Up(_))
    }
}

fn field(client: u32, presence: &Presence) -> (Vec<u8>, Vec<u8>) {
    (client.to_string().into(), packet::encode_presence(presence))
}
