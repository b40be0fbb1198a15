//! Paths of HTTP requests: the methods that each allows, and the responses about them.

use http::header::{self, HeaderName};
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use super::guard::AccessRules;
use super::{admin, assets, error, problem_response};
use crate::codec::http::{HttpRequest, HttpResponse};
use crate::protocol::Problem;
use crate::text::{RoomName, RoomNameError};

#[derive(Clone, Debug)]
pub enum Path {
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
    /// An action of a moderator, by its word.
    Admin(&'static str),
}

impl Path {
    /// The allowed methods, besides `OPTIONS`, and `HEAD` where `GET` is allowed.
    pub fn methods(&self) -> &'static [Method] {
        match self {
            Path::Messages(_) | Path::Server => &[Method::GET, Method::POST],
            Path::Admin(word) => admin::method(word),
            Path::Asset(_)
            | Path::Health
            | Path::Ready
            | Path::Metrics
            | Path::Rooms
            | Path::Events(_)
            | Path::Json
            | Path::Raw(_) => &[Method::GET],
        }
    }

    /// Whether the `Host` field is not checked. Load balancers use any address, and a foreign page may read
    /// that the server is alive.
    pub fn accepts_any_host(&self) -> bool {
        matches!(self, Path::Server | Path::Health | Path::Ready)
    }

    /// Whether pages of other origins are refused even if the request changes nothing. No rule of browsers keeps a page from
    /// reading a WebSocket of another origin.
    pub fn is_guarded(&self) -> bool {
        match self {
            Path::Json | Path::Raw(_) | Path::Admin(_) => true,
            Path::Server
            | Path::Asset(_)
            | Path::Health
            | Path::Ready
            | Path::Metrics
            | Path::Rooms
            | Path::Messages(_)
            | Path::Events(_) => false,
        }
    }
}

/// Parses a path.
///
/// # Errors
/// The response 404, or 400 if the name of its room is malformed.
pub fn path_of(path: &str) -> Result<Path, HttpResponse> {
    let room = |raw: &str| {
        let decoded = percent_decode_str(raw).decode_utf8_lossy();
        // `parse` would trim control characters, which are part of a path.
        let parsed = match decoded.contains(char::is_control) {
            true => Err(RoomNameError::Character),
            false => RoomName::parse(&decoded),
        };
        parsed.map_err(|error| problem_response(&Problem::BadRoomName(error)))
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
        ["admin", raw] => {
            Path::Admin(admin::WORDS.into_iter().find(|word| *word == raw).ok_or_else(not_found)?)
        }
        ["raw", raw] => Path::Raw(room(raw)?),
        [name] => Path::Asset(assets::find(name).ok_or_else(not_found)?),
        _ => return Err(not_found()),
    })
}

fn not_found() -> HttpResponse {
    error(StatusCode::NOT_FOUND, "not_found", "there is nothing here; /rooms lists the rooms")
}

/// The response to a method that the path does not allow.
pub fn method_not_allowed(path: &Path) -> HttpResponse {
    let text = "this path does not support that method; see the Allow field";
    error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
        .with(header::ALLOW, format!("{}, OPTIONS", methods(path)))
}

fn methods(path: &Path) -> String {
    let methods = path.methods();
    let head = methods.contains(&Method::GET).then_some("HEAD");
    head.into_iter().chain(methods.iter().map(Method::as_str)).collect::<Vec<_>>().join(", ")
}

/// The response to `OPTIONS` (RFC 9110, 9.3.7), which load balancers and browsers send.
///
/// # Errors
/// The response that refuses a page of another origin.
pub fn options(
    request: &HttpRequest,
    rules: &AccessRules<'_>,
    path: &Path,
) -> Result<HttpResponse, HttpResponse> {
    if rules.is_from_allowed_origin(request) {
        return Ok(preflight(request, path));
    }
    if request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        rules.check_origin(request)?;
    }
    Ok(HttpResponse::new(StatusCode::NO_CONTENT).with(header::ALLOW, format!("{}, OPTIONS", methods(path))))
}

/// Header fields that pages may send. The server reads three of them: `authorization`, `content-type` and
/// `last-event-id`. The others are sent by libraries. Older browsers don't
/// support `*`, and it never covers `authorization` (Fetch, 3.2.3).
const ALLOWED_HEADERS: &str =
    "*, accept, authorization, cache-control, content-type, last-event-id, pragma, x-requested-with";

/// The response to a CORS preflight request (Fetch, 3.2.2).
fn preflight(request: &HttpRequest, path: &Path) -> HttpResponse {
    /// Seconds for which browsers cache the response.
    const VALID_FOR: &str = "600";
    let response = HttpResponse::new(StatusCode::NO_CONTENT)
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, methods(path))
        .with(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS)
        .with(header::ACCESS_CONTROL_MAX_AGE, VALID_FOR);
    // Private Network Access: `--origin` allows a public page to use a server in a private network.
    match request.headers().get("access-control-request-private-network") {
        Some(value) if value == "true" => {
            response.with(HeaderName::from_static("access-control-allow-private-network"), "true")
        }
        _ => response,
    }
}
