//! Routes of HTTP requests, by tables: a method, a target and fields go in, an action or an answer comes out.

use chinwag::protocol::{Arrival, Body};
use chinwag::web::{AccessRules, HttpAction};
use http::header::{self, HeaderName};
use serde_json::Value;

use crate::calls::{call, route};

/// A listener that accepts any host and origin.
const OPEN: AccessRules<'_> = AccessRules { loopback: false, hosts: &[], origins: &[] };

/// Fields of a WebSocket handshake (RFC 6455, 1.2).
const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Returns the action for a request with those fields, each with its line end, and that body.
fn asked(start: &str, fields: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    done(route(&call(format!("{start} HTTP/1.1\r\nHost: h\r\n{fields}{length}\r\n{body}")), &OPEN))
}

fn done(routed: Result<HttpAction, chinwag::codec::http::HttpResponse>) -> String {
    match routed {
        Ok(HttpAction::CheckReadiness) => "ready".into(),
        Ok(HttpAction::ReportMetrics) => "metrics".into(),
        Ok(HttpAction::ListRooms) => "rooms".into(),
        Ok(HttpAction::ReadHistory { room, count, after: None }) => format!("history {room} {count:?}"),
        Ok(HttpAction::ReadHistory { room, count, after }) => {
            format!("history {room} {count:?} after {after:?}")
        }
        Ok(HttpAction::Moderate(moderation)) => format!("moderate {moderation:?}"),
        Ok(HttpAction::Publish { room, from, body: Body::Text(text) }) => {
            let from = from.unwrap_or_else(chinwag::text::Name::of_http);
            format!("publish {room} {from} text {:?}", text.as_str())
        }
        Ok(HttpAction::Publish { room, from, body: Body::Data(json) }) => {
            let from = from.unwrap_or_else(chinwag::text::Name::of_http);
            format!("publish {room} {from} data {json}")
        }
        Ok(HttpAction::Enter { response: answer, arrival }) => {
            format!("{} {}", answer.status.as_u16(), arrival_in_words(&arrival))
        }
        Ok(HttpAction::Respond(answer)) => answer.status.as_u16().to_string(),
        Err(answer) => {
            let body: Value = serde_json::from_slice(&answer.body).expect("an error is JSON");
            let code = body["error"]["code"].as_str().expect("a code");
            assert!(!body["error"]["text"].as_str().expect("a text").is_empty());
            format!("{} {code}", answer.status.as_u16())
        }
    }
}

fn arrival_in_words(arrival: &Arrival) -> String {
    let Arrival { dialect, name, room, history, echo, last_position: heard, login, problems } = arrival;
    assert_eq!(login, &None, "the server checks tokens");
    let mut words = vec![dialect.as_str().to_string()];
    words.extend(name.as_ref().map(|name| format!("name={name}")));
    words.extend(room.as_ref().map(|room| format!("room={room}")));
    words.extend(history.map(|count| format!("history={count}")));
    words.extend(echo.then(|| "echo".into()));
    words.extend(heard.map(|heard| match heard {
        Ok(position) => format!("heard={position}"),
        Err(_) => "heard=something".into(),
    }));
    words.extend(problems.iter().map(|problem| problem.code().to_string()));
    words.join(" ")
}

#[track_caller]
fn check_rows(rows: &[(&str, &str)]) {
    for (start, expected) in rows {
        assert_eq!(asked(start, "", ""), *expected, "{start}");
    }
}

