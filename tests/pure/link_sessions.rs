//! Sessions of the link that end: what they leave to the next one, and what the clients are told.

use std::time::Duration;

use chinwag::access::{AccessChange, AccessEntry, Mute};
use chinwag::backplane::{Backplane, LinkAction, RedisConnection};
use chinwag::config::Config;
use chinwag::protocol::{ForwardedRequest, Holder, LocalEvent, Order, Question, RemoteEvent, UniqueId};
use chinwag::text::RoomName;

use crate::link::{
    EPOCH, OTHER, PROCESS, Rig, address, array, bulk, changed, entry, events, joined, message_of, synced,
};
use crate::words::{name, room, text, typed};

const PONG: &str = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";

/// Has the next session begin, up to the reply to its `hello`: the lease has lasted. Returns the commands after it.
fn renew(rig: &mut Rig) -> Vec<String> {
    rig.hello = array(&[":0", &bulk("db1"), ":2000"]);
    rig.connect();
    let loads = rig.commands();
    loads.iter().for_each(|words| rig.answer_one(words));
    assert_eq!(rig.command_names(), ["hello"]);
    rig.answer(&rig.hello.clone());
    rig.command_names()
}

fn private(raw: &str) -> LocalEvent {
    let to = Holder { id: UniqueId { process: OTHER, serial: 9 }, name: name("bo") };
    LocalEvent::Private {
        to,
        by: UniqueId { process: PROCESS, serial: 3 },
        from: name("ann"),
        text: text(raw),
    }
}

fn undelivered() -> RemoteEvent {
    RemoteEvent::Undelivered { by: 3, to: name("bo") }
}

/// Makes the link look for a client of another process, to which the request is forwarded.
fn forward(rig: &mut Rig) {
    let request = ForwardedRequest::Whois { name: typed("bo"), with_address: false };
    let find = Question::Find { name: typed("bo"), request: Some(request) };
    rig.backplane.ask(7, vec![(find, None)], rig.now);
    assert_eq!(rig.command_names(), ["HGET"]);
    rig.answer(&bulk(&format!("{OTHER:016x} 9 0 bo")));
    assert_eq!(rig.command_names(), ["PUBLISH"]);
}

fn has_answer(actions: &[LinkAction]) -> bool {
    actions.iter().any(|action| matches!(action, LinkAction::Answer { asker: 7, .. }))
}

#[test]
fn rooms_count_as_subscribed_only_while_there_is_a_session() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    assert_eq!(rig.backplane.state().subscriptions, 1);
    rig.backplane.handle_broken("test", rig.now);
    assert_eq!(rig.backplane.state().subscriptions, 0);
}

#[test]
fn link_that_broke_a_moment_ago_is_not_done() {
    let mut rig = Rig::up("");
    assert!(rig.backplane.is_done());
    rig.backplane.handle_broken("test", rig.now);
    assert!(!rig.backplane.is_done());
    rig.after_millis(1_000);
    assert!(rig.backplane.is_done());
}

#[test]
fn host_without_an_address_is_tried_again() {
    let mut rig = Rig::new("");
    rig.skip();
    rig.actions();
    rig.backplane.handle_resolved(Ok(Vec::new()), rig.now);
    assert_eq!(rig.actions(), [LinkAction::Disconnect]);
    rig.connect();
    rig.settle();
    assert!(rig.backplane.is_up());
}

#[test]
fn name_that_takes_too_long_to_resolve_is_looked_up_again_and_the_late_result_ignored() {
    let mut rig = Rig::new("--redis-timeout 2s");
    rig.skip();
    assert!(matches!(rig.actions()[..], [LinkAction::Resolve { .. }]));
    rig.after_millis(1_999);
    assert!(!rig.actions().contains(&LinkAction::Disconnect));
    rig.after_millis(1);
    assert!(rig.actions().contains(&LinkAction::Disconnect));
    rig.backplane.handle_resolved(Ok(vec![address(1)]), rig.now);
    assert_eq!(rig.actions(), []);
    rig.connect();
    rig.settle();
    assert!(rig.backplane.is_up());
}

