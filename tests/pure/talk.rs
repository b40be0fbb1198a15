//! A harness for conversations: [`Talk`] passes requests to the chat, and returns who was sent what.

use std::rc::Rc;
use std::time::Duration;

use chinwag::chat::{Asker, Chat, ClientId, Effect, Placed};
use chinwag::config::Config;
use chinwag::protocol::{
    Arrival, Body, Change, CloseReason, Dialect, Event, Facts, LocalEvent, Message, MessageKind, Problem,
    RemoteEvent, Request, Sender, Whois,
};
use chinwag::text::RoomName;
use chinwag::time::{Moment, Now};

use crate::settle::{ALONE, settled};
use crate::words::{
    SOMEBODY, entered_event, joined_event, left_event, name, names, private_event, renamed_event, room,
    said_event, say_request, text, typed, you_are_event,
};

pub const ANN: ClientId = ClientId(0);
pub const BOB: ClientId = ClientId(1);
pub const CY: ClientId = ClientId(2);
pub const DAN: ClientId = ClientId(3);

/// The wall clock at the beginning of a conversation, in milliseconds since the Unix epoch.
const BEGIN_UNIX_MILLIS: u64 = 1_700_000_000_000;

/// An effect. An announcement has the clients that it reaches instead of a room.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    Reply(ClientId, Event),
    Pass(ClientId, Event),
    Announce(Vec<ClientId>, Event),
    NameGiven(ClientId),
    Quit(ClientId),
    Closed(ClientId, CloseReason),
    /// The state file is written, and then the client is sent the event.
    Saved(ClientId, Event),
    SavedOnly,
    LoggedIn(ClientId),
    LoginFailed(ClientId),
    AddressBanned(ClientId),
    Disconnected(String),
    /// Whether the server adds the address.
    Whois(ClientId, Whois, bool),
    Everybody(Event),
    LocalEvent(LocalEvent),
    /// A change that another process may place before or after others: its room, its author, and whether that wants it back.
    Submitted(RoomName, Option<ClientId>, Change, bool),
}

/// A chat, and the time.
pub struct Talk {
    pub chat: Chat,
    pub now: Now,
    /// Whether there are other processes. Otherwise changes are settled, and nothing is shared.
    is_shared: bool,
    /// The number of the next connection.
    serial: u32,
    /// The folder of the configuration file.
    folder: Option<tempfile::TempDir>,
}

impl Talk {
    /// Creates an empty chat under those flags.
    pub fn new(flags: &str) -> Talk {
        let chat = Chat::new(&Config::from_flags(flags), 1);
        Talk {
            chat,
            now: Now { moment: Moment::default(), unix_millis: BEGIN_UNIX_MILLIS },
            is_shared: false,
            serial: 0,
            folder: None,
        }
    }

    /// Creates an empty chat under those flags and the sections of a configuration file.
    pub fn under(flags: &str, sections: &str) -> Talk {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chinwag.toml");
        std::fs::write(&file, sections).expect("a file");
        let mut talk = Talk::new(&format!("{flags} --config {}", file.display()));
        talk.folder = Some(folder);
        talk
    }

    /// Replaces the sections of the configuration file, as a reload does.
    pub fn reloads(&mut self, flags: &str, sections: &str) -> Vec<Outcome> {
        let folder = self.folder.as_ref().expect("a chat with a configuration file");
        let file = folder.path().join("chinwag.toml");
        std::fs::write(&file, sections).expect("a file");
        let config = Config::from_flags(&format!("{flags} --config {}", file.display()));
        self.run(|chat, now, effects| chat.set_access(&config, None, now, effects))
    }

    /// Creates a chat under those flags, with clients 0, 1, ... in the lobby under these names.
    pub fn with(flags: &str, people: &[&str]) -> Talk {
        let mut talk = Talk::new(flags);
        for (slot, who) in people.iter().enumerate() {
            talk.comes(ClientId(slot as u32), who);
        }
        talk
    }

    /// Lets the process be one of several from now on.
    pub fn with_others(mut self) -> Talk {
        self.is_shared = true;
        self
    }

