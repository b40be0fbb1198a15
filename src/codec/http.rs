//! HTTP/1.1 requests and answers (RFC 9112): read with `httparse`, and no more lenient than that asks for.
//!
//! Whatever two readers could understand in two ways is refused: it is how requests are smuggled past a proxy.

use std::borrow::Cow;
use std::io::Write;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri, Version};
use memchr::memchr_iter;

use super::{Input, Step, Unfinished};

/// The longest head of a request, in bytes; past it 431.
pub const HEAD_MAX_BYTES: usize = 8 * 1024;

/// The most header fields of a request; past it 431.
const FIELDS_MAX: usize = 64;

/// The most input that can wait for the rest of a head or of a body, for bodies of `message_max` bytes.
pub fn unused_max_bytes(message_max: usize) -> usize {
    message_max.max(HEAD_MAX_BYTES)
}

/// A request whose body is still to come.
#[derive(Debug)]
pub struct Awaited {
    call: Call,
    body_bytes: usize,
}

/// A whole request.
pub type Call = http::Request<Vec<u8>>;

/// Why there is no request. The connection ends with the answer: nobody knows where the next request would begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The answer's status.
    pub status: StatusCode,
    /// What is wrong.
    pub text: &'static str,
}

/// Takes one request, or its head alone, off the front of `input`.
pub fn decode(unfinished: &mut Option<Box<Unfinished>>, input: &[u8], message_max: usize) -> Step {
    if let Some(Unfinished::Body(awaited)) = unfinished.as_deref_mut() {
        if input.len() < awaited.body_bytes {
            return Step::Incomplete;
        }
        let (bytes, mut call) = (awaited.body_bytes, std::mem::take(&mut awaited.call));
        *unfinished = None;
        call.body_mut().extend_from_slice(&input[..bytes]);
        return Step::Used { bytes, input: Some(Input::Call(Ok(Box::new(call)))) };
    }
    // Some clients end a body with a line end that is not part of it (RFC 9112, 2.2).
    if input.starts_with(b"\r\n") {
        return Step::Used { bytes: 2, input: None };
    }
    match head_len(input)
        .and_then(|length| length.map(|length| read_head(input, length, message_max)).transpose())
    {
        Ok(None) => Step::Incomplete,
        Ok(Some(head)) => begin(unfinished, head),
        Err(refusal) => Step::Used { bytes: input.len(), input: Some(Input::Call(Err(refusal))) },
    }
}

/// A head that was read, and what follows it.
struct Head {
    bytes: usize,
    call: Call,
    body_bytes: usize,
}

fn begin(unfinished: &mut Option<Box<Unfinished>>, head: Head) -> Step {
    let Head { bytes, call, body_bytes } = head;
    if body_bytes == 0 {
        return Step::Used { bytes, input: Some(Input::Call(Ok(Box::new(call)))) };
    }
    let asks = call.headers().contains_key(header::EXPECT);
    *unfinished = Some(Box::new(Unfinished::Body(Awaited { call, body_bytes })));
    Step::Used { bytes, input: asks.then_some(Input::Continue) }
}

/// The length of the head with the empty line that ends it, once that is there.
fn head_len(input: &[u8]) -> Result<Option<usize>, Refusal> {
    let mut line_start = 0;
    for end in memchr_iter(b'\n', &input[..input.len().min(HEAD_MAX_BYTES)]) {
        if end == 0 || input[end - 1] != b'\r' {
            return Err(bad("a line of the head ends with CR LF"));
        }
        if end == line_start + 1 {
            return Ok(Some(end + 1));
        }
        line_start = end + 1;
    }
    match input.len() < HEAD_MAX_BYTES {
        true => Ok(None),
        false => Err(too_long()),
    }
}

fn read_head(input: &[u8], bytes: usize, message_max: usize) -> Result<Head, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(&input[..bytes]) {
        Ok(httparse::Status::Complete(length)) if length == bytes => {}
        Ok(_) => return Err(bad("that is no HTTP request")),
        Err(httparse::Error::TooManyHeaders) => return Err(too_long()),
        Err(httparse::Error::Version) => {
            return Err(refuse(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1"));
        }
        Err(_) => return Err(bad("that is no HTTP request")),
    }
    let mut call = Call::new(Vec::new());
    *call.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *call.method_mut() = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| bad("the method has a character that methods don't have"))?;
    *call.uri_mut() = target(call.method(), parsed.path.unwrap_or_default())?;
    for field in parsed.headers.iter() {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| bad("a field's name is malformed"))?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| bad("a field's value is malformed"))?;
        call.headers_mut().append(name, value);
    }
    let body_bytes = check(&call, message_max)?;
    if is_upgrade(call.headers()) && (body_bytes > 0 || input.len() > bytes) {
        return Err(bad("nothing may follow an upgrade before its answer"));
    }
    Ok(Head { bytes, call, body_bytes })
}

