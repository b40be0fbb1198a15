//! Arrivals: connections are accepted, counted by address, and given a place or a number in the queue. The only place
//! where a slot is taken.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::Server;
use super::addresses::{Addresses, Verdict};
use super::quotas::Quotas;
use crate::config::Config;
use crate::connection::{Connection, Naming, Quota, Readiness, Silence, State};
use crate::host::Host;
use crate::net::{AcceptError, ListenerId, ListenerKind, Net, Peer, Token};
use crate::protocol::{Arrival, CloseReason, Dialect, Event};
use crate::time::Moment;

/// Connections accepted in one tick; more wait for the next, so that those who are in are served.
const ACCEPTS_A_TICK: usize = 256;

/// Pause after the process has run out of descriptors. The event that told of the connection does not come again, so
/// it is tried again after this, or as soon as a connection is freed.
const PAUSE: Duration = Duration::from_millis(100);

/// A closing connection, or an idle HTTP connection, is closed for a newcomer once it has been so for this long. Before,
/// the newcomer waits: the peer is probably about to close, or to send its request.
const GIVES_WAY: Duration = Duration::from_secs(1);

/// Admission: the listeners, the quotas, the queue, and the count by address.
#[derive(Debug)]
pub struct Admission {
    listeners: Vec<ListenerKind>,
    /// For each listener, whether connections may wait to be accepted.
    knocked: Vec<bool>,
    /// Listeners that were closed, since they can't accept any more.
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
    /// Whether the queue has changed since its clients were last sent their positions.
    moved: bool,
}

/// A client in the queue, the position it was sent last, and its request to enter if it has made one.
#[derive(Debug)]
struct Waiter {
    token: Token,
    told: usize,
    arrival: Option<Box<Arrival>>,
}

/// Whether a listener has room for one more connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Vacancy {
    /// It has.
    Free,
    /// It has from that moment on, if this connection is closed for it.
    Instead(Moment, Token),
    /// It has not, before some connection ends.
    None,
}

impl Admission {
    /// A admission with those listeners and the limits of `config`.
    pub fn new(config: &Config, listeners: Vec<ListenerKind>) -> Admission {
        Admission {
            knocked: vec![false; listeners.len()],
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
            moved: false,
        }
    }

    /// Connections may wait at that listener.
    pub fn knock(&mut self, listener: ListenerId) {
        if let Some(knocked) = self.knocked.get_mut(listener) {
            *knocked = true;
        }
    }

    /// Accepts no connections any more.
    pub fn close(&mut self) {
        self.knocked.clear();
        self.paused_until = None;
        (self.max_clients, self.max_waiting) = (0, 0);
    }

    /// Whether every listener was closed, since none can accept any more.
    pub fn is_broken(&self) -> bool {
        self.broken == self.listeners.len()
    }

    /// Whether one more connection may close without taking a place that others may need.
    pub fn may_close_slowly(&self) -> bool {
        self.quotas.closing() < self.max_closing
    }

    /// The number of connections in each place.
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The open connections of each address.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Clients that have a place.
    pub fn clients(&self) -> usize {
        self.quotas.taken(Quota::Client)
    }

    /// Clients that wait for one.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The slots of the clients that wait for one.
    pub fn waiting_slots(&self) -> impl Iterator<Item = u32> {
        self.queue.iter().map(|waiter| waiter.token.slot)
    }

    /// Whether a client that comes now gets a place at once.
    pub fn has_place(&self) -> bool {
        self.clients() < self.max_clients
    }

    /// Whether a client that comes now is not refused.
    pub fn has_place_or_queue(&self) -> bool {
        self.has_place() || self.queue.len() < self.max_waiting
    }

    /// The place that a client gets that comes now.
    fn quota_of_client(&self) -> Quota {
        match () {
            () if self.has_place() => Quota::Client,
            () if self.has_place_or_queue() => Quota::Queue,
            () => Quota::Closing,
        }
    }

    /// Moves a connection to another place.
    pub fn change<S>(&mut self, token: Token, connection: &mut Connection<S>, quota: Quota) {
        self.leave(token, connection.quota);
        self.quotas.take(quota);
        connection.quota = quota;
    }

    /// A connection is closed, and its slot and descriptor are free.
    pub fn freed<S>(&mut self, token: Token, connection: &Connection<S>) {
        self.leave(token, connection.quota);
        self.addresses.give_back(connection.host, connection.quota == Quota::Refused);
        self.paused_until = None;
    }

    fn leave(&mut self, token: Token, quota: Quota) {
        self.quotas.give_back(quota);
        if quota == Quota::Queue {
            self.queue.retain(|waiter| waiter.token != token);
            self.moved = true;
        }
    }

    fn can_admit(&self) -> bool {
        self.has_place() && !self.queue.is_empty()
    }