#[test]
fn connection_that_is_not_answered_in_time_is_tried_again() {
    let mut rig = Rig::new("--redis-timeout 2s");
    rig.open();
    rig.after_millis(1_999);
    assert!(!rig.actions().contains(&LinkAction::Disconnect));
    rig.after_millis(1);
    assert!(rig.actions().contains(&LinkAction::Disconnect));
}

#[test]
fn forwarded_request_is_answered_at_its_deadline_and_not_at_the_next_heartbeat() {
    let mut rig = Rig::up("--redis-timeout 1s");
    forward(&mut rig);
    rig.answer(":1\r\n");
    assert_eq!(rig.skip(), Duration::from_secs(1));
    assert!(has_answer(&rig.actions()));
    assert!(rig.skip() > Duration::from_secs(1), "the deadline is over");
}

#[test]
fn forwarded_request_is_answered_when_the_session_ends_before_its_publication_is_confirmed() {
    let mut rig = Rig::up("");
    forward(&mut rig);
    rig.backplane.handle_broken("test", rig.now);
    assert!(has_answer(&rig.actions()));
}

#[test]
fn idle_room_is_unfollowed_at_its_deadline_and_not_at_the_next_heartbeat() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    let begun = rig.now.moment;
    let event = LocalEvent::Subscribed { room: room("lobby"), has_subscribers: false };
    rig.backplane.share(event, rig.now);
    let unfollowed = RemoteEvent::Unfollowed { room: room("lobby") };
    loop {
        rig.skip();
        rig.receive(RedisConnection::Subscriptions, PONG);
        if events(rig.settle()).contains(&unfollowed) {
            break;
        }
    }
    assert_eq!(rig.now.moment.since(begun), Duration::from_secs(10));
}

#[test]
fn commands_that_redis_does_not_read_are_bounded_in_memory() {
    let mut rig = Rig::up("");
    let long = "a".repeat(60 * 1024);
    (0..2_300).for_each(|_| rig.backplane.share(private(&long), rig.now));
    rig.commands();
    assert!(!rig.backplane.has_session());
    assert_eq!(events(rig.actions()).len(), 2_300, "each sender is told");
}

#[test]
fn clients_are_told_of_an_outage_if_a_new_lease_takes_more_than_a_second() {
    for millis in [999, 1_000] {
        let mut rig = Rig::up("");
        rig.after_millis(4_000);
        rig.receive(RedisConnection::Subscriptions, PONG);
        assert_eq!(rig.command_names(), ["heartbeat"]);
        rig.answer(&array(&[":0"]));
        assert_eq!(rig.command_names(), ["hello"]);
        rig.after_millis(millis);
        assert_eq!(events(rig.actions()).contains(&RemoteEvent::Disconnected), millis == 1_000);
        rig.answer(&rig.hello.clone());
        let events = events(rig.settle());
        assert_eq!(events.contains(&RemoteEvent::Connected), millis == 1_000);
        rig.after_millis(1_500);
        assert!(!self::events(rig.actions()).contains(&RemoteEvent::Disconnected), "it is up again");
    }
}

#[test]
fn ending_process_begins_no_lease_and_sends_no_heartbeat() {
    let mut rig = Rig::up("");
    rig.backplane.leave();
    rig.after_millis(4_000);
    rig.receive(RedisConnection::Subscriptions, PONG);
    let gone = LocalEvent::Gone { client: 3, name: name("ann") };
    rig.backplane.share(gone, rig.now);
    assert_eq!(rig.command_names(), ["bury"], "which frees the names too");
    rig.reconnect();
    let loads = rig.commands();
    loads.iter().for_each(|words| rig.answer_one(words));
    assert_eq!(rig.command_names(), ["bury", "PING"]);
}

