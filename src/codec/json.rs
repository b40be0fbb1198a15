//! The JSON listener: one object a WebSocket text message, `type` says which. [`crate::guide::protocol`] lists them.

mod message;

use std::fmt::Display;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::websocket::Whole;
use super::{Input, Tag};
use crate::protocol::{Body, MessageKind, Problem, Request};
use crate::text::{Name, RoomName, Text};

pub use message::{close, encode, write, write_message};

/// The longest `id` of a request, in bytes of JSON.
const TAG_MAX_BYTES: usize = 64;

/// How deep the value in `data` may be nested: what relays it to others must not make their parsers fail.
const DEPTH_MAX: usize = 64;

/// So much of a parser's complaint is passed on; it may quote the message.
const COMPLAINT_MAX_CHARS: usize = 160;

/// What every request has.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// What requests may have besides.
#[derive(Deserialize)]
struct Asked<'a> {
    room: Option<String>,
    text: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    to: Option<String>,
    name: Option<String>,
    history: Option<usize>,
    count: Option<usize>,
    after: Option<u64>,
    #[serde(default)]
    echo: bool,
}

/// A field that is there, `null` or not.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a message.
pub fn decode(message: Whole<'_>) -> Input {
    let (request, tag) = match message {
        Whole::Text(text) => decode_text(text),
        Whole::Binary(_) => (Err(bad("this listener takes JSON in text messages, no binary ones")), None),
    };
    Input::Request { request, tag }
}

fn decode_text(text: &str) -> (Result<Request, Problem>, Option<Tag>) {
    if !text.trim_start().starts_with('{') {
        return (Err(complaint(&"a request is an object, as in {\"type\":\"rooms\"}")), None);
    }
    let envelope = match serde_json::from_str::<Envelope<'_>>(text) {
        Ok(envelope) => envelope,
        Err(error) => return (Err(complaint(&error)), None),
    };
    let tag = match envelope.id.map(tag_of).transpose() {
        Ok(tag) => tag,
        Err(problem) => return (Err(problem), None),
    };
    let Some(kind) = envelope.kind else {
        return (Err(bad("a request has a type, as in {\"type\":\"rooms\"}")), tag);
    };
    let read = || {
        let kind: String = serde_json::from_str(kind.get())?;
        Ok((kind, serde_json::from_str::<Asked<'_>>(text)?))
    };
    let asked = read().map_err(|error: serde_json::Error| complaint(&error));
    (asked.and_then(|(kind, asked)| request(&kind, asked, tag.is_some())), tag)
}

fn tag_of(id: &RawValue) -> Result<Tag, Problem> {
    let raw = id.get();
    let is_name = raw.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    match is_name && raw.len() <= TAG_MAX_BYTES {
        true => Ok(Tag(raw.into())),
        false => Err(bad("an id is a string or a number of at most 64 bytes")),
    }
}

fn request(kind: &str, asked: Asked<'_>, receipt: bool) -> Result<Request, Problem> {
    let room = asked.room.as_deref().map(RoomName::parse).transpose().map_err(Problem::BadRoomName)?;
    let the_room = || room.clone().ok_or_else(|| missing(kind, "room"));
    let text = || words(kind, asked.text.as_deref());
    Ok(match kind {
        "join" => Request::Join { room: the_room()?, history: asked.history, echo: asked.echo },
        "leave" => Request::Leave(Some(the_room()?)),
        "say" => {
            let body = match asked.data {
                Some(_) if asked.text.is_some() => return Err(bad("a message has either text or data")),
                Some(data) => Body::Data(compact(data.get())?),
                None => Body::Text(text()?),
            };
            Request::Say { room: Some(the_room()?), kind: MessageKind::Say, body, receipt }
        }
        "me" => Request::Say {
            room: Some(the_room()?),
            kind: MessageKind::Emote,
            body: Body::Text(text()?),
            receipt,
        },
        "tell" => {
            let to = asked.to.as_deref().and_then(Text::clean).ok_or_else(|| missing(kind, "to"))?;
            Request::Private { to, text: text()?, receipt }
        }
        "nick" => {
            let name = asked.name.as_deref().ok_or_else(|| missing(kind, "name"))?;
            Request::Nick(Name::parse(name).map_err(Problem::BadName)?)
        }
        "who" => Request::Who(Some(the_room()?)),
        "rooms" => Request::Rooms,
        "history" => Request::History { room: Some(the_room()?), count: asked.count, after: asked.after },
        "ping" => Request::Ping,
        other => return Err(unknown(other)),
    })
}

fn words(kind: &str, raw: Option<&str>) -> Result<Text, Problem> {
    let raw = raw.ok_or_else(|| missing(kind, "text"))?;
    Text::clean_lines(raw).ok_or_else(|| bad("the text is empty"))
}

fn unknown(kind: &str) -> Problem {
    let shown: String = kind.chars().take(COMPLAINT_MAX_CHARS).collect();
    Text::clean(&shown).map_or_else(|| bad("the type is empty"), Problem::UnknownType)
}

fn missing(kind: &str, field: &str) -> Problem {
    Problem::BadRequest(format!("{kind} needs {field}"))
}

fn bad(what: &str) -> Problem {
    Problem::BadRequest(what.into())
}

fn complaint(error: &impl Display) -> Problem {
    Problem::BadRequest(format!("that is no request in JSON: {}", shown(error)))
}

/// What a parser complains of, in words for somebody who does not write in Rust.
fn shown(error: &impl Display) -> String {
    let error = error.to_string().replace("expected usize", "expected a whole number from 0");
    error.chars().take(COMPLAINT_MAX_CHARS).collect()
}

/// A body for a published JSON value.
///
/// # Errors
/// It is not well formed, or nested too deeply.
pub fn body(raw: &str) -> Result<Body, Problem> {
    let value = serde_json::from_str::<&RawValue>(raw)
        .map_err(|error| Problem::BadRequest(format!("the body is no JSON: {}", shown(&error))))?;
    compact(value.get()).map(Body::Data)
}

/// A well-formed value without the white space between its parts; so it is one line, and otherwise as it came: no number
/// loses a digit, no key its place.
fn compact(raw: &str) -> Result<Box<str>, Problem> {
    let (mut quoted, mut escaped, mut depth) = (None, false, 0_usize);
    let mut compact = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => match quoted.take() {
                None => quoted = Some(compact.len()),
                Some(start) => check_string(&compact[start..])?,
            },
            _ if quoted.is_some() => {}
            ' ' | '\t' | '\r' | '\n' => continue,
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(bad("data is nested more than 64 deep"));
        }
        compact.push(c);
    }
    Ok(compact.into())
}

/// Half a surrogate pair is a well-formed escape and no character: many a parser refuses the whole message for it.
///
/// `start` is a string but for its last quotation mark.
fn check_string(start: &str) -> Result<(), Problem> {
    match start.contains("\\u") {
        true => {
            serde_json::from_str::<String>(&format!("{start}\"")).map(drop).map_err(|error| complaint(&error))
        }
        false => Ok(()),
    }
}
