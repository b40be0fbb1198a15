//! The chat, as conversations: names, messages, rooms, and ends of connections.

use chinwag::chat::{Census, ClientId};
use chinwag::protocol::{Dialect, Event, Problem, Request};
use chinwag::text::NameError;

use crate::hall::arrival;
use crate::settle::ALONE;
use crate::talk::*;
use crate::words::{entered_event, name, names, room, text, typed};

// Names.

#[test]
fn new_client_is_asked_for_a_name_and_enters_the_lobby_with_it() {
    let mut talk = Talk::new("");
    assert_eq!(talk.connects(ANN), [reply(ANN, Event::AskName)]);
    assert_eq!(talk.asks(ANN, nick("ann")), [named(ANN), reply(ANN, hello("ann", &[]))]);
    assert_eq!(talk.connects(BOB), [reply(BOB, Event::AskName)]);
    assert_eq!(
        talk.asks(BOB, nick("bob")),
        [named(BOB), announce([ANN], joined("bob")), reply(BOB, hello("bob", &["ann"]))]
    );
    assert_eq!(talk.connects(CY), [reply(CY, Event::AskName)]);
    assert_eq!(
        talk.asks(CY, nick("cy")),
        [named(CY), announce([ANN, BOB], joined("cy")), reply(CY, hello("cy", &["ann", "bob"]))]
    );
}

#[test]
fn message_of_the_day_greets_clients_that_connect_afterwards() {
    let mut talk = Talk::new("");
    assert_eq!(talk.connects(ANN), [reply(ANN, Event::AskName)]);
    talk.chat.set_motd(vec![text("be kind"), text("no shouting")]);
    let greeting = |raw| reply(BOB, Event::Greeting(text(raw)));
    assert_eq!(
        talk.connects(BOB),
        [greeting("be kind"), greeting("no shouting"), reply(BOB, Event::AskName)]
    );
    let sent = talk.enters(DAN, arrival(Dialect::Json, "dan", ""), &ALONE);
    assert_eq!(sent[2..], ["be kind", "no shouting"].map(|raw| reply(DAN, Event::Greeting(text(raw)))));
    talk.chat.set_motd(vec![]);
    assert_eq!(talk.connects(CY), [reply(CY, Event::AskName)]);
}

#[test]
fn empty_answer_keeps_the_guest_name() {
    let mut talk = Talk::new("");
    talk.connects(ANN);
    talk.connects(BOB);
    assert_eq!(talk.asks(BOB, Request::StayGuest), [named(BOB), reply(BOB, hello("guest-2", &[]))]);
    assert_eq!(
        talk.asks(ANN, Request::StayGuest),
        [named(ANN), announce([BOB], joined("guest-1")), reply(ANN, hello("guest-1", &["guest-2"]))]
    );
    assert_eq!(talk.asks(ANN, Request::StayGuest), []);
}

#[test]
fn guests_flag_skips_the_prompt() {
    let mut talk = Talk::new("--guests");
    assert_eq!(talk.connects(ANN), [named(ANN), reply(ANN, hello("guest-1", &[]))]);
    assert_eq!(
        talk.connects(BOB),
        [named(BOB), announce([ANN], joined("guest-2")), reply(BOB, hello("guest-2", &["guest-1"]))]
    );
    assert_eq!(talk.asks(BOB, say("hi")), [announce([ANN], message(1, "guest-2", "hi"))]);
    assert_eq!(
        talk.asks(BOB, nick("bob")),
        [reply(BOB, you_are("bob")), announce([ANN], renamed("guest-2", "bob"))]
    );
}

#[test]
fn guest_name_is_never_given_twice() {
    let mut talk = Talk::new("--guests");
    talk.connects(ANN);
    talk.leaves(ANN, None);
    assert_eq!(talk.connects(ANN), [named(ANN), reply(ANN, hello("guest-2", &[]))]);
}

