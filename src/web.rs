//! What an HTTP request asks for: [`route`]. Pure: a request goes in, an [`HttpAction`] for the server or an answer comes out.

mod assets;
mod guard;
mod subprotocol;

use std::borrow::Cow;
use std::str::FromStr;

use form_urlencoded::parse;
use http::header::{self, HeaderName};
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::server::create_response;

use crate::codec::http::{HttpRequest, HttpResponse, Refusal};
use crate::codec::json;
use crate::protocol::{Arrival, Body, CloseReason, Dialect, Event, PositionError, Problem};
use crate::text::{Name, NameError, RoomName, RoomNameError, Text};

pub use guard::{Guard, complete};

const JSON: &str = "application/json";

/// What the server is to do about a request.
#[derive(Debug)]
pub enum HttpAction {
    /// Give this answer.
    Respond(HttpResponse),
    /// Tell whether it can take more clients.
    Ready,
    /// Tell what it has done so far.
    Metrics,
    /// List the rooms.
    Rooms,
    /// Tell what was said in a room.
    History {
        /// Which.
        room: RoomName,
        /// How many messages (`None`: all that is remembered).
        count: Option<usize>,
        /// The first ones behind that number, instead of the last.
        after: Option<u64>,
    },
    /// Say something in a room.
    Publish {
        /// Which.
        room: RoomName,
        /// In whose name.
        from: Name,
        /// What.
        body: Body,
    },
    /// Give the answer, and from then on it is a client.
    Enter {
        /// The head of the answer.
        answer: HttpResponse,
        /// How it comes in.
        arrival: Arrival,
    },
}

/// The paths there are.
#[derive(Clone, Debug)]
enum Path {
    /// The server as a whole: `*` (RFC 9112, 3.2.4).
    Server,
    Asset(&'static assets::Asset),
    Health,
    Ready,
    Metrics,
    Rooms,
    Messages(RoomName),
    Events(RoomName),
    Json,
    Raw(RoomName),
}

impl Path {
    /// What may be done with it, besides `HEAD` where `GET` may, and `OPTIONS`.
    fn methods(&self) -> &'static [Method] {
        match self {
            Path::Messages(_) | Path::Server => &[Method::GET, Method::POST],
            _ => &[Method::GET],
        }
    }

    /// Whether it may be asked for under any name: balancers ask by whatever address they have, and a page that is not
    /// ours may know that the server is alive.
    fn has_any_host(&self) -> bool {
        matches!(self, Path::Server | Path::Health | Path::Ready)
    }
}

/// Decides what is to be done about a request.
///
/// # Errors
/// The answer that says why nothing is.
pub fn route(call: &HttpRequest, guard: &Guard<'_>) -> Result<HttpAction, HttpResponse> {
    let path = path_of(call.uri().path());
    if !path.as_ref().is_ok_and(Path::has_any_host) {
        guard.check_host(call)?;
    }
    let path = path?;
    if call.method() == Method::OPTIONS {
        return options(call, guard, &path).map(HttpAction::Respond);
    }
    let asked = if call.method() == Method::HEAD { &Method::GET } else { call.method() };
    if !path.methods().contains(asked) {
        return Err(wrong_method(&path));
    }
    Ok(match path {
        // The codec takes a `*` with OPTIONS only.
        Path::Server => return Err(wrong_method(&path)),
        Path::Asset(asset) => HttpAction::Respond(asset.answer(call.headers())),
        Path::Health => {
            HttpAction::Respond(HttpResponse::new(StatusCode::OK).body(JSON, &b"{\"status\":\"ok\"}\n"[..]))
        }
        Path::Ready => HttpAction::Ready,
        Path::Metrics => HttpAction::Metrics,
        Path::Rooms => HttpAction::Rooms,
        Path::Messages(room) if *asked == Method::POST => publish(call, guard, room)?,
        Path::Messages(room) => {
            HttpAction::History { room, count: number(call, "limit")?, after: number(call, "after")? }
        }
        Path::Events(room) => listen(call, room),
        Path::Json => enter(call, guard, Dialect::Json, None)?,
        Path::Raw(room) => enter(call, guard, Dialect::Raw, Some(room))?,
    })
}

