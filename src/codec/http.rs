//! HTTP/1.1 requests and responses (RFC 9112), parsed with `httparse`.
//!
//! Ambiguous requests are refused, because two readers that disagree about one allow request smuggling past a proxy.

mod chunked;

use std::borrow::Cow;
use std::io::Write;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, StatusCode, Uri, Version};
use memchr::{memchr, memchr_iter};

use self::chunked::Chunked;
use super::{Input, Step, Unfinished};

/// The longest head of a request. A longer one gets status 431.
pub const HEAD_MAX_BYTES: usize = 8 * 1024;

/// The most header fields of a request. More get status 431.
const FIELDS_MAX: usize = 64;

/// The text for a client of another protocol, most likely of the line listener.
const NOT_HTTP: &str = "that is no HTTP request. nc and telnet use the listener for lines: port 7711, unless --line says another";

/// The most bytes of an incomplete head, trailer, or line with the size of a chunk.
pub const UNUSED_MAX_BYTES: usize = HEAD_MAX_BYTES;

/// A request whose body is incomplete.
#[derive(Debug)]
pub struct PendingRequest {
    request: Box<HttpRequest>,
    framing: BodyFraming,
}

/// The framing of a request body (RFC 9112, 6).
#[derive(Debug)]
enum BodyFraming {
    /// The remaining bytes.
    Length(usize),
    Chunks(Chunked),
}

/// A complete request.
pub type HttpRequest = http::Request<Vec<u8>>;

/// The reason why a request is refused. The connection ends with the response, since the start of the next request is unknown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub text: &'static str,
    /// The request's `Origin`, if that field has arrived.
    pub origin: Option<Box<str>>,
    /// Whether the method is `HEAD`, whose response has no body.
    pub is_head: bool,
}

/// Decodes one request, or only its head, from the front of `input`.
pub fn decode(unfinished: &mut Option<Box<Unfinished>>, input: &[u8], message_max: usize) -> Step {
    if let Some(Unfinished::Body(pending)) = unfinished.as_deref_mut() {
        let read = pending.read(input, message_max);
        return match read {
            Ok((0, false)) => Step::Incomplete,
            Ok((bytes, false)) => Step::Used { bytes, input: None },
            Ok((bytes, true)) => {
                let request = std::mem::take(&mut pending.request);
                *unfinished = None;
                Step::Used { bytes, input: Some(Input::Http(Ok(request))) }
            }
            Err(refusal) => {
                let (origin, is_head) = unfinished_request(unfinished.as_deref(), input);
                let refusal = Refusal { origin: origin.map(Box::from), is_head, ..refusal };
                *unfinished = None;
                refusal_step(input, refusal)
            }
        };
    }
    // Some clients end a body with a line end that is not part of it (RFC 9112, 2.2).
    if input.starts_with(b"\r\n") {
        return Step::Used { bytes: 2, input: None };
    }
    let length = if cannot_be_request(input) { Err(bad_request(NOT_HTTP)) } else { head_len(input) };
    match length.and_then(|length| length.map(|length| read_head(input, length, message_max)).transpose()) {
        Ok(None) => Step::Incomplete,
        Ok(Some(head)) => accept_head(unfinished, head),
        Err(refusal) => {
            let (origin, is_head) = unfinished_request(None, input);
            refusal_step(input, Refusal { origin: origin.map(Box::from), is_head, ..refusal })
        }
    }
}

fn refusal_step(input: &[u8], refusal: Refusal) -> Step {
    Step::Used { bytes: input.len(), input: Some(Input::Http(Err(refusal))) }
}

impl PendingRequest {
    /// Bytes of memory of the part of the body that has arrived.
    pub fn memory_bytes(&self) -> usize {
        self.request.body().capacity()
    }

