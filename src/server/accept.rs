//! Admission: connections are accepted, counted, and admitted, queued or refused. Slots are taken here only.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::Server;
use crate::config::{Config, TrustedProxy};
use crate::connection::{Connection, Naming, Readiness, Silence, State};
use crate::host::Host;
use crate::net::{AcceptError, ListenerId, ListenerKind, Net, Peer, Token};
use crate::protocol::{Arrival, CloseReason, Dialect, Event, Facts};
use crate::quota::{Addresses, Moved, Quota, Quotas, Verdict};
use crate::sparse::Sparse;
use crate::time::Moment;

/// Most connections accepted in one tick. More wait for the next, so that clients are served in between.
const ACCEPTS_A_TICK: usize = 256;

/// Pause after the process has run out of descriptors. The event of the waiting connection does not come again. So
/// accepting is tried again after this time, or as soon as a connection is freed.
const PAUSE: Duration = Duration::from_millis(100);

/// A closing or idle HTTP connection is evicted for a newcomer after this time. Until then the newcomer waits: the peer is
/// probably about to close, or to send its request.
const EVICTED_AFTER: Duration = Duration::from_secs(1);

/// The listeners, the quotas, the queue, and the counts by address.
#[derive(Debug)]
pub struct Admission {
    listeners: Vec<ListenerKind>,
    /// For each listener, whether the kernel may have connections that are not yet accepted.
    ready: Vec<bool>,
    /// The number of listeners that were closed, since they can't accept any more.
    broken: usize,
    paused_until: Option<Moment>,
    quotas: Quotas,
    max_clients: usize,
    queue: VecDeque<Waiter>,
    max_waiting: usize,
    max_http: usize,
    max_closing: usize,
    most_slots: usize,
    addresses: Addresses,
    trusted: Vec<TrustedProxy>,
    /// The trusted proxies of the connections whose client may change, or is not known yet.
    proxies: Sparse<Peer>,
    /// Whether clients have left the queue since positions were last sent.
    moved: bool,
}

/// A client in the queue, the position that it was sent last, and its request to enter by HTTP if there is one.
#[derive(Debug)]
struct Waiter {
    token: Token,
    sent_position: usize,
    arrival: Option<Box<Arrival>>,
}

/// Whether a listener has room for one more connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Vacancy {
    Free,
    /// It has room from that time on, if this connection is evicted.
    ByEviction(Moment, Token),
    /// It has no room before some connection ends.
    None,
}

impl Admission {
    /// Admission at these listeners, with the limits of `config`.
    pub fn new(config: &Config, listeners: Vec<ListenerKind>) -> Admission {
        Admission {
            ready: vec![false; listeners.len()],
            broken: 0,
            listeners,
            paused_until: None,
            quotas: Quotas::default(),
            max_clients: config.max_clients,
            queue: VecDeque::new(),
            max_waiting: config.max_waiting,
            max_http: config.http_slots(),
            max_closing: config.max_closing,
            most_slots: config.most_slots(),
            addresses: Addresses::new(*config.max_per_ip),
            trusted: config.trust_proxy.clone(),
            proxies: Sparse::default(),
            moved: false,
        }
    }

    /// Replaces the limit on connections of one address.
    pub fn set_max_per_ip(&mut self, max: Option<u32>) {
        self.addresses.set_max(max);
    }

    /// Records that the kernel may have connections of a listener that are not yet accepted.
    pub fn set_ready(&mut self, listener: ListenerId) {
        if let Some(ready) = self.ready.get_mut(listener) {
            *ready = true;
        }
    }

    /// Accepts no connections any more.
    pub fn close(&mut self) {
        self.ready.clear();
        self.paused_until = None;
        (self.max_clients, self.max_waiting) = (0, 0);
    }

    /// Whether every listener was closed, since none can accept any more.
    pub fn is_broken(&self) -> bool {
        self.broken == self.listeners.len()
    }

    /// Whether the quota of closing connections has room.
    pub fn may_close_slowly(&self) -> bool {
        self.quotas.closing() < self.max_closing
    }

    /// The number of connections in each quota.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Whether a peer is a proxy that `--trust-proxy` names.
    pub fn is_trusted(&self, peer: Peer) -> bool {
        let address = match peer {
            Peer::Ip(address) => Some(address),
            Peer::Local => None,
        };
        self.trusted.iter().any(|trusted| trusted.is(address))
    }

