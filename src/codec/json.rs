//! The JSON dialect: each WebSocket text message is an object with a `type`. [`crate::guide::protocol`] lists the types.

mod fields;
mod message;
mod moderation;

use std::fmt::Display;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::websocket::WebSocketMessage;
use super::{Input, Tag};
use crate::access::LoginToken;
use crate::protocol::{Body, MessageKind, Position, Problem, Request, Topic, kept_text};
use crate::text::{Name, NameError, RoomName, Text, TypedName};

pub use message::{close, encode, write, write_message};
pub use moderation::moderation;

/// The longest `id` of a request, in bytes of JSON.
const TAG_MAX_BYTES: usize = 64;

/// The deepest nesting of a `data` value. Relayed values must not make other clients' parsers fail.
const DEPTH_MAX: usize = 64;

/// The most characters of a parser's error that the client gets. The error may quote the message.
const ERROR_MAX_CHARS: usize = 160;

/// The fields of every request.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// The fields of some requests.
#[derive(Deserialize)]
struct RequestFields<'a> {
    room: Option<String>,
    text: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    to: Option<String>,
    name: Option<String>,
    token: Option<String>,
    history: Option<usize>,
    count: Option<usize>,
    after: Option<u64>,
    epoch: Option<String>,
    since: Option<u64>,
    #[serde(default)]
    echo: bool,
}

/// Deserializes a field that is present, even if it is `null`.
///
/// # Errors
/// The JSON is malformed.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Decodes a message.
pub fn decode(message: WebSocketMessage<'_>) -> Input {
    let (request, tag) = match message {
        WebSocketMessage::Text(text) => decode_text(text),
        WebSocketMessage::Binary(_) => {
            (Err(bad_request("this listener takes JSON in text messages, no binary ones")), None)
        }
    };
    Input::Request { request, tag }
}

