//! Entries and payloads at the limits of the link: their length, their order, and the arguments with which Redis keeps them.

use std::rc::Rc;

use chinwag::access::{AccessChange, AccessEntry, Mute};
use chinwag::backplane::{LinkAction, Withdrawal};
use chinwag::protocol::{Change, LocalEvent, MessageId, Order, Payload, RemoteEvent, Sender, UniqueId};
use chinwag::text::RoomName;

use crate::link::{EPOCH, OTHER, PROCESS, Rig, array, bulk, entry, events, id, message, said, synced};
use crate::words::{name, room, text};

fn topic(raw: &str) -> Change {
    Change::Topic { by: Some(name("ann")), text: Some(text(raw)) }
}

fn relayed(raw: &str) -> Change {
    Change::Relayed {
        payload: Payload::Text(raw.into()),
        from: name("ann"),
        message: Some(Rc::new(message(raw))),
    }
}

fn record(rig: &mut Rig) {
    let mute = Mute { account: name("ann"), by: name("mod"), until_unix_millis: None };
    rig.backplane.record(AccessChange::Added(AccessEntry::Mute(mute)), rig.now);
}

#[test]
fn entry_that_is_longer_than_a_message_may_be_is_ignored() {
    let forms = [
        r#"{"id":"ID","say":{"at":1,"from":"ann","text":"TEXT"}}"#,
        r#"{"id":"ID","raw":{"at":1,"from":"ann","text":"TEXT"}}"#,
        r#"{"id":"ID","topic":{"from":"ann","text":"TEXT"}}"#,
    ];
    for form in forms {
        let mut rig = Rig::up("--message-max 1k --line-max 1k");
        rig.follow("lobby", 0);
        for (seq, bytes, ignored) in [(1, 1_024, 0), (2, 1_025, 1)] {
            let id = format!("{OTHER:016x}-{seq}");
            let entry = form.replace("ID", &id).replace("TEXT", &"a".repeat(bytes));
            let events = rig.payload("lobby", &format!("chinwag {seq} {EPOCH} - {entry}"));
            assert_eq!(
                (events.len() as u64, rig.backplane.counts().ignored),
                (1 - ignored, ignored),
                "{form}"
            );
        }
    }
}

#[test]
fn queue_counts_the_bytes_of_every_kind_of_change() {
    let long = "a".repeat(1_000);
    for change in [said as fn(&str) -> Change, topic, relayed] {
        let cost = |raw: &str| {
            let mut rig = Rig::new("");
            rig.backplane.submit(RoomName::lobby(), change(raw));
            rig.backplane.state().queue_bytes
        };
        assert_eq!(cost(&long) - cost("a"), 999);
    }
}

#[test]
fn relayed_message_that_is_shown_at_once_has_its_id() {
    let mut rig = Rig::up("");
    rig.disconnect();
    let ticket = rig.backplane.submit(RoomName::lobby(), relayed("hi"));
    let events = events(rig.actions());
    let [RemoteEvent::Changed { change: Change::Relayed { message: Some(message), .. }, .. }] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(message.id, id(PROCESS, ticket));
}

#[test]
fn scripts_are_called_with_the_limits_of_the_server() {
    let mut rig = Rig::up("");
    rig.backplane.share(LocalEvent::Subscribed { room: room("dev"), has_subscribers: true }, rig.now);
    rig.confirm_subscription("dev");
    let sync = rig.commands().swap_remove(0);
    assert_eq!(sync[..5], ["sync", "dev", "", "0", ""]);
    assert_eq!(sync[6..], ["100", "1048576", "604800000"]);
    rig.answer(&synced(0, 0, &[]));
    rig.backplane.read_table(std::iter::empty());
    let hour_ago = rig.now.unix_millis - 3_600_000;
    assert_eq!(rig.commands(), [["table".to_string(), hour_ago.to_string()]]);
    rig.answer("*0\r\n");
    // The expiry begins anew in each sixteenth of it.
    for millis in [0, 1, 37_799_998, 1, 37_800_000] {
        rig.now.unix_millis += millis;
        rig.receive(chinwag::backplane::RedisConnection::Commands, "");
        rig.submit("hi");
        let append = rig.commands().swap_remove(0);
        assert_eq!(append[6], (rig.now.unix_millis / 37_800_000).to_string());
        rig.answer(":1\r\n");
    }
}

