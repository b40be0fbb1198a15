//! Several processes are one chat: what clients of one read of those of another, to the line. `redis_names.rs` has
//! conflicts of names, and `redis_away.rs` outages of Redis or a process.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::socket::{BINARY, Socket, TEXT, frame};
use crate::web::{get, post};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn message_reaches_every_client_on_every_process_once() {
    let mut cluster = Cluster::new(3, "");
    let ann = cluster.join(0, "ann");
    let others =
        [cluster.join(0, "bob"), cluster.join(1, "cy"), cluster.join(1, "di"), cluster.join(2, "ed")];
    cluster.run();
    others.into_iter().chain([ann]).for_each(|guest| drop(cluster.unread(guest)));
    cluster.say(ann, "hi");
    cluster.say(ann, "/me waves");
    cluster.run();
    for guest in others {
        cluster.expect(guest, &["ann: hi", "* ann waves"]);
    }
    cluster.expect(ann, &[]);
    cluster.say(others[3], "hello ann");
    cluster.expect(ann, &["ed: hello ann"]);
    cluster.pass(30 * SECOND);
    cluster.expect(others[1], &["ed: hello ann"]);
    cluster.end();
}

#[test]
fn joins_leaves_and_renames_are_announced_on_every_process() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    let bob = cluster.connect(1, "bob");
    cluster.expect(ann, &["-- bob joined"]);
    cluster.expect(
        bob,
        &[
            "-- welcome to chinwag. what's your name?",
            "-- hello bob. you are in #lobby with ann. /help lists the commands",
        ],
    );
    cluster.ask(bob, "/nick rob", &["-- you are now rob"]);
    cluster.expect(ann, &["-- bob is now rob"]);
    cluster.ask(bob, "/join dev", &["-- you are alone in #dev"]);
    cluster.expect(ann, &["-- rob left"]);
    cluster.ask(ann, "/who", &["-- in #lobby: ann"]);
    cluster.ask(ann, "/who dev", &["-- in #dev: rob"]);
    cluster.ask(ann, "/rooms", &["-- rooms: #dev (1), #lobby (1)"]);
    cluster.ask(ann, "/join dev", &["-- you are in #dev with rob"]);
    cluster.expect(bob, &["-- ann joined"]);
    cluster.ask(bob, "/who", &["-- in #dev: ann, rob"]);
    cluster.ask(bob, "/rooms", &["-- rooms: #dev (2)"]);
    cluster.say(ann, "/quit lunch");
    cluster.expect(bob, &["-- ann left (lunch)"]);
    cluster.ask(bob, "/who", &["-- in #dev: rob"]);
    cluster.stage(1).world().reset(bob.wire);
    let cy = cluster.join(0, "cy");
    cluster.ask(cy, "/rooms", &["-- rooms: #lobby (1)"]);
    cluster.end();
}

#[test]
fn process_that_has_just_started_lists_all_clients() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    let bob = cluster.join(1, "bob");
    cluster.ask(bob, "/join dev", &["-- you are alone in #dev"]);
    cluster.expect(ann, &["-- bob joined", "-- bob left"]);
    let third = cluster.start();
    cluster.run();
    let cy = cluster.join(third, "cy");
    cluster.ask(cy, "/who", &["-- in #lobby: ann, cy"]);
    cluster.ask(cy, "/rooms", &["-- rooms: #lobby (2), #dev (1)"]);
    cluster.expect(ann, &["-- cy joined"]);
    cluster.expect(bob, &[]);
    cluster.end();
}

#[test]
fn private_messages_pass_between_processes_both_ways() {
    let mut cluster = Cluster::new(3, "");
    let (ann, bob, cy) = (cluster.join(0, "ann"), cluster.join(1, "bob"), cluster.join(2, "cy"));
    [ann, bob, cy].into_iter().for_each(|guest| drop(cluster.unread(guest)));
    cluster.ask(ann, "/msg bob psst", &[]);
    cluster.expect(bob, &["[ann] psst"]);
    cluster.ask(bob, "/msg ANN what?", &[]);
    cluster.expect(ann, &["[bob] what?"]);
    cluster.expect(cy, &[]);
    cluster.ask(ann, "/msg zoe psst", &["-- nobody is called zoe. /who lists the names"]);
    // Bob disconnects, and ann sends him a message before her process is informed.
    cluster.stage(1).world().reset(bob.wire);
    cluster.say(ann, "/msg bob still there?");
    cluster.run();
    let lines = cluster.unread(ann);
    assert!(lines.contains(&"-- nobody is called bob. /who lists the names".to_string()), "{lines:?}");
    cluster.end();
}

