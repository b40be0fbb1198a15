//! The link's order, deadlines and clocks: joins and leaves within one tick, a timeout longer than the heartbeat
//! interval, and a wall clock that is set.

use chinwag::backplane::Link;
use chinwag::protocol::{LocalEvent, Presence};
use chinwag::text::RoomName;

use crate::link::{HEAD, Rig, said};
use crate::words::name;

const OWN: &str = "chinwag:@0000000000c0ffee";
const HOUR_MILLIS: u64 = 3_600_000;

fn presence(raw: &str, since: u64) -> Presence {
    Presence { name: name(raw), since_unix_millis: since, rooms: vec![RoomName::lobby()] }
}

fn in_lobby(raw: &str, since: u64) -> String {
    format!(r#"{{"name":"{raw}","since":{since},"rooms":["lobby"]}}"#)
}

/// Delivers the process's own heartbeat.
fn echo(rig: &mut Rig) {
    assert_eq!(rig.on_message("chinwag:@presence", &format!("{HEAD}:\"beat\",\"version\":1}}")), []);
}

#[test]
fn clients_that_left_in_a_tick_are_removed_before_the_version_is_written() {
    let mut rig = Rig::up("");
    rig.backplane.register(&[(3, presence("ann", 5)), (4, presence("bob", 6))]);
    rig.settle();
    let now = rig.now;
    let mut share = |share| rig.backplane.share(share, now);
    // One client leaves, another takes its name, one joins and leaves, and one joins and is renamed.
    share(LocalEvent::Gone { client: 3, reason: None });
    share(LocalEvent::Present { client: 4, presence: presence("ann", 7) });
    share(LocalEvent::Present { client: 5, presence: presence("cy", 8) });
    share(LocalEvent::Gone { client: 5, reason: None });
    share(LocalEvent::Present { client: 6, presence: presence("di", 9) });
    share(LocalEvent::Present { client: 6, presence: presence("dora", 9) });
    let words: Vec<String> = rig.commands().iter().map(|words| words.join(" ")).collect();
    let [ann, dora] = [in_lobby("ann", 7), in_lobby("dora", 9)];
    assert_eq!(
        words[..4],
        [
            format!("HGET {OWN} v"),
            format!("HDEL {OWN} 3 5"),
            format!("HSET {OWN} 4 {ann} 6 {dora} v 3"),
            format!("PEXPIRE {OWN} 20000"),
        ]
    );
    // Other processes get the events in order: a name is free before it is taken.
    let [published] = &words[4..] else { panic!("{words:?}") };
    assert!(
        published.starts_with(&format!(r#"PUBLISH chinwag:@presence {HEAD}:"clients","version":3,"#)),
        "{published}"
    );
    let places = [r#""id":3"#, r#""id":4"#, r#""id":5"#, r#""id":6"#].map(|id| published.find(id));
    assert!(places.is_sorted() && places[0].is_some(), "{published}");
    assert!(!published.contains(r#""di""#), "only the last of several in a row counts: {published}");
}

#[test]
fn messages_and_joins_are_published_in_the_order_in_which_they_came() {
    let mut rig = Rig::up("");
    rig.backplane.share(LocalEvent::Present { client: 3, presence: presence("ann", 5) }, rig.now);
    rig.backplane.share(said("hello"), rig.now);
    rig.backplane.share(LocalEvent::Gone { client: 3, reason: None }, rig.now);
    let words: Vec<String> = rig.commands().iter().map(|words| words.join(" ")).collect();
    let place =
        |part: &str| words.iter().position(|words| words.contains(part)).unwrap_or_else(|| panic!("{part}"));
    let order = [
        place("HSET"),
        place(r#""clients","version":2"#),
        place("hello"),
        place("HDEL"),
        place(r#""clients","version":3"#),
    ];
    assert!(order.is_sorted(), "{words:?}");
}

#[test]
fn timeout_longer_than_the_heartbeat_interval_counts_from_the_first_unanswered_heartbeat() {
    let mut rig = Rig::up("--redis-timeout 12s");
    // Heartbeats go out at 5, 10 and 15 seconds, and come back, but no command is answered.
    for second in 1..=16 {
        rig.after_millis(1_000);
        rig.commands();
        echo(&mut rig);
        assert!(rig.backplane.is_up(), "after {second} s");
    }
    rig.after_millis(999);
    assert!(rig.backplane.is_up());
    rig.after_millis(1);
    assert!(!rig.backplane.is_up(), "12 s after the first sign of life");
    assert_eq!(rig.commands(), Vec::<Vec<String>>::new());
}

#[test]
fn late_answers_extend_the_timeout() {
    let mut rig = Rig::up("--redis-timeout 12s");
    for _ in 0..10 {
        // The heartbeat of five seconds ago is answered eleven seconds late.
        rig.after_millis(5_000);
        let sent = rig.commands();
        rig.after_millis(4_900);
        echo(&mut rig);
        rig.receive(Link::Commands, &"$1\r\n1\r\n".repeat(usize::from(!sent.is_empty())));
        rig.receive(Link::Commands, &":1\r\n".repeat(sent.len().saturating_sub(1)));
        assert!(rig.backplane.is_up());
    }
}

#[test]
fn missing_heartbeat_ends_the_session_after_the_timeout_however_many_follow() {
    let mut rig = Rig::up("--redis-timeout 12s");
    for second in 1..=16 {
        rig.after_millis(1_000);
        rig.settle();
        assert!(rig.backplane.is_up(), "after {second} s");
    }
    rig.after_millis(999);
    assert!(rig.backplane.is_up());
    rig.after_millis(1);
    assert!(!rig.backplane.is_up(), "12 s after the first sign of life");
}

#[test]
fn deadlines_of_the_link_go_by_the_monotonic_clock() {
    for ahead in [true, false] {
        let mut rig = Rig::up("--redis-timeout 2s");
        rig.backplane.share(said("hi"), rig.now);
        rig.commands();
        let set = |millis: u64| if ahead { millis + HOUR_MILLIS } else { millis - HOUR_MILLIS };
        rig.now.unix_millis = set(rig.now.unix_millis);
        rig.after_millis(1_999);
        assert!(rig.backplane.is_up(), "only the clock on the wall has moved");
        rig.now.unix_millis = set(rig.now.unix_millis);
        rig.after_millis(1);
        assert!(!rig.backplane.is_up());
        // A clock that is set does not delay the next attempt either.
        let next = rig.backplane.next_timeout().unwrap().since(rig.now.moment);
        assert!(next.as_millis() < 200, "{next:?}");
    }
}

#[test]
fn age_of_a_message_is_that_of_the_clock_on_which_more_time_has_passed() {
    // Monotonic and wall clock of three processes: one was stopped, one has its clock set back, and one is undisturbed.
    for (steady, wall, age) in [(0, HOUR_MILLIS, HOUR_MILLIS), (30_000, 0, 30_000), (9_000, 9_000, 9_000)] {
        let mut rig = Rig::up("--redis-timeout 1m");
        rig.listens("lobby");
        rig.backplane.share(said("hi"), rig.now);
        rig.settle();
        for _ in 0..steady / 1_000 {
            rig.after_millis(1_000);
            echo(&mut rig);
            rig.settle();
        }
        rig.now.unix_millis = 1_700_000_000_000 + wall;
        let ask = r#"{"chinwag":"0000000000000009","type":"ask","epoch":1,"n":0}"#;
        rig.on_message("chinwag:lobby", ask);
        let mark = format!(r#"{HEAD}:"mark","epoch":1,"n":1,"first":{age},"last":{age}}}"#);
        assert_eq!(rig.commands(), [["PUBLISH", "chinwag:lobby", &mark]]);
    }
}