    /// Whether all numbers are as with these connections and no others.
    ///
    /// # Panics
    /// When they are not.
    pub fn assert_invariants(&self, taken: [usize; Quota::ALL.len()], addresses: usize) {
        assert_eq!(Quota::ALL.map(|quota| self.quotas.taken(quota)), taken, "quotas and connections differ");
        assert_eq!(self.quotas.taken(Quota::Queue), self.queue.len(), "the queue and its quotas differ");
        assert!(self.addresses.len() <= addresses, "an address without connections is kept");
    }
}

impl<N: Net> Server<N> {
    /// Whether a listener has room for one more connection.
    fn room(&self, listener: ListenerId) -> Vacancy {
        let admission = &self.admission;
        let instead = |oldest: Option<(Moment, Token)>| match oldest {
            Some((since, token)) => Vacancy::Instead(since + GIVES_WAY, token),
            None => Vacancy::None,
        };
        let is_http = admission.listeners[listener].dialect == Dialect::Http;
        match () {
            () if is_http && admission.quotas.taken(Quota::Http) >= admission.max_http => {
                instead(self.roster.longest_idle())
            }
            () if self.roster.len() >= admission.most_slots => instead(self.roster.oldest_closing()),
            // A newcomer would be refused, and so be a closing connection itself.
            () if !is_http && !admission.has_place_or_queue() && !admission.may_close_slowly() => {
                instead(self.roster.oldest_closing())
            }
            () => Vacancy::Free,
        }
    }

    /// The time from which connections can be accepted that wait already; `None` if there are none, or no room for them.
    pub(super) fn next_accept(&self) -> Option<Moment> {
        if self.admission.can_admit() {
            return Some(self.now.moment);
        }
        if self.admission.paused_until.is_some() {
            return self.admission.paused_until;
        }
        let listeners =
            (0..self.admission.knocked.len()).filter(|listener| self.admission.knocked[*listener]);
        let times = listeners.filter_map(|listener| match self.room(listener) {
            Vacancy::Free => Some(self.now.moment),
            Vacancy::Instead(moment, _) => Some(moment),
            Vacancy::None => None,
        });
        times.min()
    }

    /// Admits from the queue, accepts at the listeners, and sends the queue its positions.
    pub(super) fn accept_all(&mut self) {
        while self.admission.can_admit() {
            if let Some(waiter) = self.admission.queue.pop_front() {
                self.admission.moved = true;
                self.take_place(waiter.token, Quota::Client, waiter.arrival);
            }
        }
        if self.admission.paused_until.is_some_and(|until| until <= self.now.moment) {
            self.admission.paused_until = None;
        }
        if self.admission.paused_until.is_none() {
            let mut budget = ACCEPTS_A_TICK;
            for listener in 0..self.admission.knocked.len() {
                self.accept_at(listener, &mut budget);
            }
        }
        if std::mem::take(&mut self.admission.moved) {
            self.send_positions();
        }
        if self.admission.is_broken() && self.ending.is_none() {
            self.begin_to_end();
        }
    }

