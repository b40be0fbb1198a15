//! What the JSON door tells: every event as an object.

use std::fmt::Display;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::codec::{APART, TOGETHER, Tag, websocket};
use crate::protocol::{Body, CloseReason, Event, Manner, Message, Sender, UniqueId};
use crate::text::{Name, RoomName, Text};

/// What the server sends: an object whose `type` is the variant's name.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Told<'a> {
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
        said: Said<'a>,
        #[serde(flatten)]
        extra: Extra<'a>,
    },
    History {
        room: &'a str,
        epoch: String,
        messages: Vec<Said<'a>>,
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
    Bye {
        reason: &'a str,
    },
}

/// What some of them have.
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
    since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
}

/// The id of a client, as text.
struct Id(UniqueId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct RoomCount<'a> {
    room: &'a str,
    count: usize,
}

/// A message, wherever it is told of.
#[derive(Serialize)]
struct Said<'a> {
    from: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    seq: u64,
    at: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    me: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'static str>,
}

impl<'a> From<&'a Message> for Said<'a> {
    fn from(message: &'a Message) -> Said<'a> {
        let (text, data) = match &message.body {
            Body::Text(text) => (Some(text.as_str()), None),
            Body::Data(json) => (None, raw(json)),
        };
        let (by, via) = match message.sender {
            Sender::Client(id) => (Some(Id(id)), None),
            Sender::Http => (None, Some(Sender::VIA_HTTP)),
            Sender::Unknown => (None, None),
        };
        let (from, me) = (message.from.as_str(), message.manner == Manner::Act);
        Said { from, by, via, text, data, seq: message.seq, at: message.at_unix_millis, me }
    }
}

/// JSON that is known to be well formed.
fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
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
            if let Some(told) = told(event, tag) {
                websocket::text(out, |out| put(&told, out));
            }
        }
    }
}

/// Appends the close frame that ends a WebSocket for that reason.
pub fn close(reason: CloseReason, out: &mut Vec<u8>) {
    if let Some(code) = reason.websocket_code() {
        websocket::close(out, code, reason.farewell().unwrap_or_default());
    }
}

/// Appends an event as an object; nothing, if this door has no word for it.
pub fn write(event: &Event, tag: Option<&Tag>, out: &mut Vec<u8>) {
    if let Some(told) = told(event, tag) {
        put(&told, out);
    }
}

/// Appends a message as an object.
pub fn write_message(room: &RoomName, message: &Message, tag: Option<&Tag>, out: &mut Vec<u8>) {
    put(&Told::Message { room: room.as_str(), said: message.into(), extra: marked(tag) }, out);
}

fn put(told: &Told<'_>, out: &mut Vec<u8>) {
    serde_json::to_writer(out, told).expect("strings and numbers, into a vector");
}

fn marked(tag: Option<&Tag>) -> Extra<'_> {
    Extra { id: tag.and_then(|tag| raw(&tag.0)), ..Extra::default() }
}

fn notice(text: impl Display) -> Told<'static> {
    Told::Notice { text: text.to_string() }
}

/// An event as an object; `None`, if this door has no word for it.
fn told<'a>(event: &'a Event, tag: Option<&'a Tag>) -> Option<Told<'a>> {
    let extra = marked(tag);
    Some(match event {
        Event::Welcome { id, name } => Told::Welcome { id: Id(*id), name: name.as_str() },
        Event::Private { by, from, text } => {
            let extra = Extra { by: by.map(Id), ..extra };
            Told::Private { from: from.as_str(), text: text.as_str(), extra }
        }
        Event::Told { by, from, to, text } => {
            let extra = Extra { by: Some(Id(*by)), to: Some(to.as_str()), ..extra };
            Told::Private { from: from.as_str(), text: text.as_str(), extra }
        }
        Event::Rooms { rooms, more } => Told::Rooms {
            rooms: rooms
                .iter()
                .map(|(room, count)| RoomCount { room: room.as_str(), count: *count })
                .collect(),
            count: rooms.len() + more,
            extra,
        },
        Event::YouAre { by, from, to } => {
            let extra = Extra { by: Some(Id(*by)), ..extra };
            Told::Nick { from: from.as_str(), to: to.as_str(), extra }
        }
        Event::Missed { room, count } => {
            let extra = Extra { room: room.as_ref().map(RoomName::as_str), ..extra };
            Told::Missed { count: Some(*count), extra }
        }
        Event::Problem { problem, .. } => {
            Told::Error { code: problem.code(), text: problem.to_string(), extra }
        }
        Event::Pong => Told::Pong { extra },
        Event::Bye(reason) => Told::Bye { reason: reason.farewell().unwrap_or_default() },
        Event::Greeting(line) => notice(line),
        Event::Apart => notice(APART),
        Event::Together => notice(TOGETHER),
        Event::Delayed => notice("you send fast: your messages are slowed down, none is lost"),
        Event::Waiting(1) => notice("the server is full. you are next, please wait"),
        Event::Waiting(place) => {
            notice(format_args!("the server is full. you are number {place} in the queue, please wait"))
        }
        Event::WhatName | Event::Help | Event::Past { .. } | Event::NoPast => return None,
        Event::Relayed(_) | Event::Position(_) => return None,
        of_a_room => return told_of_room(of_a_room, extra),
    })
}

/// The same, of something that happened in a room.
fn told_of_room<'a>(event: &'a Event, extra: Extra<'a>) -> Option<Told<'a>> {
    Some(match event {
        Event::Entered { by, name, room, others, more, epoch, seq, since, .. } => {
            let (by, epoch) = (Some(Id(*by)), Some(epoch.to_string()));
            let extra = Extra { by, epoch, seq: Some(*seq), since: Some(*since), ..extra };
            Told::Joined { room: room.as_str(), name: name.as_str(), count: others.len() + more + 1, extra }
        }
        Event::Joined { by, name, room, count } => {
            let extra = Extra { by: Some(Id(*by)), ..extra };
            Told::Joined { room: room.as_str(), name: name.as_str(), count: *count, extra }
        }
        Event::Gone { by, name, room, count } => {
            let extra = Extra { by: Some(Id(*by)), ..extra };
            Told::Left { room: room.as_str(), name: name.as_str(), count: *count, extra }
        }
        Event::Left { by, name, room, reason, count } => {
            let extra = Extra { by: Some(Id(*by)), reason: reason.as_ref().map(Text::as_str), ..extra };
            Told::Left { room: room.as_str(), name: name.as_str(), count: *count, extra }
        }
        Event::Message { room, message, .. } => {
            Told::Message { room: room.as_str(), said: Said::from(&**message), extra }
        }
        Event::History { room, epoch, messages } => {
            let messages = messages.iter().map(|message| Said::from(&**message)).collect();
            Told::History { room: room.as_str(), epoch: epoch.to_string(), messages, extra }
        }
        Event::Who { room, names, more } => {
            let names: Vec<&str> = names.iter().map(Name::as_str).collect();
            Told::Who { room: room.as_str(), count: names.len() + more, names, extra }
        }
        Event::Renamed { room, by, from, to } => {
            let extra = Extra { room: Some(room.as_str()), by: Some(Id(*by)), ..extra };
            Told::Nick { from: from.as_str(), to: to.as_str(), extra }
        }
        Event::Gap { room, count } | Event::Lost { room, count } => {
            Told::Missed { count: *count, extra: Extra { room: Some(room.as_str()), ..extra } }
        }
        Event::Crowd { room, joined, left, count } => {
            Told::Count { room: room.as_str(), joined: *joined, left: *left, count: *count }
        }
        _ => return None,
    })
}
