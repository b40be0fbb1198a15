//! Detects other protocols at the line listener: a browser, a proxy or a scanner on the wrong port.
//!
//! A web page can make a browser send any request body to any port. If its lines were read as chat, the page could chat
//! in the name of its visitor. So the first line that is not empty decides whether the connection is closed.

use memchr::memchr2;

use super::http::is_token_byte;
use super::{line, proxy, telnet};
use crate::protocol::CloseReason;

/// The byte order mark, U+FEFF, in UTF-8. Some programs send it before their text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The HTTP methods that are recognised without a version: IANA's registry without WebDAV, and the HTTP/2 preface.
const METHODS: [&str; 11] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY", "PRI"];

/// The reason to close a connection that begins with `input`; `None` if it is text, or not yet decidable.
///
/// A line without an end within `max_bytes` is judged by its beginning. With `ended` no more input will come.
pub fn reason(input: &[u8], max_bytes: usize, ended: bool) -> Option<CloseReason> {
    // No text begins with these five bytes.
    if input.starts_with(&proxy::V2_START[..5]) {
        return Some(CloseReason::UntrustedProxy);
    }
    let input = without_blank_lines(input);
    let window = &input[..input.len().min(max_bytes)];
    let end = line::find_end(window);
    let line = &window[..end.unwrap_or(window.len())];
    if is_binary(line) {
        return Some(CloseReason::OtherProtocol);
    }
    let is_truncated = end.is_none() && window.len() == max_bytes;
    if end.is_none() && !is_truncated && !ended {
        return None;
    }
    let line = telnet::edit(line);
    let line = String::from_utf8_lossy(&line);
    let line = line.trim();
    if is_proxy_header(line) {
        return Some(CloseReason::UntrustedProxy);
    }
    if is_other_text(line) {
        return Some(CloseReason::OtherProtocol);
    }
    request_line(line, is_truncated)
}

/// The input without its leading empty lines, telnet commands and byte order marks.
fn without_blank_lines(mut input: &[u8]) -> &[u8] {
    let mut after_cr = false;
    loop {
        let skipped = match input {
            [telnet::IAC, ..] => match telnet::command_len(input) {
                Some(length) if length > 1 && input[1] != telnet::IAC => length,
                _ => return input,
            },
            [0, ..] if after_cr => 1,
            [b'\r' | b'\n', ..] => 1,
            _ if input.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len(),
            _ => return input,
        };
        after_cr = input[0] == b'\r' || (after_cr && input[0] == telnet::IAC);
        input = &input[skipped..];
    }
}

/// Whether a line is binary. Text has no NUL. TLS, SOCKS, STUN, RDP, databases and most scanners send one, or begin with two
/// control characters.
fn is_binary(line: &[u8]) -> bool {
    let begins_with_controls = matches!(line, [0x16, 0x03, ..] | [1..=7, 1..=7, ..]);
    begins_with_controls || has_nul(line)
}

/// Whether there is a NUL outside of telnet commands. An erased NUL counts too, so the result does not depend on the split
/// into reads.
fn has_nul(line: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = memchr2(0, telnet::IAC, &line[at..]) {
        at += found;
        match telnet::command_len(&line[at..]) {
            _ if line[at] == 0 => return true,
            Some(length) => at += length,
            None => break,
        }
    }
    false
}

/// Whether the line begins SSH (RFC 4253, 4.2) or Redis's RESP.
fn is_other_text(line: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let ssh = line.strip_prefix("SSH-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let redis = line.strip_prefix('*').is_some_and(is_number);
    ssh || redis
}

/// Whether the line is a header of version 1 of the PROXY protocol.
fn is_proxy_header(line: &str) -> bool {
    ["PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN"].iter().any(|start| line.starts_with(start))
}

/// Recognises a request line: a method, a target, and mostly a version. A person's line may end with a version too, but
/// rarely has a path or an address in second place.
fn request_line(line: &str, is_truncated: bool) -> Option<CloseReason> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (method, others) = words.split_first()?;
    if !method.bytes().all(is_token_byte) {
        return None;
    }
    let known = METHODS.contains(method);
    let target = others.first()?;
    let http = Some(CloseReason::HttpRequest);
    match others.last().and_then(|last| protocol(last)) {
        // `GET HTTP/1.1` has no target.
        Some(name) if known || (others.len() > 1 && is_target(target)) => {
            match name.eq_ignore_ascii_case("http") {
                true => http,
                false => Some(CloseReason::OtherProtocol),
            }
        }
        Some(_) => None,
        None if is_truncated && (known || is_path(target)) => http,
        // HTTP/0.9 has only GET and no version.
        None if others.len() == 1 && is_path(target) && (known || method.eq_ignore_ascii_case("get")) => http,
        None => None,
    }
}

/// The name in `NAME/1.0`. `HTTP` is accepted in any case, other names only in capitals (RTSP, SIP, ICAP).
fn protocol(word: &str) -> Option<&str> {
    let (name, version) = word.split_once('/')?;
    let is_version = version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_name = name.eq_ignore_ascii_case("http")
        || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase()));
    (is_version && is_name).then_some(name)
}

/// Whether the target is in origin form, absolute form or asterisk form (RFC 9112, 3.2).
fn is_path(target: &str) -> bool {
    target.starts_with('/') || target.contains("://") || target == "*"
}