    /// Reads body data from `input`. Returns the bytes used, and whether the body is complete.
    ///
    /// # Errors
    /// The chunks are malformed or too large (RFC 9112, 7.1).
    fn read(&mut self, input: &[u8], message_max: usize) -> Result<(usize, bool), Refusal> {
        match &mut self.framing {
            BodyFraming::Length(left) => {
                let bytes = input.len().min(*left);
                let body = self.request.body_mut();
                let most_bytes = body.len() + *left;
                append(body, &input[..bytes], most_bytes);
                *left -= bytes;
                Ok((bytes, *left == 0))
            }
            BodyFraming::Chunks(chunked) => {
                let used = chunked.read(input, self.request.body_mut(), message_max)?;
                Ok((used, chunked.is_complete()))
            }
        }
    }
}

/// Appends data to a body that may grow to `most_bytes`. The capacity doubles, but not beyond that: all of it counts as memory
/// of the client.
fn append(body: &mut Vec<u8>, data: &[u8], most_bytes: usize) {
    if body.len() + data.len() > body.capacity() {
        body.reserve_exact(data.len().max(body.len()).min(most_bytes - body.len()));
    }
    body.extend_from_slice(data);
}

/// Whether `input` can't become a request. Then there is no point in waiting for the rest of the head.
fn cannot_be_request(input: &[u8]) -> bool {
    let end = memchr(b'\n', input);
    let line = &input[..end.unwrap_or(input.len())];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|byte| *byte == b' ');
    let is_method = words.next().is_some_and(|method| method.iter().copied().all(is_token_byte));
    let is_versioned = words.next_back().is_some_and(|version| version.starts_with(b"HTTP/"));
    !is_method || (end.is_some() && !is_versioned)
}

/// Whether a byte may be part of a token (RFC 9110, 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A parsed head, with the framing of the body.
struct RequestHead {
    bytes: usize,
    request: Box<HttpRequest>,
    framing: Option<BodyFraming>,
}

fn accept_head(unfinished: &mut Option<Box<Unfinished>>, head: RequestHead) -> Step {
    let RequestHead { bytes, request, framing } = head;
    let Some(framing) = framing else {
        return Step::Used { bytes, input: Some(Input::Http(Ok(request))) };
    };
    // HTTP/1.0 has no interim responses (RFC 9110, 10.1.1).
    let asks = request.version() == Version::HTTP_11 && request.headers().contains_key(header::EXPECT);
    *unfinished = Some(Box::new(Unfinished::Body(PendingRequest { request, framing })));
    Step::Used { bytes, input: asks.then_some(Input::Continue) }
}

/// Replaces an `Origin` field that is malformed or duplicated. Only `--origin *` allows it.
const UNREADABLE_ORIGIN: &str = "*";

/// The value of the `Origin` field (RFC 6454, 7).
pub fn origin_of(headers: &HeaderMap) -> Option<&str> {
    origin_among(headers.get_all(header::ORIGIN).iter().map(HeaderValue::as_bytes))
}

/// The `Origin` field of an incomplete or malformed head, from its complete lines.
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

/// The `Origin` field of an incomplete request, and whether its method is `HEAD`. `input` has its unconsumed bytes.
pub fn unfinished_request<'a>(
    unfinished: Option<&'a Unfinished>,
    input: &'a [u8],
) -> (Option<&'a str>, bool) {
    match unfinished {
        Some(Unfinished::Body(PendingRequest { request, .. })) => {
            (origin_of(request.headers()), request.method() == Method::HEAD)
        }
        _ => (origin_of_head(input), input.starts_with(b"HEAD ")),
    }
}

