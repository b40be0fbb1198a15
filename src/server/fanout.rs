//! Fan-out: events of the chat are encoded once for each dialect, and copied to the outboxes of their receivers.
//!
//! If many clients talk, a tick has many messages for the same members. Messages that follow each other in the arena can be
//! one copy, so they are collected in a *batch*. Each member gets it in one step. The cost of a tick is then the sum of
//! messages and members, not their product. Only talkers get several copies, since their own messages are left out. (In a
//! room of two dialects the frames of both alternate in the arena, and each is a batch of its own.)
//!
//! Two things must not happen while a batch is pending. Its receivers must not get other output, since that would overtake
//! the batch. And the members of its room must not change. So [`Fanout`] owns the chat, the arena and the batch, and their
//! fields are private to this file. The rest of the server reads them, and changes them by the methods here, each of which
//! delivers the batch first where it must. A batch also records how often the members of its room had changed, and
//! debug builds check that on delivery.

mod batch;

use std::rc::Rc;

use super::Server;
use super::questions::{Answers, Then};
use crate::arena::{Arena, Frame};
use crate::chat::{Chat, ClientId, Effect, Except, Placed, RoomId};
use crate::codec::{self, Tag};
use crate::connection::{Priority, Pushed, Readiness, Schedule, State};
use crate::net::{Net, Token};
use crate::protocol::{CloseReason, Dialect, Event, Problem, RemoteEvent, Request};
use crate::text::RoomName;
use crate::time::Now;

use batch::{Batch, BatchedFrame};

/// Most bytes of a batch. A much longer one would not fit into an outbox that has room for most of it.
const BATCH_BYTES: usize = 16 * 1024;

/// The chat, its output, and the batch that is pending between them.
#[derive(Debug)]
pub struct Fanout {
    chat: Chat,
    arena: Arena,
    batch: Option<Batch>,
    /// Empty buffers for effects, of as many calls as were nested: a message is submitted, and then committed.
    buffers: Vec<Vec<Effect>>,
    /// The client whose request is being handled, and the tag of its reply.
    requester: Option<(ClientId, Option<Tag>)>,
}

impl Fanout {
    /// The fan-out of a chat without clients.
    pub fn new(chat: Chat) -> Fanout {
        Fanout { chat, arena: Arena::default(), batch: None, buffers: Vec::new(), requester: None }
    }

    /// The chat.
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    /// The output.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The output, for flushes and compaction. Frames are written and shared in this file only: `tests/tidy.rs` finds `share`
    /// in others.
    pub fn arena_mut(&mut self) -> &mut Arena {
        &mut self.arena
    }

    /// The tag of the request that is being handled, if it is of that client.
    pub fn tag_for(&self, id: ClientId) -> Option<Tag> {
        let requester = self.requester.as_ref().filter(|requester| requester.0 == id);
        requester.and_then(|(_, tag)| tag.clone())
    }

    /// Whether nothing is pending, as it must be between ticks.
    pub fn is_settled(&self) -> bool {
        self.batch.is_none() && self.buffers.iter().all(Vec::is_empty) && self.requester.is_none()
    }
}

/// Whether a pending batch may go on during a request. A message changes the members of no room. Other requests may
/// change them, or are too rare to matter. The match has no wildcard, so that a new request must be decided here.
fn continues_batch(request: &Result<Request, Problem>) -> bool {
    match request {
        Ok(Request::Say { .. } | Request::Relay(_)) => true,
        Ok(
            Request::Nick(_)
            | Request::StayGuest
            | Request::Private { .. }
            | Request::Who(_)
            | Request::Rooms
            | Request::Join { .. }
            | Request::Leave(_)
            | Request::History { .. }
            | Request::Login { .. }
            | Request::Register
            | Request::Topic { .. }
            | Request::Moderate(_)
            | Request::Whois(_)
            | Request::Answer(_)
            | Request::Away(_)
            | Request::Ignore(_)
            | Request::Unignore(_)
            | Request::Quit(_)
            | Request::Help
            | Request::Ping,
        )
        | Err(_) => false,
    }
}

