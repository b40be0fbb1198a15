//! Encoding events as JSON objects.

use std::fmt::Display;

use serde::Serialize;
use serde_json::value::RawValue;

use super::fields::{BanFields, Id, MessageFields, RoomCount, raw};
use crate::codec::{CONNECTED, DISCONNECTED, Tag, websocket};
use crate::protocol::{CloseReason, Event, Message, Problem, Whois};
use crate::text::{Name, RoomName, Text};

/// A message of the server: an object whose `type` is the variant's name.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ServerMessage<'a> {
    Welcome {
        id: Id,
        name: &'a str,
    },
    Joined {
        room: &'a str,
        name: &'a str,
        count: usize,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Left {
        room: &'a str,
        name: &'a str,
        count: usize,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Message {
        room: &'a str,
        #[serde(flatten)]
        said: MessageFields<'a>,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    History {
        room: &'a str,
        epoch: String,
        messages: Vec<MessageFields<'a>>,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Private {
        from: &'a str,
        text: &'a str,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Who {
        room: &'a str,
        names: Vec<&'a str>,
        count: usize,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Rooms {
        rooms: Vec<RoomCount<'a>>,
        count: usize,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Nick {
        from: &'a str,
        to: &'a str,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Count {
        room: &'a str,
        joined: u32,
        left: u32,
        count: usize,
    },
    Notice {
        text: String,
    },
    Missed {
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Position {
        room: &'a str,
        epoch: String,
        seq: u64,
    },
    Error {
        code: &'a str,
        text: String,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Pong {
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Login {
        name: &'a str,
        role: &'static str,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Expiring {
        /// Seconds.
        #[serde(rename = "in")]
        within: u64,
    },
    Registered {
        name: &'a str,
        token: &'a str,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Rights {
        room: &'a str,
        speak: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    Topic {
        room: &'a str,
        /// `null`: the room has no topic.
        text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<&'a str>,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Done {
        text: &'a str,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Bans {
        bans: Vec<BanFields<'a>>,
        count: usize,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Ignored {
        names: Vec<&'a str>,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Flagged {
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<&'a str>,
        text: &'a str,
    },
    Whois {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        account: Option<&'a str>,
        role: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        away: Option<&'a str>,
        /// Seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        connected: Option<u64>,
        /// Seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        idle: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<&'a str>,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    Bye {
        reason: &'a str,
    },
}

/// Fields of some messages.
#[derive(Serialize, Default)]
struct Extra<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
}

/// Appends an event in a WebSocket frame.
pub fn encode(event: &Event, tag: Option<&Tag>, out: &mut Vec<u8>) {
    match event {
        Event::Bye(reason) => {
            if reason.farewell().is_some() {
                websocket::text(out, |out| write(event, None, out));
            }
            close(*reason, out);
        }
        event => {
            if let Some(message) = server_message(event, tag) {
                websocket::text(out, |out| write_json(&message, out));
            }
        }
    }
}

/// Appends the close frame for `reason`.
pub fn close(reason: CloseReason, out: &mut Vec<u8>) {
    if let Some(code) = reason.websocket_code() {
        websocket::close(out, code, reason.farewell().unwrap_or_default());
    }
}

/// Appends an event as an object. Some events have none in this dialect.
pub fn write(event: &Event, tag: Option<&Tag>, out: &mut Vec<u8>) {
    if let Some(message) = server_message(event, tag) {
        write_json(&message, out);
    }
}

/// Appends a message as an object.
pub fn write_message(room: &RoomName, message: &Message, tag: Option<&Tag>, out: &mut Vec<u8>) {
    write_json(
        &ServerMessage::Message { room: room.as_str(), said: message.into(), extra: extra_with(tag) },
        out,
    );
}

fn write_json(message: &ServerMessage<'_>, out: &mut Vec<u8>) {
    serde_json::to_writer(out, message).expect("strings and numbers can always be written to a vector");
}

fn extra_with(tag: Option<&Tag>) -> Extra<'_> {
    Extra { id: tag.and_then(|tag| raw(&tag.0)), ..Extra::default() }
}

fn notice(text: impl Display) -> ServerMessage<'static> {
    ServerMessage::Notice { text: text.to_string() }
}

/// The object for an event; `None` if it has none in this dialect.
fn server_message<'a>(event: &'a Event, tag: Option<&'a Tag>) -> Option<ServerMessage<'a>> {
    let extra = extra_with(tag);
    Some(match event {
        Event::Welcome { id, name } => ServerMessage::Welcome { id: Id(*id), name: name.as_str() },
        Event::Private { by, from, text } => {
            let extra = Extra { by: Some(Id(*by)), ..extra };
            ServerMessage::Private { from: from.as_str(), text: text.as_str(), extra }
        }
        Event::PrivateSent { by, from, to, text } => {
            let extra = Extra { by: Some(Id(*by)), to: Some(to.as_str()), ..extra };
            ServerMessage::Private { from: from.as_str(), text: text.as_str(), extra }
        }
        Event::Rooms { rooms, more } => ServerMessage::Rooms {
            rooms: rooms
                .iter()
                .map(|(room, count)| RoomCount { room: room.as_str(), count: *count })
                .collect(),
            count: rooms.len() + more,
            extra,
        },
        Event::YouWereRenamed { by, from, to } => {
            let extra = Extra { by: Some(Id(*by)), ..extra };
            ServerMessage::Nick { from: from.as_str(), to: to.as_str(), extra }
        }
        Event::Missed { room, count } => {
            let extra = Extra { room: room.as_ref().map(RoomName::as_str), ..extra };
            ServerMessage::Missed { count: Some(*count), extra }
        }
        Event::Problem { problem, .. } => {
            ServerMessage::Error { code: problem.code(), text: problem.to_string(), extra }
        }
        Event::Pong => ServerMessage::Pong { extra },
        Event::LoggedIn { .. } | Event::Expiring(_) | Event::Registered { .. } => {
            return access_message(event, extra);
        }
        Event::Removed(_) | Event::Muted { .. } | Event::Moderated(_) => return access_message(event, extra),
        Event::Bans { .. } | Event::Whois(_) => return access_message(event, extra),
        Event::IsAway { .. } | Event::YouAreAway(_) => return access_message(event, extra),
        Event::Ignoring(_) | Event::Flagged { .. } => return access_message(event, extra),
        Event::Topic { .. } | Event::MaySpeak { .. } => return room_fields(event, extra),
        Event::Bye(reason) => ServerMessage::Bye { reason: reason.farewell().unwrap_or_default() },
        Event::Greeting(line) => notice(line),
        Event::Disconnected => notice(DISCONNECTED),
        Event::Connected => notice(CONNECTED),
        Event::Delayed => notice("you send fast: your messages are slowed down, none is lost"),
        Event::Waiting(1) => notice("the server is full. you are next, please wait"),
        Event::Waiting(place) => {
            notice(format_args!("the server is full. you are number {place} in the queue, please wait"))
        }
        Event::AskName | Event::Help | Event::HistoryEntry { .. } | Event::HistoryEmpty => return None,
        Event::Relayed(_) | Event::AskToken(_) => return None,
        Event::YouJoined { .. } | Event::Joined { .. } | Event::YouLeft { .. } | Event::Left { .. } => {
            return room_fields(event, extra);
        }
        Event::Message { .. } | Event::History { .. } => return history_fields(event, extra),
        Event::Position { .. } | Event::Lost { .. } => return history_fields(event, extra),
        Event::Who { .. } | Event::Renamed { .. } | Event::Crowd { .. } => return room_fields(event, extra),
    })
}

/// The object for an event of logins or moderation, or for an absence.
fn access_message<'a>(event: &'a Event, extra: Extra<'a>) -> Option<ServerMessage<'a>> {
    Some(match event {
        Event::LoggedIn { account, role } => {
            ServerMessage::Login { name: account.as_str(), role: role.as_str(), extra }
        }
        Event::Expiring(time) => ServerMessage::Expiring { within: time.as_secs() },
        Event::Registered { account, token } => {
            ServerMessage::Registered { name: account.as_str(), token: token.expose(), extra }
        }
        Event::Removed(removal) => notice(removal),
        Event::Muted { by, length: Some(length) } => notice(format_args!("{by} has muted you {length}")),
        Event::Muted { by, length: None } => notice(format_args!("{by} lets you speak again")),
        Event::Moderated(text) => ServerMessage::Done { text: text.as_str(), extra },
        Event::Bans { bans, more, .. } => {
            let count = bans.len() + more;
            ServerMessage::Bans { bans: bans.iter().map(BanFields::from).collect(), count, extra }
        }
        Event::Whois(whois) => whois_message(whois, extra),
        Event::IsAway { name, text } => notice(format_args!("{name} is away: {text}")),
        Event::Ignoring(names) => {
            ServerMessage::Ignored { names: names.iter().map(Text::as_str).collect(), extra }
        }
        Event::Flagged { author, text } => {
            ServerMessage::Flagged { from: author.as_ref().map(Name::as_str), text: text.as_str() }
        }
        Event::YouAreAway(true) => ServerMessage::Done { text: "you are away", extra },
        Event::YouAreAway(false) => ServerMessage::Done { text: "you are back", extra },
        other => {
            debug_assert!(false, "{other:?} is no event of access");
            return None;
        }
    })
}

fn whois_message<'a>(whois: &'a Whois, extra: Extra<'a>) -> ServerMessage<'a> {
    ServerMessage::Whois {
        name: whois.name.as_str(),
        account: whois.account.as_ref().map(Name::as_str),
        role: whois.role.as_str(),
        away: whois.away.as_ref().map(Text::as_str),
        connected: whois.connected.map(|time| time.as_secs()),
        idle: whois.idle.map(|time| time.as_secs()),
        address: whois.address.as_deref(),
        extra,
    }
}

/// The object for an event of a room.
fn room_fields<'a>(event: &'a Event, extra: Extra<'a>) -> Option<ServerMessage<'a>> {
    Some(match event {
        Event::YouJoined { by, name, room, others, more, epoch, seq, .. } => {
            let (by, epoch) = (Some(Id(*by)), Some(epoch.to_string()));
            let extra = Extra { by, epoch, seq: Some(*seq), ..extra };
            ServerMessage::Joined {
                room: room.as_str(),
                name: name.as_str(),
                count: others.len() + more + 1,
                extra,
            }
        }
        Event::Joined { by, name, room, count } => {
            let extra = Extra { by: Some(Id(*by)), ..extra };
            ServerMessage::Joined { room: room.as_str(), name: name.as_str(), count: *count, extra }
        }
        Event::YouLeft { by, name, room, count } => {
            let extra = Extra { by: Some(Id(*by)), ..extra };
            ServerMessage::Left { room: room.as_str(), name: name.as_str(), count: *count, extra }
        }
        Event::Left { by, name, room, reason, count } => {
            let extra = Extra { by: Some(Id(*by)), reason: reason.as_ref().map(Text::as_str), ..extra };
            ServerMessage::Left { room: room.as_str(), name: name.as_str(), count: *count, extra }
        }
        Event::Who { room, names, more } => {
            let names: Vec<&str> = names.iter().map(Name::as_str).collect();
            ServerMessage::Who { room: room.as_str(), count: names.len() + more, names, extra }
        }
        Event::Renamed { room, by, from, to } => {
            let extra = Extra { room: Some(room.as_str()), by: Some(Id(*by)), ..extra };
            ServerMessage::Nick { from: from.as_str(), to: to.as_str(), extra }
        }
        Event::Topic { room, by, text } => {
            let (text, from) = (text.as_ref().map(Text::as_str), by.as_ref().map(Name::as_str));
            ServerMessage::Topic { room: room.as_str(), text, from, extra }
        }
        Event::MaySpeak { room, denied } => {
            let text = denied.as_ref().map(ToString::to_string);
            let code = denied.as_ref().map(Problem::code);
            ServerMessage::Rights { room: room.as_str(), speak: denied.is_none(), code, text }
        }
        Event::Crowd { room, joined, left, count } => {
            ServerMessage::Count { room: room.as_str(), joined: *joined, left: *left, count: *count }
        }
        other => {
            debug_assert!(false, "{other:?} is no event of a room");
            return None;
        }
    })
}

/// The object for messages of a room, for a position among them, or for lost ones.
fn history_fields<'a>(event: &'a Event, extra: Extra<'a>) -> Option<ServerMessage<'a>> {
    Some(match event {
        Event::Message { room, message, .. } => {
            ServerMessage::Message { room: room.as_str(), said: MessageFields::from(&**message), extra }
        }
        Event::History { room, epoch, messages } => {
            let messages = messages.iter().map(|message| MessageFields::from(&**message)).collect();
            ServerMessage::History { room: room.as_str(), epoch: epoch.to_string(), messages, extra }
        }
        Event::Position { room, position } => ServerMessage::Position {
            room: room.as_str(),
            epoch: position.epoch.to_string(),
            seq: position.seq,
        },
        Event::Lost { room, count } => {
            ServerMessage::Missed { count: *count, extra: Extra { room: Some(room.as_str()), ..extra } }
        }
        other => {
            debug_assert!(false, "{other:?} has nothing of the history");
            return None;
        }
    })
}
