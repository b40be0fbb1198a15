//! Several processes that are one chat by a real Redis.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::{Cluster, Listener, Redis, request, who};
use crate::harness::{Client, Launch, eventually, eventually_within};

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
    let mut listeners = [0, 1, 2].map(|index| Listener::connect(&cluster.servers[index]));
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
    // All processes have the same order and the same numbers.
    let received = listeners
        .each_mut()
        .map(|listener| (0..300).map(|_| listener.next()).map(|event| event.to_string()).collect::<Vec<_>>());
    assert_eq!((&received[0], &received[1]), (&received[1], &received[2]));
    let events: Vec<serde_json::Value> =
        received[0].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert!(events.iter().map(|event| event["seq"].as_u64().unwrap()).eq(1..=300));
    let shown = |event: &serde_json::Value| {
        format!("{}: {}", event["from"].as_str().unwrap(), event["text"].as_str().unwrap())
    };
    let shown: Vec<String> = events.iter().map(shown).collect();
    for name in ["ann", "bob", "cy"] {
        assert_eq!(lines_by(name, &shown), said);
    }
    // A duplicate would arrive before this.
    let [ann, bob, cy] = &mut people;
    ann.say("that was all");
    bob.expect("ann: that was all");
    cy.expect("ann: that was all");
    assert!(listeners.iter_mut().all(|listener| listener.text() == "that was all"));
    bob.say("yes");
    ann.expect("bob: yes");
}

#[test]
#[ignore = "needs redis-server"]
fn bans_hold_at_each_process_and_outlive_a_process_without_a_state_file() {
    let config = tempfile::NamedTempFile::new().unwrap();
    // The token is `m`.
    let hash = "62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a";
    fs::write(config.path(), format!("[accounts.mod]\nrole = \"moderator\"\ntoken = \"sha256:{hash}\"\n"))
        .unwrap();
    let cluster = Cluster::start(2, &format!("--config {}", config.path().display()));
    let mut moderator = cluster.servers[0].client();
    moderator.say("/login m");
    moderator.skip_to("-- hello mod");
    let mut eve = cluster.servers[1].join("eve");
    moderator.skip_to("-- eve joined");
    moderator.say("/ban eve 1h");
    eve.skip_to("-- mod has banned you for 60 min");
    while eve.line().is_some() {}
    let late = cluster.redis.linked("");
    for server in cluster.servers[1..].iter().chain([&late]) {
        let mut client = server.client();
        client.say("eve");
        client.skip_to("-- a moderator has banned that name");
    }
    moderator.say("/unban eve");
    moderator.skip_to("-- the ban of eve is lifted");
    eventually("the end of the ban", || {
        let mut client = late.client();
        client.say("eve");
        client.line();
        client.line()?.starts_with("-- hello eve").then_some(())
    });
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
    // These rooms, the lobby, the channel of the process, and that of the kept entries.
    let connections = redis.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    assert_eq!(connections.matches(&format!(" sub={} ", ROOMS + 3)).count(), 3, "{connections}");
    let asked = |command: &str| {
        let commands = redis.commands();
        commands.iter().find(|(name, _)| name == command).map_or(0, |(_, count)| *count)
    };
    // One command for the channels of the process and of the kept entries, one for the lobby, and one for each room.
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
    // The first of each process only shows that it has the right.
    assert_eq!(asked("unsubscribe"), 3 * (1 + ROOMS - 1));
}

