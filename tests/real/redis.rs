//! Several processes that are one chat by a real Redis.

use std::ops::Range;
use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::{Cluster, Redis, who};
use crate::harness::{Client, Launch, Server, eventually, eventually_within};

/// Connects a listener to the lobby, and reads the head of the answer.
fn listener(server: &Server) -> Client {
    let mut listener = Client::connect(server.http_address());
    listener.send(b"GET /rooms/lobby/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    listener.skip_to("\r");
    listener
}

/// Returns the next message of a listener.
fn next_event(listener: &mut Client) -> serde_json::Value {
    let line = listener.skip_to("data: ");
    serde_json::from_str(line.strip_prefix("data: ").expect("so it begins")).expect("JSON")
}

/// Returns the messages of `name` among these lines.
fn lines_by(name: &str, lines: &[String]) -> Vec<String> {
    let by = |line: &String| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_string());
    lines.iter().filter_map(by).collect()
}

#[test]
#[ignore = "needs redis-server"]
fn messages_reach_all_clients_on_three_processes_once_and_in_order() {
    let cluster = Cluster::start(3, "");
    let mut people = cluster.people(["ann", "bob", "cy"]);
    let mut listener = listener(&cluster.servers[2]);
    let said: Vec<String> = (1..=100).map(|n| n.to_string()).collect();
    for client in &mut people {
        client.send((said.join("\n") + "\n").as_bytes());
    }
    for (client, others) in people.iter_mut().zip([["bob", "cy"], ["ann", "cy"], ["ann", "bob"]]) {
        let received: Vec<String> = (0..200).map(|_| client.line().unwrap()).collect();
        for other in others {
            assert_eq!(lines_by(other, &received), said);
        }
    }
    let received: Vec<String> = (0..300)
        .map(|_| next_event(&mut listener))
        .map(|event| format!("{}: {}", event["from"].as_str().unwrap(), event["text"].as_str().unwrap()))
        .collect();
    for name in ["ann", "bob", "cy"] {
        assert_eq!(lines_by(name, &received), said);
    }
    // A duplicate would arrive before this.
    let [ann, bob, cy] = &mut people;
    ann.say("that was all");
    bob.expect("ann: that was all");
    cy.expect("ann: that was all");
    assert_eq!(next_event(&mut listener)["text"], "that was all");
    bob.say("yes");
    ann.expect("bob: yes");
}

#[test]
#[ignore = "needs redis-server"]
fn names_rooms_and_private_messages_work_across_processes() {
    let cluster = Cluster::start(3, "");
    let [mut ann, mut bob, mut cy] = cluster.people(["ann", "bob", "cy"]);
    assert_eq!(who(&mut cy), ["ann", "bob", "cy"]);
    let mut late = cluster.servers[1].client();
    late.say("ann");
    late.skip_to("-- the name ann is taken. what's your name?");
    drop(late);
    ann.say("/nick cy");
    ann.expect("-- the name cy is taken");
    ann.say("/msg bob psst");
    bob.expect("[ann] psst");
    bob.say("/msg ann what?");
    ann.expect("[bob] what?");
    ann.say("/msg zoe hi");
    ann.expect("-- nobody is called zoe. /who lists the names");
    bob.say("/me waves");
    ann.expect("* bob waves");
    cy.expect("* bob waves");
    cy.say("/nick zed");
    ann.expect("-- cy is now zed");
    bob.expect("-- cy is now zed");
    bob.say("/join kitchen");
    ann.expect("-- bob left");
    ann.say("/rooms");
    ann.expect("-- rooms: #lobby (2), #kitchen (1)");
    ann.say("/who kitchen");
    ann.expect("-- in #kitchen: bob");
}

