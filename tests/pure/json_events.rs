//! Encoding of the JSON listener, and of server-sent events: every event, and its text. This is the protocol.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use chinwag::access::{Action, Ban, LoginToken, Role};
use chinwag::codec::{Tag, json, raw, sse};
use chinwag::protocol::{
    BanLength, Body, CloseReason, Epoch, Event, Message, MessageId, MessageKind, Payload, Position, Problem,
    Removal, Sender, UniqueId, Whois,
};
use chinwag::text::{Name, RoomNameError, Text};
use chinwag::web::problem_response;
use proptest::prelude::*;
use serde_json::Value;

use crate::encode::{access_problems, problems};
use crate::frames::{FIN, TEXT, parse};
use crate::random::{check, raw_text};
use crate::words::{harm, name, names, room, text};

/// Encodes an event with that `id`; empty, if this listener does not encode it.
fn encoded(event: &Event, id: Option<&str>) -> String {
    let tag = id.map(|id| Tag(id.into()));
    let (mut object, mut frame) = (Vec::new(), Vec::new());
    json::write(event, tag.as_ref(), &mut object);
    json::encode(event, tag.as_ref(), &mut frame);
    if !matches!(event, Event::Bye(_)) {
        let frames = if object.is_empty() { vec![] } else { vec![(FIN | TEXT, object.clone())] };
        assert_eq!(parse(&frame), frames);
    }
    String::from_utf8(object).expect("UTF-8")
}

fn message(kind: MessageKind, body: Body) -> Rc<Message> {
    message_of(Sender::Client(BOB), name("bob"), kind, body)
}

fn message_of(sender: Sender, from: Name, kind: MessageKind, body: Body) -> Rc<Message> {
    Rc::new(Message { from, sender, kind, body, seq: 7, id: None, at_unix_millis: 1_700_000_000_000 })
}

/// A message that no client has sent.
fn sent_by_none(sender: Sender, from: Name) -> Event {
    in_dev(message_of(sender, from, MessageKind::Say, Body::Text(text("done"))))
}

fn said(kind: MessageKind, raw: &str) -> Rc<Message> {
    message(kind, Body::Text(Text::clean_lines(raw).expect("a text")))
}

fn data(raw: &str) -> Rc<Message> {
    message(MessageKind::Say, Body::Data(raw.into()))
}

fn in_dev(message: Rc<Message>) -> Event {
    Event::Message { room: room("dev"), epoch: EPOCH, message }
}

/// The ids of two clients.
const ANN: UniqueId = UniqueId { process: 0xabc, serial: 7 };
const BOB: UniqueId = UniqueId { process: u64::MAX, serial: u32::MAX };

/// An arbitrary epoch.
const EPOCH: Epoch = Epoch { process: 0xc0ffee, room: 3 };

