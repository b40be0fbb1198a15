//! Replies of Redis to commands, and payloads for this process.

use super::access::CHANGED;
use super::channel::SIGNATURE;
use super::connections::{ConnectionError, Incoming, error_of};
use super::local::Ask;
use super::{
    BURY_AFTER, Backplane, GUESTS_RESERVED, LinkAction, LinkCommand, RedisConnection, Stage, entry, forward,
};
use crate::codec::resp::Reply;
use crate::protocol::{Change, Holder, Members, Order, Question, RemoteEvent};
use crate::text::{Name, RoomName};
use crate::time::Now;

use super::command::SCRIPTS;
use super::queue::{ConfirmedChange, Submission};
use super::rooms::FollowedRoom;

/// The payload that only tries whether Redis accepts a publication. `hello` publishes one, too.
pub const PROBE: &str = "chinwag probe -";

pub fn bytes(reply: &Reply) -> Option<&[u8]> {
    match reply {
        Reply::Text(bytes) => Some(bytes),
        _ => None,
    }
}

pub fn text(reply: &Reply) -> Option<&str> {
    str::from_utf8(bytes(reply)?).ok()
}

/// A number, which some commands return as text.
pub fn number(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Int(number) => u64::try_from(*number).ok(),
        reply => text(reply)?.parse().ok(),
    }
}

pub fn list(reply: &Reply) -> Option<&[Reply]> {
    match reply {
        Reply::Array(parts) => Some(parts),
        _ => None,
    }
}

/// Parses a claim: `PROCESS SERIAL OWN NAME`.
fn holder(claim: &Reply) -> Option<Holder> {
    let [process, serial, _, name] = text(claim)?.splitn(4, ' ').collect::<Vec<_>>().try_into().ok()?;
    Some(Holder { id: entry::client(&format!("{process}-{serial}"))?, name: Name::of_remote(name)? })
}

impl Backplane {
    /// Handles bytes from Redis, however they are split.
    pub fn receive(&mut self, connection: RedisConnection, bytes: &[u8], now: Now) {
        self.unix_millis = now.unix_millis;
        let Some(connections) = self.phase.connections_mut() else {
            return;
        };
        let mut incoming = Vec::new();
        let outcome = connections.receive(connection, bytes, &mut incoming);
        // Each read restarts the timeout, so a long reply does not time out.
        if let Some(active) = self.phase.active_mut().filter(|_| connection == RedisConnection::Commands) {
            active.answered_at = now.moment;
        }
        for input in incoming {
            // An earlier input of the same read may have ended the session.
            if self.phase.connections_mut().is_some() {
                self.handle_incoming(input, now);
            }
        }
        self.begin_if_ready(now.moment);
        self.accept_if_confirmed();
        match outcome {
            Ok(()) => {}
            Err(ConnectionError::Refused(error)) => self.handle_refusal(connection, &error, now),
            Err(ConnectionError::Broken(why)) => self.handle_broken(why, now),
        }
    }

    fn handle_incoming(&mut self, incoming: Incoming, now: Now) {
        match incoming {
            Incoming::Reply(reply) => self.handle_reply(&reply, now),
            Incoming::Pong => {
                if let Some(active) = self.phase.active_mut() {
                    active.pong_by = None;
                }
            }
            Incoming::Subscribed(channel) => {
                if let Some(room) = self.room_of(&channel) {
                    self.begin_reading(&room, None);
                }
            }
            Incoming::Message { channel, payload } => match self.room_of(&channel) {
                Some(room) => self.handle_room_payload(&room, payload, now),
                // Each session tries to publish.
                None if payload == PROBE.as_bytes() => {}
                None if payload == CHANGED => self.handle_changed(),
                None => {
                    let is_known = self.handle_process_payload(&payload).is_some();
                    self.counts.ignored += u64::from(!is_known);
                }
            },
        }
    }

    fn handle_reply(&mut self, reply: &Reply, now: Now) {
        if let Some(error) = error_of(reply) {
            return self.handle_refusal(RedisConnection::Commands, error, now);
        }
        let Some(command) = self.queue.pop_answered() else {
            return self.handle_broken("it sent a reply without a command", now);
        };
        if self.handle_command_reply(&command, reply, now).is_none() {
            match &command {
                // Another program has changed what Redis keeps. The client must not wait until that is mended.
                LinkCommand::Ask { ask: Some(ask), .. } => self.answer_without(*ask),
                command => self.queue.restore(command.clone()),
            }
            self.fail("it sent an unexpected reply", Some(&command), now.moment);
        }
    }

