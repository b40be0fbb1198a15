//! The commands for Redis that are unsent or unanswered: [`Queue`]. Redis answers them in order.

use std::collections::{BTreeMap, VecDeque};
use std::{fmt, mem};

use super::entry;
use crate::protocol::{Change, Payload, Question};
use crate::text::{Name, RoomName};

/// The most bytes sent and unanswered. More would only fill Redis's buffers.
const WINDOW_BYTES: usize = 256 * 1024;

/// The most bytes of commands that can't be discarded, mainly for the registration of many clients.
const OTHERS_MAX_BYTES: usize = 128 * 1024 * 1024;

/// A command, encoded when it is sent.
#[derive(Clone, Debug)]
pub enum LinkCommand {
    /// Load the script with that index.
    Load(usize),
    Hello,
    Members {
        room: RoomName,
        most: i64,
        members: Vec<(u32, Name)>,
    },
    Sync(RoomName),
    /// A `PING`. Its reply shows that Redis has accepted all commands before it.
    Barrier,
    Heartbeat,
    Bury {
        process: u64,
    },
    /// Reserve numbers for guests.
    Guests,
    /// Add these keys and values to the hash of kept entries, and read it.
    Table(Vec<String>),
    /// Set an entry in that hash.
    Record {
        serial: u64,
        key: String,
        value: String,
    },
    /// Publish in a process's channel.
    Publish {
        process: u64,
        payload: String,
        if_unreceived: Option<IfUnreceived>,
    },
    Release {
        client: u32,
        keys: Vec<String>,
    },
    /// Claims of the link itself have no `ask`.
    Ask {
        ask: Option<u64>,
        question: Question,
    },
    Submit(Box<Submission>),
}

/// The effect if no process receives a publication.
#[derive(Clone, Debug)]
pub enum IfUnreceived {
    /// The client `by` gets an error, since its private message has no recipient.
    Report { by: u32, to: Name },
    /// The question about a forwarded request has no outcome.
    Complete { ask: u64 },
}

/// A change that this process has made in a room.
#[derive(Clone, Debug)]
pub struct Submission {
    pub serial: u64,
    pub room: RoomName,
    /// The count of a `Lost` that is unsent is in [`Queue::losses`].
    pub change: Change,
    /// Whether it was delivered to the members here.
    pub shown: bool,
    /// Whether a session has sent it. Redis may have executed it, even if there was no reply.
    pub sent: bool,
}

/// A submission that Redis has confirmed, and that has not come back by the subscription.
#[derive(Debug)]
pub struct ConfirmedChange {
    pub submission: Submission,
    /// Its number in the room; 0 if it is not kept, or if an earlier session has appended it.
    pub seq: u64,
}

impl ConfirmedChange {
    /// Whether an earlier session has appended it to the stream. Redis may have trimmed it since.
    pub fn is_older(&self) -> bool {
        self.submission.is_appended() && self.seq == 0
    }
}

/// The outcome of withdrawing a submission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Withdrawal {
    /// Redis does not have it, and does not get it.
    Withdrawn,
    /// Redis may have it, and gets it again.
    Unconfirmed,
    /// Redis has it.
    Confirmed,
}

impl Submission {
    /// Whether the registration of all clients has the same effect.
    pub fn is_presence(&self) -> bool {
        use Change::{Crowd, Joined, Left, Renamed};
        matches!(self.change, Joined { .. } | Left { .. } | Renamed { .. } | Crowd { .. })
    }

    /// Whether Redis appends it to the stream of the room.
    pub fn is_appended(&self) -> bool {
        match &self.change {
            Change::Relayed { payload, .. } => matches!(payload, Payload::Text(_)),
            change => matches!(change, Change::Message(_) | Change::Lost { .. }),
        }
    }

    /// Whether Redis must execute it once, and after all earlier ones of this kind.
    fn is_ordered(&self) -> bool {
        self.is_appended() || matches!(self.change, Change::Topic { .. })
    }

    /// Whether it can be discarded: Redis does not have it, and a count of lost messages can take its place.
    fn can_be_shed(&self) -> bool {
        !self.sent && !self.is_presence() && !matches!(self.change, Change::Lost { .. })
    }
}

