//! A harness to write conversations with: [`Talk`] hands requests to the chat and tells who was told what.

use std::rc::Rc;
use std::time::Duration;

use chinwag::chat::{Chat, ClientId, Effect};
use chinwag::config::Config;
use chinwag::protocol::{
    Body, Dialect, Event, LocalEvent, Message, MessageKind, Problem, RemoteEvent, Request, Sender,
};
use chinwag::text::RoomName;
use chinwag::time::{Moment, Now};

use crate::words::{
    SOMEBODY, entered_event, joined_event, left_event, name, names, private_event, renamed_event, room,
    said_event, say_request, text, you_are_event,
};

pub const ANN: ClientId = ClientId(0);
pub const BOB: ClientId = ClientId(1);
pub const CY: ClientId = ClientId(2);
pub const DAN: ClientId = ClientId(3);

/// What all calendars show when a conversation begins, in milliseconds since the Unix epoch.
const BEGIN_UNIX_MILLIS: u64 = 1_700_000_000_000;

/// An effect, with those whom an announcement reaches instead of a room.
#[derive(Clone, PartialEq, Debug)]
pub enum ServerMessage {
    Reply(ClientId, Event),
    Pass(ClientId, Event),
    Announce(Vec<ClientId>, Event),
    NameGiven(ClientId),
    Quit(ClientId),
    Everybody(Event),
    LocalEvent(LocalEvent),
}

/// A chat, and the time.
pub struct Talk {
    pub chat: Chat,
    now: Now,
    /// Of the next connection.
    serial: u32,
}

impl Talk {
    /// A chat under those flags in which nobody is.
    pub fn new(flags: &str) -> Talk {
        Talk::of_process(1, flags)
    }

    fn of_process(process: u64, flags: &str) -> Talk {
        let chat = Chat::new(&Config::from_flags(flags), process);
        Talk { chat, now: Now { moment: Moment::default(), unix_millis: BEGIN_UNIX_MILLIS }, serial: 0 }
    }

    /// A chat under those flags; clients 0, 1, ... came to the lobby under these names, one after the other.
    pub fn with(flags: &str, people: &[&str]) -> Talk {
        let mut talk = Talk::new(flags);
        for (slot, who) in people.iter().enumerate() {
            talk.comes(ClientId(slot as u32), who);
        }
        talk
    }

    /// The same, in a process with that number, which is one of several.
    pub fn shared(process: u64, people: &[&str]) -> Talk {
        Talk::shared_with("", process, people)
    }

    /// The same, under these flags.
    pub fn shared_with(flags: &str, process: u64, people: &[&str]) -> Talk {
        let mut talk = Talk::of_process(process, flags);
        talk.chat.set_shared();
        for (slot, who) in people.iter().enumerate() {
            talk.comes(ClientId(slot as u32), who);
        }
        talk
    }

    /// Something comes from another process; who is told what.
    pub fn hears(&mut self, news: RemoteEvent) -> Vec<ServerMessage> {
        self.told(|chat, now, effects| chat.apply_remote(news, now, effects))
    }

    /// What all calendars show.
    pub fn unix_millis(&self) -> u64 {
        self.now.unix_millis
    }

    /// Somebody connects and gives that name, whoever is told what.
    pub fn comes(&mut self, id: ClientId, who: &str) {
        self.connects(id);
        let told = self.asks(id, nick(who));
        assert!(told.contains(&ServerMessage::NameGiven(id)), "{told:?}");
    }

    /// Somebody connects; who is told what.
    pub fn connects(&mut self, id: ClientId) -> Vec<ServerMessage> {
        self.serial += 1;
        let serial = self.serial;
        self.told(|chat, now, effects| chat.connect(id, serial, now, effects))
    }

    /// Somebody asks for something; who is told what.
    pub fn asks(&mut self, id: ClientId, request: Request) -> Vec<ServerMessage> {
        self.told(|chat, now, effects| chat.handle(id, Ok(request), now, effects))
    }

