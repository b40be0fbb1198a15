//! HTTP requests, by tables (RFC 9112): the input, and the request or the refusal, however the bytes are cut. The end
//! of the file tests answers.

use std::borrow::Cow;

use ::http::{StatusCode, header};
use chinwag::codec::http::{self, AfterHead, HEAD_MAX_BYTES, HttpResponse, keeps_alive};
use chinwag::codec::{Input, Step, Unfinished};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::calls::{BODY_MAX, Decoded, call, decode};
use crate::random::check as check_random;

/// Requests up to this long are cut everywhere; longer ones near their ends.
const SHORT: usize = 500;
const NEAR: usize = 12;

/// Checks that `input` decodes to exactly `expected`: whole, cut in two anywhere, and byte by byte.
#[track_caller]
pub fn check(input: &[u8], expected: &[Decoded]) {
    let shown = input[..input.len().min(SHORT)].escape_ascii();
    assert_eq!(decode([input]), expected, "\"{shown}\" whole");
    let all = 1..input.len();
    for cut in all.filter(|cut| input.len() <= SHORT || *cut < NEAR || input.len() - cut < NEAR) {
        let (one, other) = input.split_at(cut);
        assert_eq!(decode([one, other]), expected, "\"{shown}\" cut at {cut}");
    }
    assert_eq!(decode(input.chunks(1)), expected, "\"{shown}\" byte by byte");
}

#[track_caller]
fn check_rows(rows: &[(&str, &[Decoded])]) {
    rows.iter().for_each(|(input, expected)| check(input.as_bytes(), expected));
}

/// Checks heads that are refused with that status, alone and behind a good request.
#[track_caller]
pub fn check_refused(status: u16, heads: &[&[u8]]) {
    for head in heads {
        check(head, &[Decoded::Refused(status)]);
        let behind = [b"GET /rooms HTTP/1.1\r\nHost: h\r\n\r\n", *head].concat();
        check(&behind, &[get("/rooms"), Decoded::Refused(status)]);
    }
}

/// Checks requests with these fields, each with its line end.
#[track_caller]
pub fn check_fields_refused(status: u16, fields: &[&str]) {
    for fields in fields {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        check_refused(status, &[head.as_bytes()]);
    }
}

pub fn asked(method: &str, target: &str, body: &str) -> Decoded {
    Decoded::Asked(method.into(), target.into(), body.into())
}

pub fn get(target: &str) -> Decoded {
    asked("GET", target, "")
}

#[test]
fn request_has_a_method_a_target_and_maybe_a_body() {
    check_rows(&[
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", &[get("/")]),
        ("GET /rooms?limit=3&x=%20 HTTP/1.1\r\nhost:h\r\n\r\n", &[get("/rooms?limit=3&x=%20")]),
        ("HEAD / HTTP/1.1\r\nHOST:  h \t\r\nAccept: */*\r\n\r\n", &[asked("HEAD", "/", "")]),
        ("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n", &[asked("BREW", "/pot", "")]),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", &[asked("OPTIONS", "*", "")]),
        ("GET http://h/rooms HTTP/1.1\r\nHost: h\r\n\r\n", &[get("http://h/rooms")]),
        ("GET / HTTP/1.0\r\n\r\n", &[get("/")]),
        ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", &[get("/")]),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", &[get("/")]),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", &[asked("POST", "/", "hello")]),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", &[asked("POST", "/", "")]),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 005\r\n\r\nhello", &[asked("POST", "/", "hello")]),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n\r\n\r\n\r",
            &[asked("POST", "/", "\r\n\r\n\r")],
        ),
        ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", &[asked("POST", "/", "")]),
    ]);
}

#[test]
fn incomplete_request_is_not_decoded_yet() {
    check_rows(&[
        ("", &[]),
        ("\r", &[]),
        ("\r\n\r\n", &[]),
        ("GET / HTTP/1.1\r\nHost: h\r\n", &[]),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r", &[]),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell", &[]),
    ]);
}