/// Whether it is a path, the host and port of `CONNECT`, or an address such as `sip:nm`.
fn is_target(target: &str) -> bool {
    is_path(target) || target.contains(':') || target.starts_with(['?', '%'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 130;

    /// Checks the result for the complete input, and that no prefix of it gives another one.
    #[track_caller]
    fn check(input: &[u8], expected: Option<CloseReason>) {
        assert_eq!(reason(input, MAX_BYTES, true), expected, "{}", input.escape_ascii());
        for cut in 0..input.len() {
            let early = reason(&input[..cut], MAX_BYTES, false);
            assert!(early.is_none() || early == expected, "{} at {cut}", input.escape_ascii());
        }
    }

    #[test]
    fn request_lines_are_http_whatever_their_method_and_version() {
        for line in [
            "GET / HTTP/1.1",
            "POST / HTTP/1.0",
            "POST /chat?x=%0a%20y HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET http://localhost:7711/ HTTP/1.1",
            "CONNECT example.org:443 HTTP/1.1",
            "PRI * HTTP/2.0",
            "QUERY /a HTTP/1.1",
            "get / http/1.1",
            "foo / HTTP/1.1",
            "x-y!z /a HTTP/1.1",
            "GET / HTTP/3",
            "GET / HTTP/12.34",
            "GET  /  HTTP/1.1",
            "GET\t/\tHTTP/1.1",
            " GET / HTTP/1.1 ",
            "GET /a b c HTTP/1.1",
            "GET /caf\u{e9} HTTP/1.1",
            "GET HTTP/1.1",
            "GET x HTTP/1.1",
            "GET /",
            "GET /index.html",
            "get /",
            "POST /x",
            "GET http://a/",
            "OPTIONS *",
            "M-SEARCH * HTTP/1.1",
            "GET ?a HTTP/1.1",
        ] {
            for (start, end) in
                [("", ""), ("", "\n"), ("\r\n\n\r\0\u{feff}", "\r\nHost: a\r\n\r\n/nick eve\n")]
            {
                check(format!("{start}{line}{end}").as_bytes(), Some(CloseReason::HttpRequest));
            }
        }
        check(b"GET /caf\xe9 HTTP/1.1\r\n", Some(CloseReason::HttpRequest));
        check(b"\xff\xfb\x18GE\xff\xf1T / HTTP/1.1\r\n", Some(CloseReason::HttpRequest));
    }

    #[test]
    fn a_request_line_without_an_end_is_judged_by_its_beginning() {
        for start in ["GET /", "POST /?q=", "foo /", "GET http://a/", "GET ", "PUT /a b"] {
            let line = format!("{start}{}", "x".repeat(MAX_BYTES - start.len()));
            let judged = |bytes: usize| reason(&line.as_bytes()[..bytes], MAX_BYTES, false);
            assert_eq!(judged(MAX_BYTES), Some(CloseReason::HttpRequest), "{start}");
            assert_eq!(judged(MAX_BYTES - 1), None, "{start}");
        }
        for start in ["", "hello ", "read what I wrote: /"] {
            let line = format!("{start}{}", "x".repeat(MAX_BYTES));
            assert_eq!(reason(line.as_bytes(), MAX_BYTES, false), None, "{start}");
        }
    }

    #[test]
    fn other_protocols_are_recognised() {
        let table: [&[u8]; 18] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x16\x03\x01\x06\n\x01\x00",
            b"\x16\x03\x01\r\n\x01\x00",
            b"\x05\x01\x00",
            b"\x05\x01\x02",
            b"\x04\x01\x00\x50",
            b"\x03\x00\x00\x13",
            b"\x00\x01\x00\x08\x21\x12\xa4\x42",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"\x10\x1a\x00\x04MQTT",
            b"AMQP\x00\x00\x09\x01",
            b"\xff\xfea\0n\0n\0\r\0\n\0",
            b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
            b"SSH-2.0-Go\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"OPTIONS rtsp://a/b RTSP/1.0\r\n",
            b"OPTIONS / RTSP/1.0\r\n",
            b"OPTIONS sip:nm SIP/2.0\r\n",
        ];
        table.into_iter().for_each(|input| check(input, Some(CloseReason::OtherProtocol)));
    }

    #[test]
    fn header_of_a_proxy_has_a_reason_of_its_own() {
        let table: [&[u8]; 3] =
            [b"\r\n\r\n\x00\r\nQUIT\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY UNKNOWN\r\n"];
        table.into_iter().for_each(|input| check(input, Some(CloseReason::UntrustedProxy)));
    }

    #[test]
    fn chat_lines_are_text() {
        for line in [
            "",
            "ann",
            "GET",
            "POST",
            "get",
            "GET x",
            "HTTP/1.1",
            "I like HTTP/1.1",
            "does it speak HTTP/2",
            "see /docs nginx/1.25",
            "GET /a is slow",
            "get the /etc file",
            "/nick GET",
            "/join HTTP/1.1",
            "SSH",
            "SSH-",
            "*",
            "*waves*",
            "*1*",
            "PROXY",
            "zo\u{eb} / HTTP/1.1",
            "delete /tmp/x",
            "what? /help",
            "12:00 / HTTP/1.1",
            "\u{1b}[A",
            "caf\u{e9}",
            "a\u{8}b",
        ] {
            for end in ["", "\n", "\r\n", "\r\0", "\r\nGET / HTTP/1.1\r\n"] {
                check(format!("{line}{end}").as_bytes(), None);
                check(format!("\u{feff}{line}{end}").as_bytes(), None);
                if line.is_empty() {
                    break;
                }
            }
        }
        check(b"\xff\xfa\x1f\0\x50\0\x18\xff\xf0ann\n", None);
        check(b"caf\xe9\n", None);
    }
}