    /// The trusted proxy that has opened a connection, unless the connection belongs to one client for good.
    pub fn proxy_of(&self, token: Token) -> Option<Peer> {
        self.proxies.get(token.slot).copied()
    }

    /// The slots of the connections of [`Admission::proxy_of`].
    pub fn proxied_slots(&self) -> impl Iterator<Item = u32> {
        self.proxies.slots()
    }

    /// Counts a connection under another address.
    pub fn move_claim<S>(
        &mut self,
        connection: &mut Connection<S>,
        host: Host,
        refusal: Option<CloseReason>,
    ) -> Moved {
        self.quotas.move_claim(&mut self.addresses, &mut connection.claim, host, refusal)
    }

    /// The open connections of each address.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The same, to be changed.
    pub fn addresses_mut(&mut self) -> &mut Addresses {
        &mut self.addresses
    }

    /// The number of admitted clients.
    pub fn clients(&self) -> usize {
        self.quotas.taken(Quota::Client)
    }

    /// The length of the queue.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The slots of the clients in the queue.
    pub fn waiting_slots(&self) -> impl Iterator<Item = u32> {
        self.queue.iter().map(|waiter| waiter.token.slot)
    }

    /// Whether a client that connects now is admitted at once.
    pub fn has_place(&self) -> bool {
        self.clients() < self.max_clients
    }

    /// Whether a client that connects now is admitted or queued.
    pub fn has_place_or_queue(&self) -> bool {
        self.has_place() || self.queue.len() < self.max_waiting
    }

    /// The quota of a client that connects now.
    fn quota_of_client(&self) -> Quota {
        match () {
            () if self.has_place() => Quota::Client,
            () if self.has_place_or_queue() => Quota::Queue,
            () => Quota::Closing,
        }
    }

    /// Counts a connection in another quota.
    pub fn change<S>(&mut self, token: Token, connection: &mut Connection<S>, quota: Quota) {
        self.leave_queue(token, connection.claim.quota());
        self.quotas.change(&mut connection.claim, quota);
    }

    /// Takes back the claim of a connection whose slot is free, and closes its descriptor.
    pub fn freed<S>(&mut self, token: Token, connection: Connection<S>) {
        self.leave_queue(token, connection.claim.quota());
        self.proxies.take(token.slot);
        self.addresses.give_back(self.quotas.give_back(connection.claim));
        self.paused_until = None;
    }

    fn leave_queue(&mut self, token: Token, quota: Quota) {
        if quota == Quota::Queue {
            self.queue.retain(|waiter| waiter.token != token);
            self.moved = true;
        }
    }

    fn can_admit(&self) -> bool {
        self.has_place() && !self.queue.is_empty()
    }

    /// Checks the counts against the number of connections in each quota, and of all connections.
    ///
    /// # Panics
    /// If they differ.
    pub fn assert_invariants(&self, taken: [usize; Quota::ALL.len()], connections: usize) {
        assert_eq!(Quota::ALL.map(|quota| self.quotas.taken(quota)), taken, "quotas and connections differ");
        assert_eq!(self.quotas.taken(Quota::Queue), self.queue.len(), "the queue and its quotas differ");
        assert!(self.addresses.count() <= connections, "an address without connections is stored");
    }
}

impl<N: Net> Server<N> {
    /// Whether a listener has room for one more connection.
    fn room(&self, listener: ListenerId) -> Vacancy {
        let admission = &self.admission;
        let by_eviction = |oldest: Option<(Moment, Token)>| match oldest {
            Some((since, token)) => Vacancy::ByEviction(since + EVICTED_AFTER, token),
            None => Vacancy::None,
        };
        let is_http = admission.listeners[listener].dialect == Dialect::Http;
        match () {
            () if is_http && admission.quotas.taken(Quota::Http) >= admission.max_http => {
                by_eviction(self.roster.longest_idle())
            }
            () if self.roster.len() >= admission.most_slots => by_eviction(self.roster.oldest_closing()),
            // The newcomer would be refused, and so be a closing connection too.
            () if !is_http && !admission.has_place_or_queue() && !admission.may_close_slowly() => {
                by_eviction(self.roster.oldest_closing())
            }
            () => Vacancy::Free,
        }
    }