#[test]
#[ignore = "needs redis-server"]
fn messages_of_other_redis_clients_are_shown_as_from_redis() {
    let cluster = Cluster::start(2, "");
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    let mut listener = Listener::connect(&cluster.servers[0]);
    assert_eq!(cluster.redis.cli(&["PUBLISH", "chinwag:lobby", "hello"]), "2");
    ann.expect("redis: hello");
    bob.expect("redis: hello");
    let event = listener.next();
    assert_eq!((&event["from"], &event["text"]), (&"redis".into(), &"hello".into()));
    cluster.redis.cli(&["PUBLISH", "chinwag:lobby", r#"{"build": "green", "took": 1.50}"#]);
    ann.expect(r#"redis: {"build":"green","took":1.50}"#);
    bob.expect(r#"redis: {"build":"green","took":1.50}"#);
    assert_eq!(listener.next()["data"]["build"], "green");
    // Payloads that are no line, or pretend to come from a process, do no harm.
    for process in cluster.redis.processes() {
        for text in ["hello", "chinwag taken x", "chinwag private 0 {}", "chinwag undelivered 7"] {
            assert_eq!(cluster.redis.cli(&["PUBLISH", &format!("chinwag:@{process}"), text]), "1");
        }
    }
    cluster.redis.cli(&["PUBLISH", "chinwag:lobby", "chinwag 7 x - {}"]);
    cluster.redis.cli(&["PUBLISH", "chinwag:lobby", "chinwag - - - {\"joined\":7}"]);
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
    let keys = cluster.redis.keys();
    let begin = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count();
    assert!(begin("room:@") > 5 && begin("room:@") + begin("chinwag:@") == keys.len(), "{keys:?}");
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
fn processes_that_end_leave_only_the_messages_of_rooms_in_redis() {
    let mut cluster = Cluster::start(2, "");
    let [mut ann, bob] = cluster.people(["ann", "bob"]);
    ann.say("hi");
    let ends = cluster.servers.pop().expect("two");
    let log = ends.stop();
    assert!(log.contains("ended") && !log.contains("redis down"), "{log}");
    ann.expect("-- bob left (its server is gone)");
    drop(bob);
    assert_eq!(who(&mut ann), ["ann"]);
    let processes = cluster.redis.processes();
    assert_eq!(processes.len(), 1);
    let is_of_another = |key: &&String| {
        let process = key.split(':').nth(2).filter(|part| part.len() == 16);
        process.is_some_and(|process| process != processes[0])
    };
    assert_eq!(cluster.redis.keys().iter().find(is_of_another), None);
    cluster.await_subscribers(1);
    let log = cluster.servers.pop().expect("one").stop();
    assert!(log.contains("ended") && !log.contains("redis down"), "{log}");
    let serial = format!("serial:{}", processes[0]);
    let left = ["dataset", "guests", "meta:lobby", &serial, "stream:lobby"];
    assert_eq!(cluster.redis.keys(), left.map(|key| format!("chinwag:@{key}")));
    for key in ["meta:lobby", "stream:lobby", &serial].map(|key| format!("chinwag:@{key}")) {
        let seconds: u64 = cluster.redis.cli(&["TTL", &key]).parse().expect("it expires");
        assert!((7 * 86_400 - 60..=7 * 86_400).contains(&seconds), "{key}: {seconds}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn clients_of_a_killed_process_leave_within_20_seconds() {
    let mut cluster = Cluster::start(3, "");
    let [mut ann, mut bob, _cy] = cluster.people(["ann", "bob", "cy"]);
    let killed = cluster.servers.pop().expect("three");
    killed.signal(Signal::KILL);
    ann.say("/nick cy");
    ann.expect("-- the name cy is taken");
    for client in [&mut ann, &mut bob] {
        eventually_within(Duration::from_secs(21), "news of the dead", || {
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
    // Redis has nothing more of that process.
    let processes = cluster.redis.processes();
    assert_eq!(processes.len(), 2);
    let kinds = ["@names:", "@members:", "@rooms:", "@lease:"];
    for key in cluster.redis.keys().iter().filter(|key| kinds.iter().any(|kind| key.contains(kind))) {
        assert!(processes.iter().any(|process| key.contains(process)), "{key}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn guests_of_two_processes_never_have_the_same_number() {
    let cluster = Cluster::start(2, "--guests");
    let mut guests = Vec::new();
    for (server, number) in [(0, 1), (0, 2), (1, 1001), (1, 1002), (0, 3)] {
        let mut guest = cluster.servers[server].client();
        guest.skip_to(&format!("-- hello guest-{number}. "));
        guests.push(guest);
    }
}

#[test]
#[ignore = "needs redis-server"]
fn processes_with_different_databases_are_two_chats() {
    let redis = Redis::start();
    let start = |database: &str| {
        let url = format!("{}?db={database}", redis.url());
        let server = Launch::new("--rate off").env("CHINWAG_REDIS", url).with_listeners().start();
        server.log.wait_for("redis up");
        server
    };
    let servers = ["3", "3", "4"].map(start);
    let [mut ann, mut bob] = [0, 1].map(|index| servers[index].join(["ann", "bob"][index]));
    // The name is free in the other chat.
    let mut other = servers[2].join("ann");
    eventually("everybody in /who", || (who(&mut ann) == ["ann", "bob"]).then_some(()));
    assert_eq!(who(&mut other), ["ann"]);
    let channels = ["chinwag:@3:lobby", "chinwag:@4:lobby", "chinwag:lobby"].map(String::from);
    eventually("subscriptions", || (redis.subscribers_of(&channels) == [2, 1, 0]).then_some(()));
    other.say("is anybody here?");
    ann.say("hi");
    bob.skip_to("ann: hi");
    bob.say("/msg ann psst");
    ann.skip_to("[bob] psst");
    // A message of the other chat would have come before these.
    assert_eq!(redis.cli(&["PUBLISH", "chinwag:@4:lobby", "fourth"]), "1");
    other.skip_to("redis: fourth");
    other.say("/rooms");
    other.expect("-- rooms: #lobby (1)");
    bob.say("bye");
    ann.expect("bob: bye");
}

#[test]
#[ignore = "needs redis-server"]
fn history_outlives_all_processes() {
    let Cluster { redis, servers, .. } = Cluster::start(2, "");
    for n in 1..=3 {
        let answer = request(&servers[n % 2], "POST", "/rooms/lobby/messages", &format!("line {n}"));
        assert_eq!(answer, format!(r#"202 {{"seq":{n},"queued_for":0}}"#));
    }
    let history = request(&servers[0], "GET", "/rooms/lobby/messages", "");
    assert!(history.contains(r#""text":"line 3","seq":3"#), "{history}");
    assert_eq!(request(&servers[1], "GET", "/rooms/lobby/messages", ""), history);
    servers.into_iter().for_each(|server| drop(server.stop()));
    let again = redis.linked("");
    assert_eq!(request(&again, "GET", "/rooms/lobby/messages", ""), history);
    let mut ann = again.client();
    ann.say("ann");
    for n in 1..=3 {
        let line = ann.skip_to("-- ");
        let line = if n == 1 { find(&mut ann, line, "http") } else { line };
        assert!(line.ends_with(&format!(" ago http: line {n}")), "{line}");
    }
    let answer = request(&again, "POST", "/rooms/lobby/messages", "line 4");
    assert!(answer.starts_with(r#"202 {"seq":4,"#), "{answer}");
    ann.expect("http: line 4");
}

/// Skips to a line with that text, beginning with the line that was read last.
fn find(client: &mut Client, mut line: String, text: &str) -> String {
    while !line.contains(text) {
        line = client.line().expect("more");
    }
    line
}

#[test]
#[ignore = "needs redis-server"]
fn sse_client_that_returns_to_another_process_gets_exactly_what_it_missed() {
    let cluster = Cluster::start(3, "");
    // The second process has a member in the room, and the third has none.
    let [mut ann, mut bob] = [0, 1].map(|index| cluster.servers[index].join(["ann", "bob"][index]));
    cluster.await_subscribers(2);
    let mut listener = Listener::connect(&cluster.servers[0]);
    ann.say("before");
    assert_eq!(listener.text(), "before");
    let last_id = listener.last_id.clone();
    drop(listener);
    for n in 1..=5 {
        ann.say(&format!("{n}"));
        bob.skip_to(&format!("ann: {n}"));
    }
    let mut returned = [0, 1, 2].map(|index| Listener::reconnect(&cluster.servers[index], &last_id));
    bob.say("now");
    for listener in &mut returned {
        assert_eq!([(); 6].map(|()| listener.text()), ["1", "2", "3", "4", "5", "now"]);
    }
    assert_eq!(returned[0].last_id, returned[2].last_id);
}

#[test]
#[ignore = "needs redis-server"]
fn http_answers_after_redis_has_numbered_a_message_and_refuses_it_without_redis() {
    let mut cluster = Cluster::start(2, "");
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    let post = |cluster: &Cluster, text: &str| {
        request(&cluster.servers[0], "POST", "/rooms/lobby/messages?from=ci", text)
    };
    let numbered = post(&cluster, "green");
    assert!(numbered.starts_with(r#"202 {"seq":1,"#), "{numbered}");
    ann.expect("ci (http): green");
    bob.expect("ci (http): green");
    cluster.redis.kill();
    let refused = post(&cluster, "red");
    assert!(refused.starts_with(r#"503 {"error":{"code":"not_kept","#), "{refused}");
    ann.skip_to("-- the other servers are out of reach");
    let refused = post(&cluster, "blue");
    assert!(refused.starts_with(r#"503 {"error":{"code":"not_kept","#), "{refused}");
    cluster.redis.restart();
    ann.skip_to("-- the other servers are within reach again");
    let numbered = post(&cluster, "white");
    assert!(numbered.starts_with("202 "), "{numbered}");
    // Refused messages are not shown.
    assert!(bob.skip_to("ci (http): ").ends_with("white"));
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
    ann.skip_to("al: hi");
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
