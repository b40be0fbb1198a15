//! Addresses of Redis, and users and rights at it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::cluster::{Cluster, Redis};
use crate::harness::{Launch, Server, eventually, eventually_within};

/// A password with characters that a URL must escape.
const PASSWORD: &str = "s3cret/w%rd@?";
const ESCAPED: &str = "s3cret%2Fw%25rd%40%3F";

/// All commands that chinwag needs at a Redis with its own users, besides the key pattern and the channel pattern. The
/// guide lists them, too. `SELECT` is needed only if the URL has a database.
const COMMANDS: [&str; 32] = [
    "del",
    "evalsha",
    "exists",
    "get",
    "hdel",
    "hget",
    "hgetall",
    "hmget",
    "hset",
    "hsetnx",
    "incrby",
    "pexpire",
    "ping",
    "publish",
    "sadd",
    "scard",
    "script|load",
    "set",
    "setnx",
    "smembers",
    "srandmember",
    "srem",
    "subscribe",
    "unsubscribe",
    "xadd",
    "xrange",
    "xrevrange",
    "zcard",
    "zincrby",
    "zrem",
    "zrevrange",
    "zscore",
];

/// Without this one the link is down when a room has no members any more.
const UNTRIED: [&str; 1] = ["unsubscribe"];

/// Starts a process with that URL, without a wait for the link.
fn start(url: &str) -> Server {
    Launch::new("--rate off").env("CHINWAG_REDIS", url).with_listeners().start()
}

/// Checks that two processes with these URLs reach Redis and are one chat with that channel for its lobby.
fn assert_joined(redis: Redis, urls: [&str; 2], lobby: &str) -> Cluster {
    let servers = Vec::from(urls.map(start));
    servers.iter().for_each(|server| drop(server.log.wait_for("redis up")));
    let cluster = Cluster { lobby: lobby.into(), ..Cluster::of(redis, servers) };
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    ann.say("hi");
    bob.expect("ann: hi");
    cluster
}

/// Checks that a process that can't reach Redis logs the reason, and is a chat of its own.
fn assert_alone(server: &Server, reason: &str) {
    let down = server.log.wait_for("redis down");
    assert!(down.contains(reason), "{down}");
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    ann.skip_to("-- bob joined");
    bob.say("hi");
    ann.skip_to("bob: hi");
    assert!(!server.log.text().contains("redis up"));
}

/// Creates a user at Redis with that password and only these rights.
fn set_user(redis: &Redis, name: &str, rules: &str) {
    let password = format!(">{PASSWORD}");
    let begin = ["ACL", "SETUSER", name, "reset", "on", &password];
    let words: Vec<&str> = begin.into_iter().chain(rules.split_whitespace()).collect();
    assert_eq!(redis.cli(&words), "OK");
}

/// Returns the minimal rules.
fn least_rules() -> String {
    let commands: Vec<String> = COMMANDS.iter().map(|command| format!("+{command}")).collect();
    format!("~chinwag:@* &chinwag:* {}", commands.join(" "))
}

#[test]
#[ignore = "needs redis-server"]
fn redis_is_reached_by_tcp_and_by_a_unix_socket() {
    let redis = Redis::with_port("");
    let (tcp, name) = (format!("redis://{}", redis.place()), redis.place().replace("127.0.0.1", "localhost"));
    let unix = redis.url();
    let cluster = assert_joined(redis, [&tcp, &unix], "chinwag:lobby");
    // A host name is resolved.
    let third = start(&format!("redis://{name}"));
    third.log.wait_for("redis up");
    drop(cluster);
}

#[test]
#[ignore = "needs redis-server"]
fn password_and_database_work_in_either_url() {
    let mut redis = Redis::with_port("");
    redis.require_password(PASSWORD);
    let tcp = format!("redis://:{ESCAPED}@{}/3", redis.place());
    let unix = format!("unix://{}?db=3&pass={ESCAPED}", redis.socket().display());
    let cluster = assert_joined(redis, [&tcp, &unix], "chinwag:@3:lobby");
    let keys = |database: &str| cluster.redis.cli(&["-n", database, "KEYS", "*"]);
    assert!(keys("3").contains("chinwag:@stream:lobby"), "{}", keys("3"));
    assert_eq!(keys("0"), "");
}

#[test]
fn guide_lists_the_rights_that_a_user_needs() {
    let page = include_str!("../../src/guide/cluster.md");
    let (_, listed) = page.split_once("```text\n+").expect("lines of rights");
    let (listed, _) = listed.split_once("\n```").expect("their end");
    let listed: BTreeSet<&str> =
        listed.split_whitespace().map(|right| right.trim_start_matches('+')).collect();
    assert_eq!(listed, BTreeSet::from(COMMANDS));
}