#[test]
fn pipelined_requests_are_decoded_one_by_one() {
    let post = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
    let get_b = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    check_rows(&[
        (&format!("{get_b}{post}{get_b}"), &[get("/b"), asked("POST", "/a", "hi"), get("/b")]),
        (&format!("{post}\r\n{get_b}"), &[asked("POST", "/a", "hi"), get("/b")]),
        (&format!("\r\n\r\n{get_b}"), &[get("/b")]),
        (&format!("{post}GET /c"), &[asked("POST", "/a", "hi")]),
    ]);
}

#[test]
fn client_that_expects_100_continue_is_sent_it_once() {
    let expect = |value: &str, length: usize| {
        format!("POST / HTTP/1.1\r\nHost: h\r\nExpect: {value}\r\nContent-Length: {length}\r\n\r\n")
    };
    check_rows(&[
        (&expect("100-continue", 2), &[Decoded::Continue]),
        (&(expect("100-Continue", 2) + "hi"), &[Decoded::Continue, asked("POST", "/", "hi")]),
        (&expect("100-continue", 0), &[asked("POST", "/", "")]),
        (&expect("200-ok", 2), &[Decoded::Refused(417)]),
        (&expect("", 2), &[Decoded::Refused(417)]),
        (&expect("100-continue", BODY_MAX + 1), &[Decoded::Refused(413)]),
    ]);
}

/// Such requests allow request smuggling.
#[test]
fn ambiguous_request_is_refused() {
    check_fields_refused(
        400,
        &[
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\ncontent-length: 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 5,5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5.0\r\n",
            "Content-Length:\r\n",
            "Content-Length: ٥\r\n",
            "Content-Length : 5\r\n",
            "Content-Length\t: 5\r\n",
            "Content-Length\r\n",
            " Content-Length: 5\r\n",
            ": 5\r\n",
            "X: folded\r\n over\r\n",
            "X: folded\r\n\tover\r\n",
            "X: bare\nline: feed\r\n",
            "X: bare\rreturn\r\n",
            "X: bare\r\r\n",
            "X: nul\0\r\n",
            "X\0: nul\r\n",
            "X: \x1b\r\n",
            "X: \x7f\r\n",
            "X(y): z\r\n",
            "é: z\r\n",
            "Host: h\r\n",
            "Host: other\r\n",
        ],
    );
}

#[test]
fn request_line_has_three_parts_and_one_form() {
    check_refused(
        400,
        &[
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n",
            b"GET / HTTP/1.1\nHost: h\r\n\r\n",
            b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n",
            b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n",
            b" GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            b"/ HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET rooms HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET /metrics#x HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET /# HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET http://h/ HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
            b"hello\r\n\r\n",
        ],
    );
    check_refused(
        505,
        &[
            b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
            b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ],
    );
}

#[test]
fn target_may_name_the_host_in_any_case_and_http_1_0_needs_no_host_field() {
    let whole = |target: &str| [get(target)];
    check(b"GET http://LOCALHOST/a HTTP/1.1\r\nHost: localhost\r\n\r\n", &whole("http://LOCALHOST/a"));
    check(b"GET http://localhost/a HTTP/1.0\r\n\r\n", &whole("http://localhost/a"));
    check(b"GET http://h/ HTTP/1.0\r\nHost: other\r\n\r\n", &[Decoded::Refused(400)]);
}

#[test]
fn host_field_is_a_host_with_or_without_a_port() {
    for host in [
        "h",
        "H.example",
        "h:",
        "h:0",
        "h:65535",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:7712",
        "xn--bcher-kva.x",
        "",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        check(request.as_bytes(), &[get("/")]);
    }
    for host in [
        "a b",
        "h:x",
        "h:65536",
        "h:99999",
        "h:1:2",
        "[::1",
        "::1",
        "[::1]x",
        "u@h",
        "h/",
        "h?",
        "b\u{fc}cher",
        "h:+1",
        "localhost evil.com",
        "localhost, evil.com",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        check(request.as_bytes(), &[Decoded::Refused(400)]);
    }
}

