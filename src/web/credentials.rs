//! The token of an HTTP request, from `Authorization` or from the query.

use ::http::header;

use super::query_value;
use crate::access::LoginToken;
use crate::codec::http::HttpRequest;

/// A token, and where it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    /// `None` if it is malformed.
    pub token: Option<LoginToken>,
    /// A page puts the token of a WebSocket into the query, and can't read the response to a failed upgrade.
    pub is_in_query: bool,
}

/// The token of a request: `Authorization: Bearer TOKEN` (RFC 6750, 2.1), or `token` in the query of a stream. A page has no
/// other way there. Other schemes belong to a proxy and are ignored.
pub fn credential(request: &HttpRequest) -> Option<Credential> {
    let fields = request.headers().get_all(header::AUTHORIZATION).iter();
    let bearer = fields.filter_map(|field| {
        let (scheme, rest) = field.as_bytes().split_at_checked(b"bearer".len())?;
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && rest.first().is_none_or(|b| *b == b' ');
        is_bearer.then(|| std::str::from_utf8(rest).ok().and_then(|rest| LoginToken::parse(rest.trim())))
    });
    let mut bearer = bearer.map(|token| Credential { token, is_in_query: false });
    if let Some(first) = bearer.next() {
        // Two tokens could be of two accounts.
        let is_only = bearer.next().is_none();
        return Some(Credential { token: first.token.filter(|_| is_only), ..first });
    }
    let raw = query_value(request, "token").filter(|_| takes_query_token(request.uri().path()))?;
    Some(Credential { token: LoginToken::parse(&raw), is_in_query: true })
}

/// Whether the path is that of a stream. In other requests a token in the address would only end up in logs.
fn takes_query_token(path: &str) -> bool {
    path == "/ws" || path.starts_with("/raw/") || (path.starts_with("/rooms/") && path.ends_with("/events"))
}