impl<N: Net> Server<N> {
    /// Calls the chat, which may change the members of rooms, and carries out its effects.
    pub(super) fn call_chat<T>(&mut self, call: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>) -> T) -> T {
        self.deliver_batch();
        self.call_chat_keeping_batch(call)
    }

    /// The same on behalf of a client: replies to it carry `tag`, and may be larger than its write buffer.
    pub(super) fn call_chat_for<T>(
        &mut self,
        token: Token,
        tag: Option<Tag>,
        call: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>) -> T,
    ) -> T {
        self.on_behalf_of(token, tag, |server| server.call_chat(call))
    }

    /// Handles a request of a client.
    pub(super) fn handle_request(
        &mut self,
        token: Token,
        request: Result<Request, Problem>,
        tag: Option<Tag>,
    ) {
        let (request, tag, answers) = match request {
            Ok(request) if self.has_link() => {
                let questions = self.fanout.chat().questions(token.into(), &request, self.now);
                match self.answers(token, questions, Then::Request(request, tag)) {
                    Some((answers, Then::Request(request, tag))) => (Ok(request), tag, answers),
                    _ => return,
                }
            }
            request => (request, tag, Answers::default()),
        };
        let continues_batch = continues_batch(&request);
        self.use_answers(token, answers, |server, facts| {
            let call = |chat: &mut Chat, now, effects: &mut Vec<Effect>| {
                chat.handle(token.into(), request, (now, facts), effects);
            };
            server.on_behalf_of(token, tag, |server| match continues_batch {
                true => server.call_chat_keeping_batch(call),
                false => server.call_chat(call),
            });
        });
        if !continues_batch {
            self.record_catching_up(token);
        }
    }

    /// Replies to a request that the chat does not handle.
    pub(super) fn reply(&mut self, token: Token, tag: Option<Tag>, event: &Event) {
        self.on_behalf_of(token, tag, |server| server.send_event(token, event));
    }

    /// Runs `act`. Required events that it sends to the client are replies with `tag`.
    pub(super) fn on_behalf_of<T>(
        &mut self,
        token: Token,
        tag: Option<Tag>,
        act: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.fanout.requester = Some((token.into(), tag));
        let value = act(self);
        self.fanout.requester = None;
        value
    }

    /// Handles an event of another process.
    pub(super) fn handle_remote_event(&mut self, event: RemoteEvent) {
        match event {
            RemoteEvent::Changed { room, change, order, ticket } => {
                self.commit_remote(&room, change, order, ticket);
            }
            event => self.call_chat(|chat, now, effects| chat.apply_remote(event, now, effects)),
        }
    }

    /// Commits a change. It leaves the members of all rooms as they are.
    pub(super) fn commit(&mut self, room: RoomId, placed: Placed) {
        self.call_chat_keeping_batch(|chat, now, effects| chat.commit(room, placed, now, effects));
    }

    /// Commits a change in the room with that name. Returns its sequence number.
    pub(super) fn commit_to(&mut self, room: &RoomName, placed: Placed) -> u64 {
        self.call_chat_keeping_batch(|chat, now, effects| chat.commit_to(room, placed, now, effects))
    }

    /// Removes a closing client from the chat. At the end of the server all clients leave, so no leave is announced.
    pub(super) fn leave_chat(&mut self, id: ClientId, reason: CloseReason) {
        if reason == CloseReason::Shutdown {
            self.deliver_batch();
            return self.fanout.chat.leave(id, None, self.now, &mut Vec::new());
        }
        self.call_chat(|chat, now, effects| chat.leave(id, reason.announced_reason(), now, effects));
    }

    fn call_chat_keeping_batch<T>(&mut self, call: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>) -> T) -> T {
        let mut effects = self.fanout.buffers.pop().unwrap_or_default();
        let value = call(&mut self.fanout.chat, self.now, &mut effects);
        effects.drain(..).for_each(|effect| self.carry_out(effect));
        self.fanout.buffers.push(effects);
        value
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(id, event) => {
                self.send(id, &event, Priority::Required);
                // The next line is a token, which a telnet client must not show.
                if matches!(event, Event::AskToken(_)) {
                    self.stop_echo(id);
                }
            }
            Effect::Deliver(id, event) => self.send(id, &event, Priority::Droppable),
            Effect::Announce { room, except, event } => self.announce(room, &except, &event),
            Effect::Activated(id) => self.record_name(id),
            Effect::SendToAll(event) => self.send_to_all(&event),
            Effect::Submit { room, name, author, change, receipt } => {
                self.submit((room, name), author, change, receipt);
            }
            Effect::Report(event) => self.share(event),
            Effect::Close(id, reason) => {
                if let Some(token) = self.roster.live_token(id) {
                    self.roster.close(token, reason);
                }
            }
            Effect::LoggedIn(id) => self.record_login(id),
            Effect::LoginFailed(id) => self.record_failed_login_of(id),
            Effect::LogModeration { by, moderation } => self.log_moderation(&by, &moderation),
            Effect::Save { change, answer } => self.save_state(change, answer),
            Effect::BanAddress { of, ban, removal, rank } => self.ban_address(of, *ban, (removal, rank)),
            Effect::Disconnect { network, removal, rank } => self.disconnect(network, &removal, rank),
            Effect::Whois { to, of, whois, with_address } => self.send_whois(to, of, *whois, with_address),
        }
    }

    fn send_to_all(&mut self, event: &Event) {
        let active = self.roster.iter().filter(|(_, connection)| connection.state() == State::Active);
        let active: Vec<Token> = active.map(|(token, _)| token).collect();
        active.into_iter().for_each(|token| self.send(token.into(), event, Priority::Required));
    }

    /// Sends an event to one client.
    pub(super) fn send_event(&mut self, token: Token, event: &Event) {
        if self.roster.live(token).is_some() {
            self.send(token.into(), event, Priority::Required);
        }
    }

    /// Sends an event to one connection without a limit on its outbox, and even if it is closing.
    pub(super) fn send_last_event(&mut self, token: Token, event: &Event) {
        if let Some(connection) = self.roster.live(token) {
            let dialect = connection.dialect;
            self.send_last(token, |out| codec::encode(dialect, event, None, out));
        }
    }

    /// Sends bytes to one connection without a limit on its outbox, and even if it is closing.
    pub(super) fn send_last(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        self.deliver_batch();
        let Some(connection) = self.roster.live_mut(token) else {
            return;
        };
        let arena = &mut self.fanout.arena;
        let frame = arena.frame(write);
        arena.leave_out_of_round(frame);
        let most_bytes = self.limits.small_reply_bytes();
        arena.share(frame, 1, |copies| connection.outbox.push_reply(copies, most_bytes));
        self.roster.mark_dirty(token.into());
    }

    /// Sends bytes that are no event to one connection. If they don't fit, the connection is closed.
    pub(super) fn send_bytes(&mut self, token: Token, write: impl FnOnce(&mut Vec<u8>)) {
        if self.roster.live(token).is_some() {
            let frame = self.fanout.arena.frame(write);
            self.deliver_batch();
            self.queue(token.into(), frame, Priority::Required, None);
        }
    }

    fn send(&mut self, id: ClientId, event: &Event, priority: Priority) {
        let Some(connection) = self.roster.client_mut(id) else {
            return;
        };
        let (dialect, fanout) = (connection.dialect, &mut self.fanout);
        let is_reply = |requester: &&(ClientId, _)| requester.0 == id && priority == Priority::Required;
        let requester = fanout.requester.as_ref().filter(is_reply);
        let priority = if requester.is_some() { Priority::Reply } else { priority };
        let tag = requester.and_then(|(_, tag)| tag.as_ref());
        let frame = fanout.arena.frame(|out| codec::encode(dialect, event, tag, out));
        if priority != Priority::Droppable {
            fanout.arena.leave_out_of_round(frame);
        }
        if !frame.is_empty() {
            self.deliver_batch();
            self.queue(id, frame, priority, None);
        }
    }

    /// Sends an event to a room, as one frame for each dialect of its members.
    fn announce(&mut self, room: RoomId, except: &Except, event: &Event) {
        let every: Vec<ClientId>;
        let left_out = match &except.further {
            None => except.cause.as_slice(),
            Some(_) => {
                every = except.ids().collect();
                &every
            }
        };
        for dialect in Dialect::IN_ROOMS {
            let Fanout { chat, arena, .. } = &mut self.fanout;
            if chat.audience(room, dialect, left_out).is_empty() {
                continue;
            }
            let frame = arena.frame(|out| codec::encode(dialect, event, None, out));
            if !frame.is_empty() {
                let frame = BatchedFrame { frame, except: except.cause, further: None };
                match &except.further {
                    None => self.extend_batch(room, dialect, frame),
                    Some(further) => self.extend_batch_without(room, dialect, frame, further),
                }
            }
        }
    }

    /// Adds a frame to the batch that is left out for further clients.
    fn extend_batch_without(
        &mut self,
        room: RoomId,
        dialect: Dialect,
        frame: BatchedFrame,
        further: &Rc<[ClientId]>,
    ) {
        self.extend_batch(room, dialect, frame);
        if let Some(batch) = &mut self.fanout.batch
            && let Some(last) = batch.frames.last_mut()
        {
            // Messages of one author mostly follow each other.
            let known = batch.further.iter().position(|known| Rc::ptr_eq(known, further));
            let index = known.unwrap_or_else(|| {
                batch.further.push(further.clone());
                batch.further.len() - 1
            });
            // A batch has at most 16 KiB, and each frame some bytes.
            debug_assert!(u16::try_from(index).is_ok(), "{index} lists in a batch");
            last.further = u16::try_from(index).ok();
        }
    }

    fn extend_batch(&mut self, room: RoomId, dialect: Dialect, next: BatchedFrame) {
        let most_bytes = BATCH_BYTES.min(self.limits.hard_bytes as usize);
        if let Some(batch) = &mut self.fanout.batch
            && (batch.room, batch.dialect) == (room, dialect)
            && batch.whole.len() + next.frame.len() <= most_bytes
            && batch.whole.extend(next.frame)
        {
            return batch.frames.push(next);
        }
        self.deliver_batch();
        let changes = self.fanout.chat.member_changes(room);
        self.fanout.batch = Some(Batch {
            room,
            dialect,
            changes,
            whole: next.frame,
            frames: vec![next],
            further: Vec::new(),
        });
    }

    /// Delivers the pending batch, if there is one.
    pub(super) fn deliver_batch(&mut self) {
        let Some(batch) = self.fanout.batch.take() else {
            return;
        };
        let Fanout { chat, arena, .. } = &mut self.fanout;
        debug_assert_eq!(chat.member_changes(batch.room), batch.changes, "members changed during a batch");
        let mut talkers = batch.left_out();
        if !batch.further.is_empty() {
            // A client that ignores the author may be in other rooms.
            talkers.retain(|id| chat.rooms_of(*id).contains(&batch.room));
        }
        let audience = chat.audience(batch.room, batch.dialect, &talkers);
        let mut full = Vec::new();
        let roster = &mut self.roster;
        let ((), copies) = arena.share(batch.whole, batch.frames.len(), |copies| {
            audience.iter().for_each(|ids| roster.broadcast(ids, copies, &mut full));
        });
        self.count(batch.whole, batch.frames.len(), copies);
        for id in talkers {
            let connection = self.roster.token(id).and_then(|token| self.roster.get(token));
            if connection.is_some_and(|connection| connection.dialect == batch.dialect) {
                self.deliver_to_talker(id, &batch);
            }
        }
        full.into_iter().for_each(|id| self.deliver_each(id, batch.room, &batch.frames));
    }

    /// Delivers a batch to a client without the messages that are left out for it. The client has sent them, or is one of the
    /// further clients.
    fn deliver_to_talker(&mut self, id: ClientId, batch: &Batch) {
        // Mostly there are no further clients. Then the test is one comparison, and it is made for each talker and frame.
        match batch.further.is_empty() {
            true => self.deliver_spans(id, batch, |frame| frame.except == Some(id)),
            false => self.deliver_spans(id, batch, |frame| batch.leaves_out(id, frame)),
        }
    }

    /// Delivers the spans of frames of a batch that are not the client's own.
    fn deliver_spans(&mut self, id: ClientId, batch: &Batch, is_own: impl Fn(&BatchedFrame) -> bool) {
        for frames in batch.frames.chunk_by(|a, b| is_own(a) == is_own(b)) {
            if is_own(&frames[0]) {
                continue;
            }
            let mut whole = frames[0].frame;
            for next in &frames[1..] {
                let follows = whole.extend(next.frame);
                debug_assert!(follows, "the frames of a batch follow each other");
            }
            if self.push(id, whole, frames.len(), Priority::Droppable) == Pushed::Full {
                self.deliver_each(id, batch.room, frames);
            }
        }
    }

    /// Delivers messages one by one to a client that may have no room for all of them.
    fn deliver_each(&mut self, id: ClientId, room: RoomId, frames: &[BatchedFrame]) {
        for each in frames {
            self.queue(id, each.frame, Priority::Droppable, Some(room));
        }
    }

    /// Queues one frame for one client. `room` is the room of its message, if it has one.
    fn queue(&mut self, id: ClientId, frame: Frame, priority: Priority, room: Option<RoomId>) {
        if self.push(id, frame, 1, priority) == Pushed::Full {
            self.overflow(id, frame, priority, room);
        }
    }

    /// Queues one copy, which consists of so many frames, and counts it if it fits.
    fn push(&mut self, id: ClientId, frame: Frame, frames: usize, priority: Priority) -> Pushed {
        let roster = &mut self.roster;
        let (pushed, copies) =
            self.fanout.arena.share(frame, frames, |copies| roster.push(id, copies, priority));
        self.count(frame, frames, copies);
        pushed
    }

    fn count(&mut self, frame: Frame, frames: usize, copies: usize) {
        self.metrics.deliveries += (frames * copies) as u64;
        self.metrics.bytes_queued += (copies * frame.len()) as u64;
    }

    /// Handles a frame for which a client's write buffer has no room.
    ///
    /// A busy tick can fill the buffer of a fast client. So its output is written first, and only a client whose socket is full
    /// then is slow.
    #[cold]
    fn overflow(&mut self, id: ClientId, frame: Frame, priority: Priority, room: Option<RoomId>) {
        let Some(token) = self.roster.live_token(id) else {
            return;
        };
        if self.roster.live(token).is_some_and(|connection| connection.ready.contains(Readiness::WRITABLE)) {
            self.flush(token, Schedule::empty());
        }
        if self.push(id, frame, 1, priority) != Pushed::Full {
            return;
        }
        match self.roster.live_mut(token) {
            Some(connection) if priority == Priority::Droppable && connection.skips(&self.limits) => {
                self.metrics.missed += 1;
                connection.outbox.miss(room.map(RoomId::as_u64));
            }
            _ => self.roster.close(token, CloseReason::BufferFull),
        }
    }
}
