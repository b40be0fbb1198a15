//! Header fields of every answer, as a table: type, caching, the origins that may read it, whether the connection
//! stays, and the date. Also the hosts accepted by a listener that is not on a loopback address.

use std::time::Duration;

use crate::socket::{Socket, handshake};
use crate::stage::{Stage, WIDE};
use crate::web::{ask, ask_once, get};

const APP: &str = "https://app.example";
const JSON: &str = "application/json";

/// Expected fields of an answer: status, type, `cache-control`, and whether the connection stays.
type Row<'a> = (&'a str, u16, Option<&'a str>, &'a str, bool);

/// The head of an answer.
struct Head {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Head {
    fn of(answer: &str) -> Head {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_string(), value.to_string())
        });
        Head { status, fields: fields.collect(), body: body.to_string() }
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(one, _)| one == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the only field of that name, if there is one.
    #[track_caller]
    fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is there twice: {all:?}");
        all.first().copied()
    }
}

/// Compares an answer with its row. `origin` is that of the request, and whether it may read the answer.
#[track_caller]
fn compare(what: &str, answer: &str, row: Row<'_>, origin: Option<(&str, bool)>, varies: bool) {
    let (_, status, kind, cache, stays) = row;
    let head = Head::of(answer);
    assert_eq!(head.status, status, "{what}\n{answer}");
    assert_eq!(head.one("content-type"), kind, "{what}");
    assert_eq!(head.one("cache-control"), Some(cache), "{what}");
    let reader = origin.filter(|(_, may_read)| *may_read).map(|(origin, _)| origin);
    assert_eq!(head.one("access-control-allow-origin"), reader, "{what}");
    assert_eq!(head.one("access-control-expose-headers"), reader.map(|_| "*"), "{what}");
    assert_eq!(head.one("access-control-allow-credentials"), None, "{what}");
    assert_eq!(head.one("vary"), varies.then_some("origin"), "{what}");
    let date = head.one("date").expect("a date");
    assert!(date.starts_with("Sun, 13 Sep 2020 12:2") && date.ends_with(" GMT"), "{what}: {date}");
    if status == 101 {
        assert_eq!(head.one("connection"), Some("Upgrade"), "{what}");
    } else if status == 426 {
        assert!(head.all("connection").contains(&"upgrade"), "{what}");
    } else {
        assert_eq!(head.one("connection"), (!stays).then_some("close"), "{what}");
    }
    let has_length = head.one("content-length").is_some();
    let is_stream = kind == Some("text/event-stream");
    assert_eq!(has_length, ![101, 204, 304].contains(&status) && !is_stream, "{what}");
    assert_eq!(head.one("x-accel-buffering"), is_stream.then_some("no"), "{what}");
    // Files of the page may be stored.
    let is_file = cache == "no-cache";
    assert_eq!(head.one("x-content-type-options"), is_file.then_some("nosniff"), "{what}");
    assert_eq!(head.one("referrer-policy"), is_file.then_some("no-referrer"), "{what}");
    if status >= 400 && !what.starts_with("HEAD") {
        assert!(head.body.starts_with("{\"error\":{\"code\":\"") && head.body.ends_with("\"}}\n"), "{what}");
    }
}

fn with_fields(start: &str, fields: &str, body: &str) -> String {
    format!("{start} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}")
}

const TABLE: [Row<'static>; 25] = [
    ("GET /", 200, Some("text/html; charset=utf-8"), "no-cache", true),
    ("HEAD /", 200, Some("text/html; charset=utf-8"), "no-cache", true),
    ("GET /main.js", 200, Some("text/javascript; charset=utf-8"), "no-cache", true),
    ("GET /style.css", 200, Some("text/css; charset=utf-8"), "no-cache", true),
    ("GET /icon.svg", 200, Some("image/svg+xml"), "no-cache", true),
    ("GET /healthz", 200, Some(JSON), "no-store", true),
    ("HEAD /healthz", 200, Some(JSON), "no-store", true),
    ("OPTIONS /healthz", 204, None, "no-store", true),
    ("OPTIONS *", 204, None, "no-store", true),
    ("GET /readyz", 200, Some(JSON), "no-store", true),
    ("GET /metrics", 200, Some("text/plain; version=0.0.4; charset=utf-8"), "no-store", true),
    ("GET /rooms", 200, Some(JSON), "no-store", true),
    ("GET /rooms/lobby/messages", 200, Some(JSON), "no-store", true),
    ("HEAD /rooms/lobby/messages", 200, Some(JSON), "no-store", true),
    ("GET /rooms/lobby/events", 200, Some("text/event-stream"), "no-store", false),
    ("GET /rooms/never/messages", 404, Some(JSON), "no-store", true),
    ("GET /rooms/a%20b/messages", 400, Some(JSON), "no-store", true),
    ("GET /rooms/lobby/messages?limit=x", 400, Some(JSON), "no-store", true),
    ("GET /nowhere", 404, Some(JSON), "no-store", true),
    ("HEAD /nowhere", 404, Some(JSON), "no-store", true),
    ("DELETE /rooms", 405, Some(JSON), "no-store", true),
    ("BREW /", 405, Some(JSON), "no-store", true),
    ("OPTIONS /nowhere", 404, Some(JSON), "no-store", true),
    ("GET rooms", 400, Some(JSON), "no-store", false),
    ("GET /a b", 505, Some(JSON), "no-store", false),
];

