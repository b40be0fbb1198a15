//! The link to the other processes of the chat, by Redis: [`Backplane`].
//!
//! It does no input or output. Its inputs are changes and questions of the chat and bytes from Redis; its outputs are bytes for
//! Redis and [`LinkAction`]s.
//!
//! # What Redis does
//!
//! Redis orders and keeps. Each change of a room is one call of a script (`backplane/scripts`), which publishes it as an entry
//! in the channel of the room. Messages are numbered and kept in the stream of the room. A change takes effect in this
//! process too when it comes back by the subscription, so all processes see one order.
//!
//! # A session
//!
//! Disconnected → Resolving → Connecting → Greeting → Registering → Syncing → Up. A session has two connections. If one breaks or times out, both are
//! closed and opened again after a pause that doubles each time. A new session loads the scripts, renews the lease of the
//! process, and registers its clients if the lease has ended. Its number is in the lease, and Redis refuses calls of scripts that
//! earlier sessions have sent: it may read them late. Then it reads each followed room from its position on, and sends
//! unconfirmed changes again. It is accepted once Redis has confirmed all that.
//!
//! An error reply to any command ends the session. The next one sends the command again, so it is accepted only once Redis
//! accepts the command. Otherwise the link would look up while part of it fails.

mod access;
mod channel;
mod command;
mod connections;
mod entry;
mod forward;
mod lifecycle;
mod local;
mod queue;
mod reply;
mod rooms;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use crate::config::{Config, RedisUrl};
use crate::metrics::{LinkCounts, LinkState};
use crate::net::ConnectTarget;
use crate::protocol::{Facts, MessageId, RemoteEvent};
use crate::text::RoomName;
use crate::time::{Moment, Now};

use access::TableRead;
pub use connections::RedisConnection;
use lifecycle::{Phase, Stage};
use local::Ask;
pub use queue::Withdrawal;
use queue::{ConfirmedChange, LinkCommand, Queue};
use rooms::FollowedRooms;

/// The interval of a process's heartbeats.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(4);

/// The link may be down for this long before clients are told. A restart of Redis is mostly shorter.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(1);

/// The age of a session that removes other processes. Those that lost Redis at the same time can return first.
const BURY_AFTER: Duration = Duration::from_secs(6);

/// The numbers for guests that are reserved at once.
const GUESTS_RESERVED: u64 = 1000;

/// The largest ratio of an entry to its message: each byte may become `\u0000`, and the entry has other fields.
const ENTRY_RATIO_MAX: usize = 8;

/// An action for the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkAction {
    /// Resolve a host, and call [`Backplane::handle_resolved`].
    Resolve {
        host: String,
        port: u16,
    },
    Connect(ConnectTarget),
    /// Close both connections.
    Disconnect,
    /// Deliver the event to the chat.
    Deliver(RemoteEvent),
    /// Call [`Backplane::register`].
    Register,
    /// Call [`Backplane::read_table`] with the kept entries of this process.
    ReadTable,
    /// The hash of kept entries was read. Pass it to [`Backplane::parse_table`], and deliver the result to the chat.
    Table(BTreeMap<String, String>),
    /// The answer to [`Backplane::ask`].
    Answer {
        asker: u64,
        facts: Facts,
    },
    /// Redis has confirmed a submission. `seq` is its number; 0 if it has none, or if Redis had it before.
    Confirmed {
        ticket: u64,
        seq: u64,
        /// Whether it comes back in its place, since this process follows the room.
        is_followed: bool,
    },
    /// A submission of this process was discarded, because the queue is full.
    Shed {
        room: RoomName,
        id: MessageId,
    },
}

