//! The limits in the scripts: announcements in rooms of exactly `--announce-max` members, expiries, and reads in parts.

use std::time::Duration;

use crate::cluster::{Cluster, Guest};

const SECOND: Duration = Duration::from_secs(1);
const MAYBE_LOST: &str = "-- messages from other servers may have been lost";

/// Publishes a text of that length in a room, at a process.
fn publish(cluster: &mut Cluster, process: usize, room: &str, text: &str) {
    let head = format!(
        "POST /rooms/{room}/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}",
        text.len()
    );
    let answer = cluster.ask_http(process, &format!("{head}\r\nConnection: close\r\n\r\n{text}"));
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
}

/// Eve at the second process, and two clients at the first: as many as are announced.
fn three_in_the_lobby() -> (Cluster, Guest, [Guest; 2]) {
    let mut cluster = Cluster::new(2, "--announce-max 3");
    let eve = cluster.join(1, "eve");
    let others = ["ann", "bob"].map(|name| cluster.join(0, name));
    cluster.expect(eve, &["-- ann joined", "-- bob joined"]);
    (cluster, eve, others)
}

#[test]
fn joins_leaves_and_names_are_announced_up_to_the_limit_and_counted_beyond() {
    let (mut cluster, eve, [ann, bob]) = three_in_the_lobby();
    cluster.say(bob, "/nick bo");
    cluster.expect(eve, &["-- bob is now bo"]);
    let cy = cluster.join(0, "cy");
    cluster.say(ann, "/nick anna");
    cluster.expect(eve, &[]);
    cluster.say(cy, "/quit");
    cluster.expect(eve, &[]);
    cluster.pass(20 * SECOND);
    cluster.expect(eve, &["-- 1 joined, 1 left, 3 here"]);
    cluster.say(bob, "/quit");
    cluster.expect(eve, &["-- bo left"]);
    cluster.end();
}

#[test]
fn clients_of_a_dead_process_are_announced_up_to_the_limit() {
    for dead in [false, true] {
        let (mut cluster, eve, _) = three_in_the_lobby();
        match dead {
            true => cluster.kill(0),
            false => cluster.set_cut_off(0, true),
        }
        cluster.pass(30 * SECOND);
        let left = ["-- ann left (its server is gone)", "-- bob left (its server is gone)"];
        cluster.expect(eve, &left);
        if !dead {
            cluster.set_cut_off(0, false);
            cluster.pass(10 * SECOND);
            cluster.expect(eve, &["-- ann joined", "-- bob joined"]);
        }
        cluster.end();
    }
}

#[test]
fn leave_during_an_outage_is_announced_up_to_the_limit() {
    let (mut cluster, eve, [ann, bob]) = three_in_the_lobby();
    cluster.set_cut_off(0, true);
    cluster.pass(3 * SECOND);
    cluster.say(bob, "/quit");
    cluster.run();
    cluster.set_cut_off(0, false);
    cluster.pass(10 * SECOND);
    cluster.expect(eve, &["-- bob left"]);
    // One more than the limit: nobody is told of each.
    let more = ["cy", "di"].map(|name| cluster.join(0, name));
    cluster.expect(eve, &["-- cy joined"]);
    cluster.pass(20 * SECOND);
    drop(cluster.unread(eve));
    cluster.set_cut_off(0, true);
    cluster.pass(3 * SECOND);
    cluster.say(more[0], "/quit");
    cluster.run();
    cluster.set_cut_off(0, false);
    cluster.pass(20 * SECOND);
    cluster.expect(eve, &["-- 0 joined, 1 left, 3 here"]);
    assert_eq!(cluster.who(ann), ["ann", "di", "eve"]);
    cluster.end();
}

#[test]
fn history_is_kept_while_messages_come_within_the_expiry() {
    let mut cluster = Cluster::new(1, "--redis-expiry 1m");
    let ann = cluster.join(0, "ann");
    for number in 0..8 {
        cluster.say(ann, &format!("m{number}"));
        cluster.pass(20 * SECOND);
    }
    let other = cluster.start();
    cluster.pass(5 * SECOND);
    let eve = cluster.connect(other, "eve");
    cluster.run();
    let lines = cluster.unread(eve);
    for number in 0..8 {
        assert!(lines.iter().any(|line| line.ends_with(&format!("ann: m{number}"))), "{lines:?}");
    }
    cluster.end();
}

