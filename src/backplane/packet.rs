//! The packets between the processes of one chat: JSON objects, which other programs can read too.
//!
//! `{"chinwag":"00c0ffee00c0ffee","type":"say","epoch":1,"n":7,"at":1700000000000,"from":"ann","text":"hi","by":3}`
//!
//! A payload without the prefix was published by another program. Received packets are checked by the same rules as input of
//! clients, because anybody with access to Redis can publish.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::codec::json;
use crate::config::MOST_ROOMS_PER_CLIENT;
use crate::protocol::{Body, MessageKind, Payload, Presence, Sender, UniqueId};
use crate::text::{Name, RoomName, Text};

/// The prefix of each packet.
const PREFIX: &[u8] = br#"{"chinwag":"#;

/// The sequence number of a message among those of one process in one room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Offset {
    /// A process that has removed a room's state begins a new, higher epoch.
    pub epoch: u32,
    /// From 1; 0 is before the first message.
    pub n: u64,
}

/// The ages of the first and the last message of an epoch. They are durations, since the clocks of two machines differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ages {
    pub first_millis: u64,
    pub last_millis: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    pub process: u64,
    pub body: PacketBody,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PacketBody {
    /// In a room's channel.
    Message {
        offset: Offset,
        from: Name,
        /// If it is a client, it belongs to the publishing process.
        sender: Sender,
        /// Milliseconds since the Unix epoch.
        at: u64,
        /// `None` if it is missing or invalid.
        content: Option<Content>,
    },
    /// In a room's channel: the offset of the process's last message.
    Watermark {
        offset: Offset,
        /// `None` if there are no messages.
        ages: Option<Ages>,
        /// Request the watermarks of the other processes.
        asks: bool,
    },
    /// In a process's channel: a private message for one of its clients.
    Private {
        /// The sequence number among the private messages of the publishing process, to detect duplicates.
        n: u64,
        to: Name,
        /// `None` if the publishing process is too old to send the id.
        by: Option<UniqueId>,
        from: Name,
        text: Text,
    },
    /// In a process's channel: a private message found no recipient.
    Undelivered { from: Name, to: Name },
    /// In `@presence`: changes of the process's clients.
    Clients { version: u64, changes: Vec<Change> },
    /// In `@presence`: the process is alive.
    Heartbeat {
        /// The version of the published state of its clients.
        version: u64,
        /// The process has started or returned, and requests the heartbeats of the others.
        hello: bool,
    },
    /// In `@presence`: the process has ended.
    Bye,
}

/// The content of a message in a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    Body(MessageKind, Body),
    Relayed(Payload),
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Content::Body(_, body) => body.len(),
            Content::Relayed(Payload::Text(text)) => text.len(),
            Content::Relayed(Payload::Binary(bytes)) => bytes.len(),
        }
    }
}

/// The new state of a client; `Err` has the reason why it is gone.
pub type PresenceChange = Result<Presence, Option<Text>>;

/// A client's serial number and its new state.
pub type Change = (u32, PresenceChange);

/// A packet as JSON. Each type has some of the fields.
#[derive(Serialize, Deserialize, Default)]
struct Wire<'a> {
    chinwag: String,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(borrow, default, deserialize_with = "json::present", skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    /// Base64 (RFC 4648, 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    /// The serial number of the sending client. Older processes omit it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<u32>,
    /// The origin, if no client sent the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Vec<WireClient>>,
}

