//! The chat with clients of all listeners, as conversations: several rooms, echoes, receipts, programs, listeners.

use chinwag::chat::ClientId;
use chinwag::protocol::{
    Arrival, Body, Dialect, Epoch, MessageKind, Payload, Position, PositionError, Problem, Request,
};
use chinwag::text::Name;

use crate::hall::{Hall, PROCESS, arrival};
use crate::words::{name, room, text, typed};

const ANN: u32 = 0;
const BOB: u32 = 1;
const CY: u32 = 2;
const DAN: u32 = 3;

fn join(to: &str) -> Request {
    Request::Join { room: room(to), history: None, echo: false, since: None }
}

fn leave(from: &str) -> Request {
    Request::Leave(Some(room(from)))
}

fn says(to: &str, raw: &str, receipt: bool) -> Request {
    let body = Body::Text(text(raw));
    Request::Say { room: Some(room(to)), kind: MessageKind::Say, body, receipt }
}

fn say(to: &str, raw: &str) -> Request {
    says(to, raw, false)
}

fn nick(raw: &str) -> Request {
    Request::Nick(name(raw))
}

fn tell(to: &str, receipt: bool) -> Request {
    Request::Private { to: typed(to), text: text("psst"), receipt }
}

fn relay(raw: &str) -> Request {
    Request::Relay(Payload::Text(raw.into()))
}

fn json(who: &str, to: &str) -> Arrival {
    arrival(Dialect::Json, who, to)
}

fn raw(who: &str, to: &str) -> Arrival {
    arrival(Dialect::Raw, who, to)
}

fn sse_client(to: &str) -> Arrival {
    arrival(Dialect::Events, "", to)
}

/// The position at which a listener resumes.
type Resume = Result<Position, PositionError>;

fn sse_client_again(to: &str, resume: Resume) -> Arrival {
    Arrival { last_position: Some(resume), ..sse_client(to) }
}

/// A position in the lobby, the first room of its process.
fn in_lobby(seq: u64) -> Resume {
    Ok(Position { epoch: Epoch { process: PROCESS, room: 0 }, seq })
}

/// Positions outside the lobby.
fn elsewhere(seq: u64) -> [Resume; 3] {
    let other_process = Epoch { process: PROCESS + 1, room: 0 };
    let other_room = Epoch { process: PROCESS, room: 1 };
    [Ok(Position { epoch: other_process, seq }), Ok(Position { epoch: other_room, seq }), Err(PositionError)]
}

#[test]
fn new_client_is_welcomed_and_enters_the_room_of_its_query() {
    let mut hall = Hall::new("");
    assert_eq!(hall.enters(ANN, json("ann", "lobby")), ["ann< welcome ann", "ann< entered lobby 1 seq 0"]);
    assert_eq!(
        hall.enters(BOB, json("bob", "lobby")),
        ["bob< welcome bob", "ann< joined lobby bob 2", "bob< entered lobby 2 seq 0"]
    );
    assert_eq!(hall.enters(CY, json("cy", "")), ["cy< welcome cy"], "nowhere");
    assert_eq!(hall.asks(CY, say("lobby", "hi")), ["cy< problem not_in_room"]);
    assert_eq!(hall.asks(CY, leave("lobby")), ["cy< problem not_in_room"]);
    assert_eq!(hall.comes(DAN, "dan").last().unwrap(), "dan< entered lobby 3 seq 0");
    assert_eq!(hall.leaves(CY), [""; 0]);
}

#[test]
fn client_that_asks_for_a_taken_name_becomes_a_guest() {
    let mut hall = Hall::with("", &["ann"]);
    assert_eq!(
        hall.enters(BOB, json("Ann", "lobby")),
        [
            "bob< problem name_taken",
            "bob< welcome guest-1",
            "ann< joined lobby guest-1 2",
            "bob< entered lobby 2 seq 0"
        ]
    );
    let bad = Arrival { problems: vec![Problem::NotUtf8], ..json("ANN", "") };
    assert_eq!(
        hall.enters(CY, bad),
        ["cy< problem not_utf8", "cy< problem name_taken", "cy< welcome guest-2"]
    );
    assert_eq!(hall.enters(DAN, json("", "")), ["dan< welcome guest-3"], "nor one who asks for none");
    assert_eq!(hall.chat.census().names, 4);
}