/// The link of a process to Redis.
pub struct Backplane {
    process: u64,
    url: RedisUrl,
    timeout: Duration,
    reply_max_bytes: usize,
    message_max_bytes: usize,
    announce_max: usize,
    history: usize,
    expiry_millis: u128,
    /// The prefixes of keys and of channels.
    keys: String,
    channels: String,
    phase: Phase,
    /// The number of the last session. Redis executes no script of an earlier one after its `hello`.
    session: u64,
    /// Attempts since the last session that was longer than two seconds.
    attempts: u32,
    /// The deadline for counting as disconnected; `None` afterwards, and while the link is up.
    disconnected_at: Option<Moment>,
    /// Whether clients were told that the link is down.
    disconnected: bool,
    /// Whether Redis has confirmed the last registration.
    is_registered: bool,
    /// Reasons that were logged since the link was last accepted.
    logged_reasons: HashSet<String>,
    /// The code of the error that ended the last session, if an error did.
    refusal: Option<String>,
    /// A refused command that each session repeats until Redis accepts it.
    refused: Option<LinkCommand>,
    /// The hashes of the scripts that the session has loaded.
    hashes: Vec<String>,
    /// The mark that Redis keeps with its data. Another one shows that Redis has lost them.
    dataset: Option<String>,
    /// Whether a room has shown that Redis has lost messages, and so perhaps clients, since the last registration.
    has_lost_data: bool,
    /// The serial number of the last submission.
    serial: u64,
    /// Number of commands encoded so far, so that each new epoch is another one.
    epochs: u32,
    unix_millis: u64,
    /// The other processes at the last heartbeat.
    peers: usize,
    rooms: FollowedRooms,
    queue: Queue,
    /// The keys are serial numbers.
    confirmed: BTreeMap<u64, ConfirmedChange>,
    table_read: TableRead,
    asks: BTreeMap<u64, Ask>,
    /// The number of the last request with questions.
    last_ask: u64,
    /// Deadlines of forwarded requests, in order, with the numbers of their questions.
    forwarded: VecDeque<(Moment, u64)>,
    /// Whether this process is ending.
    leaving: bool,
    out: [Vec<u8>; 2],
    actions: VecDeque<LinkAction>,
    counts: LinkCounts,
}

impl Backplane {
    /// A link to the Redis at `url`. The first attempt is due at once.
    pub fn new(config: &Config, url: RedisUrl, process: u64, now: Now) -> Backplane {
        let message_max_bytes = config.message_max.max(config.line_max);
        let keys = config.redis_prefix.clone();
        // The databases of Redis share all channels.
        let channels = if url.database == 0 { keys.clone() } else { format!("{keys}@{}:", url.database) };
        Backplane {
            process,
            url,
            timeout: config.redis_timeout,
            reply_max_bytes: config.redis_reply_max.max(ENTRY_RATIO_MAX * message_max_bytes),
            message_max_bytes,
            announce_max: config.announce_max,
            history: config.history,
            expiry_millis: config.redis_expiry.as_millis(),
            keys,
            channels,
            phase: Phase::Disconnected { retry_at: now.moment },
            session: 0,
            attempts: 0,
            disconnected_at: Some(now.moment + DISCONNECTED_AFTER),
            disconnected: false,
            is_registered: false,
            logged_reasons: HashSet::new(),
            refusal: None,
            refused: None,
            hashes: Vec::new(),
            dataset: None,
            has_lost_data: false,
            serial: 0,
            epochs: 0,
            unix_millis: now.unix_millis,
            peers: 0,
            rooms: FollowedRooms::default(),
            queue: Queue::new(config.redis_queue),
            confirmed: BTreeMap::new(),
            table_read: TableRead::Idle,
            asks: BTreeMap::new(),
            last_ask: 0,
            forwarded: VecDeque::new(),
            leaving: false,
            out: Default::default(),
            actions: VecDeque::new(),
            counts: LinkCounts::default(),
        }
    }

    /// Applies a new configuration.
    pub fn reload(&mut self, config: &Config) {
        (self.announce_max, self.history) = (config.announce_max, config.history);
    }

    /// The next action.
    pub fn next_action(&mut self) -> Option<LinkAction> {
        self.actions.pop_front()
    }

    /// The pending output of a connection. The caller removes the bytes it has written.
    pub fn output(&mut self, connection: RedisConnection) -> &mut Vec<u8> {
        &mut self.out[connection as usize]
    }

    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    pub fn state(&self) -> LinkState {
        let subscriptions = if self.has_session() { self.rooms.by_name.len() } else { 0 };
        let (up, queue_bytes) = (self.is_up(), self.queue.bytes());
        LinkState { up, peers: self.peers, subscriptions, queue_bytes }
    }

    /// Whether there is a session.
    pub fn has_session(&self) -> bool {
        matches!(self.phase, Phase::Active(_))
    }

    /// Whether there is a session that Redis has accepted.
    pub fn is_up(&self) -> bool {
        matches!(self.phase.stage(), Some(Stage::Up))
    }

    /// The code of the error that keeps the link down (`READONLY`); `None` if it is down for another reason.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref().filter(|_| !self.is_up())
    }

    /// Whether no output is pending that may still reach Redis. A link that broke a moment ago may recover.
    pub fn is_done(&self) -> bool {
        match self.has_session() {
            true => self.queue.is_empty(),
            false => self.disconnected && self.queue.submissions() == 0,
        }
    }

    /// Number of submissions that Redis has not confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.queue.submissions()
    }

    fn deliver(&mut self, event: RemoteEvent) {
        self.actions.push_back(LinkAction::Deliver(event));
    }
}
