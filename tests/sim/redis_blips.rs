//! Short breaks of the link: lost messages are reported and no others, and dead processes do not stay listed because of
//! a break.

use std::time::Duration;

use chinwag::net::Signal;

use crate::cluster::Cluster;

const SECOND: Duration = Duration::from_secs(1);
/// Commands of scripts, each of which a user may lack.
const SCRIPTED: [&str; 28] = [
    "HSET",
    "HSETNX",
    "HGET",
    "HMGET",
    "HDEL",
    "SADD",
    "SREM",
    "SMEMBERS",
    "SRANDMEMBER",
    "SCARD",
    "ZINCRBY",
    "ZSCORE",
    "ZREVRANGE",
    "ZCARD",
    "ZREM",
    "XADD",
    "XRANGE",
    "XREVRANGE",
    "PEXPIRE",
    "DEL",
    "PUBLISH",
    "SETNX",
    "SET",
    "GET",
    "EXISTS",
    "INCRBY",
    "EVALSHA",
    "SCRIPT",
];
const MAYBE_LOST: &str = "-- messages from other servers may have been lost";
const CONNECTED: &str = "-- the other servers are within reach again";

/// Breaks one of the two connections of a process.
fn blip(cluster: &mut Cluster, process: usize) {
    let connections = cluster.conns(process);
    cluster.redis.kill(connections[0]);
    cluster.run();
}

fn publish(cluster: &mut Cluster, process: usize) {
    let wire = cluster.stage(process).connect_http();
    let head = "POST /rooms/alerts/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain";
    let request = format!("{head}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    cluster.stage(process).send(wire, request.as_bytes());
    cluster.run();
}

#[test]
fn first_member_that_joins_while_cut_off_is_told_of_a_loss_only_if_there_may_be_one() {
    for said in [0, 5, 6] {
        expect_losses_of_first_member(said, 5);
    }
}

fn expect_losses_of_first_member(said: usize, history: usize) {
    let mut cluster = Cluster::new(2, &format!("--history {history}"));
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.say(ann, "/join dev");
    cluster.run();
    for number in 0..said {
        cluster.say(ann, &format!("m{number}"));
        cluster.pass(SECOND);
    }
    cluster.pass(60 * SECOND);
    cluster.set_cut_off(1, true);
    cluster.say(bob, "/join dev");
    cluster.run();
    cluster.unread(bob);
    cluster.pass(10 * SECOND);
    cluster.set_cut_off(1, false);
    cluster.pass(10 * SECOND);
    let lines = cluster.unread(bob);
    let lost = lines.iter().filter(|line| *line == MAYBE_LOST).count();
    assert_eq!(lost, usize::from(said > history), "{lines:?}");
    let messages: Vec<String> = lines.into_iter().filter(|line| line.starts_with("ann: ")).collect();
    let expected = (said.saturating_sub(history)..said).map(|number| format!("ann: m{number}"));
    assert_eq!(messages, expected.collect::<Vec<_>>());
    cluster.end();
}

#[test]
fn messages_published_before_a_room_had_members_are_not_reported_as_lost_after_a_blip() {
    let mut cluster = Cluster::new(2, "");
    let bob = cluster.join(1, "bob");
    (0..30).for_each(|_| publish(&mut cluster, 0));
    cluster.pass(10 * SECOND);
    cluster.say(bob, "/join alerts");
    cluster.pass(10 * SECOND);
    cluster.unread(bob);
    blip(&mut cluster, 1);
    cluster.pass(10 * SECOND);
    cluster.expect(bob, &[]);
    // The messages of the others are read later.
    cluster.set_cut_off(1, true);
    (0..3).for_each(|_| publish(&mut cluster, 0));
    cluster.pass(10 * SECOND);
    cluster.unread(bob);
    cluster.set_cut_off(1, false);
    cluster.pass(10 * SECOND);
    cluster.expect(bob, &["http: hi", "http: hi", "http: hi", CONNECTED]);
    cluster.end();
}

#[test]
fn trimmed_messages_are_counted_exactly_and_the_others_are_read() {
    let mut cluster = Cluster::new(2, "--rate off");
    let bob = cluster.join(1, "bob");
    publish(&mut cluster, 0);
    cluster.pass(10 * SECOND);
    cluster.say(bob, "/join alerts");
    cluster.pass(10 * SECOND);
    cluster.set_cut_off(1, true);
    (0..130).for_each(|_| publish(&mut cluster, 0));
    cluster.pass(10 * SECOND);
    cluster.unread(bob);
    cluster.set_cut_off(1, false);
    cluster.pass(10 * SECOND);
    let lines = cluster.unread(bob);
    assert_eq!(
        (&lines[0][..], lines.len()),
        ("-- 30 messages from other servers were lost", 102),
        "{lines:?}"
    );
    assert!(lines[1..101].iter().all(|line| line == "http: hi") && lines[101] == CONNECTED, "{lines:?}");
    cluster.end();
}

#[test]
fn message_of_a_sender_that_has_left_since_is_read_after_a_long_time() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    for guest in [ann, bob] {
        cluster.say(guest, "/join dev");
        cluster.run();
    }
    cluster.say(ann, "before");
    cluster.pass(10 * SECOND);
    cluster.set_cut_off(1, true);
    cluster.say(ann, "important");
    cluster.run();
    cluster.say(ann, "/join lobby");
    cluster.pass(20 * 60 * SECOND);
    cluster.unread(bob);
    cluster.set_cut_off(1, false);
    cluster.pass(20 * SECOND);
    cluster.expect(bob, &["ann: important", CONNECTED]);
    cluster.end();
}