#[test]
fn client_may_be_in_several_rooms() {
    let mut hall = Hall::with("", &["ann", "bob", "cy"]);
    assert_eq!(hall.asks(ANN, join("dev")), ["ann< entered dev 1 seq 0"], "and still in the lobby");
    assert_eq!(hall.asks(BOB, join("dev")), ["ann< joined dev bob 2", "bob< entered dev 2 seq 0"]);
    assert_eq!(hall.asks(ANN, say("lobby", "hi")), ["bob< said lobby 1 ann hi", "cy< said lobby 1 ann hi"]);
    assert_eq!(hall.asks(ANN, say("dev", "hi")), ["bob< said dev 1 ann hi"]);
    assert_eq!(hall.asks(CY, say("dev", "hi")), ["cy< problem not_in_room"]);
    assert_eq!(hall.asks(CY, say("nosuch", "hi")), ["cy< problem not_in_room"]);
    assert_eq!(hall.asks(ANN, join("dev")), ["ann< problem already_in"]);
    assert_eq!(hall.asks(ANN, Request::Who(None)), ["ann< problem which_room"]);
    assert_eq!(hall.asks(ANN, relay("hi")), ["ann< problem which_room"]);
    assert_eq!(hall.asks(CY, Request::Who(Some(room("dev")))), ["cy< who dev ann bob +0"]);
    assert_eq!(hall.asks(CY, Request::Rooms), ["cy< rooms lobby 3 dev 2 +0"]);
    assert_eq!(hall.asks(CY, Request::Who(Some(room("nosuch")))), ["cy< problem no_such_room"]);
}

#[test]
fn client_that_leaves_a_room_stays_in_the_others() {
    let mut hall = Hall::with("--history 0", &["ann", "bob", "cy"]);
    [ANN, BOB, CY].into_iter().for_each(|who| drop(hall.asks(who, join("dev"))));
    assert_eq!(
        hall.asks(ANN, leave("dev")),
        ["cy< left dev ann 2", "bob< left dev ann 2", "ann< gone dev ann 2"],
        "who was last has ann's place"
    );
    assert_eq!(hall.asks(ANN, leave("dev")), ["ann< problem not_in_room"]);
    assert_eq!(hall.asks(CY, say("dev", "hi")), ["bob< said dev 1 cy hi"]);
    assert_eq!(hall.asks(CY, leave("dev")), ["bob< left dev cy 1", "cy< gone dev cy 1"]);
    assert_eq!(hall.asks(BOB, leave("dev")), ["bob< gone dev bob 0"]);
    assert_eq!(hall.asks(BOB, leave("dev")), ["bob< problem not_in_room"], "it is closed");
    assert_eq!(hall.asks(ANN, leave("lobby")).len(), 3);
    assert_eq!(hall.asks(BOB, Request::Rooms), ["bob< rooms lobby 2 +0"]);
    assert_eq!(hall.asks(ANN, join("lobby")).last().unwrap(), "ann< entered lobby 3 seq 0");
}

#[test]
fn client_whose_connection_ends_leaves_every_room() {
    let mut hall = Hall::with("--history 0", &["ann", "bob", "cy"]);
    hall.asks(ANN, join("dev"));
    hall.asks(BOB, join("dev"));
    hall.asks(ANN, join("alone"));
    assert_eq!(
        hall.leaves(ANN),
        ["cy< left lobby ann 2", "bob< left lobby ann 2", "bob< left dev ann 1"],
        "the last one of the lobby has ann's place"
    );
    hall.leaves(BOB);
    hall.leaves(CY);
    assert_eq!(hall.chat.census(), Default::default());
}