    /// Somebody sends what can't be read; who is told what.
    pub fn errs(&mut self, id: ClientId, problem: Problem) -> Vec<ServerMessage> {
        self.told(|chat, now, effects| chat.handle(id, Err(problem), now, effects))
    }

    /// Somebody's connection ends; who is told what.
    pub fn leaves(&mut self, id: ClientId, reason: Option<&str>) -> Vec<ServerMessage> {
        self.told(|chat, now, effects| chat.leave(id, reason.map(text), now, effects))
    }

    /// Time passes, and the chat does what is due; who is told what.
    pub fn after_millis(&mut self, millis: u64) -> Vec<ServerMessage> {
        self.now.moment += Duration::from_millis(millis);
        self.now.unix_millis += millis;
        self.told(Chat::handle_timeout)
    }

    /// The same in seconds.
    pub fn after_seconds(&mut self, seconds: u64) -> Vec<ServerMessage> {
        self.after_millis(seconds * 1_000)
    }

    /// Carries effects out as `server/deliver.rs` does: afterwards, for those who are members then. An announcement
    /// that reaches nobody is no news to anybody, and left out.
    fn told(&mut self, ask: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>)) -> Vec<ServerMessage> {
        let mut effects = Vec::new();
        ask(&mut self.chat, self.now, &mut effects);
        let told = effects.into_iter().filter_map(|effect| self.told_of(effect));
        told.collect()
    }

    fn told_of(&self, effect: Effect) -> Option<ServerMessage> {
        Some(match effect {
            Effect::Reply(id, event) => ServerMessage::Reply(id, as_line_clients_hear(event)),
            Effect::Deliver(id, event) => ServerMessage::Pass(id, as_line_clients_hear(event)),
            Effect::Activated(id) => ServerMessage::NameGiven(id),
            Effect::Quit(id) => ServerMessage::Quit(id),
            Effect::SendToAll(event) => ServerMessage::Everybody(event),
            Effect::Publish(share) => ServerMessage::LocalEvent(share),
            Effect::Announce { room, except, event } => {
                let to = self.chat.audience(room, Dialect::Line, except.as_slice()).concat();
                return (!to.is_empty()).then(|| ServerMessage::Announce(to, as_line_clients_hear(event)));
            }
        })
    }
}

/// An event without what a line client is not told: in which room it was, how many are there, and which client did it.
/// `json_chat` and `identity` look at those.
fn as_line_clients_hear(event: Event) -> Event {
    let lobby = RoomName::lobby();
    match event {
        Event::Message { message, .. } => said_event(of_somebody(&message)),
        Event::HistoryEntry { message, age } => Event::HistoryEntry { message: of_somebody(&message), age },
        Event::Private { from, text, .. } => private_event(from, text),
        Event::Joined { name, .. } => joined_event(name),
        Event::Left { name, reason, .. } => left_event(name, reason),
        Event::Crowd { joined, left, count, .. } => Event::Crowd { room: lobby, joined, left, count },
        Event::Renamed { from, to, .. } => renamed_event(from, to),
        Event::YouWereRenamed { to, .. } => you_are_event(to),
        Event::YouJoined { name, first, room, others, more, .. } => {
            entered_event(name, first, room, others, more)
        }
        event => event,
    }
}

/// The message, as that of some client.
fn of_somebody(message: &Message) -> Rc<Message> {
    Rc::new(Message { sender: Sender::Client(SOMEBODY), ..message.clone() })
}

// Requests.

pub fn nick(raw: &str) -> Request {
    Request::Nick(name(raw))
}

pub fn say(raw: &str) -> Request {
    say_request(MessageKind::Say, text(raw))
}

pub fn me(raw: &str) -> Request {
    say_request(MessageKind::Emote, text(raw))
}

pub fn tell(to: &str, raw: &str) -> Request {
    Request::Private { to: text(to), text: text(raw), receipt: false }
}