#[test]
#[ignore = "needs redis-server"]
fn user_needs_no_more_than_the_documented_rights() {
    let redis = Redis::with_port("");
    set_user(&redis, "chat", &least_rules());
    set_user(&redis, "chat2", &format!("{} +select", least_rules()));
    let tcp = format!("redis://chat:{ESCAPED}@{}", redis.place());
    let unix = format!("unix://{}?user=chat&pass={ESCAPED}", redis.socket().display());
    let mut cluster = assert_joined(redis, [&tcp, &unix], "chinwag:lobby");
    let [mut ann, mut bob] = ["anna", "bert"].map(|name| cluster.servers[0].join(name));
    let carl = cluster.servers[1].join("carl");
    ann.skip_to("-- carl joined");
    ann.say("/nick carl");
    ann.skip_to("-- the name carl is taken");
    drop(carl);
    ann.say("/join kitchen");
    ann.skip_to("-- you are alone in #kitchen");
    ann.say("/msg bert hi");
    bob.skip_to("[anna] hi");
    let kitchen = ["chinwag:kitchen".to_string()];
    let subscribed = |count| (cluster.redis.subscribers_of(&kitchen) == [count]).then_some(());
    eventually("a subscription", || subscribed(1));
    ann.say("/quit");
    ann.skip_to("-- bye");
    eventually_within(Duration::from_secs(22), "the subscription's end", || subscribed(0));
    let ended = cluster.servers.pop().expect("two").stop();
    assert!(!ended.contains("redis down"), "{ended}");
    start(&format!("redis://chat2:{ESCAPED}@{}/2", cluster.redis.place())).log.wait_for("redis up");
    // Redis has refused no command, and all allowed commands were used.
    assert_eq!(cluster.redis.cli(&["ACL", "LOG"]), "");
    let ours = cluster.redis.commands().into_iter().map(|(name, _)| name);
    let ours = ours.filter(|name| {
        !["acl", "config", "info", "pubsub", "command"].iter().any(|test| name.starts_with(test))
    });
    let expected = COMMANDS.iter().chain(&["auth", "select"]).map(|name| name.to_string());
    assert_eq!(ours.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
}

#[test]
#[ignore = "needs redis-server"]
fn refused_login_is_logged_and_local_chat_goes_on() {
    let mut redis = Redis::with_port("");
    let place = redis.place();
    let url = |login: &str| format!("redis://{login}@{place}");
    // Redis has no password yet.
    assert_alone(&start(&url(":secret")), "without any password configured");
    assert_alone(&start(&url("nobody:secret")), "WRONGPASS");
    redis.require_password(PASSWORD);
    assert_alone(&start(&url(":secret")), "WRONGPASS");
    assert_alone(&start(&format!("redis://{place}")), "NOAUTH");
    assert_alone(&start(&format!("redis://:{ESCAPED}@{place}/77")), "DB index is out of range");
}

#[test]
#[ignore = "needs redis-server"]
fn missing_rights_are_logged_and_local_chat_goes_on() {
    let redis = Redis::with_port("");
    let url = format!("redis://chat:{ESCAPED}@{}", redis.place());
    set_user(&redis, "chat", &least_rules().replace("&chinwag:*", "&chat:*"));
    assert_alone(&start(&url), "NOPERM");
    set_user(&redis, "chat", &least_rules().replace("~chinwag:@*", "~chat:@*"));
    assert_alone(&start(&url), "key");
}

#[test]
#[ignore = "needs redis-server"]
fn each_missing_right_keeps_the_link_down_from_the_start() {
    let redis = Redis::with_port("");
    let url = format!("redis://chat:{ESCAPED}@{}", redis.place());
    for right in COMMANDS.iter().filter(|command| !UNTRIED.contains(command)) {
        set_user(&redis, "chat", &format!("{} -{right}", least_rules()));
        let server = start(&url);
        let reason = server.log.wait_for("redis ");
        let is_refusal = reason.contains("NOPERM") || reason.contains("can't run this command");
        assert!(reason.contains("redis down") && is_refusal, "{right}: {reason}");
    }
    // A refusal in the middle of a script does no harm later.
    set_user(&redis, "chat", &least_rules());
    start(&url).log.wait_for("redis up");
}

#[test]
#[ignore = "needs redis-server"]
fn password_is_never_shown() {
    let mut redis = Redis::with_port("");
    let url = |password: &str| format!("redis://:{password}@{}", redis.place());
    // The log has errors from the wrong password, and the lines after the right one.
    let launch = || Launch::new("--log trace").with_listeners();
    let wrong = launch().env("CHINWAG_REDIS", url(ESCAPED)).start();
    wrong.log.wait_for("redis down");
    redis.require_password(PASSWORD);
    wrong.log.wait_for("redis up");
    let cmdline = fs::read_to_string(format!("/proc/{}/cmdline", wrong.pid())).unwrap();
    drop(redis);
    wrong.log.wait_for_count("redis down", 2);
    let log = wrong.stop();
    for seen in [cmdline, log] {
        assert!(!seen.contains("s3cret"), "{seen}");
    }
}

#[test]
fn host_without_an_address_is_logged_and_local_chat_goes_on() {
    // A label of a name can't be that long, so no name server is asked.
    let server = start(&format!("redis://{}:6379", "a".repeat(64)));
    assert_alone(&server, "failed to lookup address information");
}

#[test]
fn refused_connection_is_logged_and_local_chat_goes_on() {
    assert_alone(&start("redis://127.0.0.1:1"), "Connection refused");
    let folder = tempfile::tempdir().unwrap();
    let nothing = format!("unix://{}", folder.path().join("nothing").display());
    assert_alone(&start(&nothing), "No such file or directory");
}
