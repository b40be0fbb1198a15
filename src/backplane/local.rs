//! Input from this process: changes of rooms, events, questions, and the registration of clients.

use std::collections::BTreeMap;
use std::mem;

use super::command::{hex, keys_of};
use super::queue::{ConfirmedChange, IfUnreceived, Submission, Withdrawal};
use super::{Backplane, LinkAction, LinkCommand, RedisConnection, Stage, connections, entry, forward};
use crate::codec::resp;
use crate::protocol::{
    Change, ClaimOver, Facts, ForwardedBy, ForwardedRequest, Holder, LocalEvent, MessageId, Order, Outcome,
    Presence, Question, RemoteEvent, RoomPosition,
};
use crate::text::{Name, RoomName};
use crate::time::{Moment, Now};

/// A request that waits for facts.
pub(super) struct Ask {
    pub asker: u64,
    /// The number of questions without an answer.
    pub open: usize,
    pub facts: Facts,
}

impl Backplane {
    /// Makes a change in a room. Returns its serial number, with which it comes back.
    pub fn submit(&mut self, room: RoomName, change: Change) -> u64 {
        self.serial += 1;
        let change = entry::with_id(change, MessageId { process: self.process, serial: self.serial });
        let submission = Submission { serial: self.serial, room, change, shown: false, sent: false };
        match self.is_detached() || (self.leaving && submission.is_presence()) {
            true => self.deliver_now(submission),
            false => self.push(LinkCommand::Submit(submission.into())),
        }
        self.serial
    }

    /// Withdraws a change unless Redis may have it.
    pub fn withdraw(&mut self, room: &RoomName, ticket: u64) -> Withdrawal {
        let outcome = self.queue.withdraw(ticket);
        if let Some(room) = self.rooms.by_name.get_mut(room).filter(|_| outcome == Withdrawal::Withdrawn) {
            room.seen.remove(&ticket);
        }
        outcome
    }

    /// Handles a local event.
    pub fn share(&mut self, event: LocalEvent, now: Now) {
        match event {
            LocalEvent::Subscribed { room, has_subscribers } => {
                match has_subscribers {
                    true => self.follow(&room, None, now.moment),
                    false => self.rooms.record_idle(&room, now.moment),
                }
                if let Some(room) = self.rooms.by_name.get_mut(&room) {
                    room.has_subscribers = has_subscribers;
                }
            }
            LocalEvent::Named { client, name, old, is_account } => {
                let kept = keys_of(&name);
                let old = old.map(|old| keys_of(&old)).unwrap_or_default();
                self.release(client, old.into_iter().filter(|key| !kept.contains(key)).collect());
                // Other names were claimed by a question. Guests can't choose theirs.
                if Name::parse(name.as_str()).is_err() {
                    self.claim(client, name, is_account);
                }
            }
            LocalEvent::Gone { client, name } => self.release(client, keys_of(&name)),
            LocalEvent::Private { to, by, from, text } => {
                let process = to.id.process;
                let payload = entry::encode_private(to.id.serial, &to.name, by, &from, &text);
                let payload = format!("chinwag private {payload}");
                let if_unreceived = IfUnreceived::Report { by: by.serial, to: to.name };
                match self.is_up() {
                    true => self.push(LinkCommand::Publish {
                        process,
                        payload,
                        if_unreceived: Some(if_unreceived),
                    }),
                    false => self.handle_unreceived(if_unreceived),
                }
            }
            LocalEvent::Undelivered { by, to } => {
                self.publish(by.process, format!("chinwag undelivered {} {to}", by.serial), None);
            }
            LocalEvent::Away { by, name, text } => {
                self.publish(by.process, entry::encode_away(by.serial, &name, &text), None);
            }
            LocalEvent::Outcome { of, outcome } => {
                self.publish(of.process, forward::encode_outcome(of.ask, &outcome), None);
            }
            LocalEvent::GuestsNeeded => self.push_if_attached(LinkCommand::Guests),
        }
    }