#[test]
fn every_path_has_its_action() {
    check_rows(&[
        ("GET /", "200"),
        ("GET /main.js", "200"),
        ("GET /style.css", "200"),
        ("GET /healthz", "200"),
        ("GET /readyz", "ready"),
        ("GET /metrics", "metrics"),
        ("GET /rooms", "rooms"),
        ("GET /rooms?x=y", "rooms"),
        ("GET http://h/rooms", "rooms"),
        ("GET http://h", "200"),
        ("GET /rooms/dev/messages", "history #dev None"),
        ("GET /rooms/dev/messages?limit=3", "history #dev Some(3)"),
        ("GET /rooms/dev/messages?limit=0", "history #dev Some(0)"),
        ("GET /rooms/dev/messages?limit=3&limit=4", "history #dev Some(3)"),
        ("GET /rooms/dev/messages?limit=3&after=7", "history #dev Some(3) after Some(7)"),
        (
            "GET /rooms/dev/messages?after=18446744073709551615",
            "history #dev None after Some(18446744073709551615)",
        ),
        ("GET /rooms/dev/messages?%6cimit=%33", "history #dev Some(3)"),
        ("GET /rooms/dev/messages?other=x", "history #dev None"),
        ("GET /rooms/dev/events", "200 events room=#dev"),
    ]);
    for raw in ["x", "", "-1", "1.5", "99999999999999999999", "3%00", "3%20"] {
        assert_eq!(asked(&format!("GET /rooms/dev/messages?limit={raw}"), "", ""), "400 bad_request");
        assert_eq!(asked(&format!("GET /rooms/dev/messages?after={raw}"), "", ""), "400 bad_request");
    }
}

#[test]
fn unknown_path_is_not_found() {
    check_rows(&[
        ("GET /nosuch", "404 not_found"),
        ("GET /index.html", "404 not_found"),
        ("GET /rooms/", "404 not_found"),
        ("GET /rooms/dev", "404 not_found"),
        ("GET /rooms/dev/messages/", "404 not_found"),
        ("GET /rooms/dev/other", "404 not_found"),
        ("GET /rooms/a/b/messages", "404 not_found"),
        ("GET /healthz/", "404 not_found"),
        ("GET /HEALTHZ", "404 not_found"),
        ("GET /raw", "404 not_found"),
        ("GET /ws/dev", "404 not_found"),
        ("GET /../src/main.rs", "404 not_found"),
        ("GET /page/main.js", "404 not_found"),
        ("GET /%2e%2e/etc/passwd", "404 not_found"),
        ("GET /main.js%00", "404 not_found"),
        ("DELETE /nosuch", "404 not_found"),
        ("OPTIONS /nosuch", "404 not_found"),
        ("GET /*", "404 not_found"),
    ]);
}

#[test]
fn room_name_in_a_path_is_decoded_before_it_is_checked() {
    let row = |raw: &str| asked(&format!("GET /rooms/{raw}/messages"), "", "");
    for (raw, room) in [
        ("dev", "dev"),
        ("DEV", "dev"),
        ("d%65v", "dev"),
        ("%23dev", "dev"),
        ("a.b-c_d", "a.b-c_d"),
        ("%E6%97%A5%E6%9C%AC", "日本"),
        ("%C3%84rger", "ärger"),
        // White space around a name is ignored at every listener; line ends are not white space here.
        ("%20dev%20", "dev"),
    ] {
        assert_eq!(row(raw), format!("history #{room} None"), "{raw}");
    }
    let (long, longer) = ("x".repeat(33), "%E6%97%A5".repeat(11));
    for raw in [
        "",
        "%20",
        "%23",
        "a%0D%0Ab",
        "dev%0D%0A",
        "a%0Ab",
        "a%2Fb",
        "%2e%2e%2f",
        "a%20b",
        "a%00b",
        "a%1bb",
        "a%E2%80%AEb",
        "a*",
        "a+b",
        "%FF",
        "a%C3",
        "%",
        "%zz",
        "a%25b",
        "$4",
        &long,
        &longer,
    ] {
        assert_eq!(row(raw), "400 bad_room", "{raw}");
        assert_eq!(asked(&format!("POST /rooms/{raw}/messages"), "", "hi"), "400 bad_room", "{raw}");
        assert_eq!(asked(&format!("GET /raw/{raw}"), UPGRADE, ""), "400 bad_room", "{raw}");
    }
}

