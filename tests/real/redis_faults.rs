//! What happens to Redis, and to the connections to it, while people talk.

use std::io::Write;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::cluster::{Cluster, Redis, who};
use crate::harness::{Client, Launch, eventually};

/// So that a Redis that stands still is noticed soon.
const SOON: &str = "--redis-timeout 300ms";

/// What one has heard of another.
#[derive(Default, Debug)]
struct Heard {
    /// The numbers that were said, as they came.
    numbers: Vec<usize>,
    /// How many messages were told to be lost.
    lost: usize,
}

/// Says these numbers, a line for each.
fn count(client: &mut Client, numbers: RangeInclusive<usize>) {
    client.send(numbers.map(|n| format!("{n}\n")).collect::<String>().as_bytes());
}

/// Reads what somebody says up to the line `done`, and what is told of lost messages.
fn hear(client: &mut Client, name: &str) -> Heard {
    let mut heard = Heard::default();
    loop {
        let line = client.line().expect("more");
        if let Some(told) = line.strip_prefix("-- ") {
            let count = told.split(' ').next().and_then(|count| count.parse::<usize>().ok());
            heard.lost += count.filter(|_| told.contains(" from ") && told.contains(" lost")).unwrap_or(0);
        } else if let Some(said) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")) {
            if said == "done" {
                return heard;
            }
            heard.numbers.push(said.parse().expect("a number"));
        }
    }
}

/// Each of `1..=said` was heard, once and in order, or was told to be lost.
#[track_caller]
fn assert_complete(heard: &Heard, said: usize) {
    assert!(heard.numbers.is_sorted_by(|a, b| a < b), "in order and none twice: {heard:?}");
    assert_eq!(heard.numbers.len() + heard.lost, said, "{heard:?}");
}

/// Each of `1..=said` was heard, once and in order: whoever is back first waits for the others before it sends what it
/// has kept.
#[track_caller]
fn assert_heard(heard: &Heard, said: usize) {
    assert_eq!((&heard.numbers, heard.lost), (&(1..=said).collect(), 0));
}

/// Two processes, with two people on the first and one on the second.
struct Talk {
    cluster: Cluster,
    ann: Client,
    al: Client,
    bob: Client,
}

