//! As whom the processes speak to Redis, and where it is.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::cluster::{Cluster, Redis};
use crate::harness::{Launch, Server, eventually, eventually_within};

/// It has what must be escaped in a URL.
const PASSWORD: &str = "s3cret/w%rd@?";
const ESCAPED: &str = "s3cret%2Fw%25rd%40%3F";

/// All that chinwag has to be allowed at a Redis with its own users, besides the key pattern and the channel pattern. The
/// guide lists them too. `SELECT` only where the URL has a database.
const COMMANDS: [&str; 11] = [
    "del",
    "hdel",
    "hget",
    "hgetall",
    "hset",
    "pexpire",
    "ping",
    "publish",
    "pubsub",
    "subscribe",
    "unsubscribe",
];

/// A process with that Redis, whether it is linked or not.
fn start(url: &str) -> Server {
    Launch::new("--rate off").env("CHINWAG_REDIS", url).with_door().start()
}

/// Two processes that have reached Redis, each by one of these URLs, are one chat.
fn assert_joined(redis: Redis, urls: [&str; 2]) -> Cluster {
    let servers = Vec::from(urls.map(start));
    servers.iter().for_each(|server| drop(server.log.wait_for("redis up")));
    let cluster = Cluster::of(redis, servers);
    let [mut ann, mut bob] = cluster.people(["ann", "bob"]);
    ann.say("hi");
    bob.expect("ann: hi");
    cluster
}

/// A process that has not reached Redis, for a reason that is in its log, is a chat of its own.
fn assert_alone(server: &Server, reason: &str) {
    let down = server.log.wait_for("redis down");
    assert!(down.contains(reason), "{down}");
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    ann.skip_to("-- bob joined");
    bob.say("hi");
    ann.skip_to("bob: hi");
    assert!(!server.log.text().contains("redis up"));
}

/// A user at Redis with that password, who may do this and nothing else.
fn set_user(redis: &Redis, name: &str, rules: &str) {
    let password = format!(">{PASSWORD}");
    let begin = ["ACL", "SETUSER", name, "reset", "on", &password];
    let words: Vec<&str> = begin.into_iter().chain(rules.split_whitespace()).collect();
    assert_eq!(redis.cli(&words), "OK");
}

/// The least rules that do.
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
    let cluster = assert_joined(redis, [&tcp, &unix]);
    // A name is resolved.
    let third = start(&format!("redis://{name}"));
    third.log.wait_for("redis up");
    drop(cluster);
}

#[test]
#[ignore = "needs redis-server"]
fn a_password_and_a_database_are_given_in_either_url() {
    let mut redis = Redis::with_port("");
    redis.require_password(PASSWORD);
    let tcp = format!("redis://:{ESCAPED}@{}/3", redis.place());
    let unix = format!("unix://{}?db=3&pass={ESCAPED}", redis.socket().display());
    let cluster = assert_joined(redis, [&tcp, &unix]);
    let keys = |database: &str| cluster.redis.cli(&["-n", database, "KEYS", "*"]);
    assert_eq!((keys("3").lines().count(), keys("0").lines().count()), (2, 0));
}

#[test]
fn guide_lists_the_rights_that_a_user_needs() {
    let page = include_str!("../../src/guide/cluster.md");
    let listed = page.lines().find(|line| line.starts_with("+ping ")).expect("a line of rights");
    let listed: BTreeSet<&str> = listed.split(' ').map(|right| right.trim_start_matches('+')).collect();
    assert_eq!(listed, BTreeSet::from(COMMANDS));
}

