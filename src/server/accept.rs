//! Arrivals: connections are accepted, counted by address, and given a place or a number in the queue. The only place
//! where a slot is taken.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Server;
use crate::config::Config;
use crate::connection::{Life, Place, Readiness};
use crate::host::Host;
use crate::net::{AcceptError, Door, DoorKind, Net, Peer, Token};
use crate::protocol::{Arrival, CloseReason, Dialect, Event, UniqueId};
use crate::time::Moment;

/// Connections accepted in one tick; more wait for the next, so that those who are in are served.
const ACCEPTS_A_TICK: usize = 256;

/// Pause after the process has run out of descriptors. The event that told of the connection does not come again, so
/// it is tried again after this, or as soon as a connection is freed.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is let in: the doors, the places, the queue, and the count by address.
#[derive(Debug)]
pub struct Gate {
    doors: Vec<DoorKind>,
    /// For each door, whether somebody may be at it.
    knocked: Vec<bool>,
    paused_until: Option<Moment>,
    clients: usize,
    max_clients: usize,
    queue: VecDeque<Waiter>,
    max_waiting: usize,
    /// Connections that speak HTTP, and are not clients.
    http: usize,
    max_http: usize,
    most_slots: usize,
    by_host: HashMap<Host, u32>,
    max_per_host: Option<u32>,
    /// Whether somebody has come or gone since the queue was last told its places.
    moved: bool,
}

/// A client in the queue, the place it was told, and how it will come in if it has said so already.
#[derive(Debug)]
struct Waiter {
    token: Token,
    told: usize,
    arrival: Option<Box<Arrival>>,
}

impl Gate {
    /// A gate with those doors and the limits of `config`.
    pub fn new(config: &Config, doors: Vec<DoorKind>) -> Gate {
        Gate {
            knocked: vec![false; doors.len()],
            doors,
            paused_until: None,
            clients: 0,
            max_clients: config.max_clients,
            queue: VecDeque::new(),
            max_waiting: config.max_waiting,
            http: 0,
            max_http: config.http_slots(),
            most_slots: config.most_slots(),
            by_host: HashMap::new(),
            max_per_host: *config.max_per_ip,
            moved: false,
        }
    }

    /// Somebody may be at that door.
    pub fn knock(&mut self, door: Door) {
        if let Some(knocked) = self.knocked.get_mut(door) {
            *knocked = true;
        }
    }

    /// Lets nobody in any more.
    pub fn close(&mut self) {
        self.knocked.clear();
        self.paused_until = None;
        self.queue.clear();
    }

    /// Whether something can be done at once, with so many slots taken.
    pub fn has_work(&self, slots: usize) -> bool {
        let open = |door: Door| self.knocked[door] && self.may_accept(door, slots);
        (self.paused_until.is_none() && (0..self.knocked.len()).any(open)) || self.can_admit()
    }

    /// When to try a door again that had more than there were descriptors for.
    pub fn retry_at(&self) -> Option<Moment> {
        self.paused_until
    }

    /// Clients that have a place.
    pub fn clients(&self) -> usize {
        self.clients
    }

    /// Clients that wait for one.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether a client that comes now gets a place at once.
    pub fn has_place(&self) -> bool {
        self.clients < self.max_clients
    }

    /// Whether a client that comes now is not sent away.
    pub fn has_place_or_queue(&self) -> bool {
        self.has_place() || self.queue.len() < self.max_waiting
    }

    /// Connections that speak HTTP.
    pub fn http(&self) -> usize {
        self.http
    }

    /// A connection ends. The place it had is free, and its host has one less.
    pub fn vacate(&mut self, token: Token, host: Host, place: Place) {
        if let Some(count) = self.by_host.get_mut(&host) {
            *count -= 1;
            if *count == 0 {
                self.by_host.remove(&host);
            }
        }
        self.leave(token, place);
    }

    /// A connection gives up its place.
    fn leave(&mut self, token: Token, place: Place) {
        match place {
            Place::None => {}
            Place::Client => self.clients -= 1,
            Place::Http => self.http -= 1,
            Place::Queue => {
                self.queue.retain(|waiter| waiter.token != token);
                self.moved = true;
            }
        }
    }

    /// A connection's slot, and with it a descriptor, is free.
    pub fn freed(&mut self) {
        self.paused_until = None;
    }

    /// Whether one more may come in by that door, with so many slots taken.
    fn may_accept(&self, door: Door, slots: usize) -> bool {
        let others = self.most_slots - self.max_http;
        match self.doors[door].dialect {
            Dialect::Http => slots < self.most_slots && self.http < self.max_http,
            _ => slots - self.http < others,
        }
    }

    fn can_admit(&self) -> bool {
        self.clients < self.max_clients && !self.queue.is_empty()
    }

    /// Counts a connection under its address; `false`, and not counted, if it is one too many.
    fn count(&mut self, host: Host) -> bool {
        let Some(max) = self.max_per_host.filter(|_| host != Host::LOCAL) else {
            return true;
        };
        let count = self.by_host.entry(host).or_default();
        let fits = *count < max;
        *count += u32::from(fits);
        fits
    }
}

impl<N: Net> Server<N> {
    /// Gives free places to those who wait, lets in who is at the doors, and tells the queue how it moved.
    pub(super) fn accept_all(&mut self) {
        while self.gate.can_admit() {
            if let Some(waiter) = self.gate.queue.pop_front() {
                self.gate.moved = true;
                self.admit(waiter.token, waiter.arrival);
            }
        }
        if self.gate.paused_until.is_some_and(|until| until <= self.now.moment) {
            self.gate.paused_until = None;
        }
        if self.gate.paused_until.is_none() {
            let mut budget = ACCEPTS_A_TICK;
            for door in 0..self.gate.knocked.len() {
                self.accept_at(door, &mut budget);
            }
        }
        if std::mem::take(&mut self.gate.moved) {
            self.tell_places();
        }
    }

