//! HTTP/1.1 requests and answers (RFC 9112): read with `httparse`, and no more lenient than that asks for.
//!
//! Whatever two readers could understand in two ways is refused: it is how requests are smuggled past a proxy.

mod chunked;

use std::borrow::Cow;
use std::io::Write;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri, Version};
use memchr::{memchr, memchr_iter};

use self::chunked::Chunked;
use super::{Input, Step, Unfinished};

/// The longest head of a request, in bytes; past it 431.
pub const HEAD_MAX_BYTES: usize = 8 * 1024;

/// The most header fields of a request; past it 431.
const FIELDS_MAX: usize = 64;

/// The text for a client of another protocol, most likely that of the line listener.
const NO_REQUEST: &str = "that is no HTTP request. nc and telnet use the listener for lines: port 7711, unless --line says another";

/// The most input that can wait for the rest of a head or of a body, for bodies of `message_max` bytes.
pub fn unused_max_bytes(message_max: usize) -> usize {
    message_max.max(HEAD_MAX_BYTES)
}

/// A request whose body is still to come.
#[derive(Debug)]
pub struct PendingRequest {
    call: Box<HttpRequest>,
    rest: Rest,
}

/// The framing of a request body (RFC 9112, 6).
#[derive(Debug)]
enum Rest {
    /// It has so many bytes.
    Length(usize),
    /// It comes in chunks.
    Chunks(Chunked),
}

/// A whole request.
pub type HttpRequest = http::Request<Vec<u8>>;

/// Why there is no request. The connection ends with the answer: nobody knows where the next request would begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The answer's status.
    pub status: StatusCode,
    /// What is wrong.
    pub text: &'static str,
    /// The page that the request comes from, as far as that was read.
    pub origin: Option<Box<str>>,
}

/// Takes one request, or its head alone, off the front of `input`.
pub fn decode(unfinished: &mut Option<Box<Unfinished>>, input: &[u8], message_max: usize) -> Step {
    if let Some(Unfinished::Body(awaited)) = unfinished.as_deref_mut() {
        let read = awaited.read(input, message_max);
        return match read {
            Ok((0, false)) => Step::Incomplete,
            Ok((bytes, false)) => Step::Used { bytes, input: None },
            Ok((bytes, true)) => {
                let call = std::mem::take(&mut awaited.call);
                *unfinished = None;
                Step::Used { bytes, input: Some(Input::Http(Ok(call))) }
            }
            Err(refusal) => {
                let origin = origin_of(awaited.call.headers()).map(Box::from);
                *unfinished = None;
                refused(input, Refusal { origin, ..refusal })
            }
        };
    }
    // Some clients end a body with a line end that is not part of it (RFC 9112, 2.2).
    if input.starts_with(b"\r\n") {
        return Step::Used { bytes: 2, input: None };
    }
    let length = if is_no_request(input) { Err(bad(NO_REQUEST)) } else { head_len(input) };
    match length.and_then(|length| length.map(|length| read_head(input, length, message_max)).transpose()) {
        Ok(None) => Step::Incomplete,
        Ok(Some(head)) => begin(unfinished, head),
        Err(refusal) => refused(input, Refusal { origin: origin_of_head(input).map(Box::from), ..refusal }),
    }
}

fn refused(input: &[u8], refusal: Refusal) -> Step {
    Step::Used { bytes: input.len(), input: Some(Input::Http(Err(refusal))) }
}

impl PendingRequest {
    /// Reads of the body what there is: how much of `input` is used, and whether the body is complete.
    fn read(&mut self, input: &[u8], message_max: usize) -> Result<(usize, bool), Refusal> {
        match &mut self.rest {
            Rest::Length(bytes) if input.len() < *bytes => Ok((0, false)),
            Rest::Length(bytes) => {
                self.call.body_mut().extend_from_slice(&input[..*bytes]);
                Ok((*bytes, true))
            }
            Rest::Chunks(chunked) => {
                let used = chunked.read(input, self.call.body_mut(), message_max)?;
                Ok((used, chunked.is_complete()))
            }
        }
    }
}

/// Whether `input` can't become a request, so that nobody waits for the rest of the head in vain.
fn is_no_request(input: &[u8]) -> bool {
    let end = memchr(b'\n', input);
    let line = &input[..end.unwrap_or(input.len())];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|byte| *byte == b' ');
    let is_method = words.next().is_some_and(|method| method.iter().copied().all(is_token_byte));
    let is_versioned = words.next_back().is_some_and(|version| version.starts_with(b"HTTP/"));
    !is_method || (end.is_some() && !is_versioned)
}

