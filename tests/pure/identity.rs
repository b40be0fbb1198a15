//! Events name their client by id and not by name, since names are given up, taken again, and borrowed by publishers.

use chinwag::chat::{Chat, ClientId, Effect};
use chinwag::codec::encode;
use chinwag::config::Config;
use chinwag::protocol::{Body, Dialect, Event, MessageKind, Payload, Request, Sender, UniqueId};
use chinwag::text::{Name, RoomName};
use chinwag::time::{Moment, Now};

use crate::hall::arrival;
use crate::settle::{ALONE, publish, settled};
use crate::words::{name, room, text, typed};

const PROCESS: u64 = 1;
const ANN: ClientId = ClientId(0);
const BOB: ClientId = ClientId(1);

fn now() -> Now {
    Now { moment: Moment::default(), unix_millis: 1_700_000_000_000 }
}

fn effects(chat: &mut Chat, ask: impl FnOnce(&mut Chat, &mut Vec<Effect>)) -> Vec<Effect> {
    settled(chat, now(), ask)
}

/// The id of a local connection.
fn id(serial: u32) -> UniqueId {
    UniqueId { process: PROCESS, serial }
}

/// Returns the client that caused an event; `None` if it names no client.
fn by(event: &Event) -> Option<UniqueId> {
    match event {
        Event::YouJoined { by, .. } | Event::YouLeft { by, .. } | Event::PrivateSent { by, .. } => Some(*by),
        Event::Joined { by, .. } | Event::Left { by, .. } => Some(*by),
        Event::Renamed { by, .. } | Event::YouWereRenamed { by, .. } => Some(*by),
        Event::Private { by, .. } => Some(*by),
        Event::Message { message, .. } | Event::HistoryEntry { message, .. } => match message.sender {
            Sender::Client(id) => Some(id),
            Sender::Http | Sender::Unknown => None,
        },
        _ => None,
    }
}

/// Returns all client ids in the effects, in order.
fn all_by(effects: &[Effect]) -> Vec<UniqueId> {
    let event = |effect: &Effect| match effect {
        Effect::Reply(_, event) | Effect::Deliver(_, event) | Effect::Announce { event, .. } => by(event),
        _ => None,
    };
    effects.iter().filter_map(event).collect()
}

/// `ann` with connection 7 by the JSON listener, `bob` with 9 by the line listener, both in the lobby.
fn two(flags: &str) -> Chat {
    let mut chat = Chat::new(&Config::from_flags(flags), PROCESS);
    effects(&mut chat, |chat, all| {
        chat.enter(ANN, 7, arrival(Dialect::Json, "ann", "lobby"), (now(), &ALONE), all)
    });
    effects(&mut chat, |chat, all| {
        chat.connect(BOB, 9, (now(), &ALONE), all);
        chat.handle(BOB, Ok(Request::Nick(name("bob"))), (now(), &ALONE), all);
    });
    chat
}

fn asked(chat: &mut Chat, who: ClientId, request: Request) -> Vec<Effect> {
    effects(chat, |chat, all| chat.handle(who, Ok(request), (now(), &ALONE), all))
}

fn say(raw: &str) -> Request {
    let body = Body::Text(text(raw));
    Request::Say { room: Some(RoomName::lobby()), kind: MessageKind::Say, body, receipt: true }
}

fn tell(to: &str) -> Request {
    Request::Private { to: typed(to), text: text("psst"), receipt: true }
}

#[test]
fn every_event_of_a_client_has_its_id() {
    let mut chat = Chat::new(&Config::from_flags(""), PROCESS);
    let came = effects(&mut chat, |chat, all| {
        chat.enter(ANN, 7, arrival(Dialect::Json, "ann", "lobby"), (now(), &ALONE), all)
    });
    let welcome = Event::Welcome { id: id(7), name: name("ann") };
    assert!(came.contains(&Effect::Reply(ANN, welcome)), "{came:?}");
    assert_eq!(all_by(&came), [id(7); 2], "joined, and entered");
    effects(&mut chat, |chat, all| chat.connect(BOB, 9, (now(), &ALONE), all));
    assert_eq!(all_by(&asked(&mut chat, BOB, Request::Nick(name("bob")))), [id(9); 2]);

    let both = |request| (request, vec![id(7); 2]);
    let join = Request::Join { room: room("dev"), history: None, echo: false, since: None };
    for (request, expected) in [
        both(say("hi")),
        both(tell("bob")),
        both(Request::Nick(name("anna"))),
        both(join),
        // Nobody is left in the room.
        (Request::Leave(Some(room("dev"))), vec![id(7)]),
    ] {
        assert_eq!(all_by(&asked(&mut chat, ANN, request.clone())), expected, "{request:?}");
    }
    asked(
        &mut chat,
        BOB,
        Request::Say {
            room: None,
            kind: MessageKind::Emote,
            body: Body::Text(text("waves")),
            receipt: false,
        },
    );
    let history = asked(&mut chat, BOB, Request::History { room: None, count: Some(9), after: None });
    assert_eq!(all_by(&history), [id(7), id(9)]);
    assert_eq!(all_by(&effects(&mut chat, |chat, all| chat.leave(ANN, None, now(), all))), [id(7)]);
}