fn decode_text(text: &str) -> (Result<Request, Problem>, Option<Tag>) {
    if !text.trim_start().starts_with('{') {
        return (Err(malformed(&"a request is an object, as in {\"type\":\"rooms\"}")), None);
    }
    let envelope = match serde_json::from_str::<Envelope<'_>>(text) {
        Ok(envelope) => envelope,
        Err(error) => return (Err(malformed(&error)), None),
    };
    let tag = match envelope.id.map(tag_of).transpose() {
        Ok(tag) => tag,
        Err(problem) => return (Err(problem), None),
    };
    let Some(kind) = envelope.kind else {
        return (Err(bad_request("a request has a type, as in {\"type\":\"rooms\"}")), tag);
    };
    let read = || {
        let kind: String = serde_json::from_str(kind.get())?;
        Ok((kind, serde_json::from_str::<RequestFields<'_>>(text)?))
    };
    let fields = read().map_err(|error: serde_json::Error| malformed(&error));
    (fields.and_then(|(kind, fields)| request(&kind, fields, text, tag.is_some())), tag)
}

fn tag_of(id: &RawValue) -> Result<Tag, Problem> {
    let raw = id.get();
    let is_name = raw.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    match is_name && raw.len() <= TAG_MAX_BYTES {
        true => Ok(Tag(raw.into())),
        false => Err(bad_request("an id is a string or a number of at most 64 bytes")),
    }
}

fn request(kind: &str, fields: RequestFields<'_>, raw: &str, receipt: bool) -> Result<Request, Problem> {
    let room = fields.room.as_deref().map(RoomName::parse).transpose().map_err(Problem::BadRoomName)?;
    let the_room = || room.clone().ok_or_else(|| missing(kind, "room"));
    let the_name = || typed_name(fields.name.as_deref())?.ok_or_else(|| missing(kind, "name"));
    let text = || text_of(kind, fields.text.as_deref());
    Ok(match kind {
        "join" => join(the_room()?, &fields)?,
        "leave" => Request::Leave(Some(the_room()?)),
        "say" => {
            let body = match fields.data {
                Some(_) if fields.text.is_some() => {
                    return Err(bad_request("a message has either text or data"));
                }
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
            let to = typed_name(fields.to.as_deref())?.ok_or_else(|| missing(kind, "to"))?;
            Request::Private { to, text: text()?, receipt }
        }
        "nick" => {
            let name = fields.name.as_deref().ok_or_else(|| missing(kind, "name"))?;
            Request::Nick(Name::parse(name).map_err(Problem::BadName)?)
        }
        "who" => Request::Who(Some(the_room()?)),
        "rooms" => Request::Rooms,
        "history" => Request::History { room: Some(the_room()?), count: fields.count, after: fields.after },
        "ping" => Request::Ping,
        "login" => {
            let token = fields.token.as_deref().ok_or_else(|| missing(kind, "token"))?;
            let name = fields.name.as_deref().map(Name::parse).transpose();
            // A name that can't be and a token that can't be get the same answer as wrong ones.
            let name = name.map_err(|_| Problem::LoginFailed)?;
            Request::Login { name, token: LoginToken::parse(token).ok_or(Problem::LoginFailed)? }
        }
        "register" => Request::Register,
        "topic" => {
            let text = fields.text.as_deref().map(Topic::parse).transpose()?;
            Request::Topic { room: Some(the_room()?), text }
        }
        "whois" => Request::Whois(the_name()?),
        "ignore" => Request::Ignore(typed_name(fields.name.as_deref())?),
        "unignore" => Request::Unignore(the_name()?),
        "away" => Request::Away(kept_text("an away text", fields.text.as_deref().unwrap_or_default())?),
        "kick" | "mute" | "unmute" | "ban" | "unban" | "unregister" | "bans" => {
            Request::Moderate(moderation(kind, raw)?)
        }
        other => return Err(unknown_type(other)),
    })
}

fn join(room: RoomName, fields: &RequestFields<'_>) -> Result<Request, Problem> {
    let since = position(fields.epoch.as_deref(), fields.since)?;
    Ok(Request::Join { room, history: fields.history, echo: fields.echo, since })
}

/// The position of an earlier visit, from the fields of a `join` or the query of `/ws`.
///
/// # Errors
/// One of the two is missing, or no server has begun such an epoch.
pub fn position(epoch: Option<&str>, since: Option<u64>) -> Result<Option<Position>, Problem> {
    match (epoch, since) {
        (None, None) => Ok(None),
        (Some(epoch), Some(seq)) => match epoch.parse() {
            Ok(epoch) => Ok(Some(Position { epoch, seq })),
            Err(_) => Err(bad_request("an epoch is a text of the server, as in the answer to a join")),
        },
        _ => Err(bad_request("epoch and since belong together")),
    }
}

fn text_of(kind: &str, raw: Option<&str>) -> Result<Text, Problem> {
    let raw = raw.ok_or_else(|| missing(kind, "text"))?;
    Text::clean_lines(raw).ok_or_else(|| bad_request("the text is empty"))
}

fn unknown_type(kind: &str) -> Problem {
    let shown: String = kind.chars().take(ERROR_MAX_CHARS).collect();
    Text::clean(&shown).map_or_else(|| bad_request("the type is empty"), Problem::UnknownType)
}

/// Parses the name of somebody else. `None` if there is none.
fn typed_name(raw: Option<&str>) -> Result<Option<TypedName>, Problem> {
    match raw.map(TypedName::parse).transpose() {
        Err(NameError::Empty) => Ok(None),
        name => name.map_err(Problem::BadName),
    }
}

fn missing(kind: &str, field: &str) -> Problem {
    Problem::BadRequest(format!("{kind} needs {field}"))
}

fn bad_request(text: &str) -> Problem {
    Problem::BadRequest(text.into())
}

fn malformed(error: &impl Display) -> Problem {
    Problem::BadRequest(format!("that is no request in JSON: {}", error_text(error)))
}

/// A parser's error without the names of Rust's types.
fn error_text(error: &impl Display) -> String {
    let types = ["expected usize", "expected u64", "expected u32"];
    let plain = |error: String, kind: &str| error.replace(kind, "expected a whole number from 0");
    let error = types.into_iter().fold(error.to_string(), plain);
    error.chars().take(ERROR_MAX_CHARS).collect()
}

/// The body for a published JSON value.
///
/// # Errors
/// The value is malformed (RFC 8259) or nested too deeply.
pub fn body(raw: &str) -> Result<Body, Problem> {
    let value = serde_json::from_str::<&RawValue>(raw)
        .map_err(|error| Problem::BadRequest(format!("the body is no JSON: {}", error_text(&error))))?;
    compact(value.get()).map(Body::Data)
}

/// Removes the white space between the tokens of a well-formed value, so that it is one line. Numbers keep their digits, and
/// keys keep their order.
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
            return Err(bad_request("data is nested more than 64 deep"));
        }
        compact.push(c);
    }
    Ok(compact.into())
}

/// Refuses a lone surrogate. It is a well-formed escape, but many parsers refuse the whole message for it.
///
/// `start` is a string without its closing quotation mark.
fn check_string(start: &str) -> Result<(), Problem> {
    match start.contains("\\u") {
        true => {
            serde_json::from_str::<String>(&format!("{start}\"")).map(drop).map_err(|error| malformed(&error))
        }
        false => Ok(()),
    }
}