/// A client in a packet, or without `id` in the hash of its process.
#[derive(Serialize, Deserialize, Default)]
struct WireClient {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    /// `None` if the client is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rooms: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether a payload is a packet, and not of another program.
pub fn is_packet(payload: &[u8]) -> bool {
    payload.starts_with(PREFIX)
}

/// The prefix of a process's packets.
pub fn signature(process: u64) -> Vec<u8> {
    [PREFIX, format!("\"{}\"", process_as_text(process)).as_bytes()].concat()
}

/// A process's number as text.
pub fn process_as_text(process: u64) -> String {
    format!("{process:016x}")
}

/// Parses a process's number. PeerStream spellings are refused, since a process with two spellings would count as two.
fn process_of_text(text: &str) -> Option<u64> {
    let process = u64::from_str_radix(text, 16).ok()?;
    (process_as_text(process) == text).then_some(process)
}

/// Parses a packet; `None` if it is malformed.
pub fn decode(payload: &[u8]) -> Option<Packet> {
    let wire: Wire<'_> = serde_json::from_slice(payload).ok()?;
    let process = process_of_text(&wire.chinwag)?;
    let name = |raw: &Option<String>| Name::of_remote(raw.as_deref()?);
    let body = match wire.kind {
        "say" | "me" | "raw" => {
            let (offset, from, sender) = (wire.offset()?, name(&wire.from)?, wire.sender(process));
            PacketBody::Message { offset, from, sender, at: wire.at?, content: wire.content() }
        }
        "ask" | "mark" => {
            PacketBody::Watermark { offset: wire.offset()?, ages: wire.ages(), asks: wire.kind == "ask" }
        }
        "private" => PacketBody::Private {
            n: wire.n?,
            to: name(&wire.to)?,
            by: wire.by.map(|serial| UniqueId { process, serial }),
            from: name(&wire.from)?,
            text: Text::clean_lines(wire.text.as_deref()?)?,
        },
        "nobody" => PacketBody::Undelivered { from: name(&wire.from)?, to: name(&wire.to)? },
        "clients" => {
            let changes = wire.clients?.into_iter().map(WireClient::into_change);
            PacketBody::Clients { version: wire.version?, changes: changes.collect::<Option<_>>()? }
        }
        "hello" | "beat" => PacketBody::Heartbeat { version: wire.version?, hello: wire.kind == "hello" },
        "bye" => PacketBody::Bye,
        _ => return None,
    };
    Some(Packet { process, body })
}

pub fn encode(packet: &Packet) -> Vec<u8> {
    to_json(&Wire { chinwag: process_as_text(packet.process), ..Wire::of(&packet.body) })
}

/// Parses a client's field in the hash of its process.
pub fn decode_presence(value: &[u8]) -> Option<Presence> {
    serde_json::from_slice::<WireClient>(value).ok()?.into_presence()
}

/// Encodes a client's field in the hash of its process.
pub fn encode_presence(presence: &Presence) -> Vec<u8> {
    to_json(&WireClient::of(presence))
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and checked JSON can always be encoded.
    serde_json::to_vec(value).unwrap_or_default()
}

impl<'a> Wire<'a> {
    fn of(body: &'a PacketBody) -> Wire<'a> {
        let string = |name: &Name| Some(name.as_str().to_string());
        match body {
            PacketBody::Message { offset, from, sender, at, content } => {
                let wire = Wire::of_content(content.as_ref()).with(*offset).with_sender(*sender);
                Wire { at: Some(*at), from: string(from), ..wire }
            }
            PacketBody::Watermark { offset, ages, asks } => {
                let (first, last) = ages.map(|ages| (ages.first_millis, ages.last_millis)).unzip();
                Wire { first, last, ..Wire::of_kind(if *asks { "ask" } else { "mark" }).with(*offset) }
            }
            PacketBody::Private { n, to, by, from, text } => {
                let (text, by) = (Some(text.as_str().to_string()), by.map(|id| id.serial));
                Wire { n: Some(*n), to: string(to), from: string(from), by, text, ..Wire::of_kind("private") }
            }
            PacketBody::Undelivered { from, to } => {
                Wire { to: string(to), from: string(from), ..Wire::of_kind("nobody") }
            }
            PacketBody::Clients { version, changes } => {
                let clients = changes.iter().map(WireClient::of_change).collect();
                Wire { version: Some(*version), clients: Some(clients), ..Wire::of_kind("clients") }
            }
            PacketBody::Heartbeat { version, hello } => {
                let kind = if *hello { "hello" } else { "beat" };
                Wire { version: Some(*version), ..Wire::of_kind(kind) }
            }
            PacketBody::Bye => Wire::of_kind("bye"),
        }
    }

    fn of_kind(kind: &'a str) -> Wire<'a> {
        Wire { kind, ..Wire::default() }
    }

    fn of_content(content: Option<&'a Content>) -> Wire<'a> {
        let kind = match content {
            Some(Content::Body(MessageKind::Emote, _)) => "me",
            Some(Content::Relayed(_)) => "raw",
            Some(Content::Body(MessageKind::Say, _)) | None => "say",
        };
        let wire = Wire::of_kind(kind);
        match content {
            Some(Content::Body(_, Body::Text(text))) => Wire { text: Some(text.as_str().into()), ..wire },
            Some(Content::Body(_, Body::Data(json))) => {
                Wire { data: serde_json::from_str(json).ok(), ..wire }
            }
            Some(Content::Relayed(Payload::Text(text))) => Wire { text: Some(text.to_string()), ..wire },
            Some(Content::Relayed(Payload::Binary(bytes))) => {
                Wire { bytes: Some(BASE64.encode(bytes)), ..wire }
            }
            None => wire,
        }
    }

    fn with(self, offset: Offset) -> Wire<'a> {
        Wire { epoch: Some(offset.epoch), n: Some(offset.n), ..self }
    }

    fn with_sender(self, sender: Sender) -> Wire<'a> {
        match sender {
            Sender::Client(id) => Wire { by: Some(id.serial), ..self },
            Sender::Http => Wire { via: Some(Sender::VIA_HTTP.into()), ..self },
            Sender::Unknown => self,
        }
    }

    /// A message with `via` is no client's, even if it has a `by`.
    fn sender(&self, process: u64) -> Sender {
        match (self.via.as_deref(), self.by) {
            (Some(Sender::VIA_HTTP), _) => Sender::Http,
            (None, Some(serial)) => Sender::Client(UniqueId { process, serial }),
            _ => Sender::Unknown,
        }
    }

    fn offset(&self) -> Option<Offset> {
        Some(Offset { epoch: self.epoch?, n: self.n? })
    }

    fn ages(&self) -> Option<Ages> {
        Some(Ages { first_millis: self.first?, last_millis: self.last? })
    }

    fn content(&self) -> Option<Content> {
        let text = self.text.as_deref();
        match self.kind {
            "raw" => {
                let text = text.map(|text| Payload::Text(text.into()));
                let bytes =
                    || Some(Payload::Binary(BASE64.decode(self.bytes.as_ref()?.as_bytes()).ok()?.into()));
                text.or_else(bytes).map(Content::Relayed)
            }
            kind => {
                let kind = if kind == "me" { MessageKind::Emote } else { MessageKind::Say };
                let text = text.and_then(Text::clean_lines).map(Body::Text);
                let data = || json::body(self.data?.get()).ok();
                text.or_else(data).map(|body| Content::Body(kind, body))
            }
        }
    }
}

impl WireClient {
    fn of(presence: &Presence) -> WireClient {
        WireClient {
            name: Some(presence.name.as_str().into()),
            since: Some(presence.since_unix_millis),
            rooms: presence.rooms.iter().map(|room| room.as_str().into()).collect(),
            ..WireClient::default()
        }
    }

