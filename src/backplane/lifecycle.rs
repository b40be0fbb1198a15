//! The lifecycle of the link: connections, sessions, errors and deadlines.

use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use super::command::SCRIPTS;
use super::connections::{self, ConnectionPair};
use super::queue::LinkCommand;
use super::reply::PROBE;
use super::rooms::Following;
use super::{Backplane, DISCONNECTED_AFTER, HEARTBEAT_INTERVAL, LinkAction, RedisConnection};
use crate::config::RedisAddress;
use crate::net::ConnectTarget;
use crate::protocol::RemoteEvent;
use crate::text::RoomName;
use crate::time::{Moment, Now};

/// The average pause before the second attempt. It doubles each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The most reasons logged while the link is down. Each attempt may have another one.
const REASONS_LOGGED_MAX: usize = 32;

/// The longest error code that is shown outside the log.
const CODE_MAX_BYTES: usize = 32;

pub(super) enum Phase {
    Disconnected { retry_at: Moment },
    Resolving { deadline: Moment },
    Connecting { connections: ConnectionPair, deadline: Moment },
    Active(Active),
}

/// A session after the login.
pub(super) struct Active {
    pub connections: ConnectionPair,
    pub stage: Stage,
    pub since: Moment,
    /// Time of the last read of replies, or of the first command after all were answered.
    pub answered_at: Moment,
    heartbeat_at: Moment,
    /// The deadline for an answer on the connection with subscriptions.
    pub pong_by: Option<Moment>,
}

/// The steps to an accepted session.
pub(super) enum Stage {
    /// The scripts and then the lease were requested.
    Greeting,
    /// The server is to register the clients: first their names, and then as members of rooms under the names that they have
    /// got. `rooms` have members of this process according to Redis.
    Registering {
        rooms: Vec<RoomName>,
        is_quiet: bool,
        has_claimed: bool,
    },
    /// All other commands are sent. `is_confirmed`: Redis has confirmed those from before the session.
    Syncing {
        is_confirmed: bool,
    },
    Up,
}

impl Phase {
    pub fn active_mut(&mut self) -> Option<&mut Active> {
        match self {
            Phase::Active(active) => Some(active),
            _ => None,
        }
    }

    pub fn stage(&self) -> Option<&Stage> {
        match self {
            Phase::Active(active) => Some(&active.stage),
            _ => None,
        }
    }

    pub fn connections_mut(&mut self) -> Option<&mut ConnectionPair> {
        match self {
            Phase::Connecting { connections, .. } => Some(connections),
            Phase::Active(active) => Some(&mut active.connections),
            _ => None,
        }
    }
}

impl Active {
    /// The deadline for an answer of Redis.
    fn answer_by(&self, is_waiting: bool, timeout: Duration) -> Option<Moment> {
        let reply_by = is_waiting.then(|| self.answered_at + timeout);
        [reply_by, self.pong_by].into_iter().flatten().min()
    }
}

