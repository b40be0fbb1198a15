//! The wall clock shows years after 9999, 1970, or another time than before. Deadlines go by the monotonic clock, so
//! only the times shown to people change.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::socket::Socket;
use crate::stage::Stage;
use crate::web::{ask_once, get, post};

const SECOND: Duration = Duration::from_secs(1);

/// The first millisecond of the year 10000, which no HTTP date can hold.
const YEAR_10000: u64 = 253_402_300_800_000;

/// Sends messages by line, JSON and HTTP while the clock shows that time, and returns what clients read.
fn talk(stage: &mut Stage) -> String {
    let ann = stage.join("ann");
    let mut tab = Socket::open(stage, "/ws?name=tab&room=lobby");
    let answer = ask_once(stage, &post("/rooms/lobby/messages?from=ci", "", "green"));
    stage.say(ann, "hi");
    tab.say(stage, r#"{"type":"say","room":"lobby","text":"ho"}"#);
    stage.run();
    stage.expect_contains(ann, "tab: ho");
    assert!(tab.texts(stage).iter().any(|text| text.contains(r#""text":"hi""#)));
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let history = ask_once(stage, &get("/rooms/lobby/messages"));
    assert!(history.contains("green") && history.contains("ho"), "{history}");
    assert!(ask_once(stage, &get("/metrics")).starts_with("HTTP/1.1 200 "));
    answer
}

#[test]
fn http_answers_have_no_date_once_the_year_has_five_digits() {
    for (epoch_millis, dated) in [
        (0, true),
        (YEAR_10000 - 3_600_000, true),
        (YEAR_10000, false),
        (u64::MAX / 2, false),
        (u64::MAX, false),
    ] {
        let mut stage = Stage::new("");
        stage.world().epoch_millis = epoch_millis;
        let answer = talk(&mut stage);
        assert_eq!(answer.to_lowercase().contains("\r\ndate: "), dated, "{epoch_millis}: {answer}");
        assert!(!dated || answer.contains(" GMT\r\n"), "{answer}");
    }
}

#[test]
fn clock_that_is_set_closes_no_connection() {
    let mut stage = Stage::new("--name-timeout 10s --idle-timeout 1h --ping-interval 25s");
    let (ann, unnamed) = (stage.join("ann"), stage.connect());
    stage.say(ann, "before");
    stage.run();
    for epoch_millis in [u64::MAX, 0, YEAR_10000, 1_600_000_000_000] {
        stage.world().epoch_millis = epoch_millis;
        stage.pass(SECOND);
    }
    let bob = stage.join("bob");
    stage.say(bob, "/history");
    stage.run();
    stage.expect_contains(bob, "ann: before");
    stage.say(unnamed, "cy");
    stage.run();
    stage.expect_contains(unnamed, "-- hello cy. ");
    // A message from an hour ahead of the clock has an age of zero.
    stage.world().epoch_millis += 3_600_000;
    stage.say(bob, "from the future");
    stage.run();
    stage.world().epoch_millis -= 3_600_000;
    stage.say(ann, "/history 1");
    stage.run();
    stage.expect_contains(ann, "bob: from the future");
}

#[test]
fn processes_with_different_clocks_are_one_chat() {
    for (first, second) in [(0, u64::MAX), (u64::MAX, 0), (1_600_000_000_000, YEAR_10000)] {
        let mut cluster = Cluster::new(2, "");
        cluster.stage(0).world().epoch_millis = first;
        cluster.stage(1).world().epoch_millis = second;
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.expect(ann, &["-- bob joined"]);
        cluster.say(ann, "hi");
        cluster.expect(bob, &["ann: hi"]);
        cluster.say(bob, "ho");
        cluster.expect(ann, &["bob: ho"]);
        // No client is lost because the clocks differ, or because one of them is set.
        cluster.pass(60 * SECOND);
        (0..2).for_each(|process| cluster.stage(process).world().epoch_millis = first);
        cluster.pass(60 * SECOND);
        let conn = cluster.conns(1)[0];
        cluster.redis.kill(conn);
        cluster.pass(10 * SECOND);
        for guest in [ann, bob] {
            cluster.expect(guest, &[]);
            assert_eq!(cluster.who(guest), ["ann", "bob"]);
        }
        let answer = cluster.ask_http(1, &get("/rooms/lobby/messages"));
        assert!(answer.contains(r#""text":"hi""#), "{answer}");
        cluster.end();
    }
}

#[test]
fn messages_of_other_processes_from_any_time_are_shown() {
    let mut cluster = Cluster::new(1, "");
    let ann = cluster.join(0, "ann");
    let tell = |cluster: &mut Cluster, n: u32, at: &str, text: &str| {
        let id = format!("{:016x}-{n}", 77);
        let entry = format!(r#"{{"id":"{id}","say":{{"at":{at},"from":"eve","text":"{text}"}}}}"#);
        cluster.redis.publish("chinwag:lobby", format!("chinwag - - - {entry}").as_bytes());
        cluster.run();
    };
    for (n, at) in [(1, "0"), (2, "253402300800000"), (3, "18446744073709551615")] {
        tell(&mut cluster, n, at, &format!("at {at}"));
        cluster.expect(ann, &[&format!("eve: at {at}")]);
    }
    // Invalid times make a message unreadable, which is counted.
    for at in ["-1", "18446744073709551616", "1.5", "\"now\""] {
        tell(&mut cluster, 4, at, "never");
        cluster.expect(ann, &[]);
    }
    assert_eq!(cluster.counts(0).ignored, 4);
    cluster.end();
}
