//! Requests of moderators: `POST /admin/kick`, `mute`, `unmute`, `ban`, `unban` and `unregister`, and `GET /admin/bans`.

use http::Method;

use super::{bad_request, problem_response};
use crate::codec::http::{HttpRequest, HttpResponse};
use crate::codec::json;
use crate::protocol::Moderation;

/// The words of the paths under `/admin/`.
pub const WORDS: [&str; 7] = ["kick", "mute", "unmute", "ban", "unban", "unregister", "bans"];

/// The method of the path with that word.
pub fn method(word: &str) -> &'static [Method] {
    if word == "bans" { &[Method::GET] } else { &[Method::POST] }
}

/// Reads the action from the body, a JSON object with the fields of the JSON listener's request.
///
/// # Errors
/// The response to a malformed body.
pub fn read(request: &HttpRequest, word: &str) -> Result<Moderation, HttpResponse> {
    let raw =
        std::str::from_utf8(request.body()).map_err(|_| bad_request("not_utf8", "the body is not UTF-8"))?;
    let raw = if word == "bans" { "{}" } else { raw };
    json::moderation(word, raw).map_err(|problem| problem_response(&problem))
}