#[test]
fn session_that_is_still_loading_its_scripts_sends_no_heartbeat() {
    let mut rig = Rig::new("");
    rig.connect();
    let loads = rig.commands();
    rig.after_millis(4_000);
    rig.receive(RedisConnection::Subscriptions, PONG);
    assert_eq!(rig.command_names(), [""; 0]);
    loads.iter().for_each(|words| rig.answer_one(words));
    assert_eq!(rig.command_names(), ["hello"]);
}

#[test]
fn heartbeat_overtakes_the_registration_of_many_clients() {
    let mut rig = Rig::new("");
    let ann = |client| chinwag::protocol::Presence {
        client,
        name: name("ann"),
        is_account: false,
        rooms: vec![room(&format!("room-{client}"))],
    };
    rig.clients = (0..5_000).map(ann).collect();
    rig.connect();
    let members = loop {
        if rig.actions().contains(&LinkAction::Register) {
            rig.backplane.register(&rig.clients.clone());
        }
        let commands = rig.commands();
        if commands[0][0] == "members" {
            break commands;
        }
        commands.iter().for_each(|words| rig.answer_one(words));
    };
    rig.after_millis(4_000);
    rig.receive(RedisConnection::Subscriptions, PONG);
    members.iter().for_each(|words| rig.answer_one(words));
    assert_eq!(rig.command_names()[..2], ["heartbeat", "members"]);
}

#[test]
fn refused_command_is_repeated_until_a_session_is_accepted_and_not_later() {
    let mut rig = Rig::up("");
    rig.after_millis(4_000);
    rig.receive(RedisConnection::Subscriptions, PONG);
    assert_eq!(rig.command_names(), ["heartbeat"]);
    rig.answer("-READONLY no\r\n");
    // The next session ends before it comes to the command.
    rig.connect();
    rig.commands();
    rig.answer("-OOM no\r\n");
    assert_eq!(rig.backplane.refusal(), Some("OOM"));
    assert_eq!(renew(&mut rig), ["heartbeat", "PING"]);
    rig.answer(&array(&[":1", ":1"]));
    rig.answer("+PONG\r\n");
    assert!(rig.backplane.is_up());
    rig.backplane.handle_broken("test", rig.now);
    assert_eq!(renew(&mut rig), ["PING"]);
}

#[test]
fn error_of_the_connection_with_subscriptions_is_no_error_of_a_command() {
    let mut rig = Rig::up("");
    rig.after_millis(4_000);
    rig.receive(RedisConnection::Subscriptions, PONG);
    assert_eq!(rig.command_names(), ["heartbeat"]);
    rig.receive(RedisConnection::Subscriptions, "-NOPERM no\r\n");
    assert_eq!((rig.backplane.has_session(), rig.backplane.refusal()), (false, Some("NOPERM")));
    assert_eq!(renew(&mut rig), ["PING"]);
}

#[test]
fn refusal_is_shown_until_the_link_is_down_for_another_reason() {
    let mut rig = Rig::up("");
    for (code, shown) in [("A".repeat(32), true), ("A".repeat(33), false), ("E_1".into(), true)] {
        rig.submit("hi");
        rig.commands();
        rig.answer(&format!("-{code} no\r\n"));
        assert_eq!(rig.backplane.refusal(), Some(&*code).filter(|_| shown));
        rig.connect();
        rig.settle();
        assert!(rig.backplane.is_up());
    }
    rig.submit("hi");
    rig.commands();
    rig.answer("-OOM no\r\n");
    rig.open();
    rig.backplane.handle_broken("refused", rig.now);
    assert_eq!(rig.backplane.refusal(), None);
}

