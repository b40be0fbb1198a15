//! All connections, and the queues of work for them: [`Roster`].
//!
//! It has the slots: only `server/accept.rs` takes one, and only `server/close.rs` frees one. A connection is in each queue
//! at most once, and a phase of the tick takes a queue whole, or its first part. Work that is queued meanwhile waits for a
//! later phase or the next tick.

mod rates;

use std::mem::{replace, take};

use slab::Slab;

use crate::arena::Copies;
use crate::chat::ClientId;
use crate::connection::{Connection, Due, InputUse, Priority, Pushed, Readiness, Schedule, State};
use crate::limits::Limits;
use crate::net::{ListenerKind, Token};
use crate::outbox::Appended;
use crate::pressure::Pressure;
use crate::protocol::CloseReason;
use crate::quota::Claim;
use crate::rate::{AddressRates, ClientRates};
use crate::time::Moment;
use crate::timers::Timers;

impl From<Token> for ClientId {
    /// A client's id in the chat is its slot: it leaves the chat before the slot is freed.
    fn from(token: Token) -> ClientId {
        ClientId(token.slot)
    }
}

/// The connection of a client of the chat, for callers that use other fields of the roster at the same time.
#[inline]
#[track_caller]
fn client_in<S>(connections: &mut Slab<Connection<S>>, id: ClientId) -> Option<&mut Connection<S>> {
    let connection = connections.get_mut(id.0 as usize);
    debug_assert!(connection.is_some(), "the slot of {id:?} is free");
    connection
}

/// The connections of a server.
#[derive(Debug)]
pub struct Roster<S> {
    connections: Slab<Connection<S>>,
    next_serial: u32,
    runnable: Vec<Token>,
    /// Connections with a flush due, in the order in which it became due.
    dirty: Vec<Token>,
    /// Connections with queued output whose sockets are full. Clients whose socket is full are not part of a flush.
    blocked: Vec<Token>,
    /// The number of connections that were ever taken out of these two queues.
    flushed: u64,
    /// Connections to close or to free.
    reapable: Vec<Token>,
    /// For each connection with a deadline, a time at or before it.
    timers: Timers,
    /// The time at which each closing connection began to close.
    closing: Timers,
    /// The time since which each idle HTTP connection has been without a request.
    idle: Timers,
    rates: ClientRates,
    address_rates: AddressRates,
    pressure: Pressure,
    limits: Limits,
}

impl<S> Roster<S> {
    /// No connections, and room for `slots` of them.
    pub fn new(slots: usize, limits: Limits) -> Roster<S> {
        Roster {
            connections: Slab::with_capacity(slots),
            next_serial: 0,
            runnable: Vec::new(),
            dirty: Vec::new(),
            blocked: Vec::new(),
            flushed: 0,
            reapable: Vec::new(),
            timers: Timers::with_capacity(slots),
            closing: Timers::default(),
            idle: Timers::default(),
            rates: ClientRates::new(limits.throttles, slots),
            address_rates: AddressRates::new(limits.address_throttles),
            pressure: Pressure::default(),
            limits,
        }
    }

    /// Replaces the limits. All buckets become full, and deadlines that are earlier now get a timer.
    pub fn set_limits(&mut self, limits: Limits, now: Moment) {
        self.limits = limits;
        self.rates.set_throttles(limits.throttles, now);
        self.address_rates = AddressRates::new(limits.address_throttles);
        let tokens: Vec<Token> = self.iter().map(|(token, _)| token).collect();
        tokens.into_iter().for_each(|token| self.arm(token));
    }

    /// The token that the next [`Roster::insert`] returns.
    pub fn next_token(&self) -> Token {
        Token { slot: self.connections.vacant_key() as u32, serial: self.next_serial }
    }

    /// Takes a slot for a connection that was accepted and counted.
    pub fn insert(&mut self, stream: S, claim: Claim, listener: ListenerKind, now: Moment) -> Token {
        let token = self.next_token();
        self.connections.insert(Connection::new(stream, token.serial, claim, listener, now));
        self.next_serial = self.next_serial.wrapping_add(1);
        token
    }