    /// Asks for facts. They follow as [`LinkAction::Answer`]. A question about a room comes with the position that the chat has.
    pub fn ask(&mut self, asker: u64, questions: Vec<(Question, Option<RoomPosition>)>, now: Now) {
        // Each call has its own number, since replies to forgotten questions of the asker may still come.
        self.last_ask += 1;
        let ask = self.last_ask;
        self.asks.insert(ask, Ask { asker, open: questions.len(), facts: Facts::default() });
        let is_detached = self.is_detached();
        for (question, position) in questions {
            match question {
                Question::Room { room, members } => {
                    self.follow(&room, position, now.moment);
                    if let Some(followed) = self.rooms.by_name.get_mut(&room) {
                        followed.waiting.push((ask, members));
                    }
                    self.ask_about(&room);
                }
                // A detached link answers at once. A claim that was made later could be one for an old name.
                question if !is_detached => self.push(LinkCommand::Ask { ask: Some(ask), question }),
                _ => {}
            }
        }
        match is_detached {
            true => self.answer_all(),
            false => self.answer_if_complete(ask),
        }
    }

    /// Drops the questions of a request. The caller releases a name that they may have claimed.
    pub fn remove_questions(&mut self, asker: u64) {
        self.asks.retain(|_, ask| ask.asker != asker);
    }

    /// Registers all clients of this process: the first call claims their names, and the second one sends their memberships.
    pub fn register(&mut self, clients: &[Presence]) {
        let stage = self.phase.active_mut().map(|active| &mut active.stage);
        // The session may have ended meanwhile, and the next one asks again.
        let Some(Stage::Registering { rooms, is_quiet, has_claimed }) = stage else {
            return;
        };
        if !mem::replace(has_claimed, true) {
            for Presence { client, name, is_account, .. } in clients {
                let question = claim_of(*client, name.clone(), *is_account);
                self.queue.push_for_session(LinkCommand::Ask { ask: None, question });
            }
            return self.queue.push_for_session(LinkCommand::Barrier);
        }
        let (rooms, is_quiet) = (mem::take(rooms), *is_quiet);
        // The clients have made these changes already, some of them since their names were claimed.
        self.drop_replaced(LinkCommand::is_presence);
        let mut members: BTreeMap<RoomName, Vec<(u32, Name)>> =
            rooms.into_iter().map(|room| (room, Vec::new())).collect();
        for Presence { client, name, rooms, .. } in clients {
            for room in rooms {
                members.entry(room.clone()).or_default().push((*client, name.clone()));
            }
        }
        let most = if is_quiet { -1 } else { i64::try_from(self.announce_max).unwrap_or(i64::MAX) };
        for (room, members) in members {
            self.queue.push_for_session(LinkCommand::Members { room, most, members });
        }
        self.serve();
    }

    /// Announces that this process ends. For the others its clients are gone at once.
    pub fn leave(&mut self) {
        if !mem::replace(&mut self.leaving, true) {
            self.push(LinkCommand::Bury { process: self.process });
        }
    }

    /// Whether changes are shown at once, since the link is down for long.
    pub(super) fn is_detached(&self) -> bool {
        // Redis has the names of clients during a registration, so new ones must be claimed.
        let is_registering = matches!(self.phase.stage(), Some(Stage::Registering { has_claimed: true, .. }));
        self.disconnected && !self.is_serving() && !is_registering
    }

    /// Shows all waiting changes to the members here, and answers all questions. What Redis keeps goes on waiting.
    pub(super) fn detach(&mut self) {
        self.deliver_confirmed(|_| true);
        for command in self.queue.take_unsent() {
            match command {
                LinkCommand::Submit(submission) => self.deliver_now(*submission),
                LinkCommand::Bury { .. } | LinkCommand::Record { .. } => self.push(command),
                LinkCommand::Publish { if_unreceived: Some(if_unreceived), .. } => {
                    self.handle_unreceived(if_unreceived);
                }
                _ => {}
            }
        }
        self.answer_all();
    }