#[test]
fn taken_name_is_refused_whatever_its_case() {
    let mut talk = Talk::with("", &["ann", "zoë"]);
    talk.connects(CY);
    for taken in ["ann", "ANN", "Ａnn", "zoë", "ZOE\u{308}"] {
        assert_eq!(talk.asks(CY, nick(taken)), [unnamed_problem(CY, Problem::NameTaken(name(taken)))]);
    }
    assert_eq!(talk.asks(BOB, nick("Ann")), [problem(BOB, Problem::NameTaken(name("Ann")))]);
    assert_eq!(
        talk.asks(CY, nick("anna")),
        [named(CY), announce([ANN, BOB], joined("anna")), reply(CY, hello("anna", &["ann", "zoë"]))]
    );
}

#[test]
fn two_clients_with_a_prompt_do_not_get_one_name() {
    let mut talk = Talk::new("");
    talk.connects(ANN);
    talk.connects(BOB);
    talk.asks(BOB, nick("ann"));
    assert_eq!(talk.asks(ANN, nick("ann")), [unnamed_problem(ANN, Problem::NameTaken(name("ann")))]);
}

#[test]
fn name_is_free_again_when_its_owner_leaves_or_takes_another() {
    let mut talk = Talk::with("", &["ann", "bob", "cy"]);
    talk.leaves(ANN, None);
    assert_eq!(
        talk.asks(BOB, nick("Ann")),
        [reply(BOB, you_are("Ann")), announce([CY], renamed("bob", "Ann"))]
    );
    assert_eq!(
        talk.asks(CY, nick("bob")),
        [reply(CY, you_are("bob")), announce([BOB], renamed("cy", "bob"))]
    );
    assert_eq!(talk.chat.census().names, 2);
}

#[test]
fn client_may_change_the_case_of_its_own_name() {
    let mut talk = Talk::with("", &["ann", "bob"]);
    assert_eq!(
        talk.asks(ANN, nick("ANN")),
        [reply(ANN, you_are("ANN")), announce([BOB], renamed("ann", "ANN"))]
    );
    assert_eq!(talk.asks(ANN, nick("ANN")), [reply(ANN, you_are("ANN"))], "nothing new to the others");
    assert_eq!(talk.asks(BOB, nick("ann")), [problem(BOB, Problem::NameTaken(name("ann")))]);
    assert_eq!(talk.chat.census().names, 2);
}

#[test]
fn unreadable_line_is_answered_to_its_sender_only() {
    let mut talk = Talk::with("", &["ann", "bob"]);
    assert_eq!(talk.errs(ANN, Problem::NotUtf8), [problem(ANN, Problem::NotUtf8)]);
    talk.connects(CY);
    let bad = || Problem::BadName(NameError::Colon);
    assert_eq!(talk.errs(CY, bad()), [unnamed_problem(CY, bad())]);
}

#[test]
fn client_without_a_name_may_list_but_not_send() {
    let mut talk = Talk::with("", &["ann"]);
    talk.connects(BOB);
    let needs_name = [say("hi"), me("waves"), tell("ann", "hi"), join("dev"), leave(), history(None)];
    for request in needs_name {
        assert_eq!(talk.asks(BOB, request), [unnamed_problem(BOB, Problem::NameRequired)]);
    }
    assert_eq!(talk.asks(BOB, Request::Help), [reply(BOB, Event::Help)]);
    assert_eq!(talk.asks(BOB, Request::Who(None)), [reply(BOB, in_room("lobby", &["ann"]))]);
    assert_eq!(talk.asks(BOB, Request::Rooms), [reply(BOB, rooms(&[("lobby", 1)]))]);
    assert_eq!(talk.asks(BOB, who("dev")), [unnamed_problem(BOB, Problem::NoSuchRoom(room("dev")))]);
    assert_eq!(talk.asks(BOB, quit(Some("never mind"))), [Outcome::Quit(BOB)]);
}

// Messages.

