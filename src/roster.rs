//! All connections, and what there is to do for them: [`Roster`].
//!
//! The only place where a slot is taken or freed. Work is noted in queues, each connection at most once in each, and a
//! phase of the tick takes a queue whole, or its first part: what is noted meanwhile waits for a later phase or the next
//! tick.

mod rates;

use std::mem::{replace, take};

use slab::Slab;

use crate::arena::Slice;
use crate::chat::ClientId;
use crate::connection::{Connection, Priority, Pushed, Quota, Readiness, Schedule, State};
use crate::host::Host;
use crate::limits::Limits;
use crate::net::{ListenerKind, Token};
use crate::outbox::Appended;
use crate::pressure::Pressure;
use crate::protocol::CloseReason;
use crate::rate::{AddressRates, Meter};
use crate::time::Moment;
use crate::timers::Timers;

impl From<Token> for ClientId {
    /// A client's id in the chat is its slot: it leaves the chat before the slot is freed.
    fn from(token: Token) -> ClientId {
        ClientId(token.slot)
    }
}

/// The connections of a server.
#[derive(Debug)]
pub struct Roster<S> {
    connections: Slab<Connection<S>>,
    next_serial: u32,
    runnable: Vec<Token>,
    /// Who has something to flush. Who has waited longest first.
    dirty: Vec<Token>,
    /// Who has, too, but with a socket that takes nothing.
    blocked: Vec<Token>,
    /// How many were ever taken out of these two.
    flushed: u64,
    doomed: Vec<Token>,
    timers: Timers,
    /// The time at which each closing connection began to close.
    closing: Timers,
    /// The time since which each idle HTTP connection has been without a request.
    idle: Timers,
    meter: Meter,
    address_rates: AddressRates,
    pressure: Pressure,
    limits: Limits,
}

impl<S> Roster<S> {
    /// No connections, but room for `slots` of them, which will be held to `limits`.
    pub fn new(slots: usize, limits: Limits) -> Roster<S> {
        Roster {
            connections: Slab::with_capacity(slots),
            next_serial: 0,
            runnable: Vec::new(),
            dirty: Vec::new(),
            blocked: Vec::new(),
            flushed: 0,
            doomed: Vec::new(),
            timers: Timers::with_capacity(slots),
            closing: Timers::default(),
            idle: Timers::default(),
            meter: Meter::new(limits.throttles, slots),
            address_rates: AddressRates::new(limits.address_throttles),
            pressure: Pressure::default(),
            limits,
        }
    }

    /// The token that the next [`Roster::insert`] will give.
    pub fn next_token(&self) -> Token {
        Token { slot: self.connections.vacant_key() as u32, serial: self.next_serial }
    }

    /// Takes a slot.
    pub fn insert(
        &mut self,
        stream: S,
        host: Host,
        listener: ListenerKind,
        quota: Quota,
        now: Moment,
    ) -> Token {
        let token = self.next_token();
        self.connections.insert(Connection::new(stream, token.serial, host, listener, quota, now));
        self.next_serial = self.next_serial.wrapping_add(1);
        token
    }

    /// Frees a slot.
    pub fn remove(&mut self, token: Token, now: Moment) -> Option<Connection<S>> {
        self.get(token)?;
        self.timers.remove(token.slot);
        self.closing.remove(token.slot);
        self.idle.remove(token.slot);
        self.pressure.forget(token.into(), now);
        self.meter.forget(token.slot);
        self.connections.try_remove(token.slot as usize)
    }

    /// The connection, if it is still that one.
    pub fn get(&self, token: Token) -> Option<&Connection<S>> {
        self.connections.get(token.slot as usize).filter(|connection| connection.serial == token.serial)
    }