/// A path, an absolute URI, or the `*` of `OPTIONS` (RFC 9112, 3.2). What is left, a host and a port, is for proxies.
fn target(method: &Method, raw: &str) -> Result<Uri, Refusal> {
    let uri = raw.parse::<Uri>().ok();
    let known = |uri: &Uri| match raw {
        "*" => method == Method::OPTIONS,
        raw => raw.starts_with('/') || uri.scheme().is_some(),
    };
    uri.filter(known).ok_or_else(|| bad("the target is no path"))
}

/// The length of the body, if the head is one that can be understood in one way only.
fn check(call: &Call, message_max: usize) -> Result<usize, Refusal> {
    let headers = call.headers();
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && call.version() == Version::HTTP_11) {
        return Err(bad("a request has one Host field"));
    }
    let named = call.uri().authority().map(|authority| authority.as_str());
    if named.is_some_and(|named| headers.get(header::HOST).is_none_or(|host| host != named)) {
        return Err(bad("the target names another host than the Host field"));
    }
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(match lengths {
            0 => refuse(StatusCode::LENGTH_REQUIRED, "send the body with a Content-Length, not in chunks"),
            _ => bad("a request has a Content-Length or a Transfer-Encoding, not both"),
        });
    }
    if headers
        .get(header::EXPECT)
        .is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(refuse(StatusCode::EXPECTATION_FAILED, "nothing but 100-continue can be expected"));
    }
    if lengths > 1 {
        return Err(bad("a request has one Content-Length"));
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(0);
    };
    let digits =
        length.to_str().ok().filter(|raw| !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.ok_or_else(|| bad("the Content-Length is no number"))?;
    match digits.parse::<usize>() {
        Ok(bytes) if bytes <= message_max => Ok(bytes),
        _ => Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is over the limit (--message-max)")),
    }
}

/// Whether the client wants to go on in WebSocket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether the connection is to stay open after the answer (RFC 9112, 9.3).
pub fn keeps_alive(call: &Call) -> bool {
    let says = |word: &str| {
        let fields =
            call.headers().get_all(header::CONNECTION).iter().filter_map(|field| field.to_str().ok());
        fields.flat_map(|field| field.split(',')).any(|option| option.trim().eq_ignore_ascii_case(word))
    };
    match call.version() {
        Version::HTTP_10 => says("keep-alive"),
        _ => !says("close"),
    }
}

fn bad(text: &'static str) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, text)
}

fn too_long() -> Refusal {
    refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is over 8 KiB or 64 fields")
}

fn refuse(status: StatusCode, text: &'static str) -> Refusal {
    Refusal { status, text }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields, but for those about the connection and the length.
    pub fields: Vec<(HeaderName, Cow<'static, str>)>,
    /// Its body.
    pub body: Cow<'static, [u8]>,
}

/// What follows an answer's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follows {
    /// The body, and then maybe another answer.
    Body,
    /// Nothing, because only the head was asked for.
    Nothing,
    /// Something without an end: a stream, or another protocol.
    Stream,
}

impl Answer {
    /// An answer without a body.
    pub fn new(status: StatusCode) -> Answer {
        Answer { status, fields: Vec::new(), body: Cow::Borrowed(&[]) }
    }

    /// The same with a header field more.
    pub fn with(mut self, name: HeaderName, value: impl Into<Cow<'static, str>>) -> Answer {
        self.fields.push((name, value.into()));
        self
    }

    /// The same with a body of that type.
    pub fn body(mut self, kind: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Answer {
        self.body = body.into();
        self.with(header::CONTENT_TYPE, kind)
    }

    /// Appends the answer. `last`: the connection ends with it.
    pub fn encode(&self, follows: Follows, last: bool, out: &mut Vec<u8>) {
        let reason = self.status.canonical_reason().unwrap_or_default();
        // Writing to a vector has no way to fail.
        let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", self.status.as_u16());
        for (name, value) in &self.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        // Nobody knows how long a stream is, not for `HEAD` either (RFC 9110, 8.6).
        let is_stream = follows == Follows::Stream || (follows == Follows::Nothing && self.body.is_empty());
        if !is_stream && self.status != StatusCode::NO_CONTENT && self.status != StatusCode::NOT_MODIFIED {
            let _ = write!(out, "content-length: {}\r\n", self.body.len());
        }
        if last {
            let _ = write!(out, "connection: close\r\n");
        }
        let _ = write!(out, "\r\n");
        if follows == Follows::Body {
            out.extend_from_slice(&self.body);
        }
    }
}

/// What tells a client to send the body that it has announced.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