fn path_of(path: &str) -> Result<Path, HttpResponse> {
    let room = |raw: &str| {
        let decoded = percent_decode_str(raw).decode_utf8_lossy();
        // White space around a name that a person types does not count; in a path there is no typing error.
        let parsed = match decoded.contains(char::is_control) {
            true => Err(RoomNameError::Character),
            false => RoomName::parse(&decoded),
        };
        parsed.map_err(|error| refused(&Problem::BadRoomName(error)))
    };
    if path == "*" {
        return Ok(Path::Server);
    }
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    Ok(match segments[..] {
        ["healthz"] => Path::Health,
        ["readyz"] => Path::Ready,
        ["metrics"] => Path::Metrics,
        ["rooms"] => Path::Rooms,
        ["rooms", raw, "messages"] => Path::Messages(room(raw)?),
        ["rooms", raw, "events"] => Path::Events(room(raw)?),
        ["ws"] => Path::Json,
        ["raw", raw] => Path::Raw(room(raw)?),
        [name] => Path::Asset(assets::find(name).ok_or_else(not_found)?),
        _ => return Err(not_found()),
    })
}

fn not_found() -> HttpResponse {
    error(StatusCode::NOT_FOUND, "not_found", "there is nothing here; /rooms lists the rooms")
}

fn wrong_method(path: &Path) -> HttpResponse {
    let text = "that can't be done with this path; the Allow field says what can";
    error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
        .with(header::ALLOW, format!("{}, OPTIONS", methods(path)))
}

fn methods(path: &Path) -> String {
    let methods: Vec<&str> = path.methods().iter().map(Method::as_str).collect();
    format!("HEAD, {}", methods.join(", "))
}

/// The answer to the question what may be done with a path (RFC 9110, 9.3.7), from a balancer or a page's browser.
fn options(call: &HttpRequest, guard: &Guard<'_>, path: &Path) -> Result<HttpResponse, HttpResponse> {
    if guard.is_from_allowed_origin(call) {
        return Ok(preflight(call, path));
    }
    if call.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        guard.check_origin(call)?;
    }
    Ok(HttpResponse::new(StatusCode::NO_CONTENT).with(header::ALLOW, format!("{}, OPTIONS", methods(path))))
}

/// Header fields that pages may send. The server reads two of them; clients of event streams and libraries send the rest.
/// Older browsers don't know `*`, and it never covers `authorization` (Fetch, 3.2.3).
const PAGE_FIELDS: &str =
    "*, accept, authorization, cache-control, content-type, last-event-id, pragma, x-requested-with";

/// The answer to a browser that asks what a page of another origin may do (Fetch, 3.2.2).
fn preflight(call: &HttpRequest, path: &Path) -> HttpResponse {
    /// Seconds for which the browser need not ask again.
    const VALID_FOR: &str = "600";
    let answer = HttpResponse::new(StatusCode::NO_CONTENT)
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, methods(path))
        .with(header::ACCESS_CONTROL_ALLOW_HEADERS, PAGE_FIELDS)
        .with(header::ACCESS_CONTROL_MAX_AGE, VALID_FOR);
    // A public page that asks a server at home (Private Network Access): whoever wrote `--origin` has allowed that.
    match call.headers().get("access-control-request-private-network") {
        Some(value) if value == "true" => {
            answer.with(HeaderName::from_static("access-control-allow-private-network"), "true")
        }
        _ => answer,
    }
}

fn publish(call: &HttpRequest, guard: &Guard<'_>, room: RoomName) -> Result<HttpAction, HttpResponse> {
    guard.check_origin(call)?;
    let from = match query(call, "from") {
        None => Name::of_http(),
        Some(raw) if raw.contains(char::is_control) => {
            return Err(refused(&Problem::BadName(NameError::Invisible)));
        }
        Some(raw) => Name::parse(&raw).map_err(|error| refused(&Problem::BadName(error)))?,
    };
    let raw = std::str::from_utf8(call.body()).map_err(|_| bad("not_utf8", "the body is not UTF-8"))?;
    let kind =
        call.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("text/plain");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body = match kind.as_str() {
        "application/json" => json::body(raw).map_err(|problem| refused(&problem))?,
        // What `curl -d` says of a body unless it is told otherwise.
        "text/plain" | "application/x-www-form-urlencoded" => {
            Body::Text(Text::clean_lines(raw).ok_or_else(|| bad("empty", "the message is empty"))?)
        }
        _ => {
            let text = "a message is text/plain or application/json";
            return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text));
        }
    };
    Ok(HttpAction::Publish { room, from, body })
}

