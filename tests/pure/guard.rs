//! Who may ask, by tables: which hosts, and which pages.

use chinwag::codec::http::Answer;
use chinwag::web::{Action, Guard, readable_by, route};
use http::header::{self, HeaderName};

use crate::calls::call;

fn words(raw: &[&str]) -> Vec<String> {
    raw.iter().map(|word| word.to_string()).collect()
}

/// The status of what is answered.
fn status(request: impl AsRef<[u8]>, guard: &Guard<'_>) -> u16 {
    match route(&call(request), guard) {
        Ok(Action::Answer(answer) | Action::Enter { answer, .. }) | Err(answer) => answer.status.as_u16(),
        Ok(_) => 200,
    }
}

/// Whether a door on a loopback address may be asked for that host, if `--host` allows these.
fn may_ask_for(host: &str, hosts: &[&str]) -> bool {
    let guard = Guard { loopback: true, hosts: &words(hosts), origins: &[] };
    let status = status(format!("GET /rooms HTTP/1.1\r\nHost: {host}\r\n\r\n"), &guard);
    assert!(status == 200 || status == 403, "{status}");
    status == 200
}

#[test]
fn a_loopback_door_has_the_names_of_this_machine() {
    for host in [
        "localhost",
        "localhost:7712",
        "LocalHost:80",
        "localhost.",
        "localhost.:7712",
        "chat.localhost",
        "127.0.0.1",
        "127.0.0.1:7712",
        "127.8.9.10",
        "[::1]",
        "[::1]:7712",
        "[0:0:0:0:0:0:0:1]",
    ] {
        assert!(may_ask_for(host, &[]), "{host}");
    }
}

/// Fault 33: what a page's owner could point at this machine.
#[test]
fn no_other_name_is_a_loopback_doors() {
    for host in [
        "",
        "evil.com",
        "evil.com:7712",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "evil-localhost",
        "evillocalhost",
        "localhost.evil.com.",
        "127.0.0.1.nip.io",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.0.1:7712",
        "[::]",
        "[::2]",
        "[fe80::1]",
        "2130706433",
        "0x7f.1",
        "127.1",
        "localhost, evil.com",
        "evil.com, localhost",
        "localhost evil.com",
        "evil.com@localhost.evil.com",
        "evil.com:localhost",
        "\u{e9}vil.com",
        "localh\u{f6}st",
        "null",
        "*",
    ] {
        assert!(!may_ask_for(host, &[]), "{host}");
    }
}

#[test]
fn host_allows_more() {
    assert!(may_ask_for("chat.example", &["chat.example"]));
    assert!(may_ask_for("Chat.Example:8080", &["x", "chat.example"]));
    assert!(may_ask_for("chat.example:8080", &["chat.example:8080"]));
    assert!(!may_ask_for("chat.example:8081", &["chat.example:8080"]));
    assert!(!may_ask_for("evil.chat.example", &["chat.example"]));
    assert!(!may_ask_for("chat.example.evil.com", &["chat.example"]));
    assert!(may_ask_for("evil.com", &["*"]));
    assert!(may_ask_for("localhost", &["chat.example"]));
}

#[test]
fn other_doors_may_be_asked_for_any_host() {
    let guard = Guard { loopback: false, hosts: &[], origins: &[] };
    for host in ["", "evil.com", "\u{e9}", "10.0.0.1:7712"] {
        assert_eq!(status(format!("GET /rooms HTTP/1.1\r\nHost: {host}\r\n\r\n"), &guard), 200, "{host}");
    }
    let loopback = Guard { loopback: true, ..guard };
    assert_eq!(status("GET /rooms HTTP/1.0\r\n\r\n", &loopback), 200, "no browser leaves it out");
}