/// For the log: the script or command, and the room that it is about. Names and texts of clients are not shown.
impl fmt::Display for LinkCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkCommand::Load(_) => write!(f, "SCRIPT LOAD"),
            LinkCommand::Hello => write!(f, "hello"),
            LinkCommand::Members { room, .. } => write!(f, "members {room}"),
            LinkCommand::Sync(room) => write!(f, "sync {room}"),
            LinkCommand::Barrier => write!(f, "PING"),
            LinkCommand::Heartbeat => write!(f, "heartbeat"),
            LinkCommand::Bury { .. } => write!(f, "bury"),
            LinkCommand::Guests => write!(f, "INCRBY"),
            LinkCommand::Table(_) => write!(f, "table"),
            LinkCommand::Record { .. } => write!(f, "record"),
            LinkCommand::Publish { .. } => write!(f, "PUBLISH"),
            LinkCommand::Release { .. } => write!(f, "release"),
            LinkCommand::Ask { question: Question::Claim { .. }, .. } => write!(f, "claim"),
            LinkCommand::Ask { question: Question::Find { .. }, .. } => write!(f, "HGET"),
            LinkCommand::Ask { question: Question::Rooms { .. }, .. } => write!(f, "rooms"),
            LinkCommand::Ask {
                question: Question::Room { room, .. } | Question::Who { room, .. }, ..
            } => {
                write!(f, "who {room}")
            }
            LinkCommand::Submit(submission) => write!(f, "change of {}", submission.room),
        }
    }
}

impl LinkCommand {
    /// Whether the command is kept for the next session. `own` is this process.
    pub fn outlives_session(&self, own: u64) -> bool {
        match self {
            LinkCommand::Submit(_) | LinkCommand::Ask { .. } => true,
            LinkCommand::Release { .. } | LinkCommand::Record { .. } => true,
            LinkCommand::Bury { process } => *process == own,
            _ => false,
        }
    }

    /// Whether each session sends such a command or one with its effect by itself, even after clients were told that the link is
    /// down.
    pub fn is_repeated(&self) -> bool {
        use LinkCommand::{Ask, Barrier, Hello, Load, Members, Record, Release, Submit, Sync, Table};
        match self {
            Load(_) | Hello | Members { .. } | Sync(_) | Barrier | Submit(_) => true,
            // `hello` frees all names, and the client may have taken this one again since.
            Table(_) | Record { .. } | Release { .. } => true,
            Ask { question, .. } => matches!(question, Question::Claim { .. }),
            _ => false,
        }
    }

    /// Whether the registration of all names has the same effect. A release has another one: it may follow the claim of a client
    /// that is gone.
    pub fn is_claim(&self) -> bool {
        matches!(self, LinkCommand::Ask { ask: None, .. })
    }

    /// Whether the registration of all members has the same effect.
    pub fn is_presence(&self) -> bool {
        matches!(self, LinkCommand::Submit(submission) if submission.is_presence())
    }

    /// The serial number of a command that Redis must execute once, and after all with lower numbers.
    pub fn ordered_serial(&self) -> Option<u64> {
        match self {
            LinkCommand::Submit(submission) => submission.is_ordered().then_some(submission.serial),
            LinkCommand::Record { serial, .. } => Some(*serial),
            _ => None,
        }
    }

    fn cost_bytes(&self) -> usize {
        size_of::<LinkCommand>()
            + match self {
                LinkCommand::Submit(submission) => size_of::<Submission>() + entry::len(&submission.change),
                LinkCommand::Members { members, .. } => size_of_val(&members[..]),
                LinkCommand::Publish { payload, .. } => payload.len(),
                LinkCommand::Table(entries) => {
                    entries.iter().map(|text| size_of::<String>() + text.len()).sum()
                }
                LinkCommand::Record { key, value, .. } => key.len() + value.len(),
                _ => 0,
            }
    }
}

/// Commands in order: first those that are sent, then those of the session, then those of clients.
#[derive(Debug, Default)]
pub struct Queue {
    sent: VecDeque<(LinkCommand, usize)>,
    session: VecDeque<LinkCommand>,
    clients: VecDeque<LinkCommand>,
    sent_bytes: usize,
    /// Memory of all commands, and of the submissions among them.
    bytes: usize,
    submitted_bytes: usize,
    /// The limit for `submitted_bytes`.
    max_bytes: usize,
    /// The lost messages of each room that has an unsent `Lost`.
    losses: BTreeMap<RoomName, u64>,
    /// The serial number of the last ordered command that was sent, or 0 after its reply.
    last_ordered: u64,
    /// Rooms and serial numbers of the submissions discarded since the last [`Queue::take_shed`].
    shed: Vec<(RoomName, u64)>,
}

