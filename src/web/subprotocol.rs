//! The subprotocol of a WebSocket (RFC 6455, 1.9): [`agree`].

use http::header::SEC_WEBSOCKET_PROTOCOL;

use super::bad;
use crate::codec::http::{HttpRequest, HttpResponse};
use crate::protocol::Dialect;

/// The subprotocol of `/ws`. It is in the guide: pages ask for it.
const JSON: &str = "chinwag.json";

/// Names in `answer` the subprotocol that is spoken, if the client has offered one that is.
///
/// A browser that has offered some, and is answered none of them, gives up (WebSockets, 4.1). At `/raw` the messages are
/// the programs' own, so the first that they offer is right. At `/ws` only ours is: to agree to another would promise
/// messages that never come.
///
/// # Errors
/// The offer is malformed.
pub fn agree(
    answer: HttpResponse,
    call: &HttpRequest,
    dialect: Dialect,
) -> Result<HttpResponse, HttpResponse> {
    let offered = offered(call)?;
    let agreed = match dialect {
        Dialect::Raw => offered.first(),
        _ => offered.iter().find(|name| **name == JSON),
    };
    Ok(match agreed {
        Some(name) => answer.with(SEC_WEBSOCKET_PROTOCOL, name.to_string()),
        None => answer,
    })
}

/// The names that a client has offered, best first: tokens with commas between, in one field or in several, each once
/// (RFC 6455, 11.3.4 and 4.1).
fn offered(call: &HttpRequest) -> Result<Vec<&str>, HttpResponse> {
    let malformed = || {
        bad(
            "bad_subprotocol",
            "Sec-WebSocket-Protocol is a list of different names, with commas between them",
        )
    };
    let mut names: Vec<&str> = Vec::new();
    for field in call.headers().get_all(SEC_WEBSOCKET_PROTOCOL) {
        let before = names.len();
        let field = field.to_str().map_err(|_| malformed())?;
        // Empty elements are ignored (RFC 9110, 5.6.1.2), but a field without any other is no offer.
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

/// Whether it is a token (RFC 9110, 5.6.2).
fn is_token(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