#[test]
fn the_host_is_looked_at_before_anything_else() {
    let guard = Guard { loopback: true, hosts: &[], origins: &words(&["*"]) };
    for start in [
        "GET /",
        "GET /nosuch",
        "GET /healthz",
        "BREW /",
        "OPTIONS /rooms",
        "POST /rooms/dev/messages",
        "GET /ws",
    ] {
        let request = format!("{start} HTTP/1.1\r\nHost: evil.com\r\nOrigin: http://evil.com\r\n\r\n");
        assert_eq!(status(request, &guard), 403, "{start}");
    }
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Whether a page of `origin` may come in and publish at the door it knows as `host`.
fn may_talk(origin: &str, host: &str, origins: &[&str]) -> bool {
    let guard = Guard { loopback: false, hosts: &[], origins: &words(origins) };
    let fields = format!("HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n");
    let upgrade = status(format!("GET /ws {fields}{UPGRADE}\r\n"), &guard);
    let raw = status(format!("GET /raw/dev {fields}{UPGRADE}\r\n"), &guard);
    let publish = status(format!("POST /rooms/dev/messages {fields}Content-Length: 1\r\n\r\nx"), &guard);
    match [upgrade, raw, publish] {
        [101, 101, 200] => true,
        [403, 403, 403] => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_page_may_talk_to_the_door_that_served_it() {
    for (origin, host) in [
        ("http://localhost:7712", "localhost:7712"),
        ("http://LOCALHOST:7712", "localhost:7712"),
        ("http://h", "h"),
        ("http://h", "h:80"),
        ("http://h:80", "h"),
        ("http://[::1]:7712", "[::1]:7712"),
        ("http://h.:7712", "h.:7712"),
        // A proxy in front speaks TLS.
        ("https://chat.example", "chat.example"),
        ("https://chat.example", "chat.example:443"),
        ("https://chat.example:8443", "chat.example:8443"),
    ] {
        assert!(may_talk(origin, host, &[]), "{origin} {host}");
    }
}

#[test]
fn no_other_page_may() {
    for (origin, host) in [
        ("http://evil.com", "h"),
        ("http://h:81", "h"),
        ("http://h:7713", "h:7712"),
        ("http://h", "h:7712"),
        ("http://h:443", "h"),
        ("https://h:80", "h"),
        ("https://h", "h:80"),
        ("http://h.evil.com", "h"),
        ("http://evil.h", "h"),
        ("http://h.", "h"),
        ("http://127.0.0.1:7712", "localhost:7712"),
        ("http://[::1]:7712", "localhost:7712"),
        ("http://h/", "h"),
        ("http://h#", "h"),
        ("http://", "h"),
        ("http://", ""),
        ("null", "h"),
        ("null", "null"),
        ("", "h"),
        ("", ""),
        ("h", "h"),
        ("//h", "h"),
        ("file://", ""),
        ("file://h", "h"),
        ("ws://h", "h"),
        ("chrome-extension://h", "h"),
        ("http://h, http://evil.com", "h"),
        ("http://\u{e9}", "\u{e9}"),
    ] {
        assert!(!may_talk(origin, host, &[]), "{origin} {host}");
    }
}

#[test]
fn origin_allows_more() {
    assert!(may_talk("https://app.example", "h", &["x", "https://app.example"]));
    assert!(may_talk("HTTPS://App.example", "h", &["https://app.example/"]));
    assert!(may_talk("http://h", "h", &["https://app.example"]));
    assert!(!may_talk("http://app.example", "h", &["https://app.example"]));
    assert!(!may_talk("https://app.example:8443", "h", &["https://app.example"]));
    assert!(!may_talk("https://app.example.evil.com", "h", &["https://app.example"]));
    assert!(may_talk("https://evil.com", "h", &["*"]));
    assert!(may_talk("null", "h", &["*"]));
    assert!(may_talk("null", "h", &["null"]), "a page in a file");
}

#[test]
fn a_program_names_no_origin_and_may_talk() {
    let guard = Guard { loopback: false, hosts: &[], origins: &[] };
    assert_eq!(status(format!("GET /ws HTTP/1.1\r\nHost: h\r\n{UPGRADE}\r\n"), &guard), 101);
    assert_eq!(
        status("POST /rooms/dev/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", &guard),
        200
    );
}

/// The answer as the server gives it: what lets a page read it is put in last.
fn answered(request: &str, guard: &Guard<'_>) -> Answer {
    let call = call(request);
    match route(&call, guard) {
        Ok(Action::Answer(answer) | Action::Enter { answer, .. }) | Err(answer) => {
            readable_by(guard.allowed_origin(&call), answer)
        }
        Ok(other) => panic!("no answer, but {other:?}"),
    }
}

fn field(answer: &Answer, name: HeaderName) -> Vec<&str> {
    answer.fields.iter().filter(|(one, _)| *one == name).map(|(_, value)| &**value).collect()
}

#[test]
fn a_page_that_origin_allows_may_read_the_answer() {
    let guard = Guard { loopback: false, hosts: &[], origins: &words(&["https://app.example"]) };
    for start in ["GET /healthz", "GET /rooms/dev/events", "HEAD /rooms/dev/events", "GET /nosuch", "BREW /"]
    {
        let ask = |origin: &str| {
            answered(&format!("{start} HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n\r\n"), &guard)
        };
        // Two of them are as good as none (Fetch, 4.9).
        let ours = ask("https://app.example");
        assert_eq!(field(&ours, header::ACCESS_CONTROL_ALLOW_ORIGIN), ["https://app.example"], "{start}");
        assert_eq!(field(&ours, header::VARY), ["origin"], "{start}");
        assert_eq!(field(&ours, header::ACCESS_CONTROL_ALLOW_CREDENTIALS), [""; 0]);
        assert_eq!(field(&ask("https://evil.com"), header::ACCESS_CONTROL_ALLOW_ORIGIN), [""; 0], "{start}");
        assert_eq!(field(&ask("http://h"), header::ACCESS_CONTROL_ALLOW_ORIGIN), [""; 0], "{start}");
    }
}

#[test]
fn a_page_that_origin_allows_may_ask_what_it_may_do() {
    let guard = Guard { loopback: false, hosts: &[], origins: &words(&["https://app.example"]) };
    let ask = |origin: &str, path: &str| {
        let fields =
            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
        answered(&format!("OPTIONS {path} HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n{fields}\r\n"), &guard)
    };
    let answer = ask("https://app.example", "/rooms/dev/messages");
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(field(&answer, header::ACCESS_CONTROL_ALLOW_METHODS), ["HEAD, GET, POST"]);
    assert_eq!(field(&answer, header::ACCESS_CONTROL_ALLOW_HEADERS), ["content-type, last-event-id"]);
    assert_eq!(field(&answer, header::ACCESS_CONTROL_ALLOW_ORIGIN), ["https://app.example"]);
    assert_eq!(ask("https://app.example", "/nosuch").status.as_u16(), 404);
    assert_eq!(ask("https://evil.com", "/rooms/dev/messages").status.as_u16(), 405);
    assert_eq!(ask("http://h", "/rooms/dev/messages").status.as_u16(), 405);
}
