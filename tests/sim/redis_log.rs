//! The log of the link to Redis: each reason of an outage has one line, and the end of the outage another.

use std::time::Duration;

use chinwag::net::Signal;

use crate::cluster::Cluster;
use crate::log_lines::{capture, end_capture, lines};

const SECOND: Duration = Duration::from_secs(1);
const FULL: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const FROZEN: &str = "MISCONF can't write";

/// The lines about the link since the last call, without what is behind the number of the attempt or the pause.
fn link_lines() -> Vec<String> {
    let cut = |line: String| {
        let end = line.find(" retry_ms=").unwrap_or(line.len());
        line[..end].to_string()
    };
    lines("redis ").into_iter().map(cut).collect()
}

#[test]
fn each_reason_of_an_outage_is_logged_once_with_the_command_and_without_the_text_of_clients() {
    let mut cluster = Cluster::new(1, "");
    let ann = cluster.join(0, "ann");
    capture();
    for _ in 0..2 {
        cluster.redis.refuse("HSET", Some(FULL));
        cluster.say(ann, "a secret");
        cluster.pass(20 * SECOND);
        let down = link_lines();
        let [down] = &down[..] else { panic!("{down:?}") };
        assert!(down.starts_with(&format!("WARN redis down address=redis:6379 reason=\"{FULL}")), "{down}");
        assert!(down.ends_with(r##" command="change of #lobby""##), "{down}");
        // The new sessions fail for another reason.
        cluster.redis.refuse("HSET", Some(FROZEN));
        cluster.pass(20 * SECOND);
        let down = link_lines();
        let [down] = &down[..] else { panic!("{down:?}") };
        assert!(down.contains(FROZEN) && down.ends_with(r#" command="hello""#), "{down}");
        cluster.redis.refuse("HSET", None);
        cluster.pass(5 * SECOND);
        let up = link_lines();
        let [up] = &up[..] else { panic!("{up:?}") };
        assert!(up.starts_with("INFO redis up address=redis:6379 attempts="), "{up}");
        assert!(up.ends_with(" rooms=1"), "{up}");
    }
    end_capture();
    cluster.end();
}

#[test]
fn reasons_of_an_outage_are_logged_up_to_32() {
    let mut cluster = Cluster::new(1, "");
    cluster.run();
    capture();
    for number in 0..40 {
        cluster.redis.refuse("SCRIPT", Some(&format!("ERR {number}")));
        if number == 0 {
            cluster.conns(0).into_iter().for_each(|conn| cluster.redis.kill(conn));
        }
        cluster.pass(5 * SECOND);
    }
    // The first is that the connections have ended.
    let down = link_lines();
    assert_eq!(down.len(), 32, "{down:?}");
    assert!(down[0].ends_with(r#"reason="it has closed the connection""#), "{}", down[0]);
    assert!(down[31].ends_with(r#"reason="ERR 30" command="SCRIPT LOAD""#), "{}", down[31]);
    end_capture();
    cluster.redis.refuse("SCRIPT", None);
    cluster.pass(5 * SECOND);
    cluster.end();
}

#[test]
fn messages_that_redis_has_not_confirmed_at_the_end_are_counted() {
    let mut cluster = Cluster::new(1, "--grace 4s");
    let ann = cluster.join(0, "ann");
    cluster.set_redis_down(true, true);
    cluster.say(ann, "one");
    cluster.say(ann, "two");
    cluster.run();
    let stage = cluster.stage(0);
    stage.world().signal(Signal::Terminate);
    stage.world().until_millis += 60_000;
    capture();
    stage.server.run(|| {}).expect("an end");
    let ended = "WARN ended before redis confirmed all messages, other servers may miss some messages=2";
    assert_eq!(lines("ended"), [ended]);
    end_capture();
}

#[test]
fn change_that_redis_keeps_is_not_logged_as_unsaved() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    // The token is `a`.
    let digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    std::fs::write(&file, format!("[accounts.ann]\nrole = \"admin\"\ntoken = \"sha256:{digest}\"\n"))
        .expect("a file");
    let mut cluster = Cluster::new(1, &format!("--config {}", file.display()));
    let ann = cluster.connect(0, "/login ann a");
    cluster.run();
    cluster.unread(ann);
    capture();
    cluster.ask(ann, "/ban 192.0.2.1 7d", &["-- 192.0.2.1 is banned for 7 days"]);
    assert_eq!(lines("change"), [""; 0]);
    end_capture();
    cluster.end();
}