    fn of_change((id, state): &Change) -> WireClient {
        let client = match state {
            Ok(presence) => WireClient::of(presence),
            Err(reason) => {
                let reason = reason.as_ref().map(|reason| reason.as_str().into());
                WireClient { reason, ..WireClient::default() }
            }
        };
        WireClient { id: Some(*id), ..client }
    }

    fn into_presence(self) -> Option<Presence> {
        if self.rooms.len() > MOST_ROOMS_PER_CLIENT {
            return None;
        }
        let rooms = self.rooms.iter().map(|room| RoomName::parse(room).ok());
        Some(Presence {
            name: Name::of_remote(&self.name?)?,
            since_unix_millis: self.since?,
            rooms: rooms.collect::<Option<_>>()?,
        })
    }

    fn into_change(self) -> Option<Change> {
        let id = self.id?;
        match self.name {
            None => Some((id, Err(self.reason.as_deref().and_then(Text::clean)))),
            Some(_) => Some((id, Ok(self.into_presence()?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(raw: &str) -> Name {
        Name::of_remote(raw).unwrap()
    }

    fn presence() -> Presence {
        let rooms = vec![RoomName::lobby(), RoomName::parse("kitchen").unwrap()];
        Presence { name: name("ann"), since_unix_millis: 12, rooms }
    }

    #[test]
    fn packets_are_decoded_as_they_were_encoded() {
        let offset = Offset { epoch: 3, n: 9 };
        let by = UniqueId { process: 0xC0FFEE, serial: 4 };
        let sent = |sender, content| PacketBody::Message {
            offset,
            from: name("guest-7"),
            sender,
            at: 5,
            content: Some(content),
        };
        let message = |content| sent(Sender::Client(by), content);
        let text = Text::clean_lines("one\ntwo \"quoted\"").unwrap();
        for body in [
            message(Content::Body(MessageKind::Say, Body::Text(text.clone()))),
            message(Content::Body(MessageKind::Emote, Body::Text(text.clone()))),
            message(Content::Body(MessageKind::Say, Body::Data(r#"{"a":[1e400,null]}"#.into()))),
            message(Content::Body(MessageKind::Say, Body::Data("null".into()))),
            sent(Sender::Http, Content::Body(MessageKind::Say, Body::Text(text.clone()))),
            sent(Sender::Unknown, Content::Body(MessageKind::Say, Body::Text(text.clone()))),
            message(Content::Relayed(Payload::Text("\u{0} any\n".into()))),
            message(Content::Relayed(Payload::Binary([0, 255, 10].into()))),
            PacketBody::Watermark { offset, ages: None, asks: true },
            PacketBody::Watermark {
                offset,
                ages: Some(Ages { first_millis: 9, last_millis: 0 }),
                asks: false,
            },
            PacketBody::Private { n: 8, to: name("bo"), by: Some(by), from: name("ann"), text: text.clone() },
            PacketBody::Private { n: 9, to: name("bo"), by: None, from: name("ann"), text: text.clone() },
            PacketBody::Undelivered { from: name("ann"), to: name("bo") },
            PacketBody::Clients {
                version: 2,
                changes: vec![(1, Ok(presence())), (2, Err(None)), (3, Err(Text::clean("lunch")))],
            },
            PacketBody::Heartbeat { version: 4, hello: true },
            PacketBody::Heartbeat { version: 4, hello: false },
            PacketBody::Bye,
        ] {
            let packet = Packet { process: 0xC0FFEE, body };
            let written = encode(&packet);
            assert!(is_packet(&written) && written.starts_with(&signature(0xC0FFEE)));
            assert_eq!(decode(&written), Some(packet), "{}", String::from_utf8_lossy(&written));
        }
        assert_eq!(decode_presence(&encode_presence(&presence())), Some(presence()));
    }

    #[test]
    fn packet_of_an_older_process_or_with_an_unknown_origin_has_an_unknown_sender() {
        let head =
            r#"{"chinwag":"000000000000000a","type":"say","epoch":1,"n":1,"at":1,"from":"ann","text":"hi""#;
        let sender = |rest: &str| match decode(format!("{head}{rest}}}").as_bytes()).map(|packet| packet.body)
        {
            Some(PacketBody::Message { sender, .. }) => Some(sender),
            _ => None,
        };
        assert_eq!(sender(""), Some(Sender::Unknown));
        assert_eq!(sender(r#","by":7"#), Some(Sender::Client(UniqueId { process: 10, serial: 7 })));
        assert_eq!(sender(r#","via":"http""#), Some(Sender::Http));
        assert_eq!(sender(r#","by":7,"via":"http""#), Some(Sender::Http), "it may not pass for a client's");
        assert_eq!(sender(r#","by":7,"via":"pigeon""#), Some(Sender::Unknown));
        for bad in [r#","by":"7""#, r#","by":-1"#, r#","by":4294967296"#, r#","via":7"#] {
            assert_eq!(sender(bad), None, "{bad}");
        }
        let private =
            br#"{"chinwag":"000000000000000a","type":"private","n":1,"to":"bo","from":"ann","text":"hi"}"#;
        assert!(matches!(decode(private), Some(Packet { body: PacketBody::Private { by: None, .. }, .. })));
    }

    #[test]
    fn invalid_packets_are_refused() {
        let head = r#"{"chinwag":"000000000000000a","type":"say","epoch":1,"n":1,"at":1,"from""#;
        assert!(decode(format!(r#"{head}:"ann","text":"hi"}}"#).as_bytes()).is_some());
        let parsed = |rest: &str| decode(format!("{head}:{rest}}}").as_bytes()).map(|packet| packet.body);
        for bad in [r#""an n","text":"hi""#, r#""","text":"hi""#, "7", r#""ann","text":7"#] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
        let escaped = parsed(r#""ann","text":"a\u001b[2Jb""#);
        let clean = Some(Content::Body(MessageKind::Say, Body::Text(Text::clean("a[2Jb").unwrap())));
        assert!(matches!(escaped, Some(PacketBody::Message { content, .. }) if content == clean));
        // The offset is still used, so that the loss is reported.
        for empty in [r#""ann","text":" ""#, r#""ann""#] {
            assert!(matches!(parsed(empty), Some(PacketBody::Message { content: None, .. })), "{empty}");
        }
        let bye = |process: &str| decode(format!(r#"{{"chinwag":"{process}","type":"bye"}}"#).as_bytes());
        assert!(bye("000000000000000a").is_some());
        for other in ["x", "a", "A", "000000000000000A", "+00000000000000a", "0000000000000000a"] {
            assert_eq!(bye(other), None, "{other}");
        }
        assert_eq!(decode(br#"{"chinwag":"000000000000000a","type":"sing"}"#), None);
        assert_eq!(
            decode(br#"{"chinwag":"000000000000000a","type":"clients","version":1,"clients":[{"id":1,"name":"a b"}]}"#),
            None
        );
        assert_eq!(decode_presence(br#"{"name":"ann","since":1,"rooms":["a b"]}"#), None);
        let in_rooms = |count: usize| {
            let rooms: Vec<String> = (0..count).map(|n| format!("\"r{n}\"")).collect();
            decode_presence(format!(r#"{{"name":"ann","since":1,"rooms":[{}]}}"#, rooms.join(",")).as_bytes())
        };
        assert_eq!(in_rooms(MOST_ROOMS_PER_CLIENT).unwrap().rooms.len(), MOST_ROOMS_PER_CLIENT);
        assert_eq!(in_rooms(MOST_ROOMS_PER_CLIENT + 1), None);
    }
}
