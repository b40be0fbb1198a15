//! The link to the other processes of the chat, by Redis: [`Backplane`]. Pure: what happens here goes in as
//! [`LocalEvent`](crate::protocol::LocalEvent)s, what Redis sends as bytes, and out come bytes for Redis and [`LinkAction`]s.
//!
//! # What is in Redis
//!
//! With the prefix in front of each name:
//!
//! - channel `ROOM`: what is said in a room, for the processes with somebody in it, and for any other program;
//! - channel `@presence`: who comes and goes, and each process's sign of life every [`BEAT`], for all processes;
//! - channel `@PROCESS`: what is for one process only;
//! - hash `@PROCESS`: all clients of a process, for those who have just come; it expires when the process is dead.
//!
//! # A session
//!
//! Down → (Resolving →) Opening → Up. It takes two connections; when one breaks, or does not answer in time, both are
//! closed, and tried again after a while that doubles each time. On the way up everything is told anew: each room is
//! subscribed, each client registered, what nobody has confirmed is sent again, and every process that speaks in a room
//! of ours is asked for the number of its last message there, so that we know what we have missed.
//!
//! An error reply to any command ends the session too (`refusal.rs`). A session is in order once Redis has taken the
//! registration. Until then no message is sent, no other process is told of this one, and clients are told nothing.
//!
//! Redis passes a message on to whoever listens at that moment. So what is said is held back at first, until all processes
//! that were there before are there again, or for a while.

mod others;
mod packet;
mod peers;
mod queue;
mod receive;
mod refusal;
mod rooms;
mod send;
mod session;

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
use peers::{Peers, Todo};
use queue::Queue;
use refusal::WriteRefusals;
use rooms::RoomLinks;
pub use session::Link;
use session::Session;

/// How often a process gives a sign of life.
pub const BEAT: Duration = Duration::from_secs(5);

/// How long the link may be away before everybody is told: shorter, and a restart of Redis would be news.
const APART_AFTER: Duration = Duration::from_secs(1);

/// The wait before the second attempt, on average. It doubles each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long to wait for other processes at the beginning of a session: longer than the longest pause between two attempts.
const HOLD: Duration = Duration::from_secs(5);

/// Reasons that are logged while the link is not in order; it may find a new one each time.
const TROUBLES_LOGGED_MAX: usize = 32;

/// How much larger a message can be on the way: each byte of it `\u0000`, and what is around it.
const GROWTH: usize = 8;

/// What the server is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkAction {
    /// Find the addresses of a host, and answer with [`Backplane::resolved`].
    Resolve {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// Connect both links.
    Connect(ConnectTarget),
    /// Close both links.
    Hangup,
    /// Let the chat know.
    Tell(RemoteEvent),
    /// Answer with [`Backplane::register`].
    Register,
}

/// The link, for a process with a number of its own.
pub struct Backplane {
    process: u64,
    url: RedisUrl,
    timeout: Duration,
    reply_max_bytes: usize,
    message_max_bytes: usize,
    names: ChannelNames,
    phase: Phase,
    /// Attempts since a session last lasted.
    attempts: u32,
    /// When the others are to be taken to be out of reach; `None` once they are, and while there is a session.
    apart_at: Option<Moment>,
    /// Whether they are out of reach: until something of our own has come back.
    apart: bool,
    /// Reasons for the end of a session that were logged since the link was last in order.
    troubles: HashSet<String>,
    refusals: WriteRefusals,
    /// Whether a process too many was logged.
    too_many_logged: bool,
    rooms: RoomLinks,
    peers: Peers,
    /// Processes that were there before, and not heard of since.
    expected: BTreeSet<u64>,
    queue: Queue,
    /// What became of our clients, and is not told yet.
    changes: Vec<Change>,
    /// The version of what was told of them.
    version: u64,
    /// The version with which all of them were last put into Redis.
    registered: u64,
    /// How much was said to single clients of other processes.
    privates: u64,
    /// Whether somebody has come and is to be told who is here.
    greeted: bool,
    /// RoomLinks whose members must be told our number, because they have asked, or messages were shed.
    owing: BTreeSet<RoomName>,
    /// Whether this process ends, and has said so.
    left: bool,
    out: [Vec<u8>; 2],
    actions: VecDeque<LinkAction>,
    counts: LinkCounts,
}