#[test]
fn sender_of_a_private_message_is_told_once_that_it_was_not_delivered() {
    for error in [false, true] {
        let mut rig = Rig::up("");
        rig.backplane.share(private("hi"), rig.now);
        assert_eq!(rig.command_names(), ["PUBLISH"]);
        match error {
            true => rig.answer("-NOPERM no\r\n"),
            false => rig.backplane.handle_broken("test", rig.now),
        }
        assert_eq!(events(rig.actions()), [undelivered()]);
        // A refused publication is tried again, to find out whether Redis accepts it.
        let commands = renew(&mut rig);
        assert_eq!(commands.contains(&"PUBLISH".into()), error);
        if error {
            rig.answer(":0\r\n");
        }
        rig.answer("+PONG\r\n");
        assert!(rig.backplane.is_up());
        assert!(!events(rig.actions()).contains(&undelivered()));
    }
}

#[test]
fn sender_is_told_of_a_private_message_that_waited_until_the_link_counted_as_down() {
    let mut rig = Rig::up("");
    rig.after_millis(4_000);
    rig.receive(RedisConnection::Subscriptions, PONG);
    assert_eq!(rig.command_names(), ["heartbeat"]);
    rig.backplane.share(private("hi"), rig.now);
    // The lease has ended, so the message waits for the next one.
    rig.answer(&array(&[":0"]));
    assert_eq!(rig.command_names(), ["hello"]);
    rig.after_millis(1_000);
    assert_eq!(events(rig.actions()), [RemoteEvent::Disconnected, undelivered()]);
}

#[test]
fn pauses_grow_while_sessions_are_short_and_begin_anew_after_a_long_one() {
    let mut rig = Rig::up("");
    let mut pause = |session_millis: u64| {
        let mut rest = session_millis;
        while rest > 0 {
            let part = rest.min(2_000);
            rig.after_millis(part);
            rig.receive(RedisConnection::Subscriptions, PONG);
            rig.settle();
            rest -= part;
        }
        rig.backplane.handle_broken("test", rig.now);
        let begun = rig.now.moment;
        rig.connect();
        let pause = rig.now.moment.since(begun);
        rig.settle();
        assert!(rig.backplane.is_up());
        pause.as_secs_f64()
    };
    let pauses: Vec<f64> = [1_999, 1_999, 1_999, 1_999, 2_000, 1_999].into_iter().map(&mut pause).collect();
    for (pause, average) in pauses.iter().zip([0.1, 0.2, 0.4, 0.8, 0.1, 0.1]) {
        assert!((0.5 * average..=1.51 * average).contains(pause), "{pauses:?}");
    }
}

#[test]
fn session_that_is_not_accepted_does_not_delay_the_notice_of_the_outage() {
    let mut rig = Rig::up("");
    rig.backplane.handle_broken("test", rig.now);
    rig.after_millis(900);
    rig.connect();
    rig.backplane.handle_broken("test", rig.now);
    let before = events(rig.actions());
    rig.after_millis(100);
    assert!(!before.contains(&RemoteEvent::Disconnected));
    assert!(events(rig.actions()).contains(&RemoteEvent::Disconnected));
}

#[test]
fn change_that_waited_for_a_session_is_shown_when_it_ends_before_it_is_accepted() {
    let mut rig = Rig::up("");
    rig.disconnect();
    assert_eq!(renew_after_outage(&mut rig), ["PING"]);
    let ticket = rig.submit("hi");
    assert_eq!(rig.actions(), [], "Redis is to give it its place");
    rig.backplane.handle_broken("test", rig.now);
    assert_eq!(events(rig.actions()), [changed(PROCESS, ticket, "hi", Order::Unnumbered)]);
}

/// Like [`renew`], after clients were told of the outage: they are registered again.
fn renew_after_outage(rig: &mut Rig) -> Vec<String> {
    rig.connect();
    let loads = rig.commands();
    loads.iter().for_each(|words| rig.answer_one(words));
    rig.commands();
    rig.answer(&rig.hello.clone());
    rig.backplane.register(&[]);
    rig.commands();
    rig.answer("+PONG\r\n");
    rig.backplane.register(&[]);
    rig.actions();
    rig.command_names()
}

