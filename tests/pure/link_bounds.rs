//! The bounds of the link: of its queue, its memory and its window.

use chinwag::backplane::{LinkAction, RedisConnection};
use chinwag::protocol::{MessageId, Presence, RemoteEvent};
use chinwag::text::RoomName;

use crate::link::{EPOCH, Rig, changed, entry, message_of};
use crate::words::name;

#[test]
fn oldest_messages_are_discarded_if_the_queue_is_full_and_their_number_is_appended() {
    let mut rig = Rig::new("--redis-queue 64k");
    let long = "a".repeat(10 * 1024);
    for _ in 0..8 {
        rig.submit(&long);
    }
    let shed: Vec<LinkAction> = rig.actions();
    let discarded = |ticket| {
        let id = MessageId { process: 0xC0FFEE, serial: ticket };
        LinkAction::Shed { room: RoomName::lobby(), id }
    };
    assert_eq!(shed, [1, 2].map(discarded));
    assert_eq!(rig.backplane.counts().shed, 2);
    assert!(rig.backplane.state().queue_bytes <= 64 * 1024);
    rig.connect();
    let mut appended = Vec::new();
    while !rig.backplane.is_up() {
        if rig.actions().contains(&LinkAction::Register) {
            rig.backplane.register(&[]);
        }
        for words in rig.commands() {
            match words[0].as_str() {
                "append" => {
                    appended.push(words[8].clone());
                    rig.answer(":1\r\n");
                }
                _ => rig.answer_one(&words),
            }
        }
    }
    assert_eq!(appended.len(), 7);
    assert_eq!(appended[0], r#"{"id":"0000000000c0ffee-1","lost":{"count":2}}"#);
    assert_eq!(appended[1], entry(0xC0FFEE, 3, &long));
}

#[test]
fn longest_message_fits_into_the_smallest_queue_and_is_discarded_for_the_next_one() {
    let mut rig = Rig::new("--redis-queue 64k --message-max 64k");
    rig.submit(&"a".repeat(64 * 1024));
    assert_eq!(rig.actions(), []);
    let ticket = rig.submit("hi");
    let id = MessageId { process: 0xC0FFEE, serial: ticket - 1 };
    assert_eq!(rig.actions(), [LinkAction::Shed { room: RoomName::lobby(), id }]);
}

#[test]
fn message_that_redis_may_have_is_not_discarded() {
    let mut rig = Rig::up("--redis-queue 64k");
    let long = "a".repeat(10 * 1024);
    for _ in 0..3 {
        rig.submit(&long);
    }
    assert_eq!(rig.command_names(), ["append", "append", "append"]);
    rig.backplane.handle_broken("it has closed the connection", rig.now);
    rig.actions();
    let discarded: Vec<u64> = (0..5)
        .flat_map(|_| {
            rig.submit(&long);
            rig.actions()
        })
        .map(|action| match action {
            LinkAction::Shed { id, .. } => id.serial,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(discarded, [4, 5]);
}

#[test]
fn number_of_discarded_messages_that_redis_may_have_is_sent_again_unchanged() {
    let mut rig = Rig::new("--redis-queue 64k");
    let long = "a".repeat(10 * 1024);
    for _ in 0..8 {
        rig.submit(&long);
    }
    // The reply to the number is lost with the session.
    assert_eq!(appended(&mut rig, false), [(1, 2), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)]);
    rig.backplane.handle_broken("test", rig.now);
    for _ in 0..3 {
        rig.submit(&long);
    }
    let all = [(1, 2), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 2), (11, 0)];
    assert_eq!(appended(&mut rig, true), all);
}

/// Connects, and returns the serial numbers and counts of appended entries. They and later commands get no reply, or all do.
fn appended(rig: &mut Rig, is_answered: bool) -> Vec<(u64, u64)> {
    let mut appended = Vec::new();
    rig.connect();
    loop {
        if rig.actions().contains(&LinkAction::Register) {
            rig.backplane.register(&[]);
        }
        let commands = rig.commands();
        if commands.is_empty() {
            return appended;
        }
        for words in commands {
            match words[0].as_str() {
                "append" => {
                    let entry: serde_json::Value = serde_json::from_str(&words[8]).unwrap();
                    let serial = entry["id"].as_str().unwrap().rsplit_once('-').unwrap().1.parse().unwrap();
                    appended.push((serial, entry["lost"]["count"].as_u64().unwrap_or(0)));
                    if is_answered {
                        rig.answer(":1\r\n");
                    }
                }
                _ if is_answered || appended.is_empty() => rig.answer_one(&words),
                _ => {}
            }
        }
    }
}

#[test]
fn clients_of_a_large_process_are_registered_one_window_at_a_time() {
    let mut rig = Rig::new("--redis-queue 64k");
    let ann =
        |client| Presence { client, name: name("ann"), is_account: false, rooms: vec![RoomName::lobby()] };
    rig.clients = (0..10_000).map(ann).collect();
    rig.connect();
    let mut most = 0;
    while !rig.backplane.is_up() {
        if rig.actions().contains(&LinkAction::Register) {
            rig.backplane.register(&rig.clients.clone());
        }
        let commands = rig.commands();
        most = most.max(commands.iter().filter(|words| words[0] == "claim").count());
        commands.iter().for_each(|words| rig.answer_one(words));
    }
    assert!((100..5_000).contains(&most), "{most}");
    assert_eq!(rig.backplane.state().queue_bytes, 0);
}

#[test]
fn payloads_that_wait_for_a_room_are_bounded() {
    let mut rig = Rig::up("--redis-reply-max 64k --message-max 1k --line-max 1k");
    rig.follow("lobby", 0);
    rig.payload("lobby", &format!("chinwag 9 {EPOCH} - {}", entry(1, 1, "hi")));
    let long = "a".repeat(10 * 1024);
    for _ in 0..6 {
        rig.payload("lobby", &long);
    }
    assert!(rig.backplane.has_session());
    rig.payload("lobby", &long);
    assert!(!rig.backplane.has_session());
}

#[test]
fn numbers_of_any_size_are_accepted() {
    let mut rig = Rig::up("");
    rig.follow("lobby", u64::MAX >> 1);
    let (max, raw) = (u64::MAX, entry(1, u64::MAX, "hi"));
    let events = rig.payload("lobby", &format!("chinwag {} {EPOCH} {max} {raw}", (max >> 1) + 1));
    assert_eq!(events, [changed(1, max, "hi", chinwag::protocol::Order::At((max >> 1) + 1))]);
    rig.payload("lobby", &format!("chinwag {max} {EPOCH} - {raw}"));
    assert_eq!(rig.command_names(), ["sync"]);
}

#[test]
fn endless_reply_ends_the_session() {
    let mut rig = Rig::up("--redis-reply-max 64k");
    rig.receive(RedisConnection::Subscriptions, &format!("$2000000\r\n{}", "a".repeat(1024 * 1024)));
    assert_eq!((rig.backplane.has_session(), rig.actions()), (false, vec![LinkAction::Disconnect]));
}

#[test]
fn unexpected_reply_ends_the_session() {
    for bytes in [":1\r\n", "what?\r\n", "*-7\r\n"] {
        let mut rig = Rig::up("");
        rig.answer(bytes);
        assert_eq!(
            (rig.backplane.has_session(), rig.actions()),
            (false, vec![LinkAction::Disconnect]),
            "{bytes:?}"
        );
    }
    let mut rig = Rig::up("");
    rig.submit("hi");
    rig.commands();
    rig.answer("+OK\r\n");
    assert!(!rig.backplane.has_session());
}

#[test]
fn late_payload_of_a_room_that_is_not_followed_is_ignored() {
    let mut rig = Rig::up("");
    let raw = format!("chinwag 1 {EPOCH} - {}", entry(1, 1, "hi"));
    rig.receive(RedisConnection::Subscriptions, &message_of(&["message", "chinwag:lobby", &raw]));
    assert_eq!(rig.actions(), Vec::<LinkAction>::new());
    assert!(!rig.payload("lobby", &raw).contains(&RemoteEvent::Connected));
}
