//! Input from Redis: replies, and payloads that other processes and programs have published.

use std::mem;

use super::packet::{self, Content, Packet, PacketBody};
use super::queue::Purpose;
use super::send::VERSION;
use super::session::{Incoming, SessionError, error_of};
use super::streams::Received;
use super::{Backplane, Link, LinkAction, Phase, Up};
use crate::codec::json;
use crate::codec::resp::Reply;
use crate::protocol::{Body, MessageKind, Presence, RemoteEvent, Sender};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

impl Backplane {
    /// Handles bytes from Redis, however they are split.
    pub fn receive(&mut self, link: Link, bytes: &[u8], now: Now) {
        let mut incoming = Vec::new();
        let session = match &mut self.phase {
            Phase::Opening { session, .. } | Phase::Up(Up { session, .. }) => session,
            Phase::Down { .. } | Phase::Resolving { .. } => return,
        };
        let outcome = session.receive(link, bytes, &mut incoming);
        // A long reply counts from its first byte, so it does not time out.
        if let Phase::Up(up) = &mut self.phase
            && link == Link::Commands
        {
            up.answered_at = now.moment;
        }
        self.begin_if_ready(now.moment);
        for input in incoming {
            self.handle_incoming(input, now);
        }
        if let Err(error) = outcome {
            if link == Link::Commands && error == SessionError::TooLarge {
                self.give_up_snapshot();
            }
            match error {
                SessionError::Refused(error) => self.refused(link, &error, now),
                error => self.broken(&error.to_string(), now),
            }
        }
    }

    /// Marks the snapshot as too large if that is the reply over the limit.
    fn give_up_snapshot(&mut self) {
        if let Some((&Purpose::Snapshot { process }, _)) = self.queue.oldest() {
            let name = packet::process_as_text(process);
            log::error!("redis: too many clients to read, raise --redis-reply-max process={name}");
            let mut actions = Vec::new();
            self.peers.give_up_reading(process, &mut actions);
            self.run_peer_actions(actions);
        }
    }

    fn handle_incoming(&mut self, incoming: Incoming, now: Now) {
        match incoming {
            Incoming::Reply(reply) => self.handle_reply(reply, now),
            Incoming::Subscribed(channel) => {
                if let Some(room) = self.names.room(&channel) {
                    self.publish_watermark(&room, true, now);
                }
            }
            Incoming::Message { channel, payload } => match self.names.room(&channel) {
                Some(room) => self.handle_room_payload(room, &payload, now),
                None => self.handle_process_payload(&payload, now),
            },
        }
    }

    fn handle_reply(&mut self, reply: Reply, now: Now) {
        // An earlier reply of the same read may have ended the session.
        if !self.is_up() {
            return;
        }
        // A refused message stays in the queue and is sent again.
        if let Some(error) = error_of(&reply) {
            return self.refused(Link::Commands, &error, now);
        }
        let Some(purpose) = self.queue.pop_answered() else {
            return self.broken("it sent a reply to no command", now);
        };
        match (purpose, reply) {
            (Purpose::Message { .. }, Reply::Int(_)) => self.counts.published += 1,
            // The process has no subscription, so it is gone.
            (Purpose::Private { from, to }, Reply::Int(0)) => {
                self.deliver(RemoteEvent::Undelivered { from, to })
            }
            (Purpose::Probe { process }, Reply::Array(counts)) => {
                self.peers.handle_probe(process, counts.last() != Some(&Reply::Int(0)), now.moment);
            }
            (Purpose::CheckRegistration { version }, reply) => {
                self.handle_registered_version(version, &reply)
            }
            (Purpose::Snapshot { process }, reply) => {
                let mut actions = Vec::new();
                self.peers.handle_snapshot(process, read_hash(&reply), &mut actions);
                self.run_peer_actions(actions);
            }
            (Purpose::Registered, _) => self.announce_hello(),
            (Purpose::Announced, _) => self.accept_after_held(),
            (Purpose::Proof, _) => self.accept(),
            _ => {}
        }
    }