#[test]
fn request_line_without_a_version_is_refused() {
    assert!(matches!(decode([&b"GET /\r\n\r\n"[..]])[..], [Decoded::Refused(400 | 505)]));
}

#[test]
fn body_has_a_limit() {
    let post = |length: &str| format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    let longest = "x".repeat(BODY_MAX);
    let head = post(&BODY_MAX.to_string());
    check((head + &longest).as_bytes(), &[asked("POST", "/", &longest)]);
    let over = (BODY_MAX + 1).to_string();
    for length in [&over, "4294967296", "18446744073709551616", &"9".repeat(300)] {
        check_refused(413, &[post(length).as_bytes()]);
    }
}

/// A head of that length.
fn head_of(bytes: usize) -> Vec<u8> {
    let (start, end) = ("GET / HTTP/1.1\r\nHost: h\r\nX: ", "\r\n\r\n");
    [start, &"x".repeat(bytes - start.len() - end.len()), end].concat().into()
}

#[test]
fn head_has_a_limit() {
    check(&head_of(HEAD_MAX_BYTES - 1), &[get("/")]);
    check(&head_of(HEAD_MAX_BYTES), &[get("/")]);
    check(&head_of(HEAD_MAX_BYTES + 1), &[Decoded::Refused(431)]);
    check(&head_of(HEAD_MAX_BYTES)[..HEAD_MAX_BYTES - 1], &[]);
    check(&head_of(HEAD_MAX_BYTES * 2)[..HEAD_MAX_BYTES], &[Decoded::Refused(431)]);
    let endless = ["GET /", &"x".repeat(HEAD_MAX_BYTES)].concat();
    check(endless.as_bytes(), &[Decoded::Refused(431)]);
}

#[test]
fn fields_have_a_limit() {
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    check(fields(64).as_bytes(), &[get("/")]);
    check(fields(65).as_bytes(), &[Decoded::Refused(431)]);
}

