//! Routing of HTTP requests: [`route`] finds the [`Route`] of a request. If its sender has the right to it, [`Route::action`]
//! reads the [`HttpAction`] for the server.

mod admin;
mod assets;
mod credentials;
mod guard;
mod path;
mod subprotocol;

use std::borrow::Cow;
use std::str::FromStr;

use form_urlencoded::parse;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::server::create_response;

use crate::codec::http::{HttpRequest, HttpResponse, Refusal, has_option};
use crate::codec::json;
use crate::protocol::{Arrival, Body, CloseReason, Dialect, Event, Moderation, PositionError, Problem};
use crate::text::{Name, NameError, RoomName, Text};

pub use credentials::{Credential, credential};
pub use guard::{AccessRules, add_common_headers};

use path::{Path, method_not_allowed, path_of};

const JSON: &str = "application/json";

/// The action that the server performs for a request.
#[derive(Debug)]
pub enum HttpAction {
    Respond(HttpResponse),
    CheckReadiness,
    ReportMetrics,
    ListRooms,
    ReadHistory {
        room: RoomName,
        /// `None`: all messages of the history.
        count: Option<usize>,
        /// Show the first messages behind this sequence number instead of the last messages.
        after: Option<u64>,
    },
    Publish {
        room: RoomName,
        /// `None`: the account of the request, or else `http`.
        from: Option<Name>,
        body: Body,
    },
    Moderate(Moderation),
    /// Send the response. Then the connection is a client of the chat.
    Enter {
        response: HttpResponse,
        arrival: Box<Arrival>,
    },
}

/// The route of a request: its path and method, which decide the right that it needs. Its query and its body are not read yet.
#[derive(Debug)]
pub enum Route {
    /// A response that depends on nothing else.
    Respond(HttpResponse),
    CheckReadiness,
    ReportMetrics,
    ListRooms,
    ReadHistory(RoomName),
    Publish(RoomName),
    /// An action of a moderator, by its word.
    Moderate(&'static str),
    OpenEventStream(RoomName),
    OpenJson,
    OpenRaw(RoomName),
}

/// Finds the route of a request, and checks its host, method and origin.
///
/// # Errors
/// The error response (RFC 9110, 15.5).
pub fn route(request: &HttpRequest, rules: &AccessRules<'_>) -> Result<Route, HttpResponse> {
    let path = path_of(request.uri().path());
    if !path.as_ref().is_ok_and(Path::accepts_any_host) {
        rules.check_host(request)?;
    }
    let path = path?;
    if request.method() == Method::OPTIONS {
        return path::options(request, rules, &path).map(Route::Respond);
    }
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    if !path.methods().contains(method) {
        return Err(method_not_allowed(&path));
    }
    if !method.is_safe() || path.is_guarded() {
        rules.check_origin(request)?;
    }
    Ok(match path {
        // The codec accepts a `*` with OPTIONS only.
        Path::Server => return Err(method_not_allowed(&path)),
        Path::Asset(asset) => Route::Respond(asset.response(request.headers())),
        Path::Health => {
            Route::Respond(HttpResponse::new(StatusCode::OK).body(JSON, &b"{\"status\":\"ok\"}\n"[..]))
        }
        Path::Ready => Route::CheckReadiness,
        Path::Metrics => Route::ReportMetrics,
        Path::Rooms => Route::ListRooms,
        Path::Messages(room) if *method == Method::POST => Route::Publish(room),
        Path::Messages(room) => Route::ReadHistory(room),
        Path::Events(room) => Route::OpenEventStream(room),
        Path::Admin(word) => Route::Moderate(word),
        Path::Json => Route::OpenJson,
        Path::Raw(room) => Route::OpenRaw(room),
    })
}

impl Route {
    /// Reads the action from the query and the body of the request.
    ///
    /// # Errors
    /// The error response (RFC 9110, 15.5).
    pub fn action(self, request: &HttpRequest) -> Result<HttpAction, HttpResponse> {
        Ok(match self {
            Route::Respond(response) => HttpAction::Respond(response),
            Route::CheckReadiness => HttpAction::CheckReadiness,
            Route::ReportMetrics => HttpAction::ReportMetrics,
            Route::ListRooms => HttpAction::ListRooms,
            Route::ReadHistory(room) => HttpAction::ReadHistory {
                room,
                count: query_number(request, "limit")?,
                after: query_number(request, "after")?,
            },
            Route::Publish(room) => publish(request, room)?,
            Route::Moderate(word) => HttpAction::Moderate(admin::read(request, word)?),
            Route::OpenEventStream(room) => open_event_stream(request, room),
            Route::OpenJson => open_websocket(request, Dialect::Json, None)?,
            Route::OpenRaw(room) => open_websocket(request, Dialect::Raw, Some(room))?,
        })
    }
}

fn publish(request: &HttpRequest, room: RoomName) -> Result<HttpAction, HttpResponse> {
    let from = match query_value(request, "from") {
        None => None,
        Some(raw) if raw.contains(char::is_control) => {
            return Err(problem_response(&Problem::BadName(NameError::Invisible)));
        }
        Some(raw) => Some(Name::parse(&raw).map_err(|error| problem_response(&Problem::BadName(error)))?),
    };
    let raw =
        std::str::from_utf8(request.body()).map_err(|_| bad_request("not_utf8", "the body is not UTF-8"))?;
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("text/plain");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body = match kind.as_str() {
        "application/json" => json::body(raw).map_err(|problem| problem_response(&problem))?,
        // The second type is the default of `curl -d`.
        "text/plain" | "application/x-www-form-urlencoded" => {
            Body::Text(Text::clean_lines(raw).ok_or_else(|| bad_request("empty", "the message is empty"))?)
        }
        _ => {
            let text = "a message is text/plain or application/json";
            return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text));
        }
    };
    Ok(HttpAction::Publish { room, from, body })
}