#[test]
fn client_in_the_same_slot_under_the_same_name_has_another_id() {
    let mut chat = two("");
    asked(&mut chat, ANN, say("before"));
    effects(&mut chat, |chat, all| chat.leave(ANN, None, now(), all));
    effects(&mut chat, |chat, all| {
        chat.enter(ANN, 12, arrival(Dialect::Json, "ann", "lobby"), (now(), &ALONE), all)
    });
    asked(&mut chat, ANN, say("after"));
    let history = asked(&mut chat, BOB, Request::History { room: None, count: Some(9), after: None });
    assert_eq!(all_by(&history), [id(7), id(12)]);
}

#[test]
fn published_message_is_marked_and_has_no_client_id() {
    let mut chat = two("");
    effects(&mut chat, |chat, all| chat.leave(ANN, None, now(), all));
    let body = || Body::Text(text("I resign"));
    let published = effects(&mut chat, |chat, all| {
        publish(chat, RoomName::lobby(), name("ann"), body(), now(), all).expect("ann is away");
    });
    let [Effect::Announce { event, .. }] = &published[..] else { panic!("{published:?}") };
    assert!(matches!(event, Event::Message { message, .. } if message.sender == Sender::Http));
    let shown = |dialect, event: &Event| {
        let mut bytes = Vec::new();
        encode(dialect, event, None, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    assert_eq!(shown(Dialect::Line, event), "ann (http): I resign\n");
    for dialect in [Dialect::Json, Dialect::Events] {
        let shown = shown(dialect, event);
        assert!(shown.contains(r#""via":"http"}"#) && !shown.contains(r#""by""#), "{shown}");
    }
    assert_eq!(shown(Dialect::Raw, event), "", "programs are sent what programs send");
    let history = chat.history_for_programs(RoomName::lobby(), None, None).expect("a room");
    assert!(shown(Dialect::Json, &history).contains(r#""via":"http"}]"#));
    let past = asked(&mut chat, BOB, Request::History { room: None, count: Some(9), after: None });
    let [Effect::Reply(_, past)] = &past[..] else { panic!("{past:?}") };
    assert_eq!(shown(Dialect::Line, past), "-- 0 s ago ann (http): I resign\n");
}

#[test]
fn text_of_a_program_has_the_id_of_that_client() {
    let mut chat = two("");
    let bot = ClientId(2);
    effects(&mut chat, |chat, all| {
        chat.enter(bot, 20, arrival(Dialect::Raw, "bot", "lobby"), (now(), &ALONE), all)
    });
    let sent = asked(&mut chat, bot, Request::Relay(Payload::Text("hi".into())));
    assert_eq!(all_by(&sent), [id(20)]);
}

#[test]
fn history_counts_the_sender_and_long_name_of_a_message() {
    let bytes_of = |from: &str| {
        let mut chat = two("");
        effects(&mut chat, |chat, all| {
            publish(chat, RoomName::lobby(), name(from), Body::Text(text("x")), now(), all)
                .expect("a free name");
        });
        chat.census().history_bytes
    };
    let (short, long) = (bytes_of("ci"), bytes_of(&"c".repeat(32)));
    assert!(short >= size_of::<chinwag::protocol::Message>() && long >= short + 32, "{short} {long}");
}

#[test]
fn history_in_one_piece_fits_with_any_ids_and_marks() {
    const MOST_BYTES: usize = 16 * 1024;
    let mut chat = Chat::new(
        &Config::from_flags("--write-buffer 32k --write-buffer-soft 16k:10s --message-max 1k --history 1000"),
        u64::MAX,
    );
    let long = |first: char| Name::parse(&format!("{first}{}", "\"".repeat(31))).expect("a name");
    effects(&mut chat, |chat, all| {
        let arrival =
            chinwag::protocol::Arrival { name: Some(long('a')), ..arrival(Dialect::Json, "", "lobby") };
        chat.enter(ANN, u32::MAX, arrival, (now(), &ALONE), all);
    });
    for n in 0..400 {
        let _ = asked(&mut chat, ANN, say("\""));
        let tell = |chat: &mut Chat, all: &mut Vec<Effect>| {
            publish(chat, RoomName::lobby(), long('b'), Body::Text(text("\"")), now(), all)
                .expect("a free name");
        };
        if n % 2 == 0 {
            effects(&mut chat, tell);
        }
    }
    let history = chat.history_for_programs(RoomName::lobby(), None, None).expect("a room");
    let mut bytes = Vec::new();
    encode(Dialect::Json, &history, None, &mut bytes);
    assert!((MOST_BYTES / 2..=MOST_BYTES).contains(&bytes.len()), "{}", bytes.len());
}