    /// Drops the waiting commands that a registration replaces. Changes are shown to the members here.
    pub(super) fn drop_replaced(&mut self, is_replaced: fn(&LinkCommand) -> bool) {
        for command in self.queue.take_unsent() {
            match command {
                command if !is_replaced(&command) => self.push(command),
                LinkCommand::Submit(submission) => self.deliver_now(*submission),
                _ => {}
            }
        }
    }

    /// Delivers a change to the members here before Redis has it. It waits for Redis if Redis keeps it.
    fn deliver_now(&mut self, mut submission: Submission) {
        if !mem::replace(&mut submission.shown, true) {
            self.deliver_unnumbered(submission.room.clone(), submission.change.clone(), submission.serial);
        }
        if submission.is_presence() {
            return;
        }
        // Redis keeps no binary messages, so the others are told that there was one.
        if !submission.is_appended() && matches!(submission.change, Change::Relayed { .. }) {
            submission.change = Change::Lost { count: 1 };
        }
        self.push(LinkCommand::Submit(submission.into()));
    }

    /// Delivers a change of this process that has no number yet. When it gets one, the members here are not sent it again.
    pub(super) fn deliver_unnumbered(&mut self, room: RoomName, change: Change, ticket: u64) {
        if let Some(room) = self.rooms.by_name.get_mut(&room) {
            room.seen.insert(ticket);
        }
        let order = Order::Unnumbered;
        self.deliver(RemoteEvent::Changed { room, change, order, ticket: Some(ticket) });
    }

    /// Delivers the confirmed changes that are overdue. One that comes back later is not shown again.
    pub(super) fn deliver_confirmed(&mut self, is_overdue: impl Fn(&ConfirmedChange) -> bool) {
        for (serial, confirmed) in mem::take(&mut self.confirmed) {
            if !is_overdue(&confirmed) {
                self.confirmed.insert(serial, confirmed);
                continue;
            }
            let Submission { room, change, .. } = confirmed.submission;
            self.deliver_unnumbered(room, change, serial);
        }
    }

    pub(super) fn push(&mut self, command: LinkCommand) {
        self.queue.push(command);
        for (room, ticket) in self.queue.take_shed() {
            self.counts.shed += 1;
            let id = MessageId { process: self.process, serial: ticket };
            self.actions.push_back(LinkAction::Shed { room, id });
        }
    }

    fn push_if_attached(&mut self, command: LinkCommand) {
        if !self.is_detached() && !self.leaving {
            self.push(command);
        }
    }

    /// Publishes a payload for another process, which may be gone.
    fn publish(&mut self, process: u64, payload: String, if_unreceived: Option<IfUnreceived>) {
        self.push_if_attached(LinkCommand::Publish { process, payload, if_unreceived });
    }

    /// Handles a publication that no process has received.
    pub(super) fn handle_unreceived(&mut self, publication: IfUnreceived) {
        match publication {
            IfUnreceived::Report { by, to } => self.deliver(RemoteEvent::Undelivered { by, to }),
            IfUnreceived::Complete { ask } => self.complete(ask, None),
        }
    }

    /// Forwards a request to the process of the client. Its outcome completes the question, or else the deadline does.
    pub(super) fn forward(&mut self, ask: u64, to: &Holder, request: &ForwardedRequest, now: Moment) {
        let from = ForwardedBy { process: self.process, ask };
        let payload = forward::encode_request(from, &to.name, request);
        self.publish(to.id.process, payload, Some(IfUnreceived::Complete { ask }));
        self.forwarded.push_back((now + self.timeout, ask));
    }

    /// Completes the question about a forwarded request. It may have been answered or forgotten.
    pub(super) fn complete(&mut self, ask: u64, outcome: Option<Outcome>) {
        self.forwarded.retain(|(_, other)| *other != ask);
        if let Some(Ask { facts, open, .. }) = self.asks.get_mut(&ask) {
            facts.outcome = outcome;
            *open = 0;
        }
        self.answer_if_complete(ask);
    }