fn open_event_stream(request: &HttpRequest, room: RoomName) -> HttpAction {
    let last = request.headers().get("last-event-id").filter(|id| !id.is_empty());
    let last_position = last.map(|id| id.to_str().map_err(|_| PositionError).and_then(str::parse));
    // A page can set the query of an `EventSource`, but no header field. After a reconnect the field is newer than the query.
    let from_query = || query_value(request, "lastEventId").filter(|id| !id.is_empty()).map(|id| id.parse());
    let last_position = last_position.or_else(from_query);
    let response = HttpResponse::new(StatusCode::OK)
        .with(header::CONTENT_TYPE, "text/event-stream")
        // Without it nginx buffers events.
        .with(HeaderName::from_static("x-accel-buffering"), "no");
    let arrival = Box::new(Arrival { last_position, ..arrival(Dialect::Events, Some(room)) });
    HttpAction::Enter { response, arrival }
}

fn arrival(dialect: Dialect, room: Option<RoomName>) -> Arrival {
    Arrival {
        dialect,
        name: None,
        room,
        history: None,
        echo: false,
        last_position: None,
        login: None,
        problems: Vec::new(),
    }
}

fn open_websocket(
    request: &HttpRequest,
    dialect: Dialect,
    room: Option<RoomName>,
) -> Result<HttpAction, HttpResponse> {
    let response = subprotocol::select_subprotocol(handshake_response(request)?, request, dialect)?;
    let since = json::position(query_value(request, "epoch").as_deref(), query_number(request, "since")?);
    let since = since.map_err(|problem| problem_response(&problem))?;
    if since.is_some() && dialect == Dialect::Raw {
        let text = "a raw client can't catch up, since its messages are not kept";
        return Err(problem_response(&Problem::BadRequest(text.into())));
    }
    let mut arrival = Arrival {
        history: query_number(request, "history")?,
        last_position: since.map(Ok),
        echo: query_value(request, "echo").is_some_and(|echo| matches!(&*echo, "1" | "true" | "")),
        ..arrival(dialect, room)
    };
    match query_value(request, "name")
        .filter(|name| !name.is_empty())
        .map(|raw| Name::parse(&raw))
        .transpose()
    {
        Ok(name) => arrival.name = name,
        // A page can't read the response to a failed upgrade, so it gets the error as an event. A program gets a response.
        Err(error) if dialect == Dialect::Json => arrival.problems.push(Problem::BadName(error)),
        Err(error) => return Err(problem_response(&Problem::BadName(error))),
    }
    if dialect == Dialect::Json {
        match query_value(request, "room") {
            None => arrival.room = Some(RoomName::lobby()),
            Some(raw) if raw.is_empty() => {}
            Some(raw) => match RoomName::parse(&raw) {
                Ok(room) => arrival.room = Some(room),
                Err(error) => arrival.problems.push(Problem::BadRoomName(error)),
            },
        }
    }
    Ok(HttpAction::Enter { response, arrival: Box::new(arrival) })
}