#[test]
fn max_rooms_per_client_bounds_the_rooms_of_a_client() {
    let mut hall = Hall::with("--max-rooms-per-client 2", &["ann"]);
    hall.asks(ANN, join("dev"));
    assert_eq!(hall.asks(ANN, join("ops")), ["ann< problem too_many_joined"]);
    assert_eq!(hall.asks(ANN, Request::Rooms), ["ann< rooms dev 1 lobby 1 +0"], "none is made");
    hall.asks(ANN, leave("dev"));
    assert_eq!(hall.asks(ANN, join("ops")), ["ann< entered ops 1 seq 0"]);
}

#[test]
fn client_with_an_echo_receives_its_own_messages_in_that_room() {
    let mut hall = Hall::with("", &["ann"]);
    hall.enters(BOB, Arrival { echo: true, ..json("bob", "lobby") });
    hall.asks(BOB, join("dev"));
    assert_eq!(hall.asks(BOB, say("lobby", "hi")), ["ann< said lobby 1 bob hi", "bob< said lobby 1 bob hi"]);
    assert_eq!(hall.asks(BOB, says("lobby", "hi", true)).len(), 2, "not twice");
    assert_eq!(hall.asks(BOB, say("dev", "hi")), [""; 0]);
    hall.asks(BOB, leave("lobby"));
    hall.asks(BOB, join("lobby"));
    assert_eq!(hall.asks(BOB, say("lobby", "hi")), ["ann< said lobby 3 bob hi"], "asked for anew each time");
}

#[test]
fn client_that_asks_for_a_receipt_gets_the_message() {
    let mut hall = Hall::with("", &["ann", "bob"]);
    assert_eq!(
        hall.asks(ANN, says("lobby", "hi", true)),
        ["bob< said lobby 1 ann hi", "ann< said lobby 1 ann hi"]
    );
    let data = Body::Data("[1]".into());
    let request =
        Request::Say { room: Some(room("lobby")), kind: MessageKind::Say, body: data, receipt: true };
    assert_eq!(hall.asks(ANN, request), ["bob< said lobby 2 ann [1]", "ann< said lobby 2 ann [1]"]);
    assert_eq!(hall.asks(ANN, tell("bob", true)), ["bob< private ann psst", "ann< told ann bob psst"]);
    assert_eq!(hall.asks(ANN, tell("BOB", true)), ["bob< private ann psst", "ann< told ann bob psst"]);
    assert_eq!(hall.asks(ANN, tell("bob", false)), ["bob< private ann psst"]);
    assert_eq!(hall.asks(ANN, tell("ann", true)), ["ann< private ann psst", "ann< told ann ann psst"]);
    assert_eq!(hall.asks(ANN, tell("nobody", true)), ["ann< problem nobody"]);
}

#[test]
fn rename_is_announced_in_every_room_of_the_client() {
    let mut hall = Hall::with("", &["ann", "bob", "cy"]);
    hall.asks(ANN, join("dev"));
    hall.asks(BOB, join("dev"));
    assert_eq!(
        hall.asks(ANN, nick("eve")),
        [
            "ann< you ann eve",
            "bob< renamed lobby ann eve",
            "cy< renamed lobby ann eve",
            "bob< renamed dev ann eve"
        ]
    );
    assert_eq!(hall.asks(CY, nick("EVE")), ["cy< problem name_taken"]);
    assert_eq!(hall.asks(CY, nick("ann")).len(), 3, "it is free");
    assert_eq!(hall.asks(ANN, nick("eve")), ["ann< you eve eve"]);
    assert_eq!(hall.asks(BOB, Request::Who(Some(room("dev")))), ["bob< who dev eve bob +0"]);
    hall.enters(DAN, json("dan", ""));
    assert_eq!(hall.asks(DAN, nick("dora")), ["dan< you dan dora"], "the client is in no room");
}

