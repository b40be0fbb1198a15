//! Every variant is the same chat. Nothing here waits for luck: each step ends when what it waits for has come, or
//! fails after `PATIENCE`.

mod client;
mod server;

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use client::{Client, Door, frame};
use server::Server;
use socket2::SockRef;

const PATIENCE: Duration = Duration::from_secs(60);

fn line(sender: usize, number: usize) -> String {
    // Lines of many lengths, so that they end at many places of the buffers they go through.
    format!("{sender} {number} {}\n", "x".repeat((sender * 31 + number * 7) % 200))
}

/// Each line of several senders at once reaches all but its sender, once, in order and whole.
fn everyone_else_hears_every_line_once(server: &Server) {
    const CLIENTS: usize = 20;
    const SENDERS: usize = 5;
    const LINES: usize = 500;
    const ROUND: usize = 50;
    let mut clients = server.clients(CLIENTS);
    let mut heard = vec![[0; SENDERS]; CLIENTS];
    for round in 0..LINES / ROUND {
        for number in round * ROUND..(round + 1) * ROUND {
            for (sender, client) in clients[..SENDERS].iter_mut().enumerate() {
                client.say(&line(sender, number));
            }
        }
        for (id, client) in clients.iter_mut().enumerate() {
            let senders = SENDERS - usize::from(id < SENDERS);
            for _ in 0..senders * ROUND {
                let got = client.hear();
                let sender: usize = got.split(' ').next().unwrap().parse().unwrap();
                assert_ne!(sender, id, "a client hears itself");
                assert_eq!(got, line(sender, heard[id][sender]));
                heard[id][sender] += 1;
            }
        }
    }
    // Nothing is on its way but these.
    for sender in 0..SENDERS {
        clients[sender].say("the end\n");
        for client in clients.iter_mut().enumerate().filter(|(id, _)| *id != sender).map(|(_, client)| client)
        {
            assert_eq!(client.hear(), "the end\n");
        }
    }
    // Who leaves is forgotten, and the others go on. So is who only closes the side it sends on.
    let mut leaver = clients.pop().unwrap();
    leaver.stop_sending();
    assert_eq!(leaver.hear_the_end(), 0);
    clients.truncate(CLIENTS / 2);
    server.wait_for_sockets(1 + CLIENTS / 2);
    clients[0].say("still here\n");
    assert!(clients[1..].iter_mut().all(|client| client.hear() == "still here\n"));
}

/// A client that does not read is dropped in the end, and the others miss nothing meanwhile.
fn who_does_not_read_is_dropped(server: &Server) {
    const BLOCK: usize = 32;
    const ENOUGH: usize = 64 * 1024 * 1024;
    let mut clients = server.clients(3);
    let mut stalled = server.connect_small();
    stalled.say("in\n");
    assert!(clients.iter_mut().all(|client| client.hear() == "in\n"));

    let line = "y".repeat(1023) + "\n";
    let mut said = 0;
    while server.sockets() == 5 {
        assert!(said < ENOUGH, "the stalled client is still there");
        for _ in 0..BLOCK {
            clients[0].say(&line);
        }
        for client in &mut clients[1..] {
            for _ in 0..BLOCK {
                assert_eq!(client.hear(), line);
            }
        }
        said += BLOCK * line.len();
    }
    assert_eq!(server.sockets(), 4, "only the stalled client is dropped");
    assert!(stalled.hear_the_end() < said);
    clients[1].say("unharmed\n");
    assert_eq!(clients[0].hear(), "unharmed\n");
    assert_eq!(clients[2].hear(), "unharmed\n");
}

const LONGEST: usize = 64 * 1024;

/// Nobody hears the start of a line before its end has come, however long the line; one without an end ends its sender.
fn a_line_is_held_until_it_is_whole(server: &Server) {
    let mut clients = server.clients(3);
    for _ in 0..50 {
        clients[0].say("this is o");
        clients[1].say("another\n");
        assert_eq!(clients[0].hear(), "another\n");
        assert_eq!(clients[2].hear(), "another\n");
        clients[0].say("ne line\nand half of the ne");
        assert_eq!(clients[1].hear(), "this is one line\n");
        assert_eq!(clients[2].hear(), "this is one line\n");
        clients[0].say("xt\r\n");
        assert_eq!(clients[1].hear(), "and half of the next\r\n");
        assert_eq!(clients[2].hear(), "and half of the next\r\n");
    }
    let long = "z".repeat(LONGEST - 1) + "\n";
    says_in_pieces_what_all_hear(&mut clients, long.as_bytes(), &long);

    let mut endless = server.connect();
    endless.try_send(&vec![b'e'; 4 * LONGEST]);
    assert_eq!(endless.hear_the_end(), 0);
    are_unharmed(&mut clients);
}

