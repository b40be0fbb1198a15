//! Outages of Redis or of a process: what clients are told, which messages arrive later, and who is still listed.

use std::time::Duration;

use crate::cluster::Cluster;

const SECOND: Duration = Duration::from_secs(1);
const DISCONNECTED: &str =
    "-- the other servers are out of reach: until they are back you see only messages of this one";
const MAYBE_LOST: &str = "-- messages from other servers may have been lost";
const CONNECTED: &str = "-- the other servers are within reach again";

#[test]
fn clients_are_told_once_when_redis_is_away_and_once_when_it_is_back() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.set_redis_down(true, true);
    cluster.pass(SECOND * 9 / 10);
    cluster.expect(ann, &[]);
    cluster.pass(60 * SECOND);
    cluster.expect(ann, &[DISCONNECTED]);
    cluster.ask(ann, "/who", &["-- in #lobby: ann"]);
    let cy = cluster.connect(0, "cy");
    cluster.run();
    assert_eq!(
        cluster.unread(cy)[1..],
        ["-- hello cy. you are in #lobby with ann. /help lists the commands", DISCONNECTED]
    );
    cluster.expect(ann, &["-- cy joined"]);
    cluster.say(cy, "hi");
    cluster.expect(ann, &["cy: hi"]);
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    cluster.expect(ann, &[CONNECTED]);
    cluster.expect(cy, &[CONNECTED]);
    cluster.expect(bob, &[DISCONNECTED, "cy: hi", CONNECTED]);
    for guest in [ann, bob, cy] {
        assert_eq!(cluster.who(guest), ["ann", "bob", "cy"]);
    }
    cluster.end();
}

#[test]
fn blip_of_the_link_is_not_announced() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    for keep_data in [true, false] {
        cluster.pass(30 * SECOND);
        cluster.set_redis_down(true, keep_data);
        cluster.pass(SECOND / 2);
        cluster.set_redis_down(false, keep_data);
        cluster.say(bob, "during");
        cluster.pass(10 * SECOND);
        // Redis has forgotten what it had numbered.
        let lost: &[&str] = if keep_data { &[] } else { &[MAYBE_LOST] };
        cluster.expect(ann, &[lost, &["bob: during"]].concat());
        cluster.expect(bob, lost);
        assert_eq!(cluster.who(ann), ["ann", "bob"]);
    }
    cluster.end();
}

#[test]
fn restart_of_half_a_second_is_not_announced() {
    let mut cluster = Cluster::new(10, "");
    let guests: Vec<_> = (0..10).map(|process| cluster.join(process, &format!("c{process}"))).collect();
    cluster.pass(10 * SECOND);
    guests.iter().for_each(|guest| drop(cluster.unread(*guest)));
    cluster.set_redis_down(true, true);
    cluster.pass(SECOND / 2);
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    for guest in guests {
        cluster.expect(guest, &[]);
        assert_eq!(cluster.who(guest).len(), 10);
    }
    cluster.end();
}

#[test]
fn newcomers_are_told_that_redis_is_away_from_the_start() {
    let mut cluster = Cluster::new(0, "");
    cluster.set_redis_down(true, false);
    cluster.start();
    let ann = cluster.connect(0, "ann");
    cluster.pass(SECOND / 2);
    cluster.expect(ann, &["-- welcome to chinwag. what's your name?"]);
    cluster.pass(3 * SECOND);
    let lines = cluster.unread(ann);
    assert!(lines[0].starts_with("-- hello ann. ") && lines[1..] == [DISCONNECTED], "{lines:?}");
    cluster.set_redis_down(false, false);
    cluster.pass(10 * SECOND);
    cluster.expect(ann, &[CONNECTED]);
    cluster.end();
}

#[test]
fn messages_sent_while_redis_is_away_arrive_once_and_in_order() {
    let mut cluster = Cluster::new(2, "--rate off");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.say(ann, "m0");
    cluster.expect(bob, &["ann: m0"]);
    cluster.expect(ann, &["-- bob joined"]);
    cluster.set_redis_down(true, false);
    cluster.pass(30 * SECOND);
    for number in 1..=100 {
        cluster.say(ann, &format!("m{number}"));
        cluster.pass(SECOND / 10);
    }
    cluster.expect(bob, &[DISCONNECTED]);
    cluster.set_redis_down(false, false);
    cluster.pass(10 * SECOND);
    let received = cluster.unread(bob);
    let expected: Vec<String> = (1..=100).map(|number| format!("ann: m{number}")).collect();
    // Redis has lost `m0`, and more for all that a process can know.
    assert_eq!((&received[0][..], &received[101][..]), (MAYBE_LOST, CONNECTED));
    assert_eq!(received[1..101], expected);
    cluster.expect(ann, &[DISCONNECTED, MAYBE_LOST, CONNECTED]);
    cluster.end();
}

