//! What the processes of one chat say to each other over Redis: JSON objects, so that other programs can read along.
//!
//! `{"chinwag":"00c0ffee00c0ffee","type":"say","epoch":1,"n":7,"at":1700000000000,"from":"ann","text":"hi","by":3}`
//!
//! Whatever does not begin like one was published by another program. What comes in is held to the same rules as what
//! clients send: a Redis is no safer than they are.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::codec::json;
use crate::config::MOST_ROOMS_PER_CLIENT;
use crate::protocol::{Body, MessageKind, Payload, Presence, Sender, UniqueId};
use crate::text::{Name, RoomName, Text};

/// How each of ours begins.
const OURS: &[u8] = br#"{"chinwag":"#;

/// The place of a message among those of one process for one room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Offset {
    /// Which numbering: when a process has forgotten one, the next has a higher number.
    pub epoch: u32,
    /// From 1; 0 stands before the first.
    pub n: u64,
}

/// How long ago the first message of a numbering was said, and the last. Spans, since the clocks of two machines differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ages {
    /// In milliseconds.
    pub first_millis: u64,
    /// In milliseconds.
    pub last_millis: u64,
}

/// Something that a process says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The process.
    pub process: u64,
    /// What.
    pub said: PacketBody,
}

/// What a process can say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PacketBody {
    /// In a room: something was said there.
    Message {
        /// Its number.
        place: Offset,
        /// The name it was said under.
        from: Name,
        /// Its sender; if that is a client, one of this process.
        sender: Sender,
        /// When, in milliseconds since the Unix epoch.
        at: u64,
        /// What; `None` if it says nothing, or breaks a rule.
        what: Option<What>,
    },
    /// In a room: that is the number of my last message. `asks`: what is yours?
    Mark {
        /// The number.
        place: Offset,
        /// How old the messages up to there are; `None` if there are none.
        ages: Option<Ages>,
        /// Whether it is a question.
        asks: bool,
    },
    /// To a process: something for one of its clients.
    Private {
        /// Its number among those of the process, so that what comes twice is noticed.
        n: u64,
        /// To whom.
        to: Name,
        /// The client of this process that said it; `None` if the process is too old to say.
        by: Option<UniqueId>,
        /// Its name.
        from: Name,
        /// What.
        text: Text,
    },
    /// To a process: that one is not here.
    Nobody {
        /// Who has said something.
        from: Name,
        /// To whom.
        called: Name,
    },
    /// To all: my clients changed so, and this is the version of what I have told of them.
    Clients {
        /// The version.
        version: u64,
        /// What changed.
        changes: Vec<Change>,
    },
    /// To all: I am here. `hello`: I have come, or come back; who are you?
    Beat {
        /// The version of what I have told of my clients.
        version: u64,
        /// Whether it is a question.
        hello: bool,
    },
    /// To all: I am gone.
    Bye,
}

/// What is said in a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A message.
    Body(MessageKind, Body),
    /// Something that a program passes on.
    Relayed(Payload),
}

impl What {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            What::Body(_, body) => body.len(),
            What::Relayed(Payload::Text(text)) => text.len(),
            What::Relayed(Payload::Binary(bytes)) => bytes.len(),
        }
    }
}

/// How things are with a client now; `Err` has the reason why it is gone.
pub type PresenceChange = Result<Presence, Option<Text>>;

/// A client by its number in its process, and its new state.
pub type Change = (u32, PresenceChange);

/// The object, with those of these that its type has.
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
    /// In base64 (RFC 4648, 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    /// The number of the client that said it. Processes before this field write none.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<u32>,
    /// The way it came, if no client sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Vec<WireClient>>,
}