#[test]
fn history_is_sent_in_one_piece() {
    let mut hall = Hall::with("--history-shown 2", &["ann"]);
    ["a", "b", "c"].into_iter().for_each(|raw| drop(hall.asks(ANN, say("lobby", raw))));
    let shown = |hall: &mut Hall, history| {
        let sent = hall.enters(BOB, Arrival { history, ..json("bob", "lobby") });
        hall.leaves(BOB);
        sent.into_iter().skip(2).collect::<Vec<_>>()
    };
    let entered = "bob< entered lobby 2 seq 3".to_string();
    let some = |raw: &str| vec![entered.clone(), format!("bob< history lobby {raw}")];
    assert_eq!(shown(&mut hall, None), some("[2 ann b] [3 ann c]"));
    assert_eq!(shown(&mut hall, Some(1)), some("[3 ann c]"));
    assert_eq!(shown(&mut hall, Some(9)), some("[1 ann a] [2 ann b] [3 ann c]"));
    assert_eq!(shown(&mut hall, Some(0)), vec![entered.clone()]);
    let history = |count| Request::History { room: Some(room("lobby")), count, after: None };
    assert_eq!(hall.asks(ANN, history(None)), ["ann< history lobby [2 ann b] [3 ann c]"]);
    assert_eq!(hall.asks(ANN, history(Some(1))), ["ann< history lobby [3 ann c]"]);
    hall.asks(ANN, join("dev"));
    let empty = Request::History { room: Some(room("dev")), count: None, after: None };
    assert_eq!(hall.asks(ANN, empty), ["ann< history dev"]);
}

#[test]
fn programs_receive_each_others_bytes_and_people_their_texts() {
    let mut hall = Hall::with("", &["ann"]);
    assert_eq!(hall.enters(BOB, raw("bob", "lobby")), ["ann< joined lobby bob 2"]);
    hall.enters(CY, Arrival { echo: true, ..raw("cy", "lobby") });
    hall.comes(DAN, "dan");
    assert_eq!(
        hall.asks(BOB, relay("\x1bhi\r\n")),
        ["cy< relayed \"\\u{1b}hi\\r\\n\"", "dan< said lobby 1 bob hi", "ann< said lobby 1 bob hi"]
    );
    assert_eq!(hall.asks(BOB, relay(" \n")), ["cy< relayed \" \\n\""], "nothing to read");
    let bytes = Request::Relay(Payload::Binary(b"\0\xff"[..].into()));
    assert_eq!(hall.asks(BOB, bytes), ["cy< relayed bytes \\x00\\xff"]);
    assert_eq!(hall.asks(CY, relay("x"))[..2], ["bob< relayed \"x\"", "cy< relayed \"x\""], "an echo");
    assert_eq!(
        hall.asks(ANN, say("lobby", "hi")),
        ["dan< said lobby 3 ann hi"],
        "people say nothing to programs"
    );
    assert_eq!(hall.asks(ANN, Request::Who(Some(room("lobby")))), ["ann< who lobby dan ann bob cy +0"]);
}

#[test]
fn program_may_publish_without_joining() {
    let mut hall = Hall::with("", &["ann"]);
    hall.comes(BOB, "bob");
    let (seq, sent) = hall.publishes("lobby", Name::of_http(), "hi");
    assert_eq!(seq, Ok(1));
    assert_eq!(sent, ["bob< said lobby 1 http hi", "ann< said lobby 1 http hi"]);
    assert_eq!(hall.publishes("lobby", name("bot"), "hi").0, Ok(2));
    for taken in ["ann", "ANN", "bob"] {
        let refused = (Err(Problem::NameTaken(name(taken))), vec![]);
        assert_eq!(hall.publishes("lobby", name(taken), "hi"), refused, "not in another's name");
    }
    assert_eq!(
        hall.publishes("dev", name("bot"), "hi"),
        (Ok(1), vec![]),
        "without members, but kept in the history"
    );
    assert_eq!(hall.asks(ANN, Request::Rooms), ["ann< rooms lobby 2 +0"]);
    assert_eq!(hall.asks(ANN, join("dev")), ["ann< entered dev 1 seq 1", "ann< history dev [1 bot hi]"]);
}

