//! What comes in: answers of Redis, and what other processes and programs have published.

use std::mem;

use super::others::Heard;
use super::packet::{self, Packet, PacketBody, What};
use super::queue::Purpose;
use super::send::VERSION;
use super::session::{Incoming, Trouble, error_of};
use super::{Backplane, Link, LinkAction, Phase, Up};
use crate::codec::json;
use crate::codec::resp::Reply;
use crate::protocol::{Body, MessageKind, Presence, RemoteEvent, Sender};
use crate::text::{Name, RoomName, Text};
use crate::time::Now;

impl Backplane {
    /// Takes bytes that Redis has sent, however they are cut.
    pub fn receive(&mut self, link: Link, bytes: &[u8], now: Now) {
        let mut said = Vec::new();
        let session = match &mut self.phase {
            Phase::Opening { session, .. } | Phase::Up(Up { session, .. }) => session,
            Phase::Down { .. } | Phase::Resolving { .. } => return,
        };
        let outcome = session.receive(link, bytes, &mut said);
        // A long answer is one from its first byte on.
        if let Phase::Up(up) = &mut self.phase
            && link == Link::Commands
        {
            up.answered_at = now.moment;
        }
        self.begin_if_ready(now.moment);
        for incoming in said {
            self.take_in(incoming, now);
        }
        if let Err(trouble) = outcome {
            if link == Link::Commands && trouble == Trouble::TooLarge {
                self.give_up_snapshot();
            }
            match trouble {
                Trouble::Refused(error) => self.refused(link, &error, now),
                trouble => self.broken(&trouble.to_string(), now),
            }
        }
    }

    /// If it is the clients of a process that Redis says at too great a length, they are not asked for again.
    fn give_up_snapshot(&mut self) {
        if let Some((&Purpose::Snapshot { process }, _)) = self.queue.oldest() {
            let name = packet::process_as_text(process);
            log::error!("redis: too many clients to read, raise --redis-reply-max process={name}");
            let mut todo = Vec::new();
            self.peers.give_up_reading(process, &mut todo);
            self.carry_out(todo);
        }
    }

    fn take_in(&mut self, incoming: Incoming, now: Now) {
        match incoming {
            Incoming::Answer(reply) => self.hear_answer(reply, now),
            Incoming::Subscribed(channel) => {
                if let Some(room) = self.names.room(&channel) {
                    self.mark(&room, true, now);
                }
            }
            Incoming::Message { channel, payload } => match self.names.room(&channel) {
                Some(room) => self.hear_in_room(room, &payload, now),
                None => self.hear_of_processes(&payload, now),
            },
        }
    }

    fn hear_answer(&mut self, reply: Reply, now: Now) {
        if !self.is_up() {
            return;
        }
        // A message that is refused stays in the queue, since it is not answered.
        if let Some(error) = error_of(&reply) {
            return self.refused(Link::Commands, &error, now);
        }
        let Some(purpose) = self.queue.answered() else {
            return self.broken("it answers what was not asked", now);
        };
        match (purpose, reply) {
            (Purpose::Message { .. }, Reply::Int(_)) => self.counts.published += 1,
            // Nobody has heard it: its process is gone, and we are about to learn so.
            (Purpose::Private { from, to }, Reply::Int(0)) => {
                self.tell(RemoteEvent::Nobody { from, called: to })
            }
            (Purpose::Probe { process }, Reply::Array(counts)) => {
                self.peers.hear_of(process, counts.last() != Some(&Reply::Int(0)), now.moment);
            }
            (Purpose::Check { version }, reply) => self.check_registration(version, &reply),
            (Purpose::Snapshot { process }, reply) => {
                let mut todo = Vec::new();
                self.peers.hear_all(process, read_hash(&reply), &mut todo);
                self.carry_out(todo);
            }
            (Purpose::Registered, _) => self.announce_hello(),
            (Purpose::Announced, _) => self.prove(),
            (Purpose::Proof, _) => self.accept(),
            _ => {}
        }
    }

    /// Puts our clients into Redis anew, unless they are there at that version. Somebody may have deleted them, or what a
    /// broken connection still had under way may have come behind the session after it.
    fn check_registration(&mut self, version: u64, there: &Reply) {
        let version_there = match there {
            Reply::BulkString(there) => str::from_utf8(there).ok().and_then(|there| there.parse().ok()),
            _ => None,
        };
        if version_there != Some(version) && version >= self.registered && !self.left {
            self.actions.push_back(LinkAction::Register);
        }
    }