/// A character of a method (RFC 9110, 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A head that was read, and what follows it.
struct RequestHead {
    bytes: usize,
    call: Box<HttpRequest>,
    rest: Option<Rest>,
}

fn begin(unfinished: &mut Option<Box<Unfinished>>, head: RequestHead) -> Step {
    let RequestHead { bytes, call, rest } = head;
    let Some(rest) = rest else {
        return Step::Used { bytes, input: Some(Input::Http(Ok(call))) };
    };
    // A client of HTTP/1.0 does not know the interim answer (RFC 9110, 10.1.1).
    let asks = call.version() == Version::HTTP_11 && call.headers().contains_key(header::EXPECT);
    *unfinished = Some(Box::new(Unfinished::Body(PendingRequest { call, rest })));
    Step::Used { bytes, input: asks.then_some(Input::Continue) }
}

/// The value of an `Origin` field that can't be read, or that is there twice. No page has it; only `--origin *` allows it.
const UNREADABLE_ORIGIN: &str = "*";

/// The page that a request comes from (RFC 6454, 7).
pub fn origin_of(headers: &HeaderMap) -> Option<&str> {
    origin_among(headers.get_all(header::ORIGIN).iter().map(HeaderValue::as_bytes))
}

/// The same by the whole lines of a head that is not complete, or that can't be read.
fn origin_of_head(input: &[u8]) -> Option<&str> {
    let lines = input[..input.len().min(HEAD_MAX_BYTES)].split_inclusive(|byte| *byte == b'\n').skip(1);
    let lines = lines.filter_map(|line| line.strip_suffix(b"\n")).map(<[u8]>::trim_ascii_end);
    origin_among(lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let colon = memchr(b':', line)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        name.eq_ignore_ascii_case(header::ORIGIN.as_str().as_bytes()).then(|| value.trim_ascii())
    }))
}

fn origin_among<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a str> {
    let first = values.next()?;
    let is_one = values.next().is_none() && !first.is_empty() && first.iter().all(u8::is_ascii_graphic);
    Some(std::str::from_utf8(first).ok().filter(|_| is_one).unwrap_or(UNREADABLE_ORIGIN))
}

