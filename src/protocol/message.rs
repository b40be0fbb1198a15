//! Messages: [`Message`] of people, and [`Payload`] of programs.

use std::borrow::Cow;

use super::{MessageId, Sender};
use crate::text::{Name, Text, clean};

/// A message of a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub from: Name,
    pub sender: Sender,
    pub kind: MessageKind,
    pub body: Body,
    /// The sequence number in the room, ascending from 1. 0: it has none, or not yet.
    pub seq: u64,
    /// `None` if this process alone numbers the room: then the number identifies the message. Another program's message in
    /// Redis has none either.
    pub id: Option<MessageId>,
    pub at_unix_millis: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// `ann: hi`
    Say,
    /// `* ann waves`
    Emote,
}

/// The body of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    Text(Text),
    /// A JSON value: well formed, without white space between its tokens.
    Data(Box<str>),
}

impl Body {
    /// The body as line clients see it.
    pub fn as_line(&self) -> Cow<'_, str> {
        match self {
            Body::Text(text) => text.one_line(),
            Body::Data(json) => clean(json),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Body::Text(text) => text.as_str().len(),
            Body::Data(json) => json.len(),
        }
    }

    /// Whether the length is zero. No parsed body is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A program's message, byte for byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl Payload {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Payload::Text(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload as text for people; `None` if it is binary or blank.
    pub fn as_text(&self) -> Option<Text> {
        match self {
            Payload::Text(text) => Text::clean_lines(text),
            Payload::Binary(_) => None,
        }
    }
}
