//! One room: its subscribers, its history, its rules and its topic.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::access::RoomRules;
use crate::chat::crowd::Crowd;
use crate::chat::ids::ClientId;
use crate::protocol::{Dialect, Epoch, Event, Message, UNIQUE_ID_MAX_BYTES};
use crate::text::{NAME_MAX_BYTES, Name, RoomName, Text};
use crate::time::Moment;

#[derive(Debug)]
pub struct Room {
    pub name: RoomName,
    /// Distinguishes the room from others that had or will have its slot.
    pub(super) serial: u32,
    /// The clients that are sent the room's events, by dialect. The lists are dense for fast fan-out; each client has its
    /// index.
    pub(super) subscribers: [Vec<ClientId>; Dialect::Redis as usize + 1],
    /// The number of changes of the subscribers, modulo 2^32.
    pub changes: u32,
    /// Joins and leaves that were not announced.
    pub crowd: Crowd,
    /// The number of SSE clients that are catching up and are not subscribers yet.
    pub catching_up: u32,
    /// The stored messages, oldest first.
    pub(super) history: VecDeque<Rc<Message>>,
    /// The number of messages that were stored once and are not any more.
    pub(super) evicted: u64,
    /// The sequence number of the last message or gap.
    pub(super) seq: u64,
    /// The sequence number of the last gap; 0: there was none.
    pub(super) gap_seq: u64,
    /// The time when the last subscriber left.
    pub(super) unused_since: Moment,
    /// `None`: the rules of an open room.
    pub(super) rules: Option<Rc<RoomRules>>,
    /// The topic that a client has set (`None`: it has removed it), and the client's name.
    pub(super) topic: Option<(Option<Name>, Option<Text>)>,
}

impl Room {
    pub(super) fn new(name: RoomName, serial: u32, rules: Option<Rc<RoomRules>>) -> Room {
        Room {
            name,
            serial,
            subscribers: Default::default(),
            changes: 0,
            crowd: Crowd::default(),
            catching_up: 0,
            history: VecDeque::new(),
            evicted: 0,
            seq: 0,
            gap_seq: 0,
            unused_since: Moment::default(),
            rules,
            topic: None,
        }
    }

    pub fn rules(&self) -> &RoomRules {
        self.rules.as_deref().unwrap_or(&RoomRules::OPEN)
    }

    /// Sets or removes the topic, until the room is closed.
    pub fn set_topic(&mut self, by: Option<Name>, text: Option<Text>) {
        self.topic = Some((by, text));
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

    /// The members, remote ones last. SSE clients are subscribers and not members.
    pub fn members(&self) -> impl Iterator<Item = ClientId> {
        let [line, json, raw, _, remote] = &self.subscribers;
        [line, json, raw, remote].into_iter().flatten().copied()
    }

    /// The number of members.
    pub fn count(&self) -> usize {
        let [line, json, raw, _, remote] = &self.subscribers;
        line.len() + json.len() + raw.len() + remote.len()
    }

    /// The number of local clients that need the room's messages of other processes, including those catching up.
    pub fn local_subscribers(&self) -> usize {
        let subscribers: usize = self.subscribers[..Dialect::Redis as usize].iter().map(Vec::len).sum();
        subscribers + self.catching_up as usize
    }

    pub(super) fn is_unused(&self) -> bool {
        self.catching_up == 0 && self.subscribers.iter().all(Vec::is_empty)
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

    /// The epoch of the room's sequence numbers in that process.
    pub fn epoch(&self, process: u64) -> Epoch {
        Epoch { process, room: self.serial }
    }

    /// Records that messages of other processes are missing, or may be from now on. They take one sequence number
    /// together, so that a position before the gap differs from one after it.
    pub fn record_gap(&mut self) {
        self.seq += 1;
        self.gap_seq = self.seq;
    }

    /// The sequence number of the last gap: a client with a lower position may have missed messages. 0: there was none.
    pub fn gap_seq(&self) -> u64 {
        self.gap_seq
    }

    /// The sequence number of the last message or gap.
    pub fn seq(&self) -> u64 {
        self.seq
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

    /// The number of messages among the last `count` that fit into `max_bytes`.
    pub fn count_last_fitting(&self, count: usize, max_bytes: usize, dialect: Dialect) -> usize {
        count_fitting(self.history.iter().rev().take(count), max_bytes, dialect)
    }

    /// Takes the summary of joins and leaves; `None` if there were none, or if nobody is there to read it.
    pub fn take_summary(&mut self) -> Option<Event> {
        let crowd = std::mem::take(&mut self.crowd);
        let (room, count) = (self.name.clone(), self.count());
        let has_content = crowd.joined + crowd.left > 0 && !self.is_unused();
        has_content.then_some(Event::Crowd { room, joined: crowd.joined, left: crowd.left, count })
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
    // A line has a name, the kind and the age around the text. JSON has the keys and the id, and escapes of two bytes. A
    // server-sent event has a position and a room as well.
    const JSON: usize = 2 * NAME_MAX_BYTES + UNIQUE_ID_MAX_BYTES + 136;
    let (around, escaped) = match dialect {
        Dialect::Line => (NAME_MAX_BYTES + 40, 1),
        Dialect::Events => (JSON + NAME_MAX_BYTES + 88, 2),
        _ => (JSON, 2),
    };
    message.body.len() * escaped + around
}