impl Queue {
    pub fn new(max_bytes: usize) -> Queue {
        Queue { max_bytes, ..Queue::default() }
    }

    /// Adds a command of the session.
    pub fn push_for_session(&mut self, command: LinkCommand) {
        self.count(&command, true);
        match command {
            // The lease must not end while many clients are registered.
            LinkCommand::Heartbeat => self.session.push_front(command),
            _ => self.session.push_back(command),
        }
    }

    /// Adds a command of a client. If submissions exceed the limit, the oldest unsent messages are discarded. The newest is kept,
    /// so a message of any length fits.
    pub fn push(&mut self, mut command: LinkCommand) {
        // Unsent losses of a room are merged. One that was sent keeps its count: Redis may have executed it, and executes no serial
        // number twice.
        if let LinkCommand::Submit(submission) = &mut command
            && !submission.sent
            && let Change::Lost { count } = &mut submission.change
        {
            let had_losses = self.losses.contains_key(&submission.room);
            *self.losses.entry(submission.room.clone()).or_default() += mem::take(count);
            if had_losses {
                return;
            }
        }
        self.count(&command, true);
        self.clients.push_back(command);
        while self.submitted_bytes > self.max_bytes && self.shed_oldest() {}
    }

    /// Replaces the oldest unsent message by a loss, unless it is the newest too. Returns whether there was one.
    fn shed_oldest(&mut self) -> bool {
        let can_be_shed =
            |command: &LinkCommand| matches!(command, LinkCommand::Submit(it) if it.can_be_shed());
        let mut indices = (0..self.clients.len()).filter(|index| can_be_shed(&self.clients[*index]));
        let oldest = indices.next().filter(|_| indices.next().is_some());
        let Some((index, LinkCommand::Submit(submission))) =
            oldest.and_then(|index| Some((index, self.clients.remove(index)?)))
        else {
            return false;
        };
        self.shed.push((submission.room.clone(), submission.serial));
        let lost = self.losses.get_mut(&submission.room).map(|count| *count += 1);
        let room = submission.room.clone();
        let loss = Submission { change: Change::Lost { count: 0 }, ..(*submission).clone() };
        self.count(&LinkCommand::Submit(submission), false);
        if lost.is_none() {
            self.losses.insert(room, 1);
            let loss = LinkCommand::Submit(loss.into());
            self.count(&loss, true);
            self.clients.insert(index, loss);
        }
        true
    }

    /// Removes a submission that no session has sent.
    pub fn withdraw(&mut self, serial: u64) -> Withdrawal {
        let submissions = self.clients.iter().enumerate().filter_map(|(index, command)| match command {
            LinkCommand::Submit(submission) => Some((index, submission)),
            _ => None,
        });
        let mut found = submissions.filter(|(_, submission)| submission.serial == serial);
        match found.next().map(|(index, submission)| (index, submission.can_be_shed())) {
            None => Withdrawal::Confirmed,
            Some((_, false)) => Withdrawal::Unconfirmed,
            Some((index, true)) => {
                let command = self.clients.remove(index);
                command.iter().for_each(|command| self.count(command, false));
                Withdrawal::Withdrawn
            }
        }
    }

    /// The rooms and serial numbers of the submissions discarded since the last call.
    pub fn take_shed(&mut self) -> Vec<(RoomName, u64)> {
        mem::take(&mut self.shed)
    }

    /// Removes and returns the next command that fits into the window. Those of clients wait until the queue is `open`.
    pub fn next(&mut self, open: bool) -> Option<LinkCommand> {
        if self.sent_bytes >= WINDOW_BYTES {
            return None;
        }
        let command = match self.session.pop_front() {
            None if open => self.clients.pop_front(),
            command => command,
        };
        command.map(|command| self.with_losses(command))
    }