#[test]
fn answers_pass_between_processes_until_the_sender_has_gone() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.ask(ann, "/msg bob psst", &[]);
    cluster.expect(bob, &["[ann] psst"]);
    cluster.ask(bob, "/reply what?", &[]);
    cluster.expect(ann, &["[bob] what?"]);
    cluster.ask(ann, "/reply nothing", &[]);
    cluster.expect(bob, &["[ann] nothing"]);
    cluster.say(ann, "/quit");
    cluster.expect(bob, &["-- ann left"]);
    // Another client that takes the name is not the one that has written.
    let again = cluster.join(0, "ann");
    cluster.expect(bob, &["-- ann joined"]);
    cluster.say(bob, "/reply are you there?");
    cluster.run();
    let lines = cluster.unread(bob);
    assert!(lines.len() == 1 && lines[0].starts_with("-- "), "{lines:?}");
    cluster.expect(again, &[]);
    cluster.end();
}

#[test]
fn private_message_to_a_client_that_leaves_meanwhile_is_reported_to_the_sender() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    // The process of the recipient is stopped, so Redis still has the name when the message is on its way.
    cluster.set_frozen(1, true);
    cluster.stage(1).world().reset(bob.wire);
    cluster.stage(1).run();
    cluster.ask(ann, "/msg bob psst", &[]);
    cluster.set_frozen(1, false);
    cluster.run();
    let lines = cluster.unread(ann);
    assert!(lines.contains(&"-- nobody is called bob. /who lists the names".into()), "{lines:?}");
    assert!(lines.contains(&"-- bob left".into()), "{lines:?}");
    cluster.end();
}

#[test]
fn room_is_one_subscription_per_process_whatever_its_members() {
    const LOBBY: &str = "chinwag:lobby";
    let mut cluster = Cluster::new(2, "");
    assert_eq!(cluster.redis.numsub(LOBBY), 0, "no client is there");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(0, "bob"));
    assert_eq!(cluster.redis.numsub(LOBBY), 1);
    let cy = cluster.join(1, "cy");
    assert_eq!(cluster.redis.numsub(LOBBY), 2);
    cluster.say(cy, "/join dev");
    cluster.run();
    assert_eq!(cluster.redis.numsub("chinwag:dev"), 1, "only the process with a member");
    let subscribed = cluster.redis.commands()["SUBSCRIBE"];
    cluster.pass(9 * SECOND);
    assert_eq!(cluster.redis.numsub(LOBBY), 2, "the subscription outlasts its last member");
    cluster.say(cy, "/leave");
    cluster.pass(60 * SECOND);
    assert_eq!(cluster.redis.commands()["SUBSCRIBE"], subscribed);
    assert_eq!(cluster.redis.numsub("chinwag:dev"), 0);
    cluster.say(cy, "/quit");
    cluster.pass(9 * SECOND);
    assert_eq!(cluster.redis.numsub(LOBBY), 2);
    cluster.pass(12 * SECOND);
    assert_eq!(cluster.redis.numsub(LOBBY), 1);
    cluster.say(bob, "/quit");
    cluster.pass(30 * SECOND);
    assert_eq!(cluster.redis.numsub(LOBBY), 1, "one is left");
    cluster.say(ann, "/quit");
    cluster.pass(20 * SECOND);
    assert_eq!(cluster.redis.numsub(LOBBY), 0);
    assert_eq!((cluster.link(0).subscriptions, cluster.link(1).subscriptions), (0, 0));
    cluster.end();
}

#[test]
fn publisher_without_membership_reaches_other_processes_without_a_subscription() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    cluster.ask(ann, "/join dev", &["-- you are alone in #dev"]);
    let wire = cluster.stage(1).connect_http();
    cluster.stage(1).send(wire, post("/rooms/dev/messages?from=ci", "", "green").as_bytes());
    cluster.expect(ann, &["ci (http): green"]);
    assert_eq!(cluster.redis.numsub("chinwag:dev"), 1);
    let answer = String::from_utf8_lossy(cluster.stage(1).raw(wire)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    cluster.end();
}