    /// Handles the reply to a command. `None` if it is malformed.
    fn handle_command_reply(&mut self, command: &LinkCommand, reply: &Reply, now: Now) -> Option<()> {
        match command {
            LinkCommand::Load(_) => {
                self.hashes.push(text(reply)?.into());
                if self.hashes.len() == SCRIPTS.len() {
                    self.greet(now.moment);
                }
            }
            LinkCommand::Hello => return self.handle_hello(list(reply)?),
            LinkCommand::Sync(room) => return self.handle_sync(room, list(reply)?, now),
            LinkCommand::Barrier => {
                let stage = self.phase.active_mut().map(|active| &mut active.stage);
                match stage {
                    Some(Stage::Syncing { is_confirmed }) => *is_confirmed = true,
                    Some(Stage::Registering { .. }) => self.actions.push_back(LinkAction::Register),
                    _ => {}
                }
            }
            LinkCommand::Table(_) => return self.handle_table(reply),
            LinkCommand::Heartbeat => return self.handle_heartbeat(list(reply)?, now),
            LinkCommand::Guests => self.deliver_guests(number(reply)?),
            LinkCommand::Publish { if_unreceived: Some(if_unreceived), .. } if *reply == Reply::Int(0) => {
                self.handle_unreceived(if_unreceived.clone());
            }
            LinkCommand::Ask { ask, question } => {
                return self.handle_question_reply(*ask, question, reply, now);
            }
            LinkCommand::Submit(submission) => return self.handle_confirmation(submission, reply),
            LinkCommand::Members { .. } | LinkCommand::Bury { .. } | LinkCommand::Release { .. } => {}
            // An earlier session has set it. Others may have changed it since, and reads until now had the value of this process.
            LinkCommand::Record { .. } if *reply == Reply::Int(0) => self.handle_changed(),
            LinkCommand::Publish { .. } | LinkCommand::Record { .. } => {}
        }
        Some(())
    }

    fn handle_hello(&mut self, reply: &[Reply]) -> Option<()> {
        let [must_register, dataset, guests, rooms @ ..] = reply else {
            return None;
        };
        let rooms: Vec<RoomName> =
            rooms.iter().map(|room| RoomName::parse(text(room)?).ok()).collect::<Option<_>>()?;
        self.deliver_guests(number(guests)?);
        let dataset = text(dataset)?;
        // Nobody saw the clients leave if Redis has lost its data.
        let has_lost_data = std::mem::take(&mut self.has_lost_data);
        let is_quiet = has_lost_data || self.dataset.as_deref().is_some_and(|known| known != dataset);
        self.dataset = Some(dataset.into());
        match number(must_register)? {
            // The link was reported as down after `hello` was sent. Redis is asked again, so that the clients are registered.
            0 if self.must_register() => self.queue.push_for_session(LinkCommand::Hello),
            0 => self.serve(),
            _ => self.request_registration(rooms, is_quiet),
        }
        Some(())
    }

    fn deliver_guests(&mut self, last: u64) {
        let first = last.saturating_sub(GUESTS_RESERVED - 1);
        self.deliver(RemoteEvent::Guests { first, last });
    }

    /// Removes what other processes without a lease have left, or renews the lease of this process if it has ended.
    fn handle_heartbeat(&mut self, reply: &[Reply], now: Now) -> Option<()> {
        let (is_alive, others) = reply.split_first()?;
        if number(is_alive)? == 0 {
            self.greet(now.moment);
            return Some(());
        }
        let (processes, dead) = others.split_first()?;
        self.peers = usize::try_from(number(processes)?).ok()?.saturating_sub(1);
        let is_old =
            self.phase.active_mut().is_some_and(|active| now.moment.since(active.since) >= BURY_AFTER);
        for process in dead.iter().filter(|_| is_old) {
            let process = u64::from_str_radix(text(process)?, 16).ok()?;
            self.queue.push_for_session(LinkCommand::Bury { process });
        }
        Some(())
    }

    fn handle_confirmation(&mut self, submission: &Submission, reply: &Reply) -> Option<()> {
        let mut seq = 0;
        if submission.is_appended() {
            seq = number(reply)?;
            self.counts.published += 1;
        }
        let ticket = submission.serial;
        let followed = self.rooms.by_name.get(&submission.room);
        let (is_followed, is_live) = (followed.is_some(), followed.is_some_and(FollowedRoom::is_live));
        // Unpublished changes don't come back by the subscription.
        let unpublished = match submission.change.clone() {
            _ if submission.shown || !is_followed => None,
            Change::Joined { by, name, .. } => {
                unpublished(reply)?.map(|count| Change::Joined { by, name, count })
            }
            Change::Left { by, name, reason, .. } => {
                unpublished(reply)?.map(|count| Change::Left { by, name, reason, count })
            }
            change @ (Change::Renamed { .. } | Change::Topic { .. }) if *reply == Reply::Int(0) => {
                Some(change)
            }
            _ => None,
        };
        // An earlier session has set the topic, and others may have changed it since.
        let is_outdated = matches!(unpublished, Some(Change::Topic { .. }));
        let room = submission.room.clone();
        let confirmed = ConfirmedChange { submission: submission.clone(), seq };
        match unpublished {
            Some(change) => self.deliver(RemoteEvent::Changed {
                room: room.clone(),
                change,
                order: Order::Unnumbered,
                ticket: Some(ticket),
            }),
            None if submission.shown || !is_followed => {}
            // The session has read the room since, and the change was not there: Redis has trimmed it.
            None if confirmed.is_older() && is_live => {
                self.deliver_unnumbered(room.clone(), submission.change.clone(), ticket);
            }
            None => drop(self.confirmed.insert(ticket, confirmed)),
        }
        self.actions.push_back(LinkAction::Confirmed { ticket, seq, is_followed });
        if is_outdated {
            self.read_again(&room);
        }
        Some(())
    }