/// The response to a handshake (RFC 6455, 4.2.2), made by tungstenite.
///
/// # Errors
/// The response that refuses the handshake (RFC 6455, 4.2.1 and 4.4).
fn handshake_response(request: &HttpRequest) -> Result<HttpResponse, HttpResponse> {
    for name in [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION] {
        // The fields must not be repeated (RFC 6455, 11.3.1 and 11.3.5).
        if request.headers().get_all(&name).iter().count() > 1 {
            return Err(bad_request("twice", &format!("{name} may not be there twice")));
        }
    }
    let mut handshake = http::Request::new(());
    *handshake.method_mut() = request.method().clone();
    *handshake.version_mut() = request.version();
    *handshake.headers_mut() = request.headers().clone();
    // tungstenite reads the first of several fields, `Connection` without tabs, and `Upgrade` as no list.
    for (name, option) in [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket")] {
        if has_option(request.headers(), &name, option) {
            handshake.headers_mut().insert(name, HeaderValue::from_static(option));
        }
    }
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
        )) => Err(bad_request("bad_key", "the Sec-WebSocket-Key is not 16 bytes in base64")),
        Err(_) => {
            let text = "this path speaks WebSocket, version 13: connect with a WebSocket client";
            Err(error(StatusCode::UPGRADE_REQUIRED, "upgrade_required", text)
                .with(header::UPGRADE, "websocket")
                .with(header::CONNECTION, "upgrade")
                .with(header::SEC_WEBSOCKET_VERSION, "13"))
        }
    }
}

