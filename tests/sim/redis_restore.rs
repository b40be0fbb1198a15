//! A Redis that has lost a part of its data, its scripts, or much time.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::redis_faults::{CONNECTED, DISCONNECTED, Three};

const SECOND: Duration = Duration::from_secs(1);
const MAYBE_LOST: &str = "-- messages from other servers may have been lost";

/// Sends and delivers some messages.
fn chat(three: &mut Three, words: &[&str]) {
    for word in words {
        three.cluster.say(three.ann, word);
        three.cluster.run();
    }
    for guest in [three.ann, three.bob, three.far] {
        three.cluster.unread(guest);
    }
}

#[test]
fn older_copy_of_redis_is_reported_once_without_a_number_and_nobody_joins_or_leaves() {
    let mut three = Three::new("");
    chat(&mut three, &["m1", "m2", "m3"]);
    let saved = three.cluster.redis.save();
    chat(&mut three, &["m4", "m5"]);
    let epoch = |three: &Three| {
        three.cluster.redis.hash("chinwag:@meta:lobby", three.cluster.millis())["epoch"].clone()
    };
    let before = epoch(&three);
    three.cluster.redis.restore(&saved);
    three.cluster.set_redis_down(false, true);
    three.cluster.pass(10 * SECOND);
    for guest in [three.ann, three.bob, three.far] {
        three.cluster.expect(guest, &[MAYBE_LOST]);
    }
    assert_ne!(epoch(&three), before);
    chat(&mut three, &["m6"]);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn process_that_returns_after_others_have_filled_the_gap_notices_that_redis_has_lost_messages() {
    let mut three = Three::new("");
    chat(&mut three, &["m1"]);
    let saved = three.cluster.redis.save();
    chat(&mut three, &["m2", "m3"]);
    three.cluster.set_cut_off(1, true);
    three.cluster.redis.restore(&saved);
    three.cluster.set_redis_down(false, true);
    three.cluster.set_cut_off(1, true);
    three.cluster.pass(3 * SECOND);
    for word in ["n2", "n3", "n4"] {
        three.cluster.say(three.ann, word);
        three.cluster.run();
    }
    three.cluster.set_cut_off(1, false);
    three.cluster.pass(10 * SECOND);
    three.cluster.expect(three.far, &[MAYBE_LOST, "ann: n2", "ann: n3", "ann: n4"]);
    three.cluster.expect(three.bob, &[MAYBE_LOST, "ann: n2", "ann: n3", "ann: n4"]);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn clients_missing_from_an_older_copy_of_redis_are_listed_again() {
    for outage in [Duration::ZERO, 20 * SECOND] {
        let mut cluster = Cluster::new(2, "");
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.pass(10 * SECOND);
        let saved = cluster.redis.save();
        let cy = cluster.join(0, "cy");
        cluster.say(cy, "hi");
        cluster.run();
        [ann, bob, cy].into_iter().for_each(|guest| drop(cluster.unread(guest)));
        cluster.redis.restore(&saved);
        cluster.set_redis_down(true, true);
        cluster.pass(outage);
        cluster.set_redis_down(false, true);
        cluster.pass(15 * SECOND);
        let lines = cluster.unread(bob);
        let moves = |line: &String| line.contains(" joined") || line.contains(" left");
        assert!(!lines.iter().any(moves), "{lines:?}");
        for guest in [ann, bob, cy] {
            assert_eq!(cluster.who(guest), ["ann", "bob", "cy"], "{outage:?}");
        }
        cluster.ask(bob, "/nick Cy", &["-- the name Cy is taken"]);
        cluster.end();
    }
}

#[test]
fn each_loss_of_clients_is_noticed_and_a_process_that_returns_later_is_announced() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    for name in ["cy", "di"] {
        cluster.pass(10 * SECOND);
        let saved = cluster.redis.save();
        let guest = cluster.join(0, name);
        cluster.say(guest, "hi");
        cluster.run();
        cluster.redis.restore(&saved);
        cluster.set_redis_down(false, true);
        cluster.pass(15 * SECOND);
        assert!(cluster.who(bob).contains(&name.into()), "{name}");
    }
    cluster.unread(ann);
    cluster.set_frozen(1, true);
    cluster.pass(25 * SECOND);
    cluster.set_frozen(1, false);
    cluster.pass(15 * SECOND);
    cluster.expect(ann, &["-- bob left (its server is gone)", "-- bob joined"]);
    cluster.end();
}

#[test]
fn scripts_that_redis_has_forgotten_are_loaded_again_and_nobody_is_told() {
    let mut three = Three::new("");
    for round in 0..3 {
        three.cluster.redis.flush_scripts();
        three.cluster.say(three.ann, &format!("m{round}"));
        three.cluster.say(three.far, &format!("n{round}"));
        three.cluster.pass(2 * SECOND);
        let mut lines = three.cluster.unread(three.bob);
        lines.sort_unstable();
        assert_eq!(lines, [format!("ann: m{round}"), format!("far: n{round}")]);
        three.cluster.expect(three.far, &[&format!("ann: m{round}")]);
    }
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn stall_is_announced_only_if_it_outlasts_the_timeout() {
    for (seconds, is_announced) in [(3, false), (20, true)] {
        let mut three = Three::new("--redis-timeout 5s");
        let millis = three.cluster.millis();
        three.cluster.redis.set_stalled(true, millis);
        for number in 0..3 {
            three.cluster.say(three.ann, &format!("m{number}"));
            three.cluster.run();
        }
        let newcomer = three.cluster.connect(1, "di");
        three.cluster.pass(seconds * SECOND);
        let millis = three.cluster.millis();
        three.cluster.redis.set_stalled(false, millis);
        three.cluster.pass(10 * SECOND);
        let (lines, said) = (three.cluster.unread(three.far), ["ann: m0", "ann: m1", "ann: m2"]);
        let received: Vec<&String> = lines.iter().filter(|line| line.starts_with("ann: ")).collect();
        assert_eq!(received, said, "{lines:?}");
        let told = [DISCONNECTED, CONNECTED].map(|told| lines.iter().filter(|line| *line == told).count());
        assert_eq!(told, [usize::from(is_announced); 2], "{lines:?}");
        let local = three.cluster.unread(three.bob);
        let received: Vec<&String> = local.iter().filter(|line| line.starts_with("ann: ")).collect();
        assert_eq!(received, said, "{local:?}");
        assert_eq!(three.cluster.who(newcomer), ["ann", "bob", "di", "far"]);
        three.cluster.say(newcomer, "/quit");
        three.expect_one_chat();
        three.cluster.end();
    }
}

#[test]
fn name_that_two_clients_got_during_an_outage_is_that_of_the_first_to_register() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.set_redis_down(true, true);
    cluster.pass(3 * SECOND);
    cluster.say(ann, "/nick joe");
    cluster.say(bob, "/nick JOE");
    cluster.run();
    for guest in [ann, bob] {
        let lines = cluster.unread(guest);
        assert!(lines.last().is_some_and(|line| line.to_lowercase().contains("joe")), "{lines:?}");
    }
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    let guests = [ann, bob].map(|guest| {
        let lines = cluster.unread(guest);
        lines.iter().filter(|line| line.contains("on another server has the name ")).count()
    });
    assert_eq!(guests[0] + guests[1], 1, "{guests:?}");
    let names = cluster.who(ann);
    assert_eq!(names, cluster.who(bob));
    assert_eq!(names.iter().filter(|name| name.to_lowercase() == "joe").count(), 1, "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("guest-")).count(), 1, "{names:?}");
    cluster.end();
}