#[test]
fn every_answer_has_its_header_fields() {
    for (flags, varies) in [("", false), ("--origin https://app.example", true)] {
        let mut stage = Stage::new(flags);
        let _ann = stage.join("ann");
        for row in TABLE {
            let plain = ask_once(&mut stage, &with_fields(row.0, "", ""));
            compare(row.0, &plain, row, None, varies);
            for (origin, may_read) in [(APP, varies), ("https://evil.example", false)] {
                let origin_field = format!("Origin: {origin}\r\n");
                let answer = ask_once(&mut stage, &with_fields(row.0, &origin_field, ""));
                compare(row.0, &answer, row, Some((origin, may_read)), varies);
            }
            let closing = ask_once(&mut stage, &with_fields(row.0, "Connection: close\r\n", ""));
            let (what, status, kind, cache, _) = row;
            compare(what, &closing, (what, status, kind, cache, false), None, varies);
        }
        stage.end();
    }
}

#[test]
fn every_answer_to_a_request_of_a_page_has_its_header_fields() {
    let deep = "[".repeat(65) + &"]".repeat(65);
    let long = "x".repeat(9_000);
    let upgrade = handshake("/raw/lobby", "");
    let upgrade = upgrade.split_once("localhost:7712\r\n").unwrap().1;
    let upgrade = upgrade.strip_suffix("\r\n").unwrap();
    let json = "Content-Type: application/json\r\n";
    let post = |query: &str| format!("POST /rooms/lobby/messages{query}");
    let length = |body: &str| format!("Content-Length: {}\r\n", body.len());
    let rows = [
        (post(""), length("hi"), "hi", 202, true),
        (post(""), "Transfer-Encoding: chunked\r\n".into(), "2\r\nhi\r\n0\r\n\r\n", 202, true),
        (post(""), String::new(), "", 400, true),
        (post(""), json.to_string() + &length(&deep), &deep, 400, true),
        (post("?from=ann"), length("hi"), "hi", 409, true),
        (post("?from=a%20b"), length("hi"), "hi", 400, true),
        (post(""), "Content-Type: image/png\r\n".to_string() + &length("x"), "x", 415, true),
        (post(""), "Content-Length: 99999999\r\n".into(), "", 413, false),
        (post(""), "Transfer-Encoding: chunked\r\n".into(), "ffffffff\r\n", 413, false),
        (post(""), "Transfer-Encoding: chunked\r\n".into(), "x\r\n", 400, false),
        (post(""), "Transfer-Encoding: gzip, chunked\r\n".into(), "", 501, false),
        (post(""), "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n".into(), "", 400, false),
        (post(""), "Expect: nothing\r\n".into(), "", 417, false),
        (post(""), "X: folded\r\n over\r\n".into(), "", 400, false),
        (post(""), format!("X: {long}\r\n"), "", 431, false),
        ("GET /ws".into(), String::new(), "", 426, true),
        ("GET /raw/lobby".into(), String::new(), "", 426, true),
        ("GET /raw/lobby?name=ann".into(), upgrade.into(), "", 409, true),
        ("GET /raw/lobby".into(), upgrade.replace("dGhl", "d"), "", 400, true),
        ("GET /raw/lobby".into(), upgrade.into(), "x", 400, false),
        ("GET /raw/lobby".into(), upgrade.into(), "", 101, true),
    ];
    for (start, fields, body, status, stays) in &rows {
        let kind = (*status != 101).then_some(JSON);
        let row = (start.as_str(), *status, kind, "no-store", *stays);
        let mut stage = Stage::new("--origin https://app.example");
        let _ann = stage.join("ann");
        for origin in [None, Some((APP, true))] {
            let field = origin.map_or(String::new(), |(origin, _)| format!("Origin: {origin}\r\n"));
            let answer = ask_once(&mut stage, &with_fields(start, &(field + fields), body));
            compare(&format!("{start} {fields:.60}"), &answer, row, origin, true);
        }
        // Another origin is told only that it is refused, or that its request is malformed.
        let evil = "https://evil.example";
        let answer = ask_once(&mut stage, &with_fields(start, &format!("Origin: {evil}\r\n{fields}"), body));
        let status = if *stays { 403 } else { *status };
        let row = (start.as_str(), status, Some(JSON), "no-store", *stays);
        compare(&format!("{start} {fields:.60}"), &answer, row, Some((evil, false)), true);
        stage.end();
    }
}

