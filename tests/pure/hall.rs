//! A harness for conversations between clients of all listeners. [`Hall`] passes requests to the chat, and returns who
//! was sent what in a short form, `bob< said dev 1 ann hi`. Events that a client's listener does not encode are left
//! out.

use std::collections::BTreeMap;

use chinwag::chat::{Asker, Chat, ClientId, Effect, RoomId};
use chinwag::codec::encode;
use chinwag::config::Config;
use chinwag::protocol::{Arrival, Body, Dialect, Event, Message, MessageKind, Payload, Problem, Request};
use chinwag::text::Name;
use chinwag::time::{Moment, Now};

use crate::settle::{ALONE, publish, settled};
use crate::words::{name, room, text};

/// Labels of clients 0, 1, ... in these tests, whatever their names are.
const LABELS: [&str; 8] = ["ann", "bob", "cy", "dan", "eve", "fay", "gus", "hal"];

/// The number of the process.
pub const PROCESS: u64 = 1;

/// A chat, and the dialect of each client.
pub struct Hall {
    pub chat: Chat,
    dialects: BTreeMap<ClientId, Dialect>,
    /// All rooms that an event was sent in.
    pub rooms: BTreeMap<RoomId, String>,
}

/// An arrival by that listener, under that name, in that room or in none if it is empty.
pub fn arrival(dialect: Dialect, who: &str, to: &str) -> Arrival {
    let name = (!who.is_empty()).then(|| name(who));
    let room = (!to.is_empty()).then(|| room(to));
    Arrival {
        dialect,
        name,
        room,
        history: None,
        echo: false,
        last_position: None,
        login: None,
        problems: Vec::new(),
    }
}

/// The time, which is constant.
fn now() -> Now {
    Now { moment: Moment::default(), unix_millis: 1_700_000_000_000 }
}

impl Hall {
    /// Creates an empty chat under those flags.
    pub fn new(flags: &str) -> Hall {
        let chat = Chat::new(&Config::from_flags(flags), PROCESS);
        Hall { chat, dialects: BTreeMap::new(), rooms: BTreeMap::new() }
    }

    /// Creates a chat under those flags, with clients 0, 1, ... of the JSON listener in the lobby under these names.
    pub fn with(flags: &str, people: &[&str]) -> Hall {
        let mut hall = Hall::new(flags);
        for (slot, who) in people.iter().enumerate() {
            hall.enters(slot as u32, arrival(Dialect::Json, who, "lobby"));
        }
        hall
    }

    /// Enters a client. Returns who was sent what.
    pub fn enters(&mut self, slot: u32, arrival: Arrival) -> Vec<String> {
        let id = ClientId(slot);
        self.dialects.insert(id, arrival.dialect);
        self.run(|chat, effects| chat.enter(id, slot, arrival, (now(), &ALONE), effects))
    }

    /// Enters a line client under that name.
    pub fn comes(&mut self, slot: u32, who: &str) -> Vec<String> {
        let id = ClientId(slot);
        self.dialects.insert(id, Dialect::Line);
        self.run(|chat, effects| {
            chat.connect(id, slot, (now(), &ALONE), effects);
            chat.handle(id, Ok(Request::Nick(name(who))), (now(), &ALONE), effects);
        })
    }

    /// Handles a request. Returns who was sent what.
    pub fn asks(&mut self, slot: u32, request: Request) -> Vec<String> {
        self.run(|chat, effects| chat.handle(ClientId(slot), Ok(request), (now(), &ALONE), effects))
    }

    /// Sends the next piece to a client that catches up. Returns who was sent what.
    pub fn goes_on(&mut self, slot: u32) -> Vec<String> {
        self.run(|chat, effects| chat.catch_up(ClientId(slot), now(), effects))
    }

    /// Ends a client's connection. Returns who was sent what.
    pub fn leaves(&mut self, slot: u32) -> Vec<String> {
        let sent = self.run(|chat, effects| chat.leave(ClientId(slot), None, now(), effects));
        self.dialects.remove(&ClientId(slot));
        sent
    }

    /// Publishes a text by HTTP. Returns the outcome, and who was sent what.
    pub fn publishes(&mut self, to: &str, from: Name, raw: &str) -> (Result<u64, Problem>, Vec<String>) {
        let mut published = Ok(0);
        let sent = self.run(|chat, effects| {
            published = publish(chat, room(to), from, Body::Text(text(raw)), now(), effects);
        });
        (published, sent)
    }