#[test]
#[ignore = "needs redis-server"]
fn process_has_one_subscription_for_each_room_with_local_members() {
    const ROOMS: usize = 20;
    const MEMBERS: usize = 10;
    let cluster = Cluster::start(3, "--max-per-ip off");
    let Cluster { redis, servers, .. } = &cluster;
    // They stay in the lobby, so its subscriptions stay.
    let _people = cluster.people(["ann", "bob", "cy"]);
    let mut members = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        for (room, member) in (0..ROOMS).flat_map(|room| (0..MEMBERS).map(move |member| (room, member))) {
            let mut client = server.client();
            client.send(format!("m-{index}-{room}-{member}\n/join r{room}\n").as_bytes());
            members.push((room, client));
        }
    }
    members.iter_mut().for_each(|(_, client)| drop(client.skip_to("-- you are")));
    // Returns the number of subscriptions to each of these rooms.
    let subscribed = |rooms: Range<usize>| {
        let channels = rooms.map(|room| format!("chinwag:r{room}"));
        redis.subscribers_of(&channels.collect::<Vec<_>>())
    };
    eventually("subscriptions", || (subscribed(0..ROOMS) == [3; ROOMS]).then_some(()));
    assert_eq!(redis.cli(&["PUBSUB", "NUMPAT"]), "0");
    // These rooms, the lobby, the channel of all processes, and that of one.
    let connections = redis.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    assert_eq!(connections.matches(&format!(" sub={} ", ROOMS + 3)).count(), 3, "{connections}");
    let asked = |command: &str| {
        let commands = redis.commands();
        commands.iter().find(|(name, _)| name == command).map_or(0, |(_, count)| *count)
    };
    // One command for the channels of the start, one for the lobby, and one for each room.
    assert_eq!(asked("subscribe"), 3 * (ROOMS + 2));
    // One member per process stays in the first room, and none in the others.
    let mut stayed = 0;
    members.retain(|(room, _)| {
        stayed += usize::from(*room == 0);
        *room == 0 && stayed % MEMBERS == 1
    });
    assert_eq!(members.len(), 3);
    let unsubscribed = || (subscribed(1..ROOMS) == [0; ROOMS - 1]).then_some(());
    eventually_within(Duration::from_secs(22), "the subscriptions' end", unsubscribed);
    assert_eq!(subscribed(0..1), [3]);
    assert_eq!(asked("unsubscribe"), 3 * (ROOMS - 1));
}