#[test]
#[ignore = "needs redis-server"]
fn a_user_needs_no_more_than_these_rights() {
    let redis = Redis::with_port("");
    set_user(&redis, "chat", &least_rules());
    set_user(&redis, "chat2", &format!("{} +select", least_rules()));
    let tcp = format!("redis://chat:{ESCAPED}@{}", redis.place());
    let unix = format!("unix://{}?user=chat&pass={ESCAPED}", redis.socket().display());
    let mut cluster = assert_joined(redis, [&tcp, &unix]);
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
    // Nothing was refused, and nothing is allowed that was not used; PUBSUB by this test, too.
    assert_eq!(cluster.redis.cli(&["ACL", "LOG"]), "");
    let ours = cluster.redis.commands().into_iter().map(|(name, _)| name);
    let ours = ours.filter(|name| !["acl", "config", "info"].iter().any(|test| name.starts_with(test)));
    let ours = ours.map(|name| name.split('|').next().unwrap_or_default().to_string());
    let expected = COMMANDS.iter().chain(&["auth", "select"]).map(|name| name.to_string());
    assert_eq!(ours.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
}

#[test]
#[ignore = "needs redis-server"]
fn what_redis_refuses_is_in_the_log_and_local_chat_goes_on() {
    let mut redis = Redis::with_port("");
    let place = redis.place();
    let url = |login: &str| format!("redis://{login}@{place}");
    // It has no password yet.
    assert_alone(&start(&url(":secret")), "without any password configured");
    assert_alone(&start(&url("nobody:secret")), "WRONGPASS");
    redis.require_password(PASSWORD);
    assert_alone(&start(&url(":secret")), "WRONGPASS");
    assert_alone(&start(&format!("redis://{place}")), "NOAUTH");
    assert_alone(&start(&format!("redis://:{ESCAPED}@{place}/77")), "DB index is out of range");
}

#[test]
#[ignore = "needs redis-server"]
fn rights_that_are_missing_are_in_the_log_and_local_chat_goes_on() {
    let redis = Redis::with_port("");
    let url = format!("redis://chat:{ESCAPED}@{}", redis.place());
    set_user(&redis, "chat", &least_rules().replace("&chinwag:*", "&chat:*"));
    assert_alone(&start(&url), "NOPERM");
    set_user(&redis, "chat", &least_rules().replace("+subscribe", ""));
    assert_alone(&start(&url), "NOPERM");
    for (right, refused) in [("+hset", "hset"), ("+publish", "publish"), ("~chinwag:@*", "key")] {
        set_user(&redis, "chat", &least_rules().replace(right, ""));
        let server = start(&url);
        let error = server.log.wait_for("redis down");
        assert!(error.contains("NOPERM") && error.contains(refused), "{error}");
        let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
        bob.say("hi");
        ann.skip_to("bob: hi");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn the_password_is_nowhere_to_be_seen() {
    let mut redis = Redis::with_port("");
    let url = |password: &str| format!("redis://:{password}@{}", redis.place());
    // Whatever Redis says of it, before it is right and after.
    let launch = || Launch::new("--log trace").with_door();
    let wrong = launch().env("CHINWAG_REDIS", url(ESCAPED)).start();
    wrong.log.wait_for("redis down");
    redis.require_password(PASSWORD);
    wrong.log.wait_for("redis up");
    let cmdline = fs::read_to_string(format!("/proc/{}/cmdline", wrong.pid())).unwrap();
    drop(redis);
    eventually("the end of Redis in the log", || {
        (wrong.log.text().matches("redis down").count() > 1).then_some(())
    });
    let log = wrong.stop();
    for seen in [cmdline, log] {
        assert!(!seen.contains("s3cret"), "{seen}");
    }
}

#[test]
fn a_host_without_an_address_is_told_in_the_log_and_local_chat_goes_on() {
    // No label of a name is as long: no name server is asked.
    let server = start(&format!("redis://{}:6379", "a".repeat(64)));
    assert_alone(&server, "failed to lookup address information");
}

#[test]
fn a_port_where_nobody_listens_is_told_in_the_log_and_local_chat_goes_on() {
    assert_alone(&start("redis://127.0.0.1:1"), "Connection refused");
    let folder = tempfile::tempdir().unwrap();
    let nothing = format!("unix://{}", folder.path().join("nothing").display());
    assert_alone(&start(&nothing), "No such file or directory");
}