    fn handle_question_reply(
        &mut self,
        ask: Option<u64>,
        question: &Question,
        reply: &Reply,
        now: Now,
    ) -> Option<()> {
        let mut holder = holder(reply);
        let (mut members, mut rooms, mut is_forwarded) = (None, None, false);
        match question {
            Question::Claim { client, .. } => {
                let is_other =
                    |holder: &Holder| (holder.id.process, holder.id.serial) != (self.process, *client);
                holder = holder.filter(is_other);
                if ask.is_none()
                    && let Some(holder) = &holder
                {
                    let (client, name) = (*client, holder.name.clone());
                    self.deliver(RemoteEvent::NameLost { client, name, to_account: false });
                }
            }
            Question::Find { name, request } => {
                holder = holder.filter(|holder| Name::are_same(holder.name.as_str(), name.as_str()));
                let open = ask.filter(|ask| self.asks.contains_key(ask));
                if let (Some(request), Some(ask), Some(holder)) = (request, open, &holder) {
                    self.forward(ask, holder, request, now.moment);
                    is_forwarded = true;
                }
            }
            Question::Room { .. } | Question::Who { .. } => {
                let (count, names) = list(reply)?.split_first()?;
                let names = names.iter().filter_map(|member| entry::member_name(bytes(member)?)).collect();
                members = Some(Members { names, count: usize::try_from(number(count)?).ok()? });
            }
            Question::Rooms { .. } => {
                let (all, largest) = list(reply)?.split_first()?;
                let pair = |pair: &[Reply]| {
                    Some((RoomName::parse(text(&pair[0])?).ok()?, number(&pair[1])?.try_into().ok()?))
                };
                let largest: Vec<(RoomName, usize)> = largest.chunks_exact(2).filter_map(pair).collect();
                let further = usize::try_from(number(all)?).ok()?.saturating_sub(largest.len());
                rooms = Some((largest, further));
            }
        }
        // A question that is forgotten needs no answer.
        if let Some(Ask { facts, open, .. }) = ask.and_then(|ask| self.asks.get_mut(&ask)) {
            facts.holder = facts.holder.take().or(holder);
            facts.members = facts.members.take().or(members);
            facts.rooms = facts.rooms.take().or(rooms);
            *open -= usize::from(!is_forwarded);
        }
        ask.into_iter().for_each(|ask| self.answer_if_complete(ask));
        Some(())
    }

    /// Handles a payload in the channel of this process. `None` if it is malformed.
    fn handle_process_payload(&mut self, payload: &[u8]) -> Option<()> {
        let payload = str::from_utf8(payload.strip_prefix(SIGNATURE)?).ok()?;
        let (kind, rest) = payload.split_once(' ')?;
        let event = match kind {
            "private" => {
                let (to, name, by, from, text) = entry::decode_private(rest.as_bytes())?;
                RemoteEvent::Private { to, name, by, from, text }
            }
            "undelivered" => {
                let (by, to) = rest.split_once(' ')?;
                RemoteEvent::Undelivered { by: by.parse().ok()?, to: Name::of_remote(to)? }
            }
            "taken" => {
                let [client, _, name] = rest.splitn(3, ' ').collect::<Vec<_>>().try_into().ok()?;
                let (client, name) = (client.parse().ok()?, Name::of_remote(name)?);
                RemoteEvent::NameLost { client, name, to_account: true }
            }
            "away" => {
                let (by, name, text) = entry::decode_away(rest)?;
                RemoteEvent::Away { by, name, text }
            }
            "request" => {
                let (by, request) = forward::decode_request(rest)?;
                RemoteEvent::Forwarded { by, request }
            }
            "outcome" => {
                let (ask, outcome) = forward::decode_outcome(rest)?;
                self.complete(ask, outcome);
                return Some(());
            }
            _ => return None,
        };
        self.deliver(event);
        Some(())
    }
}

/// The members of the room if the change was not published. The outer `None` is a malformed reply.
fn unpublished(reply: &Reply) -> Option<Option<usize>> {
    let [count, published] = list(reply)? else {
        return None;
    };
    let count = usize::try_from(number(count)?).ok()?;
    Some((number(published)? == 0).then_some(count))
}