#[test]
fn room_without_members_stays_open_only_for_its_history() {
    let mut hall = Hall::new("--history 0");
    assert_eq!(hall.publishes("dev", name("bot"), "hi"), (Ok(1), vec![]));
    assert_eq!(hall.chat.census(), Default::default());
    let mut hall = Hall::new("--max-rooms 2");
    assert_eq!(hall.publishes("dev", name("bot"), "hi"), (Ok(1), vec![]));
    assert_eq!(hall.publishes("ops", name("bot"), "hi"), (Ok(1), vec![]));
    assert!(hall.chat.history_for_programs(room("dev"), None, None).is_err(), "it made way");
    assert!(hall.chat.history_for_programs(room("ops"), None, None).is_ok());
    hall.enters(ANN, json("ann", "ops"));
    assert_eq!(hall.publishes("dev", name("bot"), "hi").0, Err(Problem::TooManyRooms));
    assert!(!hall.chat.can_open(&room("dev")) && hall.chat.can_open(&room("ops")));
}

#[test]
fn sse_client_is_sent_missed_messages_and_then_live_ones() {
    let mut hall = Hall::with("--history 3", &["ann"]);
    ["a", "b", "c", "d"].into_iter().for_each(|raw| drop(hall.asks(ANN, say("lobby", raw))));
    let remembered = ["bob< said lobby 2 ann b", "bob< said lobby 3 ann c", "bob< said lobby 4 ann d"];
    let rows = [
        (in_lobby(4), &[][..], &[][..]),
        (in_lobby(3), &[], &remembered[2..]),
        (in_lobby(2), &[], &remembered[1..]),
        (in_lobby(1), &[], &remembered),
        (in_lobby(0), &["bob< lost lobby 1"], &remembered),
        // A number that was never given; it must be forged.
        (in_lobby(5), &["bob< lost lobby"], &remembered),
    ];
    let rows =
        rows.into_iter().chain(elsewhere(4).map(|heard| (heard, &["bob< lost lobby"][..], &remembered[..])));
    let now = ["bob< at 0000000000000001-0-4"];
    for (heard, gap, said) in rows {
        assert_eq!(
            hall.enters(BOB, sse_client_again("lobby", heard)),
            [gap, said, &now].concat(),
            "resume at {heard:?}"
        );
        assert_eq!(hall.leaves(BOB), [""; 0], "no other client is told");
    }
    assert_eq!(hall.enters(BOB, sse_client("lobby")), now, "who never was here has missed nothing");
    assert_eq!(hall.asks(ANN, say("lobby", "e")), ["bob< said lobby 5 ann e"]);
    assert_eq!(hall.publishes("lobby", name("bot"), "f").1.len(), 2);
    assert_eq!(hall.asks(ANN, Request::Who(Some(room("lobby")))), ["ann< who lobby ann +0"], "no member");
    assert_eq!(hall.asks(ANN, Request::Rooms), ["ann< rooms lobby 1 +0"]);
}

#[test]
fn sse_client_is_told_the_count_of_messages_that_are_not_kept() {
    let mut hall = Hall::with("--history 0", &["ann"]);
    ["a", "b", "c"].into_iter().for_each(|raw| drop(hall.asks(ANN, say("lobby", raw))));
    let now = "bob< at 0000000000000001-0-3";
    assert_eq!(hall.enters(BOB, sse_client_again("lobby", in_lobby(1))), ["bob< lost lobby 2", now]);
    hall.leaves(BOB);
    assert_eq!(hall.enters(BOB, sse_client_again("lobby", in_lobby(3))), [now], "the gap is not sent again");
}

#[test]
fn room_that_is_opened_again_has_another_epoch() {
    let mut hall = Hall::new("--history 0");
    let heard = |room| Ok(Position { epoch: Epoch { process: PROCESS, room }, seq: 0 });
    for (serial, gap) in [(1, &["ann< lost dev"][..]), (2, &["ann< lost dev"]), (3, &["ann< lost dev"])] {
        let now = format!("ann< at 0000000000000001-{serial}-0");
        assert_eq!(
            hall.enters(ANN, sse_client_again("dev", heard(serial - 1))),
            [gap, &[&now]].concat(),
            "a number of the room before"
        );
        assert_eq!(hall.publishes("dev", name("bot"), "hi").0, Ok(1));
        hall.leaves(ANN);
    }
}

