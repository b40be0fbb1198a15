//! A Redis that answers commands with errors. Clients and load balancers are told once that the link is down, whichever
//! the command and the error. No message is lost, and the link recovers by itself.

use std::time::Duration;

use crate::cluster::{Cluster, Guest};
use crate::redis_faults::{CONNECTED, DISCONNECTED, Three};
use crate::web::get;

const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(100);

const READONLY: &str = "READONLY You can't write against a read only replica.";

/// Errors of a real Redis, and an unknown one.
const ERRORS: [&str; 16] = [
    READONLY,
    "MOVED 3999 127.0.0.1:6381",
    "ASK 3999 127.0.0.1:6381",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "NOREPLICAS Not enough good replicas to write.",
    "NOPERM this user has no permissions to run the command",
    "CLUSTERDOWN The cluster is down",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOAUTH Authentication required.",
    "BUSY Redis is busy running a script.",
    "ERR unknown command",
    "NEWS of a later version",
];

/// All commands that a process sends in the long run.
const COMMANDS: [&str; 10] =
    ["PUBLISH", "SUBSCRIBE", "HSET", "HGET", "HDEL", "HGETALL", "DEL", "PEXPIRE", "PING", "PUBSUB"];

/// Returns the readiness that a load balancer reads from a process.
fn readiness(cluster: &mut Cluster, process: usize) -> String {
    let wire = cluster.stage(process).connect_http();
    cluster.stage(process).send(wire, get("/readyz").as_bytes());
    cluster.run();
    let answer = String::from_utf8_lossy(cluster.stage(process).raw(wire)).into_owned();
    cluster.stage(process).world().end(wire);
    cluster.run();
    answer
}

