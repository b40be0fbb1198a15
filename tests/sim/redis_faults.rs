//! Faults of Redis and of the connection to it, by their numbers in `src/guide/faults.md`. In all of them local chat goes on, and the processes become one chat
//! again by themselves.

use std::time::Duration;

use crate::cluster::{Cluster, Guest};
use crate::socket::Socket;
use crate::web::post;
use crate::world::Dial;

const SECOND: Duration = Duration::from_secs(1);
pub const DISCONNECTED: &str =
    "-- the other servers are out of reach: until they are back you see only messages of this one";
pub const CONNECTED: &str = "-- the other servers are within reach again";
const LOST: &str = "-- messages from other servers may have been lost";

/// Two clients on one process and one on another, who have read everything so far.
pub struct Three {
    pub cluster: Cluster,
    pub ann: Guest,
    pub bob: Guest,
    pub far: Guest,
    words: usize,
}

impl Three {
    pub fn new(flags: &str) -> Three {
        let mut cluster = Cluster::new(2, flags);
        let guests = [(0, "ann"), (0, "bob"), (1, "far")];
        let [ann, bob, far] = guests.map(|(process, name)| cluster.connect(process, name));
        // Time until a session counts as one that has lasted, or until clients are told that there is none.
        cluster.pass(10 * SECOND);
        for (guest, (_, name)) in [ann, bob, far].into_iter().zip(guests) {
            let lines = cluster.unread(guest);
            assert!(lines.iter().any(|line| line.starts_with(&format!("-- hello {name}. "))), "{lines:?}");
        }
        Three { cluster, ann, bob, far, words: 0 }
    }

    fn word(&mut self) -> String {
        self.words += 1;
        format!("word {}", self.words)
    }

    /// Checks that clients of one process receive each other's messages: at once, or a second after the process has noticed
    /// that Redis is away.
    #[track_caller]
    pub fn expect_local_chat(&mut self) {
        let word = self.word();
        self.cluster.unread(self.bob);
        self.cluster.say(self.ann, &word);
        let expected = format!("ann: {word}");
        let is_received = (0..80).any(|_| {
            self.cluster.run();
            let received = self.cluster.unread(self.bob).contains(&expected);
            if !received {
                self.cluster.pass(SECOND / 10);
            }
            received
        });
        assert!(is_received, "{expected}");
    }

    /// Checks that after a while all clients receive each other's messages and are listed everywhere.
    #[track_caller]
    pub fn expect_one_chat(&mut self) {
        self.cluster.pass(15 * SECOND);
        let word = self.word();
        for (from, name, to) in [(self.ann, "ann", self.far), (self.far, "far", self.bob)] {
            self.cluster.unread(to);
            self.cluster.say(from, &word);
            self.cluster.expect(to, &[&format!("{name}: {word}")]);
        }
        for guest in [self.ann, self.bob, self.far] {
            assert_eq!(self.cluster.who(guest), ["ann", "bob", "far"]);
        }
        for process in 0..2 {
            assert_eq!(self.cluster.conns(process).len(), 2);
            assert_eq!(self.cluster.link(process).queue_bytes, 0);
        }
        assert_eq!(self.cluster.redis.connections().len(), 4, "a connection is left over");
        assert_eq!(self.cluster.redis.numsub("chinwag:lobby"), 2);
    }
}