/// A client in it; or, without its number, in the hash that has all of a process.
#[derive(Serialize, Deserialize, Default)]
struct WireClient {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    /// Only one that is gone has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rooms: Vec<String>,
    /// Why it is gone, if that is worth telling.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether a payload is one of ours.
pub fn is_ours(payload: &[u8]) -> bool {
    payload.starts_with(OURS)
}

/// How each of a process's packets begins.
pub fn signature(process: u64) -> Vec<u8> {
    [OURS, format!("\"{}\"", process_as_text(process)).as_bytes()].concat()
}

/// A process, as it is written.
pub fn process_as_text(process: u64) -> String {
    format!("{process:016x}")
}

/// Which process is written so. No other spelling of a number is one: who has two would be two processes.
fn process_of_text(text: &str) -> Option<u64> {
    let process = u64::from_str_radix(text, 16).ok()?;
    (process_as_text(process) == text).then_some(process)
}

/// Reads one of ours; `None` if it is none after all.
pub fn decode(payload: &[u8]) -> Option<Packet> {
    let wire: Wire<'_> = serde_json::from_slice(payload).ok()?;
    let process = process_of_text(&wire.chinwag)?;
    let name = |raw: &Option<String>| Name::of_remote(raw.as_deref()?);
    let said = match wire.kind {
        "say" | "me" | "raw" => {
            let (place, from, sender) = (wire.place()?, name(&wire.from)?, wire.sender(process));
            PacketBody::Message { place, from, sender, at: wire.at?, what: wire.what() }
        }
        "ask" | "mark" => {
            PacketBody::Mark { place: wire.place()?, ages: wire.ages(), asks: wire.kind == "ask" }
        }
        "private" => PacketBody::Private {
            n: wire.n?,
            to: name(&wire.to)?,
            by: wire.by.map(|serial| UniqueId { process, serial }),
            from: name(&wire.from)?,
            text: Text::clean_lines(wire.text.as_deref()?)?,
        },
        "nobody" => PacketBody::Nobody { from: name(&wire.from)?, called: name(&wire.to)? },
        "clients" => {
            let changes = wire.clients?.into_iter().map(WireClient::into_change);
            PacketBody::Clients { version: wire.version?, changes: changes.collect::<Option<_>>()? }
        }
        "hello" | "beat" => PacketBody::Beat { version: wire.version?, hello: wire.kind == "hello" },
        "bye" => PacketBody::Bye,
        _ => return None,
    };
    Some(Packet { process, said })
}

/// Writes a packet.
pub fn encode(packet: &Packet) -> Vec<u8> {
    written(&Wire { chinwag: process_as_text(packet.process), ..Wire::of(&packet.said) })
}

/// Reads how things are with a client from its field in the hash of its process.
pub fn decode_presence(value: &[u8]) -> Option<Presence> {
    serde_json::from_slice::<WireClient>(value).ok()?.into_presence()
}

/// Writes how things are with a client for its field in the hash of its process.
pub fn encode_presence(presence: &Presence) -> Vec<u8> {
    written(&WireClient::of(presence))
}

fn written(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and values that are JSON already: there is nothing in it that can't be written.
    serde_json::to_vec(value).unwrap_or_default()
}

impl<'a> Wire<'a> {
    fn of(said: &'a PacketBody) -> Wire<'a> {
        let string = |name: &Name| Some(name.as_str().to_string());
        match said {
            PacketBody::Message { place, from, sender, at, what } => {
                let wire = Wire::of_what(what.as_ref()).with(*place).with_sender(*sender);
                Wire { at: Some(*at), from: string(from), ..wire }
            }
            PacketBody::Mark { place, ages, asks } => {
                let (first, last) = ages.map(|ages| (ages.first_millis, ages.last_millis)).unzip();
                Wire { first, last, ..Wire::of_kind(if *asks { "ask" } else { "mark" }).with(*place) }
            }
            PacketBody::Private { n, to, by, from, text } => {
                let (text, by) = (Some(text.as_str().to_string()), by.map(|id| id.serial));
                Wire { n: Some(*n), to: string(to), from: string(from), by, text, ..Wire::of_kind("private") }
            }
            PacketBody::Nobody { from, called } => {
                Wire { to: string(called), from: string(from), ..Wire::of_kind("nobody") }
            }
            PacketBody::Clients { version, changes } => {
                let clients = changes.iter().map(WireClient::of_change).collect();
                Wire { version: Some(*version), clients: Some(clients), ..Wire::of_kind("clients") }
            }
            PacketBody::Beat { version, hello } => {
                let kind = if *hello { "hello" } else { "beat" };
                Wire { version: Some(*version), ..Wire::of_kind(kind) }
            }
            PacketBody::Bye => Wire::of_kind("bye"),
        }
    }

    fn of_kind(kind: &'a str) -> Wire<'a> {
        Wire { kind, ..Wire::default() }
    }

    fn of_what(what: Option<&'a What>) -> Wire<'a> {
        let kind = match what {
            Some(What::Body(MessageKind::Emote, _)) => "me",
            Some(What::Relayed(_)) => "raw",
            Some(What::Body(MessageKind::Say, _)) | None => "say",
        };
        let wire = Wire::of_kind(kind);
        match what {
            Some(What::Body(_, Body::Text(text))) => Wire { text: Some(text.as_str().into()), ..wire },
            Some(What::Body(_, Body::Data(json))) => Wire { data: serde_json::from_str(json).ok(), ..wire },
            Some(What::Relayed(Payload::Text(text))) => Wire { text: Some(text.to_string()), ..wire },
            Some(What::Relayed(Payload::Binary(bytes))) => Wire { bytes: Some(BASE64.encode(bytes)), ..wire },
            None => wire,
        }
    }

    fn with(self, place: Offset) -> Wire<'a> {
        Wire { epoch: Some(place.epoch), n: Some(place.n), ..self }
    }

    fn with_sender(self, sender: Sender) -> Wire<'a> {
        match sender {
            Sender::Client(id) => Wire { by: Some(id.serial), ..self },
            Sender::Http => Wire { via: Some(Sender::VIA_HTTP.into()), ..self },
            Sender::Unknown => self,
        }
    }

    /// A message that came by HTTP is marked as such whatever else it claims.
    fn sender(&self, process: u64) -> Sender {
        match (self.via.as_deref(), self.by) {
            (Some(Sender::VIA_HTTP), _) => Sender::Http,
            (None, Some(serial)) => Sender::Client(UniqueId { process, serial }),
            _ => Sender::Unknown,
        }
    }

    fn place(&self) -> Option<Offset> {
        Some(Offset { epoch: self.epoch?, n: self.n? })
    }

    fn ages(&self) -> Option<Ages> {
        Some(Ages { first_millis: self.first?, last_millis: self.last? })
    }

    fn what(&self) -> Option<What> {
        let text = self.text.as_deref();
        match self.kind {
            "raw" => {
                let text = text.map(|text| Payload::Text(text.into()));
                let bytes =
                    || Some(Payload::Binary(BASE64.decode(self.bytes.as_ref()?.as_bytes()).ok()?.into()));
                text.or_else(bytes).map(What::Relayed)
            }
            kind => {
                let kind = if kind == "me" { MessageKind::Emote } else { MessageKind::Say };
                let text = text.and_then(Text::clean_lines).map(Body::Text);
                let data = || json::body(self.data?.get()).ok();
                text.or_else(data).map(|body| What::Body(kind, body))
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
    fn what_is_written_is_read_again() {
        let place = Offset { epoch: 3, n: 9 };
        let by = UniqueId { process: 0xC0FFEE, serial: 4 };
        let sent = |sender, what| PacketBody::Message {
            place,
            from: name("guest-7"),
            sender,
            at: 5,
            what: Some(what),
        };
        let message = |what| sent(Sender::Client(by), what);
        let text = Text::clean_lines("one\ntwo \"quoted\"").unwrap();
        for said in [
            message(What::Body(MessageKind::Say, Body::Text(text.clone()))),
            message(What::Body(MessageKind::Emote, Body::Text(text.clone()))),
            message(What::Body(MessageKind::Say, Body::Data(r#"{"a":[1e400,null]}"#.into()))),
            message(What::Body(MessageKind::Say, Body::Data("null".into()))),
            sent(Sender::Http, What::Body(MessageKind::Say, Body::Text(text.clone()))),
            sent(Sender::Unknown, What::Body(MessageKind::Say, Body::Text(text.clone()))),
            message(What::Relayed(Payload::Text("\u{0} any\n".into()))),
            message(What::Relayed(Payload::Binary([0, 255, 10].into()))),
            PacketBody::Mark { place, ages: None, asks: true },
            PacketBody::Mark { place, ages: Some(Ages { first_millis: 9, last_millis: 0 }), asks: false },
            PacketBody::Private { n: 8, to: name("bo"), by: Some(by), from: name("ann"), text: text.clone() },
            PacketBody::Private { n: 9, to: name("bo"), by: None, from: name("ann"), text: text.clone() },
            PacketBody::Nobody { from: name("ann"), called: name("bo") },
            PacketBody::Clients {
                version: 2,
                changes: vec![(1, Ok(presence())), (2, Err(None)), (3, Err(Text::clean("lunch")))],
            },
            PacketBody::Beat { version: 4, hello: true },
            PacketBody::Beat { version: 4, hello: false },
            PacketBody::Bye,
        ] {
            let packet = Packet { process: 0xC0FFEE, said };
            let written = encode(&packet);
            assert!(is_ours(&written) && written.starts_with(&signature(0xC0FFEE)));
            assert_eq!(decode(&written), Some(packet), "{}", String::from_utf8_lossy(&written));
        }
        assert_eq!(decode_presence(&encode_presence(&presence())), Some(presence()));
    }

    #[test]
    fn a_packet_of_an_older_process_or_with_another_mark_has_an_unknown_sender() {
        let head =
            r#"{"chinwag":"000000000000000a","type":"say","epoch":1,"n":1,"at":1,"from":"ann","text":"hi""#;
        let sender = |rest: &str| match decode(format!("{head}{rest}}}").as_bytes()).map(|packet| packet.said)
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
        assert!(matches!(decode(private), Some(Packet { said: PacketBody::Private { by: None, .. }, .. })));
    }

    #[test]
    fn what_breaks_a_rule_is_not_read() {
        let head = r#"{"chinwag":"000000000000000a","type":"say","epoch":1,"n":1,"at":1,"from""#;
        assert!(decode(format!(r#"{head}:"ann","text":"hi"}}"#).as_bytes()).is_some());
        let spoken = |rest: &str| decode(format!("{head}:{rest}}}").as_bytes()).map(|packet| packet.said);
        for bad in [r#""an n","text":"hi""#, r#""","text":"hi""#, "7", r#""ann","text":7"#] {
            assert_eq!(spoken(bad), None, "{bad}");
        }
        let escaped = spoken(r#""ann","text":"a\u001b[2Jb""#);
        let clean = Some(What::Body(MessageKind::Say, Body::Text(Text::clean("a[2Jb").unwrap())));
        assert!(matches!(escaped, Some(PacketBody::Message { what, .. }) if what == clean));
        // It has a number, so that it is missed, and not lost in silence.
        for empty in [r#""ann","text":" ""#, r#""ann""#] {
            assert!(matches!(spoken(empty), Some(PacketBody::Message { what: None, .. })), "{empty}");
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