#[test]
fn sse_client_without_a_valid_position_is_sent_the_whole_history_in_batches() {
    let mut hall = Hall::with("--write-buffer 16k --write-buffer-soft off", &["ann"]);
    let long = "x".repeat(1_800);
    (0..9).for_each(|_| drop(hall.asks(ANN, say("lobby", &long))));
    let [other_process, other_room, unreadable] = elsewhere(4);
    for heard in [other_process, other_room, unreadable, in_lobby(0)] {
        let mut sent = hall.enters(BOB, sse_client_again("lobby", heard));
        let gaps = usize::from(heard != in_lobby(0));
        assert_eq!(sent.iter().filter(|sent| *sent == "bob< lost lobby").count(), gaps);
        sent.drain(..gaps);
        // Each counts for twice its length, and a piece is an eighth of the buffer.
        assert_eq!(sent.len(), 1, "{sent:?}");
        while hall.chat.is_catching_up(ClientId(BOB)) {
            sent.extend(hall.goes_on(BOB));
        }
        assert_eq!(sent.pop().as_deref(), Some("bob< at 0000000000000001-0-9"));
        let said =
            |(index, sent): (usize, &String)| sent.starts_with(&format!("bob< said lobby {} ", index + 1));
        assert!(sent.len() == 9 && sent.iter().enumerate().all(said), "{sent:?}");
        hall.leaves(BOB);
    }
}

#[test]
fn sse_client_keeps_a_room_open_and_nothing_else() {
    let mut hall = Hall::new("--history 0 --max-rooms 3");
    hall.enters(ANN, sse_client("dev"));
    hall.enters(BOB, sse_client("dev"));
    hall.enters(CY, json("cy", "ops"));
    assert_eq!(hall.enters(DAN, sse_client("qa")), [""; 0], "there are as many rooms as there may be");
    let census = hall.chat.census();
    assert_eq!((census.clients, census.names, census.rooms, census.subscribers), (4, 1, 2, 3));
    assert_eq!(
        hall.publishes("dev", name("bot"), "hi").1,
        ["ann< said dev 1 bot hi", "bob< said dev 1 bot hi"]
    );
    hall.leaves(ANN);
    assert_eq!(hall.publishes("dev", name("bot"), "hi").1, ["bob< said dev 2 bot hi"]);
    hall.leaves(BOB);
    hall.leaves(CY);
    hall.leaves(DAN);
    assert_eq!(hall.chat.census(), Default::default());
}

#[test]
fn crowd_sends_joins_and_leaves_only_to_the_client_itself() {
    let mut hall = Hall::with("--announce-max 2", &["ann", "bob"]);
    let sent = hall.enters(CY, json("cy", "lobby"));
    assert_eq!(sent, ["cy< welcome cy", "cy< entered lobby 3 seq 0"]);
    assert_eq!(hall.asks(CY, nick("eve")), ["cy< you cy eve"]);
    assert_eq!(hall.asks(CY, leave("lobby")), ["cy< gone lobby eve 2"]);
    assert_eq!(hall.asks(BOB, leave("lobby")), ["ann< left lobby bob 1", "bob< gone lobby bob 1"]);
    let listeners = [sse_client("lobby"), sse_client("lobby")];
    (DAN..).zip(listeners).for_each(|(slot, listener)| drop(hall.enters(slot, listener)));
    let sent = hall.asks(BOB, join("lobby"));
    assert_eq!(sent, ["ann< joined lobby bob 2", "bob< entered lobby 2 seq 0"], "listeners don't count");
}

