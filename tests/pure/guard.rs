//! Hosts and origins that the HTTP listener accepts, by tables.

use chinwag::codec::http::{HttpResponse, origin_of};
use chinwag::config::{AllowedHost, AllowedOrigin};
use chinwag::web::{AccessRules, HttpAction, add_common_headers};
use http::header::{self, HeaderName};

use crate::calls::{call, route};

fn hosts(raw: &[&str]) -> Vec<AllowedHost> {
    raw.iter().map(|word| word.parse().expect("a host")).collect()
}

fn origins(raw: &[&str]) -> Vec<AllowedOrigin> {
    raw.iter().map(|word| word.parse().expect("an origin")).collect()
}

/// Returns the status of the answer.
fn status(request: impl AsRef<[u8]>, guard: &AccessRules<'_>) -> u16 {
    match route(&call(request), guard) {
        Ok(HttpAction::Respond(answer) | HttpAction::Enter { response: answer, .. }) | Err(answer) => {
            answer.status.as_u16()
        }
        Ok(_) => 200,
    }
}

/// Returns whether a listener on a loopback address accepts that host, if `--host` allows these.
fn may_ask_for(host: &str, names: &[&str]) -> bool {
    may_ask(&AccessRules { loopback: true, hosts: &hosts(names), origins: &[] }, host)
}

/// Returns the same for a listener on another address, or on a Unix socket.
fn may_ask_outside_for(host: &str, names: &[&str]) -> bool {
    may_ask(&AccessRules { loopback: false, hosts: &hosts(names), origins: &[] }, host)
}

/// Returns whether the listener accepts that host: to read, to publish, to follow, and by WebSocket.
fn may_ask(guard: &AccessRules<'_>, host: &str) -> bool {
    let ask = |start: &str, fields: &str, body: &str| {
        status(format!("{start} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n{body}"), guard)
    };
    let statuses = [
        ask("GET /rooms", "", ""),
        ask("GET /", "", ""),
        ask("GET /metrics", "", ""),
        ask("POST /rooms/dev/messages", "Content-Length: 1\r\n", "x"),
        ask("GET /rooms/dev/events", "", ""),
        ask("GET /ws", UPGRADE, ""),
        ask("GET /raw/dev", UPGRADE, ""),
    ];
    match statuses {
        [200, 200, 200, 200, 200, 101, 101] => true,
        [403, 403, 403, 403, 403, 403, 403] => false,
        other => panic!("{host}: {other:?}"),
    }
}

#[test]
fn loopback_listener_accepts_the_names_of_this_machine() {
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

/// Names that an attacker could point at this machine.
#[test]
fn loopback_listener_refuses_other_names() {
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
        "null",
        "*",
    ] {
        assert!(!may_ask_for(host, &[]), "{host}");
    }
}

#[test]
fn host_flag_allows_more_names() {
    assert!(may_ask_for("chat.example", &["chat.example"]));
    assert!(may_ask_for("Chat.Example:8080", &["x", "chat.example"]));
    assert!(may_ask_for("chat.example:8080", &["chat.example:8080"]));
    assert!(!may_ask_for("chat.example:8081", &["chat.example:8080"]));
    assert!(!may_ask_for("evil.chat.example", &["chat.example"]));
    assert!(!may_ask_for("chat.example.evil.com", &["chat.example"]));
    assert!(may_ask_for("evil.com", &["*"]));
    assert!(may_ask_for("localhost", &["chat.example"]));
}

/// DNS rebinding at a listener that is not on a loopback address.
#[test]
fn every_listener_accepts_the_names_of_host_and_no_others() {
    let names = ["chat.example", "*.example.org"];
    for host in [
        "chat.example",
        "chat.example:7712",
        "Chat.Example.",
        "a.example.org",
        // An attacker can't point these at another machine.
        "localhost:7712",
        "chat.localhost",
        "127.0.0.1",
        "10.0.0.1:7712",
        "192.168.0.1",
        "[::1]",
        "[fe80::1]:7712",
        "[2001:db8::1]",
    ] {
        assert!(may_ask_outside_for(host, &names), "{host}");
        assert!(may_ask_outside_for(host, &[]), "{host} without --host");
    }
    for host in [
        "",
        "evil.com",
        "evil.com:7712",
        "example.org",
        "chat.example.evil.com",
        "10.0.0.1.evil.com",
        "10.0.0.1.nip.io",
        "0x7f.1",
        "127.1",
        "localhost.evil.com",
        "null",
        "*",
    ] {
        assert!(!may_ask_outside_for(host, &names), "{host}");
        assert!(may_ask_outside_for(host, &[]), "{host} without --host");
    }
    assert!(may_ask_outside_for("evil.com", &["chat.example", "*"]));
    let names = hosts(&names);
    let guard = AccessRules { loopback: false, hosts: &names, origins: &[] };
    assert_eq!(status("GET /rooms HTTP/1.0\r\n\r\n", &guard), 200, "no browser leaves it out");
}