#[test]
fn silent_connection_with_subscriptions_ends_the_session_however_long_the_timeout_is() {
    for seconds in [5, 9] {
        let mut rig = Rig::up(&format!("--redis-timeout {seconds}s"));
        let begun = rig.now.moment;
        for _ in 0..9 {
            if rig.backplane.has_session() {
                rig.skip();
                rig.settle();
            }
        }
        assert_eq!(rig.now.moment.since(begun), Duration::from_secs(4 + seconds));
    }
}

#[test]
fn payloads_that_waited_in_an_earlier_session_do_not_count() {
    let mut rig = Rig::up("--redis-reply-max 64k --message-max 1k --line-max 1k");
    rig.follow("lobby", 0);
    for _ in 0..3 {
        rig.payload("lobby", "chinwag 9 000000000000000e-1 - {}");
        for _ in 0..6 {
            rig.payload("lobby", &"a".repeat(10 * 1024));
        }
        assert!(rig.backplane.has_session());
        rig.reconnect();
        rig.settle();
        assert!(rig.backplane.is_up());
    }
}

#[test]
fn reply_may_be_as_long_as_an_entry_of_the_longest_message() {
    for (bytes, fits) in [(8 * 64 * 1024 - 100, true), (8 * 64 * 1024, false)] {
        let mut rig = Rig::up("--redis-reply-max 64k --message-max 64k");
        rig.receive(
            RedisConnection::Subscriptions,
            &message_of(&["message", "chinwag:a", &"a".repeat(bytes + 999)])[..bytes],
        );
        assert!(rig.backplane.has_session());
        rig.receive(RedisConnection::Subscriptions, &"a".repeat(60));
        assert_eq!(rig.backplane.has_session(), fits);
    }
}

#[test]
fn redis_keeps_the_history_and_at_least_100_entries_after_a_reload() {
    let mut rig = Rig::up("--history 7");
    for (history, kept) in [("7", "100"), ("500", "500"), ("100", "100")] {
        rig.backplane.reload(&Config::from_flags(&format!("--history {history}")));
        rig.submit("hi");
        assert_eq!(rig.commands()[0][4], kept);
        rig.answer(":1\r\n");
    }
}

#[test]
fn lifted_entry_leaves_a_tombstone_for_a_year() {
    let mut rig = Rig::up("");
    let mute = Mute { account: name("ann"), by: name("mod"), until_unix_millis: None };
    let entry = AccessEntry::Mute(mute);
    rig.backplane.record(AccessChange::Lifted { entry, by: name("mod") }, rig.now);
    let words = rig.commands().swap_remove(0);
    let until = 1_700_000_000_000_u64 + 365 * 24 * 3_600 * 1_000;
    assert_eq!(words[5], format!(r#"{{"lifted_by":"mod","until_unix_millis":{until}}}"#));
}

#[test]
fn change_that_was_made_after_the_table_was_read_is_in_it() {
    let mut rig = Rig::up("");
    rig.backplane.read_table(std::iter::empty());
    assert_eq!(rig.command_names(), ["table"]);
    rig.answer("*0\r\n");
    let table = rig.actions().into_iter().find_map(|action| match action {
        LinkAction::Table(table) => Some(table),
        _ => None,
    });
    let mute = Mute { account: name("ann"), by: name("mod"), until_unix_millis: None };
    rig.backplane.record(AccessChange::Added(AccessEntry::Mute(mute)), rig.now);
    assert_eq!(rig.backplane.parse_table(table.unwrap()).len(), 1);
}

#[test]
fn room_name_in_another_spelling_is_no_channel_of_a_room() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    assert_eq!(rig.payload("LOBBY", "hello"), []);
    assert_eq!(rig.payload("lobby", "hello").len(), 1);
    assert_eq!(rig.payload(RoomName::lobby().as_str(), "hello").len(), 1);
}

#[test]
fn refused_question_is_asked_once_again_if_its_client_still_waits() {
    let mut rig = Rig::up("");
    let find = Question::Find { name: typed("bo"), request: None };
    rig.backplane.ask(7, vec![(find, None), (Question::Rooms { max: 1 }, None)], rig.now);
    assert_eq!(rig.command_names(), ["HGET", "rooms"]);
    rig.answer("-NOPERM no\r\n");
    assert_eq!(renew(&mut rig), ["HGET", "rooms", "PING"]);
    rig.answer("$-1\r\n");
    assert!(!has_answer(&rig.actions()));
    rig.answer(&array(&[":0"]));
    assert!(has_answer(&rig.actions()));
}

#[test]
fn session_is_accepted_only_when_its_rooms_are_read_to_the_end() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 1);
    rig.backplane.handle_broken("test", rig.now);
    assert_eq!(renew(&mut rig), ["sync", "PING"]);
    rig.answer(&synced(0, 3, &[(2, &entry(OTHER, 1, "hi"))]));
    rig.answer("+PONG\r\n");
    assert!(!rig.backplane.is_up());
    assert_eq!(rig.command_names(), ["sync"]);
    rig.answer(&synced(0, 3, &[(3, &entry(OTHER, 2, "ho"))]));
    assert!(rig.backplane.is_up());
}

