//! One room: its subscribers, its history, its rules and its topic.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::access::RoomRules;
use crate::chat::crowd::Crowd;
use crate::chat::ids::ClientId;
use crate::protocol::{
    Change, Dialect, Epoch, Event, MESSAGE_ID_MAX_BYTES, Message, MessageId, Position, RoomPosition,
    UNIQUE_ID_MAX_BYTES,
};
use crate::text::{NAME_MAX_BYTES, Name, RoomName, Text};
use crate::time::Moment;

#[derive(Debug)]
pub struct Room {
    pub name: RoomName,
    /// Distinguishes the room from others that had or will have its slot.
    pub(super) serial: u32,
    /// The clients that are sent the room's events, by dialect. The lists are dense for fast fan-out; each client has its
    /// index.
    pub(super) subscribers: [Vec<ClientId>; Dialect::IN_ROOMS.len()],
    /// The number of changes of the subscribers, modulo 2^32.
    pub changes: u32,
    /// Joins and leaves that were not announced.
    pub crowd: Crowd,
    /// The subscribers that are catching up, sorted; `None` if there are none.
    pub catching_up: Option<Rc<[ClientId]>>,
    /// The stored messages, oldest first.
    pub(super) history: VecDeque<Rc<Message>>,
    /// The messages of this process that were shown without a number, since Redis is away, oldest first.
    pub(super) unnumbered: VecDeque<Rc<Message>>,
    /// The number of messages that were stored once and are not any more.
    pub(super) evicted: u64,
    /// The epoch of the sequence numbers.
    pub epoch: Epoch,
    /// The sequence number of the last numbered change.
    pub(super) seq: u64,
    /// The time when the last subscriber left, or of a later message by HTTP.
    pub(super) unused_since: Moment,
    /// `None`: the rules of an open room.
    pub(super) rules: Option<Rc<RoomRules>>,
    /// The topic that a client has set (`None`: it has removed it), and the client's name.
    pub topic: Option<(Option<Name>, Option<Text>)>,
}

impl Room {
    pub(super) fn new(name: RoomName, serial: u32, epoch: Epoch, rules: Option<Rc<RoomRules>>) -> Room {
        Room {
            name,
            serial,
            subscribers: Default::default(),
            changes: 0,
            crowd: Crowd::default(),
            catching_up: None,
            history: VecDeque::new(),
            unnumbered: VecDeque::new(),
            evicted: 0,
            epoch,
            seq: 0,
            unused_since: Moment::default(),
            rules,
            topic: None,
        }
    }

    pub fn rules(&self) -> &RoomRules {
        self.rules.as_deref().unwrap_or(&RoomRules::OPEN)
    }

    pub fn has_topic(&self) -> bool {
        match &self.topic {
            Some((_, text)) => text.is_some(),
            None => self.rules().topic.is_some(),
        }
    }

    /// The topic that a client has set, or else that of the configuration.
    pub fn topic_event(&self) -> Event {
        let of_rules = || (None, self.rules().topic.clone());
        let (by, text) = self.topic.clone().unwrap_or_else(of_rules);
        Event::Topic { room: self.name.clone(), by, text }
    }

    pub fn subscribers(&self, dialect: Dialect) -> &[ClientId] {
        debug_assert_ne!(dialect, Dialect::Http, "HTTP requests are in no room");
        self.subscribers.get(dialect as usize).map_or(&[], Vec::as_slice)
    }

    /// The members of this process. SSE clients are subscribers and not members.
    pub fn members(&self) -> impl Iterator<Item = ClientId> {
        let [line, json, raw, _] = &self.subscribers;
        [line, json, raw].into_iter().flatten().copied()
    }

    /// The number of members of this process.
    pub fn count(&self) -> usize {
        let [line, json, raw, _] = &self.subscribers;
        line.len() + json.len() + raw.len()
    }

    /// Whether no client needs the room's messages.
    pub fn is_unused(&self) -> bool {
        self.subscribers.iter().all(Vec::is_empty)
    }

    /// Adds a subscriber and returns its index.
    pub fn subscribe(&mut self, dialect: Dialect, id: ClientId) -> u32 {
        self.changes = self.changes.wrapping_add(1);
        let subscribers = &mut self.subscribers[dialect as usize];
        subscribers.push(id);
        subscribers.len() as u32 - 1
    }

    /// Removes the subscriber at `index`. The last subscriber gets that index and is returned, unless it was removed.
    pub fn unsubscribe(&mut self, dialect: Dialect, index: u32) -> Option<ClientId> {
        self.changes = self.changes.wrapping_add(1);
        let subscribers = &mut self.subscribers[dialect as usize];
        subscribers.swap_remove(index as usize);
        subscribers.get(index as usize).copied()
    }

    /// Records whether a subscriber is catching up.
    pub fn set_catching_up(&mut self, id: ClientId, is_catching_up: bool) {
        let mut ids = self.catching_up.as_deref().unwrap_or_default().to_vec();
        // After the death of another process thousands may catch up at once, and the list stays sorted.
        match (ids.binary_search(&id), is_catching_up) {
            (Ok(index), false) => drop(ids.remove(index)),
            (Err(index), true) => ids.insert(index, id),
            _ => {}
        }
        self.catching_up = (!ids.is_empty()).then(|| ids.into());
    }

