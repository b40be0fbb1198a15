//! A Redis that answers commands with errors. Clients and load balancers are told once that the link is down, whichever
//! the command and the error. No message is lost, and the link recovers by itself.

use std::time::Duration;

use crate::cluster::{Cluster, Guest};
use crate::redis_faults::{CONNECTED, DISCONNECTED, Three};
use crate::redis_itself::request;
use crate::web::get;

const SECOND: Duration = Duration::from_secs(1);
const STREAM: &str = "chinwag:@stream:lobby";
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

/// Commands that a user may lack: those of each connection, and those of scripts.
const COMMANDS: [&str; 30] = [
    "PUBLISH",
    "SUBSCRIBE",
    "PING",
    "EVALSHA",
    "SCRIPT",
    "HSET",
    "HSETNX",
    "HGET",
    "HGETALL",
    "HMGET",
    "HDEL",
    "SADD",
    "SREM",
    "SRANDMEMBER",
    "SCARD",
    "ZINCRBY",
    "ZSCORE",
    "ZCARD",
    "ZREM",
    "XADD",
    "XRANGE",
    "XREVRANGE",
    "PEXPIRE",
    "DEL",
    "SETNX",
    "SET",
    "GET",
    "EXISTS",
    "INCRBY",
    "SMEMBERS",
];

/// Commands that write and may need memory, as a Redis refuses them that does not accept writes.
const WRITES: [&str; 13] = [
    "HSET", "HSETNX", "HDEL", "SADD", "SREM", "ZINCRBY", "ZREM", "XADD", "PEXPIRE", "DEL", "SETNX", "SET",
    "INCRBY",
];

/// Commands that only processes send, and no scripts.
const PLAIN: [&str; 4] = ["SUBSCRIBE", "PING", "EVALSHA", "SCRIPT"];

const NOPERM: &str = "NOPERM this user has no permissions to run the command";

/// Has Redis refuse all writes, or accept them again.
fn refuse_writes(cluster: &mut Cluster, error: Option<&str>) {
    WRITES.into_iter().for_each(|command| cluster.redis.refuse(command, error));
}

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

