//! The link to the other processes of the chat, by Redis: [`Backplane`].
//!
//! It does no input or output. Its inputs are [`LocalEvent`](crate::protocol::LocalEvent)s and bytes from Redis; its outputs are
//! bytes for Redis and [`LinkAction`]s.
//!
//! # What is in Redis
//!
//! Each name has the prefix in front:
//!
//! - channel `ROOM`: the messages of a room. Processes with members in it subscribe, and other programs can;
//! - channel `@presence`: arrivals, departures and heartbeats ([`HEARTBEAT_INTERVAL`]), for all processes;
//! - channel `@PROCESS`: packets for one process;
//! - hash `@PROCESS`: all clients of a process, for processes that have just started. It expires after the process has died.
//!
//! # A session
//!
//! Down → (Resolving →) Opening → Up. A session has two connections. If one breaks or times out, both are closed and opened
//! again after a pause that doubles each time. A new session subscribes to all rooms, registers all clients and sends
//! unconfirmed messages again. It requests the watermark of each room from the other processes, to detect lost messages.
//!
//! An error reply to any command ends the session too (`refusal.rs`). A session is accepted once Redis has confirmed the
//! registration. Until then no message is sent, and neither other processes nor clients are told that the link is up.
//!
//! Redis delivers a message only to current subscribers. So messages are held back at the start of a session until all
//! processes of the last session have returned, or until a timeout.

mod packet;
mod peers;
mod queue;
mod receive;
mod refusal;
mod rooms;
mod send;
mod session;
mod streams;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{Config, RedisAddress, RedisUrl};
use crate::metrics::{LinkCounts, LinkState};
use crate::net::ConnectTarget;
use crate::protocol::RemoteEvent;
use crate::text::RoomName;
use crate::time::{Moment, Now};

use packet::Change;
use peers::{PeerAction, Peers};
use queue::Queue;
use refusal::WriteRefusals;
use rooms::RoomLinks;
pub use session::Link;
use session::Session;

/// The interval of a process's heartbeats.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// The link may be down for this long before clients are told. A restart of Redis is mostly shorter.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(1);

/// The average pause before the second attempt. It doubles each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The time that a new session waits for the other processes: longer than the longest pause between two attempts.
const HOLD_TIMEOUT: Duration = Duration::from_secs(5);

/// The most reasons logged while the link is down. Each attempt may have another one.
const REASONS_LOGGED_MAX: usize = 32;

/// The largest ratio of a packet to its message: each byte may become `\u0000`, and the packet has other fields.
const PACKET_RATIO_MAX: usize = 8;

/// An action for the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkAction {
    /// Resolve a host, and call [`Backplane::resolved`].
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
}

/// The link of a process to Redis.
pub struct Backplane {
    process: u64,
    url: RedisUrl,
    timeout: Duration,
    reply_max_bytes: usize,
    message_max_bytes: usize,
    names: ChannelNames,
    phase: Phase,
    /// Attempts since the last session that was longer than [`LONGEST_PAUSE`].
    attempts: u32,
    /// The deadline for counting as disconnected; `None` afterwards, and during a session.
    disconnected_at: Option<Moment>,
    /// Whether clients were told that the link is down. It ends when an own packet has come back.
    disconnected: bool,
    /// Reasons that were logged since the link was last accepted.
    logged_reasons: HashSet<String>,
    refusals: WriteRefusals,
    /// Whether it was logged that there are too many processes.
    too_many_logged: bool,
    rooms: RoomLinks,
    peers: Peers,
    /// Processes of the last session that have not returned.
    expected: BTreeSet<u64>,
    queue: Queue,
    /// Changes of local clients that are not published yet.
    changes: Vec<Change>,
    /// The version of the published state of local clients.
    version: u64,
    /// The version of the last complete registration.
    registered_version: u64,
    /// Number of private messages to other processes.
    private_count: u64,
    /// Whether a process has said hello and gets a heartbeat with our version.
    hello_received: bool,
    /// Rooms whose watermark must be published, because a process has asked or messages were shed.
    watermarks_due: BTreeSet<RoomName>,
    /// Whether this process is ending and has published that.
    leaving: bool,
    out: [Vec<u8>; 2],
    actions: VecDeque<LinkAction>,
    counts: LinkCounts,
}

