//! Every variant is the same chat. Nothing here waits for luck: each step ends when what it waits for has come, or
//! fails after `PATIENCE`.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(60);

/// A variant that runs, killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(program: &str, flags: &[&str]) -> Server {
        let mut child = Command::new(program).args(flags).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix(r#"{"line":[""#).expect("the address");
        let address = address.strip_suffix("\"],\"http\":[],\"unix\":[]}\n").expect("the address");
        Server { address: address.parse().unwrap(), child }
    }

    /// Connects so many clients, one after the other: the first hears each of the others once it is in.
    fn clients(&self, count: usize) -> Vec<Client> {
        let mut clients = vec![self.connect()];
        for id in 1..count {
            let mut client = self.connect();
            client.say(&format!("{id} is in\n"));
            for earlier in &mut clients {
                assert_eq!(earlier.hear(), format!("{id} is in\n"));
            }
            clients.push(client);
        }
        clients
    }

    fn connect(&self) -> Client {
        Client::from(TcpStream::connect(self.address).unwrap())
    }

    /// Connects a client with the smallest buffer that the kernel gives, so that it is soon found not to read.
    fn connect_small(&self) -> Client {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        socket.connect(&self.address.into()).unwrap();
        Client::from(TcpStream::from(socket))
    }

    /// Sockets that the server holds open: its door and its clients.
    fn sockets(&self) -> usize {
        let held = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One may be closed between the two calls.
        let targets = held.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    fn wait_for_sockets(&self, count: usize) {
        let start = Instant::now();
        while self.sockets() != count {
            assert!(start.elapsed() < PATIENCE, "{} sockets, not {count}", self.sockets());
            yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client(BufReader<TcpStream>);

impl From<TcpStream> for Client {
    fn from(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }
}

impl Client {
    fn say(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Reads to the end, which must come; returns how much there was.
    fn hear_the_end(&mut self) -> usize {
        let mut heard = 0;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return heard,
                Ok(n) => heard += n,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return heard,
                Err(error) => panic!("no end: {error}"),
            }
        }
    }
}

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
    leaver.0.get_mut().shutdown(Shutdown::Write).unwrap();
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
        clients[0].say(&line.repeat(BLOCK));
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

/// Nobody hears the start of a line before its end has come, however long the line; one without an end ends its sender.
fn a_line_is_held_until_it_is_whole(server: &Server) {
    const LONGEST: usize = 64 * 1024;
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
    for piece in long.as_bytes().chunks(10_000) {
        clients[0].say(str::from_utf8(piece).unwrap());
    }
    assert_eq!(clients[1].hear(), long);
    assert_eq!(clients[2].hear(), long);

    let mut endless = server.connect();
    let all = vec![b'e'; 4 * LONGEST];
    // Whether the server has hung up before it has all is a matter of time.
    let _ = endless.0.get_mut().write_all(&all);
    assert_eq!(endless.hear_the_end(), 0);
    clients[0].say("unharmed\n");
    assert_eq!(clients[1].hear(), "unharmed\n");
    assert_eq!(clients[2].hear(), "unharmed\n");
}

/// The full house. Asked for by `--ignored`, in a release build.
fn nine_thousand_hear_one(server: &Server) {
    const CLIENTS: usize = 9_500;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let stream = TcpStream::connect(server.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Client(BufReader::with_capacity(64, stream))
        })
        .collect();
    server.wait_for_sockets(1 + CLIENTS);
    for round in 0..3 {
        // The last to join is surely in when it is heard.
        clients[CLIENTS - 1].say(&format!("round {round}\n"));
        for client in &mut clients[..CLIENTS - 1] {
            assert_eq!(client.hear(), format!("round {round}\n"));
        }
    }
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let figures = status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("Threads"));
    println!("{}", figures.collect::<Vec<_>>().join(" "));
}

#[test]
fn nodelay_is_handed_down() {
    let options = chinwag_variants::Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), threads: 1 };
    let door = options.open().unwrap();
    let _client = TcpStream::connect(door.local_addr().unwrap()).unwrap();
    let (accepted, _) = door.accept().unwrap();
    assert!(SockRef::from(&accepted).tcp_nodelay().unwrap());
}

macro_rules! variants {
    ($($name:ident: $program:literal $flags:expr;)*) => { $(
        mod $name {
            fn server() -> super::Server {
                super::Server::start(env!(concat!("CARGO_BIN_EXE_", $program)), &$flags)
            }

            #[test]
            fn everyone_else_hears_every_line_once() {
                super::everyone_else_hears_every_line_once(&server());
            }

            #[test]
            fn who_does_not_read_is_dropped() {
                super::who_does_not_read_is_dropped(&server());
            }

            #[test]
            fn a_line_is_held_until_it_is_whole() {
                super::a_line_is_held_until_it_is_whole(&server());
            }

            #[test]
            #[ignore = "takes 9,500 clients"]
            fn nine_thousand_hear_one() {
                super::nine_thousand_hear_one(&server());
            }
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
}