#[test]
fn not_modified_answer_has_its_header_fields() {
    let mut stage = Stage::new("--origin https://app.example");
    let page = Head::of(&ask_once(&mut stage, &get("/")));
    let tag = page.one("etag").unwrap();
    let fields = format!("Origin: {APP}\r\nIf-None-Match: {tag}\r\n");
    let answer = ask_once(&mut stage, &with_fields("GET /", &fields, ""));
    compare("GET / again", &answer, ("", 304, None, "no-cache", true), Some((APP, true)), true);
    stage.end();
}

#[test]
fn preflight_answer_has_its_header_fields() {
    let mut stage = Stage::new("--origin https://app.example");
    let asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: cache-control\r\n";
    let ask = |stage: &mut Stage, origin: &str| {
        let fields = format!("Origin: {origin}\r\n{asked}");
        ask_once(stage, &with_fields("OPTIONS /rooms/lobby/messages", &fields, ""))
    };
    let answer = ask(&mut stage, APP);
    compare("preflight", &answer, ("", 204, None, "no-store", true), Some((APP, true)), true);
    let head = Head::of(&answer);
    assert_eq!(head.one("access-control-allow-methods"), Some("HEAD, GET, POST"));
    assert!(head.one("access-control-allow-headers").unwrap().contains("cache-control"));
    assert_eq!(head.one("access-control-max-age"), Some("600"));
    let answer = ask(&mut stage, "https://evil.example");
    let row = ("", 403, Some(JSON), "no-store", true);
    compare("preflight", &answer, row, Some(("https://evil.example", false)), true);
    stage.end();
}

