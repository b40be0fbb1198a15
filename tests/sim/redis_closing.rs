//! Connections that are closed in the tick that brings the answer of Redis to their request.

use std::fs;
use std::time::Duration;

use chinwag::net::Signal;

use crate::cluster::{Cluster, Guest};
use crate::socket::handshake;
use crate::stage::WIDE;

/// The token is `m`.
const MODERATOR: &str = r#"
[accounts.mod]
role = "moderator"
token = "sha256:62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a"
"#;

/// A request that needs an answer of Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pending {
    Silence,
    Name,
    Upgrade,
    Join,
    Rename,
}

const ALL: [Pending; 5] = [Pending::Silence, Pending::Name, Pending::Upgrade, Pending::Join, Pending::Rename];

fn member_of_tea(cluster: &mut Cluster) -> Guest {
    let guest = cluster.connect(0, "/nick eve");
    cluster.say(guest, "/join tea");
    cluster.run();
    assert!(cluster.unread(guest).iter().any(|line| line.contains("in #tea")));
    guest
}

/// Sends the request from a remote address while Redis is stalled.
fn begin(cluster: &mut Cluster, pending: Pending) {
    let (address, is_http) = ("10.0.0.1", pending == Pending::Upgrade);
    let wire = match is_http {
        true => cluster.stage(0).connect_http_from(address, WIDE),
        false => cluster.stage(0).connect_from(Some(address), WIDE),
    };
    if matches!(pending, Pending::Join | Pending::Rename) {
        cluster.stage(0).say(wire, "/nick bob");
    }
    cluster.run();
    let millis = cluster.millis();
    cluster.redis.set_stalled(true, millis);
    match pending {
        Pending::Silence => {}
        Pending::Name => cluster.stage(0).say(wire, "/nick bob"),
        Pending::Upgrade => cluster.stage(0).send(wire, handshake("/ws/tea?name=bob", "").as_bytes()),
        Pending::Join => cluster.stage(0).say(wire, "/join tea"),
        Pending::Rename => cluster.stage(0).say(wire, "/nick zoe"),
    }
    // The silence of a client is over after 400 ms.
    cluster.pass(Duration::from_millis(500));
}

/// Runs a tick that reads both the answer of Redis and whatever else has come.
fn step_with_answer(cluster: &mut Cluster) {
    let millis = cluster.millis();
    cluster.redis.set_stalled(false, millis);
    cluster.step(0);
    cluster.run();
}

#[test]
fn request_of_a_client_that_is_banned_in_the_tick_of_its_answer_is_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("chinwag.toml");
    fs::write(&config, MODERATOR).expect("a file");
    for pending in ALL {
        let mut cluster = Cluster::new(1, &format!("--guests --config {}", config.display()));
        let eve = member_of_tea(&mut cluster);
        let moderator = cluster.connect(0, "/login m");
        cluster.pass(Duration::from_secs(1));
        let claims = cluster.claims();
        begin(&mut cluster, pending);
        [eve, moderator].into_iter().for_each(|guest| drop(cluster.unread(guest)));
        cluster.say(moderator, "/ban 10.0.0.1");
        step_with_answer(&mut cluster);
        let read = cluster.unread(moderator);
        assert!(read.iter().any(|line| line.starts_with("-- 10.0.0.1 is banned")), "{pending:?}: {read:?}");
        assert!(!read.iter().any(|line| line.ends_with(" joined")), "{pending:?}: {read:?}");
        assert_eq!(cluster.unread(eve), [""; 0], "{pending:?}");
        assert_eq!(cluster.claims().len(), claims.len(), "{pending:?}");
        cluster.end();
    }
}

#[test]
fn request_of_a_client_of_an_ending_server_is_dropped() {
    for pending in ALL {
        let mut cluster = Cluster::new(1, "--guests");
        let first = cluster.connect(0, "/quit");
        let (ann, eve) = (cluster.connect(0, "/nick ann"), member_of_tea(&mut cluster));
        cluster.stage(0).world().end(first.wire);
        cluster.pass(Duration::from_secs(2));
        // The client takes the slot of the first, so the shutdown closes it at once, and the others later.
        begin(&mut cluster, pending);
        [ann, eve].into_iter().for_each(|guest| drop(cluster.unread(guest)));
        cluster.stage(0).world().signal(Signal::Terminate);
        step_with_answer(&mut cluster);
        cluster.pass(Duration::from_secs(10));
        assert!(cluster.stage(0).stopped, "{pending:?}");
        for guest in [ann, eve] {
            let read = cluster.unread(guest);
            assert!(!read.iter().any(|line| line.ends_with(" joined")), "{pending:?}: {read:?}");
        }
        assert_eq!(cluster.claims(), [""; 0], "{pending:?}");
    }
}