    fn hear_in_room(&mut self, room: RoomName, payload: &[u8], now: Now) {
        if payload.starts_with(&self.names.signature) {
            return;
        }
        if !packet::is_ours(payload) {
            return self.hear_foreign(room, payload);
        }
        let Some(Packet { process, said }) = self.decode(payload) else {
            return;
        };
        match said {
            PacketBody::Message { place, from, sender, at, what } => {
                let Heard::New { lost } = self.rooms.hear(&room, process, place) else {
                    return;
                };
                let what = what.filter(|what| what.len() <= self.message_max_bytes);
                self.tell_lost(&room, Some(lost.saturating_add(u64::from(what.is_none()))));
                let Some(what) = what else {
                    return;
                };
                self.counts.received += 1;
                self.tell(match what {
                    What::Body(kind, body) => {
                        RemoteEvent::Message { room, from, sender, kind, body, at_unix_millis: Some(at) }
                    }
                    What::Relayed(payload) => {
                        RemoteEvent::Relayed { room, from, sender, payload, at_unix_millis: at }
                    }
                });
            }
            PacketBody::Mark { place, ages, asks } => {
                let lost = self.rooms.hear_mark(&room, process, place, ages, now);
                self.tell_lost(&room, lost);
                // Who has said nothing has nothing to be missed.
                if asks && self.rooms.place(&room).n > 0 {
                    self.owing.insert(room);
                }
            }
            _ => self.counts.ignored += 1,
        }
    }

    /// What another program has published: data if it is JSON, else words if it is text.
    fn hear_foreign(&mut self, room: RoomName, payload: &[u8]) {
        let text = str::from_utf8(payload).ok().filter(|text| text.len() <= self.message_max_bytes);
        let data = text.and_then(|text| json::body(text).ok());
        let Some(body) = data.or_else(|| text.and_then(Text::clean_lines).map(Body::Text)) else {
            self.counts.ignored += 1;
            return;
        };
        self.counts.received += 1;
        self.tell(RemoteEvent::Message {
            room,
            from: Name::of_redis(),
            sender: Sender::Unknown,
            kind: MessageKind::Say,
            body,
            at_unix_millis: None,
        });
    }

    /// Something for all processes, or for this one.
    fn hear_of_processes(&mut self, payload: &[u8], now: Now) {
        if payload.starts_with(&self.names.signature) {
            return self.hear_echo();
        }
        let Some(Packet { process, said }) = self.decode(payload) else {
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
            self.release_if_all_are_here();
        }
        let mut todo = Vec::new();
        match said {
            PacketBody::Clients { version, changes } => {
                self.peers.hear_changes(process, version, changes, now.moment, &mut todo);
            }
            PacketBody::Beat { version, hello } => {
                self.peers.hear(process, version, now.moment, &mut todo);
                self.greeted |= hello;
            }
            PacketBody::Bye => self.peers.forget(process, &mut todo),
            PacketBody::Private { n, .. } if !self.peers.hear_private(process, n) => {}
            PacketBody::Private { to, by, from, text, .. } => {
                self.tell(RemoteEvent::Private { process, to, by, from, text });
            }
            PacketBody::Nobody { from, called } => self.tell(RemoteEvent::Nobody { from, called }),
            PacketBody::Message { .. } | PacketBody::Mark { .. } => self.counts.ignored += 1,
        }
        self.carry_out(todo);
    }

    /// Something of our own has come back: what is published comes to those who are subscribed.
    fn hear_echo(&mut self) {
        if let Phase::Up(up) = &mut self.phase {
            (up.echo_by, up.echoed) = (None, true);
            self.record_echo();
        }
    }

    /// Reads what another process says. What looks like our own and does not begin as we write it is not ours.
    fn decode(&mut self, payload: &[u8]) -> Option<Packet> {
        let packet = packet::decode(payload).filter(|packet| packet.process != self.process);
        self.counts.ignored += u64::from(packet.is_none());
        packet
    }

    fn tell_lost(&mut self, room: &RoomName, count: Option<u64>) {
        if count != Some(0) {
            // It is what others say: it may be anything.
            self.counts.lost = self.counts.lost.saturating_add(count.unwrap_or(1));
            self.tell(RemoteEvent::Lost { room: room.clone(), count });
        }
    }
}

/// The clients of a process from its hash, with the version they are at; `None` if it is not there, or not whole. A client
/// that can't be understood is left out.
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