    /// The last position of the room, for clients that have received everything before it.
    pub fn position_event(&self) -> Event {
        let position = Position { epoch: self.epoch, seq: self.seq };
        Event::Position { room: self.name.clone(), position }
    }

    /// The sequence number of the last numbered change.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last numbered change that this process has, for other processes; `None` if there was none.
    pub fn position(&self) -> Option<RoomPosition> {
        let last = self.history.back().filter(|last| last.seq == self.seq);
        let id = last.and_then(|last| last.id);
        (self.seq > 0).then_some(RoomPosition { epoch: self.epoch, seq: self.seq, id })
    }

    /// The last `count` messages, oldest first.
    pub fn last(&self, count: usize) -> impl Iterator<Item = &Rc<Message>> {
        self.history.iter().skip(self.history.len().saturating_sub(count))
    }

    /// The offset of the first stored message. Offsets count all messages that the room has ever stored.
    pub fn start_offset(&self) -> u64 {
        self.evicted
    }

    /// The offset after the last message.
    pub fn end_offset(&self) -> u64 {
        self.evicted + self.history.len() as u64
    }

    /// The offset of the first stored message with a higher sequence number than `seq`.
    pub fn offset_after(&self, seq: u64) -> u64 {
        self.evicted + self.history.partition_point(|message| message.seq <= seq) as u64
    }

    /// The stored messages from `offset` on.
    pub fn messages_from(&self, offset: u64) -> impl Iterator<Item = &Rc<Message>> {
        let start = offset.saturating_sub(self.evicted) as usize;
        self.history.range(start.min(self.history.len())..)
    }

    /// The messages without a number whose serial numbers are higher than `serial`, oldest first.
    pub fn unnumbered_after(&self, serial: u64) -> impl Iterator<Item = &Rc<Message>> {
        let is_after = move |message: &&Rc<Message>| message.id.is_some_and(|id| id.serial > serial);
        self.unnumbered.iter().filter(is_after)
    }

    /// Removes a message that was discarded. Redis may have older ones, which have no number here yet.
    pub fn discard_unnumbered(&mut self, id: MessageId) {
        if let Some(index) = self.unnumbered.iter().position(|message| message.id == Some(id)) {
            self.unnumbered.remove(index);
        }
    }

    /// Removes a message that has got its number, and those before it. Redis numbers those of a process in order.
    pub fn remove_unnumbered(&mut self, id: MessageId) {
        let has_number = |message: &Rc<Message>| {
            message.id.is_some_and(|other| other.process == id.process && other.serial <= id.serial)
        };
        while self.unnumbered.front().is_some_and(has_number) {
            self.unnumbered.pop_front();
        }
    }

    /// The number of messages among the last `count` that fit into `max_bytes`.
    pub fn count_last_fitting(&self, count: usize, max_bytes: usize, dialect: Dialect) -> usize {
        count_fitting(self.history.iter().rev().take(count), max_bytes, dialect)
    }

    /// Takes the summary of joins and leaves; `None` if there were none, or if nobody is there to read it.
    pub fn take_summary(&mut self) -> Option<Change> {
        let crowd = std::mem::take(&mut self.crowd);
        let Crowd { joined, left, .. } = crowd;
        let has_content = joined + left > 0 && !self.is_unused();
        has_content.then(|| Change::Crowd { joined, left, count: self.count() })
    }

    /// Whether the message with that sequence number is still stored.
    pub(super) fn is_stored(&self, seq: u64) -> bool {
        self.history.front().is_some_and(|oldest| oldest.seq <= seq && seq <= self.seq)
    }
}

/// The number of messages that fit into `max_bytes` in `dialect`. The first one always counts, since an answer without a
/// message would mean that there is none.
pub fn count_fitting<'a>(
    messages: impl Iterator<Item = &'a Rc<Message>>,
    max_bytes: usize,
    dialect: Dialect,
) -> usize {
    let mut bytes = 0;
    let fits = |(index, message): &(usize, &Rc<Message>)| {
        bytes += encoded_bytes_max(message, dialect);
        *index == 0 || bytes <= max_bytes
    };
    messages.enumerate().take_while(fits).count()
}

/// An upper bound of the encoded size of a message in `dialect`.
pub fn encoded_bytes_max(message: &Message, dialect: Dialect) -> usize {
    // A line has a name, the kind and the age around the text. JSON has the keys and two ids, and escapes of two bytes. A
    // server-sent event has a position and a room as well.
    const JSON: usize = 2 * NAME_MAX_BYTES + UNIQUE_ID_MAX_BYTES + MESSAGE_ID_MAX_BYTES + 145;
    let (around, escaped) = match dialect {
        Dialect::Line => (NAME_MAX_BYTES + 40, 1),
        Dialect::Events => (JSON + NAME_MAX_BYTES + 88, 2),
        Dialect::Json | Dialect::Raw | Dialect::Http => (JSON, 2),
    };
    message.body.len() * escaped + around
}