/// Length of the head with its empty line; `None` if the head is incomplete.
fn head_len(input: &[u8]) -> Result<Option<usize>, Refusal> {
    let mut line_start = 0;
    for end in memchr_iter(b'\n', &input[..input.len().min(HEAD_MAX_BYTES)]) {
        if end == 0 || input[end - 1] != b'\r' {
            return Err(bad_request("a line of the head ends with CR LF"));
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
        Ok(_) => return Err(bad_request(NOT_HTTP)),
        Err(httparse::Error::TooManyHeaders) => return Err(too_long()),
        Err(httparse::Error::Version) => {
            return Err(refuse(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1"));
        }
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
            return Err(bad_request("a header field is malformed"));
        }
        Err(_) => return Err(bad_request(NOT_HTTP)),
    }
    let mut request = HttpRequest::new(Vec::new());
    *request.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.method_mut() = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| bad_request("the method has a character that methods don't have"))?;
    *request.uri_mut() = target(request.method(), parsed.path.unwrap_or_default())?;
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| bad_request("a field's name is malformed"))?;
        let value =
            HeaderValue::from_bytes(field.value).map_err(|_| bad_request("a field's value is malformed"))?;
        request.headers_mut().append(name, value);
    }
    check(&request)?;
    let framing = body_framing(&request, message_max)?;
    // An upgrade is ignored in HTTP/1.0 (RFC 9110, 7.8).
    let is_upgrade = is_upgrade(request.headers()) && request.version() == Version::HTTP_11;
    if is_upgrade && (framing.is_some() || input.len() > bytes) {
        return Err(bad_request("nothing may follow an upgrade before its answer"));
    }
    Ok(RequestHead { bytes, request: Box::new(request), framing })
}

/// Parses the target: a path, an absolute URI, or the `*` of `OPTIONS` (RFC 9112, 3.2). Authority form is for proxies only. A
/// fragment is not part of a target, and the parser would remove it.
fn target(method: &Method, raw: &str) -> Result<Uri, Refusal> {
    let uri = raw.parse::<Uri>().ok();
    let known = |uri: &Uri| match raw {
        "*" => method == Method::OPTIONS,
        raw => raw.starts_with('/') || uri.scheme().is_some(),
    };
    uri.filter(known).filter(|_| !raw.contains('#')).ok_or_else(|| bad_request("the target is no path"))
}

/// Refuses a head that two readers could understand differently.
fn check(request: &HttpRequest) -> Result<(), Refusal> {
    let headers = request.headers();
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(bad_request("a request has one Host field"));
    }
    let host = headers.get(header::HOST);
    if !host.is_none_or(is_host) {
        return Err(bad_request("the Host field is no host name or address, with or without a port"));
    }
    let named = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if named.zip(host).is_some_and(|(named, host)| !named.eq_ignore_ascii_case(host.as_bytes())) {
        return Err(bad_request("the target names another host than the Host field"));
    }
    if headers
        .get(header::EXPECT)
        .is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(refuse(StatusCode::EXPECTATION_FAILED, "nothing but 100-continue can be expected"));
    }
    Ok(())
}

/// Whether the value of a `Host` field is valid: empty, or a host with or without a port (RFC 9110, 7.2).
fn is_host(value: &HeaderValue) -> bool {
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok_and(|_| !port.starts_with('+'));
    let Ok(host) = value.to_str() else {
        return false;
    };
    let after_host = host.rsplit_once(']').map_or(host, |(_, after)| after);
    let (surplus, port) = after_host.split_once(':').unwrap_or((after_host, ""));
    let is_well_formed = host.parse::<Authority>().is_ok() && !host.contains('@');
    host.is_empty() || (is_well_formed && (surplus.is_empty() || !host.contains(']')) && is_port(port))
}

