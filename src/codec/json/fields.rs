//! Parts of the objects: ids, messages, bans and rooms.

use std::fmt::Display;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::access::Ban;
use crate::protocol::{Body, Message, MessageId, MessageKind, Sender, UniqueId};
use crate::text::Text;

/// The id of a client or a message, as text.
pub struct Id<T = UniqueId>(pub T);

impl<T: Display> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A ban, for `bans`.
#[derive(Serialize)]
pub struct BanFields<'a> {
    pub target: String,
    pub by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl<'a> From<&'a Ban> for BanFields<'a> {
    fn from(ban: &'a Ban) -> BanFields<'a> {
        let reason = ban.reason.as_ref().map(Text::as_str);
        BanFields {
            target: ban.target.to_string(),
            by: ban.by.as_str(),
            reason,
            until: ban.until_unix_millis,
        }
    }
}

#[derive(Serialize)]
pub struct RoomCount<'a> {
    pub room: &'a str,
    pub count: usize,
}

/// The fields of a chat message, for `message` and `history`.
#[derive(Serialize)]
pub struct MessageFields<'a> {
    pub from: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    pub seq: u64,
    pub at: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub me: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Id<MessageId>>,
}

impl<'a> From<&'a Message> for MessageFields<'a> {
    fn from(message: &'a Message) -> MessageFields<'a> {
        let (text, data) = match &message.body {
            Body::Text(text) => (Some(text.as_str()), None),
            Body::Data(json) => (None, raw(json)),
        };
        let (by, via) = match message.sender {
            Sender::Client(id) => (Some(Id(id)), None),
            Sender::Http => (None, Some(Sender::VIA_HTTP)),
            Sender::Unknown => (None, None),
        };
        let (from, me) = (message.from.as_str(), message.kind == MessageKind::Emote);
        let (seq, at, uid) = (message.seq, message.at_unix_millis, message.id.map(Id));
        MessageFields { from, by, via, text, data, seq, at, me, uid }
    }
}

/// Wraps JSON that was checked when it was received.
pub fn raw(json: &str) -> Option<&RawValue> {
    let value = serde_json::from_str(json);
    debug_assert!(value.is_ok(), "JSON is checked when it is received: {json}");
    value.ok()
}