#[test]
fn method_that_a_path_lacks_is_refused_with_a_list() {
    let paths = [
        ("/", "HEAD, GET, OPTIONS"),
        ("/main.js", "HEAD, GET, OPTIONS"),
        ("/healthz", "HEAD, GET, OPTIONS"),
        ("/readyz", "HEAD, GET, OPTIONS"),
        ("/metrics", "HEAD, GET, OPTIONS"),
        ("/rooms", "HEAD, GET, OPTIONS"),
        ("/rooms/dev/messages", "HEAD, GET, POST, OPTIONS"),
        ("/rooms/dev/events", "HEAD, GET, OPTIONS"),
        ("/ws", "HEAD, GET, OPTIONS"),
        ("/raw/dev", "HEAD, GET, OPTIONS"),
    ];
    for (path, allowed) in paths {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "get"] {
            if allowed.split(", ").any(|one| one == method) {
                continue;
            }
            let answer = route(&call(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n")), &OPEN);
            let answer = answer.expect_err("refused");
            assert_eq!(field(&answer, header::ALLOW), [allowed], "{method} {path}");
            assert_eq!(done(Err(answer)), "405 method_not_allowed", "{method} {path}");
        }
        let options = call(format!("OPTIONS {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let Ok(HttpAction::Respond(answer)) = route(&options, &OPEN) else { panic!("OPTIONS {path}") };
        assert_eq!((answer.status.as_u16(), field(&answer, header::ALLOW)), (204, vec![allowed]), "{path}");
        let head = asked(&format!("HEAD {path}"), "", "");
        let get = asked(&format!("GET {path}"), "", "");
        // The server sends a HEAD of a stream the head alone, after it has checked the right.
        assert_eq!(head, get, "{path}");
    }
}

fn field(answer: &chinwag::codec::http::HttpResponse, name: HeaderName) -> Vec<&str> {
    answer.fields.iter().filter(|(one, _)| *one == name).map(|(_, value)| &**value).collect()
}

#[test]
fn server_as_a_whole_has_options() {
    let answer = route(&call("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), &OPEN);
    let Ok(HttpAction::Respond(answer)) = answer else { panic!("{answer:?}") };
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(field(&answer, header::ALLOW), ["HEAD, GET, POST, OPTIONS"]);
}

#[test]
fn page_is_not_sent_again_with_its_tag() {
    let page = |fields: &str| match route(&call(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")), &OPEN)
    {
        Ok(HttpAction::Respond(answer)) => answer,
        other => panic!("no page, but {other:?}"),
    };
    let answer = page("");
    let [tag] = field(&answer, header::ETAG)[..] else { panic!("no tag") };
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    assert_eq!(field(&answer, header::CONTENT_SECURITY_POLICY), [policy]);
    assert_eq!(field(&answer, header::CONTENT_TYPE), ["text/html; charset=utf-8"]);
    for known in [tag, &format!("W/{tag}"), "*", &format!("\"x\", {tag}")] {
        let again = page(&format!("If-None-Match: {known}\r\n"));
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{known}");
        assert_eq!(field(&again, header::ETAG), [tag]);
    }
    assert_eq!(page("If-None-Match: \"x\"\r\n").status.as_u16(), 200);
}

#[test]
fn post_publishes_a_message() {
    let text = "Content-Type: text/plain\r\n";
    let json = "Content-Type: application/json\r\n";
    let rows = [
        ("", "", "hi", r#"publish #dev http text "hi""#),
        ("", text, "hi", r#"publish #dev http text "hi""#),
        ("?from=bot", text, "hi", r#"publish #dev bot text "hi""#),
        ("?from=%C3%A4nn", text, "hi", r#"publish #dev änn text "hi""#),
        ("?from=a%2Bb+", text, "hi", r#"publish #dev a+b text "hi""#),
        ("", "Content-Type: Text/Plain; charset=utf-8\r\n", "é", r#"publish #dev http text "é""#),
        ("", "Content-Type: application/x-www-form-urlencoded\r\n", "a=b", r#"publish #dev http text "a=b""#),
        ("", text, "two\r\nlines\n", r#"publish #dev http text "two\nlines""#),
        ("", text, "\x1b[2J\u{202e}x", r#"publish #dev http text "[2Jx""#),
        ("", json, "{ \"a\" : [1, 2.50] }\n", r#"publish #dev http data {"a":[1,2.50]}"#),
        ("", "Content-Type: application/json;charset=utf-8\r\n", "null", "publish #dev http data null"),
        ("", "Content-Type: application/json ; charset=utf-8\r\n", "1", "publish #dev http data 1"),
        ("", "Content-Type:\tApplication/JSON \r\n", "1", "publish #dev http data 1"),
        ("", "Content-Type: APPLICATION/JSON;CHARSET=\"UTF-8\"; x=y\r\n", "1", "publish #dev http data 1"),
        ("", "Content-Type: application/json;\r\n", "1", "publish #dev http data 1"),
        ("", "Content-Type: application/json;;\r\n", "1", "publish #dev http data 1"),
        ("", "Content-Type: text/plain ;charset=utf-8\r\n", "1", "publish #dev http text \"1\""),
        ("", "Content-Type: application/jsonx\r\n", "1", "415 unsupported_media_type"),
        ("", "Content-Type: application / json\r\n", "1", "415 unsupported_media_type"),
        ("", "Content-Type: ;application/json\r\n", "1", "415 unsupported_media_type"),
        ("", "Content-Type: application/json, text/plain\r\n", "1", "415 unsupported_media_type"),
        ("", json, "\" \\\" x\"", r#"publish #dev http data " \" x""#),
        ("", text, "", "400 empty"),
        ("", text, " \r\n", "400 empty"),
        ("", text, "\0", "400 empty"),
        ("", json, "", "400 bad_request"),
        ("", json, "{", "400 bad_request"),
        ("", json, "1 2", "400 bad_request"),
        ("", json, "{\"a\":\"\x07\"}", "400 bad_request"),
        ("", json, "\u{feff}1", "400 bad_request"),
        ("", "Content-Type: image/png\r\n", "x", "415 unsupported_media_type"),
        ("", "Content-Type: text/html\r\n", "x", "415 unsupported_media_type"),
        ("", "Content-Type:\r\n", "x", "415 unsupported_media_type"),
        ("?from=", text, "hi", "400 bad_name"),
        ("?from=a%0D%0Ab", text, "hi", "400 bad_name"),
        ("?from=a%00", text, "hi", "400 bad_name"),
        // A person's white space is trimmed, but that of a program is a mistake.
        ("?from=bot%0A", text, "hi", "400 bad_name"),
        ("?from=%09bot", text, "hi", "400 bad_name"),
        ("?from=a+b", text, "hi", "400 bad_name"),
        ("?from=a:b", text, "hi", "400 bad_name"),
        ("?from=http", text, "hi", "400 bad_name"),
        ("?from=Redis", text, "hi", "400 bad_name"),
        ("?from=guest-7", text, "hi", "400 bad_name"),
        ("?from=%FF", text, "hi", "publish #dev \u{fffd} text \"hi\""),
    ];
    for (query, fields, body, expected) in rows {
        assert_eq!(
            asked(&format!("POST /rooms/dev/messages{query}"), fields, body),
            expected,
            "{query} {body:?}"
        );
    }
    let bytes = b"POST /rooms/dev/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n\xff\xfe";
    assert_eq!(done(route(&call(bytes), &OPEN)), "400 not_utf8");
}

#[test]
fn sse_client_resumes_at_its_last_event_id() {
    let heard = |value: &str| asked("GET /rooms/dev/events", &format!("Last-Event-ID: {value}\r\n"), "");
    for position in
        ["0000000000c0ffee-3-57", "0000000000000000-0-0", "ffffffffffffffff-4294967295-18446744073709551615"]
    {
        assert_eq!(heard(position), format!("200 events room=#dev heard={position}"));
    }
    assert_eq!(heard(""), "200 events room=#dev");
    for other in [
        "7",
        "x",
        "☃",
        "\u{e9}",
        "--",
        "0000000000c0ffee-3",
        "0000000000c0ffee-3-",
        "0000000000c0ffee-3-57-1",
        "0000000000c0ffee-3--57",
        "0000000000c0ffee-3-+57",
        "0000000000c0ffee-3-057",
        "0000000000c0ffee-3-5 7",
        "0000000000C0FFEE-3-57",
        "c0ffee-3-57",
        "00000000000c0ffee-3-57",
        "10000000000000000-3-57",
        "0000000000c0ffee-4294967296-57",
        "0000000000c0ffee-3-18446744073709551616",
    ] {
        assert_eq!(heard(other), "200 events room=#dev heard=something", "{other}");
    }
}

#[test]
fn query_replaces_a_missing_last_event_id_field() {
    let (field, query) = ("0000000000c0ffee-3-57", "0000000000c0ffee-3-58");
    let heard = |target: &str, fields: &str| asked(&format!("GET /rooms/dev/events{target}"), fields, "");
    let last = format!("Last-Event-ID: {field}\r\n");
    let rows = [
        (format!("?lastEventId={query}"), "", format!(" heard={query}")),
        (format!("?x=y&last%45ventId={}", query.replace('-', "%2D")), "", format!(" heard={query}")),
        (format!("?lastEventId={query}&lastEventId={field}"), "", format!(" heard={query}")),
        (format!("?lastEventId={query}"), &last, format!(" heard={field}")),
        (format!("?lastEventId={query}"), "Last-Event-ID:\r\n", format!(" heard={query}")),
        (format!("?lastEventId={query}"), "Last-Event-ID: x\r\n", " heard=something".into()),
        ("?lastEventId=nowhere".into(), &last, format!(" heard={field}")),
        ("?lastEventId=nowhere".into(), "", " heard=something".into()),
        ("?lastEventId=%FF".into(), "", " heard=something".into()),
        ("?lastEventId=".into(), "", String::new()),
        ("?lastEventId".into(), "", String::new()),
        (format!("?lasteventid={query}"), "", String::new()),
    ];
    for (target, fields, expected) in rows {
        assert_eq!(heard(&target, fields), format!("200 events room=#dev{expected}"), "{target} {fields}");
    }
}

#[test]
fn query_sets_name_room_echo_and_history() {
    let rows = [
        ("/ws", "101 json room=#lobby"),
        ("/ws?", "101 json room=#lobby"),
        ("/ws?name=ann&room=Dev&history=3&echo=1", "101 json name=ann room=#dev history=3 echo"),
        ("/ws?room=", "101 json"),
        ("/ws?name=", "101 json room=#lobby"),
        ("/ws?name=z%C3%A4", "101 json name=zä room=#lobby"),
        ("/ws?echo", "101 json room=#lobby echo"),
        ("/ws?echo=true", "101 json room=#lobby echo"),
        ("/ws?echo=0", "101 json room=#lobby"),
        ("/ws?echo=false", "101 json room=#lobby"),
        ("/ws?name=a+b", "101 json room=#lobby bad_name"),
        ("/ws?name=system&room=a%2Fb", "101 json bad_name bad_room"),
        ("/ws?name=ann&name=bob", "101 json name=ann room=#lobby"),
        ("/ws?history=x", "400 bad_request"),
        ("/raw/dev", "101 raw room=#dev"),
        ("/raw/dev?name=bot&echo=1", "101 raw name=bot room=#dev echo"),
        ("/raw/dev?room=ops", "101 raw room=#dev"),
        ("/raw/dev?name=a%0Ab", "400 bad_name"),
    ];
    for (target, expected) in rows {
        assert_eq!(asked(&format!("GET {target}"), UPGRADE, ""), expected, "{target}");
    }
}

/// Returns the agreed subprotocol, if any, or the error.
fn agreed(path: &str, offers: &[&str]) -> String {
    let fields: String = offers.iter().map(|offer| format!("Sec-WebSocket-Protocol: {offer}\r\n")).collect();
    match route(&call(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{UPGRADE}{fields}\r\n")), &OPEN) {
        Ok(HttpAction::Enter { response: answer, .. }) => {
            let field = |(name, _): &&(HeaderName, _)| *name == header::SEC_WEBSOCKET_PROTOCOL;
            let named: Vec<_> = answer.fields.iter().filter(field).map(|(_, value)| value.as_ref()).collect();
            assert!(named.len() <= 1, "{named:?}");
            named.concat()
        }
        other => done(other),
    }
}

#[test]
fn subprotocol_is_the_first_at_raw_and_ours_at_ws() {
    let long = "x".repeat(300);
    let rows: [(&[&str], &str, &str); 14] = [
        (&[], "", ""),
        (&["mqtt"], "mqtt", ""),
        (&["mqtt, wamp.2.json"], "mqtt", ""),
        (&["v1", "v2", "v3"], "v1", ""),
        (&["chinwag.json"], "chinwag.json", "chinwag.json"),
        (&["a,chinwag.json,b"], "a", "chinwag.json"),
        (&["a", "b,\tchinwag.json"], "a", "chinwag.json"),
        (&["chinwag.json", "a"], "chinwag.json", "chinwag.json"),
        // Names are compared byte by byte.
        (&["Chinwag.JSON"], "Chinwag.JSON", ""),
        (&["chinwag.json2, chinwag"], "chinwag.json2", ""),
        (&[" a ,\tb\t"], "a", ""),
        (&[",a,,b,"], "a", ""),
        (&["!#$%&'*+-.^_`|~09azAZ"], "!#$%&'*+-.^_`|~09azAZ", ""),
        (&[&long], &long, ""),
    ];
    for (offers, raw, json) in rows {
        assert_eq!(agreed("/raw/dev", offers), raw, "{offers:?}");
        assert_eq!(agreed("/ws", offers), json, "{offers:?}");
    }
}

#[test]
fn malformed_offer_of_subprotocols_is_refused() {
    let rows: [&[&str]; 12] = [
        &[""],
        &[","],
        &["a", ""],
        &["a b"],
        &["a;q=1"],
        &["a/b"],
        &["\"a\""],
        &["a, b c"],
        &["é"],
        &["a, a"],
        &["chinwag.json", "chinwag.json"],
        &["chinwag.json", "b", "(c)"],
    ];
    for offers in rows {
        for path in ["/ws", "/raw/dev"] {
            assert_eq!(agreed(path, offers), "400 bad_subprotocol", "{path} {offers:?}");
        }
    }
}

#[test]
fn path_without_get_has_no_head_either() {
    for method in ["GET", "HEAD", "PUT"] {
        let request = call(format!("{method} /admin/kick HTTP/1.1\r\nHost: h\r\n\r\n"));
        let answer = route(&request, &OPEN).expect_err("refused");
        assert_eq!(field(&answer, header::ALLOW), ["POST, OPTIONS"], "{method}");
    }
}

#[test]
fn connection_fields_of_an_upgrade_are_one_list() {
    for fields in ["Connection: keep-alive\r\nConnection: Upgrade", "Connection: Upgrade\r\nConnection: x, y"]
    {
        let fields = UPGRADE.replace("Connection: keep-alive, Upgrade", fields);
        assert_eq!(asked("GET /ws", &fields, ""), asked("GET /ws", UPGRADE, ""), "{fields}");
        assert!(!asked("GET /ws", &fields, "").starts_with('4'), "{fields}");
    }
    let without =
        UPGRADE.replace("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: x");
    assert_eq!(asked("GET /ws", &without, ""), "426 upgrade_required");
}

/// RFC 9110, 5.6.1 and 7.8.
#[test]
fn connection_and_upgrade_are_lists() {
    for (field, lists) in [
        (
            "Connection: keep-alive, Upgrade",
            &["keep-alive,\tUpgrade", "keep-alive ,Upgrade\t,x", ",upgrade"][..],
        ),
        ("Upgrade: websocket", &["websocket, x", "x/1,\tWebSocket", "h2c\r\nUpgrade: websocket"]),
    ] {
        let (name, _) = field.split_once(' ').expect("a value");
        for list in lists {
            let fields = UPGRADE.replace(field, &format!("{name} {list}"));
            assert_eq!(asked("GET /ws", &fields, ""), "101 json room=#lobby", "{fields}");
        }
        for list in ["websocket/13", "upgrades", "x, y", ""] {
            let fields = UPGRADE.replace(field, &format!("{name} {list}"));
            assert_eq!(asked("GET /ws", &fields, ""), "426 upgrade_required", "{fields}");
        }
    }
}

#[test]
fn malformed_upgrade_is_refused_with_the_required_fields() {
    let rows = [
        ("", "426 upgrade_required"),
        ("Upgrade: websocket\r\n", "426 upgrade_required"),
        (&UPGRADE.replace("Connection: keep-alive, Upgrade\r\n", ""), "426 upgrade_required"),
        (&UPGRADE.replace("Upgrade: websocket", "Upgrade: h2c"), "426 upgrade_required"),
        (&UPGRADE.replace("13", "8"), "426 upgrade_required"),
        (&UPGRADE.replace("Sec-WebSocket-Version: 13\r\n", ""), "426 upgrade_required"),
        (&UPGRADE.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400 bad_key"),
        (&[UPGRADE, "Sec-WebSocket-Version: 13\r\n"].concat(), "400 twice"),
        (&[UPGRADE, "Sec-WebSocket-Version: 8\r\n"].concat(), "400 twice"),
        (&[UPGRADE, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"].concat(), "400 twice"),
        (&UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "x"), "400 bad_key"),
        (&UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), "400 bad_key"),
        (
            &UPGRADE.to_uppercase().replace("DGHLIHNHBXBSZSBUB25JZQ==", "dGhlIHNhbXBsZSBub25jZQ=="),
            "101 json room=#lobby",
        ),
    ];
    for (fields, expected) in rows {
        assert_eq!(asked("GET /ws", fields, ""), expected, "{fields}");
    }
    assert_eq!(asked("HEAD /ws", UPGRADE, ""), "426 upgrade_required");
    let plain = route(&call("GET /ws HTTP/1.1\r\nHost: h\r\n\r\n"), &OPEN).expect_err("no upgrade");
    assert_eq!(field(&plain, header::UPGRADE), ["websocket"]);
    assert_eq!(field(&plain, header::SEC_WEBSOCKET_VERSION), ["13"]);
    let old = route(&call(format!("GET /ws HTTP/1.0\r\nHost: h\r\n{UPGRADE}\r\n")), &OPEN);
    assert_eq!(done(old), "426 upgrade_required");
    let made = route(&call(format!("GET /ws HTTP/1.1\r\nHost: h\r\n{UPGRADE}\r\n")), &OPEN);
    let Ok(HttpAction::Enter { response: answer, .. }) = made else { panic!("no upgrade") };
    // From RFC 6455, 1.3.
    assert_eq!(field(&answer, header::SEC_WEBSOCKET_ACCEPT), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    assert_eq!(field(&answer, header::UPGRADE), ["websocket"]);
    assert_eq!(field(&answer, header::CONNECTION), ["Upgrade"]);
}