    /// The time from which waiting connections can be accepted; `None` if there are none, or no room for them.
    pub(super) fn next_accept(&self) -> Option<Moment> {
        if self.admission.can_admit() {
            return Some(self.now.moment);
        }
        if self.admission.paused_until.is_some() {
            return self.admission.paused_until;
        }
        let listeners = (0..self.admission.ready.len()).filter(|listener| self.admission.ready[*listener]);
        let times = listeners.filter_map(|listener| match self.room(listener) {
            Vacancy::Free => Some(self.now.moment),
            Vacancy::ByEviction(moment, _) => Some(moment),
            Vacancy::None => None,
        });
        times.min()
    }

    /// Admits from the queue, accepts at the listeners, and sends the queue its positions.
    pub(super) fn accept_all(&mut self) {
        while self.admission.can_admit() {
            if let Some(waiter) = self.admission.queue.pop_front() {
                self.admission.moved = true;
                self.move_to(waiter.token, Quota::Client, waiter.arrival);
            }
        }
        if self.admission.paused_until.is_some_and(|until| until <= self.now.moment) {
            self.admission.paused_until = None;
        }
        let mut budget = ACCEPTS_A_TICK;
        for listener in 0..self.admission.ready.len() {
            // Without descriptors the next listener can't accept either.
            if self.admission.paused_until.is_none() {
                self.accept_at(listener, &mut budget);
            }
        }
        if std::mem::take(&mut self.admission.moved) {
            self.send_positions();
        }
        if self.admission.is_broken() && self.ending.is_none() {
            self.begin_shutdown();
        }
    }

    /// Accepts at one listener until no connection waits there, or budget, room or descriptors are used up.
    fn accept_at(&mut self, listener: ListenerId, budget: &mut usize) {
        while self.admission.ready[listener] && *budget > 0 {
            let evicted = match self.room(listener) {
                Vacancy::Free => None,
                Vacancy::ByEviction(moment, token) if moment <= self.now.moment => Some(token),
                Vacancy::ByEviction(..) | Vacancy::None => return,
            };
            *budget -= 1;
            match self.net.accept(listener) {
                Ok((stream, peer)) => {
                    self.receive(self.admission.listeners[listener], (stream, peer), evicted);
                }
                Err(error) => match AcceptError::from(&error) {
                    AcceptError::WouldBlock => self.admission.ready[listener] = false,
                    AcceptError::ConnectionFailed => {
                        log::debug!("accept failed, going on error={:?}", error.to_string())
                    }
                    AcceptError::Exhausted => {
                        log::warn!(
                            "accept failed, trying again error={:?} pause_ms={}",
                            error.to_string(),
                            PAUSE.as_millis()
                        );
                        self.admission.paused_until = Some(self.now.moment + PAUSE);
                        return;
                    }
                    AcceptError::ListenerBroken => self.close_broken(listener, &error),
                },
            }
        }
    }

    /// Closes a listener that can't accept any more. After the last one the server shuts down.
    fn close_broken(&mut self, listener: ListenerId, error: &io::Error) {
        let dialect = self.admission.listeners[listener].dialect.as_str();
        log::error!(
            "listener closed, it can't accept any more listener={dialect} error={:?}",
            error.to_string()
        );
        self.net.close_listener(listener);
        self.admission.ready[listener] = false;
        self.admission.broken += 1;
    }

    /// Takes a slot for a new connection, in the quota that its address and the listener give it. It may be the slot or the
    /// quota of `evicted`.
    fn receive(
        &mut self,
        listener: ListenerKind,
        (mut stream, peer): (N::Stream, Peer),
        evicted: Option<Token>,
    ) {
        let is_proxy = self.admission.is_trusted(peer);
        let host = if is_proxy { Host::PROXY } else { peer.into() };
        let refusal = self.refusal_of(host);
        let (address, quota, refusal) = match self.admission.addresses.take(host, refusal) {
            Verdict::Admit(address) if listener.dialect == Dialect::Http || is_proxy => {
                (address, Quota::Http, None)
            }
            Verdict::Admit(address) => (address, self.admission.quota_of_client(), None),
            Verdict::Refuse(address, reason) => (address, Quota::Refused, Some(reason)),
            Verdict::Abort(reason) => {
                self.metrics.accepted += 1;
                return self.record_refusal(None, host, reason);
            }
        };
        self.evict_for(quota, evicted);
        if let Err(error) = self.net.register(&mut stream, self.roster.next_token()) {
            log::warn!("connection refused, it can't be watched error={:?}", error.to_string());
            return self.admission.addresses.give_back(address);
        }
        self.metrics.accepted += 1;
        let claim = self.admission.quotas.take(quota, address);
        let token = self.roster.insert(stream, claim, listener, self.now.moment);
        if is_proxy {
            self.admission.proxies.insert(token.slot, peer);
        }
        match refusal {
            Some(reason) => self.refuse(token, reason),
            None => self.apply_quota(token, None),
        }
    }

