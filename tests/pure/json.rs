//! Decoding of the JSON listener, by tables: a message in, a request and the `id` of its answer out.

use std::time::Duration;

use chinwag::codec::websocket::WebSocketMessage;
use chinwag::codec::{Input, Tag, json};
use chinwag::protocol::{Body, MessageKind, Moderation, Problem, Request};
use chinwag::text::{NameError, RoomNameError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::random::{check, raw_text};
use crate::words::{harm, name, room, text, typed};

fn asked(message: &str) -> (Result<Request, Problem>, Option<Tag>) {
    match json::decode(WebSocketMessage::Text(message)) {
        Input::Request { request, tag } => (request, tag),
        other => panic!("no request, but {other:?}"),
    }
}

#[track_caller]
fn check_requests(rows: &[(&str, Request)]) {
    for (message, expected) in rows {
        assert_eq!(asked(message), (Ok(expected.clone()), None), "{message}");
    }
}

/// Checks messages that are valid JSON and no request of this listener, with the beginning of the error.
#[track_caller]
fn check_bad(rows: &[(&str, &str)]) {
    for (message, complaint) in rows {
        match asked(message) {
            (Err(Problem::BadRequest(why)), None) => assert!(why.starts_with(complaint), "{message}: {why}"),
            other => panic!("{message}: {other:?}"),
        }
    }
}

fn join(raw: &str, history: Option<usize>, echo: bool) -> Request {
    Request::Join { room: room(raw), history, echo, since: None }
}

fn say(kind: MessageKind, body: Body) -> Request {
    Request::Say { room: Some(room("dev")), kind, body, receipt: false }
}

fn words(raw: &str) -> Body {
    let text = chinwag::text::Text::clean_lines(raw).expect("a text");
    assert_eq!(text.as_str(), raw, "a text that needs no cleaning");
    Body::Text(text)
}

fn tell(to: &str, raw: &str) -> Request {
    Request::Private { to: typed(to), text: text(raw), receipt: false }
}

fn history(count: Option<usize>) -> Request {
    Request::History { room: Some(room("dev")), count, after: None }
}

/// A hundred years.
const SECONDS_MAX: u64 = 100 * 366 * 24 * 3600;

#[test]
fn time_of_a_ban_or_mute_is_from_a_second_to_a_hundred_years() {
    for (seconds, is_good) in [(0, false), (1, true), (SECONDS_MAX, true), (SECONDS_MAX + 1, false)] {
        for (kind, field) in [("mute", "name"), ("ban", "target")] {
            let message = format!(r#"{{"type":"{kind}","{field}":"bob","seconds":{seconds}}}"#);
            let (request, _) = asked(&message);
            match (is_good, request) {
                (
                    true,
                    Ok(Request::Moderate(Moderation::Mute { time, .. } | Moderation::Ban { time, .. })),
                ) => assert_eq!(time, Some(Duration::from_secs(seconds)), "{message}"),
                (false, Err(Problem::BadRequest(why))) => {
                    assert!(why.starts_with("seconds is a whole number"), "{message}: {why}")
                }
                (_, other) => panic!("{message}: {other:?}"),
            }
        }
    }
}

#[test]
fn every_type_is_a_request() {
    let behind = Request::History { room: Some(room("dev")), count: Some(3), after: Some(7) };
    check_requests(&[
        (r#"{"type":"join","room":"dev"}"#, join("dev", None, false)),
        (r##"{"type":"join","room":"#DEV","history":7,"echo":true}"##, join("dev", Some(7), true)),
        (r#"{"type":"join","room":"dev","history":null,"echo":false}"#, join("dev", None, false)),
        (r#"{"type":"join","room":"dev","epoch":null,"since":null}"#, join("dev", None, false)),
        (
            r#"{"type":"join","room":"dev","epoch":"00c0ffee00c0ffee-3","since":57}"#,
            Request::Join {
                room: room("dev"),
                history: None,
                echo: false,
                since: Some("00c0ffee00c0ffee-3-57".parse().expect("a position")),
            },
        ),
        (r#"{"type":"leave","room":"dev"}"#, Request::Leave(Some(room("dev")))),
        (r#"{"type":"say","room":"dev","text":"hi"}"#, say(MessageKind::Say, words("hi"))),
        (r#"{"type":"say","room":"dev","text":"two\nlines\n"}"#, say(MessageKind::Say, words("two\nlines"))),
        (
            r#"{"type":"say","room":"dev","text":"\u001b[2J\u202e\u0000x"}"#,
            say(MessageKind::Say, words("[2Jx")),
        ),
        (r#"{"type":"say","room":"dev","text":"\ud83e\udd80"}"#, say(MessageKind::Say, words("🦀"))),
        (r#"{"type":"me","room":"dev","text":"waves"}"#, say(MessageKind::Emote, words("waves"))),
        (r#"{"type":"tell","to":"bob","text":"psst"}"#, tell("bob", "psst")),
        (r#"{"type":"nick","name":" ann "}"#, Request::Nick(name("ann"))),
        (r#"{"type":"who","room":"dev"}"#, Request::Who(Some(room("dev")))),
        (r#"{"type":"rooms"}"#, Request::Rooms),
        (r#"{"type":"history","room":"dev"}"#, history(None)),
        (r#"{"type":"history","room":"dev","count":3}"#, history(Some(3))),
        (r#"{"type":"history","room":"dev","count":3,"after":7}"#, behind),
        (r#"{"type":"ping"}"#, Request::Ping),
        (" \r\n\t{ \"type\" : \"ping\" } ", Request::Ping),
        (r#"{"x":[{}],"type":"ping","room":"dev","other":"field"}"#, Request::Ping),
        (r#"{"\u0074ype":"p\u0069ng"}"#, Request::Ping),
    ]);
}

#[test]
fn missing_field_is_named() {
    check_bad(&[
        (r#"{}"#, "a request has a type"),
        (r#"{"type":null}"#, "a request has a type"),
        (r#"{"room":"dev"}"#, "a request has a type"),
        (r#"{"type":"join"}"#, "join needs room"),
        (r#"{"type":"join","room":null}"#, "join needs room"),
        (r#"{"type":"join","room":"dev","since":3}"#, "epoch and since belong together"),
        (r#"{"type":"join","room":"dev","epoch":"00c0ffee00c0ffee-3"}"#, "epoch and since belong together"),
        (r#"{"type":"join","room":"dev","epoch":"","since":3}"#, "an epoch is a text of the server"),
        (r#"{"type":"join","room":"dev","epoch":"c0ffee-3","since":3}"#, "an epoch is a text of the server"),
        (r#"{"type":"join","room":"dev","epoch":"00c0ffee00c0ffee-03","since":3}"#, "an epoch is a text"),
        (r#"{"type":"join","room":"dev","epoch":7,"since":3}"#, "that is no request in JSON"),
        (
            r#"{"type":"join","room":"dev","epoch":"00c0ffee00c0ffee-3","since":-1}"#,
            "that is no request in JSON",
        ),
        (
            r#"{"type":"join","room":"dev","epoch":"00c0ffee00c0ffee-3","since":"3"}"#,
            "that is no request in JSON",
        ),
        (r#"{"type":"leave"}"#, "leave needs room"),
        (r#"{"type":"say","text":"hi"}"#, "say needs room"),
        (r#"{"type":"say","room":"dev"}"#, "say needs text"),
        (r#"{"type":"say","room":"dev","text":null}"#, "say needs text"),
        (r#"{"type":"say","room":"dev","text":"x","data":1}"#, "a message has either text or data"),
        (r#"{"type":"say","room":"dev","text":"x","data":null}"#, "a message has either text or data"),
        (r#"{"type":"say","room":"dev","text":""}"#, "the text is empty"),
        (r#"{"type":"say","room":"dev","text":" \n\u0000\t"}"#, "the text is empty"),
        (r#"{"type":"me","room":"dev"}"#, "me needs text"),
        (r#"{"type":"me","text":"waves"}"#, "me needs room"),
        (r#"{"type":"me","room":"dev","data":1}"#, "me needs text"),
        (r#"{"type":"tell","text":"psst"}"#, "tell needs to"),
        (r#"{"type":"tell","to":" ","text":"psst"}"#, "tell needs to"),
        (r#"{"type":"tell","to":"bob"}"#, "tell needs text"),
        (r#"{"type":"nick"}"#, "nick needs name"),
        (r#"{"type":"who"}"#, "who needs room"),
        (r#"{"type":"history"}"#, "history needs room"),
        (r#"{"type":""}"#, "the type is empty"),
        (r#"{"type":"\u001b"}"#, "the type is empty"),
    ]);
}

#[test]
fn field_of_another_type_is_refused() {
    let fields = [
        (r#""type":"X""#, &["1", "[]", "{}", "true"][..]),
        (r#""room":"X""#, &["1", "[\"dev\"]", "{}", "false"]),
        (r#""text":"X""#, &["1", "[]", "{}", "true"]),
        (r#""to":"X""#, &["1", "[]", "{}", "true"]),
        (r#""name":"X""#, &["1", "[]", "{}", "true"]),
        (r#""history":"X""#, &["\"1\"", "-1", "1.5", "1e1", "[]", "true", "99999999999999999999"]),
        (r#""count":"X""#, &["\"1\"", "-1", "1.5", "{}", "18446744073709551616"]),
        (r#""after":"X""#, &["\"1\"", "-1", "1.5", "{}", "18446744073709551616"]),
        (r#""echo":"X""#, &["1", "\"true\"", "null", "[]"]),
    ];
    for (field, values) in fields {
        for value in values {
            let field = field.replace("\"X\"", value);
            let kind = if field.starts_with("\"type\"") { "" } else { r#""type":"ping","# };
            check_bad(&[(&format!("{{{kind}{field}}}"), "that is no request in JSON: invalid ")]);
        }
    }
}

#[test]
fn errors_are_in_terms_of_json() {
    check_bad(&[
        ("[]", "that is no request in JSON: a request is an object, as in {\"type\":\"rooms\"}"),
        (
            r#"{"type":"history","room":"dev","count":-1}"#,
            "that is no request in JSON: invalid value: integer `-1`, expected a whole number from 0 at",
        ),
    ]);
    let error = json::body("{\"a\":").unwrap_err().to_string();
    assert!(error.starts_with("the body is no JSON: EOF while parsing"), "{error}");
}

#[test]
fn message_that_is_no_object_is_refused() {
    for message in [
        "",
        " ",
        "null",
        "1",
        "\"ping\"",
        "true",
        "[]",
        r#"["ping"]"#,
        r#"["ping",null]"#,
        r#"["ping",null,null,null,null,null,null,true]"#,
        "{",
        r#"{"type":"ping""#,
        r#"{"type":"ping"}}"#,
        r#"{"type":"ping"}{"type":"ping"}"#,
        r#"{"type":"ping",}"#,
        "{'type':'ping'}",
        "{type:\"ping\"}",
        "\u{feff}{\"type\":\"ping\"}",
        "{\"type\":\"pi\nng\"}",
        r#"{"type":"\ud800"}"#,
        r#"{"type":"\x"}"#,
        r#"{"type":"say","room":"dev","data":}"#,
        r#"{"type":"say","room":"dev","data":01}"#,
        r#"{"type":"say","room":"dev","data":NaN}"#,
        r#"{"type":"say","room":"dev","data":[1,]}"#,
        r#"{"type":"say","room":"dev","data":"\ud800"}x"#,
        r#"{"type":"ping","other":tru}"#,
        "\0",
    ] {
        check_bad(&[(message, "that is no request in JSON: ")]);
    }
    let twice = [
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"ping","id":1,"id":1}"#,
        r#"{"type":"leave","room":"dev","room":"ops"}"#,
        r#"{"type":"say","room":"dev","text":"a","text":"b"}"#,
        r#"{"type":"say","room":"dev","data":1,"data":2}"#,
        r#"{"type":"say","room":"dev","data":1,"d\u0061ta":2}"#,
    ];
    twice.iter().for_each(|message| check_bad(&[(message, "that is no request in JSON: duplicate field")]));
    let Input::Request { request, tag } = json::decode(WebSocketMessage::Binary(br#"{"type":"ping"}"#))
    else {
        panic!("no request")
    };
    assert!(matches!((request, tag), (Err(Problem::BadRequest(_)), None)));
}

#[test]
fn invalid_names_rooms_and_types_are_refused() {
    let rows = [
        (r#"{"type":"join","room":""}"#, Problem::BadRoomName(RoomNameError::Empty)),
        (r#"{"type":"join","room":"a b"}"#, Problem::BadRoomName(RoomNameError::Character)),
        (r#"{"type":"join","room":"a\r\nb"}"#, Problem::BadRoomName(RoomNameError::Character)),
        (r#"{"type":"who","room":"a/b"}"#, Problem::BadRoomName(RoomNameError::Character)),
        (r#"{"type":"nick","name":""}"#, Problem::BadName(NameError::Empty)),
        (r#"{"type":"nick","name":"a b"}"#, Problem::BadName(NameError::Space)),
        (r#"{"type":"nick","name":"a\nb"}"#, Problem::BadName(NameError::Invisible)),
        (r#"{"type":"nick","name":"redis"}"#, Problem::BadName(NameError::Reserved)),
        (r#"{"type":"JOIN","room":"dev"}"#, Problem::UnknownType(text("JOIN"))),
        (r#"{"type":"welcome"}"#, Problem::UnknownType(text("welcome"))),
        (r#"{"type":"x\u001b[2J"}"#, Problem::UnknownType(text("x[2J"))),
    ];
    for (message, problem) in rows {
        assert_eq!(asked(message), (Err(problem), None), "{message}");
    }
    let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(5_000));
    assert!(asked(&long).0.expect_err("unknown").to_string().len() < 300, "not all of it comes back");
}

#[test]
fn id_comes_back_as_it_was_sent() {
    let longest = format!("\"{}\"", "x".repeat(62));
    for id in [
        "1",
        "0",
        "-1.50e+07",
        "123456789012345678901234567890",
        "\"\"",
        "\"a\"",
        r#""\u001b\n\"""#,
        &longest,
    ] {
        for (request, expected) in [("ping", true), ("nosuch", false), ("join", false)] {
            let message = format!(r#"{{"type":"{request}","id": {id} }}"#);
            let (request, tag) = asked(&message);
            assert_eq!((request.is_ok(), tag), (expected, Some(Tag(id.into()))), "{message}");
        }
        let untyped = asked(&format!(r#"{{"id":{id}}}"#));
        assert_eq!((untyped.0.is_err(), untyped.1), (true, Some(Tag(id.into()))));
    }
    assert_eq!(asked(r#"{"type":"ping","id":null}"#), (Ok(Request::Ping), None), "as good as none");
    let too_long = format!("\"{}\"", "x".repeat(63));
    for id in ["{}", "[]", "[1]", "{\"a\":1}", "true", "false", &too_long, &"1".repeat(65)] {
        check_bad(&[(&format!(r#"{{"type":"ping","id":{id}}}"#), "an id is a string or a number")]);
    }
}

#[test]
fn message_with_an_id_has_a_receipt() {
    for (message, expected) in [
        (r#"{"type":"say","room":"dev","text":"hi","id":1}"#, true),
        (r#"{"type":"me","room":"dev","text":"hi","id":1}"#, true),
        (r#"{"type":"tell","to":"bob","text":"hi","id":1}"#, true),
        (r#"{"type":"say","room":"dev","text":"hi","id":null}"#, false),
        (r#"{"type":"tell","to":"bob","text":"hi"}"#, false),
    ] {
        match asked(message).0 {
            Ok(Request::Say { receipt, .. } | Request::Private { receipt, .. }) => {
                assert_eq!(receipt, expected)
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the `data` of a message.
fn data(raw: &str) -> Result<String, Problem> {
    match asked(&format!(r#"{{"type":"say","data": {raw} ,"room":"dev"}}"#)).0? {
        Request::Say { body: Body::Data(json), kind: MessageKind::Say, .. } => Ok(json.into()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_is_passed_on_digit_for_digit_without_white_space() {
    for same in [
        "null",
        "true",
        "0",
        "-0",
        "-0.0",
        "1.0",
        "1.50",
        "1e400",
        "1E+2",
        "123456789012345678901234567890.10",
        "\"\"",
        "\" \\t a \"",
        r#""\u0041\/\\\"""#,
        "[]",
        "{}",
        r#"{"b":1,"a":2,"b":3}"#,
        r#"[[],{},[{"":[]}]]"#,
        "\"é🦀\"",
        r#"{"a b":" c , d : [ "}"#,
        r#""\\""#,
        r#"["\\"," x"]"#,
    ] {
        assert_eq!(data(same).as_deref(), Ok(same));
    }
    for half in [r#""\ud800""#, r#"{"\udc00":1}"#, r#"["\ud800x"]"#] {
        assert!(data(half).is_err(), "half a character in {half}");
    }
    let rows = [
        (" [ 1 ,\t2 ,\r\n3 ] ", "[1,2,3]"),
        ("{ \"a b\" : { } , \"c\" : [ ] }", r#"{"a b":{},"c":[]}"#),
        (r#"[ "a \" b" , "\\" , " c" ]"#, r#"["a \" b","\\"," c"]"#),
    ];
    for (raw, expected) in rows {
        assert_eq!(data(raw).as_deref(), Ok(expected));
    }
}

#[test]
fn data_is_nested_64_deep_at_most() {
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), ("[ ", " ]")] {
        assert!(data(&nested(open, close, 64)).is_ok());
        for depth in [65, 128, 129, 20_000] {
            let refused = data(&nested(open, close, depth)).expect_err("too deep");
            assert_eq!(refused, Problem::BadRequest("data is nested more than 64 deep".into()));
            let published = json::body(&nested(open, close, depth)).expect_err("too deep");
            assert_eq!(published, refused);
        }
        // The same depth in a field that is ignored.
        let elsewhere = format!(r#"{{"type":"ping","x":{}}}"#, nested(open, close, 20_000));
        assert_eq!(asked(&elsewhere).0, Ok(Request::Ping));
    }
    assert!(data(&format!("\"{}\"", "[".repeat(100))).is_ok(), "in a string nothing is nested");
    assert!(data(&format!("[{}[]]", "[],".repeat(100))).is_ok(), "side by side nothing is nested");
}

/// Messages rich in the syntax of requests.
fn message() -> impl Strategy<Value = String> {
    let pieces = vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u001b",
        "null",
        "1",
        " ",
        "\"type\":",
        "\"say\"",
        "\"room\":\"dev\"",
        "\"text\":",
        "\"data\":",
        "\"id\":",
        "\"nick\"",
        "\"name\":",
        "\"tell\"",
        "\"to\":",
        "\u{202e}",
    ];
    let quoted = raw_text().prop_map(|raw| serde_json::to_string(&raw).expect("a string"));
    let word = || raw_text().prop_map(|raw| serde_json::to_string(&raw).expect("a string"));
    let request =
        (select(vec!["say", "me", "tell", "nick", "join", "rooms"]), word(), word(), word(), word());
    let request = request.prop_map(|(kind, room, text, to, name)| {
        format!(r#"{{"type":"{kind}","room":{room},"text":{text},"to":{to},"name":{name}}}"#)
    });
    let garbage = vec(prop_oneof![select(pieces).prop_map(String::from), quoted], 0..14);
    prop_oneof![request, garbage.prop_map(|pieces| pieces.concat())]
}

#[test]
fn no_harmful_character_is_ever_decoded() {
    check(5_000, &message(), |message| {
        let shown = match asked(&message).0 {
            Ok(Request::Say { body: Body::Text(text), .. }) => vec![text.to_string()],
            Ok(Request::Say { body, .. }) => vec![body.as_line().into_owned()],
            Ok(Request::Private { to, text, .. }) => vec![to.to_string(), text.to_string()],
            Ok(Request::Nick(name)) => vec![name.to_string()],
            Ok(Request::Join { room, .. }) => vec![room.to_string()],
            _ => vec![],
        };
        for shown in shown {
            assert_eq!(harm(&shown.replace('\n', "")), None, "{shown:?}");
        }
    });
}

/// Any JSON value, with white space at random places.
fn value() -> impl Strategy<Value = String> {
    let quoted = || raw_text().prop_map(|raw| serde_json::to_string(&raw).expect("a string"));
    let space = || select(vec!["", "", " ", "\n", "\r\n\t "]);
    let leaf = prop_oneof![quoted(), "-?[1-9][0-9]{0,30}(\\.[0-9]{1,9})?", Just("null".to_string())];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let list = (vec(inner.clone(), 0..4), space())
            .prop_map(|(all, space)| format!("[{space}{}{space}]", all.join(&format!("{space},{space}"))));
        let pairs = vec((quoted(), inner), 0..4);
        let object = (pairs, space()).prop_map(|(pairs, space)| {
            let pairs: Vec<_> =
                pairs.iter().map(|(key, value)| format!("{key}{space}:{space}{value}")).collect();
            format!("{{{space}{}{space}}}", pairs.join(&format!("{space},{space}")))
        });
        prop_oneof![list, object]
    })
}

#[test]
fn data_keeps_its_meaning() {
    check(2_000, &value(), |raw| {
        let sent = data(&raw).expect("data");
        let parsed = |raw: &str| serde_json::from_str::<serde_json::Value>(raw).expect("JSON");
        assert_eq!(parsed(&sent), parsed(&raw));
        assert!(!sent.contains(['\n', '\r', '\t']), "one line");
        assert_eq!(data(&sent), Ok(sent));
    });
}

#[test]
fn names_that_are_typed_and_texts_that_are_kept_are_bounded() {
    let requests = [
        ("name", r#"{"type":"tell","to":"X","text":"psst"}"#),
        ("name", r#"{"type":"whois","name":"X"}"#),
        ("name", r#"{"type":"ignore","name":"X"}"#),
        ("name", r#"{"type":"unignore","name":"X"}"#),
        ("name", r#"{"type":"kick","name":"X"}"#),
        ("name", r#"{"type":"mute","name":"X"}"#),
        ("name", r#"{"type":"unmute","name":"X"}"#),
        ("name", r#"{"type":"unregister","name":"X"}"#),
        ("a topic", r#"{"type":"topic","room":"dev","text":"X"}"#),
        ("an away text", r#"{"type":"away","text":"X"}"#),
        ("the reason of a ban", r#"{"type":"ban","name":"bob","reason":"X"}"#),
    ];
    for (what, request) in requests {
        let with = |bytes: usize| asked(&request.replace('X', &"x".repeat(bytes))).0;
        assert!(with(512).is_ok(), "{request}");
        let expected = match what {
            "name" => Problem::BadName(NameError::TooLong),
            what => Problem::BadRequest(format!("{what} has at most 512 bytes")),
        };
        assert_eq!(with(513), Err(expected), "{request}");
    }
    // One that is far too long is refused before anything is compared with it.
    for kind in ["nick", "ban"] {
        let flag = format!("🏴{}\u{e007f}", "\u{e0061}".repeat(16_000));
        let refused = asked(&format!(r#"{{"type":"{kind}","name":"{flag}"}}"#)).0;
        let text = format!("{:?}", refused.unwrap_err());
        assert!(text.contains("TooLong") || text.contains("a name has at most 32 bytes"), "{text}");
    }
}