#[test]
fn message_reaches_everybody_else_in_the_room() {
    let mut talk = Talk::with("", &["ann", "bob", "cy", "dan"]);
    talk.asks(DAN, join("dev"));
    assert_eq!(talk.asks(BOB, say("hi")), [announce([ANN, CY], message(1, "bob", "hi"))]);
    assert_eq!(talk.asks(ANN, me("waves")), [announce([BOB, CY], act(2, "ann", "waves"))]);
    assert_eq!(talk.asks(DAN, say("anybody?")), [], "the room has no other member");
    talk.asks(CY, join("dev"));
    assert_eq!(talk.asks(CY, say("me")), [announce([DAN], message(2, "cy", "me"))], "each room counts");
}

#[test]
fn private_message_reaches_one_client() {
    let mut talk = Talk::with("", &["ann", "Bob", "cy"]);
    assert_eq!(talk.asks(ANN, tell("bob", "psst")), [pass(BOB, private("ann", "psst"))]);
    talk.asks(BOB, join("dev"));
    assert_eq!(talk.asks(ANN, tell("BOB", "still there?")), [pass(BOB, private("ann", "still there?"))]);
    assert_eq!(talk.asks(ANN, tell("ann", "note")), [pass(ANN, private("ann", "note"))], "to oneself");
    assert_eq!(talk.asks(ANN, tell("bo", "hm")), [problem(ANN, Problem::NoSuchClient(typed("bo")))]);
    talk.leaves(BOB, None);
    assert_eq!(talk.asks(ANN, tell("bob", "bye")), [problem(ANN, Problem::NoSuchClient(typed("bob")))]);
}

#[test]
fn private_message_finds_a_guest_once_it_has_entered() {
    let mut talk = Talk::with("", &["ann"]);
    talk.connects(BOB);
    let nobody = problem(ANN, Problem::NoSuchClient(typed("guest-2")));
    assert_eq!(talk.asks(ANN, tell("guest-2", "hi")), [nobody]);
    talk.asks(BOB, Request::StayGuest);
    assert_eq!(talk.asks(ANN, tell("Guest-2", "hi")), [pass(BOB, private("ann", "hi"))]);
}

// Rooms.

#[test]
fn client_that_joins_a_room_leaves_the_other() {
    let mut talk = Talk::with("", &["ann", "bob", "cy"]);
    assert_eq!(
        talk.asks(CY, join("dev")),
        [announce([ANN, BOB], left("cy")), reply(CY, entered("cy", "dev", &[]))]
    );
    assert_eq!(
        talk.asks(ANN, join("dev")),
        [
            announce([BOB], left("ann")),
            announce([CY], joined("ann")),
            reply(ANN, entered("ann", "dev", &["cy"]))
        ]
    );
    assert_eq!(
        talk.asks(CY, leave()),
        [
            announce([ANN], left("cy")),
            announce([BOB], joined("cy")),
            reply(CY, entered("cy", "lobby", &["bob"]))
        ]
    );
}

#[test]
fn join_of_the_current_room_is_an_error() {
    let mut talk = Talk::with("", &["ann", "bob"]);
    let already = |id, raw| problem(id, Problem::AlreadyIn(room(raw)));
    assert_eq!(talk.asks(ANN, leave()), [already(ANN, "lobby")]);
    assert_eq!(talk.asks(ANN, join("lobby")), [already(ANN, "lobby")]);
    talk.asks(ANN, join("dev"));
    assert_eq!(talk.asks(ANN, join("#DEV")), [already(ANN, "dev")]);
}

#[test]
fn room_is_listed_by_who_and_an_unknown_room_is_an_error() {
    let mut talk = Talk::with("", &["ann", "bob", "cy"]);
    talk.asks(BOB, join("dev"));
    talk.asks(BOB, say("remembered"));
    assert_eq!(talk.asks(ANN, Request::Who(None)), [reply(ANN, in_room("lobby", &["ann", "cy"]))]);
    assert_eq!(talk.asks(ANN, who("dev")), [reply(ANN, in_room("dev", &["bob"]))]);
    assert_eq!(talk.asks(BOB, Request::Who(None)), [reply(BOB, in_room("dev", &["bob"]))]);
    talk.asks(BOB, leave());
    assert_eq!(talk.asks(ANN, who("dev")), [problem(ANN, Problem::NoSuchRoom(room("dev")))], "history alone");
}

