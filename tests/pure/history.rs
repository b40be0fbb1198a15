//! What rooms remember, as conversations.

use std::time::Duration;

use chinwag::protocol::{Event, MessageKind, Request};

use crate::talk::*;

/// The messages that `told` shows, in order.
fn shown(told: Vec<ServerMessage>) -> Vec<String> {
    let past = told.into_iter().filter_map(|told| match told {
        ServerMessage::Reply(_, Event::HistoryEntry { message, .. }) => {
            Some(message.body.as_line().into_owned())
        }
        _ => None,
    });
    past.collect()
}

#[test]
fn whoever_enters_a_room_is_shown_what_was_said_and_how_long_ago() {
    let mut talk = Talk::with("", &["ann"]);
    talk.asks(ANN, say("hello?"));
    talk.after_seconds(60);
    talk.asks(ANN, me("waits"));
    talk.after_seconds(5);
    talk.connects(BOB);
    let waits = said(60, MessageKind::Emote, 2, "ann", "waits");
    assert_eq!(
        talk.asks(BOB, nick("bob")),
        [
            named(BOB),
            announce([ANN], joined("bob")),
            reply(BOB, hello("bob", &["ann"])),
            reply(BOB, past(1, "ann", "hello?", 65)),
            reply(BOB, Event::HistoryEntry { message: waits, age: Duration::from_secs(5) }),
        ]
    );
}

#[test]
fn history_belongs_to_the_room() {
    let mut talk = Talk::with("", &["ann", "bob"]);
    talk.asks(ANN, say("in the lobby"));
    assert_eq!(
        talk.asks(ANN, join("dev")),
        [announce([BOB], left("ann")), reply(ANN, entered("ann", "dev", &[]))]
    );
    assert_eq!(talk.asks(ANN, history(None)), [reply(ANN, Event::HistoryEmpty)]);
    talk.asks(ANN, say("in dev"));
    assert_eq!(talk.asks(ANN, history(None)), [reply(ANN, past(1, "ann", "in dev", 0))]);
    assert_eq!(talk.asks(BOB, history(None)), [reply(BOB, past(1, "ann", "in the lobby", 0))]);
}

#[test]
fn a_message_is_remembered_under_the_name_of_its_time() {
    let mut talk = Talk::with("", &["ann"]);
    talk.asks(ANN, say("hi"));
    talk.asks(ANN, nick("eve"));
    assert_eq!(talk.asks(ANN, history(None)), [reply(ANN, past(1, "ann", "hi", 0))]);
}

#[test]
fn nobody_is_told_that_nothing_was_said_where_something_was() {
    let mut talk = Talk::with("--history-shown 0", &["ann"]);
    talk.asks(ANN, say("hi"));
    for request in [history(Some(0)), history(None)] {
        assert!(!talk.asks(ANN, request).contains(&reply(ANN, Event::HistoryEmpty)));
    }
}

#[test]
fn private_messages_are_not_remembered() {
    let mut talk = Talk::with("", &["ann", "bob"]);
    talk.asks(ANN, tell("bob", "psst"));
    assert_eq!(talk.asks(ANN, history(None)), [reply(ANN, Event::HistoryEmpty)]);
    assert_eq!(talk.chat.census().history_bytes, 0);
}

#[test]
fn history_shown_on_entering_and_asked_for() {
    let mut talk = Talk::with("--history-shown 2", &["ann"]);
    ["one", "two", "three"].iter().for_each(|raw| drop(talk.asks(ANN, say(raw))));
    talk.connects(BOB);
    assert_eq!(shown(talk.asks(BOB, nick("bob"))), ["two", "three"]);
    assert_eq!(shown(talk.asks(BOB, history(None))), ["two", "three"]);
    assert_eq!(shown(talk.asks(BOB, history(Some(1)))), ["three"]);
    assert_eq!(shown(talk.asks(BOB, history(Some(3)))), ["one", "two", "three"]);
    assert_eq!(shown(talk.asks(BOB, history(Some(usize::MAX)))), ["one", "two", "three"]);
}

#[test]
fn twenty_are_shown_on_entering_and_a_hundred_remembered_unless_told_otherwise() {
    let mut talk = Talk::with("", &["ann"]);
    let all: Vec<_> = (1..=101).map(|n| format!("message {n}")).collect();
    all.iter().for_each(|raw| drop(talk.asks(ANN, say(raw))));
    talk.connects(BOB);
    assert_eq!(shown(talk.asks(BOB, nick("bob"))), all[81..]);
    assert_eq!(shown(talk.asks(BOB, history(Some(1_000)))), all[1..]);
}

#[test]
fn without_history_nothing_is_remembered_and_messages_are_numbered_all_the_same() {
    let mut talk = Talk::with("--history 0", &["ann", "bob"]);
    talk.asks(ANN, say("one"));
    assert_eq!(talk.asks(ANN, say("two")), [announce([BOB], message(2, "ann", "two"))]);
    assert_eq!(talk.asks(BOB, history(None)), [reply(BOB, Event::HistoryEmpty)]);
    assert_eq!(talk.chat.census().history_bytes, 0);
}