    /// Registers the clients again if Redis has another version. Another program may have deleted them, or late commands of a
    /// broken connection may have changed them.
    fn handle_registered_version(&mut self, version: u64, reply: &Reply) {
        let found = match reply {
            Reply::BulkString(text) => str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        if found != Some(version) && version >= self.registered_version && !self.leaving {
            self.actions.push_back(LinkAction::Register);
        }
    }

    fn handle_room_payload(&mut self, room: RoomName, payload: &[u8], now: Now) {
        if payload.starts_with(&self.names.signature) {
            return;
        }
        if !packet::is_packet(payload) {
            return self.handle_foreign(room, payload);
        }
        // Malformed packets are counted as ignored.
        let Some(Packet { process, body }) = self.decode(payload) else {
            return;
        };
        match body {
            PacketBody::Message { offset, from, sender, at, content } => {
                // A message that Redis delivers twice is ignored.
                let Received::New { lost } = self.rooms.record_message(&room, process, offset) else {
                    return;
                };
                let content = content.filter(|content| content.len() <= self.message_max_bytes);
                self.deliver_lost(&room, Some(lost.saturating_add(u64::from(content.is_none()))));
                // Invalid content was reported as lost.
                let Some(content) = content else {
                    return;
                };
                self.counts.received += 1;
                self.deliver(match content {
                    Content::Body(kind, body) => {
                        RemoteEvent::Message { room, from, sender, kind, body, at_unix_millis: Some(at) }
                    }
                    Content::Relayed(payload) => {
                        RemoteEvent::Relayed { room, from, sender, payload, at_unix_millis: at }
                    }
                });
            }
            PacketBody::Watermark { offset, ages, asks } => {
                let lost = self.rooms.record_watermark(&room, process, offset, ages, now);
                self.deliver_lost(&room, lost);
                // Without messages there is no watermark to publish.
                if asks && self.rooms.last_offset(&room).n > 0 {
                    self.watermarks_due.insert(room);
                }
            }
            _ => self.counts.ignored += 1,
        }
    }

    /// Handles a payload of another program: data if it is JSON, else text.
    fn handle_foreign(&mut self, room: RoomName, payload: &[u8]) {
        let text = str::from_utf8(payload).ok().filter(|text| text.len() <= self.message_max_bytes);
        let data = text.and_then(|text| json::body(text).ok());
        let Some(body) = data.or_else(|| text.and_then(Text::clean_lines).map(Body::Text)) else {
            self.counts.ignored += 1;
            return;
        };
        self.counts.received += 1;
        self.deliver(RemoteEvent::Message {
            room,
            from: Name::of_redis(),
            sender: Sender::Unknown,
            kind: MessageKind::Say,
            body,
            at_unix_millis: None,
        });
    }

    /// Handles a payload for all processes, or for this one.
    fn handle_process_payload(&mut self, payload: &[u8], now: Now) {
        if payload.starts_with(&self.names.signature) {
            return self.handle_echo();
        }
        // Malformed packets are counted as ignored.
        let Some(Packet { process, body }) = self.decode(payload) else {
            return;
        };
        if !self.peers.admits(process) {
            self.counts.ignored += 1;
            if !mem::replace(&mut self.too_many_logged, true) {
                log::warn!("redis: another process is ignored, there are more than --redis-processes");
            }
            return;
        }
        if self.expected.remove(&process) {
            self.release_if_all_returned();
        }
        let mut actions = Vec::new();
        match body {
            PacketBody::Clients { version, changes } => {
                self.peers.handle_changes(process, version, changes, now.moment, &mut actions);
            }
            PacketBody::Heartbeat { version, hello } => {
                self.peers.handle_heartbeat(process, version, now.moment, &mut actions);
                self.hello_received |= hello;
            }
            PacketBody::Bye => self.peers.remove(process, &mut actions),
            PacketBody::Private { n, .. } if !self.peers.record_private(process, n) => {}
            PacketBody::Private { to, by, from, text, .. } => {
                self.deliver(RemoteEvent::Private { process, to, by, from, text });
            }
            PacketBody::Undelivered { from, to } => self.deliver(RemoteEvent::Undelivered { from, to }),
            PacketBody::Message { .. } | PacketBody::Watermark { .. } => self.counts.ignored += 1,
        }
        self.run_peer_actions(actions);
    }

    /// Handles an own packet, which shows that publishing and subscribing work.
    fn handle_echo(&mut self) {
        if let Phase::Up(up) = &mut self.phase {
            (up.echo_by, up.echoed) = (None, true);
            self.record_echo();
        }
    }

    /// Parses a packet of another process. Packets with our own number are forged, since real ones have the signature.
    fn decode(&mut self, payload: &[u8]) -> Option<Packet> {
        let packet = packet::decode(payload).filter(|packet| packet.process != self.process);
        self.counts.ignored += u64::from(packet.is_none());
        packet
    }

    fn deliver_lost(&mut self, room: &RoomName, count: Option<u64>) {
        if count != Some(0) {
            // The number comes from another process and may be anything.
            self.counts.lost = self.counts.lost.saturating_add(count.unwrap_or(1));
            self.deliver(RemoteEvent::Lost { room: room.clone(), count });
        }
    }
}

/// The clients of a process and their version, from its hash; `None` if it is missing or incomplete. Malformed clients are
/// skipped.
fn read_hash(reply: &Reply) -> Option<(u64, Vec<(u32, Presence)>)> {
    let Reply::Array(parts) = reply else {
        return None;
    };
    let (mut version, mut clients) = (None, Vec::new());
    for pair in parts.chunks_exact(2) {
        let [Reply::BulkString(name), Reply::BulkString(value)] = pair else {
            return None;
        };
        if name == VERSION {
            version = str::from_utf8(value).ok()?.parse().ok();
        } else if let Ok(client) = str::from_utf8(name).ok()?.parse() {
            clients.extend(packet::decode_presence(value).map(|presence| (client, presence)));
        }
    }
    clients.sort_unstable_by_key(|(client, _)| *client);
    Some((version?, clients))
}