#[test]
fn rooms_are_listed_by_size_and_then_by_name_without_the_empty_ones() {
    let people = ["ann", "bob", "cy", "dan", "eve", "fay"];
    let mut talk = Talk::with("", &people);
    for (slot, to) in [(0, "zoo"), (1, "dev"), (2, "bar"), (3, "dev"), (4, "empty")] {
        talk.asks(ClientId(slot), join(to));
    }
    talk.asks(ClientId(4), say("remembered"));
    talk.leaves(ClientId(4), None);
    let listed = rooms(&[("dev", 2), ("bar", 1), ("lobby", 1), ("zoo", 1)]);
    assert_eq!(talk.asks(ANN, Request::Rooms), [reply(ANN, listed)]);
}

#[test]
fn max_rooms_bounds_the_rooms() {
    let mut talk = Talk::with("--max-rooms 2 --history 0", &["ann", "bob", "cy"]);
    talk.asks(ANN, join("dev"));
    assert_eq!(talk.asks(BOB, join("ops")), [problem(BOB, Problem::TooManyRooms)]);
    assert_eq!(
        talk.asks(BOB, Request::Who(None)),
        [reply(BOB, in_room("lobby", &["cy", "bob"]))],
        "it stays"
    );
    assert_eq!(
        talk.asks(BOB, join("dev")),
        [
            announce([CY], left("bob")),
            announce([ANN], joined("bob")),
            reply(BOB, entered("bob", "dev", &["ann"]))
        ]
    );
    talk.asks(BOB, leave());
    talk.asks(ANN, leave());
    assert_eq!(
        talk.asks(CY, join("ops")),
        [announce([ANN, BOB], left("cy")), reply(CY, entered("cy", "ops", &[]))],
        "dev is gone with its last member"
    );
}

#[test]
fn empty_rooms_with_a_history_are_evicted_the_longest_unused_first() {
    let mut talk = Talk::with("--max-rooms 3", &["ann", "bob"]);
    for to in ["busy", "quiet"] {
        talk.asks(ANN, join(to));
        talk.asks(ANN, say(to));
        talk.asks(ANN, leave());
        talk.after_seconds(1);
    }
    // "quiet" was opened last, and "busy" was left last.
    talk.asks(ANN, join("busy"));
    talk.asks(ANN, leave());
    assert_eq!(
        talk.asks(ANN, join("new")),
        [announce([BOB], left("ann")), reply(ANN, entered("ann", "new", &[]))]
    );
    talk.asks(ANN, leave());
    let shown = talk.asks(ANN, join("busy"));
    assert_eq!(shown.last(), Some(&reply(ANN, past(1, "ann", "busy", 2))), "still there");
    talk.asks(ANN, leave());
    let shown = talk.asks(ANN, join("quiet"));
    assert_eq!(
        shown.last(),
        Some(&reply(ANN, entered("ann", "quiet", &[]))),
        "made way, with all that was said"
    );
}

#[test]
fn time_of_last_use_is_not_inherited_by_the_next_room_in_a_slot() {
    let mut talk = Talk::with("--max-rooms 3 --history-memory 1k", &["ann", "bob"]);
    talk.after_seconds(1);
    talk.asks(ANN, join("dev"));
    talk.asks(ANN, say(&"x".repeat(500)));
    talk.asks(ANN, leave());
    talk.after_seconds(1);
    talk.asks(ANN, say(&"x".repeat(500)));
    assert_eq!(talk.chat.census().rooms, 1, "what was said in the other is forgotten");
    talk.asks(ANN, join("a"));
    for (who, to) in [(BOB, "b"), (ANN, "a")] {
        talk.asks(who, join(to));
        talk.asks(who, say("hi"));
        talk.asks(who, leave());
        talk.after_seconds(1);
    }
    talk.asks(BOB, join("new"));
    let shown = talk.asks(ANN, join("a"));
    let past = |sent: &Outcome| matches!(sent, Outcome::Reply(ANN, Event::HistoryEntry { .. }));
    assert!(shown.last().is_some_and(past), "the other was left before: {shown:?}");
}