/// The same of a message; one that is too long ends its sender.
fn a_message_is_held_until_it_is_whole(server: &Server) {
    let mut clients = server.clients(3);
    let (one, next) = (frame("this is one message"), frame("and half of the next"));
    for cut in 1..one.len() {
        clients[0].send(&one[..cut]);
        clients[1].say("another");
        assert_eq!(clients[0].hear(), "another");
        assert_eq!(clients[2].hear(), "another");
        let half = next.len() / 2;
        clients[0].send(&[&one[cut..], &next[..half]].concat());
        assert_eq!(clients[1].hear(), "this is one message");
        assert_eq!(clients[2].hear(), "this is one message");
        clients[0].send(&next[half..]);
        assert_eq!(clients[1].hear(), "and half of the next");
        assert_eq!(clients[2].hear(), "and half of the next");
    }
    let long = "z".repeat(LONGEST);
    says_in_pieces_what_all_hear(&mut clients, &frame(&long), &long);

    let mut endless = server.connect();
    endless.try_send(&frame(&"e".repeat(4 * LONGEST)));
    // Some say why.
    endless.hear_the_end();
    are_unharmed(&mut clients);
}

fn says_in_pieces_what_all_hear(clients: &mut [Client], bytes: &[u8], text: &str) {
    for piece in bytes.chunks(10_000) {
        clients[0].send(piece);
    }
    assert_eq!(clients[1].hear(), text);
    assert_eq!(clients[2].hear(), text);
}

fn are_unharmed(clients: &mut [Client]) {
    clients[0].say("unharmed\n");
    assert_eq!(clients[1].hear(), "unharmed\n");
    assert_eq!(clients[2].hear(), "unharmed\n");
}

fn what_is_not_whole_is_held(server: &Server) {
    match server.door {
        Door::Line => a_line_is_held_until_it_is_whole(server),
        Door::WebSocket => a_message_is_held_until_it_is_whole(server),
    }
}

/// The full house. Asked for by `--ignored`, in a release build.
fn nine_thousand_hear_one(server: &Server) {
    const CLIENTS: usize = 9_500;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|_| Client::enter(TcpStream::connect(server.address).unwrap(), server.door, 64))
        .collect();
    server.wait_for_sockets(1 + CLIENTS);
    for round in 0..3 {
        // The last to join is surely in when it is heard.
        clients[CLIENTS - 1].say(&format!("round {round}\n"));
        for client in &mut clients[..CLIENTS - 1] {
            assert_eq!(client.hear(), format!("round {round}\n"));
        }
    }
    println!("{}", server.status());
}

#[test]
fn nodelay_is_handed_down() {
    let options = chinwag_variants::Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), threads: 1 };
    let door = options.open().unwrap();
    let _client = TcpStream::connect(door.local_addr().unwrap()).unwrap();
    let (accepted, _) = door.accept().unwrap();
    assert!(SockRef::from(&accepted).tcp_nodelay().unwrap());
}

/// Everything that must hold of the module's `server`.
macro_rules! all_is_well {
    ($($ignored:meta)?) => {
        #[test]
        $(#[$ignored])?
        fn everyone_else_hears_every_line_once() {
            crate::everyone_else_hears_every_line_once(&server());
        }

        #[test]
        $(#[$ignored])?
        fn who_does_not_read_is_dropped() {
            crate::who_does_not_read_is_dropped(&server());
        }

        #[test]
        $(#[$ignored])?
        fn what_is_not_whole_is_held() {
            crate::what_is_not_whole_is_held(&server());
        }

        #[test]
        #[ignore = "takes 9,500 clients"]
        fn nine_thousand_hear_one() {
            crate::nine_thousand_hear_one(&server());
        }
    };
}

macro_rules! variants {
    ($($name:ident: $program:literal $flags:expr;)*) => { $(
        mod $name {
            fn server() -> super::Server {
                let program = env!(concat!("CARGO_BIN_EXE_", $program));
                super::Server::start(super::Command::new(program).args::<[&str; _], _>($flags))
            }

            all_is_well!();
        }
    )* };
}

variants! {
    bare: "bare" [];
    bare_batched: "bare-batched" [];
    tokio_textbook: "tokio-textbook" [];
    tokio_textbook_2: "tokio-textbook" ["--threads", "2"];
    tokio_broadcast: "tokio-broadcast" [];
    tokio_broadcast_2: "tokio-broadcast" ["--threads", "2"];
    tokio_tuned: "tokio-tuned" [];
    tokio_tuned_2: "tokio-tuned" ["--threads", "2"];
    smol: "smol" [];
    threads: "threads" ["--listen", "127.0.0.1:0"];
    uring: "uring" [];
    ws_textbook: "ws-textbook" [];
    ws_tuned: "ws-tuned" [];
    ws_axum: "ws-axum" [];
}

mod node {
    /// It finds `ws` where `NODE_PATH` says.
    fn server() -> super::Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/node/chat.js");
        super::Server::start(super::Command::new("node").arg(script))
    }

    all_is_well!(ignore = "takes node and ws");
}