    /// Handles an event from another process. Returns who was sent what.
    pub fn receives(&mut self, event: RemoteEvent) -> Vec<Outcome> {
        self.run(|chat, now, effects| chat.apply_remote(event, now, effects))
    }

    /// Connects a client that gives that name.
    pub fn comes(&mut self, id: ClientId, who: &str) {
        self.connects(id);
        let sent = self.asks(id, nick(who));
        assert!(sent.contains(&Outcome::NameGiven(id)), "{sent:?}");
    }

    /// Connects a client. Returns who was sent what.
    pub fn connects(&mut self, id: ClientId) -> Vec<Outcome> {
        self.serial += 1;
        let serial = self.serial;
        self.run(|chat, now, effects| chat.connect(id, serial, (now, &ALONE), effects))
    }

    /// Handles a request. Returns who was sent what.
    pub fn asks(&mut self, id: ClientId, request: Request) -> Vec<Outcome> {
        self.run(|chat, now, effects| chat.handle(id, Ok(request), (now, &ALONE), effects))
    }

    /// Handles a request to which the other processes have answered. Returns who was sent what.
    pub fn asks_knowing(&mut self, id: ClientId, request: Request, facts: &Facts) -> Vec<Outcome> {
        self.run(|chat, now, effects| chat.handle(id, Ok(request), (now, facts), effects))
    }

    /// Enters a client by HTTP, to whom the other processes have answered. Returns who was sent what.
    pub fn enters(&mut self, id: ClientId, arrival: Arrival, facts: &Facts) -> Vec<Outcome> {
        self.serial += 1;
        let serial = self.serial;
        self.run(|chat, now, effects| chat.enter(id, serial, arrival, (now, facts), effects))
    }

    /// Commits a change in its place. Returns who was sent what.
    pub fn commits(&mut self, to: &str, placed: Placed) -> Vec<Outcome> {
        self.run(|chat, now, effects| {
            chat.commit_to(&room(to), placed, now, effects);
        })
    }

    /// Handles unreadable input. Returns who was sent what.
    pub fn errs(&mut self, id: ClientId, problem: Problem) -> Vec<Outcome> {
        self.run(|chat, now, effects| chat.handle(id, Err(problem), (now, &ALONE), effects))
    }

    /// Ends a connection. Returns who was sent what.
    pub fn leaves(&mut self, id: ClientId, reason: Option<&str>) -> Vec<Outcome> {
        self.run(|chat, now, effects| chat.leave(id, reason.map(text), now, effects))
    }

    /// Lets time pass, and the chat do all that is due. Returns who was sent what.
    pub fn after_millis(&mut self, millis: u64) -> Vec<Outcome> {
        self.now.moment += Duration::from_millis(millis);
        self.now.unix_millis += millis;
        self.run(Chat::handle_timeout)
    }

    /// Lets seconds pass.
    pub fn after_seconds(&mut self, seconds: u64) -> Vec<Outcome> {
        self.after_millis(seconds * 1_000)
    }

