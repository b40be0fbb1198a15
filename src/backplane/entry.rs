//! Entries: changes of rooms as JSON, as in `{"id":"00c0ffee00c0ffee-7","say":{"at":1700000000000,"from":"ann","text":"hi"}}`.
//!
//! Received entries are checked by the same rules as input of clients, because anybody with access to Redis can publish.

use std::collections::BTreeMap;
use std::rc::Rc;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::codec::json;
use crate::protocol::{Body, Change, Message, MessageId, MessageKind, Payload, Sender, UniqueId};
use crate::text::{Name, Text};

/// A received entry.
#[derive(Debug)]
pub struct ReceivedEntry {
    /// `None` if a script or another program has made it.
    pub id: Option<MessageId>,
    /// `None` if it is malformed or too long.
    pub change: Option<Change>,
}

/// The fields of an entry or a private message. Each kind has some of them.
#[derive(Serialize, Deserialize, Default)]
pub struct Fields<'a> {
    /// Milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// The origin, if no client sent the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The serial number of the client that receives a private message.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(borrow, default, deserialize_with = "json::present", skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    /// Base64 (RFC 4648, 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// Encodes a change of this process.
pub fn encode(id: MessageId, change: &Change) -> String {
    let kind = match change {
        Change::Message(message) if message.kind == MessageKind::Emote => "me",
        Change::Message(_) => "say",
        Change::Relayed { .. } => "raw",
        Change::Topic { .. } => "topic",
        Change::Joined { .. } => "joined",
        Change::Left { .. } => "left",
        Change::Renamed { .. } => "renamed",
        Change::Crowd { .. } => "crowd",
        Change::Lost { .. } => "lost",
    };
    format!(r#"{{"id":"{id}","{kind}":{}}}"#, to_json(&Fields::of(change)))
}

/// Decodes an entry. `seq` and `count` come from outside of it.
pub fn decode(raw: &[u8], seq: u64, count: usize, message_max_bytes: usize) -> ReceivedEntry {
    let parts = str::from_utf8(raw).ok().and_then(|raw| serde_json::from_str(raw).ok());
    let parts: BTreeMap<&str, &RawValue> = parts.unwrap_or_default();
    let id = parts.get("id").and_then(|id| serde_json::from_str::<&str>(id.get()).ok()?.parse().ok());
    let body = parts.iter().find(|(kind, _)| **kind != "id");
    let change = body.and_then(|(kind, fields)| {
        let fields: Fields<'_> = serde_json::from_str(fields.get()).ok()?;
        fields.change(kind, id, seq, count).filter(|change| len(change) <= message_max_bytes)
    });
    ReceivedEntry { id, change }
}

/// The topic of a room as Redis keeps it.
pub fn encode_topic(change: &Change) -> String {
    to_json(&Fields::of(change))
}

/// The author and the text of a topic.
pub fn decode_topic(raw: &[u8]) -> Option<(Option<Name>, Option<Text>)> {
    Some(serde_json::from_slice::<Fields<'_>>(raw).ok()?.topic())
}

/// Encodes a private message.
pub fn encode_private(to: u32, name: &Name, by: UniqueId, from: &Name, text: &Text) -> String {
    let [name, from] = [name, from].map(|name| Some(name.as_str().into()));
    let text = Some(text.as_str().into());
    to_json(&Fields { to: Some(to), name, by: Some(by.to_string()), from, text, ..Fields::default() })
}

/// The recipient, its name, the author, its name, and the text.
pub fn decode_private(raw: &[u8]) -> Option<(u32, Name, UniqueId, Name, Text)> {
    let fields: Fields<'_> = serde_json::from_slice(raw).ok()?;
    let text = Text::clean_lines(fields.text.as_deref()?)?;
    Some((fields.to?, name(&fields.name)?, fields.client()?, name(&fields.from)?, text))
}

/// Encodes the notice for the sender of a private message that the client is away.
pub fn encode_away(by: u32, name: &Name, text: &Text) -> String {
    let (name, text) = (Some(name.as_str().into()), Some(text.as_str().into()));
    let fields = Fields { to: Some(by), name, text, ..Fields::default() };
    format!("chinwag away {}", to_json(&fields))
}

/// The sender, the client that is away, and its text.
pub fn decode_away(raw: &str) -> Option<(u32, Name, Text)> {
    let fields: Fields<'_> = serde_json::from_str(raw).ok()?;
    Some((fields.to?, name(&fields.name)?, Text::clean(fields.text.as_deref()?)?))
}

/// The change with the id in its message.
pub fn with_id(change: Change, id: MessageId) -> Change {
    let with_id = |message: Rc<Message>| Rc::new(Message { id: Some(id), ..(*message).clone() });
    match change {
        Change::Message(message) => Change::Message(with_id(message)),
        Change::Relayed { payload, from, message } => {
            Change::Relayed { payload, from, message: message.map(with_id) }
        }
        other => other,
    }
}

/// The length of what a client has written, in bytes.
pub fn len(change: &Change) -> usize {
    match change {
        Change::Message(message) => message.body.len(),
        Change::Relayed { payload, .. } => payload.len(),
        Change::Topic { text, .. } => text.as_ref().map_or(0, |text| text.as_str().len()),
        _ => 0,
    }
}

/// Encodes a client as a member of rooms.
pub fn member(client: u32, name: &Name) -> String {
    format!("{client} {}", to_json(&name.as_str()))
}

/// The name of a member.
pub fn member_name(raw: &[u8]) -> Option<Name> {
    let (_, name) = str::from_utf8(raw).ok()?.split_once(' ')?;
    Name::of_remote(&serde_json::from_str::<String>(name).ok()?)
}

/// Parses the number of a client among those of all processes.
pub fn client(raw: &str) -> Option<UniqueId> {
    let id: MessageId = raw.parse().ok()?;
    Some(UniqueId { process: id.process, serial: id.serial.try_into().ok()? })
}

fn name(raw: &Option<String>) -> Option<Name> {
    Name::of_remote(raw.as_deref()?)
}

/// The text of a value.
pub fn to_json(value: &impl Serialize) -> String {
    // Strings, numbers and checked JSON can always be encoded.
    serde_json::to_string(value).unwrap_or_default()
}

impl<'a> Fields<'a> {
    fn of(change: &'a Change) -> Fields<'a> {
        let string = |name: &Name| Some(name.as_str().to_string());
        let text = |text: &Option<Text>| text.as_ref().map(|text| text.as_str().to_string());
        let empty = Fields::default();
        let by = |by: &UniqueId| Fields { by: Some(by.to_string()), ..Fields::default() };
        match change {
            Change::Message(message) => {
                let (text, data) = match &message.body {
                    Body::Text(text) => (Some(text.as_str().into()), None),
                    Body::Data(json) => (None, serde_json::from_str(json).ok()),
                };
                Fields { text, data, ..Fields::of_message(message) }
            }
            Change::Relayed { payload, from, message } => {
                let (text, bytes) = match payload {
                    Payload::Text(text) => (Some(text.to_string()), None),
                    Payload::Binary(bytes) => (None, Some(BASE64.encode(bytes))),
                };
                let fields = message.as_deref().map_or(empty, Fields::of_message);
                Fields { from: string(from), text, bytes, ..fields }
            }
            Change::Topic { by, text: topic } => {
                Fields { from: by.as_ref().and_then(string), text: text(topic), ..empty }
            }
            Change::Joined { by: id, name, .. } => Fields { name: string(name), ..by(id) },
            Change::Left { by: id, name, reason, .. } => {
                Fields { name: string(name), reason: text(reason), ..by(id) }
            }
            Change::Renamed { by: id, from, to, .. } => {
                Fields { from: string(from), name: string(to), ..by(id) }
            }
            Change::Crowd { joined, left, .. } => {
                Fields { joined: Some(*joined), left: Some(*left), ..empty }
            }
            Change::Lost { count } => Fields { count: Some(*count), ..empty },
        }
    }

    fn of_message(message: &Message) -> Fields<'a> {
        let (by, via) = match message.sender {
            Sender::Client(id) => (Some(id.to_string()), None),
            Sender::Http => (None, Some(Sender::VIA_HTTP.into())),
            Sender::Unknown => (None, None),
        };
        let (at, from) = (Some(message.at_unix_millis), Some(message.from.as_str().into()));
        Fields { at, by, via, from, ..Fields::default() }
    }

    fn change(&self, kind: &str, id: Option<MessageId>, seq: u64, count: usize) -> Option<Change> {
        let by = || self.client();
        Some(match kind {
            "say" | "me" => {
                let text = self.text.as_deref().and_then(Text::clean_lines).map(Body::Text);
                let body = text.or_else(|| json::body(self.data?.get()).ok())?;
                let kind = if kind == "me" { MessageKind::Emote } else { MessageKind::Say };
                Change::Message(self.message(kind, body, id, seq)?)
            }
            "raw" => {
                let text = self.text.as_deref();
                let shown = text.and_then(Text::clean_lines);
                let message =
                    shown.and_then(|text| self.message(MessageKind::Say, Body::Text(text), id, seq));
                let payload = match text {
                    Some(text) => Payload::Text(text.into()),
                    None => Payload::Binary(BASE64.decode(self.bytes.as_ref()?.as_bytes()).ok()?.into()),
                };
                Change::Relayed { payload, from: name(&self.from)?, message }
            }
            "topic" => {
                let (by, text) = self.topic();
                Change::Topic { by, text }
            }
            "joined" => Change::Joined { by: by()?, name: name(&self.name)?, count },
            "left" => {
                let reason = self.reason.as_deref().and_then(Text::clean);
                Change::Left { by: by()?, name: name(&self.name)?, reason, count }
            }
            "renamed" => Change::Renamed { by: by()?, from: name(&self.from)?, to: name(&self.name)?, count },
            "crowd" => Change::Crowd { joined: self.joined?, left: self.left?, count },
            "lost" => Change::Lost { count: self.count? },
            _ => return None,
        })
    }

    fn message(&self, kind: MessageKind, body: Body, id: Option<MessageId>, seq: u64) -> Option<Rc<Message>> {
        // A message with `via` is no client's, even if it has a `by`.
        let sender = match (self.via.as_deref(), self.client()) {
            (Some(Sender::VIA_HTTP), _) => Sender::Http,
            (None, Some(id)) => Sender::Client(id),
            _ => Sender::Unknown,
        };
        let (from, at_unix_millis) = (name(&self.from)?, self.at.unwrap_or_default());
        Some(Rc::new(Message { from, sender, kind, body, seq, id, at_unix_millis }))
    }

    fn client(&self) -> Option<UniqueId> {
        client(self.by.as_deref()?)
    }

    fn topic(&self) -> (Option<Name>, Option<Text>) {
        (name(&self.from), self.text.as_deref().and_then(Text::clean))
    }
}
