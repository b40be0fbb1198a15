//! Deadlines count from the latest change of a connection's state, not from an earlier one.

use std::time::Duration;

use crate::socket::{PING, Socket};
use crate::stage::Stage;
use crate::web::{ask, get};

const SECOND: Duration = Duration::from_secs(1);

const IDLE: &str = "-- you were idle for too long. connect again to go on";
const NO_NAME: &str = "-- you gave no name in time. connect again to try again";

#[test]
fn idle_time_counts_from_the_name_and_not_from_the_prompt() {
    let mut stage = Stage::new("--name-timeout 60s --idle-timeout 60s");
    let ann = stage.connect();
    stage.pass(59 * SECOND);
    stage.say(ann, "ann");
    stage.pass(59 * SECOND);
    assert!(!stage.text(ann).contains(IDLE));
    stage.pass(2 * SECOND);
    assert!(stage.text(ann).contains(IDLE));
    stage.end();
}

#[test]
fn time_for_the_name_counts_from_the_prompt_and_not_from_the_queue() {
    let mut stage = Stage::new("--name-timeout 60s --max-clients 1 --max-waiting 1");
    let ann = stage.join("ann");
    let bob = stage.connect();
    stage.pass(300 * SECOND);
    stage.say(ann, "/quit");
    stage.pass(59 * SECOND);
    assert!(!stage.text(bob).contains(NO_NAME));
    stage.pass(2 * SECOND);
    assert!(stage.text(bob).contains(NO_NAME));
    stage.end();
}

#[test]
fn idle_time_counts_from_the_last_line_handled_and_not_from_the_last_received() {
    let mut stage = Stage::new("--idle-timeout 10s --rate 1/s --burst 1");
    let ann = stage.join("ann");
    (0..20).for_each(|number| stage.say(ann, &format!("{number}")));
    // The last of them is handled after 20 s.
    stage.pass(29 * SECOND);
    assert!(!stage.text(ann).contains(IDLE));
    stage.pass(3 * SECOND);
    assert!(stage.text(ann).contains(IDLE));
    stage.end();
}

#[test]
fn request_has_its_whole_timeout_after_the_last_answer() {
    let mut stage = Stage::new("--http-timeout 10s");
    let wire = stage.connect_http();
    for _ in 0..5 {
        stage.pass(9 * SECOND);
        assert!(ask(&mut stage, wire, &get("/healthz")).starts_with("HTTP/1.1 200 "));
    }
    stage.pass(9 * SECOND);
    assert!(stage.world().token(wire).is_some());
    stage.pass(10 * SECOND);
    assert!(stage.world().is_over(wire));
    stage.end();
}

#[test]
fn tab_is_pinged_a_whole_interval_after_it_last_sent() {
    let mut stage = Stage::new("--ping-interval 20s --ping-timeout 10s");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    tab.texts(&mut stage);
    for _ in 0..5 {
        stage.pass(19 * SECOND);
        tab.say(&mut stage, r#"{"type":"who","room":"lobby"}"#);
        stage.run();
    }
    assert!(tab.frames(&stage).iter().all(|(opcode, _)| *opcode != PING));
    stage.pass(19 * SECOND);
    assert!(tab.frames(&stage).is_empty());
    stage.pass(2 * SECOND);
    assert_eq!(tab.frames(&stage)[0].0, PING);
    stage.end();
}
