//! Faults of Redis, and of the connections to it, while people chat.

use std::io::Write;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::thread;

use rustix::process::Signal;

use crate::cluster::{Cluster, Redis, who};
use crate::harness::{Client, Launch, eventually};

/// A short timeout, so that a stalled Redis is noticed soon.
const SOON: &str = "--redis-timeout 300ms";

/// Redis keeps so many messages that a process misses none.
const KEPT: &str = "--history 1000";

/// Messages that a client has read from another.
#[derive(Default, Debug)]
struct Received {
    /// The first words of the messages, which are numbers, in order of arrival.
    numbers: Vec<usize>,
    /// The number of messages reported as lost.
    lost: usize,
    /// The number of reports without a number.
    reports: usize,
}

/// Sends these numbers, a line for each.
fn count(client: &mut Client, numbers: RangeInclusive<usize>) {
    client.send(numbers.map(|n| format!("{n}\n")).collect::<String>().as_bytes());
}

/// Reads messages of `name` up to the line `done`, and reports of lost ones.
fn receive(client: &mut Client, name: &str) -> Received {
    let mut received = Received::default();
    loop {
        let line = client.line().expect("more");
        if let Some(notice) = line.strip_prefix("-- ") {
            received.reports += usize::from(notice == "messages from other servers may have been lost");
            let count = notice.split(' ').next().and_then(|count| count.parse::<usize>().ok());
            received.lost +=
                count.filter(|_| notice.contains(" from ") && notice.contains(" lost")).unwrap_or(0);
        } else if let Some(said) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")) {
            if said == "done" {
                return received;
            }
            let number = said.split(' ').next().expect("a word");
            received.numbers.push(number.parse().expect("a number"));
        }
    }
}

/// Checks that each of `1..=said` was received once and in order, and that nothing was reported as lost.
#[track_caller]
fn assert_all_received(received: &Received, said: usize) {
    let expected = Received { numbers: (1..=said).collect(), lost: 0, reports: 0 };
    assert_eq!(format!("{received:?}"), format!("{expected:?}"));
}

/// Checks that messages of `1..=said` were received once and in order. Some may be missing, since Redis has lost its data, and
/// that is reported once without a number.
#[track_caller]
fn assert_reported(received: &Received, said: usize) {
    assert!(received.numbers.is_sorted_by(|a, b| a < b), "in order and none twice: {received:?}");
    assert!(received.numbers.iter().all(|number| (1..=said).contains(number)), "{received:?}");
    assert_eq!((received.lost, received.reports), (0, 1), "{received:?}");
}

/// Two processes, with two clients on the first and one on the second.
struct Talk {
    cluster: Cluster,
    ann: Client,
    al: Client,
    bob: Client,
}

/// Lines sent before a fault, and again after it.
const LINES: usize = 100;

impl Talk {
    fn start(redis: Redis, flags: [&str; 2]) -> Talk {
        let servers = flags.map(|flags| redis.linked(flags)).into();
        let cluster = Cluster::of(redis, servers);
        let [mut ann, mut al] = ["ann", "al"].map(|name| cluster.servers[0].join(name));
        let mut bob = cluster.servers[1].join("bob");
        cluster.acquaint(&mut [&mut ann, &mut al, &mut bob]);
        Talk { cluster, ann, al, bob }
    }

    /// Has all clients send lines before and after a fault that ends the sessions of both processes. Clients of the same
    /// process must receive all, and others too, as `check` finds. Afterwards the chat must work as before.
    fn outlives(mut self, check: fn(&Received, usize), mishap: impl FnOnce(&mut Cluster)) {
        count(&mut self.ann, 1..=LINES);
        count(&mut self.bob, 1..=LINES);
        mishap(&mut self.cluster);
        count(&mut self.ann, LINES + 1..=2 * LINES);
        count(&mut self.bob, LINES + 1..=2 * LINES);
        self.cluster.await_sessions(2);
        self.done(check);
    }