/// The names of channels and keys in Redis.
#[derive(Debug)]
struct ChannelNames {
    prefix: String,
    presence: Vec<u8>,
    /// The channel of this process, and the key of its clients.
    own: Vec<u8>,
    /// The prefix of each payload of this process.
    signature: Vec<u8>,
}

enum Phase {
    Down { retry_at: Moment },
    Resolving { deadline: Moment },
    Opening { session: Session, deadline: Moment },
    Up(Up),
}

struct Up {
    session: Session,
    since: Moment,
    /// Whether Redis has confirmed the registration of the local clients.
    registered: bool,
    /// Whether Redis has confirmed every kind of command that a session needs.
    accepted: bool,
    /// Whether an own packet has come back by the subscription.
    echoed: bool,
    /// Time of the last reply, or of the first command after all were answered.
    answered_at: Moment,
    heartbeat_at: Moment,
    /// The deadline for the return of other processes; `None` once messages may be sent.
    hold_until: Option<Moment>,
    /// The deadline for our own heartbeat to come back by the subscription.
    echo_by: Option<Moment>,
}

impl Backplane {
    /// A link to the Redis at `url`. The first attempt is due at once.
    pub fn new(config: &Config, url: RedisUrl, process: u64, now: Now) -> Backplane {
        let message_max_bytes = config.message_max.max(config.line_max);
        let mut queue = Queue::new(config.redis_queue);
        // Messages from before the first session are held until the session is accepted.
        queue.end_session();
        Backplane {
            process,
            url,
            timeout: config.redis_timeout,
            reply_max_bytes: config.redis_reply_max.max(PACKET_RATIO_MAX * message_max_bytes),
            message_max_bytes,
            names: ChannelNames::new(&config.redis_prefix, process),
            phase: Phase::Down { retry_at: now.moment },
            attempts: 0,
            disconnected_at: Some(now.moment + DISCONNECTED_AFTER),
            disconnected: false,
            logged_reasons: HashSet::new(),
            refusals: WriteRefusals::default(),
            too_many_logged: false,
            rooms: RoomLinks::new(config.redis_processes),
            peers: Peers::new(config.redis_processes),
            expected: BTreeSet::new(),
            queue,
            changes: Vec::new(),
            version: 0,
            registered_version: 0,
            private_count: 0,
            hello_received: false,
            watermarks_due: BTreeSet::new(),
            leaving: false,
            out: Default::default(),
            actions: VecDeque::new(),
            counts: LinkCounts::default(),
        }
    }

    /// The next action.
    pub fn next_action(&mut self) -> Option<LinkAction> {
        self.actions.pop_front()
    }

    /// The pending output of a connection. The caller removes the bytes it has written.
    pub fn output(&mut self, link: Link) -> &mut Vec<u8> {
        &mut self.out[link as usize]
    }

    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    pub fn state(&self) -> LinkState {
        LinkState {
            up: self.is_accepted(),
            peers: self.peers.len(),
            subscriptions: self.rooms.subscriptions(),
            queue_bytes: self.queue.bytes(),
        }
    }

    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// Whether no output is pending that may still reach Redis. A link that broke a moment ago may recover.
    pub fn is_done(&self) -> bool {
        match self.is_up() {
            true => self.queue.is_sent() && !self.queue.is_waiting() && self.changes.is_empty(),
            false => self.disconnected && self.queue.messages() == 0,
        }
    }