#[test]
fn client_that_leaves_another_room_goes_on_to_catch_up() {
    let mut hall = Hall::with("--write-buffer 16k --write-buffer-soft off", &["ann"]);
    let long = "x".repeat(1_800);
    (0..9).for_each(|_| drop(hall.asks(ANN, say("lobby", &long))));
    for (left, is_same) in [("dev", false), ("lobby", true)] {
        hall.enters(BOB, json("bob", "dev"));
        let since = in_lobby(0).ok();
        let to_lobby = Request::Join { room: room("lobby"), history: None, echo: false, since };
        let mut sent = hall.asks(BOB, to_lobby);
        assert!(hall.chat.is_catching_up(ClientId(BOB)));
        sent.extend(hall.goes_on(BOB));
        sent.extend(hall.asks(BOB, leave(left)));
        assert_eq!(hall.chat.is_catching_up(ClientId(BOB)), !is_same);
        while hall.chat.is_catching_up(ClientId(BOB)) {
            sent.extend(hall.goes_on(BOB));
        }
        let said = sent.iter().filter(|sent| sent.starts_with("bob< said lobby ")).count();
        assert_eq!(said == 9, !is_same, "{sent:?}");
        hall.leaves(BOB);
    }
}

fn ignore(who: &str) -> Request {
    Request::Ignore(Some(typed(who)))
}

#[test]
fn messages_of_ignored_clients_are_left_out_wherever_a_client_gets_old_ones() {
    let mut hall = Hall::with("", &["ann", "bob", "cy"]);
    hall.asks(BOB, ignore("ann"));
    hall.asks(ANN, say("lobby", "hi"));
    hall.asks(CY, say("lobby", "hi"));
    let asked = Request::History { room: Some(room("lobby")), count: None, after: None };
    let again = Request::Join { room: room("lobby"), history: None, echo: false, since: in_lobby(0).ok() };
    let mut received = Vec::new();
    for request in [asked, join("lobby"), again] {
        if matches!(request, Request::Join { .. }) {
            hall.asks(BOB, leave("lobby"));
        }
        let sent = hall.asks(BOB, request).into_iter().chain(hall.goes_on(BOB));
        received
            .extend(sent.filter(|line| line.starts_with("bob< history") || line.starts_with("bob< said")));
    }
    let history = "bob< history lobby [2 cy hi]";
    assert_eq!(received, [history, history, "bob< said lobby 2 cy hi"]);
}

#[test]
fn guests_and_http_can_be_ignored_also_by_a_client_that_catches_up() {
    let mut hall = Hall::with("--write-buffer 16k --write-buffer-soft off", &["ann"]);
    hall.enters(BOB, json("", "lobby"));
    let refused =
        ["guest-1", "http", "redis"].map(|who| hall.asks(ANN, ignore(who)).concat().contains("problem"));
    assert_eq!(refused, [false; 3]);
    assert_eq!(hall.asks(BOB, say("lobby", "hi")), [""; 0]);
    hall.leaves(BOB);
    let long = "x".repeat(1_800);
    assert_eq!(hall.publishes("lobby", Name::of_http(), &long).1, [""; 0]);
    // A message does not overtake those that a client catches up with.
    hall.enters(BOB, Arrival { last_position: Some(in_lobby(0)), ..json("bob", "lobby") });
    assert_eq!(hall.publishes("lobby", Name::of_http(), &long).1, [""; 0]);
}

#[test]
fn client_is_ignored_by_all_that_ignore_it_and_under_a_new_name_by_those_that_ignore_either() {
    let mut hall = Hall::with("", &["ann", "bob", "cy", "dan"]);
    for who in [CY, BOB, ANN] {
        hall.asks(who, ignore("dan"));
    }
    let told = |hall: &mut Hall| ["ann", "bob", "cy"].map(|to| hall.asks(DAN, tell(to, false)).len());
    assert_eq!(told(&mut hall), [0; 3]);
    hall.asks(CY, Request::Unignore(typed("dan")));
    hall.asks(CY, ignore("dora"));
    hall.asks(DAN, nick("dora"));
    assert_eq!(told(&mut hall), [0; 3]);
}