#[test]
fn nothing_of_a_room_or_of_an_ended_process_stays_in_redis_for_ever() {
    let mut cluster = Cluster::new(2, "--redis-expiry 1m");
    let eve = cluster.join(1, "eve");
    // One room is only read, and one has messages.
    for line in ["/join quiet", "/join talk", "hi", "/join lobby"] {
        cluster.say(eve, line);
        cluster.run();
    }
    let kept = |cluster: &Cluster| -> Vec<String> {
        let keys = cluster.redis.keys_of(0, cluster.millis()).into_iter();
        keys.filter(|key| ["@meta:", "@stream:", "@serial:"].iter().any(|kind| key.contains(kind))).collect()
    };
    assert!(kept(&cluster).len() >= 4, "{:?}", kept(&cluster));
    cluster.kill(1);
    cluster.pass(100 * SECOND);
    assert_eq!(kept(&cluster), [""; 0]);
    cluster.end();
}

#[test]
fn room_goes_on_if_redis_evicts_its_numbers_and_not_its_messages() {
    let mut cluster = Cluster::new(2, "");
    let (ann, eve) = (cluster.join(0, "ann"), cluster.join(1, "eve"));
    cluster.expect(ann, &["-- eve joined"]);
    for text in ["m1", "m2"] {
        cluster.say(ann, text);
        cluster.expect(eve, &[&format!("ann: {text}")]);
    }
    cluster.redis.expire("chinwag:@meta:lobby");
    cluster.say(ann, "m3");
    cluster.pass(5 * SECOND);
    let lines = cluster.unread(eve);
    assert!(lines.contains(&"ann: m3".to_string()), "{lines:?}");
    assert!(cluster.link(0).up);
    assert_eq!(cluster.unread(ann), [MAYBE_LOST]);
    cluster.say(ann, "m4");
    cluster.expect(eve, &["ann: m4"]);
    cluster.end();
}

#[test]
fn list_of_members_of_several_processes_has_its_limit() {
    let mut cluster = Cluster::new(2, "--announce-max 0 --max-per-ip off");
    for (process, count) in [(0, 48), (1, 6)] {
        for number in 0..count {
            cluster.join(process, &format!("n{process}-{number}"));
        }
    }
    let eve = cluster.join(1, "eve");
    let names = cluster.who(eve);
    let (some, last) = names.split_at(names.len() - 1);
    assert!(some.len() == 49 && last[0].ends_with(" and 5 others"), "{names:?}");
    cluster.end();
}

#[test]
fn lost_message_that_one_process_has_is_detected_by_its_id() {
    let mut cluster = Cluster::new(2, "");
    let eve = cluster.join(1, "eve");
    cluster.say(eve, "/join alerts");
    cluster.run();
    publish(&mut cluster, 0, "alerts", "m1");
    let saved = cluster.redis.save();
    publish(&mut cluster, 0, "alerts", "m2");
    cluster.unread(eve);
    // The first process does not follow the room.
    cluster.pass(60 * SECOND);
    cluster.set_cut_off(1, true);
    cluster.redis.restore(&saved);
    cluster.set_redis_down(false, true);
    cluster.set_cut_off(1, true);
    cluster.pass(3 * SECOND);
    ["n2", "n3"].into_iter().for_each(|text| publish(&mut cluster, 0, "alerts", text));
    cluster.set_cut_off(1, false);
    cluster.pass(10 * SECOND);
    // The numbers of both may have been those of messages that she has seen.
    cluster.expect(eve, &[MAYBE_LOST]);
    publish(&mut cluster, 0, "alerts", "n4");
    cluster.expect(eve, &["http: n4"]);
    cluster.end();
}

#[test]
fn messages_of_any_length_are_read_in_parts() {
    // Many messages that are longer together than a reply may be, and some that are longer than a part each.
    for (most, count, kilobytes) in [("256k", 20, 200), ("2m", 3, 1_200)] {
        let flags = format!(
            "--rate off --redis-reply-max 2m --message-max {most} --burst-bytes {most} --write-buffer 16m \
             --write-buffer-soft off"
        );
        let mut cluster = Cluster::new(1, &flags);
        for number in 0..count {
            let text = format!("{number}-{}", "a".repeat(kilobytes * 1024));
            publish(&mut cluster, 0, "alerts", &text);
        }
        let other = cluster.start();
        cluster.pass(5 * SECOND);
        let mut tab = cluster.open(other, "/ws?name=tab&room=alerts");
        cluster.pass(5 * SECOND);
        assert!(cluster.link(other).up);
        let texts = cluster.texts(other, &mut tab).concat();
        assert!(texts.contains(&format!("\"{}-aaa", count - 1)), "{} bytes", texts.len());
        cluster.end();
    }
}