#[test]
fn answers_of_a_full_server_and_to_a_slow_request_have_their_header_fields() {
    let flags = "--origin https://app.example --max-clients 1 --max-waiting 0 --http-timeout 10s";
    let mut stage = Stage::new(flags);
    let _ann = stage.join("ann");
    let origin = format!("Origin: {APP}\r\n");
    for path in ["/readyz", "/rooms/lobby/events"] {
        let answer = ask_once(&mut stage, &with_fields(&format!("GET {path}"), &origin, ""));
        compare(path, &answer, ("", 503, Some(JSON), "no-store", true), Some((APP, true)), true);
    }
    let upgrade = handshake("/ws", &origin);
    let answer = ask_once(&mut stage, &upgrade);
    compare("/ws", &answer, ("", 503, Some(JSON), "no-store", true), Some((APP, true)), true);
    let start = "POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\n";
    for (request, known) in [
        (format!("{start}{origin}X"), true),
        (format!("{start}{origin}Content-Length: 5\r\n\r\nhel"), true),
        (format!("{start}{origin}Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), true),
        (format!("{start}{origin}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y"), true),
        (format!("{start}Origin: {APP}"), false),
        (start.to_string(), false),
    ] {
        let mut stage = Stage::new(flags);
        let wire = stage.connect_http();
        assert_eq!(ask(&mut stage, wire, &request), "");
        stage.pass(Duration::from_secs(10) + Duration::from_millis(100));
        let answer = String::from_utf8_lossy(stage.raw(wire)).into_owned();
        let row = ("", 408, Some(JSON), "no-store", false);
        compare(&request, &answer, row, known.then_some((APP, true)), true);
        stage.end();
    }
    stage.end();
}

#[test]
fn answer_to_an_address_with_too_many_connections_has_its_header_fields() {
    let mut stage = Stage::new("--origin https://app.example --max-per-ip 1");
    let _first = stage.connect_http_from("10.0.0.1", WIDE);
    let refused = stage.connect_http_from("10.0.0.1", WIDE);
    stage.run();
    let answer = String::from_utf8_lossy(stage.raw(refused)).into_owned();
    // The origin is not known before a request.
    compare("connect", &answer, ("", 429, Some(JSON), "no-store", false), None, true);
    stage.end();
}

#[test]
fn public_listener_answers_to_its_configured_hosts() {
    let starts = [
        ("GET /", 200),
        ("GET /rooms", 200),
        ("GET /metrics", 200),
        ("GET /rooms/lobby/events", 200),
        ("POST /rooms/lobby/messages", 202),
        ("GET /ws", 101),
        ("GET /raw/lobby", 101),
        ("OPTIONS /rooms", 204),
        ("GET /healthz", 200),
        ("GET /readyz", 200),
        ("OPTIONS *", 204),
    ];
    let upgrade = handshake("/ws", "");
    let upgrade =
        upgrade.split_once("localhost:7712\r\n").unwrap().1.strip_suffix("\r\n").unwrap().to_string();
    let status = |stage: &mut Stage, start: &str, host: &str| {
        let (fields, body) = match start {
            "POST /rooms/lobby/messages" => ("Content-Length: 1\r\n", "x"),
            "GET /ws" | "GET /raw/lobby" => (&*upgrade, ""),
            _ => ("", ""),
        };
        // DNS rebinding makes the page's origin the same as the host.
        let page = format!("Origin: http://{host}\r\n");
        let request = format!("{start} HTTP/1.1\r\nHost: {host}\r\n{page}{fields}\r\n{body}");
        Head::of(&ask_once(stage, &request)).status
    };
    for (flags, host, is_known) in [
        ("", "evil.example", true),
        ("--host chat.example", "evil.example", false),
        ("--host chat.example", "evil.example:7712", false),
        ("--host chat.example", "chat.example", true),
        ("--host chat.example", "chat.example:7712", true),
        ("--host chat.example", "10.1.2.3:7712", true),
        ("--host chat.example", "localhost:7712", true),
        ("--host *.example.org", "a.example.org", true),
        ("--host *.example.org", "example.org", false),
        ("--host *", "evil.example", true),
    ] {
        let mut stage = Stage::outside(flags);
        for (start, expected) in starts {
            let asks_about_health = start.contains("z") || start.contains('*');
            let expected = if is_known || asks_about_health { expected } else { 403 };
            assert_eq!(status(&mut stage, start, host), expected, "{flags} {host} {start}");
        }
        stage.end();
    }
}

#[test]
fn sse_client_resumes_at_the_id_in_its_query() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    ["one", "two", "three"].iter().for_each(|text| stage.say(ann, text));
    stage.run();
    let events = |id: &str| format!("/rooms/lobby/events?lastEventId=000000000000c0de-0-{id}");
    let received = ask_once(&mut stage, &get(&events("1")));
    assert!(
        received.contains("\r\n\r\nid: 000000000000c0de-0-2\n") && received.contains("c0de-0-3\n"),
        "{received}"
    );
    let field = "Last-Event-ID: 000000000000c0de-0-2\r\n";
    let received = ask_once(&mut stage, &with_fields(&format!("GET {}", events("1")), field, ""));
    assert!(received.contains("\r\n\r\nid: 000000000000c0de-0-3\n"), "the field is newer: {received}");
    let lost = ask_once(&mut stage, &get("/rooms/lobby/events?lastEventId=nowhere"));
    assert!(lost.contains("event: missed\n") && lost.contains("\"text\":\"one\""), "{lost}");
    let mut tab = Socket::open(&mut stage, "/ws");
    assert!(!tab.texts(&mut stage).is_empty());
    stage.end();
}

#[test]
fn refused_head_request_gets_no_body() {
    let mut stage = Stage::new("");
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\n\r\n".to_string(), "400"),
        ("HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), "400"),
        ("HEAD / HTTP/2.0\r\nHost: h\r\n\r\n".into(), "505"),
        ("HEAD / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n".into(), "417"),
        ("HEAD / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n".into(), "400"),
        (format!("HEAD / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(9_000)), "431"),
    ] {
        let answer = ask_once(&mut stage, &request);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && body.is_empty(), "{answer}");
        assert!(head.contains("content-length: "), "{answer}");
        let other = ask_once(&mut stage, &request.replacen("HEAD", "POST", 1));
        assert!(!other.split_once("\r\n\r\n").expect("a head").1.is_empty(), "{other}");
    }
    stage.end();
}
