//! A real Redis that refuses commands, in each way that can be configured.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::cluster::{Cluster, Redis, request};
use crate::harness::{Server, eventually, eventually_within};

/// Pause between two polls.
const LOOK: Duration = Duration::from_millis(20);

/// Returns the readiness that a load balancer reads from a process.
fn readiness(server: &Server) -> String {
    request(server, "GET", "/readyz", "")
}

/// Has Redis refuse writes with that error between two changes of it: clients get one notice, and no message is lost.
#[track_caller]
fn assert_outlasted(redis: Redis, word: &str, begin: impl FnOnce(&Redis), end: impl FnOnce(&Redis)) {
    let cluster = Cluster::by(redis, 2, "");
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    begin(&cluster.redis);
    // A process finds out with the next write.
    ann.say("is this kept?");
    bob.say("and this?");
    for server in &cluster.servers {
        let down = server.log.wait_for("redis down");
        assert!(down.contains(&format!("reason=\"{word} ")), "{down}");
    }
    for client in [&mut ann, &mut bob] {
        client.skip_to("-- the other servers are out of reach");
    }
    ann.say("are you there?");
    let connections = || {
        let stats = cluster.redis.cli(&["INFO", "stats"]);
        let total = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        total.and_then(|total| total.trim().parse::<usize>().ok()).expect("a count")
    };
    let before = connections();
    // Each attempt of either process makes two connections, and each poll makes one.
    let mut looks = 0;
    eventually_within(Duration::from_secs(30), "some attempts", || {
        looks += 1;
        for server in &cluster.servers {
            let answer = readiness(server);
            assert!(answer.starts_with("503 ") && answer.contains(word), "{answer}");
        }
        thread::sleep(LOOK);
        (connections() >= before + looks + 8).then_some(())
    });
    end(&cluster.redis);
    // The messages may come before the notice.
    let mut expected =
        vec!["-- the other servers are within reach again", "ann: is this kept?", "ann: are you there?"];
    while !expected.is_empty() {
        let line = bob.line().expect("more");
        let at = expected.iter().position(|expected| *expected == line);
        let at = at.unwrap_or_else(|| panic!("{word}: {line} instead of {expected:?}"));
        assert!(expected.remove(at) != "ann: are you there?" || !expected.contains(&"ann: is this kept?"));
    }
    cluster.await_sessions(2);
    for server in &cluster.servers {
        eventually("readiness", || readiness(server).starts_with("200 ").then_some(()));
        let log = server.log.text();
        assert_eq!((log.matches("redis down").count(), log.matches("redis up").count()), (1, 2), "{log}");
        assert_eq!(log.matches(word).count(), 1, "{log}");
    }
    ann.say("and now?");
    bob.expect("ann: and now?");
}

/// The same for two commands that `redis-cli` sends.
#[track_caller]
fn assert_outlasted_by(redis: Redis, word: &str, begin: &[&str], end: &[&str]) {
    let send = |words: &[&str], redis: &Redis| assert_eq!(redis.cli(words), "OK", "{word}");
    assert_outlasted(redis, word, |redis| send(begin, redis), |redis| send(end, redis));
}

#[test]
#[ignore = "needs redis-server"]
fn replica_that_refuses_writes_is_an_outage() {
    assert_outlasted_by(
        Redis::start(),
        "READONLY",
        &["REPLICAOF", "127.0.0.1", "1"],
        &["REPLICAOF", "NO", "ONE"],
    );
}

#[test]
#[ignore = "needs redis-server"]
fn replica_without_its_master_is_an_outage() {
    let redis = Redis::with("--replica-serve-stale-data no");
    assert_outlasted_by(redis, "MASTERDOWN", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]);
}

#[test]
#[ignore = "needs redis-server"]
fn master_with_too_few_replicas_is_an_outage() {
    let set = |count: &'static str| ["CONFIG", "SET", "min-replicas-to-write", count];
    assert_outlasted_by(Redis::start(), "NOREPLICAS", &set("1"), &set("0"));
}

#[test]
#[ignore = "needs redis-server"]
fn full_memory_is_an_outage() {
    let set = |bytes: &'static str| ["CONFIG", "SET", "maxmemory", bytes];
    assert_outlasted_by(Redis::start(), "OOM", &set("1"), &set("0"));
}

#[test]
#[ignore = "needs redis-server"]
fn disk_that_takes_no_snapshot_is_an_outage() {
    // A folder in the place of the snapshot makes the save fail.
    let save = |redis: &Redis, status: &str| {
        redis.cli(&["BGSAVE"]);
        let wanted = format!("rdb_last_bgsave_status:{status}");
        eventually("a snapshot", || {
            let info = redis.cli(&["INFO", "persistence"]);
            (info.contains("rdb_bgsave_in_progress:0") && info.contains(&wanted)).then_some(())
        });
    };
    assert_outlasted(
        Redis::start(),
        "MISCONF",
        |redis| {
            assert_eq!(redis.cli(&["CONFIG", "SET", "save", "3600 1000000"]), "OK");
            fs::create_dir(redis.folder().join("dump.rdb")).unwrap();
            save(redis, "err");
        },
        |redis| {
            fs::remove_dir(redis.folder().join("dump.rdb")).unwrap();
            save(redis, "ok");
        },
    );
}

#[test]
#[ignore = "needs redis-server"]
fn right_that_is_taken_away_is_an_outage() {
    // Redis 7.0 says `ERR` if a command in a script is refused.
    for (right, word) in [("evalsha", "NOPERM"), ("hset", "ERR"), ("publish", "ERR")] {
        let [begin, end] = ["-", "+"].map(|sign| format!("{sign}{right}"));
        let set = |rule| ["ACL", "SETUSER", "default", rule];
        assert_outlasted_by(Redis::start(), word, &set(&begin), &set(&end));
    }
}
