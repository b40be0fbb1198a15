//! The history of rooms, as conversations.

use std::time::Duration;

use chinwag::protocol::{Event, MessageKind, Request};

use crate::talk::*;

/// Returns the messages of the history in `sent`, in order.
fn shown(sent: Vec<Outcome>) -> Vec<String> {
    let past = sent.into_iter().filter_map(|sent| match sent {
        Outcome::Reply(_, Event::HistoryEntry { message, .. }) => Some(message.body.as_line().into_owned()),
        _ => None,
    });
    past.collect()
}

#[test]
fn newcomer_is_sent_the_history_and_its_age() {
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
fn message_is_kept_under_the_name_of_its_time() {
    let mut talk = Talk::with("", &["ann"]);
    talk.asks(ANN, say("hi"));
    talk.asks(ANN, nick("eve"));
    assert_eq!(talk.asks(ANN, history(None)), [reply(ANN, past(1, "ann", "hi", 0))]);
}

#[test]
fn history_of_a_room_with_messages_is_never_called_empty() {
    let mut talk = Talk::with("--history-shown 0", &["ann"]);
    talk.asks(ANN, say("hi"));
    for request in [history(Some(0)), history(None)] {
        assert!(!talk.asks(ANN, request).contains(&reply(ANN, Event::HistoryEmpty)));
    }
}

#[test]
fn private_messages_are_not_kept() {
    let mut talk = Talk::with("", &["ann", "bob"]);
    talk.asks(ANN, tell("bob", "psst"));
    assert_eq!(talk.asks(ANN, history(None)), [reply(ANN, Event::HistoryEmpty)]);
    assert_eq!(talk.chat.census().history_bytes, 0);
}

#[test]
fn history_is_sent_on_entering_and_on_request() {
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
fn twenty_messages_are_sent_on_entering_and_a_hundred_kept_by_default() {
    let mut talk = Talk::with("", &["ann"]);
    let all: Vec<_> = (1..=101).map(|n| format!("message {n}")).collect();
    all.iter().for_each(|raw| drop(talk.asks(ANN, say(raw))));
    talk.connects(BOB);
    assert_eq!(shown(talk.asks(BOB, nick("bob"))), all[81..]);
    assert_eq!(shown(talk.asks(BOB, history(Some(1_000)))), all[1..]);
}

#[test]
fn history_of_0_keeps_nothing_and_messages_are_numbered() {
    let mut talk = Talk::with("--history 0", &["ann", "bob"]);
    talk.asks(ANN, say("one"));
    assert_eq!(talk.asks(ANN, say("two")), [announce([BOB], message(2, "ann", "two"))]);
    assert_eq!(talk.asks(BOB, history(None)), [reply(BOB, Event::HistoryEmpty)]);
    assert_eq!(talk.chat.census().history_bytes, 0);
}

#[test]
fn room_keeps_as_many_messages_as_history_allows_and_evicts_the_oldest() {
    let mut talk = Talk::with("--history 2", &["ann"]);
    ["one", "two", "three"].iter().for_each(|raw| drop(talk.asks(ANN, say(raw))));
    assert_eq!(shown(talk.asks(ANN, history(Some(9)))), ["two", "three"]);
    let two = talk.chat.census().history_bytes;
    talk.asks(ANN, say("fours"));
    assert_eq!(talk.chat.census().history_bytes, two + 2, "one of three bytes went, one of five came");
}

/// Returns the size of so many messages of two bytes, as the chat counts it.
fn memory_of(messages: usize) -> usize {
    let mut talk = Talk::with("", &["ann"]);
    talk.asks(ANN, say("xx"));
    messages * talk.chat.census().history_bytes
}

/// Creates a chat with memory for so many messages of two bytes, in all rooms together.
fn with_memory_for(messages: usize, flags: &str, people: &[&str]) -> Talk {
    Talk::with(&format!("{flags} --history-memory {}", memory_of(messages)), people)
}

#[test]
fn oldest_message_of_all_rooms_is_evicted_over_history_memory() {
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
fn message_larger_than_history_memory_is_sent_and_not_kept() {
    let mut talk = with_memory_for(1, "", &["ann", "bob"]);
    talk.asks(ANN, say("l1"));
    assert_eq!(talk.asks(ANN, say("far too long")), [announce([BOB], message(2, "ann", "far too long"))]);
    assert_eq!(talk.asks(ANN, history(Some(9))), [reply(ANN, Event::HistoryEmpty)]);
    assert_eq!(talk.chat.census().history_bytes, 0);
}

#[test]
fn room_without_members_is_closed_with_its_last_message() {
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
fn closed_room_causes_no_eviction_in_others() {
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
fn history_memory_is_bounded_however_many_rooms_and_messages() {
    let mut talk = with_memory_for(10, "--history 3", &["ann"]);
    let most = memory_of(10);
    for n in 0..500 {
        talk.asks(ANN, join(&format!("room-{}", n % 7)));
        talk.asks(ANN, say(&"x".repeat(n % 50 + 1)));
        let memory = talk.chat.census().history_bytes;
        assert!(n < 10 || (most / 2..=most).contains(&memory), "{memory} of {most} bytes after {n} messages");
    }
}