#[test]
fn health_checks_are_answered_under_any_name() {
    for loopback in [true, false] {
        let (names, pages) = (hosts(&["chat.example"]), origins(&["*"]));
        let guard = AccessRules { loopback, hosts: &names, origins: &pages };
        let ask = |start: &str| status(format!("{start} HTTP/1.1\r\nHost: evil.com\r\n\r\n"), &guard);
        let rows = [
            ("GET /healthz", 200),
            ("HEAD /healthz", 200),
            ("OPTIONS /healthz", 204),
            ("GET /healthz?x=y", 200),
            ("GET /readyz", 200),
            ("OPTIONS /readyz", 204),
            ("OPTIONS *", 204),
            ("GET /healthz/", 403),
            ("GET /metrics", 403),
            ("OPTIONS /metrics", 403),
            ("OPTIONS /", 403),
            ("GET /%68ealthz", 403),
        ];
        for (start, expected) in rows {
            assert_eq!(ask(start), expected, "{start} loopback={loopback}");
        }
    }
}

#[test]
fn public_listener_without_host_accepts_any_name() {
    let guard = AccessRules { loopback: false, hosts: &[], origins: &[] };
    for host in ["", "evil.com", "10.0.0.1:7712"] {
        assert_eq!(status(format!("GET /rooms HTTP/1.1\r\nHost: {host}\r\n\r\n"), &guard), 200, "{host}");
    }
    let loopback = AccessRules { loopback: true, ..guard };
    assert_eq!(status("GET /rooms HTTP/1.0\r\n\r\n", &loopback), 200, "no browser leaves it out");
}