    /// Number of messages that Redis has not confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.queue.messages()
    }

    /// Handles the result of [`LinkAction::Resolve`].
    pub fn resolved(&mut self, addresses: Result<Vec<SocketAddr>, String>, now: Now) {
        // The attempt may have timed out meanwhile.
        if !matches!(self.phase, Phase::Resolving { .. }) {
            return;
        }
        match addresses {
            // Each attempt tries another address, so a dead one does not block the others.
            Ok(addresses) if !addresses.is_empty() => {
                let address = addresses[(self.attempts as usize - 1) % addresses.len()];
                self.open(ConnectTarget::Tcp(address), now.moment);
            }
            Ok(_) => self.fail("its host has no address", now.moment),
            Err(error) => self.fail(&error, now.moment),
        }
    }

    /// Ends the session because a connection is broken.
    pub fn broken(&mut self, why: &str, now: Now) {
        self.fail(why, now.moment);
    }

    /// The time to call [`Backplane::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Moment> {
        let own = match &self.phase {
            Phase::Down { retry_at } => Some(*retry_at),
            Phase::Resolving { deadline } | Phase::Opening { deadline, .. } => Some(*deadline),
            Phase::Up(up) => {
                let heartbeat = (!self.leaving).then_some(up.heartbeat_at);
                let answer = self.queue.is_waiting().then(|| up.answered_at + self.timeout);
                let others = [up.hold_until, self.peers.next_timeout()];
                [heartbeat, answer, up.echo_by].into_iter().chain(others).flatten().min()
            }
        };
        let disconnected_at = self.disconnected_at.filter(|_| !self.is_up());
        [own, disconnected_at, self.rooms.next_timeout()].into_iter().flatten().min()
    }

    /// Handles the deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = now.moment;
        match &self.phase {
            Phase::Down { retry_at } if *retry_at <= now => self.attempt(now),
            Phase::Resolving { deadline } if *deadline <= now => {
                self.fail("its name takes too long to resolve", now)
            }
            Phase::Opening { deadline, .. } if *deadline <= now => self.fail("it does not answer", now),
            Phase::Up(up) if self.queue.is_waiting() && up.answered_at + self.timeout <= now => {
                self.fail("it does not answer", now);
            }
            Phase::Up(up) if up.echo_by.is_some_and(|by| by <= now) => {
                self.fail("published messages do not come back", now);
            }
            Phase::Up(_) => self.handle_session_timeouts(now),
            _ => {}
        }
        if self.disconnected_at.is_some_and(|at| at <= now) && !self.is_up() {
            (self.disconnected_at, self.disconnected) = (None, true);
            self.deliver_disconnected();
        }
        while let Some(room) = self.rooms.expire(now) {
            self.unsubscribe(&room);
        }
        self.deliver_unsubscribed();
    }

    fn attempt(&mut self, now: Moment) {
        self.attempts += 1;
        match &self.url.place {
            RedisAddress::Unix(path) => self.open(ConnectTarget::Unix(path.clone()), now),
            RedisAddress::Tcp { host, port } => {
                self.actions.push_back(LinkAction::Resolve { host: host.clone(), port: *port });
                self.phase = Phase::Resolving { deadline: now + self.timeout };
            }
        }
    }

    fn open(&mut self, target: ConnectTarget, now: Moment) {
        let rooms = self.rooms.begin_session();
        let own = [self.names.presence.clone(), self.names.own.clone()];
        let channels: Vec<Vec<u8>> =
            own.into_iter().chain(rooms.iter().map(|room| self.names.channel(room))).collect();
        let session = Session::begin(&self.url, &channels, self.reply_max_bytes, &mut self.out);
        self.phase = Phase::Opening { session, deadline: now + self.timeout };
        self.actions.push_back(LinkAction::Connect(target));
    }

    /// Begins the session if both connections are ready.
    fn begin_if_ready(&mut self, now: Moment) {
        let ready = matches!(&self.phase, Phase::Opening { session, .. } if session.is_ready());
        let down = Phase::Down { retry_at: now };
        if ready && let Phase::Opening { session, .. } = std::mem::replace(&mut self.phase, down) {
            self.begin(session, now);
        }
    }

    fn begin(&mut self, session: Session, now: Moment) {
        self.phase = Phase::Up(Up {
            session,
            since: now,
            registered: false,
            accepted: false,
            echoed: false,
            answered_at: now,
            heartbeat_at: now + HEARTBEAT_INTERVAL,
            hold_until: Some(now + HOLD_TIMEOUT),
            echo_by: None,
        });
        // A process that was disconnected and has no list of others can't wait for them.
        let has_list = !self.disconnected || !self.expected.is_empty();
        if has_list {
            self.release_if_all_returned();
        }
        match self.leaving {
            true => self.publish_bye(),
            false => self.actions.push_back(LinkAction::Register),
        }
        // A watermark that was sent at the end of the last session may be lost.
        self.watermarks_due.extend(self.rooms.unsubscribed_with_messages());
        let mut actions = Vec::new();
        self.peers.begin_session(now, &mut actions);
        self.run_peer_actions(actions);
    }

    /// Ends the hold if all expected processes have returned.
    fn release_if_all_returned(&mut self) {
        if let Phase::Up(up) = &mut self.phase
            && self.expected.is_empty()
        {
            up.hold_until = None;
            self.release_if_registered();
        }
    }

    /// Ends the session or the attempt, and schedules the next one.
    fn fail(&mut self, why: &str, now: Moment) {
        if let Phase::Down { .. } = self.phase {
            return;
        }
        self.refusals.clear_code();
        if let Phase::Up(up) = &self.phase
            && up.accepted
        {
            self.disconnected_at = Some(now + DISCONNECTED_AFTER);
            if now.since(up.since) >= LONGEST_PAUSE {
                self.attempts = 0;
            }
        }
        let pause = pause(self.process, self.attempts);
        if self.logged_reasons.len() < REASONS_LOGGED_MAX && self.logged_reasons.insert(why.into()) {
            let (place, retry_ms) = (&self.url.place, pause.as_millis());
            log::warn!("redis down address={place} reason={why:?} retry_ms={retry_ms}");
        }
        self.rooms.end_session();
        self.deliver_unsubscribed();
        self.phase = Phase::Down { retry_at: now + pause };
        self.out = Default::default();
        self.expected.extend(self.peers.processes());
        self.queue.end_session();
        self.peers.end_session(now);
        self.actions.push_back(LinkAction::Disconnect);
        if self.disconnected {
            // The session may have added clients of other processes, so they are removed again.
            self.deliver_disconnected();
        }
    }

    /// Removes all peers, and reports the link as down.
    fn deliver_disconnected(&mut self) {
        self.peers.clear();
        self.deliver(RemoteEvent::Disconnected);
    }

    fn handle_session_timeouts(&mut self, now: Moment) {
        let mut actions = Vec::new();
        self.peers.expire(now, &mut actions);
        self.run_peer_actions(actions);
        if let Phase::Up(up) = &self.phase
            && up.hold_until.is_some_and(|until| until <= now)
        {
            self.expected.clear();
            self.release_if_all_returned();
        }
        self.send_heartbeat(now);
    }

    fn run_peer_actions(&mut self, actions: Vec<PeerAction>) {
        for actions in actions {
            match actions {
                PeerAction::ReadSnapshot(process) => self.read_clients(process),
                PeerAction::Deliver(event) => self.deliver(event),
            }
        }
    }

    fn deliver_unsubscribed(&mut self) {
        for room in self.rooms.take_unsubscribed() {
            self.deliver(RemoteEvent::Unsubscribed { room });
        }
    }

    fn deliver(&mut self, event: RemoteEvent) {
        self.actions.push_back(LinkAction::Deliver(event));
    }
}