#[test]
fn killed_process_is_removed_though_the_link_breaks_again_and_again() {
    for pause in [9, 15] {
        let mut cluster = Cluster::new(2, "");
        let (_ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.kill(0);
        for second in 1..=30 {
            cluster.pass(SECOND);
            if second % pause == 0 {
                blip(&mut cluster, 1);
            }
        }
        cluster.pass(SECOND);
        assert_eq!(cluster.who(bob), ["bob"]);
        cluster.end();
    }
}

#[test]
fn missing_right_at_redis_sends_at_most_two_notices() {
    for command in SCRIPTED {
        let mut cluster = Cluster::new(2, "");
        let bob = cluster.join(1, "bob");
        cluster.redis.refuse(command, Some("NOPERM this user has no permissions to run that command"));
        cluster.pass(300 * SECOND);
        let lines = cluster.unread(bob);
        assert!(lines.len() <= 2, "{command}: {lines:?}");
        cluster.redis.refuse(command, None);
        cluster.pass(30 * SECOND);
        cluster.say(bob, "/who");
        cluster.end();
    }
}

#[test]
fn message_sent_in_a_blip_is_published_before_the_shutdown() {
    let mut cluster = Cluster::new(2, "--grace 5s");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.pass(10 * SECOND);
    cluster.unread(bob);
    blip(&mut cluster, 0);
    cluster.say(ann, "done");
    cluster.run();
    cluster.stage(0).world().reset(ann.wire);
    cluster.run();
    cluster.stage(0).world().signal(Signal::Terminate);
    cluster.run();
    assert!(!cluster.stage(0).stopped);
    cluster.pass(SECOND);
    assert!(cluster.stage(0).stopped, "there is nothing more to wait for");
    cluster.expect(bob, &["ann: done", "-- ann left"]);
}

#[test]
fn shutdown_without_redis_waits_only_if_messages_are_unpublished() {
    for said in [false, true] {
        let mut cluster = Cluster::new(1, "--grace 5s");
        let ann = cluster.join(0, "ann");
        cluster.set_redis_down(true, true);
        cluster.pass(10 * SECOND);
        if said {
            cluster.say(ann, "hello?");
            cluster.run();
        }
        cluster.stage(0).world().reset(ann.wire);
        cluster.run();
        cluster.stage(0).world().signal(Signal::Terminate);
        cluster.run();
        assert_eq!(cluster.stage(0).stopped, !said);
        cluster.pass(5 * SECOND);
        assert!(cluster.stage(0).stopped);
    }
}

/// The process was removed while it was frozen, and its session ends after Redis has begun its lease and before it answers.
#[test]
fn process_whose_first_greeting_after_its_removal_is_unanswered_registers_its_clients() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.pass(10 * SECOND);
    cluster.set_frozen(0, true);
    cluster.pass(60 * SECOND);
    assert_eq!(cluster.who(bob), ["bob"]);
    cluster.redis.refuse_once("INCRBY", "NOPERM no right to run this command");
    cluster.set_frozen(0, false);
    cluster.pass(10 * SECOND);
    assert_eq!(
        (cluster.who(ann), cluster.who(bob)),
        (vec!["ann".into(), "bob".into()], vec!["ann".into(), "bob".into()])
    );
    cluster.end();
}
