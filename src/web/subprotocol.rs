//! The subprotocol of a WebSocket (RFC 6455, 1.9): [`select_subprotocol`].

use http::header::SEC_WEBSOCKET_PROTOCOL;

use super::bad_request;
use crate::codec::http::{HttpRequest, HttpResponse, is_token_byte};
use crate::protocol::Dialect;

/// The subprotocol of `/ws`. It is documented in the guide.
const JSON: &str = "chinwag.json";

/// Adds the selected subprotocol to `response`, if the client has offered a suitable one.
///
/// A browser gives up if it has offered some and none is selected (WebSockets, 4.1). `/raw` has messages of programs, so the
/// first offer is selected. `/ws` selects only [`JSON`], because its messages follow no other subprotocol.
///
/// # Errors
/// The response 400: the offer is malformed (RFC 6455, 11.3.4).
pub fn select_subprotocol(
    response: HttpResponse,
    request: &HttpRequest,
    dialect: Dialect,
) -> Result<HttpResponse, HttpResponse> {
    let offered = offered(request)?;
    let agreed = match dialect {
        Dialect::Raw => offered.first(),
        _ => offered.iter().find(|name| **name == JSON),
    };
    Ok(match agreed {
        Some(name) => response.with(SEC_WEBSOCKET_PROTOCOL, name.to_string()),
        None => response,
    })
}

/// The offered names in order of preference: distinct tokens, separated by commas, in one field or several
/// (RFC 6455, 11.3.4 and 4.1).
fn offered(request: &HttpRequest) -> Result<Vec<&str>, HttpResponse> {
    let malformed = || {
        bad_request(
            "bad_subprotocol",
            "Sec-WebSocket-Protocol is a list of different names, with commas between them",
        )
    };
    let mut names: Vec<&str> = Vec::new();
    for field in request.headers().get_all(SEC_WEBSOCKET_PROTOCOL) {
        let before = names.len();
        let field = field.to_str().map_err(|_| malformed())?;
        // Empty elements are ignored (RFC 9110, 5.6.1.2), but a field needs at least one name.
        for name in
            field.split(',').map(|name| name.trim_matches([' ', '\t'])).filter(|name| !name.is_empty())
        {
            if !is_token(name) || names.contains(&name) {
                return Err(malformed());
            }
            names.push(name);
        }
        if names.len() == before {
            return Err(malformed());
        }
    }
    Ok(names)
}

/// Whether the name is a token (RFC 9110, 5.6.2).
fn is_token(name: &str) -> bool {
    name.bytes().all(is_token_byte)
}