/// The client may send only after the answer. A cut behind the head would make the rest such input, so this is tested
/// whole.
/// Otherwise each segment would be copied with all that came before it.
#[test]
fn body_with_a_length_is_used_as_it_arrives_and_takes_no_more_memory() {
    let (length, mut left) = (60_000, 60_000);
    let head = format!("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    let mut unfinished: Option<Box<Unfinished>> = None;
    let mut step = |input: &[u8]| {
        let step = http::decode(&mut unfinished, input, length);
        (step, unfinished.as_ref().map_or(0, |unfinished| unfinished.memory_bytes()))
    };
    let (Step::Used { bytes, input: None }, 0) = step(head.as_bytes()) else { panic!("no head") };
    assert_eq!(bytes, head.len());
    while left > 1_000 {
        let (step, memory_bytes) = step(&[b'x'; 1_000]);
        assert!(matches!(step, Step::Used { bytes: 1_000, input: None }), "{step:?}");
        left -= 1_000;
        assert!((length - left..=length).contains(&memory_bytes), "{memory_bytes} bytes");
    }
    assert!(matches!(step(b""), (Step::Incomplete, _)));
    let (Step::Used { bytes: 1_000, input: Some(Input::Http(Ok(call))) }, 0) = step(&[b'x'; 1_001]) else {
        panic!("no request")
    };
    assert_eq!((call.body().len(), call.body().capacity()), (length, length));
}

#[test]
fn input_behind_an_upgrade_is_refused() {
    let head = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\n";
    check(format!("{head}\r\n").as_bytes(), &[get("/ws")]);
    for behind in ["x", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "\x00"] {
        assert_eq!(decode([format!("{head}\r\n{behind}").as_bytes()]), [Decoded::Refused(400)]);
    }
    let list = head.replace("WebSocket", "h2c,\tWebSocket");
    assert_eq!(decode([format!("{list}\r\nx").as_bytes()]), [Decoded::Refused(400)]);
    let with_body = format!("{head}Content-Length: 2\r\n\r\nhi");
    check(with_body.as_bytes(), &[Decoded::Refused(400)]);
    let old = "POST / HTTP/1.0\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi";
    check(old.as_bytes(), &[asked("POST", "/", "hi")]);
    let other = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n";
    check(other.repeat(2).as_bytes(), &[get("/"), get("/")]);
}

#[test]
fn connection_stays_open_by_version_and_connection_field() {
    let rows = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: Upgrade, CLOSE\r\n", false),
        ("HTTP/1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("HTTP/1.1", "Connection: closed\r\n", true),
        ("HTTP/1.1", "Connection: keep-alive\r\n", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        // `close` has precedence (RFC 9112, 9.3).
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
        ("HTTP/1.0", "Connection: close\r\nConnection: keep-alive\r\n", false),
    ];
    for (version, fields, expected) in rows {
        let call = call(format!("GET / {version}\r\nHost: h\r\n{fields}\r\n"));
        assert_eq!(keeps_alive(&call), expected, "{version} {fields}");
    }
}

#[test]
fn answer_has_a_status_fields_and_a_body() {
    let answer = |status, body: &'static [u8]| {
        HttpResponse { body: Cow::Borrowed(body), ..HttpResponse::new(status) }.with(header::ETAG, "\"x\"")
    };
    let rows = [
        (StatusCode::OK, AfterHead::Body, false, "200 OK\r\netag: \"x\"\r\ncontent-length: 2\r\n\r\nhi"),
        (
            StatusCode::NOT_FOUND,
            AfterHead::Body,
            true,
            "404 Not Found\r\netag: \"x\"\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
        ),
        (StatusCode::OK, AfterHead::Nothing, false, "200 OK\r\netag: \"x\"\r\ncontent-length: 2\r\n\r\n"),
        (StatusCode::OK, AfterHead::Stream, true, "200 OK\r\netag: \"x\"\r\nconnection: close\r\n\r\n"),
        (
            StatusCode::SWITCHING_PROTOCOLS,
            AfterHead::Stream,
            false,
            "101 Switching Protocols\r\netag: \"x\"\r\n\r\n",
        ),
    ];
    for (status, follows, last, expected) in rows {
        let mut out = b"before".to_vec();
        answer(status, b"hi").encode(follows, last, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("beforeHTTP/1.1 {expected}"));
    }
    let mut out = Vec::new();
    answer(StatusCode::NO_CONTENT, b"").encode(AfterHead::Body, false, &mut out);
    answer(StatusCode::NOT_MODIFIED, b"").encode(AfterHead::Body, false, &mut out);
    // The answer to `HEAD`, for a stream.
    answer(StatusCode::OK, b"").encode(AfterHead::Nothing, false, &mut out);
    let statuses = ["204 No Content", "304 Not Modified", "200 OK"];
    let expected = statuses.map(|status| format!("HTTP/1.1 {status}\r\netag: \"x\"\r\n\r\n")).concat();
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// Bytes rich in the syntax of requests.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec![
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "\0",
        " ",
        ":",
        "GET / HTTP/1.1\r\n",
        "POST /x HTTP/1.0\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "Host: h\r\n",
        "Content-Length: 3\r\n",
        "abc",
        "Content-Length: 9",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "1;x\r\n",
        "Expect: 100-continue\r\n",
        "Upgrade: h2c\r\n",
        "Connection: close\r\n",
        "GET ",
        "/",
        "*",
        "http://",
        " HTTP/1.1",
        "%0d%0a",
        "é",
    ];
    let good = (0_usize..9, "[a-c\r\n ]{9}").prop_map(|(length, body)| {
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{}", &body[..length])
    });
    let piece = prop_oneof![
        8 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        3 => good.prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..9),
    ];
    vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

// `calls` checks on the way that decoding makes progress, consumes no more than there is and leaves little.
#[test]
fn cuts_change_nothing_for_any_input() {
    check_random(3_000, &(garbage(), any::<Index>()), |(bytes, cut)| {
        let whole = decode([&bytes[..]]);
        let (one, other) = bytes.split_at(cut.index(bytes.len() + 1));
        assert_eq!(decode([one, other]), whole, "cut");
        assert_eq!(decode(bytes.chunks(1)), whole, "byte by byte");
    });
}