fn listen(call: &HttpRequest, room: RoomName) -> HttpAction {
    let last = call.headers().get("last-event-id").filter(|id| !id.is_empty());
    let heard = last.map(|id| id.to_str().map_err(|_| PositionError).and_then(str::parse));
    // A page can't set the field of an `EventSource`, but it can of its address. Once connected, the field is the newer.
    let asked = || query(call, "lastEventId").filter(|id| !id.is_empty()).map(|id| id.parse());
    let heard = heard.or_else(asked);
    let answer = HttpResponse::new(StatusCode::OK)
        .with(header::CONTENT_TYPE, "text/event-stream")
        // nginx would collect events into blocks.
        .with(HeaderName::from_static("x-accel-buffering"), "no");
    if call.method() == Method::HEAD {
        return HttpAction::Respond(answer);
    }
    let arrival = Arrival { heard, ..arrival(Dialect::Events, Some(room)) };
    HttpAction::Enter { answer, arrival }
}

fn arrival(dialect: Dialect, room: Option<RoomName>) -> Arrival {
    Arrival { dialect, name: None, room, history: None, echo: false, heard: None, problems: Vec::new() }
}

fn enter(
    call: &HttpRequest,
    guard: &Guard<'_>,
    dialect: Dialect,
    room: Option<RoomName>,
) -> Result<HttpAction, HttpResponse> {
    guard.check_origin(call)?;
    let answer = subprotocol::agree(upgrade(call)?, call, dialect)?;
    let mut arrival = Arrival {
        history: number(call, "history")?,
        echo: query(call, "echo").is_some_and(|echo| matches!(&*echo, "1" | "true" | "")),
        ..arrival(dialect, room)
    };
    match query(call, "name").filter(|name| !name.is_empty()).map(|raw| Name::parse(&raw)).transpose() {
        Ok(name) => arrival.name = name,
        // A browser can't read an answer that is no upgrade, a program can.
        Err(error) if dialect == Dialect::Json => arrival.problems.push(Problem::BadName(error)),
        Err(error) => return Err(refused(&Problem::BadName(error))),
    }
    if dialect == Dialect::Json {
        match query(call, "room") {
            None => arrival.room = Some(RoomName::lobby()),
            Some(raw) if raw.is_empty() => {}
            Some(raw) => match RoomName::parse(&raw) {
                Ok(room) => arrival.room = Some(room),
                Err(error) => arrival.problems.push(Problem::BadRoomName(error)),
            },
        }
    }
    Ok(HttpAction::Enter { answer, arrival })
}

/// The answer to a handshake (RFC 6455, 4.2.2), made by tungstenite.
fn upgrade(call: &HttpRequest) -> Result<HttpResponse, HttpResponse> {
    for name in [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION] {
        // RFC 6455, 11.3.1 and 11.3.5.
        if call.headers().get_all(&name).iter().count() > 1 {
            return Err(bad("twice", &format!("{name} may not be there twice")));
        }
    }
    let mut handshake = http::Request::new(());
    *handshake.method_mut() = call.method().clone();
    *handshake.version_mut() = call.version();
    *handshake.headers_mut() = call.headers().clone();
    match create_response(&handshake) {
        Ok(made) => {
            let fields = made.headers().iter();
            let fields = fields
                .map(|(name, value)| (name.clone(), Cow::Owned(value.to_str().unwrap_or_default().into())));
            Ok(HttpResponse {
                fields: fields.collect(),
                ..HttpResponse::new(StatusCode::SWITCHING_PROTOCOLS)
            })
        }
        Err(Error::Protocol(
            ProtocolError::InvalidSecWebSocketKey | ProtocolError::MissingSecWebSocketKey,
        )) => Err(bad("bad_key", "the Sec-WebSocket-Key is not 16 bytes in base64")),
        Err(_) => {
            let text = "this path speaks WebSocket, version 13: connect with a WebSocket client";
            Err(error(StatusCode::UPGRADE_REQUIRED, "upgrade_required", text)
                .with(header::UPGRADE, "websocket")
                .with(header::CONNECTION, "upgrade")
                .with(header::SEC_WEBSOCKET_VERSION, "13"))
        }
    }
}