/// Makes both processes send commands of many kinds.
fn provoke(three: &mut Three) {
    let Three { cluster, ann, far, .. } = three;
    for process in 0..2 {
        let guest = cluster.connect(process, &format!("tmp{process}"));
        cluster.run();
        cluster.say(guest, "/quit");
        cluster.run();
    }
    cluster.say(*ann, "/who");
    cluster.say(*far, "/who");
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

/// Has Redis refuse commands for half a minute: clients are told once at its start and once at its end.
#[track_caller]
fn outlasts(commands: &[&str], error: &str) {
    let mut three = Three::new("--rate off");
    let is_plain = commands.iter().all(|command| PLAIN.contains(command));
    // Redis 7.0 answers so if a script lacks a right.
    let word = if error == NOPERM && !is_plain { "ERR" } else { error.split(' ').next().unwrap() };
    let context = format!("{commands:?}: {error}");
    commands.iter().for_each(|command| three.cluster.redis.refuse(command, Some(error)));
    three.cluster.say(three.ann, "said before");
    provoke(&mut three);
    three.cluster.pass(4 * SECOND);
    for number in 0..200 {
        three.cluster.pass(STEP);
        if number % 10 == 0 {
            (0..2).for_each(|process| expect_not_ready(&mut three.cluster, process, word));
            three.cluster.say(three.ann, &format!("said {number}"));
        }
        assert!((0..2).all(|process| !three.cluster.link(process).up), "{context}");
    }
    let (outages, recoveries, lines) = unread_outages(&mut three.cluster, three.far);
    assert_eq!((outages, recoveries), (1, 0), "{context}: {lines:?}");
    assert_eq!(three.cluster.who(three.far), ["far"]);
    assert_eq!(three.cluster.who(three.ann), ["ann", "bob"]);
    three.expect_local_chat();
    commands.iter().for_each(|command| three.cluster.redis.refuse(command, None));
    three.cluster.pass(10 * SECOND);
    (0..2).for_each(|process| expect_ready(&mut three.cluster, process));
    let (outages, recoveries, after) = unread_outages(&mut three.cluster, three.far);
    assert_eq!((outages, recoveries), (0, 1), "{context}: {after:?}");
    let said = (0..200).step_by(10).map(|number| format!("ann: said {number}"));
    let said: Vec<String> = [String::from("ann: said before")].into_iter().chain(said).collect();
    let received: Vec<&String> =
        lines.iter().chain(&after).filter(|line| line.starts_with("ann: said ")).collect();
    assert!(received.into_iter().eq(&said), "{context}: {lines:?} {after:?}");
    assert!(!after.iter().any(|line| line.contains("lost")), "{context}: {after:?}");
    assert_eq!(three.cluster.counts(0).shed, 0);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn missing_rights_of_each_kind_take_the_link_down_until_redis_grants_them() {
    COMMANDS.into_iter().for_each(|command| outlasts(&[command], NOPERM));
}

#[test]
fn each_error_takes_the_link_down_until_it_is_over() {
    for error in ERRORS {
        outlasts(&WRITES, error);
        outlasts(&["EVALSHA"], error);
        outlasts(&["PING"], error);
    }
}

#[test]
fn several_refused_commands_are_one_outage() {
    let mut three = Three::new("");
    refuse_writes(&mut three.cluster, Some(READONLY));
    three.cluster.pass(60 * SECOND);
    expect_not_ready(&mut three.cluster, 0, "READONLY");
    // Half of the commands working is no recovery.
    refuse_writes(&mut three.cluster, None);
    for command in ["HSET", "XADD"] {
        three.cluster.redis.refuse(command, Some("OOM command not allowed"));
    }
    three.cluster.pass(10 * SECOND);
    expect_not_ready(&mut three.cluster, 0, "OOM");
    refuse_writes(&mut three.cluster, None);
    three.cluster.pass(10 * SECOND);
    three.cluster.expect(three.bob, &[DISCONNECTED, CONNECTED]);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn redis_that_refuses_writes_from_the_start_is_never_called_healthy() {
    {
        let mut cluster = Cluster::new(0, "");
        refuse_writes(&mut cluster, Some(READONLY));
        (0..2).for_each(|_| assert!(cluster.start() < 2));
        let (ann, bob) = (cluster.connect(0, "ann"), cluster.connect(1, "bob"));
        cluster.say(ann, "hello?");
        for _ in 0..100 {
            cluster.pass(STEP);
            assert!((0..2).all(|process| !cluster.link(process).up));
        }
        expect_not_ready(&mut cluster, 1, "READONLY");
        assert_eq!(cluster.unread(bob).last().map(String::as_str), Some(DISCONNECTED));
        assert_eq!((cluster.counts(0).sessions, cluster.counts(0).published), (0, 0));
        refuse_writes(&mut cluster, None);
        cluster.pass(10 * SECOND);
        assert!(cluster.unread(bob).contains(&CONNECTED.to_string()));
        expect_ready(&mut cluster, 1);
        cluster.end();
    }
}

#[test]
fn message_is_not_published_again_and_again_while_redis_refuses_writes() {
    let mut three = Three::new("");
    refuse_writes(&mut three.cluster, Some("OOM command not allowed"));
    let program = three.cluster.redis.open();
    three.cluster.redis.receive(program, b"*2\r\n$9\r\nSUBSCRIBE\r\n$13\r\nchinwag:lobby\r\n", 0);
    three.cluster.pass(10 * SECOND);
    three.cluster.redis.take_output(program);
    three.cluster.say(three.ann, "once");
    three.cluster.pass(60 * SECOND);
    assert_eq!(three.cluster.redis.take_output(program), b"", "the link is known to be down");
    refuse_writes(&mut three.cluster, None);
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
    expect_not_ready(&mut three.cluster, 0, "ERR");
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
    let key = "chinwag:@lease:00000000000003e8";
    three.cluster.redis.refuse_name(key, Some("NOPERM no permissions to access a key"));
    three.cluster.pass(SECOND);
    for _ in 0..40 {
        three.cluster.pass(SECOND);
    }
    assert!(!three.cluster.link(0).up);
    expect_not_ready(&mut three.cluster, 0, "ERR");
    assert_eq!(unread_outages(&mut three.cluster, three.bob).0, 1);
    three.cluster.redis.refuse_name(key, None);
    three.cluster.pass(15 * SECOND);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn reason_is_no_longer_given_once_redis_is_away_for_another() {
    let mut three = Three::new("");
    refuse_writes(&mut three.cluster, Some(READONLY));
    three.cluster.pass(20 * SECOND);
    expect_not_ready(&mut three.cluster, 0, "READONLY");
    three.cluster.set_redis_down(true, true);
    three.cluster.pass(10 * SECOND);
    let answer = readiness(&mut three.cluster, 0);
    assert!(answer.contains(r#""text":"the link to the other servers is down""#), "{answer}");
    refuse_writes(&mut three.cluster, None);
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

#[test]
fn name_that_a_client_has_taken_back_is_not_freed_by_a_refused_command() {
    let mut three = Three::new("");
    // The claim of the new name is executed; freeing the old one is refused.
    three.cluster.redis.refuse("HDEL", Some("LOADING Redis is loading the dataset in memory"));
    three.cluster.say(three.ann, "/nick zoe");
    three.cluster.run();
    three.cluster.redis.set_loading(true);
    three.cluster.pass(10 * SECOND);
    three.cluster.say(three.ann, "/nick ann");
    three.cluster.redis.refuse("HDEL", None);
    three.cluster.redis.set_loading(false);
    three.cluster.pass(10 * SECOND);
    three.cluster.unread(three.far);
    three.cluster.say(three.far, "/nick ann");
    three.cluster.expect(three.far, &["-- the name ann is taken"]);
    three.expect_one_chat();
    three.cluster.end();
}

#[test]
fn private_message_that_is_refused_and_reported_does_not_arrive_later() {
    let mut three = Three::new("");
    let channel = "chinwag:@00000000000007d0";
    three.cluster.redis.refuse_name(channel, Some("NOPERM no permissions to access a channel"));
    three.cluster.say(three.ann, "/msg far psst");
    three.cluster.pass(10 * SECOND);
    let lines = three.cluster.unread(three.ann);
    assert!(lines.iter().any(|line| line.contains("nobody is called far")), "{lines:?}");
    three.cluster.redis.refuse_name(channel, None);
    three.cluster.pass(15 * SECOND);
    let lines = three.cluster.unread(three.far);
    assert!(!lines.iter().any(|line| line.contains("psst")), "{lines:?}");
    three.expect_one_chat();
    three.cluster.end();
}

/// The guide says so.
#[test]
fn entry_that_another_program_has_appended_by_itself_takes_the_link_down_until_the_stream_is_deleted() {
    let mut cluster = Cluster::new(2, "");
    let guests = [cluster.join(0, "ann"), cluster.join(1, "bob")];
    cluster.say(guests[0], "one");
    cluster.run();
    let (program, millis) = (cluster.redis.open(), cluster.millis());
    let words = ["XADD", STREAM, "MAXLEN", "100", "2-1", "e", "hi"];
    cluster.redis.receive(program, &request(words), millis);
    cluster.say(guests[0], "two");
    cluster.pass(10 * SECOND);
    assert_eq!((cluster.link(0).up, cluster.link(1).up), (false, true));
    cluster.redis.expire(STREAM);
    cluster.pass(10 * SECOND);
    assert_eq!((cluster.link(0).up, cluster.link(1).up), (true, true));
    let lost = "-- messages from other servers may have been lost";
    cluster.expect(guests[1], &["ann: one", lost, "ann: two"]);
    cluster.end();
}
