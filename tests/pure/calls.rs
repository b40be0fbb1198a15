//! A harness for HTTP: [`decode`] decodes as the server does, and returns the requests.

use chinwag::codec::http::{self, HttpRequest, HttpResponse, UNUSED_MAX_BYTES};
use chinwag::codec::{Input, Step};
use chinwag::web::{self, AccessRules, HttpAction};

/// The limit on bodies in these tests.
pub const BODY_MAX: usize = 100;

/// A result of the codec.
#[derive(Clone, PartialEq, Debug)]
pub enum Decoded {
    /// A request: method, target, and body.
    Asked(String, String, Vec<u8>),
    /// The client expects `100 Continue` before it sends the body.
    Continue,
    /// The request is refused with that status, and nothing behind it is read.
    Refused(u16),
}

/// Decodes bytes that arrive in these pieces.
pub fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Decoded> {
    let decoded = |input| match input {
        Input::Http(Ok(call)) => {
            Decoded::Asked(call.method().to_string(), call.uri().to_string(), call.into_body())
        }
        Input::Http(Err(refusal)) => Decoded::Refused(refusal.status.as_u16()),
        Input::Continue => Decoded::Continue,
        other => panic!("HTTP can't be {other:?}"),
    };
    inputs(pieces).into_iter().map(decoded).collect()
}

/// Decodes the only request in `bytes`.
#[track_caller]
pub fn call(bytes: impl AsRef<[u8]>) -> HttpRequest {
    match inputs([bytes.as_ref()]).pop() {
        Some(Input::Http(Ok(call))) => *call,
        other => panic!("no request, but {other:?}"),
    }
}

/// Returns the action of a request whose sender has the right to it.
pub fn route(request: &HttpRequest, rules: &AccessRules<'_>) -> Result<HttpAction, HttpResponse> {
    web::route(request, rules)?.action(request)
}

fn inputs<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Input> {
    let mut unfinished = None;
    let (mut unused, mut inputs) = (Vec::new(), Vec::new());
    for piece in pieces {
        unused.extend_from_slice(piece);
        loop {
            match http::decode(&mut unfinished, &unused, BODY_MAX) {
                Step::Incomplete => break,
                Step::Blocked => panic!("HTTP waits for no room"),
                Step::Fail(reason) => panic!("HTTP never fails, but for {reason:?}"),
                Step::Used { bytes, input } => {
                    assert!((1..=unused.len()).contains(&bytes), "used {bytes} of {}", unused.len());
                    unused.drain(..bytes);
                    inputs.extend(input);
                }
            }
            if let Some(Input::Http(Err(_))) = inputs.last() {
                return inputs;
            }
        }
        assert!(unused.len() <= UNUSED_MAX_BYTES, "{} bytes wait", unused.len());
    }
    inputs
}
