//! A listener that fails for good is closed and the others go on. Without any listener the server ends.

use std::time::Duration;

use crate::stage::{Stage, WIDE};
use crate::web::{ask_once, get};

/// EBADF, EINVAL, ENOTSOCK and EOPNOTSUPP.
const BROKEN: [i32; 4] = [9, 22, 88, 95];

#[test]
fn listener_that_fails_for_good_is_closed_and_not_polled_again() {
    for error in BROKEN {
        let mut stage = Stage::new("");
        let ann = stage.join("ann");
        stage.world().accept_errors.push_back(error);
        let refused = stage.connect();
        stage.run();
        assert!(stage.world().closed_listeners.contains(&0), "error {error}");
        let accepts = stage.world().accepts;
        stage.connect();
        stage.pass(Duration::from_secs(60));
        assert_eq!(stage.world().accepts, accepts, "error {error}");
        assert_eq!(stage.text(refused), "");
        // Present clients stay, and the other listener goes on.
        assert!(ask_once(&mut stage, &get("/healthz")).starts_with("HTTP/1.1 200 "));
        stage.say(ann, "/who");
        stage.run();
        stage.expect_contains(ann, "-- in #lobby: ann");
        assert!(!stage.stopped);
    }
}

#[test]
fn server_without_a_listener_tells_everybody_and_ends() {
    let mut stage = Stage::new("--grace 2s --stall-timeout 1h");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    // The server waits for a client that does not read, and no longer than for its grace time.
    stage.stall(bob);
    stage.say(ann, "hi");
    stage.world().accept_errors.extend([22, 9]);
    stage.connect();
    stage.run();
    assert!(!stage.stopped, "there is another");
    stage.connect_http();
    stage.run();
    stage.expect_contains(ann, "-- the server is shutting down");
    stage.pass(Duration::from_millis(1_900));
    assert!(!stage.stopped);
    stage.pass(Duration::from_millis(200));
    assert!(stage.stopped);
    let why = stage.server.run(|| {}).unwrap_err();
    assert_eq!(why, "no listener is left that can accept connections; see the log");
}

#[test]
fn connection_that_can_not_be_watched_is_closed_and_not_counted() {
    let mut stage = Stage::new("--max-per-ip 1");
    stage.world().register_errors = 1;
    let [refused, admitted] = [(); 2].map(|()| {
        let wire = stage.connect_from(Some("10.0.0.1"), WIDE);
        stage.run();
        wire
    });
    assert!(stage.world().is_closed(refused) && stage.text(refused).is_empty());
    stage.expect_contains(admitted, "what's your name?");
    assert_eq!(stage.server.metrics().accepted, 1);
    stage.end();
}

#[test]
fn errors_of_one_connection_and_of_the_machine_close_no_listener() {
    // ECONNABORTED, EPROTO, EPERM, ENETUNREACH; ENFILE, EMFILE, ENOBUFS, ENOMEM, and an unknown one.
    for error in [103, 71, 1, 101, 23, 24, 105, 12, 131] {
        let mut stage = Stage::new("");
        stage.world().accept_errors.push_back(error);
        let ann = stage.connect();
        stage.pass(Duration::from_secs(1));
        stage.expect_contains(ann, "what's your name?");
        assert!(stage.world().closed_listeners.is_empty(), "error {error}");
    }
}
