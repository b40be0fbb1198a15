//! All connections, and what there is to do for them: [`Roster`].
//!
//! The only place where a slot is taken or freed. Work is noted in queues, each connection at most once in each, and a
//! phase of the tick takes a queue whole, or its first part: what is noted meanwhile waits for a later phase or the next
//! tick.

use std::mem::{replace, take};

use slab::Slab;

use crate::chat::ClientId;
use crate::connection::{Connection, Kind, Life, NEVER, Pushed};
use crate::host::Host;
use crate::limits::Limits;
use crate::net::Token;
use crate::page::Slice;
use crate::protocol::{CloseReason, Dialect};
use crate::time::Moment;
use crate::timers::{Guess, Timers};

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
    /// Who has waited longest first.
    dirty: Vec<Token>,
    /// How many were ever taken out of it.
    flushed: u64,
    doomed: Vec<Token>,
    timers: Timers,
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
            flushed: 0,
            doomed: Vec::new(),
            timers: Timers::default(),
            limits,
        }
    }

    /// The token that the next [`Roster::insert`] will give.
    pub fn next_token(&self) -> Token {
        Token { slot: self.connections.vacant_key() as u32, serial: self.next_serial }
    }

    /// Takes a slot.
    pub fn insert(&mut self, stream: S, host: Host, dialect: Dialect, now: Moment) -> Token {
        let token = self.next_token();
        self.connections.insert(Connection::new(stream, token.serial, host, dialect, now));
        self.next_serial = self.next_serial.wrapping_add(1);
        token
    }

    /// Frees a slot.
    pub fn remove(&mut self, token: Token) -> Option<Connection<S>> {
        self.get(token)?;
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
        if !connection.queued.runnable && connection.wants_turn(&limits) {
            connection.queued.runnable = true;
            self.runnable.push(token);
        }
    }

    /// Notes that a client's outbox has something to flush.
    #[inline]
    pub fn mark_dirty(&mut self, id: ClientId) {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else {
            return;
        };
        if !connection.queued.dirty {
            connection.queued.dirty = true;
            self.dirty.push(Token { slot: id.0, serial: connection.serial });
        }
    }

    /// Queues a slice of so many frames for a client, and a flush.
    pub fn push(&mut self, id: ClientId, slice: Slice, frames: usize, kind: Kind) -> Pushed {
        let Some(connection) = self.connections.get_mut(id.0 as usize) else {
            return Pushed::Deaf;
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
            if connection.append(slice, frames, most_queued_bytes) {
                queued += 1;
                if !connection.queued.dirty {
                    connection.queued.dirty = true;
                    self.dirty.push(Token { slot: id.0, serial: connection.serial });
                }
                continue;
            }
            match self.push(*id, slice, frames, Kind::Message) {
                Pushed::Queued => queued += 1,
                Pushed::Full => full.push(*id),
                Pushed::Deaf => {}
            }
        }
        queued
    }

    /// Sentences a connection to be closed at the next reaping. The first reason stands.
    pub fn doom(&mut self, token: Token, reason: CloseReason) {
        let Some(connection) = self.get_mut(token).filter(|connection| !connection.is_closing()) else {
            return;
        };
        connection.life = Life::Doomed(reason);
        self.doomed.push(token);
    }

    /// Sentences a connection to be freed at the next reaping, with no further word.
    pub fn forget(&mut self, token: Token) {
        match self.get_mut(token) {
            Some(connection) if matches!(connection.life, Life::Draining(_) | Life::Lingering) => {
                connection.life = Life::Gone;
                self.doomed.push(token);
            }
            _ => {}
        }
    }

    /// Whoever has a turn coming. The mark is cleared with [`Queued`](crate::connection::Queued) when the turn comes.
    pub fn take_runnable(&mut self) -> Vec<Token> {
        take(&mut self.runnable)
    }

    /// Those `most` who have had something to flush for longest. The mark is cleared with
    /// [`Queued`](crate::connection::Queued) when it is.
    pub fn take_dirty(&mut self, most: usize) -> Vec<Token> {
        let rest = self.dirty.split_off(most.min(self.dirty.len()));
        let taken = replace(&mut self.dirty, rest);
        self.flushed += taken.len() as u64;
        taken
    }

    /// How often an outbox with nothing to flush has got something.
    pub fn marked_dirty(&self) -> u64 {
        self.flushed + self.dirty.len() as u64
    }

    /// How many have something to flush.
    pub fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// Whoever is to be closed or freed.
    pub fn take_doomed(&mut self) -> Vec<Token> {
        take(&mut self.doomed)
    }

    /// Whether somebody has a turn coming.
    pub fn has_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }

    /// Whether the next tick has work already.
    pub fn has_work(&self) -> bool {
        !(self.runnable.is_empty() && self.dirty.is_empty() && self.doomed.is_empty())
    }

    /// Makes sure that a connection's deadline is noticed.
    pub fn arm(&mut self, token: Token) {
        let limits = self.limits;
        let Some(connection) = self.get_mut(token) else {
            return;
        };
        if let Some((moment, _)) = connection.deadline(&limits)
            && moment < connection.armed
        {
            connection.armed = moment;
            self.timers.push(moment, token);
        }
    }

    /// When the next deadline comes.
    pub fn next_deadline(&mut self) -> Option<Moment> {
        self.head().map(|(moment, _)| moment)
    }

    fn head(&mut self) -> Option<(Moment, Token)> {
        let Roster { connections, timers, limits, .. } = self;
        timers.head(|moment, token| check(connections, limits, moment, token))
    }

    /// The next connection whose deadline has come by `now`. [`Roster::arm`] it again afterwards.
    pub fn next_due(&mut self, now: Moment) -> Option<Token> {
        let (_, token) = self.head().filter(|(moment, _)| *moment <= now)?;
        self.timers.pop();
        if let Some(connection) = self.get_mut(token) {
            connection.armed = NEVER;
        }
        Some(token)
    }

    /// Checks what must hold between ticks: whatever has something to do is in the queue for it.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn assert_invariants(&self) {
        for (token, connection) in self.iter() {
            let Connection { life, queued, ready, outbox, .. } = connection;
            let wants_turn = connection.wants_turn(&self.limits);
            assert!(!wants_turn || queued.runnable, "{token:?} has input but no turn: {life:?} {ready:?}");
            let wants_flush = !outbox.is_empty() && ready.writable;
            let doomed = matches!(life, Life::Doomed(_) | Life::Gone);
            assert!(
                !wants_flush || queued.dirty || doomed,
                "{token:?} has output but no flush: {life:?} {ready:?}"
            );
            let deadline = connection.deadline(&self.limits).map_or(NEVER, |(moment, _)| moment);
            assert!(connection.armed <= deadline, "{token:?} has a deadline that nobody waits for: {life:?}");
        }
        let in_queue = |token: &&Token| self.get(**token).is_some();
        let marked = |mark: fn(&Connection<S>) -> bool| self.iter().filter(|(_, c)| mark(c)).count();
        assert_eq!(
            self.runnable.iter().filter(in_queue).count(),
            marked(|c| c.queued.runnable),
            "marks and the queue of turns differ"
        );
        assert_eq!(
            self.dirty.iter().filter(in_queue).count(),
            marked(|c| c.queued.dirty),
            "marks and the queue of flushes differ"
        );
        let doomed = marked(|c| matches!(c.life, Life::Doomed(_) | Life::Gone));
        assert_eq!(
            self.doomed.iter().filter(in_queue).count(),
            doomed,
            "marks and the queue of the doomed differ"
        );
    }

    /// Guesses in the timers, stale ones too.
    pub fn armed_timers(&self) -> usize {
        self.timers.len()
    }
}

/// What became of a guess of a connection's deadline.
fn check<S>(connections: &mut Slab<Connection<S>>, limits: &Limits, guess: Moment, token: Token) -> Guess {
    let connection = connections.get_mut(token.slot as usize);
    let Some(connection) = connection.filter(|c| c.serial == token.serial && c.armed == guess) else {
        return Guess::Wrong;
    };
    match connection.deadline(limits) {
        Some((moment, _)) if moment <= guess => Guess::Right,
        Some((moment, _)) => {
            connection.armed = moment;
            Guess::Later(moment)
        }
        None => {
            connection.armed = NEVER;
            Guess::Wrong
        }
    }
}
