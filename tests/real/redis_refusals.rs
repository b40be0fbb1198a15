//! A real Redis that refuses commands, in each way that can be configured.

use std::thread;
use std::time::Duration;

use crate::cluster::{Cluster, Redis};
use crate::harness::{Client, Server, eventually, eventually_within};

/// Pause between two polls.
const LOOK: Duration = Duration::from_millis(20);

/// Returns the readiness that a load balancer reads from a process.
fn readiness(server: &Server) -> String {
    let mut balancer = Client::connect(server.http_address());
    balancer.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let status = balancer.line().expect("an answer");
    balancer.skip_to("\r");
    status + &balancer.line().expect("a body")
}

/// Has Redis refuse writes with that error between two commands: clients are told once, and no message is lost.
#[track_caller]
fn outlasts(redis: Redis, word: &str, begin: &[&str], end: &[&str]) {
    let cluster = Cluster::by(redis, 2, "");
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    assert_eq!(cluster.redis.cli(begin), "OK", "{word}");
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
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(word), "{answer}");
        }
        thread::sleep(LOOK);
        (connections() >= before + looks + 8).then_some(())
    });
    assert_eq!(cluster.redis.cli(end), "OK", "{word}");
    bob.expect("-- the other servers are within reach again");
    bob.expect("ann: are you there?");
    cluster.await_sessions(2);
    for server in &cluster.servers {
        eventually("readiness", || readiness(server).starts_with("HTTP/1.1 200 ").then_some(()));
        let log = server.log.text();
        assert_eq!((log.matches("redis down").count(), log.matches("redis up").count()), (1, 2), "{log}");
        assert_eq!(log.matches(word).count(), 1, "{log}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn replica_that_refuses_writes_is_an_outage() {
    outlasts(Redis::start(), "READONLY", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]);
}

#[test]
#[ignore = "needs redis-server"]
fn replica_without_its_master_is_an_outage() {
    let redis = Redis::with("--replica-serve-stale-data no");
    outlasts(redis, "MASTERDOWN", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]);
}

#[test]
#[ignore = "needs redis-server"]
fn master_with_too_few_replicas_is_an_outage() {
    let set = |count: &'static str| ["CONFIG", "SET", "min-replicas-to-write", count];
    outlasts(Redis::start(), "NOREPLICAS", &set("1"), &set("0"));
}

#[test]
#[ignore = "needs redis-server"]
fn full_memory_is_an_outage() {
    let set = |bytes: &'static str| ["CONFIG", "SET", "maxmemory", bytes];
    outlasts(Redis::start(), "OOM", &set("1"), &set("0"));
}

#[test]
#[ignore = "needs redis-server"]
fn right_that_is_taken_away_is_an_outage() {
    for right in ["hset", "publish", "pexpire", "hget"] {
        let [begin, end] = ["-", "+"].map(|sign| format!("{sign}{right}"));
        let set = |rule| ["ACL", "SETUSER", "default", rule];
        outlasts(Redis::start(), "NOPERM", &set(&begin), &set(&end));
    }
}