    /// Waits for the recovery, and checks the received lines.
    fn done(mut self, check: fn(&Received, usize)) {
        // `/who` comes only after all lines were read: it would skip them.
        self.cluster.await_subscribers(2);
        self.ann.say("done");
        self.bob.say("done");
        let local = receive(&mut self.al, "ann");
        assert_eq!(local.numbers, (1..=2 * LINES).collect::<Vec<_>>());
        check(&receive(&mut self.bob, "ann"), 2 * LINES);
        check(&receive(&mut self.ann, "bob"), 2 * LINES);
        self.cluster.acquaint(&mut [&mut self.ann, &mut self.al, &mut self.bob]);
        self.ann.say("as before");
        self.bob.expect("ann: as before");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_members_are_sent_a_report_if_redis_has_lost_its_data() {
    Talk::start(Redis::start(), [""; 2]).outlives(assert_reported, |cluster| {
        // Rooms without messages can't have lost any.
        eventually("a message", || {
            cluster.redis.keys().contains(&"chinwag:@stream:lobby".into()).then_some(())
        });
        cluster.redis.kill();
        cluster.servers.iter().for_each(|server| drop(server.log.wait_for("redis down")));
        cluster.redis.restart();
    });
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_nothing_is_lost_if_redis_keeps_its_data() {
    let redis = Redis::with_port("--appendonly yes --appendfsync always");
    let url = format!("--redis redis://{}", redis.place());
    // The second process may miss more than Redis keeps by default.
    let flags = format!("{url} {KEPT}");
    Talk::start(redis, [&flags, &flags]).outlives(assert_all_received, |cluster| {
        cluster.redis.kill();
        cluster.redis.restart();
    });
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_chat_recovers_from_killed_subscriptions() {
    Talk::start(Redis::start(), [KEPT; 2]).outlives(assert_all_received, |cluster| {
        assert_eq!(cluster.redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "2");
    });
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_chat_recovers_from_killed_command_connections() {
    Talk::start(Redis::start(), [KEPT; 2]).outlives(assert_all_received, |cluster| {
        assert_eq!(cluster.redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "2");
    });
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_chat_recovers_from_flushed_scripts() {
    Talk::start(Redis::start(), [KEPT; 2]).outlives(assert_all_received, |cluster| {
        assert_eq!(cluster.redis.cli(&["SCRIPT", "FLUSH"]), "OK");
    });
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_chat_recovers_from_a_redis_stalled_beyond_the_timeout() {
    let mut talk = Talk::start(Redis::start(), [&format!("{SOON} {KEPT}"); 2]);
    count(&mut talk.ann, 1..=LINES);
    count(&mut talk.bob, 1..=LINES);
    talk.cluster.redis.signal(Signal::STOP);
    count(&mut talk.ann, LINES + 1..=2 * LINES);
    count(&mut talk.bob, LINES + 1..=2 * LINES);
    for server in &talk.cluster.servers {
        assert!(server.log.wait_for("redis down").contains("it does not answer"));
    }
    // Clients of the same process have noticed nothing but the notice.
    talk.ann.say("/nick anna");
    talk.al.skip_to(&format!("ann: {}", 2 * LINES));
    talk.al.skip_to("-- ann is now anna");
    talk.ann.say("/nick ann");
    talk.al.skip_to("-- anna is now ann");
    talk.cluster.redis.signal(Signal::CONT);
    talk.cluster.await_sessions(2);
    talk.cluster.await_subscribers(2);
    talk.ann.say("done");
    talk.bob.say("done");
    assert_all_received(&receive(&mut talk.bob, "ann"), 2 * LINES);
    assert_all_received(&receive(&mut talk.ann, "bob"), 2 * LINES);
    talk.cluster.acquaint(&mut [&mut talk.ann, &mut talk.al, &mut talk.bob]);
}

#[test]
#[ignore = "needs redis-server"]
fn messages_sent_while_redis_is_stalled_arrive_once_afterwards() {
    // The second process has a longer timeout, so its subscription lasts.
    let Talk { cluster, mut ann, mut bob, .. } = Talk::start(Redis::start(), [SOON, "--redis-timeout 1m"]);
    cluster.redis.signal(Signal::STOP);
    count(&mut ann, 1..=LINES);
    cluster.servers[0].log.wait_for("redis down");
    // Redis has the earlier lines already, from the connection that timed out, and gets them again from the next.
    count(&mut ann, LINES + 1..=2 * LINES);
    cluster.redis.signal(Signal::CONT);
    ann.say("done");
    assert_all_received(&receive(&mut bob, "ann"), 2 * LINES);
    assert!(!cluster.servers[1].log.text().contains("redis down"));
}

#[test]
#[ignore = "needs redis-server"]
fn fault_39_process_that_redis_drops_as_too_slow_reports_the_loss() {
    const LINES: usize = 3_000;
    // The client of that process reads all the time, and must not be dropped as slow.
    let flags = "--write-buffer 8m --memory 64m";
    let Talk { cluster, mut ann, mut al, mut bob } = Talk::start(Redis::start(), [flags; 2]);
    // More than one process can have in flight, so that the other one is not dropped.
    cluster.redis.cli(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 512kb 512kb 1"]);
    let slow = &cluster.servers[1];
    slow.signal(Signal::STOP);
    let padding = "x".repeat(500);
    let mut writer = ann.writer();
    let talk = thread::spawn(move || {
        let lines: String = (1..=LINES).map(|n| format!("{n} {padding}\n")).collect();
        writer.write_all(lines.as_bytes()).expect("the server takes it");
    });
    for n in 1..=LINES {
        assert!(al.skip_to("ann: ").starts_with(&format!("ann: {n} ")));
    }
    talk.join().unwrap();
    cluster.await_subscribers(1);
    slow.signal(Signal::CONT);
    slow.log.wait_for_count("redis up", 2);
    ann.say("done");
    let received = receive(&mut bob, "ann");
    // Redis keeps fewer, and each of the others is counted.
    assert!(received.numbers.is_sorted_by(|a, b| a < b), "in order and none twice: {received:?}");
    assert_eq!((received.numbers.len() + received.lost, received.reports), (LINES, 0), "{received:?}");
    assert!(received.lost > 0, "{received:?}");
}

#[test]
#[ignore = "needs redis-server"]
fn keys_deleted_from_redis_are_written_again() {
    let mut talk = Talk::start(Redis::start(), [""; 2]);
    talk.ann.say("before");
    talk.bob.expect("ann: before");
    assert_eq!(talk.cluster.redis.cli(&["FLUSHALL"]), "OK");
    // A heartbeat finds out. No client has left, and a new process lists all.
    talk.cluster.await_sessions(2);
    assert_eq!(who(&mut talk.bob), ["al", "ann", "bob"]);
    talk.ann.say("here");
    talk.bob.expect("-- messages from other servers may have been lost");
    talk.bob.expect("ann: here");
    let late = talk.cluster.redis.linked("");
    let mut cy = late.join("cy");
    assert_eq!(who(&mut cy), ["al", "ann", "bob", "cy"]);
}

#[test]
#[ignore = "needs redis-server"]
fn all_clients_are_told_of_an_outage_and_of_its_end() {
    let Talk { mut cluster, mut ann, mut al, mut bob } = Talk::start(Redis::start(), [""; 2]);
    cluster.redis.kill();
    for client in [&mut ann, &mut al, &mut bob] {
        client.skip_to(
            "-- the other servers are out of reach: until they are back you see only messages of this one",
        );
    }
    assert_eq!((who(&mut ann), who(&mut bob)), (vec!["al".into(), "ann".into()], vec!["bob".into()]));
    al.say("are you there?");
    ann.expect("al: are you there?");
    // A client that joins now is told, too.
    let mut cy = cluster.servers[1].join("cy");
    cy.expect("-- the other servers are out of reach: until they are back you see only messages of this one");
    cluster.redis.restart();
    for client in [&mut ann, &mut al, &mut bob, &mut cy] {
        client.skip_to("-- the other servers are within reach again");
    }
    cluster.acquaint(&mut [&mut ann, &mut al, &mut bob, &mut cy]);
}

#[test]
#[ignore = "needs redis-server"]
fn name_taken_twice_during_an_outage_stays_with_one_client() {
    let Talk { mut cluster, mut ann, mut al, mut bob } = Talk::start(Redis::start(), [""; 2]);
    cluster.redis.kill();
    bob.skip_to("-- the other servers are out of reach");
    al.skip_to("-- the other servers are out of reach");
    bob.say("/nick zed");
    bob.expect("-- you are now zed");
    al.say("/nick zed");
    al.expect("-- you are now zed");
    cluster.redis.restart();
    // The process that is the first to come back claims it.
    cluster.await_sessions(2);
    eventually("a guest and one zed", || {
        let names = who(&mut ann).join(" ");
        (names.contains("guest-") && names.matches("zed").count() == 1).then_some(())
    });
    ann.say("/msg zed hi");
    let mut keeps_it = [&mut al, &mut bob].map(|client| {
        loop {
            let line = client.line().expect("more");
            if line == "[ann] hi" {
                break true;
            }
            if line == "-- somebody on another server has the name zed now" {
                client.skip_to("-- you are now guest-");
                break false;
            }
        }
    });
    keeps_it.sort();
    assert_eq!(keeps_it, [false, true]);
}

#[test]
#[ignore = "needs redis-server"]
fn process_ends_in_time_though_redis_is_stalled() {
    let Talk { mut cluster, mut ann, .. } = Talk::start(Redis::start(), ["--grace 1s"; 2]);
    cluster.redis.signal(Signal::STOP);
    ann.say("is anybody there?");
    let ends = cluster.servers.remove(0);
    let log = ends.stop();
    assert!(log.contains("ended"), "{log}");
}

/// Starts a listener that takes two connections and sends this on both for ever. Returns its URL.
fn stranger(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            thread::spawn(move || while stream.write_all(says).is_ok() {});
        }
    });
    format!("redis://{address}")
}

#[test]
fn fault_39_server_that_is_no_redis_does_no_harm() {
    for (url, reason) in [
        (stranger(b"SSH-2.0-OpenSSH_9.2\r\n"), "it does not speak Redis's protocol"),
        (stranger(b"+ENDLESS"), "a reply is larger than --redis-reply-max"),
        (stranger(b"$900000000\r\n"), "a reply is larger than --redis-reply-max"),
    ] {
        let server = Launch::new("--redis-reply-max 64k").env("CHINWAG_REDIS", url).with_listeners().start();
        let down = server.log.wait_for("redis down");
        assert!(down.contains(reason), "{down}");
        let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
        bob.say("hi");
        ann.skip_to("bob: hi");
    }
}