    /// Accepts at one listener until no connection waits there, or budget, room or descriptors are used up.
    fn accept_at(&mut self, listener: ListenerId, budget: &mut usize) {
        while self.admission.knocked[listener] && *budget > 0 {
            let in_its_way = match self.room(listener) {
                Vacancy::Free => None,
                Vacancy::Instead(moment, token) if moment <= self.now.moment => Some(token),
                Vacancy::Instead(..) | Vacancy::None => return,
            };
            *budget -= 1;
            match self.net.accept(listener) {
                Ok((stream, peer)) => {
                    in_its_way.into_iter().for_each(|token| self.evict(token));
                    self.receive(self.admission.listeners[listener], stream, peer);
                }
                Err(error) => match AcceptError::from(&error) {
                    AcceptError::Nobody => self.admission.knocked[listener] = false,
                    AcceptError::ThisOne => {
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
                    AcceptError::Broken => self.close_broken(listener, &error),
                },
            }
        }
    }

    /// Closes a listener that can't accept any more. With the last, the server ends.
    fn close_broken(&mut self, listener: ListenerId, error: &io::Error) {
        let word = self.admission.listeners[listener].dialect.as_str();
        log::error!(
            "listener closed, it can't accept any more listener={word} error={:?}",
            error.to_string()
        );
        self.net.close_listener(listener);
        self.admission.knocked[listener] = false;
        self.admission.broken += 1;
    }

    /// Takes a slot for a new connection, in the place that its address and the listener give it.
    fn receive(&mut self, listener: ListenerKind, mut stream: N::Stream, peer: Peer) {
        let host = Host::from(peer);
        if let Err(error) = self.net.watch(&mut stream, self.roster.next_token()) {
            log::warn!("connection refused, it can't be watched error={:?}", error.to_string());
            return;
        }
        self.metrics.accepted += 1;
        let is_within_rate = self.roster.take_arrival(host, self.now.moment);
        let verdict = self.admission.addresses.take(host, is_within_rate);
        let quota = match verdict {
            Verdict::Admit if listener.dialect == Dialect::Http => Quota::Http,
            Verdict::Admit => self.admission.quota_of_client(),
            Verdict::Refuse(_) => Quota::Refused,
            Verdict::Abort(reason) => {
                self.metrics.refused += 1;
                return self.log_refusal(None, host, reason);
            }
        };
        let token = self.roster.insert(stream, host, listener, quota, self.now.moment);
        self.admission.quotas.take(quota);
        match verdict {
            Verdict::Refuse(reason) => self.refuse(token, reason),
            Verdict::Admit | Verdict::Abort(_) => self.settle(token, None),
        }
    }

    /// Gives a connection that asks to be a client a place, or a number in the queue, or refuses it. `arrival` is its
    /// request to enter.
    pub(super) fn seat(&mut self, token: Token, arrival: Box<Arrival>) {
        let now = self.now.moment;
        if let Some(connection) = self.roster.get_mut(token) {
            connection.set_state(State::Queued, now);
        }
        self.roster.record_idle(token, None);
        self.take_place(token, self.admission.quota_of_client(), Some(arrival));
    }

    fn take_place(&mut self, token: Token, quota: Quota, arrival: Option<Box<Arrival>>) {
        if let Some(connection) = self.roster.get_mut(token).filter(|connection| !connection.is_closing()) {
            self.admission.change(token, connection, quota);
            self.settle(token, arrival);
        }
    }

    /// Does what a connection's new place means.
    fn settle(&mut self, token: Token, arrival: Option<Box<Arrival>>) {
        let Some(connection) = self.roster.get(token) else {
            return;
        };
        match connection.quota {
            Quota::Http => self.roster.record_idle(token, Some(self.now.moment)),
            Quota::Client => self.admit(token, arrival),
            Quota::Queue => self.enqueue(token, arrival),
            Quota::Closing => self.refuse(token, CloseReason::Full),
            Quota::Refused => debug_assert!(false, "the quota of a connection that is refused at once"),
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    fn enqueue(&mut self, token: Token, arrival: Option<Box<Arrival>>) {
        self.admission.queue.push_back(Waiter { token, told: usize::MAX, arrival });
        self.admission.moved = true;
        let peer = self.roster.get(token).map_or(Host::LOCAL, |connection| connection.host);
        let (id, waiting, clients) = (token.serial, self.admission.queue.len(), self.admission.clients());
        log::info!("wait id={id} peer={peer} waiting={waiting} clients={clients}");
    }

    /// Sends a connection the reason why it can't be served, and closes it.
    fn refuse(&mut self, token: Token, reason: CloseReason) {
        let Some(connection) = self.roster.get(token) else {
            return;
        };
        let (host, is_http) = (connection.host, connection.dialect == Dialect::Http);
        self.log_refusal(Some(token), host, reason);
        if is_http {
            self.complain_of_address(token, reason);
        }
        self.roster.close(token, reason);
    }

    /// Logs the refusal of a connection, or of one that has no id; at most one a second of each address.
    pub(super) fn log_refusal(&mut self, token: Option<Token>, peer: Host, reason: CloseReason) {
        let Some(others) = self.admission.addresses.record_refusal(peer, self.now.moment) else {
            return;
        };
        let id = token.map_or_else(|| "-".to_string(), |token| token.serial.to_string());
        let (reason, clients) = (reason.as_str(), self.admission.clients());
        log::info!("refuse id={id} peer={peer} reason={reason} others={others} clients={clients}");
    }

    /// Logs the refusals that were counted and not logged.
    pub(super) fn log_refusals(&mut self) {
        for (peer, others) in self.admission.addresses.take_refusals(self.now.moment) {
            log::info!("refuse peer={peer} others={others} clients={}", self.admission.clients());
        }
    }

    /// A connection with a place is a client from now on.
    fn admit(&mut self, token: Token, arrival: Option<Box<Arrival>>) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        debug_assert_eq!(connection.state, State::Queued, "only a connection that waits is admitted");
        if self.inboxes.has(token.slot) || connection.ready.contains(Readiness::EOF) {
            connection.ready.insert(Readiness::BUFFERED);
        }
        let is_asked = arrival.is_some() || !self.config.guests;
        let naming = if is_asked { Naming::Asked(Silence::Unneeded) } else { Naming::Unasked };
        connection.set_state(State::Naming(naming), self.now.moment);
        let id = token.into();
        self.requester = Some((id, None));
        self.call_chat(|chat, now, effects| match arrival {
            None if is_asked => chat.connect(id, token.serial, now, effects),
            None => {}
            Some(arrival) => chat.enter(id, token.serial, *arrival, now, effects),
        });
        self.requester = None;
        self.record_catching_up(token);
    }

    /// Sends every client in the queue its position, if that is at most half of what it was sent last.
    fn send_positions(&mut self) {
        for index in 0..self.admission.queue.len() {
            let waiter = &mut self.admission.queue[index];
            let (token, quota) = (waiter.token, index + 1);
            if quota <= waiter.told / 2 {
                waiter.told = quota;
                self.tell(token, &Event::Waiting(quota));
            }
        }
    }
}