    /// Frees a slot.
    pub fn remove(&mut self, token: Token, now: Moment) -> Option<Connection<S>> {
        self.live(token)?;
        self.timers.remove(token.slot);
        self.closing.remove(token.slot);
        self.idle.remove(token.slot);
        self.pressure.remove(token.into(), now);
        self.rates.remove(token.slot);
        self.connections.try_remove(token.slot as usize)
    }

    /// The connection, unless it was freed. Tokens in queues and poll events may outlive their connection.
    pub fn get(&self, token: Token) -> Option<&Connection<S>> {
        self.connections.get(token.slot as usize).filter(|connection| connection.serial == token.serial)
    }

    /// The connection, unless it was freed.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut Connection<S>> {
        self.connections.get_mut(token.slot as usize).filter(|connection| connection.serial == token.serial)
    }

    /// The connection of a token that can't be stale: only `server/close.rs` frees connections, and has not done so since the
    /// caller got the token. Debug builds check it. Release builds skip a connection that is missing all the same.
    #[inline]
    #[track_caller]
    pub fn live(&self, token: Token) -> Option<&Connection<S>> {
        let connection = self.get(token);
        debug_assert!(connection.is_some(), "{token:?} was freed before its last use");
        connection
    }

    /// The same, to be changed.
    #[inline]
    #[track_caller]
    pub fn live_mut(&mut self, token: Token) -> Option<&mut Connection<S>> {
        let connection = self.get_mut(token);
        debug_assert!(connection.is_some(), "{token:?} was freed before its last use");
        connection
    }

    /// The connection of a client of the chat, which leaves the chat before its slot is freed.
    #[inline]
    #[track_caller]
    pub fn client_mut(&mut self, id: ClientId) -> Option<&mut Connection<S>> {
        client_in(&mut self.connections, id)
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

    /// The number of connections in all states.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Queues a turn for a connection that can use one.
    pub fn wake(&mut self, token: Token) {
        let limits = self.limits;
        let Some(connection) = self.live_mut(token) else {
            return;
        };
        if !connection.schedule.contains(Schedule::RUNNABLE) && connection.is_runnable(&limits) {
            connection.schedule.insert(Schedule::RUNNABLE);
            self.runnable.push(token);
        }
    }

    /// Queues a flush for a client.
    #[inline]
    pub fn mark_dirty(&mut self, id: ClientId) {
        let Some(connection) = client_in(&mut self.connections, id) else {
            return;
        };
        if !connection.schedule.contains(Schedule::DIRTY) {
            connection.schedule.insert(Schedule::DIRTY);
            let is_writable = connection.ready.contains(Readiness::WRITABLE);
            let queue = if is_writable { &mut self.dirty } else { &mut self.blocked };
            queue.push(Token { slot: id.0, serial: connection.serial });
        }
    }

    /// Queues a copy for a client, and a flush.
    pub fn push(&mut self, id: ClientId, copies: &mut Copies, priority: Priority) -> Pushed {
        let Some(connection) = client_in(&mut self.connections, id) else {
            return Pushed::Closing;
        };
        let pushed = connection.push(copies, priority, &self.limits);
        if pushed == Pushed::Queued {
            self.mark_dirty(id);
        }
        pushed
    }

    /// Queues a copy for each of `ids`, and returns the clients whose write buffers have no room for it.
    ///
    /// This loop is most of the cost of a busy room. As a function of its own it has all that does not change in registers,
    /// and exceptions are handled elsewhere. `benches/instructions.rs` counts it.
    #[inline(never)]
    pub fn broadcast(&mut self, ids: &[ClientId], copies: &mut Copies, full: &mut Vec<ClientId>) {
        let most_queued_bytes = self.limits.hard_bytes.saturating_sub(copies.len() as u32);
        for id in ids {
            let Some(connection) = client_in(&mut self.connections, *id) else {
                continue;
            };
            match connection.append(copies, most_queued_bytes) {
                Appended::Behind => {
                    debug_assert!(connection.schedule.contains(Schedule::DIRTY), "it waits for a flush");
                    continue;
                }
                Appended::First => {
                    if !connection.schedule.contains(Schedule::DIRTY) {
                        connection.schedule.insert(Schedule::DIRTY);
                        self.dirty.push(Token { slot: id.0, serial: connection.serial });
                    }
                    continue;
                }
                Appended::No => {}
            }
            if self.push(*id, copies, Priority::Droppable) == Pushed::Full {
                full.push(*id);
            }
        }
    }

    /// Closes a connection at the next reaping. The first reason stands, so this does nothing for a closing connection.
    pub fn close(&mut self, token: Token, reason: CloseReason) {
        if let Some(connection) = self.live_mut(token).filter(|connection| !connection.is_closing()) {
            connection.set_state(State::Closing(reason));
            self.reapable.push(token);
        }
    }

    /// Frees a connection at the next reaping if it is draining or lingering, and sends it nothing more.
    pub fn abort(&mut self, token: Token) {
        let may_abort = |state| matches!(state, State::Draining(_) | State::Lingering);
        if let Some(connection) = self.live_mut(token).filter(|connection| may_abort(connection.state())) {
            connection.set_state(State::Closed);
            self.reapable.push(token);
        }
    }

    /// Records that a connection has left the chat, and is closing from `now` on.
    pub fn record_closing(&mut self, token: Token, now: Moment) {
        self.idle.remove(token.slot);
        self.closing.set(token.slot, now);
    }

    /// The connection that has been closing for longest, and the time at which it began to.
    pub fn oldest_closing(&self) -> Option<(Moment, Token)> {
        self.oldest(&self.closing)
    }

    /// Records that an HTTP connection is idle from `now` on, or that it is busy.
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
        Some((since, self.live_token(ClientId(slot))?))
    }

    /// The token of a client of the chat, or of a connection in a table, from which [`Roster::remove`] removes it.
    #[inline]
    #[track_caller]
    pub fn live_token(&self, id: ClientId) -> Option<Token> {
        let token = self.token(id);
        debug_assert!(token.is_some(), "the slot of {id:?} is free");
        token
    }

    /// Takes the queue of turns. The turn itself clears [`Schedule::RUNNABLE`].
    pub fn take_runnable(&mut self) -> Vec<Token> {
        take(&mut self.runnable)
    }

    /// Takes the first `most` of the queue of flushes. The flush itself clears [`Schedule::DIRTY`].
    pub fn take_dirty(&mut self, most: usize) -> Vec<Token> {
        let rest = self.dirty.split_off(most.min(self.dirty.len()));
        let taken = replace(&mut self.dirty, rest);
        self.flushed += taken.len() as u64;
        taken
    }

    /// Takes the connections with queued output whose sockets are full. They cost no write, so [`Roster::dirty`] does not
    /// count them.
    pub fn take_blocked(&mut self) -> Vec<Token> {
        self.flushed += self.blocked.len() as u64;
        take(&mut self.blocked)
    }

    /// The number of flushes that were ever queued.
    pub fn marked_dirty(&self) -> u64 {
        self.flushed + (self.dirty.len() + self.blocked.len()) as u64
    }

    /// The number of connections with a flush due, and a socket that may be writable.
    pub fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// Takes the connections to close or to free.
    pub fn take_reapable(&mut self) -> Vec<Token> {
        take(&mut self.reapable)
    }

    /// Whether a turn is due.
    pub fn has_runnable(&self) -> bool {
        !self.runnable.is_empty() || self.pressure.has_released()
    }

    /// Whether the next tick has work already.
    pub fn has_work(&self) -> bool {
        !(self.runnable.is_empty()
            && self.dirty.is_empty()
            && self.blocked.is_empty()
            && self.reapable.is_empty()
            && !self.pressure.has_released())
    }

    /// Sets a timer for a connection's deadline, unless one fires before. A timer that fires too early is set again, so
    /// deadlines may move back for free.
    pub fn arm(&mut self, token: Token) {
        let deadline = self.live(token).and_then(|connection| connection.deadline(&self.limits));
        if let Some((moment, _)) = deadline
            && self.timers.get(token.slot).is_none_or(|timer| moment < timer)
        {
            self.timers.set(token.slot, moment);
        }
    }

    /// The time of the next deadline, or of the next end of a wait.
    pub fn next_deadline(&mut self) -> Option<Moment> {
        let head = self.head().map(|(moment, ..)| moment);
        let others =
            [self.rates.next_deadline(), self.pressure.next_deadline(), self.address_rates.next_timeout()];
        head.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// The first timer at whose time a connection has a deadline, and its event. Timers that are too early are set again on
    /// the way.
    fn head(&mut self) -> Option<(Moment, u32, Due)> {
        loop {
            let (timer, slot) = self.timers.first()?;
            let connection = self.connections.get(slot as usize);
            debug_assert!(connection.is_some(), "the free slot {slot} has a timer");
            match connection.and_then(|connection| connection.deadline(&self.limits)) {
                Some((moment, due)) if moment <= timer => return Some((timer, slot, due)),
                Some((later, _)) => self.timers.set(slot, later),
                // The deadline has been lifted since.
                None => self.timers.remove(slot),
            }
        }
    }

    /// The next connection whose deadline has come by `now`, and its event. [`Roster::arm`] it again afterwards.
    pub fn next_due(&mut self, now: Moment) -> Option<(Token, Due)> {
        let (_, slot, due) = self.head().filter(|(moment, ..)| *moment <= now)?;
        self.timers.remove(slot);
        Some((self.live_token(ClientId(slot))?, due))
    }

    /// Checks that each connection with work is in the queue for it, as it must be between ticks.
    ///
    /// # Panics
    /// If one is not.
    pub fn assert_invariants(&self) {
        for (token, connection) in self.iter() {
            let Connection { schedule, ready, outbox, .. } = connection;
            let state = connection.state();
            assert!(
                state == State::Queued || connection.has_its_quota(),
                "{token:?} is {state:?} in the quota {:?}",
                connection.claim.quota()
            );
            let is_runnable = connection.is_runnable(&self.limits);
            assert!(
                !is_runnable || schedule.contains(Schedule::RUNNABLE),
                "{token:?} has input but no turn: {state:?} {ready:?}"
            );
            let can_flush = !outbox.is_empty() && ready.contains(Readiness::WRITABLE);
            let is_reapable = matches!(state, State::Closing(_) | State::Closed);
            assert!(
                !can_flush || schedule.contains(Schedule::DIRTY) || is_reapable,
                "{token:?} has output but no flush: {state:?} {ready:?}"
            );
            let timer = self.timers.get(token.slot);
            let is_armed = |(moment, _)| timer.is_some_and(|timer| timer <= moment);
            let deadline = connection.deadline(&self.limits);
            assert!(deadline.is_none_or(is_armed), "{token:?} has a deadline and no timer: {state:?}");
            let is_throttled = connection.is_throttled() && connection.rules().input == InputUse::Decoded;
            assert!(
                !is_throttled || self.rates.is_waiting(token.slot),
                "{token:?} is throttled without an end"
            );
            let is_paused = schedule.contains(Schedule::PAUSED);
            assert!(!is_paused || self.pressure.is_waiting(token), "{token:?} is paused without an end");
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
        let reapable = marked(|c| matches!(c.state(), State::Closing(_) | State::Closed));
        assert_eq!(
            self.reapable.iter().filter(in_queue).count(),
            reapable,
            "states and the queue of the reaper differ"
        );
    }

    /// The tables whose keys are the slots of connections.
    pub fn tables(&self) -> Vec<(&'static str, Vec<u32>)> {
        let times = [("deadlines", &self.timers), ("closing", &self.closing), ("idle", &self.idle)];
        let times = times.map(|(name, timers)| (name, timers.slots().collect()));
        times.into_iter().chain(self.rates.tables()).chain(self.pressure.tables()).collect()
    }

    /// The number of timers.
    pub fn armed_timers(&self) -> usize {
        self.timers.len()
    }
}