#[test]
fn payload_that_comes_twice_causes_no_read() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 6);
    let payload = |seq: u64| format!("chinwag {seq} {EPOCH} - {}", entry(OTHER, seq, "hi"));
    assert_eq!(rig.payload("lobby", &payload(7)).len(), 1);
    for seq in [7, 6] {
        assert_eq!(rig.payload("lobby", &payload(seq)), []);
        assert_eq!(rig.command_names(), [""; 0]);
    }
}

#[test]
fn message_that_another_process_appends_again_is_not_shown_again() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    let rows = [(1, 5, false), (2, 5, true), (3, 4, true), (4, 6, false), (5, 6, true), (6, 5, true)];
    for (seq, serial, again) in rows {
        let order = if again { Order::Seen(seq) } else { Order::At(seq) };
        let payload = format!("chinwag {seq} {EPOCH} - {}", entry(OTHER, serial, "hi"));
        assert_eq!(rig.payload("lobby", &payload), [changed(OTHER, serial, "hi", order)], "{seq}");
    }
    let payload = format!("chinwag 7 {EPOCH} - {}", entry(OTHER + 1, 5, "hi"));
    assert_eq!(rig.payload("lobby", &payload), [changed(OTHER + 1, 5, "hi", Order::At(7))]);
}

#[test]
fn only_messages_of_other_processes_count_as_received() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    rig.payload("lobby", &format!("chinwag 1 {EPOCH} - {}", entry(PROCESS, 9, "hi")));
    assert_eq!(rig.backplane.counts().received, 0);
    rig.payload("lobby", &format!("chinwag 2 {EPOCH} - {}", entry(OTHER, 9, "hi")));
    rig.payload("lobby", "hello");
    assert_eq!(rig.backplane.counts().received, 2);
}

#[test]
fn confirmed_message_is_read_in_the_next_session_or_shown_if_there_is_none_in_time() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    let ticket = rig.submit("hi");
    rig.commands();
    rig.answer(":1\r\n");
    rig.actions();
    rig.backplane.handle_broken("test", rig.now);
    assert_eq!(events(rig.actions()), []);
    rig.now.moment += Duration::from_secs(1);
    rig.backplane.handle_timeout(rig.now);
    let shown = changed(PROCESS, ticket, "hi", Order::Unnumbered);
    assert_eq!(events(rig.actions()), [RemoteEvent::Disconnected, shown]);
}

#[test]
fn name_that_a_client_gets_during_a_registration_is_claimed() {
    let mut rig = Rig::up("");
    rig.disconnect();
    rig.connect();
    let loads = rig.commands();
    loads.iter().for_each(|words| rig.answer_one(words));
    rig.commands();
    rig.answer(&rig.hello.clone());
    rig.backplane.register(&[]);
    let guest = LocalEvent::Named { client: 3, name: name("guest-7"), old: None, is_account: false };
    rig.backplane.share(guest, rig.now);
    assert_eq!(rig.command_names(), ["PING"]);
    rig.answer("+PONG\r\n");
    rig.backplane.register(&[]);
    assert!(rig.command_names().contains(&"claim".into()));
}

