//! Connections that end while a request of theirs waits for Redis, or in the tick that brings the answer.

use std::fs;
use std::time::Duration;

use chinwag::net::Signal;

use crate::cluster::{Cluster, Guest};
use crate::log_lines::{capture, end_capture, take_log};
use crate::socket::{CLOSE, Socket, TEXT, frame, handshake};
use crate::stage::WIDE;
use crate::world::Wire;

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

/// A member of `#dev` at that process.
fn reader_in_dev(cluster: &mut Cluster, process: usize) -> Guest {
    let ann = cluster.join(process, "ann");
    cluster.say(ann, "/join dev");
    cluster.run();
    drop(cluster.unread(ann));
    ann
}

fn stall_redis(cluster: &mut Cluster, stalled: bool) {
    let millis = cluster.millis();
    cluster.redis.set_stalled(stalled, millis);
}

/// Sends these messages and a close frame in one segment.
fn send_and_close(cluster: &mut Cluster, wire: Wire, messages: &[&str]) {
    let frames = messages.iter().map(|json| frame(TEXT, json.as_bytes()));
    let close = frame(CLOSE, 1000_u16.to_be_bytes());
    let bytes: Vec<u8> = frames.chain([close]).flatten().collect();
    cluster.stage(0).send(wire, &bytes);
    cluster.run();
}

/// Checks that a client was sent one close frame with the code of its own, nothing behind it, and the end.
#[track_caller]
fn assert_closed(cluster: &mut Cluster, socket: &mut Socket) {
    let stage = cluster.stage(0);
    assert_eq!(socket.closed(stage), (1000, String::new()));
    assert!(stage.world().is_over(socket.wire), "the server has not ended its side");
}

/// A client whose name and room Redis is asked for. Its handshake is complete, and Redis stays stalled.
fn enter_while_redis_is_stalled(cluster: &mut Cluster) -> Socket {
    stall_redis(cluster, true);
    let wire = cluster.stage(0).connect_http();
    cluster.stage(0).send(wire, handshake("/ws?name=bot&room=dev", "").as_bytes());
    cluster.run();
    Socket::upgraded(cluster.stage(0), wire)
}

const DONE: &str = r#"{"type":"say","room":"dev","text":"done"}"#;

#[test]
fn message_before_a_close_frame_is_delivered_if_redis_was_asked_for_the_name() {
    let mut cluster = Cluster::new(2, "");
    let ann = reader_in_dev(&mut cluster, 1);
    capture();
    let mut bot = enter_while_redis_is_stalled(&mut cluster);
    send_and_close(&mut cluster, bot.wire, &[DONE]);
    assert_closed(&mut cluster, &mut bot);
    stall_redis(&mut cluster, false);
    cluster.expect(ann, &["-- bot joined", "bot: done", "-- bot left"]);
    let log = take_log();
    let has = |start: &str| log.lines().any(|line| line.starts_with(&format!("INFO {start}")));
    assert!(has("connect id=") && has("disconnect id="), "{log}");
    end_capture();
    cluster.end();
}

#[test]
fn request_that_waits_for_redis_before_a_close_frame_is_handled() {
    let private = r#"{"type":"tell","to":"ann","text":"psst"}"#;
    let join = r#"{"type":"join","room":"dev"}"#;
    let cases: [(&[&str], &[&str]); 3] = [
        (&[private], &["[bot] psst"]),
        (&[join], &["-- bot joined", "-- bot left"]),
        (&[join, DONE], &["-- bot joined", "bot: done", "-- bot left"]),
    ];
    for (requests, lines) in cases {
        let mut cluster = Cluster::new(2, "");
        let ann = reader_in_dev(&mut cluster, 1);
        let mut bot = cluster.open(0, "/ws?name=bot&room=");
        drop(cluster.texts(0, &mut bot));
        stall_redis(&mut cluster, true);
        send_and_close(&mut cluster, bot.wire, requests);
        assert_closed(&mut cluster, &mut bot);
        stall_redis(&mut cluster, false);
        cluster.expect(ann, lines);
        cluster.end();
    }
}

/// Without an answer of Redis, the link is down after some time, and the process goes on alone.
#[test]
fn client_that_has_closed_is_handled_and_leaves_even_if_redis_never_answers() {
    for enters in [false, true] {
        let mut cluster = Cluster::new(1, "");
        let ann = reader_in_dev(&mut cluster, 0);
        let mut bot = match enters {
            true => enter_while_redis_is_stalled(&mut cluster),
            false => {
                let bot = cluster.open(0, "/ws?name=bot&room=dev");
                stall_redis(&mut cluster, true);
                bot
            }
        };
        let claim = r#"{"type":"nick","name":"zoe"}"#;
        send_and_close(&mut cluster, bot.wire, &[claim, DONE]);
        assert_closed(&mut cluster, &mut bot);
        cluster.pass(Duration::from_secs(30));
        let read = cluster.unread(ann);
        assert!(read.contains(&"zoe: done".to_string()), "{read:?}");
        assert_eq!(cluster.stage(0).server.roster().len(), 1, "only ann is left");
        stall_redis(&mut cluster, false);
        cluster.pass(Duration::from_secs(10));
        cluster.end();
    }
}