impl ChannelNames {
    fn new(prefix: &str, process: u64) -> ChannelNames {
        ChannelNames {
            prefix: prefix.into(),
            presence: format!("{prefix}@presence").into(),
            own: ChannelNames::process(prefix, process),
            signature: packet::signature(process),
        }
    }

    /// The channel of a process. No room's name has an `@`, so it can't collide with a room's channel.
    fn process(prefix: &str, process: u64) -> Vec<u8> {
        format!("{prefix}@{}", packet::process_as_text(process)).into()
    }

    fn channel(&self, room: &RoomName) -> Vec<u8> {
        format!("{}{}", self.prefix, room.as_str()).into()
    }

    fn room(&self, channel: &[u8]) -> Option<RoomName> {
        let name = str::from_utf8(channel.strip_prefix(self.prefix.as_bytes())?).ok()?;
        RoomName::parse(name).ok().filter(|room| room.as_str() == name)
    }
}

/// The pause after so many attempts: a doubling backoff with 50 % jitter. The jitter depends on the process, so processes that
/// lose Redis at the same moment return at different moments.
fn pause(process: u64, attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE * 2_u32.pow(attempts.saturating_sub(1).min(10));
    // The mixing step of splitmix64 (Steele, Lea, Flood 2014).
    let mut mixed = process.wrapping_add(u64::from(attempts).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + ((mixed >> 32) as f64 / f64::from(u32::MAX)))
}