#[test]
fn notices_of_the_time_of_an_outage_are_not_sent_later() {
    let mut rig = Rig::up("");
    rig.disconnect();
    let by = UniqueId { process: OTHER, serial: 9 };
    rig.backplane.share(LocalEvent::Away { by, name: name("ann"), text: text("lunch") }, rig.now);
    rig.backplane.share(LocalEvent::Undelivered { by, to: name("ann") }, rig.now);
    rig.backplane.share(LocalEvent::GuestsNeeded, rig.now);
    assert_eq!(renew_after_outage(&mut rig), ["PING"]);
}

#[test]
fn window_is_open_again_in_each_session() {
    let mut rig = Rig::up("");
    let long = "a".repeat(60 * 1024);
    for _ in 0..5 {
        rig.submit(&long);
    }
    assert_eq!(rig.command_names(), ["append"; 5]);
    rig.reconnect();
    rig.settle();
    assert!(rig.backplane.is_up());
    assert_eq!((rig.backplane.unconfirmed(), rig.backplane.state().queue_bytes), (0, 0));
}

#[test]
fn commands_of_a_session_end_with_it() {
    let mut rig = Rig::new("");
    rig.connect();
    rig.reconnect();
    assert_eq!(rig.commands().len(), 17, "each script is loaded once");
    let mut rig = Rig::up("");
    for _ in 0..2 {
        rig.after_millis(4_000);
        rig.receive(RedisConnection::Subscriptions, PONG);
        rig.commands();
        rig.answer(&array(&[":1", ":3", &bulk("000000000000000a")]));
    }
    assert_eq!(rig.command_names(), ["bury"]);
    rig.backplane.handle_broken("test", rig.now);
    assert_eq!(renew(&mut rig), ["PING"], "the other process may return meanwhile");
}

#[test]
fn name_of_a_client_that_left_is_freed_in_the_next_session() {
    let mut rig = Rig::up("");
    rig.backplane.share(LocalEvent::Gone { client: 3, name: name("ann") }, rig.now);
    assert_eq!(rig.command_names(), ["release"]);
    rig.backplane.handle_broken("test", rig.now);
    assert_eq!(renew(&mut rig), ["release", "PING"]);
}

#[test]
fn busy_rooms_do_not_hide_that_commands_are_not_answered() {
    let mut rig = Rig::up("--redis-timeout 3s");
    rig.follow("lobby", 0);
    rig.submit("hi");
    rig.commands();
    for up in [true, true, false] {
        rig.payload("lobby", "hello");
        rig.after_millis(1_000);
        assert_eq!(rig.backplane.has_session(), up);
    }
}

#[test]
fn error_at_the_choice_of_the_database_ends_the_session() {
    let config = Config::from_flags("--redis redis://:pass@localhost/3");
    let mut rig = Rig::new("");
    rig.backplane = Backplane::new(&config, config.redis.clone().unwrap(), PROCESS, rig.now);
    rig.open();
    rig.answer("+OK\r\n-ERR DB index is out of range\r\n+PONG\r\n");
    assert_eq!((rig.actions(), rig.backplane.refusal()), (vec![LinkAction::Disconnect], Some("ERR")));
}

#[test]
fn question_with_a_malformed_reply_is_answered_and_ends_the_session() {
    let mut rig = Rig::up("");
    for _ in 0..2 {
        rig.backplane.ask(7, vec![(Question::Rooms { max: 5 }, None)], rig.now);
        assert_eq!(rig.command_names(), ["rooms"]);
        rig.answer(&array(&[":-7"]));
        let answer = LinkAction::Answer { asker: 7, facts: Default::default() };
        assert_eq!(rig.actions(), [answer, LinkAction::Disconnect]);
        rig.connect();
        rig.settle();
        assert!(rig.backplane.is_up());
    }
}

