//! Crowds, as conversations: joins and leaves are not announced but summed up every ten seconds.

use chinwag::chat::{Census, ClientId};
use chinwag::time::Moment;

use crate::talk::*;

#[test]
fn room_over_announce_max_members_is_a_crowd() {
    let mut talk = Talk::new("--guests --announce-max 2");
    talk.connects(ANN);
    assert_eq!(
        talk.connects(BOB),
        [named(BOB), announce([ANN], joined("guest-2")), reply(BOB, hello("guest-2", &["guest-1"]))]
    );
    assert_eq!(
        talk.connects(CY),
        [named(CY), reply(CY, hello("guest-3", &["guest-1", "guest-2"]))],
        "the third is not announced"
    );
    assert_eq!(talk.leaves(CY, None), [], "nor missed aloud");
    assert_eq!(talk.leaves(BOB, None), [announce([ANN], left("guest-2"))], "two are few again");
}

#[test]
fn announce_max_is_fifty_by_default() {
    let mut talk = Talk::new("--guests");
    (0..49).for_each(|slot| drop(talk.connects(ClientId(slot))));
    let announced = |sent: Vec<Outcome>| sent.iter().any(|sent| matches!(sent, Outcome::Announce(..)));
    assert!(announced(talk.connects(ClientId(49))), "the 50th");
    assert!(!announced(talk.connects(ClientId(50))), "the 51st");
}

#[test]
fn rename_in_a_crowd_is_not_announced() {
    let mut talk = Talk::with("--announce-max 2", &["ann", "bob", "cy"]);
    assert_eq!(talk.asks(ANN, nick("eve")), [reply(ANN, you_are("eve"))]);
    talk.leaves(CY, None);
    assert_eq!(
        talk.asks(ANN, nick("ann")),
        [reply(ANN, you_are("ann")), announce([BOB], renamed("eve", "ann"))]
    );
}

#[test]
fn message_in_a_crowd_reaches_all_of_it() {
    let mut talk = Talk::with("--announce-max 2", &["ann", "bob", "cy", "dan"]);
    assert_eq!(talk.asks(BOB, say("hi")), [announce([ANN, CY, DAN], message(1, "bob", "hi"))]);
}

#[test]
fn summary_comes_ten_seconds_after_the_first_unannounced_change() {
    let mut talk = Talk::with("--announce-max 2", &["ann", "bob"]);
    assert_eq!(talk.chat.next_timeout(), None);
    talk.after_seconds(5);
    talk.comes(CY, "cy");
    assert_eq!(talk.chat.next_timeout(), Some(Moment::from_millis(15_000)));
    talk.after_seconds(4);
    talk.comes(DAN, "dan");
    talk.leaves(CY, None);
    assert_eq!(talk.chat.next_timeout(), Some(Moment::from_millis(15_000)), "the first counts");
    assert_eq!(talk.after_millis(5_999), []);
    assert_eq!(talk.after_millis(1), [announce([ANN, BOB, DAN], crowd(2, 1, 3))]);
    assert_eq!(talk.chat.next_timeout(), None);
    assert_eq!(talk.after_seconds(60), [], "no news, no summary");
    talk.leaves(DAN, None);
    assert_eq!(talk.after_seconds(10), [announce([ANN, BOB], crowd(0, 1, 2))], "counted anew");
}

#[test]
fn each_crowd_has_its_own_summary() {
    let mut talk = Talk::with("--announce-max 1", &["ann", "bob", "cy", "dan"]);
    talk.after_seconds(10);
    talk.asks(ANN, join("dev"));
    talk.asks(BOB, join("dev"));
    talk.after_seconds(1);
    assert_eq!(
        talk.after_seconds(9),
        [announce([DAN, CY], crowd(0, 2, 2)), announce([ANN, BOB], crowd(1, 0, 2))]
    );
}

#[test]
fn crowd_that_has_dispersed_is_sent_no_summary() {
    let mut talk = Talk::with("--announce-max 1 --history 0", &["ann", "bob"]);
    talk.leaves(ANN, None);
    talk.leaves(BOB, None);
    assert_eq!(talk.after_seconds(10), []);
    assert_eq!(talk.chat.census(), Census::default());
}

#[test]
fn summary_is_not_sent_earlier_because_of_a_closed_room() {
    // No room is small enough to announce, so "old" owes a summary from its first member on.
    let mut talk = Talk::with("--announce-max 0 --history 0", &["ann"]);
    talk.after_seconds(10);
    talk.asks(ANN, join("old"));
    talk.after_seconds(9);
    talk.asks(ANN, leave());
    talk.asks(ANN, join("new"));
    assert_eq!(talk.after_seconds(1), [], "ten seconds after old was opened");
    assert_eq!(talk.after_seconds(9), [announce([ANN], crowd(1, 0, 1))], "ten seconds after new was");
}