/// What things are called in Redis.
#[derive(Debug)]
struct ChannelNames {
    prefix: String,
    presence: Vec<u8>,
    /// The channel for this process, and the hash of its clients.
    own: Vec<u8>,
    /// How each payload of this process begins.
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
    /// Whether Redis has taken our clients.
    registered: bool,
    /// Whether it has taken all that a session must be able to say: the link is in order.
    accepted: bool,
    /// Whether something of our own has come back.
    echoed: bool,
    /// When Redis last answered a command, or was asked after it had answered all.
    answered_at: Moment,
    heartbeat_at: Moment,
    /// Until when others are waited for.
    hold_until: Option<Moment>,
    /// Until when our own sign of life must come back by the subscription.
    echo_by: Option<Moment>,
}

impl Backplane {
    /// A link to the Redis at `url`, which is not made yet, for the process with that number.
    pub fn new(config: &Config, url: RedisUrl, process: u64, now: Now) -> Backplane {
        let message_max_bytes = config.message_max.max(config.line_max);
        let mut queue = Queue::new(config.redis_queue);
        // Messages of before the first session wait until the session is accepted.
        queue.cut();
        Backplane {
            process,
            url,
            timeout: config.redis_timeout,
            reply_max_bytes: config.redis_reply_max.max(GROWTH * message_max_bytes),
            message_max_bytes,
            names: ChannelNames::new(&config.redis_prefix, process),
            phase: Phase::Down { retry_at: now.moment },
            attempts: 0,
            apart_at: Some(now.moment + APART_AFTER),
            apart: false,
            troubles: HashSet::new(),
            refusals: WriteRefusals::default(),
            too_many_logged: false,
            rooms: RoomLinks::new(config.redis_processes),
            peers: Peers::new(config.redis_processes),
            expected: BTreeSet::new(),
            queue,
            changes: Vec::new(),
            version: 0,
            registered: 0,
            privates: 0,
            greeted: false,
            owing: BTreeSet::new(),
            left: false,
            out: Default::default(),
            actions: VecDeque::new(),
            counts: LinkCounts::default(),
        }
    }

    /// The next thing to do, until there is none.
    pub fn next_action(&mut self) -> Option<LinkAction> {
        self.actions.pop_front()
    }

    /// What is to be sent; whoever sends it takes it out.
    pub fn output(&mut self, link: Link) -> &mut Vec<u8> {
        &mut self.out[link as usize]
    }

    /// What was done so far.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// How things are.
    pub fn state(&self) -> LinkState {
        LinkState {
            up: self.is_accepted(),
            peers: self.peers.len(),
            subscriptions: self.rooms.subscriptions(),
            queue_bytes: self.queue.bytes(),
        }
    }

    /// Whether there is a session.
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// Whether nothing more is on its way to Redis that could still get there. What broke a moment ago may be mended in one.
    pub fn is_done(&self) -> bool {
        match self.is_up() {
            true => self.queue.is_sent() && !self.queue.is_waiting() && self.changes.is_empty(),
            false => self.apart && self.queue.messages() == 0,
        }
    }

