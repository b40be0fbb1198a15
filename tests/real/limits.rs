//! Limits on a real socket.

use crate::harness::{Launch, Server};

#[test]
fn fast_sender_is_throttled_told_once_and_loses_nothing() {
    let server = Server::start("--rate 50/s --burst 5");
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    ann.expect("-- bob joined");
    // One write, so that no pause in between fills the bucket again.
    bob.send((1..=40).map(|n| format!("{n}\n")).collect::<String>().as_bytes());
    for n in 1..=40 {
        ann.expect(&format!("bob: {n}"));
    }
    bob.say("/quit");
    bob.expect("-- you send fast: your lines are slowed down, none is lost");
    bob.expect("-- bye");
}

#[test]
fn client_without_a_name_in_time_is_told_and_closed() {
    let server = Server::start("--name-timeout 200ms");
    let mut ann = server.client();
    ann.expect("-- welcome to chinwag. what's your name?");
    ann.expect("-- you gave no name in time. connect again to try again");
    ann.expect_end();
    server.log.wait_for("reason=no-name");
}

#[test]
fn idle_client_is_told_and_closed() {
    let server = Server::start("--idle-timeout 200ms");
    let mut ann = server.join("ann");
    ann.expect("-- you were idle for too long. connect again to go on");
    ann.expect_end();
    server.log.wait_for("reason=idle");
}

#[test]
fn max_clients_is_lowered_to_the_limit_on_open_files() {
    let server = Launch::in_shell(
        r#"ulimit -n 120; exec "$0" "$@""#,
        "--guests --line 127.0.0.1:0 --http none --print-addresses",
    )
    .start();
    let line = server.log.wait_for("ulimit -n");
    assert!(line.contains("WARN") && line.contains("max_clients=18 max_waiting=2"), "{line}");
    let mut clients: Vec<_> = (0..18).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| drop(client.skip_to("-- hello guest-")));
    let mut waiting = [server.client(), server.client()];
    waiting.iter_mut().for_each(|client| drop(client.skip_to("-- the server is full. you are ")));
    // Far more connections than descriptors: each is told, and none hangs.
    for _ in 0..150 {
        let mut refused = server.client();
        refused.expect("-- the server is full. try again later");
        refused.expect_end();
    }
    drop(clients.pop());
    waiting[0].skip_to("-- hello guest-");
}