#[test]
fn fault_38_redis_syntax_is_refused_in_names_and_harmless_in_texts() {
    let mut three = Three::new("");
    let evil = r"a\r\n*1\r\n$8\r\nFLUSHALL\r\n";
    let mut tab = Socket::open(three.cluster.stage(0), "/ws?name=tab&room=lobby");
    three.cluster.run();
    tab.texts(three.cluster.stage(0));
    tab.say(three.cluster.stage(0), &format!(r#"{{"type":"join","room":"{evil}"}}"#));
    tab.say(three.cluster.stage(0), &format!(r#"{{"type":"nick","name":"{evil}"}}"#));
    let texts = tab.texts(three.cluster.stage(0));
    assert!(texts[0].contains(r#""code":"bad_room""#), "{texts:?}");
    assert!(texts[1].contains(r#""code":"bad_name""#), "{texts:?}");
    let wire = three.cluster.stage(0).connect_http();
    three.cluster.stage(0).send(wire, post("/rooms/a%0D%0AFLUSHALL/messages", "", "hi").as_bytes());
    three.cluster.run();
    let answer = String::from_utf8_lossy(three.cluster.stage(0).raw(wire)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    three.cluster.say(three.ann, "/join @presence");
    three.cluster.say(three.ann, "/join lobby*");
    three.cluster.run();
    assert!(three.cluster.unread(three.ann).iter().all(|line| !line.contains("you are")));
    three.cluster.unread(three.far);
    tab.say(three.cluster.stage(0), &format!(r#"{{"type":"say","room":"lobby","text":"{evil}"}}"#));
    three.cluster.run();
    assert_eq!(three.cluster.unread(three.far), ["tab: a *1 $8 FLUSHALL"]);
    three.cluster.stage(0).world().end(tab.wire);
    three.expect_one_chat();
    assert_eq!(three.cluster.counts(0).sessions, 1, "nothing that Redis has not understood");
    assert!(!three.cluster.redis.commands().contains_key("FLUSHALL"));
    three.cluster.end();
}

#[test]
fn fault_39_garbage_from_redis_causes_a_new_connection() {
    let nested = "*1\r\n".repeat(100_000);
    let garbage: [&[u8]; 10] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0\r\n",
        b"\xff\xfe\r\n",
        b":12x\r\n",
        b"$-7\r\n",
        b"*-7\r\n",
        b"$3\r\nabcde\r\n",
        b"+OK\r\n",
        b"*3\r\n$7\r\nmessage\r\n$1\r\n",
        nested.as_bytes(),
    ];
    for (bytes, conn) in garbage.into_iter().flat_map(|bytes| [(bytes, 0), (bytes, 1)]) {
        let mut three = Three::new("--redis-reply-max 64k");
        let conn = three.cluster.conns(0)[conn];
        three.cluster.redis.garble(conn, bytes);
        three.expect_local_chat();
        three.cluster.pass(20 * SECOND);
        let lines = three.cluster.unread(three.bob);
        assert!(lines.is_empty(), "{lines:?} after {:?}", String::from_utf8_lossy(bytes));
        three.expect_one_chat();
        three.cluster.end();
    }
}

#[test]
fn fault_39_huge_or_endless_reply_uses_no_more_memory_than_the_limit() {
    let begins: [&[u8]; 4] =
        [b"$1000000000\r\n", b"*1000000000\r\n", b"+", b"*2\r\n$3\r\nabc\r\n$700000\r\n"];
    for (begin, conn) in begins.into_iter().flat_map(|begin| [(begin, 0), (begin, 1)]) {
        // Below this limit the longest message would not fit.
        let mut three = Three::new("--redis-reply-max 600k");
        let conn = three.cluster.conns(0)[conn];
        three.cluster.redis.garble(conn, begin);
        let mut sent = 0;
        while !three.cluster.redis.is_closed(conn) && sent < 1_000_000 {
            three.cluster.redis.garble(conn, if begin[0] == b'*' { b":1\r\n:1\r\n" } else { &[b'x'; 10] });
            sent += 10;
            if sent % 1_000 == 0 {
                three.cluster.run();
            }
        }
        assert!((600_000..800_000).contains(&sent), "it has read {sent} bytes");
        three.expect_local_chat();
        three.expect_one_chat();
        three.cluster.end();
    }
}

#[test]
fn fault_40_chat_recovers_from_a_stall_of_redis() {
    let mut three = Three::new("");
    let millis = three.cluster.millis();
    three.cluster.redis.set_stalled(true, millis);
    for _ in 0..20 {
        three.expect_local_chat();
        three.cluster.pass(2 * SECOND);
    }
    assert_eq!(three.cluster.unread(three.far), [DISCONNECTED]);
    let millis = three.cluster.millis();
    three.cluster.redis.set_stalled(false, millis);
    three.cluster.pass(20 * SECOND);
    let lines = three.cluster.unread(three.far);
    let words = |lines: &[String]| lines.iter().filter(|line| line.starts_with("ann: word")).count();
    assert!(lines.contains(&CONNECTED.to_string()) && words(&lines) == 20, "{lines:?}");
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn fault_40_chat_recovers_from_a_restart_of_redis_that_loads() {
    for keep_data in [true, false] {
        let mut three = Three::new("");
        three.cluster.set_redis_down(false, keep_data);
        three.cluster.redis.set_loading(true);
        for _ in 0..20 {
            three.expect_local_chat();
            three.cluster.pass(2 * SECOND);
        }
        three.cluster.redis.set_loading(false);
        three.cluster.pass(20 * SECOND);
        let lines = three.cluster.unread(three.far);
        let told = lines.iter().filter(|line| line.starts_with("-- ")).collect::<Vec<_>>();
        match keep_data {
            true => assert_eq!(told, [DISCONNECTED, CONNECTED]),
            false => assert_eq!(told, [DISCONNECTED, LOST, CONNECTED], "the epoch is another one"),
        }
        let words = lines.iter().filter(|line| line.starts_with("ann: word ")).count();
        assert_eq!(words, 20, "{lines:?}");
        three.expect_one_chat();
        three.cluster.end();
    }
}

#[test]
fn fault_40_chat_recovers_from_a_password_that_redis_requires() {
    for (user, login) in [(None, ":secret"), (Some("chin"), "chin:secret")] {
        let mut three = Three::new(&format!("--redis redis://{login}@redis"));
        three.cluster.redis.require(user, "another");
        three.cluster.set_redis_down(false, true);
        for _ in 0..10 {
            three.expect_local_chat();
            three.cluster.pass(2 * SECOND);
        }
        assert_eq!((three.cluster.link(0).up, three.cluster.link(1).up), (false, false));
        three.cluster.redis.require(user, "secret");
        three.expect_one_chat();
        three.cluster.end();
    }
    let mut three = Three::new("");
    three.cluster.redis.require(None, "secret");
    three.cluster.set_redis_down(false, true);
    three.cluster.pass(10 * SECOND);
    three.expect_local_chat();
    assert!(!three.cluster.link(0).up);
}

#[test]
fn fault_40_chat_recovers_from_killed_connections() {
    for which in 0..3 {
        let mut three = Three::new("");
        for _ in 0..5 {
            let conns = three.cluster.conns(0);
            match which {
                2 => three.cluster.redis.kill_pubsub(),
                which => three.cluster.redis.kill(conns[which]),
            }
            three.cluster.run();
            three.cluster.say(three.far, "after");
            three.cluster.say(three.ann, "as well");
            three.cluster.pass(10 * SECOND);
            // If the other process was down, too, either may be the first that is back.
            let mut lines = three.cluster.unread(three.bob);
            lines.sort_unstable();
            assert_eq!(lines, ["ann: as well", "far: after"]);
            three.cluster.expect(three.far, &["ann: as well"]);
        }
        assert!(three.cluster.counts(0).sessions > 5);
        three.expect_one_chat();
        three.cluster.end();
    }
}

#[test]
fn fault_40_clients_of_a_process_that_reads_too_slowly_are_told_what_redis_discarded() {
    let mut three = Three::new("--rate off");
    three.cluster.redis.set_output_max(50_000);
    three.cluster.set_frozen(1, true);
    for number in 0..1_000 {
        three.cluster.say(three.ann, &format!("m{number}"));
        three.cluster.run();
    }
    three.cluster.unread(three.bob);
    three.cluster.set_frozen(1, false);
    three.cluster.pass(10 * SECOND);
    let lines = three.cluster.unread(three.far);
    let kept = (900..1_000).map(|number| format!("ann: m{number}"));
    assert_eq!(lines[0], "-- 900 messages from other servers were lost");
    assert!(lines[1..].iter().eq(&kept.collect::<Vec<_>>()), "{lines:?}");
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn fault_40_chat_recovers_from_a_command_that_redis_refuses() {
    for command in
        ["PUBLISH", "SUBSCRIBE", "HSET", "HGET", "HDEL", "HGETALL", "DEL", "PEXPIRE", "PING", "UNSUBSCRIBE"]
    {
        let mut three = Three::new("");
        let error = format!("NOPERM this user has no permissions to run the '{command}' command");
        three.cluster.redis.refuse(command, Some(&error));
        for room in ["dev", "lobby", "dev", "lobby"] {
            three.cluster.say(three.far, &format!("/join {room}"));
            three.cluster.say(three.ann, &format!("/join {room}"));
            three.cluster.pass(20 * SECOND);
            three.cluster.say(three.bob, &format!("/join {room}"));
            three.cluster.run();
            three.expect_local_chat();
        }
        three.cluster.redis.refuse(command, None);
        three.cluster.pass(SECOND);
        three.expect_one_chat();
        three.cluster.end();
    }
}

#[test]
fn fault_40_chat_recovers_from_deleted_keys() {
    let mut three = Three::new("");
    for _ in 0..3 {
        three.cluster.redis.flush_all();
        three.expect_local_chat();
        three.expect_one_chat();
        let processes = three.cluster.redis.set("chinwag:@processes", three.cluster.millis());
        assert_eq!(processes.len(), 2);
        let told = three.cluster.unread(three.ann);
        assert!(!told.iter().any(|line| line.contains(" joined") || line.contains(" left")), "{told:?}");
    }
    three.cluster.end();
}

#[test]
fn fault_40_chat_recovers_from_refused_and_hanging_connections() {
    for dial in [Dial::Refused, Dial::RefusedLater, Dial::Hangs] {
        let mut three = Three::new("");
        three.cluster.set_redis_down(false, true);
        (0..2).for_each(|process| three.cluster.stage(process).world().dial = dial);
        for _ in 0..20 {
            three.cluster.pass(SECOND);
            three.expect_local_chat();
        }
        (0..2).for_each(|process| three.cluster.stage(process).world().dial = Dial::Answered);
        three.expect_one_chat();
        three.cluster.end();
    }
}

#[test]
fn fault_40_chat_recovers_from_a_name_of_redis_that_does_not_resolve() {
    for hangs in [false, true] {
        let mut three = Three::new("");
        let found = three.cluster.stage(0).world().addresses.clone();
        three.cluster.set_redis_down(false, true);
        for process in 0..2 {
            let world = three.cluster.stage(process).world();
            (world.addresses, world.hold_addresses) = (Err("no such name".into()), hangs);
        }
        for _ in 0..20 {
            three.cluster.pass(SECOND);
            three.expect_local_chat();
        }
        for process in 0..2 {
            let world = three.cluster.stage(process).world();
            (world.addresses, world.hold_addresses) = (found.clone(), false);
        }
        three.expect_one_chat();
        three.cluster.end();
    }
}

#[test]
fn fault_40_process_tries_all_addresses_of_redis() {
    let mut three = Three::new("");
    for process in 0..2 {
        let addresses = (1..=3).map(|last| [127, 0, 0, last].into()).collect();
        three.cluster.stage(process).world().addresses = Ok(addresses);
    }
    three.cluster.set_redis_down(false, true);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn fault_40_messages_over_the_queue_to_redis_are_counted_exactly() {
    let mut three = Three::new("--rate off --redis-queue 64k");
    three.cluster.set_redis_down(true, true);
    for number in 0..2_000 {
        three.cluster.say(three.ann, &format!("m{number}"));
        if number % 100 == 0 {
            three.cluster.pass(SECOND / 10);
            assert!(three.cluster.link(0).queue_bytes <= 64 * 1024);
        }
    }
    three.cluster.unread(three.bob);
    three.cluster.set_redis_down(false, true);
    three.cluster.pass(20 * SECOND);
    let lines = three.cluster.unread(three.far);
    let lost: Vec<usize> = lines
        .iter()
        .filter(|line| line.ends_with("lost"))
        .map(|line| line.split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    let received: Vec<&String> = lines.iter().filter(|line| line.starts_with("ann: ")).collect();
    assert_eq!(lost, [2_000 - received.len()], "{lines:?}");
    let expected: Vec<String> = (lost[0]..2_000).map(|number| format!("ann: m{number}")).collect();
    assert!(received.len() > 100 && received.into_iter().eq(&expected), "{lines:?}");
    assert_eq!(three.cluster.counts(0).shed, lost[0] as u64);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn fault_41_room_that_is_entered_and_left_all_the_time_is_one_subscription() {
    let mut three = Three::new("--rate off");
    let subscribed = three.cluster.redis.commands()["SUBSCRIBE"];
    let unsubscribed = three.cluster.redis.commands()["UNSUBSCRIBE"];
    for _ in 0..10_000 {
        three.cluster.say(three.far, "/join dev");
        three.cluster.say(three.far, "/leave");
        three.cluster.pass(Duration::from_millis(1));
    }
    assert_eq!(three.cluster.redis.commands()["SUBSCRIBE"], subscribed + 1);
    assert_eq!(three.cluster.redis.commands()["UNSUBSCRIBE"], unsubscribed);
    assert_eq!(three.cluster.redis.numsub("chinwag:dev"), 1);
    assert_eq!(three.cluster.link(1).subscriptions, 2);
    three.cluster.pass(30 * SECOND);
    assert_eq!(three.cluster.redis.numsub("chinwag:dev"), 0);
    assert_eq!(three.cluster.link(1).subscriptions, 1);
    three.cluster.unread(three.bob);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn fault_02_clients_that_fill_a_tick_do_not_keep_the_link_from_being_read() {
    let mut cluster = Cluster::new(2, "--rate off --line-max 4k --write-buffer 1m --write-buffer-soft off");
    let (ann, far) = (cluster.join(0, "ann"), cluster.join(1, "far"));
    let many: Vec<_> = (0..40).map(|number| cluster.join(0, &format!("n{number}"))).collect();
    for _ in 0..20 {
        cluster.say(ann, &"x".repeat(3_000));
        cluster.run();
    }
    cluster.pass(10 * SECOND);
    cluster.say(far, "are you there");
    // It is at Redis then.
    for _ in 0..3 {
        cluster.step(1);
    }
    let before = (cluster.counts(0).received, cluster.stage(0).server.metrics().bytes_queued);
    // None of them has much work, so all that fit into the tick are served.
    many.iter().for_each(|guest| cluster.say(*guest, "/history 12"));
    cluster.step(0);
    let after = (cluster.counts(0).received, cluster.stage(0).server.metrics().bytes_queued);
    assert!(after.1 - before.1 >= 1024 * 1024, "the tick is not full");
    assert_eq!(after.0 - before.0, 1);
}

#[test]
fn long_reply_is_read_over_several_ticks_without_a_wait() {
    let mut cluster = Cluster::new(2, "--rate off --line-max 4k --write-buffer 1m --write-buffer-soft off");
    let (far, ann) = (cluster.join(1, "far"), cluster.join(0, "ann"));
    cluster.say(far, "/join big");
    for number in 0..100 {
        cluster.say(far, &format!("{}far: {number}", "x".repeat(4_000)));
        cluster.run();
    }
    cluster.unread(ann);
    cluster.say(ann, "/join big");
    let mut most_reads = 0;
    let mut is_busy = true;
    while is_busy {
        let before = cluster.stage(0).world().reads;
        is_busy = cluster.step(0) | cluster.step(1);
        most_reads = most_reads.max(cluster.stage(0).world().reads - before);
    }
    // That is 256 KiB, and some more reads of other sockets.
    assert!((32..40).contains(&most_reads), "{most_reads} reads in a tick");
    let lines = cluster.unread(ann);
    assert!(lines.iter().any(|line| line.ends_with("far: 99")), "{:.200}", lines.concat());
    cluster.end();
}

#[test]
fn fault_40_chat_recovers_from_connections_that_are_reset() {
    for which in 0..2 {
        let mut three = Three::new("");
        let before = three.cluster.counts(0).sessions;
        three.cluster.reset(0, which);
        three.cluster.run();
        let is_noticed = three.cluster.counts(0).sessions > before || !three.cluster.link(0).up;
        assert!(is_noticed, "connection {which}");
        three.expect_one_chat();
        three.cluster.end();
    }
}

#[test]
fn messages_reach_redis_through_sockets_with_small_buffers() {
    let mut three = Three::new("--rate off");
    let sessions = three.cluster.counts(0).sessions;
    three.cluster.set_window(0, 100);
    let lines: Vec<String> = (0..20).map(|number| format!("{number:0500}")).collect();
    three.cluster.say(three.ann, &lines.join("\n"));
    let expected: Vec<String> = lines.iter().map(|line| format!("ann: {line}")).collect();
    three.cluster.run();
    assert_eq!(three.cluster.unread(three.far), expected);
    assert_eq!(three.cluster.counts(0).sessions, sessions, "a full buffer is no fault");
    three.expect_one_chat();
    three.cluster.end();
}