/// Answers in rooms, which carry the `id` of their request: `ID` stands for that.
fn answers_in_rooms() -> Vec<(Event, &'static str)> {
    let dev = || room("dev");
    let entered = |others: &[&str], more| {
        let (name, others) = (name("ann"), names(others));
        let (room, epoch) = (room("dev"), EPOCH);
        Event::YouJoined { by: ANN, name, first: false, room, others, more, epoch, seq: 9 }
    };
    vec![
        (
            entered(&[], 0),
            r#"{"type":"joined","room":"dev","name":"ann","count":1,"by":"0000000000000abc-7","epoch":"0000000000c0ffee-3","seq":9ID}"#,
        ),
        (
            entered(&["bob", "cy"], 3),
            r#"{"type":"joined","room":"dev","name":"ann","count":6,"by":"0000000000000abc-7","epoch":"0000000000c0ffee-3","seq":9ID}"#,
        ),
        (
            in_dev(Rc::new(Message {
                id: Some(MessageId { process: 0xabc, serial: 57 }),
                ..(*said(MessageKind::Say, "hi")).clone()
            })),
            r#"{"type":"message","room":"dev","from":"bob","text":"hi","seq":7,"at":1700000000000,"by":"ffffffffffffffff-4294967295","uid":"0000000000000abc-57"ID}"#,
        ),
        (
            Event::YouLeft { by: ANN, name: name("ann"), room: dev(), count: 2 },
            r#"{"type":"left","room":"dev","name":"ann","count":2,"by":"0000000000000abc-7"ID}"#,
        ),
        (
            in_dev(said(MessageKind::Say, "hi \"ann\"\nand \\ all")),
            r#"{"type":"message","room":"dev","from":"bob","text":"hi \"ann\"\nand \\ all","seq":7,"at":1700000000000,"by":"ffffffffffffffff-4294967295"ID}"#,
        ),
        (
            in_dev(said(MessageKind::Emote, "waves")),
            r#"{"type":"message","room":"dev","from":"bob","text":"waves","seq":7,"at":1700000000000,"me":true,"by":"ffffffffffffffff-4294967295"ID}"#,
        ),
        (
            in_dev(data(r#"{"b":1.50,"a":[null]}"#)),
            r#"{"type":"message","room":"dev","from":"bob","data":{"b":1.50,"a":[null]},"seq":7,"at":1700000000000,"by":"ffffffffffffffff-4294967295"ID}"#,
        ),
        (
            in_dev(data("null")),
            r#"{"type":"message","room":"dev","from":"bob","data":null,"seq":7,"at":1700000000000,"by":"ffffffffffffffff-4294967295"ID}"#,
        ),
        (
            Event::History {
                room: dev(),
                epoch: EPOCH,
                messages: vec![said(MessageKind::Emote, "waves"), data("1")],
            },
            concat!(
                r#"{"type":"history","room":"dev","epoch":"0000000000c0ffee-3","messages":[{"from":"bob","text":"waves","seq":7,"at":1700000000000,"me":true,"by":"ffffffffffffffff-4294967295"},"#,
                r#"{"from":"bob","data":1,"seq":7,"at":1700000000000,"by":"ffffffffffffffff-4294967295"}]ID}"#
            ),
        ),
        (
            Event::History { room: dev(), epoch: EPOCH, messages: vec![] },
            r#"{"type":"history","room":"dev","epoch":"0000000000c0ffee-3","messages":[]ID}"#,
        ),
    ]
}

/// Other answers.
fn other_answers() -> Vec<(Event, &'static str)> {
    let dev = || room("dev");
    let rooms = |more| Event::Rooms { rooms: vec![(room("lobby"), 12), (room("dev"), 1)], more };
    let problem = |problem| Event::Problem { problem, unnamed: false };
    vec![
        (
            Event::PrivateSent { by: ANN, from: name("ann"), to: name("bob"), text: text("psst") },
            r#"{"type":"private","from":"ann","text":"psst","by":"0000000000000abc-7","to":"bob"ID}"#,
        ),
        (
            Event::Who { room: dev(), names: names(&["ann", "bob"]), more: 3 },
            r#"{"type":"who","room":"dev","names":["ann","bob"],"count":5ID}"#,
        ),
        (
            rooms(0),
            r#"{"type":"rooms","rooms":[{"room":"lobby","count":12},{"room":"dev","count":1}],"count":2ID}"#,
        ),
        (
            rooms(3),
            r#"{"type":"rooms","rooms":[{"room":"lobby","count":12},{"room":"dev","count":1}],"count":5ID}"#,
        ),
        (
            Event::YouWereRenamed { by: ANN, from: name("ann"), to: name("eve") },
            r#"{"type":"nick","from":"ann","to":"eve","by":"0000000000000abc-7"ID}"#,
        ),
        (Event::Pong, r#"{"type":"pong"ID}"#),
        (
            problem(Problem::NotIn(dev())),
            r#"{"type":"error","code":"not_in_room","text":"you are not in #dev. join it first"ID}"#,
        ),
        (
            problem(Problem::BadRoomName(RoomNameError::Empty)),
            r#"{"type":"error","code":"bad_room","text":"a room name needs at least one character"ID}"#,
        ),
    ]
}

fn answers() -> Vec<(Event, &'static str)> {
    [answers_in_rooms(), other_answers(), access_answers()].concat()
}

/// Answers to requests of access, which carry the `id` of their request.
fn access_answers() -> Vec<(Event, &'static str)> {
    let ban = |target: &str, until| Ban {
        target: target.parse().expect("a target"),
        by: name("ann"),
        reason: Some(text("spam")),
        until_unix_millis: until,
    };
    let bans = vec![ban("192.0.2.0/24", None), ban("bob", Some(5_000))];
    let whois = |account: Option<&str>, address: Option<&str>| Whois {
        name: name("bob"),
        account: account.map(name),
        role: Role::Guest,
        away: account.map(text),
        connected: account.map(|_| Duration::from_millis(7_999)),
        idle: account.map(|_| Duration::from_secs(1)),
        address: address.map(String::from),
    };
    let token = LoginToken::parse("secret").expect("a token");
    let topic = |by: Option<&str>, topic: Option<&str>| Event::Topic {
        room: room("dev"),
        by: by.map(name),
        text: topic.map(text),
    };
    vec![
        (
            Event::LoggedIn { account: name("ann"), role: Role::Moderator },
            r#"{"type":"login","name":"ann","role":"moderator"ID}"#,
        ),
        (
            Event::Registered { account: name("bob"), token },
            r#"{"type":"registered","name":"bob","token":"secret"ID}"#,
        ),
        (topic(Some("ann"), Some("tea")), r#"{"type":"topic","room":"dev","text":"tea","from":"ann"ID}"#),
        (topic(None, None), r#"{"type":"topic","room":"dev","text":nullID}"#),
        (Event::Moderated(text("bob was removed")), r#"{"type":"done","text":"bob was removed"ID}"#),
        (Event::Ignoring(vec![text("bob")]), r#"{"type":"ignored","names":["bob"]ID}"#),
        (Event::YouAreAway(true), r#"{"type":"done","text":"you are away"ID}"#),
        (Event::YouAreAway(false), r#"{"type":"done","text":"you are back"ID}"#),
        (
            Event::Bans { bans, more: 1, now_unix_millis: 0 },
            concat!(
                r#"{"type":"bans","bans":[{"target":"192.0.2.0/24","by":"ann","reason":"spam"},"#,
                r#"{"target":"bob","by":"ann","reason":"spam","until":5000}],"count":3ID}"#
            ),
        ),
        (Event::Whois(Box::new(whois(None, None))), r#"{"type":"whois","name":"bob","role":"guest"ID}"#),
        (
            Event::Whois(Box::new(whois(Some("robert"), Some("192.0.2.1")))),
            r#"{"type":"whois","name":"bob","account":"robert","role":"guest","away":"robert","connected":7,"idle":1,"address":"192.0.2.1"ID}"#,
        ),
    ]
}

/// Events without an `id`.
fn without_id() -> Vec<(Event, &'static str)> {
    let (dan, dev) = (|| name("dan"), || room("dev"));
    let denied = Problem::NotAllowed { action: Action::Speak, room: Some(room("dev")) };
    let length = BanLength::For(Duration::from_secs(60));
    let removal = Removal { by: name("ann"), reason: None, ban: Some(length) };
    vec![
        (
            Event::Flagged { author: Some(name("bob")), text: text("heck") },
            r#"{"type":"flagged","from":"bob","text":"heck"}"#,
        ),
        (Event::Flagged { author: None, text: text("heck") }, r#"{"type":"flagged","text":"heck"}"#),
        (Event::Expiring(Duration::from_secs(30)), r#"{"type":"expiring","in":30}"#),
        (
            Event::MaySpeak { room: dev(), denied: Some(denied) },
            r#"{"type":"rights","room":"dev","speak":false,"code":"not_allowed","text":"you may read in #dev, but not speak"}"#,
        ),
        (Event::MaySpeak { room: dev(), denied: None }, r#"{"type":"rights","room":"dev","speak":true}"#),
        (Event::Removed(removal), r#"{"type":"notice","text":"ann has banned you for 60 s"}"#),
        (
            Event::Muted { by: name("ann"), length: Some(length) },
            r#"{"type":"notice","text":"ann has muted you for 60 s"}"#,
        ),
        (
            Event::Muted { by: name("ann"), length: None },
            r#"{"type":"notice","text":"ann lets you speak again"}"#,
        ),
        (
            Event::IsAway { name: dan(), text: text("lunch") },
            r#"{"type":"notice","text":"dan is away: lunch"}"#,
        ),
        (
            Event::Welcome { id: ANN, name: name("ann") },
            r#"{"type":"welcome","id":"0000000000000abc-7","name":"ann"}"#,
        ),
        (
            Event::Joined { by: BOB, name: dan(), room: dev(), count: 3 },
            r#"{"type":"joined","room":"dev","name":"dan","count":3,"by":"ffffffffffffffff-4294967295"}"#,
        ),
        (
            Event::Left { by: BOB, name: dan(), room: dev(), reason: None, count: 2 },
            r#"{"type":"left","room":"dev","name":"dan","count":2,"by":"ffffffffffffffff-4294967295"}"#,
        ),
        (
            Event::Left { by: BOB, name: dan(), room: dev(), reason: Some(text("too slow")), count: 2 },
            r#"{"type":"left","room":"dev","name":"dan","count":2,"by":"ffffffffffffffff-4294967295","reason":"too slow"}"#,
        ),
        (
            Event::Renamed { room: dev(), by: BOB, from: name("guest-1"), to: dan() },
            r#"{"type":"nick","from":"guest-1","to":"dan","room":"dev","by":"ffffffffffffffff-4294967295"}"#,
        ),
        (
            Event::Private { by: BOB, from: name("bob"), text: text("psst") },
            r#"{"type":"private","from":"bob","text":"psst","by":"ffffffffffffffff-4294967295"}"#,
        ),
        (
            sent_by_none(Sender::Http, name("bob")),
            r#"{"type":"message","room":"dev","from":"bob","text":"done","seq":7,"at":1700000000000,"via":"http"}"#,
        ),
        (
            sent_by_none(Sender::Http, Name::of_http()),
            r#"{"type":"message","room":"dev","from":"http","text":"done","seq":7,"at":1700000000000,"via":"http"}"#,
        ),
        (
            sent_by_none(Sender::Unknown, Name::of_redis()),
            r#"{"type":"message","room":"dev","from":"redis","text":"done","seq":7,"at":1700000000000}"#,
        ),
        (
            Event::Crowd { room: dev(), joined: 12, left: 3, count: 812 },
            r#"{"type":"count","room":"dev","joined":12,"left":3,"count":812}"#,
        ),
        (Event::Greeting(text("be kind")), r#"{"type":"notice","text":"be kind"}"#),
        (
            Event::Delayed,
            r#"{"type":"notice","text":"you send fast: your messages are slowed down, none is lost"}"#,
        ),
        (Event::Waiting(1), r#"{"type":"notice","text":"the server is full. you are next, please wait"}"#),
        (
            Event::Waiting(12),
            r#"{"type":"notice","text":"the server is full. you are number 12 in the queue, please wait"}"#,
        ),
        (Event::Missed { room: None, count: 3 }, r#"{"type":"missed","count":3}"#),
        (Event::Missed { room: Some(dev()), count: 3 }, r#"{"type":"missed","count":3,"room":"dev"}"#),
        (
            Event::Position { room: dev(), position: Position { epoch: EPOCH, seq: 7 } },
            r#"{"type":"position","room":"dev","epoch":"0000000000c0ffee-3","seq":7}"#,
        ),
        (Event::Lost { room: dev(), count: None }, r#"{"type":"missed","room":"dev"}"#),
        (Event::Lost { room: dev(), count: Some(3) }, r#"{"type":"missed","count":3,"room":"dev"}"#),
        (
            Event::Disconnected,
            r#"{"type":"notice","text":"the other servers are out of reach: until they are back you see only messages of this one"}"#,
        ),
        (Event::Connected, r#"{"type":"notice","text":"the other servers are within reach again"}"#),
        (Event::Bye(CloseReason::Shutdown), r#"{"type":"bye","reason":"the server is shutting down"}"#),
    ]
}

/// Events that only other listeners encode.
fn not_for_this_door() -> Vec<Event> {
    let past = Event::HistoryEntry { message: said(MessageKind::Say, "hi"), age: Duration::ZERO };
    let relayed = Event::Relayed(Payload::Text("hi".into()));
    let ask_token = Event::AskToken(name("ann"));
    vec![ask_token, Event::AskName, Event::Help, past, Event::HistoryEmpty, relayed]
}

/// Numbers all kinds of events. A new kind fails to compile here, and then fails
/// [`every_kind_of_event_is_in_the_tables`] until it has a row.
fn number(event: &Event) -> usize {
    match event {
        Event::Greeting(_) => 0,
        Event::AskName => 1,
        Event::YouJoined { .. } => 2,
        Event::Message { .. } => 3,
        Event::HistoryEntry { .. } => 4,
        Event::HistoryEmpty => 5,
        Event::Private { .. } => 6,
        Event::Joined { .. } => 7,
        Event::Left { .. } => 8,
        Event::Crowd { .. } => 9,
        Event::Renamed { .. } => 10,
        Event::YouWereRenamed { .. } => 11,
        Event::Who { .. } => 12,
        Event::Rooms { .. } => 13,
        Event::Help => 14,
        Event::Delayed => 15,
        Event::Missed { .. } => 16,
        Event::Waiting(_) => 17,
        Event::Problem { .. } => 18,
        Event::Bye(_) => 19,
        Event::Pong => 20,
        Event::Relayed(_) => 21,
        Event::Welcome { .. } => 22,
        Event::YouLeft { .. } => 23,
        Event::PrivateSent { .. } => 24,
        Event::History { .. } => 25,
        Event::Lost { .. } => 26,
        Event::Disconnected => 27,
        Event::Connected => 28,
        Event::Position { .. } => 29,
        Event::AskToken(_) => 30,
        Event::LoggedIn { .. } => 37,
        Event::Expiring(_) => 38,
        Event::Registered { .. } => 39,
        Event::MaySpeak { .. } => 40,
        Event::Topic { .. } => 41,
        Event::Removed(_) => 42,
        Event::Muted { .. } => 43,
        Event::Moderated(_) => 44,
        Event::Bans { .. } => 45,
        Event::Whois(_) => 46,
        Event::IsAway { .. } => 47,
        Event::YouAreAway(_) => 48,
        Event::Ignoring(_) => 49,
        Event::Flagged { .. } => 50,
    }
}

fn all_events() -> Vec<Event> {
    let encoded_here = [answers(), without_id()].concat().into_iter().map(|(event, _)| event);
    encoded_here.chain(not_for_this_door()).collect()
}

#[test]
fn every_kind_of_event_is_in_the_tables() {
    let numbers: BTreeSet<_> = all_events().iter().map(number).collect();
    assert_eq!(numbers, (0..=30).chain(37..=50).collect());
}

#[test]
fn event_is_an_object_and_an_answer_has_the_id() {
    for (event, expected) in answers() {
        assert_eq!(encoded(&event, None), expected.replace("ID}", "}"), "{event:?}");
        for id in ["7", "-1.50e+07", r#""a\u001b\"""#] {
            assert_eq!(
                encoded(&event, Some(id)),
                expected.replace("ID}", &format!(",\"id\":{id}}}")),
                "{event:?}"
            );
        }
    }
    for (event, expected) in without_id() {
        assert_eq!(encoded(&event, None), expected, "{event:?}");
    }
    for event in not_for_this_door() {
        assert_eq!(encoded(&event, Some("7")), "", "{event:?}");
    }
}

/// Problems of requests that line clients can't send.
fn problems_of_programs() -> Vec<Problem> {
    vec![
        Problem::NotIn(room("dev")),
        Problem::RoomRequired,
        Problem::TooManyJoined { max: 64 },
        Problem::BadRequest("x".into()),
        Problem::UnknownType(text("x")),
        Problem::StillWaiting,
    ]
}

/// The word of a problem, and the status of its response by HTTP. A new problem fails to compile here until it has a row.
fn code_and_status(problem: &Problem) -> (&'static str, u16) {
    match problem {
        Problem::LineTooLong { .. } => ("too_long", 400),
        Problem::NotUtf8 => ("not_utf8", 400),
        Problem::UnknownCommand(_) => ("unknown_command", 400),
        Problem::Usage(_) => ("usage", 400),
        Problem::BadName(_) => ("bad_name", 400),
        Problem::NameTaken(_) | Problem::NameConfusable { .. } => ("name_taken", 409),
        Problem::NameLost { .. } | Problem::NameTakenOver { .. } => ("name_taken", 400),
        Problem::NoSuchClient(_) => ("nobody", 404),
        Problem::BadRoomName(_) => ("bad_room", 400),
        Problem::NoSuchRoom(_) => ("no_such_room", 404),
        Problem::TooManyRooms => ("too_many_rooms", 503),
        Problem::AlreadyIn(_) => ("already_in", 400),
        Problem::NotIn(_) => ("not_in_room", 400),
        Problem::RoomRequired => ("which_room", 400),
        Problem::TooManyJoined { .. } => ("too_many_joined", 400),
        Problem::BadRequest(_) => ("bad_request", 400),
        Problem::UnknownType(_) => ("unknown_type", 400),
        Problem::StillWaiting => ("waiting", 400),
        Problem::NameRequired => ("name_first", 400),
        Problem::NameRegistered(_) => ("name_registered", 409),
        Problem::NameClaimed { .. } => ("name_registered", 400),
        Problem::LoginRequired => ("login_required", 401),
        Problem::NotAllowed { .. } => ("not_allowed", 403),
        Problem::LoginFailed => ("login_failed", 401),
        Problem::TooManyLogins => ("too_many_logins", 429),
        Problem::RegistrationOff => ("registration_off", 400),
        Problem::CantRegister => ("cant_register", 400),
        Problem::Muted(_) => ("muted", 403),
        Problem::Banned(_) => ("banned", 403),
        Problem::RoleTooHigh { .. } => ("role_too_high", 403),
        Problem::Unreachable(_) => ("unreachable", 504),
        Problem::NotKept => ("not_kept", 503),
        Problem::NotConfirmed => ("not_confirmed", 504),
        Problem::NotBanned(_) => ("not_banned", 404),
        Problem::NotMuted(_) => ("not_muted", 404),
        Problem::NotRegistered(_) => ("not_registered", 404),
        Problem::Filtered => ("filtered", 422),
        Problem::TooManyIgnored { .. } => ("too_many_ignored", 400),
        Problem::NobodyToAnswer => ("nobody", 400),
        Problem::NotSaved(_) => ("not_saved", 507),
        Problem::CantModerate(_) => ("cant_moderate", 503),
    }
}

#[test]
fn every_problem_has_a_code_and_a_status() {
    let of_lines = [problems(), access_problems()].concat().into_iter().map(|(problem, _)| problem);
    for problem in of_lines.chain(problems_of_programs()) {
        let (code, status) = code_and_status(&problem);
        let why = serde_json::to_string(&problem.to_string()).expect("a text");
        let response = problem_response(&problem);
        assert_eq!(response.status.as_u16(), status, "{problem:?}");
        let error = String::from_utf8_lossy(&response.body).into_owned();
        assert_eq!(error, format!("{{\"error\":{{\"code\":\"{code}\",\"text\":{why}}}}}\n"));
        let object = encoded(&Event::Problem { problem, unnamed: true }, None);
        assert_eq!(object, format!(r#"{{"type":"error","code":"{code}","text":{why}}}"#));
    }
}

#[test]
fn raw_client_is_sent_payloads_of_programs_and_the_close() {
    let encoded = |event: &Event| {
        let mut out = Vec::new();
        raw::encode(event, &mut out);
        parse(&out)
    };
    for event in all_events() {
        let expected = match &event {
            Event::Relayed(_) => vec![(FIN | TEXT, b"hi".to_vec())],
            Event::Bye(_) => vec![(0x88, b"\x03\xe9the server is shutting down".to_vec())],
            _ => vec![],
        };
        assert_eq!(encoded(&event), expected, "{event:?}");
    }
    let odd = b"\0\xff\r\n\x1b";
    assert_eq!(encoded(&Event::Relayed(Payload::Binary(odd[..].into()))), [(FIN | 2, odd.to_vec())]);
    assert_eq!(
        encoded(&Event::Relayed(Payload::Text("\u{202e}\0".into()))),
        [(FIN | 1, "\u{202e}\0".into())]
    );
}

fn sse_encoded(event: &Event) -> String {
    let mut out = b"before".to_vec();
    sse::encode(event, &mut out);
    String::from_utf8(out).expect("UTF-8").strip_prefix("before").expect("what was there stays").into()
}

#[test]
fn sse_client_is_sent_messages_gaps_and_the_end() {
    for event in all_events() {
        let object = encoded(&event, None);
        let expected = match &event {
            Event::Message { .. } => format!("id: 0000000000c0ffee-3-7\ndata: {object}\n\n"),
            Event::Position { .. } => "id: 0000000000c0ffee-3-7\n\n".into(),
            Event::Missed { .. } | Event::Lost { .. } => format!("event: missed\ndata: {object}\n\n"),
            Event::Bye(_) => format!("event: bye\ndata: {object}\n\n"),
            _ => String::new(),
        };
        assert_eq!(sse_encoded(&event), expected, "{event:?}");
    }
    assert_eq!(sse_encoded(&Event::Bye(CloseReason::ConnectionLost)), "", "nobody is there");
    assert!(sse::KEEP_ALIVE.starts_with(b":") && sse::KEEP_ALIVE.ends_with(b"\n\n"));
}

#[test]
fn message_without_a_number_is_no_position_of_a_sse_client() {
    let numbered = all_events().into_iter().find(|event| matches!(event, Event::Message { .. }));
    let Some(Event::Message { room, epoch, message }) = numbered else {
        panic!("a message is an event");
    };
    let message = Rc::new(Message { seq: 0, ..(*message).clone() });
    let event = Event::Message { room, epoch, message };
    assert_eq!(sse_encoded(&event), format!("data: {}\n\n", encoded(&event, None)));
}

/// Any message: a text, or a JSON string as the decoder returns it.
fn any_message() -> impl Strategy<Value = Rc<Message>> {
    let words = raw_text().prop_map(|raw| Text::clean_lines(&raw).map_or(Body::Data("1".into()), Body::Text));
    let quoted = raw_text().prop_map(|raw| serde_json::to_string(&raw).expect("a string"));
    let data =
        quoted.prop_map(|raw| json::body(&format!("[ {raw} ,\r\n{{ {raw} : {raw} }} ]")).expect("JSON"));
    let from = raw_text().prop_map(|raw| Name::parse(&raw).unwrap_or_else(|_| name("guest-7")));
    (from, prop_oneof![words, data], any::<u64>()).prop_map(|(from, body, seq)| {
        let sender = Sender::Client(BOB);
        Rc::new(Message { from, sender, kind: MessageKind::Say, body, seq, id: None, at_unix_millis: seq })
    })
}

#[test]
fn any_message_is_one_object_and_one_event() {
    check(3_000, &any_message(), |message| {
        let event = in_dev(message.clone());
        let object = encoded(&event, None);
        let parsed: Value = serde_json::from_str(&object).expect("JSON");
        assert!(!object.contains(['\n', '\r']) && object.chars().all(|c| c >= ' '));
        assert_eq!(parsed["from"], message.from.as_str());
        match &message.body {
            Body::Text(text) => assert_eq!(parsed["text"], text.as_str()),
            Body::Data(json) => {
                assert_eq!(parsed["data"], serde_json::from_str::<Value>(json).expect("JSON"))
            }
        }
        assert_eq!(
            sse_encoded(&event),
            format!("id: 0000000000c0ffee-3-{}\ndata: {object}\n\n", message.seq)
        );
    });
}

#[test]
fn any_message_is_harmless_to_the_terminal_of_a_line_client() {
    check(3_000, &any_message(), |message| {
        let mut line = Vec::new();
        chinwag::codec::line::encode(&in_dev(message), &mut line);
        let line = String::from_utf8(line).expect("UTF-8");
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{line:?} is one line");
        assert_eq!(harm(line.trim_end_matches('\n')), None, "{line:?}");
    });
}