#[test]
fn message_with_a_malformed_reply_is_sent_again_in_its_place() {
    let mut rig = Rig::up("");
    rig.submit("one");
    rig.submit("two");
    rig.commands();
    rig.answer("+OK\r\n");
    rig.connect();
    let mut serials = Vec::new();
    while !rig.backplane.is_up() {
        if rig.actions().contains(&LinkAction::Register) {
            rig.backplane.register(&[]);
        }
        for words in rig.commands() {
            serials.extend((words[0] == "append").then(|| words[2].clone()));
            rig.answer_one(&words);
        }
    }
    assert_eq!(serials, ["1", "2"]);
}

/// The reply to the message was lost with its session, and other processes have pushed it out of the stream.
#[test]
fn publisher_of_a_message_that_was_trimmed_meanwhile_is_answered() {
    for is_read_first in [true, false] {
        let mut rig = Rig::up("");
        rig.follow("lobby", 0);
        let ticket = rig.submit("hi");
        rig.commands();
        rig.reconnect();
        let (mut delivered, mut is_subscribed, mut is_appended) = (Vec::new(), false, false);
        while !rig.backplane.is_up() {
            let actions = rig.actions();
            if actions.contains(&LinkAction::Register) {
                rig.backplane.register(&[]);
            }
            delivered.extend(events(actions));
            if !is_subscribed && (is_read_first || is_appended) {
                rig.confirm_subscription("lobby");
                is_subscribed = true;
            }
            for words in rig.commands() {
                match words[0].as_str() {
                    "append" => rig.answer(":0\r\n"),
                    "sync" => rig.answer(&synced(0, 101, &[(101, &entry(OTHER, 1, "other"))])),
                    _ => rig.answer_one(&words),
                }
                is_appended |= words[0] == "append";
            }
        }
        delivered.extend(events(rig.actions()));
        let shown = changed(PROCESS, ticket, "hi", Order::Unnumbered);
        assert_eq!(delivered.iter().filter(|event| **event == shown).count(), 1, "{delivered:?}");
    }
}

#[test]
fn confirmed_join_is_shown_when_the_session_ends_before_it_comes_back() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    let ticket = rig.backplane.submit(room("lobby"), joined(1));
    assert_eq!(rig.command_names(), ["enter"]);
    rig.answer(&array(&[":2", ":1"]));
    rig.actions();
    rig.backplane.handle_broken("test", rig.now);
    let (room, change, order) = (room("lobby"), joined(1), Order::Unnumbered);
    assert_eq!(events(rig.actions()), [RemoteEvent::Changed { room, change, order, ticket: Some(ticket) }]);
}

#[test]
fn message_that_has_come_back_is_not_shown_again_when_the_link_counts_as_down() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    let ticket = rig.submit("hi");
    rig.commands();
    rig.answer(":1\r\n");
    rig.actions();
    let payload = format!("chinwag 1 {EPOCH} - {}", entry(PROCESS, ticket, "hi"));
    assert_eq!(rig.payload("lobby", &payload), [changed(PROCESS, ticket, "hi", Order::At(1))]);
    assert_eq!(events(rig.disconnect()), [RemoteEvent::Disconnected]);
}

#[test]
fn next_session_subscribes_to_all_rooms_however_many_there_are() {
    const ROOMS: usize = 1_200;
    let mut rig = Rig::up("");
    for number in 0..ROOMS {
        let event = LocalEvent::Subscribed { room: room(&format!("r{number}")), has_subscribers: true };
        rig.backplane.share(event, rig.now);
    }
    rig.reconnect();
    rig.settle();
    assert!(rig.backplane.is_up());
    assert_eq!(rig.backplane.state().subscriptions, ROOMS);
}