    /// Makes room for a new connection in that quota. [`Server::room`] has found that `evicted` can be evicted for it.
    fn evict_for(&mut self, quota: Quota, evicted: Option<Token>) {
        let is_idle = |token: &Token| {
            self.roster.get(*token).is_some_and(|connection| matches!(connection.state(), State::Http { .. }))
        };
        let evicted = match (quota, evicted) {
            // A refused connection takes no quota of HTTP connections, but a slot.
            (Quota::Refused, Some(token)) if is_idle(&token) => {
                let is_full = self.roster.len() >= self.admission.most_slots;
                self.roster.oldest_closing().filter(|_| is_full).map(|(_, token)| token)
            }
            (_, evicted) => evicted,
        };
        evicted.into_iter().for_each(|token| self.evict(token));
    }

    /// Admits, queues or refuses a connection that asks to be a client by HTTP. `arrival` is its request.
    pub(super) fn receive_arrival(&mut self, token: Token, arrival: Box<Arrival>) {
        self.roster.record_idle(token, None);
        self.admission.proxies.take(token.slot);
        self.move_to(token, self.admission.quota_of_client(), Some(arrival));
    }

    /// Admits, queues or refuses a line client whose proxy has sent its address.
    pub(super) fn receive_arrival_of_lines(&mut self, token: Token) {
        self.admission.proxies.take(token.slot);
        self.move_to(token, self.admission.quota_of_client(), None);
    }

    fn move_to(&mut self, token: Token, quota: Quota, arrival: Option<Box<Arrival>>) {
        if let Some(connection) = self.roster.live_mut(token).filter(|connection| !connection.is_closing()) {
            self.admission.change(token, connection, quota);
            self.apply_quota(token, arrival);
        }
    }

    /// Admits, queues or refuses a connection, as its quota requires.
    fn apply_quota(&mut self, token: Token, arrival: Option<Box<Arrival>>) {
        let Some(connection) = self.roster.live(token) else {
            return;
        };
        match connection.claim.quota() {
            // A proxy has a deadline for its header.
            Quota::Http if connection.state() == State::ProxyHeader => {}
            Quota::Http => self.roster.record_idle(token, Some(self.now.moment)),
            Quota::Client => self.admit(token, arrival),
            Quota::Queue => self.enqueue(token, arrival),
            Quota::Closing => self.refuse(token, CloseReason::ServerFull),
            Quota::Refused => debug_assert!(false, "the quota of a connection that is refused at once"),
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    fn enqueue(&mut self, token: Token, arrival: Option<Box<Arrival>>) {
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        connection.start_state(State::Queued, self.now.moment);
        let (id, peer) = (token.serial, connection.host());
        self.admission.queue.push_back(Waiter { token, sent_position: usize::MAX, arrival });
        self.admission.moved = true;
        let (waiting, clients) = (self.admission.queue.len(), self.admission.clients());
        log::info!("wait id={id} peer={peer} waiting={waiting} clients={clients}");
    }

    /// Makes a connection a client of the chat.
    fn admit(&mut self, token: Token, arrival: Option<Box<Arrival>>) {
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        if self.inboxes.has(token.slot) || connection.ready.contains(Readiness::EOF) {
            connection.ready.insert(Readiness::BUFFERED);
        }
        let is_asked = arrival.is_some() || self.config.asks_names();
        let naming = if is_asked { Naming::Asked(Silence::Unneeded) } else { Naming::Unasked };
        connection.start_state(State::Naming(naming), self.now.moment);
        let id = token.into();
        match arrival {
            None if is_asked => self.call_chat_for(token, None, |chat, now, effects| {
                chat.connect(id, token.serial, (now, &Facts::default()), effects);
            }),
            // The client enters with its first line, or after a moment of silence.
            None => {}
            Some(arrival) => self.enter_chat(token, arrival),
        }
    }

    /// Sends every client in the queue its position, if that is at most half of what it was sent last.
    fn send_positions(&mut self) {
        for index in 0..self.admission.queue.len() {
            let waiter = &mut self.admission.queue[index];
            let (token, position) = (waiter.token, index + 1);
            if position <= waiter.sent_position / 2 {
                waiter.sent_position = position;
                self.send_event(token, &Event::Waiting(position));
            }
        }
    }
}