#[test]
fn each_new_epoch_is_another_one() {
    let mut rig = Rig::up("");
    let mut epochs = Vec::new();
    for raw in ["one", "two"] {
        rig.submit(raw);
        epochs.push(rig.commands().swap_remove(0)[7].clone());
    }
    assert_ne!(epochs[0], epochs[1]);
}

#[test]
fn changes_of_rooms_and_of_access_are_one_order() {
    let mut rig = Rig::up("");
    record(&mut rig);
    rig.submit("one");
    record(&mut rig);
    rig.backplane.submit(RoomName::lobby(), topic("tea"));
    record(&mut rig);
    let orders: Vec<[String; 2]> = rig
        .commands()
        .into_iter()
        .map(|words| match &*words[0] {
            "record" => [words[1].clone(), words[2].clone()],
            _ => [words[2].clone(), words[3].clone()],
        })
        .collect();
    assert_eq!(orders, [["1", "0"], ["2", "1"], ["3", "2"], ["4", "3"], ["5", "4"]]);
    // Nothing of an earlier session is unanswered in the next one.
    rig.reconnect();
    rig.hello = array(&[":0", &bulk("db1"), ":2000"]);
    let first = loop {
        let commands = rig.commands();
        if let Some(words) = commands.iter().find(|words| words[0] == "record") {
            break words.clone();
        }
        commands.iter().for_each(|words| rig.answer_one(words));
        if rig.actions().contains(&LinkAction::Register) {
            rig.backplane.register(&[]);
        }
    };
    assert_eq!(first[1..3], ["1", "0"]);
}

#[test]
fn empty_room_in_another_epoch_has_lost_nothing() {
    for (last, loses) in [(0, false), (6, true)] {
        let mut rig = Rig::up("");
        rig.follow("lobby", last);
        rig.payload("lobby", &format!("chinwag 1 000000000000000f-1 - {}", entry(OTHER, 1, "hi")));
        assert_eq!(rig.command_names(), ["sync"]);
        let hi = entry(OTHER, 1, "hi");
        let reply = synced(0, 1, &[(1, &hi)]).replace(EPOCH, "000000000000000f-1");
        rig.answer(&reply);
        assert_eq!(rig.command_names().contains(&"hello".into()), loses);
    }
}

#[test]
fn position_behind_trimmed_entries_has_no_id() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    rig.payload("lobby", &format!("chinwag 1 {EPOCH} - {}", entry(OTHER, 1, "hi")));
    rig.payload("lobby", &format!("chinwag 20 {EPOCH} - {}", entry(OTHER, 20, "hi")));
    assert_eq!(rig.commands()[0][3..5], ["1".to_string(), format!("{OTHER:016x}-1")]);
    rig.answer(&synced(0, 20, &[]));
    rig.payload("lobby", &format!("chinwag 22 {EPOCH} - {}", entry(OTHER, 22, "hi")));
    assert_eq!(rig.commands()[0][3..5], ["20", ""]);
}

#[test]
fn payloads_that_were_delivered_after_a_read_do_not_count_as_waiting() {
    let mut rig = Rig::up("--redis-reply-max 64k --message-max 1k --line-max 1k");
    rig.follow("lobby", 0);
    for seq in [9, 18, 27] {
        rig.payload("lobby", &format!("chinwag {seq} {EPOCH} - {}", entry(OTHER, seq, "hi")));
        for _ in 0..6 {
            rig.payload("lobby", &"a".repeat(10 * 1024));
        }
        assert_eq!(rig.command_names(), ["sync"]);
        rig.answer(&synced(0, seq, &[]));
        assert!(rig.backplane.has_session());
    }
}