    /// The connection, if it is still that one.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut Connection<S>> {
        self.connections.get_mut(token.slot as usize).filter(|connection| connection.serial == token.serial)
    }

    /// The connection of a client of the chat.
    #[inline]
    pub fn client_mut(&mut self, id: ClientId) -> Option<&mut Connection<S>> {
        self.connections.get_mut(id.0 as usize)
    }

    /// The token of a client of the chat.
    pub fn token(&self, id: ClientId) -> Option<Token> {
        let connection = self.connections.get(id.0 as usize)?;
        Some(Token { slot: id.0, serial: connection.serial })
    }

    /// All connections, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &Connection<S>)> {
        let token = |slot: usize, serial| Token { slot: slot as u32, serial };
        self.connections.iter().map(move |(slot, connection)| (token(slot, connection.serial), connection))
    }

    /// All connections, in the order of their slots.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut Connection<S>)> {
        let token = |slot: usize, serial| Token { slot: slot as u32, serial };
        self.connections
            .iter_mut()
            .map(move |(slot, connection)| (token(slot, connection.serial), connection))
    }

    /// How many connections there are, in whatever life.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Gives a connection a turn if it wants one.
    pub fn wake(&mut self, token: Token) {
        let limits = self.limits;
        let Some(connection) = self.get_mut(token) else {
            return;
        };
        if !connection.schedule.contains(Schedule::RUNNABLE) && connection.is_runnable(&limits) {
            connection.schedule.insert(Schedule::RUNNABLE);
            self.runnable.push(token);
        }
    }

    /// Notes that a client's outbox has something to flush.
    #[inline]
    pub fn mark_dirty(&mut self, id: ClientId) {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else {
            return;
        };
        if !connection.schedule.contains(Schedule::DIRTY) {
            connection.schedule.insert(Schedule::DIRTY);
            let takes_something = connection.ready.contains(Readiness::WRITABLE);
            let queue = if takes_something { &mut self.dirty } else { &mut self.blocked };
            queue.push(Token { slot: id.0, serial: connection.serial });
        }
    }

    /// Queues a slice of so many frames for a client, and a flush.
    pub fn push(&mut self, id: ClientId, slice: Slice, frames: usize, kind: Priority) -> Pushed {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else {
            return Pushed::Closing;
        };
        let pushed = connection.push(slice, frames, kind, &self.limits);
        if pushed == Pushed::Queued {
            self.mark_dirty(id);
        }
        pushed
    }

    /// Queues a slice of so many messages for all of `ids`, and tells how many have it. In `full` it notes those that had
    /// no room for all of it.
    ///
    /// This loop is what a member of a busy room costs, so it is a function of its own: in here everything that does not
    /// change is in a register, and whoever is not as most are is dealt with elsewhere. `benches/instructions.rs` counts it.
    #[inline(never)]
    pub fn broadcast(
        &mut self,
        ids: &[ClientId],
        slice: Slice,
        frames: usize,
        full: &mut Vec<ClientId>,
    ) -> usize {
        let most_queued_bytes = self.limits.hard_bytes.saturating_sub(slice.len() as u32);
        let mut queued = 0;
        for id in ids {
            let Some(connection) = self.connections.get_mut(id.0 as usize) else {
                continue;
            };
            match connection.append(slice, frames, most_queued_bytes) {
                Appended::Behind => {
                    debug_assert!(connection.schedule.contains(Schedule::DIRTY), "it waits for a flush");
                    queued += 1;
                    continue;
                }
                Appended::First => {
                    queued += 1;
                    if !connection.schedule.contains(Schedule::DIRTY) {
                        connection.schedule.insert(Schedule::DIRTY);
                        self.dirty.push(Token { slot: id.0, serial: connection.serial });
                    }
                    continue;
                }
                Appended::No => {}
            }
            match self.push(*id, slice, frames, Priority::Droppable) {
                Pushed::Queued => queued += 1,
                Pushed::Full => full.push(*id),
                Pushed::Closing => {}
            }
        }
        queued
    }

    /// Sentences a connection to be closed at the next reaping. The first reason stands.
    pub fn close(&mut self, token: Token, reason: CloseReason) {
        let Some(connection) = self.get_mut(token).filter(|connection| !connection.is_closing()) else {
            return;
        };
        connection.state = State::Closing(reason);
        self.doomed.push(token);
    }

    /// Sentences a connection to be freed at the next reaping, with no further word.
    pub fn forget(&mut self, token: Token) {
        match self.get_mut(token) {
            Some(connection) if matches!(connection.state, State::Draining(_) | State::Lingering) => {
                connection.state = State::Closed;
                self.doomed.push(token);
            }
            _ => {}
        }
    }

    /// Records that a connection has left the chat and closes from `now` on.
    pub fn record_closing(&mut self, token: Token, now: Moment) {
        self.idle.remove(token.slot);
        self.closing.set(token.slot, now);
    }

    /// The connection that has been closing for longest, and the time at which it began to.
    pub fn oldest_closing(&self) -> Option<(Moment, Token)> {
        self.oldest(&self.closing)
    }

    /// Records that an HTTP connection has no request at hand from `now` on, or else that it is busy.
    pub fn record_idle(&mut self, token: Token, now: Option<Moment>) {
        match now {
            Some(now) => self.idle.set(token.slot, now),
            None => self.idle.remove(token.slot),
        }
    }

    /// The HTTP connection that has been idle for longest, and the time since which it has been.
    pub fn longest_idle(&self) -> Option<(Moment, Token)> {
        self.oldest(&self.idle)
    }

    fn oldest(&self, times: &Timers) -> Option<(Moment, Token)> {
        let (since, slot) = times.first()?;
        self.token(ClientId(slot)).map(|token| (since, token))
    }

    /// Whoever has a turn coming. The mark is cleared with [`Schedule`] when the turn comes.
    pub fn take_runnable(&mut self) -> Vec<Token> {
        take(&mut self.runnable)
    }

    /// Those `most` who have had something to flush for longest. The mark is cleared with
    /// [`Schedule`] when it is.
    pub fn take_dirty(&mut self, most: usize) -> Vec<Token> {
        let rest = self.dirty.split_off(most.min(self.dirty.len()));
        let taken = replace(&mut self.dirty, rest);
        self.flushed += taken.len() as u64;
        taken
    }

    /// Those who have something to flush that nobody will take. To see to them costs no write, so they are no part of
    /// [`Roster::dirty`]. The mark is the same.
    pub fn take_blocked(&mut self) -> Vec<Token> {
        self.flushed += self.blocked.len() as u64;
        take(&mut self.blocked)
    }

    /// How often an outbox with nothing to flush has got something.
    pub fn marked_dirty(&self) -> u64 {
        self.flushed + (self.dirty.len() + self.blocked.len()) as u64
    }

    /// How many have something to flush, and sockets that may take it.
    pub fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// Whoever is to be closed or freed.
    pub fn take_closing(&mut self) -> Vec<Token> {
        take(&mut self.doomed)
    }

    /// Whether somebody has a turn coming.
    pub fn has_runnable(&self) -> bool {
        !self.runnable.is_empty() || self.pressure.has_released()
    }

    /// Whether the next tick has work already.
    pub fn has_work(&self) -> bool {
        !(self.runnable.is_empty()
            && self.dirty.is_empty()
            && self.blocked.is_empty()
            && self.doomed.is_empty()
            && !self.pressure.has_released())
    }

    /// Makes sure that a connection's deadline is noticed.
    pub fn arm(&mut self, token: Token) {
        let Some((moment, _)) = self.get(token).and_then(|connection| connection.deadline(&self.limits))
        else {
            return;
        };
        if self.timers.get(token.slot).is_none_or(|guess| moment < guess) {
            self.timers.set(token.slot, moment);
        }
    }

    /// When the next deadline comes, or the end of a wait.
    pub fn next_deadline(&mut self) -> Option<Moment> {
        let head = self.head().map(|(moment, _)| moment);
        let others =
            [self.meter.next_deadline(), self.pressure.next_deadline(), self.address_rates.next_timeout()];
        head.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// The earliest guess that is none, but a deadline. Those that are none are mended on the way.
    fn head(&mut self) -> Option<(Moment, u32)> {
        loop {
            let (guess, slot) = self.timers.first()?;
            let connection = self.connections.get(slot as usize);
            match connection.and_then(|connection| connection.deadline(&self.limits)) {
                Some((moment, _)) if moment <= guess => return Some((guess, slot)),
                Some((later, _)) => self.timers.set(slot, later),
                None => self.timers.remove(slot),
            }
        }
    }

    /// The next connection whose deadline has come by `now`. [`Roster::arm`] it again afterwards.
    pub fn next_due(&mut self, now: Moment) -> Option<Token> {
        let (_, slot) = self.head().filter(|(moment, _)| *moment <= now)?;
        self.timers.remove(slot);
        self.token(ClientId(slot))
    }

    /// Checks what must hold between ticks: whatever has something to do is in the queue for it.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn assert_invariants(&self) {
        for (token, connection) in self.iter() {
            let Connection { state, schedule, ready, outbox, .. } = connection;
            let is_runnable = connection.is_runnable(&self.limits);
            assert!(
                !is_runnable || schedule.contains(Schedule::RUNNABLE),
                "{token:?} has input but no turn: {state:?} {ready:?}"
            );
            let wants_flush = !outbox.is_empty() && ready.contains(Readiness::WRITABLE);
            let doomed = matches!(state, State::Closing(_) | State::Closed);
            assert!(
                !wants_flush || schedule.contains(Schedule::DIRTY) || doomed,
                "{token:?} has output but no flush: {state:?} {ready:?}"
            );
            let guess = self.timers.get(token.slot);
            let noticed = |(moment, _)| guess.is_some_and(|guess| guess <= moment);
            let deadline = connection.deadline(&self.limits);
            assert!(
                deadline.is_none_or(noticed),
                "{token:?} has a deadline that nobody waits for: {state:?}"
            );
            let waits = connection.is_over_rate() && connection.decodes_input();
            assert!(!waits || self.meter.waits(token.slot), "{token:?} waits, and for nothing");
            let held = schedule.contains(Schedule::PAUSED);
            assert!(!held || self.pressure.waits(token), "{token:?} is held, and nothing will release it");
        }
        let in_queue = |token: &&Token| self.get(**token).is_some();
        let marked = |mark: fn(&Connection<S>) -> bool| self.iter().filter(|(_, c)| mark(c)).count();
        assert_eq!(
            self.runnable.iter().filter(in_queue).count(),
            marked(|c| c.schedule.contains(Schedule::RUNNABLE)),
            "marks and the queue of turns differ"
        );
        assert_eq!(
            self.dirty.iter().chain(&self.blocked).filter(in_queue).count(),
            marked(|c| c.schedule.contains(Schedule::DIRTY)),
            "marks and the queues of flushes differ"
        );
        let doomed = marked(|c| matches!(c.state, State::Closing(_) | State::Closed));
        assert_eq!(
            self.doomed.iter().filter(in_queue).count(),
            doomed,
            "marks and the queue of the doomed differ"
        );
    }

    /// The tables here that have the slots of connections as their keys.
    pub fn tables(&self) -> Vec<(&'static str, Vec<u32>)> {
        let times = [("deadlines", &self.timers), ("closing", &self.closing), ("idle", &self.idle)];
        let times = times.map(|(name, timers)| (name, timers.slots().collect()));
        times.into_iter().chain(self.meter.tables()).chain(self.pressure.tables()).collect()
    }

    /// Guesses in the timers.
    pub fn armed_timers(&self) -> usize {
        self.timers.len()
    }
}
