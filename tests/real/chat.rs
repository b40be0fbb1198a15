//! People chat.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::harness::{Client, Launch, Server};

#[test]
fn message_reaches_the_others_and_not_its_sender() {
    let server = Server::start("");
    let mut ann = server.client();
    ann.expect("-- welcome to chinwag. what's your name?");
    ann.say("ann");
    ann.expect("-- hello ann. you are alone in #lobby. /help lists the commands");
    let mut bob = server.join("bob");
    ann.expect("-- bob joined");
    let mut cy = server.client();
    cy.expect("-- welcome to chinwag. what's your name?");
    cy.say("cy");
    cy.expect("-- hello cy. you are in #lobby with ann, bob. /help lists the commands");
    ann.expect("-- cy joined");
    bob.expect("-- cy joined");

    ann.say("hi");
    bob.say("/me waves");
    cy.expect("ann: hi");
    cy.expect("* bob waves");
    ann.expect("* bob waves");
    cy.say("/msg bob psst");
    cy.say("/quit");
    cy.expect("-- bye");
    cy.expect_end();
    bob.expect("ann: hi");
    bob.expect("[cy] psst");
    bob.expect("-- cy left");
    ann.expect("-- cy left");
}

#[test]
fn tcp_and_unix_clients_are_in_one_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat");
    let server = Launch::new("--line").arg(format!("unix:{}", path.display())).with_listeners().start();
    let mut ann = server.join("ann");
    let mut bob = Client::connect_unix(&path);
    bob.enter("bob");
    ann.expect("-- bob joined");
    ann.say("over TCP");
    bob.expect("ann: over TCP");
    bob.say("over a path");
    ann.expect("bob: over a path");
    bob.end_input();
    bob.expect_end();
    ann.expect("-- bob left");
}

#[test]
fn all_clients_read_all_messages_in_the_same_order() {
    const EACH: usize = 300;
    const SENDERS: [&str; 3] = ["ann", "bob", "cy"];
    let server = Server::start("--rate off --announce-max 0");
    let mut listeners = [server.join("x"), server.join("y")];
    let senders = SENDERS.map(|name| server.join(name));
    let threads = senders.map(|sender| {
        thread::spawn(move || {
            let mut writer = sender.writer();
            for n in 1..=EACH {
                writeln!(writer, "{n}").expect("the server takes it");
            }
            sender
        })
    });
    let received = listeners.each_mut().map(|listener| {
        (0..SENDERS.len() * EACH).map(|_| listener.line().expect("a line")).collect::<Vec<_>>()
    });
    assert_eq!(received[0], received[1]);
    for name in SENDERS {
        let prefix = format!("{name}: ");
        let said: Vec<_> = received[0].iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
        let expected: Vec<_> = (1..=EACH).map(|n| n.to_string()).collect();
        assert_eq!(said, expected, "what {name} said");
    }
    for thread in threads {
        thread.join().expect("the sender was not cut off");
    }
}

#[test]
fn expensive_flush_waits_for_more_output() {
    let server = Server::start("--rate off --announce-max 0");
    let mut listeners: Vec<Client> = (0..400).map(|number| server.join(&format!("l{number}"))).collect();
    let mut ann = server.join("ann");
    // Two lines come in one read, so each write carries two.
    for round in 0..20 {
        ann.send(format!("first {round}\nsecond {round}\n").as_bytes());
        for listener in &mut listeners {
            listener.expect(&format!("ann: first {round}"));
            listener.expect(&format!("ann: second {round}"));
        }
    }
    let mut http = TcpStream::connect(server.http_address()).unwrap();
    http.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    http.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    let count = answer.lines().find_map(|line| line.strip_prefix("chinwag_coalesced_total ")).unwrap();
    // The first flushes do not count as expensive yet. A busy machine may make some of the others cheap.
    assert!(count.parse::<u32>().unwrap() > 5, "{count}");
}