#[test]
fn payloads_without_a_number_are_delivered_after_a_read_in_parts() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 6);
    let entry = |n| entry(OTHER, n, "hi");
    rig.payload("lobby", &format!("chinwag 9 {EPOCH} - {}", entry(9)));
    rig.payload("lobby", "hello");
    let joined = r#"{"joined":{"by":"0000000000000b0b-5","name":"bo"}}"#;
    rig.payload("lobby", &format!("chinwag - - 4 {joined}"));
    rig.commands();
    rig.answer(&synced(0, 9, &[(7, &entry(7))]));
    assert_eq!(events(rig.actions()).len(), 2, "the position and a message");
    assert_eq!(rig.command_names(), ["sync"]);
    rig.answer(&synced(0, 9, &[(8, &entry(8)), (9, &entry(9))]));
    assert_eq!(events(rig.actions()).len(), 5, "the position, two messages, the payload and the join");
}

#[test]
fn topic_that_redis_had_before_does_not_end_a_read() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    rig.backplane.submit(RoomName::lobby(), topic("tea"));
    assert_eq!(rig.command_names(), ["topic"]);
    rig.payload("lobby", &format!("chinwag 2 {EPOCH} - {}", entry(OTHER, 2, "hi")));
    rig.payload("lobby", "hello");
    assert_eq!(rig.command_names(), ["sync"]);
    rig.answer(":0\r\n");
    rig.actions();
    assert_eq!(rig.command_names(), [""; 0]);
    rig.answer(&synced(0, 2, &[(1, &entry(OTHER, 1, "hi")), (2, &entry(OTHER, 2, "hi"))]));
    assert_eq!(events(rig.actions()).len(), 4, "the position, two messages and the payload");
}

#[test]
fn message_by_another_way_is_not_of_a_client() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    let by = format!("{OTHER:016x}-9");
    let client = Sender::Client(
        by.parse::<MessageId>().map(|id| UniqueId { process: id.process, serial: 9 }).unwrap(),
    );
    let rows = [(r#""via":"http","#, Sender::Http), (r#""via":"mail","#, Sender::Unknown), ("", client)];
    for (seq, (via, sender)) in (1..).zip(rows) {
        let entry = format!(r#"{{"say":{{"at":1,"by":"{by}",{via}"from":"ann","text":"hi"}}}}"#);
        let events = rig.payload("lobby", &format!("chinwag {seq} {EPOCH} - {entry}"));
        let [RemoteEvent::Changed { change: Change::Message(message), .. }] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(message.sender, sender, "{via}");
    }
}

#[test]
fn leave_and_new_name_in_a_large_room_are_delivered_by_their_replies() {
    let by = UniqueId { process: PROCESS, serial: 3 };
    let left = |count| Change::Left { by, name: name("ann"), reason: None, count };
    let renamed = Change::Renamed { by, from: name("ann"), to: name("bo"), count: 60 };
    let rows = [(left(1), array(&[":50", ":0"]), left(50)), (renamed.clone(), ":0\r\n".into(), renamed)];
    for (change, reply, expected) in rows {
        let mut rig = Rig::up("");
        rig.follow("lobby", 0);
        let ticket = rig.backplane.submit(RoomName::lobby(), change);
        rig.commands();
        rig.answer(&reply);
        let (room, order) = (RoomName::lobby(), Order::Unnumbered);
        let event = RemoteEvent::Changed { room, change: expected, order, ticket: Some(ticket) };
        assert_eq!(events(rig.actions()), [event]);
    }
}

#[test]
fn withdrawn_message_takes_no_room_in_the_queue() {
    let mut rig = Rig::new("");
    let ticket = rig.submit("hi");
    assert!(rig.backplane.state().queue_bytes > 0);
    assert_eq!(rig.backplane.withdraw(&RoomName::lobby(), ticket), Withdrawal::Withdrawn);
    assert_eq!(rig.backplane.withdraw(&RoomName::lobby(), ticket), Withdrawal::Confirmed);
    assert_eq!(rig.backplane.state().queue_bytes, 0);
}