/// The first value of `key` in the query.
fn query_value(request: &HttpRequest, key: &str) -> Option<String> {
    let pairs = parse(request.uri().query().unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}

fn query_number<T: FromStr>(request: &HttpRequest, key: &str) -> Result<Option<T>, HttpResponse> {
    let number = query_value(request, key).map(|raw| raw.parse()).transpose();
    number.map_err(|_| problem_response(&Problem::BadRequest(format!("{key} is a whole number from 0"))))
}

fn bad_request(code: &str, text: &str) -> HttpResponse {
    error(StatusCode::BAD_REQUEST, code, text)
}

/// The response to a request that the chat refuses.
pub fn problem_response(problem: &Problem) -> HttpResponse {
    let status = match problem {
        Problem::NameTaken(_) | Problem::NameConfusable { .. } | Problem::NameRegistered(_) => {
            StatusCode::CONFLICT
        }
        Problem::LoginRequired | Problem::LoginFailed => StatusCode::UNAUTHORIZED,
        Problem::TooManyLogins => StatusCode::TOO_MANY_REQUESTS,
        Problem::NotAllowed { .. } | Problem::Muted(_) | Problem::Banned(_) | Problem::RoleTooHigh { .. } => {
            StatusCode::FORBIDDEN
        }
        Problem::NoSuchClient(_)
        | Problem::NotBanned(_)
        | Problem::NotMuted(_)
        | Problem::NotRegistered(_) => StatusCode::NOT_FOUND,
        Problem::Unreachable(_) | Problem::NotConfirmed => StatusCode::GATEWAY_TIMEOUT,
        Problem::NotKept => StatusCode::SERVICE_UNAVAILABLE,
        Problem::Filtered => StatusCode::UNPROCESSABLE_ENTITY,
        Problem::CantModerate(_) => StatusCode::SERVICE_UNAVAILABLE,
        Problem::NotSaved(_) => StatusCode::INSUFFICIENT_STORAGE,
        Problem::NoSuchRoom(_) => StatusCode::NOT_FOUND,
        Problem::TooManyRooms => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let response = error(status, problem.code(), &problem.to_string());
    match problem {
        // RFC 6750, 3: without a token no error is named.
        Problem::LoginRequired => response.with(header::WWW_AUTHENTICATE, "Bearer realm=\"chinwag\""),
        Problem::LoginFailed => {
            response.with(header::WWW_AUTHENTICATE, "Bearer realm=\"chinwag\", error=\"invalid_token\"")
        }
        Problem::TooManyLogins => response.with(header::RETRY_AFTER, "1"),
        _ => response,
    }
}

/// The response to a request that the codec refuses.
pub fn refusal_response(refusal: &Refusal) -> HttpResponse {
    let code = refusal.status.canonical_reason().unwrap_or("error").to_ascii_lowercase().replace(' ', "_");
    error(refusal.status, &code, refusal.text)
}

/// An error response with a JSON body: `{"error":{"code":…,"text":…}}`.
pub fn error(status: StatusCode, code: &str, text: &str) -> HttpResponse {
    let body = serde_json::json!({ "error": { "code": code, "text": text } });
    HttpResponse::new(status).body(JSON, format!("{body}\n").into_bytes())
}

/// A response whose body is an event of the chat as JSON.
pub fn event_response(event: &Event) -> HttpResponse {
    let mut body = Vec::new();
    json::write(event, None, &mut body);
    body.push(b'\n');
    HttpResponse::new(StatusCode::OK).body(JSON, body)
}

/// The response to a published message: its sequence number, and the number of clients it was queued for.
pub fn published(seq: u64, queued_for: u64) -> HttpResponse {
    HttpResponse::new(StatusCode::ACCEPTED)
        .body(JSON, format!("{{\"seq\":{seq},\"queued_for\":{queued_for}}}\n").into_bytes())
}

/// The reason why the server is not ready for more clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotReady<'a> {
    Draining,
    Full,
    /// The link to the other servers is down.
    LinkDown {
        /// The first word of Redis's error, such as `READONLY`; `None` if there was no error.
        refusal: Option<&'a str>,
    },
}

/// The response of `/readyz`.
pub fn readiness(why_not: Option<NotReady<'_>>) -> HttpResponse {
    let not_ready = |reason, text: &str| error(StatusCode::SERVICE_UNAVAILABLE, reason, text);
    match why_not {
        None => HttpResponse::new(StatusCode::OK).body(JSON, &b"{\"status\":\"ready\"}\n"[..]),
        Some(NotReady::Draining) => not_ready("draining", "not ready for more clients"),
        Some(NotReady::Full) => not_ready("full", "not ready for more clients"),
        Some(NotReady::LinkDown { refusal: None }) => {
            not_ready("redis", "the link to the other servers is down")
        }
        Some(NotReady::LinkDown { refusal: Some(word) }) => {
            not_ready("redis", &format!("the link to the other servers is down: Redis answers {word}"))
        }
    }
}

/// The response to a connection from an address with too many of them.
pub fn too_many_connections(reason: CloseReason) -> HttpResponse {
    /// Seconds.
    const LATER: &str = "2";
    error(StatusCode::TOO_MANY_REQUESTS, reason.as_str(), reason.farewell().unwrap_or_default())
        .with(header::RETRY_AFTER, LATER)
}

/// The response to a connection from a banned address.
pub fn banned() -> HttpResponse {
    let text = CloseReason::Banned.farewell().unwrap_or_default();
    error(StatusCode::FORBIDDEN, CloseReason::Banned.as_str(), text)
}

/// The response when the server and its queue are full.
pub fn server_full() -> HttpResponse {
    /// Seconds.
    const LATER: &str = "10";
    let text = "the server is full. try again later";
    error(StatusCode::SERVICE_UNAVAILABLE, "full", text).with(header::RETRY_AFTER, LATER)
}