#[test]
fn clients_of_a_killed_process_leave_within_twenty_seconds_and_once() {
    let mut cluster = Cluster::new(3, "");
    let (ann, _bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    let cy = cluster.join(2, "cy");
    cluster.expect(ann, &["-- bob joined", "-- cy joined"]);
    cluster.pass(60 * SECOND);
    cluster.kill(1);
    cluster.pass(9 * SECOND);
    assert_eq!(cluster.who(ann), ["ann", "bob", "cy"]);
    cluster.ask(ann, "/msg bob psst", &["-- nobody is called bob. /who lists the names"]);
    cluster.pass(11 * SECOND);
    for guest in [ann, cy] {
        cluster.expect(guest, &["-- bob left (its server is gone)"]);
    }
    let again = cluster.join(0, "bob");
    cluster.expect(cy, &["-- bob joined"]);
    assert_eq!(cluster.link(0).peers, 1);
    let of_dead = |key: &String| key.contains("00000000000007d0");
    assert!(!cluster.redis.keys(cluster.millis()).iter().any(of_dead));
    assert_eq!(cluster.who(again), ["ann", "bob", "cy"]);
    cluster.ask(cy, "/rooms", &["-- rooms: #lobby (3)"]);
    cluster.end();
}

#[test]
fn frozen_process_comes_back_and_agrees_with_the_others_again() {
    for seconds in [3, 8, 25, 600] {
        let mut cluster = Cluster::new(2, "");
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.say(ann, "/msg bob m0");
        cluster.expect(bob, &["[ann] m0"]);
        cluster.unread(ann);
        cluster.set_frozen(1, true);
        cluster.pass(seconds * SECOND);
        let gone = ["-- bob left (its server is gone)"];
        cluster.expect(ann, if seconds > 20 { &gone } else { &[] });
        cluster.say(ann, "are you there?");
        let cy = cluster.join(0, "cy");
        cluster.expect(ann, &["-- cy joined"]);
        cluster.pass(SECOND);
        cluster.set_frozen(1, false);
        cluster.pass(20 * SECOND);
        cluster.expect(bob, &["ann: are you there?", "-- cy joined"]);
        // Clients that read that he left read that he joined again.
        let back = ["-- bob joined"];
        cluster.expect(ann, if seconds > 20 { &back } else { &[] });
        cluster.expect(cy, if seconds > 20 { &back } else { &[] });
        assert_eq!(cluster.who(bob), ["ann", "bob", "cy"]);
        assert_eq!(cluster.who(ann), ["ann", "bob", "cy"]);
        cluster.unread(cy);
        cluster.say(bob, "yes");
        cluster.expect(cy, &["bob: yes"]);
        cluster.end();
    }
}

#[test]
fn process_cut_off_from_redis_is_back_when_the_network_is() {
    for seconds in [3, 8, 40, 300] {
        let mut cluster = Cluster::new(3, "");
        let guests = [cluster.join(0, "ann"), cluster.join(1, "bob"), cluster.join(2, "cy")];
        cluster.say(guests[0], "before");
        cluster.run();
        guests.into_iter().for_each(|guest| drop(cluster.unread(guest)));
        cluster.set_cut_off(1, true);
        cluster.say(guests[1], "I am cut off");
        cluster.say(guests[0], "is he?");
        cluster.pass(seconds * SECOND);
        cluster.set_cut_off(1, false);
        cluster.pass(15 * SECOND);
        let lines = guests.map(|guest| cluster.unread(guest));
        let said = |lines: &[String], line: &str| lines.iter().filter(|lines| *lines == line).count();
        assert_eq!(said(&lines[0], "bob: I am cut off"), 1, "{lines:?}");
        assert_eq!(said(&lines[2], "bob: I am cut off"), 1, "{lines:?}");
        let lost = said(&lines[1], "-- 1 message from another server was lost");
        assert_eq!(said(&lines[1], "ann: is he?") + lost, 1, "{lines:?}");
        assert_eq!(cluster.who(guests[1]), ["ann", "bob", "cy"]);
        assert_eq!(cluster.who(guests[0]), ["ann", "bob", "cy"]);
        cluster.ask(guests[0], "/rooms", &["-- rooms: #lobby (3)"]);
        cluster.end();
    }
}

#[test]
fn message_sent_while_a_process_has_no_member_is_in_its_history() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.ask(ann, "/join dev", &["-- you are alone in #dev"]);
    cluster.expect(bob, &["-- ann left"]);
    cluster.ask(bob, "/join dev", &["-- you are in #dev with ann"]);
    cluster.say(ann, "m1");
    cluster.expect(bob, &["ann: m1"]);
    cluster.say(bob, "/leave");
    // The subscription ends, and the process keeps the room's history.
    cluster.pass(25 * SECOND);
    cluster.unread(bob);
    assert_eq!(cluster.redis.numsub("chinwag:dev"), 1);
    cluster.say(ann, "m2");
    cluster.run();
    cluster.ask(
        bob,
        "/join dev",
        &["-- you are in #dev with ann", "-- 25 s ago ann: m1", "-- 0 s ago ann: m2"],
    );
    cluster.say(ann, "m3");
    cluster.expect(bob, &["ann: m3"]);
    cluster.end();
}