    /// Carries effects out as `server/fanout.rs` does: afterwards, for the members at that time. An announcement that
    /// reaches no client is left out.
    fn run(&mut self, ask: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>)) -> Vec<Outcome> {
        let now = self.now;
        let mut effects = Vec::new();
        match self.is_shared {
            true => ask(&mut self.chat, now, &mut effects),
            false => effects = settled(&mut self.chat, now, |chat, effects| ask(chat, now, effects)),
        }
        let sent = effects.into_iter().filter_map(|effect| self.told_of(effect));
        sent.collect()
    }

    fn told_of(&self, effect: Effect) -> Option<Outcome> {
        Some(match effect {
            Effect::Reply(id, event) => Outcome::Reply(id, as_line_clients_read(event)),
            Effect::Deliver(id, event) => Outcome::Pass(id, as_line_clients_read(event)),
            Effect::Activated(id) => Outcome::NameGiven(id),
            Effect::Close(id, CloseReason::Quit) => Outcome::Quit(id),
            Effect::Close(id, reason) => Outcome::Closed(id, reason),
            Effect::Save { answer: Some((id, event)), .. } => Outcome::Saved(id, *event),
            Effect::Save { answer: None, .. } => Outcome::SavedOnly,
            Effect::LoggedIn(id) => Outcome::LoggedIn(id),
            Effect::LoginFailed(id) => Outcome::LoginFailed(id),
            Effect::BanAddress { of, .. } => Outcome::AddressBanned(of),
            Effect::Disconnect { network, .. } => Outcome::Disconnected(network.to_string()),
            Effect::Whois { to: Asker::Client(to), whois, with_address, .. } => {
                Outcome::Whois(to, *whois, with_address)
            }
            Effect::Whois { to, .. } => panic!("no process asks here: {to:?}"),
            // The log is tested with a server.
            Effect::LogModeration { .. } => return None,
            Effect::SendToAll(event) => Outcome::Everybody(event),
            Effect::Report(event) if self.is_shared => Outcome::LocalEvent(event),
            Effect::Report(_) => return None,
            Effect::Submit { name, author, change, receipt, .. } => {
                Outcome::Submitted(name, author, change, receipt)
            }
            Effect::Announce { room, except, event } => {
                let to = self.chat.audience(room, Dialect::Line, &except.ids().collect::<Vec<_>>()).concat();
                return (!to.is_empty()).then(|| Outcome::Announce(to, as_line_clients_read(event)));
            }
        })
    }
}

/// Removes the fields that line clients are not sent: the room, the number of members, and the client id. `json_chat`
/// and `identity` test those.
fn as_line_clients_read(event: Event) -> Event {
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

/// Replaces the sender of a message by an arbitrary client.
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
    Request::Private { to: typed(to), text: text(raw), receipt: false }
}

pub fn join(raw: &str) -> Request {
    Request::Join { room: room(raw), history: None, echo: false, since: None }
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

pub fn reply(id: ClientId, event: Event) -> Outcome {
    Outcome::Reply(id, event)
}

pub fn pass(id: ClientId, event: Event) -> Outcome {
    Outcome::Pass(id, event)
}

pub fn announce(to: impl Into<Vec<ClientId>>, event: Event) -> Outcome {
    Outcome::Announce(to.into(), event)
}

pub fn named(id: ClientId) -> Outcome {
    Outcome::NameGiven(id)
}

pub fn problem(id: ClientId, problem: Problem) -> Outcome {
    Outcome::Reply(id, Event::Problem { problem, unnamed: false })
}

/// A problem of a client without a name.
pub fn unnamed_problem(id: ClientId, problem: Problem) -> Outcome {
    Outcome::Reply(id, Event::Problem { problem, unnamed: true })
}

// Events.

/// Entering the first room, after the name was given.
pub fn hello(who: &str, others: &[&str]) -> Event {
    entered_event(name(who), true, room("lobby"), names(others), 0)
}

/// Entering another room.
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

/// The room's message number `seq`, sent when the conversation began.
pub fn message(seq: u64, from: &str, raw: &str) -> Event {
    said_event(said(0, MessageKind::Say, seq, from, raw))
}

/// The room's emote number `seq`, sent when the conversation began.
pub fn act(seq: u64, from: &str, raw: &str) -> Event {
    said_event(said(0, MessageKind::Emote, seq, from, raw))
}

/// A message sent when the conversation began, in the history `age_seconds` later.
pub fn past(seq: u64, from: &str, raw: &str, age_seconds: u64) -> Event {
    let age = Duration::from_secs(age_seconds);
    Event::HistoryEntry { message: said(0, MessageKind::Say, seq, from, raw), age }
}

/// A message sent so many seconds after the beginning.
pub fn said(seconds: u64, kind: MessageKind, seq: u64, from: &str, raw: &str) -> Rc<Message> {
    let at_unix_millis = BEGIN_UNIX_MILLIS + seconds * 1_000;
    let (sender, body) = (Sender::Client(SOMEBODY), Body::Text(text(raw)));
    Rc::new(Message { from: name(from), sender, kind, body, seq, id: None, at_unix_millis })
}