impl Backplane {
    /// Handles the result of [`LinkAction::Resolve`].
    pub fn handle_resolved(&mut self, addresses: Result<Vec<SocketAddr>, String>, now: Now) {
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
            Ok(_) => self.fail("its host has no address", None, now.moment),
            Err(error) => self.fail(&error, None, now.moment),
        }
    }

    /// Ends the session because a connection is broken.
    pub fn handle_broken(&mut self, why: &str, now: Now) {
        self.fail(why, None, now.moment);
    }

    /// The time to call [`Backplane::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Moment> {
        let own = match &self.phase {
            Phase::Disconnected { retry_at } => Some(*retry_at),
            Phase::Resolving { deadline } | Phase::Connecting { deadline, .. } => Some(*deadline),
            Phase::Active(active) => {
                let answer = active.answer_by(self.queue.is_waiting(), self.timeout);
                Some(answer.map_or(active.heartbeat_at, |by| by.min(active.heartbeat_at)))
            }
        };
        let forwarded = self.forwarded.front().map(|(deadline, _)| *deadline);
        [own, self.disconnected_at, self.rooms.next_timeout(), forwarded].into_iter().flatten().min()
    }

    /// Handles the deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = now.moment;
        match &self.phase {
            Phase::Disconnected { retry_at } if *retry_at <= now => self.attempt(now),
            Phase::Resolving { deadline } if *deadline <= now => {
                self.fail("its name takes too long to resolve", None, now);
            }
            Phase::Connecting { deadline, .. } if *deadline <= now => {
                self.fail("it does not answer", None, now)
            }
            Phase::Active(active) => {
                match active.answer_by(self.queue.is_waiting(), self.timeout).is_some_and(|by| by <= now) {
                    true => self.fail("it does not answer", None, now),
                    false => self.send_heartbeat(now),
                }
            }
            _ => {}
        }
        if self.disconnected_at.is_some_and(|at| at <= now) {
            (self.disconnected_at, self.disconnected) = (None, true);
            self.deliver(RemoteEvent::Disconnected);
            if self.is_detached() {
                self.detach();
            }
        }
        while let Some((_, ask)) = self.forwarded.front().filter(|(deadline, _)| *deadline <= now) {
            self.complete(*ask, None);
        }
        while let Some(room) = self.rooms.expire(now) {
            self.unfollow(room);
        }
    }

    /// Moves queued commands to the output. Call it at the end of a tick.
    pub fn encode_queued(&mut self, now: Now) {
        if self.queue.is_over_limit() {
            return self.handle_broken("it does not read", now);
        }
        let (was_waiting, is_serving) = (self.queue.is_waiting(), self.is_serving());
        while self.has_session()
            && let Some(command) = self.queue.next(is_serving)
        {
            let bytes = self.encode(&command);
            self.out[RedisConnection::Commands as usize].extend_from_slice(&bytes);
            self.queue.record_sent(command, bytes.len());
        }
        if let Some(active) = self.phase.active_mut().filter(|_| !was_waiting) {
            active.answered_at = now.moment;
        }
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
        let own = [self.process_channel(self.process), self.access_channel()].map(String::into_bytes);
        let channels: Vec<Vec<u8>> =
            own.into_iter().chain(self.rooms.by_name.keys().map(|room| self.channel(room))).collect();
        let connections = ConnectionPair::begin(&self.url, &channels, self.reply_max_bytes, &mut self.out);
        self.phase = Phase::Connecting { connections, deadline: now + self.timeout };
        self.actions.push_back(LinkAction::Connect(target));
    }

    /// Begins the session if both connections are ready.
    pub(super) fn begin_if_ready(&mut self, now: Moment) {
        let ready = matches!(&self.phase, Phase::Connecting { connections, .. } if connections.is_ready());
        let down = Phase::Disconnected { retry_at: now };
        if ready && let Phase::Connecting { connections, .. } = mem::replace(&mut self.phase, down) {
            self.phase = Phase::Active(Active {
                connections,
                stage: Stage::Greeting,
                since: now,
                answered_at: now,
                heartbeat_at: now + HEARTBEAT_INTERVAL,
                pong_by: None,
            });
            self.session += 1;
            self.hashes.clear();
            (0..SCRIPTS.len()).for_each(|index| self.queue.push_for_session(LinkCommand::Load(index)));
        }
    }

    /// Renews or begins the lease of the process. A process that is leaving needs none.
    pub(super) fn greet(&mut self, now: Moment) {
        self.set_stage(Stage::Greeting);
        if !self.disconnected {
            self.disconnected_at.get_or_insert(now + DISCONNECTED_AFTER);
        }
        match self.leaving {
            true => self.serve(),
            false => self.queue.push_for_session(LinkCommand::Hello),
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(active) = self.phase.active_mut() {
            active.stage = stage;
        }
    }

    pub(super) fn must_register(&self) -> bool {
        self.disconnected || !self.is_registered
    }

    /// Registers the clients again if the session has done so before Redis is known to have lost data.
    pub(super) fn register_after_loss(&mut self, now: Moment) {
        if self.is_registered && self.is_serving() && !mem::replace(&mut self.has_lost_data, true) {
            self.is_registered = false;
            self.greet(now);
        }
    }

    pub(super) fn request_registration(&mut self, rooms: Vec<RoomName>, is_quiet: bool) {
        self.is_registered = false;
        self.set_stage(Stage::Registering { rooms, is_quiet, has_claimed: false });
        self.drop_replaced(LinkCommand::is_claim);
        self.actions.push_back(LinkAction::Register);
    }

    /// Sends all other commands, and a last one whose reply shows that Redis has accepted them.
    pub(super) fn serve(&mut self) {
        self.set_stage(Stage::Syncing { is_confirmed: false });
        let rooms: Vec<RoomName> = self.rooms.by_name.keys().cloned().collect();
        rooms.iter().for_each(|room| self.read(room));
        self.actions.push_back(LinkAction::ReadTable);
        // Commands that outlive sessions are queued unless clients were told that the link is down.
        let is_queued = |command: &LinkCommand| !self.disconnected && command.outlives_session(self.process);
        let refused = self.refused.clone().filter(|command| !is_queued(command));
        refused.into_iter().for_each(|command| self.push(command));
        self.push(LinkCommand::Barrier);
    }

    /// Whether commands of clients are sent.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.phase.stage(), Some(Stage::Syncing { .. } | Stage::Up))
    }

    pub(super) fn accept_if_confirmed(&mut self) {
        if !matches!(self.phase.stage(), Some(Stage::Syncing { is_confirmed: true }))
            || !self.rooms.are_live()
        {
            return;
        }
        self.set_stage(Stage::Up);
        let (place, attempts, rooms) = (&self.url.place, self.attempts, self.rooms.by_name.len());
        log::info!("redis up address={place} attempts={attempts} rooms={rooms}");
        self.counts.sessions += 1;
        (self.refusal, self.refused, self.disconnected_at) = (None, None, None);
        self.is_registered = true;
        self.logged_reasons.clear();
        if mem::take(&mut self.disconnected) {
            self.deliver(RemoteEvent::Connected);
        }
    }

    /// Handles an error reply.
    pub(super) fn handle_refusal(&mut self, connection: RedisConnection, error: &str, now: Now) {
        self.counts.errors += 1;
        let mut refused = self.queue.oldest().filter(|_| connection == RedisConnection::Commands).cloned();
        self.fail(error, refused.as_ref(), now.moment);
        if let Some(LinkCommand::Publish { payload, if_unreceived: reported @ Some(_), .. }) = &mut refused {
            // The end of the session has sent the sender an error. So the next sessions only try whether Redis accepts it.
            (*payload, *reported) = (PROBE.into(), None);
        }
        self.refused = refused.filter(|command| !command.is_repeated()).or(self.refused.take());
        // The rest of an error is for the log only.
        let code = error.split(' ').next().unwrap_or_default();
        let is_code = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = !code.is_empty() && code.len() <= CODE_MAX_BYTES && code.bytes().all(is_code);
        self.refusal = fits.then(|| code.into());
    }

    /// Ends the session or the attempt, and schedules the next one.
    pub(super) fn fail(&mut self, why: &str, refused: Option<&LinkCommand>, now: Moment) {
        match &self.phase {
            Phase::Disconnected { .. } => return,
            Phase::Active(active) if self.is_up() => {
                self.disconnected_at = Some(now + DISCONNECTED_AFTER);
                if now.since(active.since) >= LONGEST_PAUSE {
                    self.attempts = 0;
                }
            }
            _ => {}
        }
        self.refusal = None;
        let pause = pause(self.process, self.attempts);
        // The same error in another script or line of it is not logged again.
        let reason = why.split(" script: ").next().unwrap_or(why);
        if self.logged_reasons.len() < REASONS_LOGGED_MAX && self.logged_reasons.insert(reason.into()) {
            let (place, retry_ms) = (&self.url.place, pause.as_millis());
            let command = refused.map(|refused| format!(" command={:?}", refused.to_string()));
            let command = command.unwrap_or_default();
            log::warn!("redis down address={place} reason={why:?}{command} retry_ms={retry_ms}");
        }
        self.phase = Phase::Disconnected { retry_at: now + pause };
        self.out = Default::default();
        self.rooms.by_name.values_mut().for_each(|room| room.state = Following::Unsubscribed);
        self.rooms.held_bytes = 0;
        self.actions.push_back(LinkAction::Disconnect);
        // Those that are kept are read in the next session.
        self.deliver_confirmed(|it| !it.submission.is_appended());
        for command in self.queue.take() {
            match command {
                LinkCommand::Publish { if_unreceived: Some(if_unreceived), .. } => {
                    self.handle_unreceived(if_unreceived)
                }
                // It may have begun a lease, and so the next one does not find out that the process was removed before.
                LinkCommand::Hello => self.is_registered = false,
                command if command.outlives_session(self.process) => self.repeat(command),
                _ => {}
            }
        }
        if self.disconnected {
            self.detach();
        }
    }

    /// Queues a command again, for the next session.
    fn repeat(&mut self, command: LinkCommand) {
        // If Redis loses what it has published, it publishes that again.
        if let LinkCommand::Submit(submission) = &command
            && let Some(room) = self.rooms.by_name.get_mut(&submission.room).filter(|_| submission.shown)
        {
            room.seen.insert(submission.serial);
        }
        self.push(command);
    }

    /// Sends a heartbeat if it is due.
    fn send_heartbeat(&mut self, now: Moment) {
        let leaving = self.leaving;
        let Some(active) = self.phase.active_mut().filter(|active| active.heartbeat_at <= now) else {
            return;
        };
        active.heartbeat_at = now + HEARTBEAT_INTERVAL;
        active.pong_by = active.pong_by.or(Some(now + self.timeout));
        connections::ping(&mut self.out[RedisConnection::Subscriptions as usize]);
        if !leaving && self.is_serving() {
            self.queue.push_for_session(LinkCommand::Heartbeat);
        }
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