#[test]
fn lobby_is_never_evicted() {
    let mut talk = Talk::with("--max-rooms 2", &["ann", "bob"]);
    talk.asks(ANN, say("remembered"));
    talk.asks(ANN, join("dev"));
    talk.asks(BOB, join("dev"));
    assert_eq!(talk.asks(BOB, join("ops")), [problem(BOB, Problem::TooManyRooms)]);
    let shown = talk.asks(BOB, leave());
    assert_eq!(shown.last(), Some(&reply(BOB, past(1, "ann", "remembered", 0))));
}

#[test]
fn fifty_names_and_fifty_rooms_are_listed_and_the_rest_is_counted() {
    let mut talk = Talk::new("--guests --history 0");
    (0..51).for_each(|slot| drop(talk.connects(ClientId(slot))));
    let all: Vec<_> = (1..=51).map(|n| format!("guest-{n}")).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let listed = Event::Who { room: room("lobby"), names: names(&all[..50]), more: 1 };
    assert_eq!(talk.asks(ANN, Request::Who(None)), [reply(ANN, listed)]);
    talk.leaves(ClientId(50), None);
    assert_eq!(talk.asks(ANN, Request::Who(None)), [reply(ANN, in_room("lobby", &all[..50]))]);

    (0..50).for_each(|slot| drop(talk.asks(ClientId(slot), join(&format!("room-{slot:03}")))));
    let all: Vec<_> = (0..50).map(|slot| (room(&format!("room-{slot:03}")), 1)).collect();
    let listed = |first: usize, more| Event::Rooms { rooms: all[first..].to_vec(), more };
    assert_eq!(talk.asks(ANN, Request::Rooms), [reply(ANN, listed(0, 0))]);
    talk.asks(ANN, leave());
    let lobby_first = Event::Rooms { rooms: [&[(room("lobby"), 1)], &all[1..]].concat(), more: 0 };
    assert_eq!(talk.asks(ANN, Request::Rooms), [reply(ANN, lobby_first)]);
    talk.connects(ClientId(50));
    talk.asks(ClientId(50), join("room-000"));
    let last_counted = Event::Rooms { rooms: [&[(room("lobby"), 1)], &all[..49]].concat(), more: 1 };
    assert_eq!(talk.asks(ANN, Request::Rooms), [reply(ANN, last_counted)]);
}

#[test]
fn ten_names_are_sent_on_entering_and_the_rest_is_counted() {
    let mut talk = Talk::new("--guests");
    (0..10).for_each(|slot| drop(talk.connects(ClientId(slot))));
    let ten: Vec<_> = (1..=10).map(|n| name(&format!("guest-{n}"))).collect();
    for (slot, who, more) in [(10, "guest-11", 0), (11, "guest-12", 1), (12, "guest-13", 2)] {
        let expected = entered_event(name(who), true, room("lobby"), ten.clone(), more);
        assert_eq!(talk.connects(ClientId(slot)).last(), Some(&reply(ClientId(slot), expected)));
    }
}

// Ends of connections.

#[test]
fn client_that_quits_is_closed_and_the_room_is_sent_the_reason() {
    let mut talk = Talk::with("", &["ann", "bob", "cy"]);
    assert_eq!(talk.asks(CY, quit(None)), [announce([ANN, BOB], left("cy")), Outcome::Quit(CY)]);
    assert_eq!(
        talk.asks(BOB, quit(Some("gone fishing"))),
        [announce([ANN], left_because("bob", "gone fishing")), Outcome::Quit(BOB)]
    );
    assert_eq!(talk.asks(ANN, quit(None)), [Outcome::Quit(ANN)]);
}