/// A value of the query; the first, if there are several.
fn query(call: &HttpRequest, key: &str) -> Option<String> {
    let pairs = parse(call.uri().query().unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}

fn number<T: FromStr>(call: &HttpRequest, key: &str) -> Result<Option<T>, HttpResponse> {
    let number = query(call, key).map(|raw| raw.parse()).transpose();
    number.map_err(|_| refused(&Problem::BadRequest(format!("{key} is a whole number from 0"))))
}

fn bad(code: &str, text: &str) -> HttpResponse {
    error(StatusCode::BAD_REQUEST, code, text)
}

/// The answer to a request that the chat refuses.
pub fn refused(problem: &Problem) -> HttpResponse {
    let status = match problem {
        Problem::NameTaken(_) | Problem::NameAlike { .. } => StatusCode::CONFLICT,
        Problem::NoSuchRoom(_) => StatusCode::NOT_FOUND,
        Problem::TooManyRooms => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    error(status, problem.code(), &problem.to_string())
}

/// The answer to what is no request.
pub fn unreadable(refusal: &Refusal) -> HttpResponse {
    let code = refusal.status.canonical_reason().unwrap_or("error").to_ascii_lowercase().replace(' ', "_");
    error(refusal.status, &code, refusal.text)
}

/// An answer that says what went wrong, as JSON: `{"error":{"code":…,"text":…}}`.
pub fn error(status: StatusCode, code: &str, text: &str) -> HttpResponse {
    let body = serde_json::json!({ "error": { "code": code, "text": text } });
    HttpResponse::new(status).body(JSON, format!("{body}\n").into_bytes())
}

/// An answer that is an event of the chat, as JSON.
pub fn told(event: &Event) -> HttpResponse {
    let mut body = Vec::new();
    json::write(event, None, &mut body);
    body.push(b'\n');
    HttpResponse::new(StatusCode::OK).body(JSON, body)
}

/// The answer to a message that was taken: its number, and for how many clients it was queued.
pub fn accepted(seq: u64, queued_for: u64) -> HttpResponse {
    HttpResponse::new(StatusCode::ACCEPTED)
        .body(JSON, format!("{{\"seq\":{seq},\"queued_for\":{queued_for}}}\n").into_bytes())
}

/// Why a balancer had better send new clients elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotReady<'a> {
    /// The server ends.
    Draining,
    /// There is no place for another client.
    Full,
    /// The link to the other servers is down; `refusal` is the first word of Redis's error, if an error is the reason.
    Unlinked {
        /// Such as `READONLY`.
        refusal: Option<&'a str>,
    },
}

/// The answer to whether there is a place for more clients.
pub fn readiness(why_not: Option<NotReady<'_>>) -> HttpResponse {
    let not_ready = |reason, text: &str| error(StatusCode::SERVICE_UNAVAILABLE, reason, text);
    match why_not {
        None => HttpResponse::new(StatusCode::OK).body(JSON, &b"{\"status\":\"ready\"}\n"[..]),
        Some(NotReady::Draining) => not_ready("draining", "not ready for more clients"),
        Some(NotReady::Full) => not_ready("full", "not ready for more clients"),
        Some(NotReady::Unlinked { refusal: None }) => {
            not_ready("redis", "the link to the other servers is down")
        }
        Some(NotReady::Unlinked { refusal: Some(word) }) => {
            not_ready("redis", &format!("the link to the other servers is down: Redis answers {word}"))
        }
    }
}

/// The answer to a connection that is refused for its address.
pub fn too_many_connections(reason: CloseReason) -> HttpResponse {
    /// Seconds after which there may be another try.
    const LATER: &str = "2";
    error(StatusCode::TOO_MANY_REQUESTS, reason.as_str(), reason.farewell().unwrap_or_default())
        .with(header::RETRY_AFTER, LATER)
}

/// The answer to somebody for whom there is neither a place nor a number in the queue.
pub fn full() -> HttpResponse {
    /// Seconds after which a place may be free.
    const LATER: &str = "10";
    let text = "the server is full. try again later";
    error(StatusCode::SERVICE_UNAVAILABLE, "full", text).with(header::RETRY_AFTER, LATER)
}