#[test]
#[ignore = "needs redis-server"]
fn messages_of_other_redis_clients_are_shown_as_from_redis() {
    let cluster = Cluster::start(2, "");
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    let mut listener = listener(&cluster.servers[0]);
    assert_eq!(cluster.redis.cli(&["PUBLISH", "chinwag:lobby", "hello"]), "2");
    ann.expect("redis: hello");
    bob.expect("redis: hello");
    let event = next_event(&mut listener);
    assert_eq!((&event["from"], &event["text"]), (&"redis".into(), &"hello".into()));
    cluster.redis.cli(&["PUBLISH", "chinwag:lobby", r#"{"build": "green", "took": 1.50}"#]);
    ann.expect(r#"redis: {"build":"green","took":1.50}"#);
    bob.expect(r#"redis: {"build":"green","took":1.50}"#);
    assert_eq!(next_event(&mut listener)["data"]["build"], "green");
    // Payloads that are no line, or pretend to come from a process, do no harm.
    cluster.redis.cli(&["PUBLISH", "chinwag:@presence", "hello"]);
    cluster.redis.cli(&["PUBLISH", "chinwag:lobby", r#"{"chinwag":"7","type":"bye"}"#]);
    cluster.redis.cli(&["PUBLISH", "chinwag:lobby", "two\r\nlines, and a bell \u{7}"]);
    ann.expect("redis: two lines, and a bell ");
    assert_eq!(who(&mut bob), ["ann", "bob"]);
}

#[test]
#[ignore = "needs redis-server"]
fn another_prefix_makes_another_chat() {
    let mut cluster = Cluster::start(2, "--redis-prefix room:");
    cluster.lobby = "room:lobby".into();
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    let other = cluster.redis.linked("");
    let mut stranger = other.join("ann");
    let channel = ["chinwag:lobby".to_string()];
    eventually("its subscription", || (cluster.redis.subscribers_of(&channel) == [1]).then_some(()));
    cluster.redis.cli(&["PUBLISH", "room:lobby", "hello"]);
    cluster.redis.cli(&["PUBLISH", "chinwag:lobby", "stranger"]);
    ann.expect("redis: hello");
    bob.expect("redis: hello");
    stranger.expect("redis: stranger");
    ann.say("hi");
    bob.expect("ann: hi");
    stranger.say("who is here?");
    assert_eq!(who(&mut stranger), ["ann"]);
    assert_eq!(who(&mut bob), ["ann", "bob"]);
    let keys = cluster.redis.cli(&["KEYS", "*"]);
    assert_eq!((keys.matches("room:@").count(), keys.matches("chinwag:@").count()), (2, 1), "{keys}");
}

#[test]
#[ignore = "needs redis-server"]
fn flood_arrives_whole_and_in_order() {
    const LINES: usize = 5_000;
    let cluster = Cluster::start(2, "");
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    let flood: String = (1..=LINES).map(|n| format!("{n}\n")).collect();
    ann.send(flood.as_bytes());
    for n in 1..=LINES {
        bob.expect(&format!("ann: {n}"));
    }
    bob.say("phew");
    ann.expect("bob: phew");
}

#[test]
#[ignore = "needs redis-server"]
fn process_that_starts_late_lists_all_clients() {
    let mut cluster = Cluster::start(2, "");
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    ann.say("before");
    bob.expect("ann: before");
    let late = cluster.redis.linked("");
    let mut cy = late.join("cy");
    cluster.servers.push(late);
    // Cy's join is not announced if it came before the processes were connected.
    cluster.acquaint(&mut [&mut ann, &mut bob, &mut cy]);
    ann.say("welcome");
    cy.expect("ann: welcome");
}

#[test]
#[ignore = "needs redis-server"]
fn process_that_ends_leaves_nothing_in_redis() {
    let mut cluster = Cluster::start(2, "");
    let [mut ann, bob] = cluster.people(["ann", "bob"]);
    assert_eq!(cluster.redis.cli(&["KEYS", "*"]).lines().count(), 2);
    let ends = cluster.servers.pop().expect("two");
    let log = ends.stop();
    assert!(log.contains("ended") && !log.contains("redis down"), "{log}");
    ann.expect("-- bob left (its server is gone)");
    drop(bob);
    assert_eq!(who(&mut ann), ["ann"]);
    eventually("the end of its key", || {
        (cluster.redis.cli(&["KEYS", "*"]).lines().count() == 1).then_some(())
    });
    cluster.await_subscribers(1);
}

#[test]
#[ignore = "needs redis-server"]
fn clients_of_a_killed_process_leave_within_half_a_minute() {
    let mut cluster = Cluster::start(3, "");
    let [mut ann, mut bob, _cy] = cluster.people(["ann", "bob", "cy"]);
    let killed = cluster.servers.pop().expect("three");
    killed.signal(Signal::KILL);
    for client in [&mut ann, &mut bob] {
        eventually_within(Duration::from_secs(30), "news of the dead", || {
            client.say("/who");
            let first = client.line().unwrap();
            if first.starts_with("-- in #lobby: ") {
                assert!(first.contains("cy"), "gone without a word: {first}");
                return None;
            }
            assert_eq!(first, "-- cy left (its server is gone)");
            client.skip_to("-- in #lobby: ");
            assert_eq!(who(client), ["ann", "bob"]);
            Some(())
        });
    }
    ann.say("/nick cy");
    bob.expect("-- ann is now cy");
    // Its key in Redis expires.
    eventually("the end of its key", || {
        (cluster.redis.cli(&["KEYS", "*"]).lines().count() == 2).then_some(())
    });
}

#[test]
#[ignore = "needs redis-server"]
fn redis_may_start_later_than_the_chat() {
    let redis = Redis::start();
    let url = redis.url();
    let mut redis = redis;
    redis.kill();
    let start = || Launch::new("").env("CHINWAG_REDIS", &url).with_listeners().start();
    let servers = vec![start(), start()];
    let [mut ann, mut al] = ["ann", "al"].map(|name| servers[0].join(name));
    let mut bob = servers[1].join("bob");
    servers[0].log.wait_for("redis down");
    ann.skip_to("-- the other servers are out of reach");
    al.say("hi");
    ann.expect("al: hi");
    redis.restart();
    let cluster = Cluster::of(redis, servers);
    ann.expect("-- the other servers are within reach again");
    cluster.acquaint(&mut [&mut ann, &mut al, &mut bob]);
    bob.say("at last");
    ann.expect("bob: at last");
}

#[test]
#[ignore = "needs redis-server"]
fn client_that_is_announced_receives_messages_from_then_on() {
    let cluster = Cluster::start(2, "");
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    for room in 1..=50 {
        ann.say(&format!("/join r{room}"));
        ann.skip_to(&format!("-- you are alone in #r{room}"));
        bob.say(&format!("/join r{room}"));
        ann.skip_to("-- bob joined");
        ann.say(&format!("hi {room}"));
        bob.skip_to(&format!("ann: hi {room}"));
    }
}