#[test]
fn sse_client_receives_messages_of_other_processes() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    let wire = cluster.stage(1).connect_http();
    cluster.stage(1).send(wire, get("/rooms/lobby/events").as_bytes());
    cluster.run();
    assert_eq!(cluster.redis.numsub("chinwag:lobby"), 2);
    cluster.say(ann, "hi");
    cluster.run();
    let received = String::from_utf8_lossy(cluster.stage(1).raw(wire)).into_owned();
    assert_eq!(received.matches(r#""from":"ann","text":"hi""#).count(), 1, "{received}");
    cluster.ask(ann, "/who", &["-- in #lobby: ann"]);
    cluster.end();
}

#[test]
fn programs_and_tabs_receive_messages_of_other_processes() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(1, "ann");
    let mut one = cluster.open(0, "/raw/lobby?name=one&echo=1");
    cluster.expect(ann, &["-- one joined"]);
    let mut two = cluster.open(1, "/raw/lobby?name=two");
    let mut tab = cluster.open(1, "/ws?name=tab&room=lobby");
    cluster.expect(ann, &["-- two joined", "-- tab joined"]);
    tab.texts(cluster.stage(1));
    cluster.stage(0).send(one.wire, &frame(BINARY, [0, 255, 10]));
    cluster.stage(0).send(one.wire, &frame(TEXT, "snow \u{1b}\u{2603}".as_bytes()));
    cluster.expect(ann, &["one: snow \u{2603}"]);
    let relayed = [(BINARY, vec![0, 255, 10]), (TEXT, "snow \u{1b}\u{2603}".as_bytes().to_vec())];
    assert_eq!(two.frames(cluster.stage(1)), relayed);
    assert_eq!(one.frames(cluster.stage(0)), relayed, "its own, once");
    let texts = tab.texts(cluster.stage(1));
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains(r#""from":"one","text":"snow "#), "{texts:?}");
    tab.say(cluster.stage(1), r#"{"type":"say","room":"lobby","data":{"x":[1.50,null]},"id":"a"}"#);
    cluster.expect(ann, &[r#"tab: {"x":[1.50,null]}"#]);
    let bob = cluster.join(0, "bob");
    tab.texts(cluster.stage(1));
    tab.say(cluster.stage(1), r#"{"type":"tell","to":"bob","text":"one\ntwo","id":"b"}"#);
    cluster.expect(bob, &["[tab] one two"]);
    let texts = tab.texts(cluster.stage(1));
    assert!(texts.len() == 1 && texts[0].contains(r#""id":"b""#), "{texts:?}");
    assert_eq!(one.frames(cluster.stage(0)), [], "programs are sent only messages of programs");
    cluster.end();
}

#[test]
fn tab_in_many_rooms_is_listed_in_all_of_them_elsewhere() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(1, "ann");
    let mut tab = Socket::open(cluster.stage(0), "/ws?name=tab&room=a");
    for request in [r#"{"type":"join","room":"b"}"#, r#"{"type":"join","room":"c"}"#] {
        tab.say(cluster.stage(0), request);
    }
    cluster.ask(ann, "/rooms", &["-- rooms: #a (1), #b (1), #c (1), #lobby (1)"]);
    tab.say(cluster.stage(0), r#"{"type":"leave","room":"b"}"#);
    cluster.ask(ann, "/join b", &["-- you are alone in #b"]);
    cluster.ask(ann, "/join c", &["-- you are in #c with tab"]);
    tab.texts(cluster.stage(0));
    cluster.say(ann, "hi");
    cluster.run();
    let texts = tab.texts(cluster.stage(0));
    assert!(texts[0].contains(r#""room":"c","from":"ann","text":"hi""#), "{texts:?}");
    cluster.stage(0).world().end(tab.wire);
    cluster.expect(ann, &["-- tab left"]);
    cluster.end();
}

#[test]
fn message_of_another_redis_client_is_shown_as_from_redis() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    let mut tab = Socket::open(cluster.stage(0), "/ws?name=tab&room=lobby");
    cluster.expect(bob, &["-- tab joined"]);
    cluster.expect(ann, &["-- tab joined"]);
    tab.texts(cluster.stage(0));
    for payload in [&b"hello"[..], br#"{"a": [1.50]}"#, b"one\ntwo", b"\x1b[2Jclean"] {
        assert_eq!(cluster.redis.publish("chinwag:lobby", payload), 2);
    }
    for guest in [ann, bob] {
        cluster
            .expect(guest, &["redis: hello", r#"redis: {"a":[1.50]}"#, "redis: one two", "redis: [2Jclean"]);
    }
    let texts = tab.texts(cluster.stage(0));
    assert!(texts[0].contains(r#""from":"redis","text":"hello""#), "{texts:?}");
    assert!(texts[1].contains(r#""from":"redis","data":{"a":[1.50]}"#), "{texts:?}");
    let large = vec![b'x'; 65 * 1024];
    // Payloads that are no text, are empty or too long, or look like ours and are not.
    for payload in [
        &[0xff, 0xfe][..],
        b"",
        b"  ",
        &large,
        b"chinwag ",
        b"chinwag 1 2",
        b"chinwag x y z {}",
        br#"chinwag - - - {"sing":{}}"#,
        br#"chinwag - - - {"say":"#,
        br#"chinwag - - - {"say":{"from":"eve"}}"#,
    ] {
        cluster.redis.publish("chinwag:lobby", payload);
        cluster.redis.publish("chinwag:@00000000000003e8", payload);
        cluster.expect(ann, &[]);
    }
    assert_eq!(cluster.counts(0).ignored, 20);
    cluster.say(bob, "still here");
    cluster.expect(ann, &["bob: still here"]);
    cluster.end();
}

#[test]
fn prefix_separates_chats() {
    let mut cluster = Cluster::new(2, "--redis-prefix room:");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.say(bob, "hi");
    cluster.expect(ann, &["bob: hi"]);
    let mut channels = cluster.redis.channels();
    channels.retain(|channel, _| !channel.starts_with("room:@"));
    assert_eq!(channels.into_iter().collect::<Vec<_>>(), [("room:lobby".to_string(), 2)]);
    assert_eq!(cluster.redis.publish("chinwag:lobby", b"hello"), 0);
    assert!(cluster.redis.keys(cluster.millis()).iter().all(|key| key.starts_with("room:@")));
    cluster.end();
}

#[test]
fn redis_is_reached_by_a_unix_socket_as_well() {
    let mut cluster = Cluster::new(2, "--redis unix:///run/redis.sock");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.say(ann, "hi");
    cluster.expect(bob, &["ann: hi"]);
    assert_eq!(cluster.stage(0).world().asked, [], "no name is looked up");
    cluster.end();
}

#[test]
fn room_over_a_reloaded_announce_max_gets_one_summary() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chinwag.toml");
    std::fs::write(&path, "announce-max = 50\n").expect("a file");
    let mut cluster = Cluster::new(2, &format!("--config {}", path.display()));
    let [ann, bob] = [(0, "ann"), (1, "bob")].map(|(process, name)| cluster.join(process, name));
    cluster.expect(ann, &["-- bob joined"]);
    std::fs::write(&path, "announce-max = 1\n").expect("a file");
    (0..2).for_each(|process| cluster.stage(process).world().signal(chinwag::net::Signal::Reload));
    cluster.run();
    cluster.join(1, "cy");
    cluster.pass(Duration::from_secs(21));
    // A join that is published all the same would be counted at both processes.
    for guest in [ann, bob] {
        let lines = cluster.unread(guest);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("joined") && !lines[0].contains("cy"), "{lines:?}");
    }
    cluster.end();
}

#[test]
fn client_that_is_moved_while_it_waits_for_a_list_gets_that_of_its_new_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chinwag.toml");
    std::fs::write(&path, "").expect("a file");
    let mut cluster = Cluster::new(1, &format!("--config {}", path.display()));
    let other = cluster.start_with("");
    cluster.run();
    let [ann, _, eve] = [(0, "ann"), (other, "zoe"), (other, "eve")].map(|(at, name)| cluster.join(at, name));
    [ann, eve].into_iter().for_each(|guest| cluster.say(guest, "/join dev"));
    cluster.run();
    let millis = cluster.millis();
    cluster.redis.set_stalled(true, millis);
    cluster.say(ann, "/who");
    cluster.run();
    cluster.unread(ann);
    std::fs::write(&path, "[rooms.dev]\nenter = \"moderator\"\n").expect("a file");
    cluster.stage(0).world().signal(chinwag::net::Signal::Reload);
    cluster.run();
    let millis = cluster.millis();
    cluster.redis.set_stalled(false, millis);
    cluster.pass(Duration::from_secs(1));
    let lines = cluster.unread(ann);
    let list = lines.last().expect("a list");
    assert!(list.contains("zoe") && !list.contains("eve"), "{lines:?}");
    cluster.end();
}