    /// Adds a command that was sent.
    pub fn record_sent(&mut self, mut command: LinkCommand, bytes: usize) {
        if let LinkCommand::Submit(submission) = &mut command {
            submission.sent = true;
        }
        self.sent_bytes += bytes;
        self.last_ordered = command.ordered_serial().unwrap_or(self.last_ordered);
        self.sent.push_back((command, bytes));
    }

    /// The serial number of the last ordered command that was sent, or 0 after its reply.
    pub fn last_ordered(&self) -> u64 {
        self.last_ordered
    }

    /// The oldest unanswered command.
    pub fn oldest(&self) -> Option<&LinkCommand> {
        self.sent.front().map(|(command, _)| command)
    }

    /// Removes the oldest command after its reply. `None` if no reply was expected.
    pub fn pop_answered(&mut self) -> Option<LinkCommand> {
        let (command, bytes) = self.sent.pop_front()?;
        self.sent_bytes -= bytes;
        self.count(&command, false);
        if command.ordered_serial() == Some(self.last_ordered) {
            self.last_ordered = 0;
        }
        Some(command)
    }

    /// Puts the command back that [`Queue::pop_answered`] has returned. Its bytes are gone from the window: the session is about to
    /// end.
    pub fn restore(&mut self, command: LinkCommand) {
        self.count(&command, true);
        self.sent.push_front((command, 0));
    }

    /// Removes all commands, and returns those of clients and those that are sent. The session has ended.
    pub fn take(&mut self) -> Vec<LinkCommand> {
        let sent = mem::take(&mut self.sent).into_iter().map(|(command, _)| command);
        let unsent = mem::take(&mut self.clients);
        let all = sent.chain(unsent).map(|command| self.with_losses(command)).collect();
        self.session.clear();
        (self.sent_bytes, self.bytes, self.submitted_bytes) = (0, 0, 0);
        self.losses.clear();
        self.last_ordered = 0;
        all
    }

    /// Removes and returns the unsent commands of clients.
    pub fn take_unsent(&mut self) -> Vec<LinkCommand> {
        let unsent = mem::take(&mut self.clients);
        unsent.iter().for_each(|command| self.count(command, false));
        unsent.into_iter().map(|command| self.with_losses(command)).collect()
    }

    /// Moves the number of lost messages into the command.
    fn with_losses(&mut self, mut command: LinkCommand) -> LinkCommand {
        if let LinkCommand::Submit(submission) = &mut command
            && let Change::Lost { count } = &mut submission.change
            && *count == 0
        {
            *count = self.losses.remove(&submission.room).unwrap_or_default();
        }
        command
    }

    /// Records that a submission was delivered to the members here. Returns whether it was before.
    pub fn record_shown(&mut self, serial: u64) -> bool {
        let sent = self.sent.iter_mut().map(|(command, _)| command);
        let mut submissions = sent.chain(&mut self.clients).filter_map(|command| match command {
            LinkCommand::Submit(submission) => Some(submission),
            _ => None,
        });
        // The serial numbers ascend.
        let found = submissions.find(|submission| submission.serial >= serial);
        found.filter(|found| found.serial == serial).is_some_and(|found| mem::replace(&mut found.shown, true))
    }

    /// All commands but the unsent ones of the session, in order.
    pub fn iter(&self) -> impl Iterator<Item = &LinkCommand> {
        self.sent.iter().map(|(command, _)| command).chain(&self.clients)
    }

    /// Whether all commands exceed both limits together. Messages are discarded before, so the others have caused it.
    pub fn is_over_limit(&self) -> bool {
        self.bytes > self.max_bytes + OTHERS_MAX_BYTES
    }

    pub fn is_waiting(&self) -> bool {
        !self.sent.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.session.is_empty() && self.clients.is_empty()
    }

    /// Memory of all commands.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of submissions that Redis has not confirmed.
    pub fn submissions(&self) -> usize {
        self.iter().filter(|command| matches!(command, LinkCommand::Submit(_))).count()
    }

    /// Adds the memory of a command, or subtracts it.
    fn count(&mut self, command: &LinkCommand, adds: bool) {
        let cost = command.cost_bytes();
        let submitted = if matches!(command, LinkCommand::Submit(_)) { cost } else { 0 };
        let change = |bytes: usize, by: usize| if adds { bytes + by } else { bytes - by };
        self.bytes = change(self.bytes, cost);
        self.submitted_bytes = change(self.submitted_bytes, submitted);
    }
}