/// The page that a request which is not complete comes from. `input`: what was not used of it.
pub fn origin_of_unfinished<'a>(unfinished: Option<&'a Unfinished>, input: &'a [u8]) -> Option<&'a str> {
    match unfinished {
        Some(Unfinished::Body(awaited)) => origin_of(awaited.call.headers()),
        _ => origin_of_head(input),
    }
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

fn read_head(input: &[u8], bytes: usize, message_max: usize) -> Result<RequestHead, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(&input[..bytes]) {
        Ok(httparse::Status::Complete(length)) if length == bytes => {}
        Ok(_) => return Err(bad(NO_REQUEST)),
        Err(httparse::Error::TooManyHeaders) => return Err(too_long()),
        Err(httparse::Error::Version) => {
            return Err(refuse(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1"));
        }
        Err(_) => return Err(bad(NO_REQUEST)),
    }
    let mut call = HttpRequest::new(Vec::new());
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
    check(&call)?;
    let rest = framing(&call, message_max)?;
    if is_upgrade(call.headers()) && (rest.is_some() || input.len() > bytes) {
        return Err(bad("nothing may follow an upgrade before its answer"));
    }
    Ok(RequestHead { bytes, call: Box::new(call), rest })
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

/// Whether the head is one that can be understood in one way only.
fn check(call: &HttpRequest) -> Result<(), Refusal> {
    let headers = call.headers();
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && call.version() == Version::HTTP_11) {
        return Err(bad("a request has one Host field"));
    }
    let named = call.uri().authority().map(|authority| authority.as_str());
    if named.is_some_and(|named| headers.get(header::HOST).is_none_or(|host| host != named)) {
        return Err(bad("the target names another host than the Host field"));
    }
    if headers
        .get(header::EXPECT)
        .is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(refuse(StatusCode::EXPECTATION_FAILED, "nothing but 100-continue can be expected"));
    }
    Ok(())
}

/// The framing of the body, if there is one (RFC 9112, 6.3).
fn framing(call: &HttpRequest, message_max: usize) -> Result<Option<Rest>, Refusal> {
    let headers = call.headers();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if lengths > 0 {
            return Err(bad("a request has a Content-Length or a Transfer-Encoding, not both"));
        }
        // An old proxy may have passed on the field without knowing it (RFC 9112, 6.1).
        if call.version() == Version::HTTP_10 {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding: send the body with a Content-Length"));
        }
        check_codings(headers)?;
        return Ok(Some(Rest::Chunks(Chunked::default())));
    }
    if lengths > 1 {
        return Err(bad("a request has one Content-Length"));
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let digits =
        length.to_str().ok().filter(|raw| !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.ok_or_else(|| bad("the Content-Length is no number"))?;
    match digits.parse::<usize>() {
        Ok(0) => Ok(None),
        Ok(bytes) if bytes <= message_max => Ok(Some(Rest::Length(bytes))),
        _ => Err(body_too_long()),
    }
}

/// Whether the transfer coding is chunked and nothing else (RFC 9112, 6.1).
fn check_codings(headers: &HeaderMap) -> Result<(), Refusal> {
    let fields = headers.get_all(header::TRANSFER_ENCODING).iter();
    let fields = fields.map(|field| field.to_str().unwrap_or_default());
    let codings: Vec<&str> = fields.flat_map(|field| field.split(',')).map(str::trim).collect();
    let is_chunked = |coding: &str| coding.eq_ignore_ascii_case("chunked");
    match codings[..] {
        [only] if is_chunked(only) => Ok(()),
        [ref others @ .., last]
            if is_chunked(last) && others.iter().all(|coding| !coding.is_empty() && !is_chunked(coding)) =>
        {
            let text = "a body may come in chunks, but not compressed or otherwise encoded";
            Err(refuse(StatusCode::NOT_IMPLEMENTED, text))
        }
        _ => Err(bad("the last transfer coding is chunked, and is there once")),
    }
}

/// Whether the client wants to go on in WebSocket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether the connection is to stay open after the answer (RFC 9112, 9.3).
pub fn keeps_alive(call: &HttpRequest) -> bool {
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
    refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head or the trailer is over 8 KiB or 64 fields")
}

fn body_too_long() -> Refusal {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is over the limit (--message-max)")
}

fn refuse(status: StatusCode, text: &'static str) -> Refusal {
    Refusal { status, text, origin: None }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields, but for those about the connection and the length.
    pub fields: Vec<(HeaderName, Cow<'static, str>)>,
    /// Its body.
    pub body: Cow<'static, [u8]>,
}

/// What follows an answer's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterHead {
    /// The body, and then maybe another answer.
    Body,
    /// Nothing, because only the head was asked for.
    Nothing,
    /// Something without an end: a stream, or another protocol.
    Stream,
}

impl HttpResponse {
    /// An answer without a body.
    pub fn new(status: StatusCode) -> HttpResponse {
        HttpResponse { status, fields: Vec::new(), body: Cow::Borrowed(&[]) }
    }

    /// The same with a header field more.
    pub fn with(mut self, name: HeaderName, value: impl Into<Cow<'static, str>>) -> HttpResponse {
        self.fields.push((name, value.into()));
        self
    }

    /// The same with a body of that type.
    pub fn body(mut self, kind: &'static str, body: impl Into<Cow<'static, [u8]>>) -> HttpResponse {
        self.body = body.into();
        self.with(header::CONTENT_TYPE, kind)
    }

    /// Appends the answer. `last`: the connection ends with it.
    pub fn encode(&self, follows: AfterHead, last: bool, out: &mut Vec<u8>) {
        let reason = self.status.canonical_reason().unwrap_or_default();
        // Writing to a vector has no way to fail.
        let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", self.status.as_u16());
        for (name, value) in &self.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        // Nobody knows how long a stream is, not for `HEAD` either (RFC 9110, 8.6).
        let is_stream =
            follows == AfterHead::Stream || (follows == AfterHead::Nothing && self.body.is_empty());
        if !is_stream && self.status != StatusCode::NO_CONTENT && self.status != StatusCode::NOT_MODIFIED {
            let _ = write!(out, "content-length: {}\r\n", self.body.len());
        }
        if last {
            let _ = write!(out, "connection: close\r\n");
        }
        let _ = write!(out, "\r\n");
        if follows == AfterHead::Body {
            out.extend_from_slice(&self.body);
        }
    }
}

/// What tells a client to send the body that it has announced.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