#[test]
fn host_is_checked_before_anything_else() {
    let guard = AccessRules { loopback: true, hosts: &[], origins: &origins(&["*"]) };
    for start in [
        "GET /",
        "GET /nosuch",
        "GET /rooms/a%20b/messages",
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

/// Returns whether a page of `origin` may connect and publish at the listener it knows as `host`.
fn may_talk(origin: &str, host: &str, allowed: &[&str]) -> bool {
    let guard = AccessRules { loopback: false, hosts: &[], origins: &origins(allowed) };
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
fn page_may_talk_to_the_listener_that_served_it() {
    for (origin, host) in [
        ("http://localhost:7712", "localhost:7712"),
        ("http://LOCALHOST:7712", "localhost:7712"),
        ("http://h", "h"),
        ("http://h", "h:80"),
        ("http://h:80", "h"),
        ("http://[::1]:7712", "[::1]:7712"),
        ("http://h.:7712", "h.:7712"),
        // A proxy in front terminates TLS.
        ("https://chat.example", "chat.example"),
        ("https://chat.example", "chat.example:443"),
        ("https://chat.example:8443", "chat.example:8443"),
    ] {
        assert!(may_talk(origin, host, &[]), "{origin} {host}");
    }
}

#[test]
fn page_of_another_origin_is_refused() {
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
        ("http://\u{e9}", "xn--9ca"),
    ] {
        assert!(!may_talk(origin, host, &[]), "{origin} {host}");
    }
}

#[test]
fn origin_flag_allows_more_pages() {
    assert!(may_talk("https://app.example", "h", &["https://x", "https://app.example"]));
    assert!(may_talk("HTTPS://App.example", "h", &["https://app.example"]));
    assert!(may_talk("https://app.example", "h", &["HTTPS://App.Example:443"]));
    assert!(may_talk("https://a.example.org", "h", &["https://*.example.org"]));
    assert!(!may_talk("https://example.org", "h", &["https://*.example.org"]));
    assert!(may_talk("http://h", "h", &["https://app.example"]));
    assert!(!may_talk("http://app.example", "h", &["https://app.example"]));
    assert!(!may_talk("https://app.example:8443", "h", &["https://app.example"]));
    assert!(!may_talk("https://app.example.evil.com", "h", &["https://app.example"]));
    assert!(may_talk("https://evil.com", "h", &["*"]));
    assert!(may_talk("null", "h", &["*"]));
    assert!(may_talk("null", "h", &["null"]), "a page in a file");
    assert!(!may_talk("null", "h", &["https://app.example"]));
}

#[test]
fn unreadable_origin_is_allowed_only_with_all_others() {
    for field in [
        "Origin: \u{e9}",
        "Origin:",
        "Origin: https://app.example https://app.example",
        "Origin: https://app.example\r\nOrigin: https://app.example",
        "Origin: null\r\nOrigin: null",
    ] {
        let request = format!("GET /ws HTTP/1.1\r\nHost: h\r\n{field}\r\n{UPGRADE}\r\n");
        for (allowed, expected) in [("null", 403), ("https://app.example", 403), ("*", 101)] {
            let guard = AccessRules { loopback: false, hosts: &[], origins: &origins(&[allowed]) };
            assert_eq!(status(&request, &guard), expected, "{field} {allowed}");
        }
        let pages = origins(&["*"]);
        let guard = AccessRules { loopback: false, hosts: &[], origins: &pages };
        let answer = answered(&request, &guard);
        assert_eq!(self::field(&answer, header::ACCESS_CONTROL_ALLOW_ORIGIN), ["*"], "{field}");
    }
}

#[test]
fn program_without_an_origin_is_accepted() {
    let guard = AccessRules { loopback: false, hosts: &[], origins: &[] };
    assert_eq!(status(format!("GET /ws HTTP/1.1\r\nHost: h\r\n{UPGRADE}\r\n"), &guard), 101);
    assert_eq!(
        status("POST /rooms/dev/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", &guard),
        200
    );
}

/// The methods that each path allows are in the response to `OPTIONS`, so a new one is tried too.
#[test]
fn request_that_changes_something_is_refused_to_pages_of_other_origins_at_every_path() {
    let guard = AccessRules { loopback: false, hosts: &[], origins: &[] };
    let words = ["kick", "mute", "unmute", "ban", "unban", "unregister", "bans"];
    let actions = words.map(|word| format!("/admin/{word}"));
    let paths = ["/", "/main.js", "/healthz", "/readyz", "/metrics", "/rooms", "/rooms/dev/messages"];
    let paths = paths.into_iter().chain(["/rooms/dev/events", "/ws", "/raw/dev"]);
    let mut tried = 0;
    for path in paths.chain(actions.iter().map(String::as_str)) {
        let options = answered(&format!("OPTIONS {path} HTTP/1.1\r\nHost: h\r\n\r\n"), &guard);
        let allowed: Vec<&str> = field(&options, header::ALLOW)[0].split(", ").collect();
        for method in allowed.into_iter().filter(|method| !["HEAD", "GET", "OPTIONS"].contains(method)) {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nOrigin: http://evil.com\r\n\r\n");
            assert_eq!(status(request, &guard), 403, "{method} {path}");
            tried += 1;
        }
    }
    assert_eq!(tried, 7);
}

/// Returns the answer as the server sends it, with the fields that let a page read it.
fn answered(request: &str, guard: &AccessRules<'_>) -> HttpResponse {
    let call = call(request);
    match route(&call, guard) {
        Ok(HttpAction::Respond(answer) | HttpAction::Enter { response: answer, .. }) | Err(answer) => {
            add_common_headers(answer, origin_of(call.headers()), guard.origins)
        }
        Ok(other) => panic!("no answer, but {other:?}"),
    }
}

fn field(answer: &HttpResponse, name: HeaderName) -> Vec<&str> {
    answer.fields.iter().filter(|(one, _)| *one == name).map(|(_, value)| &**value).collect()
}

#[test]
fn page_of_an_allowed_origin_may_read_the_answer() {
    let guard = AccessRules { loopback: false, hosts: &[], origins: &origins(&["https://app.example"]) };
    for start in [
        "GET /",
        "GET /healthz",
        "GET /rooms/dev/events",
        "HEAD /rooms/dev/events",
        "GET /nosuch",
        "GET /ws",
        "GET /rooms/a%20b/messages",
        "BREW /",
    ] {
        let ask = |origin: &str| {
            answered(&format!("{start} HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n\r\n"), &guard)
        };
        // Two of these fields are invalid (Fetch, 4.9).
        let ours = ask("https://app.example");
        assert_eq!(field(&ours, header::ACCESS_CONTROL_ALLOW_ORIGIN), ["https://app.example"], "{start}");
        assert_eq!(field(&ours, header::VARY), ["origin"], "{start}");
        assert_eq!(field(&ours, header::ACCESS_CONTROL_ALLOW_CREDENTIALS), [""; 0]);
        assert_eq!(field(&ours, header::ACCESS_CONTROL_EXPOSE_HEADERS), ["*"], "{start}");
        for other in ["https://evil.com", "http://h"] {
            let other = ask(other);
            assert_eq!(field(&other, header::ACCESS_CONTROL_ALLOW_ORIGIN), [""; 0], "{start}");
            assert_eq!(field(&other, header::VARY), ["origin"], "{start}");
        }
        let program = answered(&format!("{start} HTTP/1.1\r\nHost: h\r\n\r\n"), &guard);
        assert_eq!(field(&program, header::VARY), ["origin"], "a cache must not give it to a page: {start}");
        let alone = AccessRules { origins: &[], ..guard };
        let answer = answered(&format!("{start} HTTP/1.1\r\nHost: h\r\n\r\n"), &alone);
        assert_eq!(field(&answer, header::VARY), [""; 0], "{start}");
    }
}

fn preflight(path: &str, origin: &str, fields: &str, guard: &AccessRules<'_>) -> HttpResponse {
    let asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
    answered(&format!("OPTIONS {path} HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n{asked}{fields}\r\n"), guard)
}

#[test]
fn preflight_of_an_allowed_origin_lists_methods_and_fields() {
    let pages = origins(&["https://app.example"]);
    let guard = AccessRules { loopback: false, hosts: &[], origins: &pages };
    let ask = |origin: &str, path: &str| preflight(path, origin, "", &guard);
    let answer = ask("https://app.example", "/rooms/dev/messages");
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(field(&answer, header::ACCESS_CONTROL_ALLOW_METHODS), ["HEAD, GET, POST"]);
    assert_eq!(field(&answer, header::ACCESS_CONTROL_ALLOW_ORIGIN), ["https://app.example"]);
    assert_eq!(field(&answer, header::ACCESS_CONTROL_MAX_AGE), ["600"]);
    assert_eq!(field(&answer, header::VARY), ["origin"]);
    let granted = field(&answer, header::ACCESS_CONTROL_ALLOW_HEADERS);
    let granted: Vec<&str> = granted.iter().flat_map(|fields| fields.split(", ")).collect();
    for name in
        ["*", "authorization", "cache-control", "content-type", "last-event-id", "pragma", "x-requested-with"]
    {
        assert!(granted.contains(&name), "{name} in {granted:?}");
    }
    assert_eq!(ask("https://app.example", "/nosuch").status.as_u16(), 404);
    let foreign = ask("https://evil.com", "/rooms/dev/messages");
    assert_eq!(foreign.status.as_u16(), 403);
    assert_eq!(field(&foreign, header::ACCESS_CONTROL_ALLOW_METHODS), [""; 0]);
    let own = ask("http://h", "/rooms/dev/messages");
    assert_eq!(own.status.as_u16(), 204);
    assert_eq!(field(&own, header::ALLOW), ["HEAD, GET, POST, OPTIONS"]);
    assert_eq!(field(&own, header::ACCESS_CONTROL_ALLOW_METHODS), [""; 0]);
}

#[test]
fn public_page_of_an_allowed_origin_may_access_a_private_server() {
    let pages = origins(&["https://app.example"]);
    let guard = AccessRules { loopback: false, hosts: &[], origins: &pages };
    let private = HeaderName::from_static("access-control-allow-private-network");
    let ask = |origin: &str, fields: &str| {
        let answer = preflight("/rooms/dev/messages", origin, fields, &guard);
        field(&answer, private.clone()).first() == Some(&"true")
    };
    assert!(ask("https://app.example", "Access-Control-Request-Private-Network: true\r\n"));
    assert!(!ask("https://app.example", ""));
    assert!(!ask("https://app.example", "Access-Control-Request-Private-Network: x\r\n"));
    assert!(!ask("https://evil.com", "Access-Control-Request-Private-Network: true\r\n"));
}