pub fn join(raw: &str) -> Request {
    Request::Join { room: room(raw), history: None, echo: false }
}

pub fn leave() -> Request {
    Request::Leave(None)
}

pub fn history(count: Option<usize>) -> Request {
    Request::History { room: None, count, after: None }
}

pub fn who(raw: &str) -> Request {
    Request::Who(Some(room(raw)))
}

pub fn quit(reason: Option<&str>) -> Request {
    Request::Quit(reason.map(text))
}

// Effects.

pub fn reply(id: ClientId, event: Event) -> ServerMessage {
    ServerMessage::Reply(id, event)
}

pub fn pass(id: ClientId, event: Event) -> ServerMessage {
    ServerMessage::Pass(id, event)
}

pub fn announce(to: impl Into<Vec<ClientId>>, event: Event) -> ServerMessage {
    ServerMessage::Announce(to.into(), event)
}

pub fn named(id: ClientId) -> ServerMessage {
    ServerMessage::NameGiven(id)
}

pub fn problem(id: ClientId, problem: Problem) -> ServerMessage {
    ServerMessage::Reply(id, Event::Problem { problem, unnamed: false })
}

/// A problem of somebody who still has to give a name.
pub fn unnamed_problem(id: ClientId, problem: Problem) -> ServerMessage {
    ServerMessage::Reply(id, Event::Problem { problem, unnamed: true })
}

// Events.

/// The first room, after the name was given.
pub fn hello(who: &str, others: &[&str]) -> Event {
    entered_event(name(who), true, room("lobby"), names(others), 0)
}

/// Another room.
pub fn entered(who: &str, raw: &str, others: &[&str]) -> Event {
    entered_event(name(who), false, room(raw), names(others), 0)
}

pub fn joined(who: &str) -> Event {
    joined_event(name(who))
}

pub fn left(who: &str) -> Event {
    left_event(name(who), None)
}

pub fn left_because(who: &str, reason: &str) -> Event {
    left_event(name(who), Some(text(reason)))
}

pub fn renamed(from: &str, to: &str) -> Event {
    renamed_event(name(from), name(to))
}

pub fn you_are(who: &str) -> Event {
    you_are_event(name(who))
}

pub fn private(from: &str, raw: &str) -> Event {
    private_event(name(from), text(raw))
}

pub fn crowd(joined: u32, left: u32, count: usize) -> Event {
    Event::Crowd { room: RoomName::lobby(), joined, left, count }
}

pub fn in_room(raw: &str, people: &[&str]) -> Event {
    Event::Who { room: room(raw), names: names(people), more: 0 }
}

pub fn rooms(all: &[(&str, usize)]) -> Event {
    Event::Rooms { rooms: all.iter().map(|(raw, count)| (room(raw), *count)).collect(), more: 0 }
}

/// The room's message number `seq`, said when the conversation began.
pub fn message(seq: u64, from: &str, raw: &str) -> Event {
    said_event(said(0, MessageKind::Say, seq, from, raw))
}

/// The room's message number `seq`, told when the conversation began.
pub fn act(seq: u64, from: &str, raw: &str) -> Event {
    said_event(said(0, MessageKind::Emote, seq, from, raw))
}

/// A message said when the conversation began, remembered `age_seconds` later.
pub fn past(seq: u64, from: &str, raw: &str, age_seconds: u64) -> Event {
    let age = Duration::from_secs(age_seconds);
    Event::HistoryEntry { message: said(0, MessageKind::Say, seq, from, raw), age }
}

/// A message said so many seconds after the beginning.
pub fn said(seconds: u64, kind: MessageKind, seq: u64, from: &str, raw: &str) -> Rc<Message> {
    let at_unix_millis = BEGIN_UNIX_MILLIS + seconds * 1_000;
    let (sender, body) = (Sender::Client(SOMEBODY), Body::Text(text(raw)));
    Rc::new(Message { from: name(from), sender, kind, body, seq, at_unix_millis })
}