    /// Carries effects out as `server/fanout.rs` does: afterwards, for the members at that time.
    fn run(&mut self, ask: impl FnOnce(&mut Chat, &mut Vec<Effect>)) -> Vec<String> {
        let effects = settled(&mut self.chat, now(), ask);
        let mut sent = Vec::new();
        for effect in effects {
            let (to, event) = match effect {
                Effect::Reply(id, event) | Effect::Deliver(id, event) => (vec![id], event),
                Effect::Announce { room, except, event } => {
                    if let Some(name) = self.chat.room_name(room) {
                        self.rooms.insert(room, name.to_string());
                    }
                    let audience = |dialect| {
                        self.chat.audience(room, dialect, &except.ids().collect::<Vec<_>>()).concat()
                    };
                    (Dialect::IN_ROOMS.into_iter().flat_map(audience).collect(), event)
                }
                Effect::Activated(_) | Effect::Close(..) => continue,
                Effect::Save { answer: Some((id, event)), .. } => (vec![id], *event),
                Effect::Save { answer: None, .. } | Effect::LoggedIn(_) | Effect::LoginFailed(_) => continue,
                Effect::LogModeration { .. } | Effect::BanAddress { .. } | Effect::Disconnect { .. } => {
                    continue;
                }
                Effect::Whois { to: Asker::Client(to), whois, .. } => (vec![to], Event::Whois(whois)),
                // These effects concern only other processes.
                Effect::SendToAll(_) | Effect::Report(_) | Effect::Whois { .. } => continue,
                Effect::Submit { .. } => panic!("each change is settled"),
            };
            let mut once = to.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), to.len(), "a client is sent an event twice");
            sent.extend(to.into_iter().filter_map(|id| self.line(id, &event)));
        }
        sent
    }

    fn line(&self, id: ClientId, event: &Event) -> Option<String> {
        let mut bytes = Vec::new();
        encode(self.dialects[&id], event, None, &mut bytes);
        (!bytes.is_empty()).then(|| format!("{}< {}", LABELS[id.0 as usize], in_words(event)))
    }
}

fn in_words(event: &Event) -> String {
    let all = |names: &[Name]| names.iter().map(|name| format!(" {name}")).collect::<String>();
    match event {
        Event::Welcome { name, .. } => format!("welcome {name}"),
        Event::YouJoined { room, others, more, seq, .. } => {
            format!("entered {} {} seq {seq}", room.as_str(), others.len() + more + 1)
        }
        Event::Joined { name, room, count, .. } => format!("joined {} {name} {count}", room.as_str()),
        Event::YouLeft { name, room, count, .. } => format!("gone {} {name} {count}", room.as_str()),
        Event::Left { name, room, count, .. } => format!("left {} {name} {count}", room.as_str()),
        Event::Message { room, message, .. } => {
            format!("said {} {}", room.as_str(), message_in_words(message))
        }
        Event::History { room, messages, .. } => {
            let messages: String = messages.iter().map(|m| format!(" [{}]", message_in_words(m))).collect();
            format!("history {}{messages}", room.as_str())
        }
        Event::Lost { room, count: Some(count) } => format!("lost {} {count}", room.as_str()),
        Event::Lost { room, count: None } => format!("lost {}", room.as_str()),
        Event::Position { position, .. } => format!("at {position}"),
        Event::PrivateSent { from, to, text, .. } => format!("told {from} {to} {text}"),
        Event::Private { from, text, .. } => format!("private {from} {text}"),
        Event::Who { room, names, more } => format!("who {}{} +{more}", room.as_str(), all(names)),
        Event::Rooms { rooms, more } => {
            let rooms: String =
                rooms.iter().map(|(room, count)| format!(" {} {count}", room.as_str())).collect();
            format!("rooms{rooms} +{more}")
        }
        Event::YouWereRenamed { from, to, .. } => format!("you {from} {to}"),
        Event::Renamed { room, from, to, .. } => format!("renamed {} {from} {to}", room.as_str()),
        Event::Relayed(Payload::Text(text)) => format!("relayed {text:?}"),
        Event::Relayed(Payload::Binary(bytes)) => format!("relayed bytes {}", bytes.escape_ascii()),
        Event::Problem { problem, .. } => format!("problem {}", problem.code()),
        Event::AskName => "what name".into(),
        other => format!("{other:?}"),
    }
}

fn message_in_words(message: &Message) -> String {
    let act = if message.kind == MessageKind::Emote { "* " } else { "" };
    let body = match &message.body {
        Body::Text(text) => text.as_str(),
        Body::Data(json) => json,
    };
    format!("{} {act}{} {body}", message.seq, message.from)
}