#[test]
fn a_room_remembers_so_many_and_forgets_the_oldest() {
    let mut talk = Talk::with("--history 2", &["ann"]);
    ["one", "two", "three"].iter().for_each(|raw| drop(talk.asks(ANN, say(raw))));
    assert_eq!(shown(talk.asks(ANN, history(Some(9)))), ["two", "three"]);
    let two = talk.chat.census().history_bytes;
    talk.asks(ANN, say("fours"));
    assert_eq!(talk.chat.census().history_bytes, two + 2, "one of three bytes went, one of five came");
}

/// What so many messages of two bytes take, as the chat counts.
fn memory_of(messages: usize) -> usize {
    let mut talk = Talk::with("", &["ann"]);
    talk.asks(ANN, say("xx"));
    messages * talk.chat.census().history_bytes
}

/// A chat that has memory for so many messages of two bytes, in all rooms together.
fn with_memory_for(messages: usize, flags: &str, people: &[&str]) -> Talk {
    Talk::with(&format!("{flags} --history-memory {}", memory_of(messages)), people)
}

#[test]
fn past_the_memory_the_oldest_of_all_rooms_goes_first() {
    let mut talk = with_memory_for(3, "", &["ann", "bob"]);
    talk.asks(BOB, join("dev"));
    talk.asks(BOB, say("d1"));
    talk.asks(ANN, say("l1"));
    talk.asks(BOB, say("d2"));
    talk.asks(ANN, say("l2"));
    assert_eq!(shown(talk.asks(BOB, history(Some(9)))), ["d2"], "d1 was the oldest");
    assert_eq!(shown(talk.asks(ANN, history(Some(9)))), ["l1", "l2"]);
    talk.asks(BOB, say("d3"));
    assert_eq!(
        shown(talk.asks(ANN, history(Some(9)))),
        ["l2"],
        "l1 was the oldest, in a room that said nothing"
    );
}

#[test]
fn a_message_larger_than_the_memory_is_said_and_not_remembered() {
    let mut talk = with_memory_for(1, "", &["ann", "bob"]);
    talk.asks(ANN, say("l1"));
    assert_eq!(talk.asks(ANN, say("far too long")), [announce([BOB], message(2, "ann", "far too long"))]);
    assert_eq!(talk.asks(ANN, history(Some(9))), [reply(ANN, Event::HistoryEmpty)]);
    assert_eq!(talk.chat.census().history_bytes, 0);
}

#[test]
fn a_room_without_members_is_gone_with_its_last_message() {
    let mut talk = with_memory_for(2, "", &["ann", "bob"]);
    talk.asks(BOB, join("dev"));
    talk.asks(BOB, say("d1"));
    talk.asks(BOB, leave());
    assert_eq!(talk.chat.census().rooms, 2);
    ["l1", "l2"].iter().for_each(|raw| drop(talk.asks(ANN, say(raw))));
    assert_eq!(talk.chat.census().rooms, 1);
    talk.asks(BOB, join("dev"));
    assert_eq!(talk.asks(BOB, say("hi")), []);
    assert_eq!(talk.asks(BOB, history(None)), [reply(BOB, past(1, "bob", "hi", 0))], "numbered anew");
}

#[test]
fn a_room_forgets_nothing_because_of_a_room_that_is_gone() {
    let mut talk = with_memory_for(3, "--max-rooms 3", &["ann", "bob"]);
    talk.asks(BOB, join("old"));
    talk.asks(BOB, say("o1"));
    talk.asks(BOB, join("dev"));
    talk.asks(BOB, say("d1"));
    talk.asks(BOB, join("new")); // "old" makes way
    talk.asks(BOB, say("n1"));
    talk.asks(ANN, say("l1"));
    assert_eq!(shown(talk.asks(BOB, history(Some(9)))), ["n1"]);
    talk.asks(ANN, say("l2"));
    assert_eq!(shown(talk.asks(BOB, history(Some(9)))), ["n1"], "d1 was older");
    assert_eq!(shown(talk.asks(BOB, join("dev"))), [""; 0]);
    assert_eq!(talk.asks(BOB, Request::Rooms), [reply(BOB, rooms(&[("dev", 1), ("lobby", 1)]))]);
}

#[test]
fn memory_is_bounded_however_many_rooms_and_messages() {
    let mut talk = with_memory_for(10, "--history 3", &["ann"]);
    let most = memory_of(10);
    for n in 0..500 {
        talk.asks(ANN, join(&format!("room-{}", n % 7)));
        talk.asks(ANN, say(&"x".repeat(n % 50 + 1)));
        let memory = talk.chat.census().history_bytes;
        assert!(n < 10 || (most / 2..=most).contains(&memory), "{memory} of {most} bytes after {n} messages");
    }
}