#[test]
fn deleted_keys_are_written_to_redis_again() {
    for seconds in [0, 6] {
        let mut cluster = Cluster::new(2, "");
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.redis.flush_all();
        cluster.pass(seconds * SECOND);
        let cy = cluster.join(0, "cy");
        cluster.pass(SECOND);
        let third = cluster.start();
        cluster.pass(6 * SECOND);
        let di = cluster.join(third, "di");
        for guest in [ann, bob, cy, di] {
            assert_eq!(cluster.who(guest), ["ann", "bob", "cy", "di"]);
        }
        cluster.end();
    }
}

#[test]
fn process_whose_lease_was_deleted_is_listed_again() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.pass(10 * SECOND);
    cluster.redis.expire("chinwag:@lease:00000000000003e8");
    cluster.pass(8 * SECOND);
    for guest in [ann, bob] {
        // The other process may have buried it before.
        let lines = cluster.unread(guest);
        assert!(
            lines.is_empty() || lines == ["-- ann left (its server is gone)", "-- ann joined"],
            "{lines:?}"
        );
        assert_eq!(cluster.who(guest), ["ann", "bob"]);
    }
    cluster.ask(bob, "/nick Ann", &["-- the name Ann is taken"]);
    cluster.end();
}

#[test]
fn room_joined_while_redis_is_away_is_subscribed_to_when_redis_is_back() {
    for leaves in [false, true] {
        let mut cluster = Cluster::new(2, "");
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.expect(ann, &["-- bob joined"]);
        cluster.ask(ann, "/join dev", &["-- you are alone in #dev"]);
        cluster.say(ann, "m1");
        cluster.expect(bob, &["-- ann left"]);
        cluster.set_redis_down(true, true);
        // Some attempts to connect fail without an answer.
        cluster.set_cut_off(1, true);
        cluster.pass(20 * SECOND);
        cluster.say(bob, "/join dev");
        cluster.pass(20 * SECOND);
        if leaves {
            cluster.say(bob, "/leave");
        }
        cluster.set_redis_down(false, true);
        cluster.set_cut_off(1, false);
        cluster.pass(8 * SECOND);
        cluster.say(bob, "/join dev");
        cluster.run();
        let lines = cluster.unread(bob);
        let count = |text: &str| lines.iter().filter(|line| line.ends_with(text)).count();
        assert_eq!([count(MAYBE_LOST), count("ann: m1")], [0, 1], "{lines:?}");
        cluster.say(ann, "m2");
        cluster.expect(bob, &["ann: m2"]);
        assert_eq!(cluster.redis.numsub("chinwag:dev"), 2);
        cluster.pass(60 * SECOND);
        assert_eq!((cluster.link(0).subscriptions, cluster.link(1).subscriptions), (1, 1));
        cluster.end();
    }
}

#[test]
fn room_message_confirmed_late_arrives_once_and_private_one_is_reported() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    for round in 0..2 {
        let millis = cluster.millis();
        cluster.redis.set_stalled(true, millis);
        cluster.say(ann, "/msg bob psst");
        cluster.say(ann, "hi");
        // The process times out, but Redis has received its message all the same.
        cluster.pass(6 * SECOND);
        let millis = cluster.millis();
        cluster.redis.set_stalled(false, millis);
        cluster.pass(20 * SECOND);
        let lines = cluster.unread(bob);
        let said = |line: &str| lines.iter().filter(|lines| *lines == line).count();
        // Nobody is called bob at this process alone, and the sender is told that.
        assert_eq!((said("[ann] psst"), said("ann: hi")), (0, 1), "round {round}: {lines:?}");
        let lines = cluster.unread(ann);
        let told = lines.iter().filter(|line| line.starts_with("-- nobody is called bob")).count();
        assert_eq!(told, 1, "{lines:?}");
    }
    cluster.end();
}

#[test]
fn messages_do_not_wait_for_a_killed_process() {
    let mut cluster = Cluster::new(3, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.set_redis_down(true, true);
    cluster.kill(2);
    cluster.say(ann, "hi");
    cluster.say(ann, "/msg bob psst");
    cluster.pass(SECOND / 5);
    cluster.set_redis_down(false, true);
    cluster.pass(SECOND);
    cluster.expect(bob, &["ann: hi", "[ann] psst"]);
    cluster.end();
}

#[test]
fn message_sent_during_a_reconnect_arrives_within_250_ms() {
    let mut cluster = Cluster::new(3, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.pass(10 * SECOND);
    let conn = cluster.conns(0)[1];
    cluster.redis.kill(conn);
    cluster.run();
    assert!(!cluster.link(0).up);
    cluster.say(ann, "hi");
    cluster.pass(SECOND / 4);
    cluster.expect(bob, &["ann: hi"]);
    cluster.end();
}