    /// Messages that Redis has not confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.queue.messages()
    }

    /// The host has these addresses, or none for that reason.
    pub fn resolved(&mut self, addresses: Result<Vec<SocketAddr>, String>, now: Now) {
        if !matches!(self.phase, Phase::Resolving { .. }) {
            return;
        }
        match addresses {
            // Another one each time: one that does not answer must not hide one that does.
            Ok(addresses) if !addresses.is_empty() => {
                let address = addresses[(self.attempts as usize - 1) % addresses.len()];
                self.open(ConnectTarget::Tcp(address), now.moment);
            }
            Ok(_) => self.fail("its host has no address", now.moment),
            Err(error) => self.fail(&error, now.moment),
        }
    }

    /// A link is broken.
    pub fn broken(&mut self, why: &str, now: Now) {
        self.fail(why, now.moment);
    }

    /// When [`Backplane::handle_timeout`] wants to be called.
    pub fn next_timeout(&self) -> Option<Moment> {
        let own = match &self.phase {
            Phase::Down { retry_at } => Some(*retry_at),
            Phase::Resolving { deadline } | Phase::Opening { deadline, .. } => Some(*deadline),
            Phase::Up(up) => {
                let beat = (!self.left).then_some(up.heartbeat_at);
                let answer = self.queue.is_waiting().then(|| up.answered_at + self.timeout);
                let others = [up.hold_until, self.peers.next_timeout()];
                [beat, answer, up.echo_by].into_iter().chain(others).flatten().min()
            }
        };
        let apart_at = self.apart_at.filter(|_| !self.is_up());
        [own, apart_at, self.rooms.next_timeout()].into_iter().flatten().min()
    }

    /// Does what is due by now.
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
                self.fail("what is published does not come back", now);
            }
            Phase::Up(_) => self.keep_up(now),
            _ => {}
        }
        if self.apart_at.is_some_and(|at| at <= now) && !self.is_up() {
            (self.apart_at, self.apart) = (None, true);
            self.tell_apart();
        }
        while let Some(room) = self.rooms.expire(now) {
            self.unsubscribe(&room);
        }
        self.tell_unheard();
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
        let rooms = self.rooms.resume();
        let own = [self.names.presence.clone(), self.names.own.clone()];
        let channels: Vec<Vec<u8>> =
            own.into_iter().chain(rooms.iter().map(|room| self.names.channel(room))).collect();
        let session = Session::begin(&self.url, &channels, self.reply_max_bytes, &mut self.out);
        self.phase = Phase::Opening { session, deadline: now + self.timeout };
        self.actions.push_back(LinkAction::Connect(target));
    }

    /// Begins the session if both connections have answered.
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
            heartbeat_at: now + BEAT,
            hold_until: Some(now + HOLD),
            echo_by: None,
        });
        // Who was out of reach and knows nobody can't know who is still missing.
        let knows_who_is_missing = !self.apart || !self.expected.is_empty();
        if knows_who_is_missing {
            self.release_if_all_are_here();
        }
        match self.left {
            true => self.say_bye(),
            false => self.actions.push_back(LinkAction::Register),
        }
        // A number that was on its way when the last session ended may be lost.
        self.owing.extend(self.rooms.deaf());
        let mut todo = Vec::new();
        self.peers.resume(now, &mut todo);
        self.carry_out(todo);
    }

    /// Waits for nobody any more, if all are here.
    fn release_if_all_are_here(&mut self) {
        if let Phase::Up(up) = &mut self.phase
            && self.expected.is_empty()
        {
            up.hold_until = None;
            self.release_if_in_order();
        }
    }

    /// The session is over, or did not come about.
    fn fail(&mut self, why: &str, now: Moment) {
        if let Phase::Down { .. } = self.phase {
            return;
        }
        self.refusals.forget_reason();
        if let Phase::Up(up) = &self.phase
            && up.accepted
        {
            self.apart_at = Some(now + APART_AFTER);
            if now.since(up.since) >= LONGEST_PAUSE {
                self.attempts = 0;
            }
        }
        let pause = pause(self.process, self.attempts);
        if self.troubles.len() < TROUBLES_LOGGED_MAX && self.troubles.insert(why.into()) {
            let (place, retry_ms) = (&self.url.place, pause.as_millis());
            log::warn!("redis down address={place} reason={why:?} retry_ms={retry_ms}");
        }
        self.rooms.cut();
        self.tell_unheard();
        self.phase = Phase::Down { retry_at: now + pause };
        self.out = Default::default();
        self.expected.extend(self.peers.processes());
        self.queue.cut();
        self.peers.cut(now);
        self.actions.push_back(LinkAction::Hangup);
        if self.apart {
            // The session may have brought clients of other processes, who are out of reach again.
            self.tell_apart();
        }
    }

    /// The other processes are out of reach, and their clients with them.
    fn tell_apart(&mut self) {
        self.peers.clear();
        self.tell(RemoteEvent::Disconnected);
    }

    fn keep_up(&mut self, now: Moment) {
        let mut todo = Vec::new();
        self.peers.expire(now, &mut todo);
        self.carry_out(todo);
        if let Phase::Up(up) = &self.phase
            && up.hold_until.is_some_and(|until| until <= now)
        {
            self.expected.clear();
            self.release_if_all_are_here();
        }
        self.beat(now);
    }

    fn carry_out(&mut self, todo: Vec<Todo>) {
        for todo in todo {
            match todo {
                Todo::Read(process) => self.read_clients(process),
                Todo::Tell(news) => self.tell(news),
            }
        }
    }

    fn tell_unheard(&mut self) {
        for room in self.rooms.take_unheard() {
            self.tell(RemoteEvent::Unread { room });
        }
    }

    fn tell(&mut self, news: RemoteEvent) {
        self.actions.push_back(LinkAction::Tell(news));
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

    /// No room's name has an `@` in it.
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

/// How long to wait after so many attempts: between half and one and a half of what doubles each time. Processes that
/// lose Redis at the same moment do not all come back at the same moment, since each has another number.
fn pause(process: u64, attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE * 2_u32.pow(attempts.saturating_sub(1).min(10));
    // The mixing step of splitmix64 (Steele, Lea, Flood 2014): all bits of the number tell.
    let mut mixed = process.wrapping_add(u64::from(attempts).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + ((mixed >> 32) as f64 / f64::from(u32::MAX)))
}