    /// Accepts at one door until nobody is left, or budget, slots or descriptors are.
    fn accept_at(&mut self, door: Door, budget: &mut usize) {
        while self.gate.knocked[door] && *budget > 0 && self.gate.may_accept(door, self.roster.len()) {
            *budget -= 1;
            match self.net.accept(door) {
                Ok((stream, peer)) => self.receive(self.gate.doors[door], stream, peer),
                Err(error) => match AcceptError::from(&error) {
                    AcceptError::Nobody => self.gate.knocked[door] = false,
                    AcceptError::ThisOne => {
                        log::debug!("accept failed, going on error={:?}", error.to_string())
                    }
                    AcceptError::Exhausted => {
                        log::warn!(
                            "accept failed, trying again error={:?} pause_ms={}",
                            error.to_string(),
                            PAUSE.as_millis()
                        );
                        self.gate.paused_until = Some(self.now.moment + PAUSE);
                        return;
                    }
                },
            }
        }
    }

    /// Takes a slot for a new connection, and decides what becomes of it.
    fn receive(&mut self, door: DoorKind, mut stream: N::Stream, peer: Peer) {
        let host = Host::from(peer);
        if let Err(error) = self.net.watch(&mut stream, self.roster.next_token()) {
            log::warn!("connection refused, it can't be watched error={:?}", error.to_string());
            return;
        }
        let token = self.roster.insert(stream, host, door, self.now.moment);
        self.metrics.accepted += 1;
        if !self.gate.count(host) {
            self.uncount(token);
            self.refuse(token, host, CloseReason::TooManyFromAddress);
        } else if door.dialect == Dialect::Http {
            self.expect_requests(token);
        } else {
            self.seat(token, None);
        }
    }

    /// A connection that may ask for pages, or to be a client.
    fn expect_requests(&mut self, token: Token) {
        self.gate.http += 1;
        if let Some(connection) = self.roster.get_mut(token) {
            connection.place = Place::Http;
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Gives a connection that wants to be a client a place, or a number in the queue, or sends it away. `arrival` is what
    /// it has said of itself, if it spoke first.
    pub(super) fn seat(&mut self, token: Token, arrival: Option<Box<Arrival>>) {
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        self.gate.leave(token, std::mem::replace(&mut connection.place, Place::None));
        connection.set_life(Life::Waiting, self.now.moment);
        let host = connection.host;
        if self.gate.has_place() {
            self.admit(token, arrival);
        } else if self.gate.has_place_or_queue() {
            connection.place = Place::Queue;
            self.gate.queue.push_back(Waiter { token, told: usize::MAX, arrival });
            self.gate.moved = true;
            let (id, waiting, clients) = (token.serial, self.gate.queue.len(), self.gate.clients);
            log::info!("wait id={id} peer={host} waiting={waiting} clients={clients}");
            self.roster.wake(token);
            self.roster.arm(token);
        } else {
            self.refuse(token, host, CloseReason::Full);
        }
    }

    /// A connection that was not counted must not be counted off when it ends.
    fn uncount(&mut self, token: Token) {
        if let Some(connection) = self.roster.get_mut(token) {
            connection.host = Host::LOCAL;
        }
    }

    fn refuse(&mut self, token: Token, host: Host, reason: CloseReason) {
        let (id, reason_word, clients) = (token.serial, reason.as_str(), self.gate.clients);
        log::info!("refuse id={id} peer={host} reason={reason_word} clients={clients}");
        self.roster.doom(token, reason);
    }

    /// Gives a connection a place: it is a client from now on.
    fn admit(&mut self, token: Token, arrival: Option<Box<Arrival>>) {
        let Some(connection) = self.roster.get_mut(token).filter(|c| c.life == Life::Waiting) else {
            return;
        };
        connection.place = Place::Client;
        if self.inboxes.has(token.slot) || connection.ready.contains(Readiness::ENDED) {
            connection.ready.insert(Readiness::UNREAD);
        }
        connection.set_life(Life::Naming, self.now.moment);
        self.gate.clients += 1;
        let (door, host, clients) = (connection.dialect.as_str(), connection.host, self.gate.clients);
        log::info!("connect id={} peer={host} door={door} clients={clients}", token.serial);
        let id = token.into();
        let unique = UniqueId { process: self.process_id, serial: token.serial };
        self.ask_chat(|chat, now, effects| match arrival {
            None => chat.connect(id, now, effects),
            Some(arrival) => chat.enter(id, unique, *arrival, now, effects),
        });
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Tells everyone in the queue whose place is at most half of what it was told last.
    fn tell_places(&mut self) {
        for index in 0..self.gate.queue.len() {
            let waiter = &mut self.gate.queue[index];
            let (token, place) = (waiter.token, index + 1);
            if place <= waiter.told / 2 {
                waiter.told = place;
                self.tell(token, &Event::Waiting(place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_have_so_many_and_is_forgotten_with_the_last() {
        let mut gate = Gate::new(&Config::from_flags("--max-per-ip 2"), vec![DoorKind::LINE]);
        let host = Host::v4([10, 0, 0, 1]);
        assert_eq!([gate.count(host), gate.count(host), gate.count(host)], [true, true, false]);
        assert!(gate.count(Host::v4([10, 0, 0, 2])));
        assert!((0..100).all(|_| gate.count(Host::LOCAL)));
        let token = Token { slot: 0, serial: 0 };
        (0..2).for_each(|_| gate.vacate(token, host, Place::None));
        assert_eq!(gate.by_host.len(), 1);
    }
}