#[test]
fn client_whose_connection_ends_leaves_and_the_room_is_sent_the_reason() {
    let mut talk = Talk::with("", &["ann", "bob", "cy"]);
    assert_eq!(talk.leaves(BOB, Some("too slow")), [announce([ANN, CY], left_because("bob", "too slow"))]);
    assert_eq!(talk.leaves(CY, None), [announce([ANN], left("cy"))]);
}

#[test]
fn client_that_left_neither_sends_nor_receives() {
    let mut talk = Talk::with("", &["ann", "bob"]);
    talk.asks(BOB, quit(None));
    assert_eq!(talk.leaves(BOB, Some("too slow")), [], "once is enough");
    assert_eq!(talk.asks(BOB, say("one more thing")), []);
    assert_eq!(talk.errs(BOB, Problem::NotUtf8), []);
    assert_eq!(talk.asks(ANN, say("anyone?")), []);
    assert_eq!(talk.leaves(ClientId(77), None), [], "never seen");
    assert_eq!(talk.chat.name(BOB), None);
}

#[test]
fn client_that_leaves_without_a_name_is_not_announced() {
    let mut talk = Talk::with("", &["ann"]);
    talk.connects(BOB);
    assert_eq!(talk.chat.name(BOB), Some(&name("guest-2")));
    assert_eq!(talk.leaves(BOB, None), []);
    assert_eq!(talk.chat.name(BOB), None);
}

#[test]
fn slot_that_is_used_again_belongs_to_the_new_client() {
    let mut talk = Talk::with("", &["ann", "bob"]);
    talk.leaves(ANN, None);
    talk.comes(ANN, "eve");
    assert_eq!(talk.asks(BOB, tell("ann", "hi")), [problem(BOB, Problem::NoSuchClient(typed("ann")))]);
    assert_eq!(talk.asks(BOB, say("hi")), [announce([ANN], message(1, "bob", "hi"))]);
    assert_eq!(talk.asks(ANN, say("hello")), [announce([BOB], message(2, "eve", "hello"))]);
}

#[test]
fn chat_is_empty_when_everybody_has_left() {
    let mut talk = Talk::with("--history 0", &["ann", "bob", "cy"]);
    talk.asks(ANN, join("dev"));
    talk.asks(BOB, join("ops"));
    talk.asks(ANN, say("hi"));
    talk.asks(CY, nick("dan"));
    talk.connects(DAN);
    let some = Census { clients: 4, names: 3, rooms: 3, subscribers: 3, ..Census::default() };
    assert_eq!(talk.chat.census(), some);
    talk.asks(ANN, quit(None));
    talk.leaves(ANN, None);
    talk.leaves(CY, None);
    talk.leaves(DAN, None);
    talk.leaves(BOB, Some("idle"));
    assert_eq!(talk.chat.census(), Census::default());
}

#[test]
fn room_with_a_history_outlives_its_members() {
    let mut talk = Talk::with("", &["ann"]);
    talk.asks(ANN, join("dev"));
    talk.asks(ANN, say("remember me"));
    talk.leaves(ANN, None);
    let census = talk.chat.census();
    assert!(census.history_bytes > "remember me".len());
    assert_eq!(census, Census { rooms: 1, history_bytes: census.history_bytes, ..Census::default() });
}

#[test]
fn answer_to_a_sender_that_has_quit_does_not_reach_the_next_client_of_its_name() {
    let mut talk = Talk::with("", &["ann", "bob", "cy"]);
    talk.asks(BOB, tell("ann", "hi"));
    // The connection of the sender ends only with the tick.
    talk.asks(BOB, quit(None));
    talk.asks(CY, nick("bob"));
    let sent = talk.asks(ANN, Request::Answer(text("a secret")));
    let problem = Event::Problem { problem: Problem::NobodyToAnswer, unnamed: false };
    assert_eq!(sent, [Outcome::Reply(ANN, problem)]);
}