/// The framing of the body; `None` if there is no body (RFC 9112, 6.3).
fn body_framing(request: &HttpRequest, message_max: usize) -> Result<Option<BodyFraming>, Refusal> {
    let headers = request.headers();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if lengths > 0 {
            return Err(bad_request("a request has a Content-Length or a Transfer-Encoding, not both"));
        }
        // An HTTP/1.0 proxy may have forwarded the field without support for it (RFC 9112, 6.1).
        if request.version() == Version::HTTP_10 {
            return Err(bad_request(
                "HTTP/1.0 has no Transfer-Encoding: send the body with a Content-Length",
            ));
        }
        check_codings(headers)?;
        return Ok(Some(BodyFraming::Chunks(Chunked::default())));
    }
    if lengths > 1 {
        return Err(bad_request("a request has one Content-Length"));
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let digits =
        length.to_str().ok().filter(|raw| !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.ok_or_else(|| bad_request("the Content-Length is no number"))?;
    match digits.parse::<usize>() {
        Ok(0) => Ok(None),
        Ok(bytes) if bytes <= message_max => Ok(Some(BodyFraming::Length(bytes))),
        _ => Err(body_too_long()),
    }
}

/// Refuses every transfer coding but a single `chunked` (RFC 9112, 6.1).
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
        _ => Err(bad_request("the last transfer coding is chunked, and is there once")),
    }
}

/// Whether the request upgrades to WebSocket (RFC 6455, 4.1).
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_option(headers, &header::UPGRADE, "websocket")
}

/// Whether a field that is a list has that element. Several such fields are one list (RFC 9110, 5.3).
pub fn has_option(headers: &HeaderMap, name: &HeaderName, option: &str) -> bool {
    let fields = headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|element| element.trim().eq_ignore_ascii_case(option))
}

/// Whether the connection stays open after the response (RFC 9112, 9.3).
pub fn keeps_alive(request: &HttpRequest) -> bool {
    let says = |option| has_option(request.headers(), &header::CONNECTION, option);
    match request.version() {
        Version::HTTP_10 => says("keep-alive") && !says("close"),
        _ => !says("close"),
    }
}

fn bad_request(text: &'static str) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, text)
}

fn too_long() -> Refusal {
    refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head or the trailer is over 8 KiB or 64 fields")
}

fn body_too_long() -> Refusal {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is over the limit (--message-max)")
}

fn refuse(status: StatusCode, text: &'static str) -> Refusal {
    Refusal { status, text, origin: None, is_head: false }
}

/// A response.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    pub status: StatusCode,
    /// The header fields without `Content-Length` and `Connection: close`, which [`HttpResponse::encode`] adds.
    pub fields: Vec<(HeaderName, Cow<'static, str>)>,
    pub body: Cow<'static, [u8]>,
}

/// The output that follows the head of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterHead {
    /// The body, and then possibly another response.
    Body,
    /// Nothing, because the request was `HEAD`.
    Nothing,
    /// An endless stream or another protocol.
    Stream,
}

impl AfterHead {
    /// Returns the output that follows the head of a response with a body.
    pub fn of(is_head: bool) -> AfterHead {
        if is_head { AfterHead::Nothing } else { AfterHead::Body }
    }
}

impl HttpResponse {
    /// A response without a body.
    pub fn new(status: StatusCode) -> HttpResponse {
        HttpResponse { status, fields: Vec::new(), body: Cow::Borrowed(&[]) }
    }

    /// Adds a header field.
    pub fn with(mut self, name: HeaderName, value: impl Into<Cow<'static, str>>) -> HttpResponse {
        self.fields.push((name, value.into()));
        self
    }

    /// Sets the body and its content type.
    pub fn body(mut self, kind: &'static str, body: impl Into<Cow<'static, [u8]>>) -> HttpResponse {
        self.body = body.into();
        self.with(header::CONTENT_TYPE, kind)
    }

    /// Appends the response. `last`: the connection closes after it.
    pub fn encode(&self, follows: AfterHead, last: bool, out: &mut Vec<u8>) {
        let reason = self.status.canonical_reason().unwrap_or_default();
        // Writing to a vector can't fail.
        let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", self.status.as_u16());
        for (name, value) in &self.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        // A stream has no known length, not for `HEAD` either (RFC 9110, 8.6).
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

/// The interim response that makes a client send its body (RFC 9110, 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