#[track_caller]
fn expect_not_ready(cluster: &mut Cluster, process: usize, word: &str) {
    let answer = readiness(cluster, process);
    let text = format!("the link to the other servers is down: Redis answers {word}");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{word}: {answer}");
    assert!(answer.contains(r#""code":"redis""#) && answer.contains(&text), "{word}: {answer}");
}

#[track_caller]
fn expect_ready(cluster: &mut Cluster, process: usize) {
    let answer = readiness(cluster, process);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Makes both processes send each command at least once.
fn provoke(three: &mut Three) {
    let Three { cluster, ann, far, .. } = three;
    for process in 0..2 {
        let guest = cluster.connect(process, &format!("tmp{process}"));
        cluster.run();
        cluster.say(guest, "/quit");
        cluster.run();
    }
    // The name is taken, so its owner is looked up.
    cluster.say(*ann, "/nick far");
    cluster.say(*far, "/nick ann");
    cluster.run();
    cluster.redis.kill_pubsub();
    cluster.pass(6 * SECOND);
}

/// Returns how often a client has read each of these lines.
fn unread_outages(cluster: &mut Cluster, guest: Guest) -> (usize, usize, Vec<String>) {
    let lines = cluster.unread(guest);
    let count = |wanted: &str| lines.iter().filter(|line| *line == wanted).count();
    (count(DISCONNECTED), count(CONNECTED), lines)
}

/// Has Redis refuse a command for half a minute: clients are told once at its start and once at its end.
#[track_caller]
fn outlasts(command: &str, error: &str) {
    let mut three = Three::new("--rate off");
    let word = error.split(' ').next().unwrap();
    three.cluster.redis.refuse(command, Some(error));
    three.cluster.say(three.ann, "said before");
    provoke(&mut three);
    three.cluster.pass(4 * SECOND);
    for number in 0..200 {
        three.cluster.pass(STEP);
        if number % 10 == 0 {
            (0..2).for_each(|process| expect_not_ready(&mut three.cluster, process, word));
            three.cluster.say(three.ann, &format!("said {number}"));
        }
        assert!((0..2).all(|process| !three.cluster.link(process).up), "{command}: {error}");
    }
    let (outages, recoveries, lines) = unread_outages(&mut three.cluster, three.far);
    assert_eq!((outages, recoveries), (1, 0), "{command}: {error}: {lines:?}");
    assert_eq!(three.cluster.who(three.far), ["far"]);
    assert_eq!(three.cluster.who(three.ann), ["ann", "bob"]);
    three.expect_local_chat();
    three.cluster.redis.refuse(command, None);
    three.cluster.pass(10 * SECOND);
    (0..2).for_each(|process| expect_ready(&mut three.cluster, process));
    let (outages, recoveries, lines) = unread_outages(&mut three.cluster, three.far);
    assert_eq!((outages, recoveries), (0, 1), "{command}: {error}: {lines:?}");
    let said: Vec<String> = (0..200).step_by(10).map(|number| format!("ann: said {number}")).collect();
    let received: Vec<&String> = lines.iter().filter(|line| line.starts_with("ann: said ")).collect();
    assert!(received.ends_with(&said.iter().collect::<Vec<_>>()), "{command}: {error}: {lines:?}");
    assert!(!lines.iter().any(|line| line.contains("lost")), "{command}: {error}: {lines:?}");
    assert_eq!(three.cluster.counts(0).shed, 0);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn refused_commands_of_each_kind_take_the_link_down_until_redis_takes_them() {
    COMMANDS.into_iter().for_each(|command| outlasts(command, READONLY));
}

#[test]
fn each_error_takes_the_link_down_until_it_is_over() {
    for command in ["HSET", "PUBLISH", "PING"] {
        ERRORS.into_iter().for_each(|error| outlasts(command, error));
    }
}

#[test]
fn several_refused_commands_are_one_outage() {
    let mut three = Three::new("");
    for command in ["DEL", "HSET", "HDEL", "PEXPIRE"] {
        three.cluster.redis.refuse(command, Some(READONLY));
    }
    three.cluster.pass(60 * SECOND);
    expect_not_ready(&mut three.cluster, 0, "READONLY");
    // Half of the commands working is no recovery.
    three.cluster.redis.refuse("DEL", None);
    three.cluster.redis.refuse("HSET", Some("OOM command not allowed"));
    three.cluster.pass(10 * SECOND);
    expect_not_ready(&mut three.cluster, 0, "OOM");
    for command in ["HSET", "HDEL", "PEXPIRE"] {
        three.cluster.redis.refuse(command, None);
    }
    three.cluster.pass(10 * SECOND);
    three.cluster.expect(three.bob, &[DISCONNECTED, CONNECTED]);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn redis_that_refuses_writes_from_the_start_is_never_called_healthy() {
    for command in ["DEL", "HSET", "PEXPIRE", "PUBLISH"] {
        let mut cluster = Cluster::new(0, "");
        cluster.redis.refuse(command, Some(READONLY));
        (0..2).for_each(|_| assert!(cluster.start() < 2));
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.say(ann, "hello?");
        for _ in 0..100 {
            cluster.pass(STEP);
            assert!((0..2).all(|process| !cluster.link(process).up), "{command}");
        }
        expect_not_ready(&mut cluster, 1, "READONLY");
        cluster.expect(bob, &[DISCONNECTED]);
        assert_eq!((cluster.counts(0).sessions, cluster.counts(0).published), (0, 0));
        cluster.redis.refuse(command, None);
        cluster.pass(10 * SECOND);
        cluster.expect(bob, &[CONNECTED, "ann: hello?"]);
        expect_ready(&mut cluster, 1);
        cluster.end();
    }
}

#[test]
fn message_is_not_published_again_and_again_while_redis_refuses_writes() {
    let mut three = Three::new("");
    three.cluster.redis.refuse("PEXPIRE", Some("OOM command not allowed"));
    let program = three.cluster.redis.open();
    three.cluster.redis.receive(program, b"*2\r\n$9\r\nSUBSCRIBE\r\n$13\r\nchinwag:lobby\r\n", 0);
    three.cluster.pass(10 * SECOND);
    three.cluster.redis.take_output(program);
    three.cluster.say(three.ann, "once");
    three.cluster.pass(60 * SECOND);
    assert_eq!(three.cluster.redis.take_output(program), b"", "the link is known to be down");
    three.cluster.redis.refuse("PEXPIRE", None);
    three.cluster.pass(10 * SECOND);
    let received = String::from_utf8(three.cluster.redis.take_output(program)).unwrap();
    assert_eq!(received.matches("once").count(), 1, "{received}");
}

#[test]
fn refused_room_keeps_the_link_down_and_loses_no_message() {
    let mut three = Three::new("");
    for guest in [three.ann, three.far] {
        three.cluster.say(guest, "/join dev");
        three.cluster.run();
    }
    three.cluster.pass(10 * SECOND);
    [three.ann, three.bob, three.far].into_iter().for_each(|guest| drop(three.cluster.unread(guest)));
    // The rights of a user at Redis can name channels; the user may still subscribe.
    three.cluster.redis.refuse_name("chinwag:dev", Some("NOPERM no permissions to access a channel"));
    three.cluster.say(three.ann, "one");
    three.cluster.pass(10 * SECOND);
    for _ in 0..200 {
        three.cluster.pass(STEP);
        assert!(!three.cluster.link(0).up);
    }
    expect_not_ready(&mut three.cluster, 0, "NOPERM");
    three.cluster.say(three.ann, "two");
    three.cluster.redis.refuse_name("chinwag:dev", None);
    three.cluster.pass(15 * SECOND);
    let (outages, recoveries, lines) = unread_outages(&mut three.cluster, three.ann);
    assert_eq!((outages, recoveries), (1, 1), "{lines:?}");
    let lines = three.cluster.unread(three.far);
    let received: Vec<&String> = lines.iter().filter(|line| !line.starts_with("-- ")).collect();
    assert_eq!(received, ["ann: one", "ann: two"], "{lines:?}");
    for guest in [three.ann, three.far] {
        three.cluster.say(guest, "/join lobby");
    }
    three.cluster.pass(30 * SECOND);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn process_whose_own_key_is_refused_is_gone_for_the_others_and_comes_back() {
    let mut three = Three::new("");
    // Its slot is at another node of a cluster; the key of the second process is here.
    let key = three.cluster.redis.keys(three.cluster.millis()).swap_remove(0);
    let moved = format!("MOVED 3999 127.0.0.1:6381 {key}");
    three.cluster.redis.refuse_name(&key, Some(&moved));
    three.cluster.pass(SECOND);
    for _ in 0..40 {
        three.cluster.pass(SECOND);
    }
    let down: Vec<usize> = (0..2).filter(|process| !three.cluster.link(*process).up).collect();
    let told_of: Vec<bool> = [three.bob, three.far]
        .map(|guest| unread_outages(&mut three.cluster, guest).0 == 1)
        .into_iter()
        .collect();
    assert!(!down.is_empty() && (0..2).all(|process| told_of[process] == down.contains(&process)));
    for process in down {
        expect_not_ready(&mut three.cluster, process, "MOVED");
    }
    three.cluster.redis.refuse_name(&key, None);
    three.cluster.pass(15 * SECOND);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn reason_is_no_longer_given_once_redis_is_away_for_another() {
    let mut three = Three::new("");
    three.cluster.redis.refuse("HSET", Some(READONLY));
    three.cluster.pass(20 * SECOND);
    expect_not_ready(&mut three.cluster, 0, "READONLY");
    three.cluster.set_redis_down(true, true);
    three.cluster.pass(10 * SECOND);
    let answer = readiness(&mut three.cluster, 0);
    assert!(answer.contains(r#""text":"the link to the other servers is down""#), "{answer}");
    three.cluster.redis.refuse("HSET", None);
    three.cluster.set_redis_down(false, true);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn refused_right_in_lower_case_words_is_not_shown_to_strangers() {
    let mut three = Three::new("");
    three.cluster.redis.refuse("PEXPIRE", Some("secret-host.internal says no"));
    three.cluster.pass(10 * SECOND);
    let answer = readiness(&mut three.cluster, 0);
    assert!(answer.starts_with("HTTP/1.1 503 ") && !answer.contains("secret"), "{answer}");
    three.cluster.redis.refuse("PEXPIRE", None);
    three.expect_one_chat();
    three.cluster.end();
}