    fn claim(&mut self, client: u32, name: Name, is_account: bool) {
        self.push_if_attached(LinkCommand::Ask { ask: None, question: claim_of(client, name, is_account) });
    }

    fn release(&mut self, client: u32, keys: Vec<String>) {
        if !keys.is_empty() {
            self.push_if_attached(LinkCommand::Release { client, keys });
        }
    }

    /// Begins to follow a room, if that is new.
    fn follow(&mut self, room: &RoomName, position: Option<RoomPosition>, now: Moment) {
        if self.rooms.follow(room, position, now) && self.phase.connections_mut().is_some() {
            let channel = self.channel(room);
            connections::subscribe(&[channel], &mut self.out[RedisConnection::Subscriptions as usize]);
        }
    }

    pub(super) fn unfollow(&mut self, room: RoomName) {
        // The room has no subscriber here.
        let actions = &mut self.actions;
        self.confirmed.retain(|ticket, ConfirmedChange { submission, seq }| {
            let goes = submission.room == room;
            if goes {
                actions.push_back(LinkAction::Confirmed { ticket: *ticket, seq: *seq, is_followed: false });
            }
            !goes
        });
        if self.phase.connections_mut().is_some() {
            let channel = self.channel(&room);
            resp::encode(&[b"UNSUBSCRIBE", &channel], &mut self.out[RedisConnection::Subscriptions as usize]);
        }
        self.deliver(RemoteEvent::Unfollowed { room });
    }

    /// Asks for the members of a room for all questions that have waited until it is live.
    pub(super) fn ask_about(&mut self, name: &RoomName) {
        let live = self.rooms.by_name.get_mut(name).filter(|room| room.is_live());
        for (ask, members) in live.map(|room| mem::take(&mut room.waiting)).unwrap_or_default() {
            let question = Question::Who { room: name.clone(), max: members };
            self.push(LinkCommand::Ask { ask: Some(ask), question });
        }
    }

    pub(super) fn answer_if_complete(&mut self, ask: u64) {
        if self.asks.get(&ask).is_some_and(|ask| ask.open == 0)
            && let Some(Ask { asker, facts, .. }) = self.asks.remove(&ask)
        {
            self.actions.push_back(LinkAction::Answer { asker, facts });
        }
    }

    /// Answers the questions of a request without the facts that are open.
    pub(super) fn answer_without(&mut self, ask: u64) {
        if let Some(ask) = self.asks.get_mut(&ask) {
            ask.open = 0;
        }
        self.answer_if_complete(ask);
    }

    /// Answers all questions without facts.
    fn answer_all(&mut self) {
        self.rooms.by_name.values_mut().for_each(|room| room.waiting.clear());
        for Ask { asker, .. } in mem::take(&mut self.asks).into_values() {
            self.actions.push_back(LinkAction::Answer { asker, facts: Facts::default() });
        }
    }

    /// The channel of a process. No room's name has an `@`, so it can't collide with a room's channel.
    pub(super) fn process_channel(&self, process: u64) -> String {
        format!("{}@{}", self.channels, hex(process))
    }

    /// The channel in which scripts announce changes of the kept entries.
    pub(super) fn access_channel(&self) -> String {
        format!("{}@access", self.channels)
    }

    pub(super) fn channel(&self, room: &RoomName) -> Vec<u8> {
        format!("{}{}", self.channels, room.as_str()).into()
    }

    pub(super) fn room_of(&self, channel: &[u8]) -> Option<RoomName> {
        let name = str::from_utf8(channel.strip_prefix(self.channels.as_bytes())?).ok()?;
        RoomName::parse(name).ok().filter(|room| room.as_str() == name)
    }
}

fn claim_of(client: u32, name: Name, is_account: bool) -> Question {
    Question::Claim { client, name, over: ClaimOver::Nobody, is_account }
}