/// Lines said before something happens, and again after.
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

    /// Everybody talks before and after something happens that ends the sessions of both processes. Who is on the same
    /// process hears all; who is not hears it, or is told that it was lost on the way to a connection that is no more; and
    /// then all is as it was.
    fn outlives(mut self, mishap: impl FnOnce(&mut Cluster)) {
        count(&mut self.ann, 1..=LINES);
        count(&mut self.bob, 1..=LINES);
        mishap(&mut self.cluster);
        count(&mut self.ann, LINES + 1..=2 * LINES);
        count(&mut self.bob, LINES + 1..=2 * LINES);
        self.cluster.await_sessions(2);
        self.done();
    }

    /// Waits until all is as it was, and looks at what was heard.
    fn done(mut self) {
        // Nobody asks who is there before having heard everything: that would skip it.
        eventually("subscriptions", || (self.cluster.subscribers() == 2).then_some(()));
        self.ann.say("done");
        self.bob.say("done");
        let near = hear(&mut self.al, "ann");
        assert_eq!(near.numbers, (1..=2 * LINES).collect::<Vec<_>>());
        assert_complete(&hear(&mut self.bob, "ann"), 2 * LINES);
        assert_complete(&hear(&mut self.ann, "bob"), 2 * LINES);
        self.cluster.acquaint(&mut [&mut self.ann, &mut self.al, &mut self.bob]);
        self.ann.say("as before");
        self.bob.expect("ann: as before");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_redis_is_killed_and_comes_back() {
    Talk::start(Redis::start(), [""; 2]).outlives(|cluster| {
        cluster.redis.kill();
        cluster.servers.iter().for_each(|server| drop(server.log.wait_for("redis down")));
        cluster.redis.restart();
    });
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_redis_is_killed_and_comes_back_at_its_port() {
    let redis = Redis::with_port("");
    let url = format!("--redis redis://{}", redis.place());
    Talk::start(redis, [&url, &url]).outlives(|cluster| {
        cluster.redis.kill();
        cluster.redis.restart();
    });
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_redis_ends_the_subscriptions() {
    Talk::start(Redis::start(), [""; 2]).outlives(|cluster| {
        assert_eq!(cluster.redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "2");
    });
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_redis_ends_the_connections_for_commands() {
    Talk::start(Redis::start(), [""; 2]).outlives(|cluster| {
        assert_eq!(cluster.redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]), "2");
    });
}

#[test]
#[ignore = "needs redis-server"]
fn fault_40_redis_stands_still_for_longer_than_its_time() {
    let mut talk = Talk::start(Redis::start(), [SOON; 2]);
    count(&mut talk.ann, 1..=LINES);
    count(&mut talk.bob, 1..=LINES);
    talk.cluster.redis.signal(Signal::STOP);
    count(&mut talk.ann, LINES + 1..=2 * LINES);
    count(&mut talk.bob, LINES + 1..=2 * LINES);
    for server in &talk.cluster.servers {
        assert!(server.log.wait_for("redis down").contains("it does not answer"));
    }
    // Nobody on the same process has noticed anything but what is told.
    talk.ann.say("/nick anna");
    talk.al.skip_to(&format!("ann: {}", 2 * LINES));
    talk.al.skip_to("-- ann is now anna");
    talk.ann.say("/nick ann");
    talk.al.skip_to("-- anna is now ann");
    talk.cluster.redis.signal(Signal::CONT);
    talk.cluster.await_sessions(2);
    eventually("subscriptions", || (talk.cluster.subscribers() == 2).then_some(()));
    talk.ann.say("done");
    talk.bob.say("done");
    assert_heard(&hear(&mut talk.bob, "ann"), 2 * LINES);
    assert_heard(&hear(&mut talk.ann, "bob"), 2 * LINES);
    talk.cluster.acquaint(&mut [&mut talk.ann, &mut talk.al, &mut talk.bob]);
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_said_while_redis_stands_still_is_heard_once_when_it_goes_on() {
    // The second process waits longer, so that its subscription is still there.
    let Talk { cluster, mut ann, mut bob, .. } = Talk::start(Redis::start(), [SOON, "--redis-timeout 1m"]);
    cluster.redis.signal(Signal::STOP);
    count(&mut ann, 1..=LINES);
    cluster.servers[0].log.wait_for("redis down");
    // Redis has got those already, by the connection that was given up, and gets them again by the next.
    count(&mut ann, LINES + 1..=2 * LINES);
    cluster.redis.signal(Signal::CONT);
    ann.say("done");
    assert_heard(&hear(&mut bob, "ann"), 2 * LINES);
    assert!(!cluster.servers[1].log.text().contains("redis down"));
}

#[test]
#[ignore = "needs redis-server"]
fn fault_39_redis_gives_up_on_a_process_that_reads_too_slowly() {
    const LINES: usize = 3_000;
    // Its own client is quick, and must not be taken for slow.
    let flags = "--write-buffer 8m --memory 64m";
    let Talk { cluster, mut ann, mut al, mut bob } = Talk::start(Redis::start(), [flags; 2]);
    // More than what one process can have on its way at a time, so that the other is not given up on.
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
    eventually("the end of the connection", || (cluster.subscribers() == 1).then_some(()));
    slow.signal(Signal::CONT);
    eventually("its next session", || (slow.log.text().matches("redis up").count() == 2).then_some(()));
    ann.say("done");
    let mut heard = Heard::default();
    loop {
        let line = bob.line().unwrap();
        if let Some(told) = line.strip_prefix("-- ") {
            heard.lost += told.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
        } else if line == "ann: done" {
            break;
        } else if let Some(said) = line.strip_prefix("ann: ") {
            heard.numbers.push(said.split(' ').next().unwrap().parse().unwrap());
        }
    }
    assert_complete(&heard, LINES);
    assert!(heard.lost > 0);
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_in_redis_comes_back_by_itself_when_somebody_empties_it() {
    let mut talk = Talk::start(Redis::start(), [""; 2]);
    let keys = |cluster: &Cluster| cluster.redis.cli(&["KEYS", "chinwag:@*"]).lines().count();
    assert_eq!(keys(&talk.cluster), 2);
    assert_eq!(talk.cluster.redis.cli(&["FLUSHALL"]), "OK");
    eventually("what was there", || (keys(&talk.cluster) == 2).then_some(()));
    // Nobody was taken for gone meanwhile, and somebody new learns of all.
    talk.ann.say("here");
    talk.bob.expect("ann: here");
    let late = talk.cluster.redis.linked("");
    let mut cy = late.join("cy");
    eventually("everybody in /who", || (who(&mut cy) == ["al", "ann", "bob", "cy"]).then_some(()));
}

#[test]
#[ignore = "needs redis-server"]
fn everybody_is_told_when_the_others_are_out_of_reach_and_when_they_are_back() {
    let Talk { mut cluster, mut ann, mut al, mut bob } = Talk::start(Redis::start(), [""; 2]);
    cluster.redis.kill();
    for client in [&mut ann, &mut al, &mut bob] {
        client.skip_to(
            "-- the other servers are out of reach: until they are back you hear only who is on this one",
        );
    }
    assert_eq!((who(&mut ann), who(&mut bob)), (vec!["al".into(), "ann".into()], vec!["bob".into()]));
    al.say("are you there?");
    ann.expect("al: are you there?");
    // Who comes now is told too.
    let mut cy = cluster.servers[1].join("cy");
    cy.expect("-- the other servers are out of reach: until they are back you hear only who is on this one");
    cluster.redis.restart();
    for client in [&mut ann, &mut al, &mut bob, &mut cy] {
        client.skip_to("-- the other servers are within reach again");
    }
    cluster.acquaint(&mut [&mut ann, &mut al, &mut bob, &mut cy]);
}

#[test]
#[ignore = "needs redis-server"]
fn a_name_that_two_took_while_apart_stays_with_the_first() {
    let Talk { mut cluster, mut ann, mut al, mut bob } = Talk::start(Redis::start(), [""; 2]);
    cluster.redis.kill();
    bob.skip_to("-- the other servers are out of reach");
    al.skip_to("-- the other servers are out of reach");
    bob.say("/nick zed");
    bob.expect("-- you are now zed");
    // Of two who took it in the same millisecond, either may keep it.
    let millis = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let taken = millis();
    eventually("another millisecond", || (millis() > taken).then_some(()));
    al.say("/nick zed");
    al.expect("-- you are now zed");
    cluster.redis.restart();
    al.skip_to("-- somebody on another server had the name zed before you");
    al.skip_to("-- you are now guest-");
    // To who does not know yet that one has given in, both are there.
    for client in [&mut ann, &mut bob] {
        eventually("a guest and one zed", || {
            let names = who(client).join(" ");
            (names.starts_with("ann guest-") && names.matches("zed").count() == 1).then_some(())
        });
    }
    ann.say("/msg zed hi");
    bob.expect("[ann] hi");
}

#[test]
#[ignore = "needs redis-server"]
fn a_process_ends_in_time_though_redis_stands_still() {
    let Talk { mut cluster, mut ann, .. } = Talk::start(Redis::start(), ["--grace 1s"; 2]);
    cluster.redis.signal(Signal::STOP);
    ann.say("is anybody there?");
    let ends = cluster.servers.remove(0);
    let log = ends.stop();
    assert!(log.contains("ended"), "{log}");
}

/// The URL of something that takes two connections, and says this on both for ever.
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
fn fault_39_something_that_is_no_redis_does_no_harm() {
    for (url, reason) in [
        (stranger(b"SSH-2.0-OpenSSH_9.2\r\n"), "it does not speak Redis's protocol"),
        (stranger(b"+ENDLESS"), "a reply is larger than --redis-reply-max"),
        (stranger(b"$900000000\r\n"), "a reply is larger than --redis-reply-max"),
    ] {
        let server = Launch::new("--redis-reply-max 64k").env("CHINWAG_REDIS", url).with_door().start();
        let down = server.log.wait_for("redis down");
        assert!(down.contains(reason), "{down}");
        let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
        bob.say("hi");
        ann.skip_to("bob: hi");
    }
}
