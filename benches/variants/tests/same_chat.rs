//! Every variant is the same chat. Each step ends when the expected bytes have come, or fails after `PATIENCE`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::SockRef;

const PATIENCE: Duration = Duration::from_secs(60);

/// The key is the example of RFC 6455, section 1.3.
const UPGRADE: &str = "GET /raw/lobby HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A variant, killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    is_websocket: bool,
}

impl Server {
    fn start(program: &str, args: &[&str]) -> Server {
        let mut child = Command::new(program).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split('"').collect();
        Server { child, address: words[3].parse().unwrap(), is_websocket: words[1] == "http" }
    }

    fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        if self.is_websocket {
            stream.write_all(UPGRADE.as_bytes()).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(read::<1>(&mut stream)[0]);
            }
            assert!(head.starts_with(b"HTTP/1.1 101 "));
        }
        stream
    }

    /// Connects so many clients, one after the other: the first receives a line of each later one.
    fn clients(&self, count: usize) -> Vec<TcpStream> {
        let mut clients = vec![self.connect()];
        for _ in 1..count {
            let mut client = self.connect();
            self.send(&mut client, "in");
            clients.iter_mut().for_each(|earlier| self.receive(earlier, "in"));
            clients.push(client);
        }
        clients
    }

    /// Sockets that the server has open: its listener and its clients.
    fn sockets(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    fn send(&self, client: &mut TcpStream, text: &str) {
        let bytes = match self.is_websocket {
            // A whole text of less than 126 bytes; the mask of zeros leaves it as it is.
            true => [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat(),
            false => format!("{text}\n").into_bytes(),
        };
        client.write_all(&bytes).unwrap();
    }

    fn receive(&self, client: &mut TcpStream, text: &str) {
        let expected = match self.is_websocket {
            true => [&[0x81, text.len() as u8], text.as_bytes()].concat(),
            false => format!("{text}\n").into_bytes(),
        };
        let mut bytes = vec![0; expected.len()];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&expected));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read<const COUNT: usize>(stream: &mut TcpStream) -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn everybody_else_receives_every_line_once(server: &Server) {
    let mut clients = server.clients(20);
    for number in 0..500 {
        server.send(&mut clients[number % 20], &number.to_string());
        for id in (0..20).filter(|id| *id != number % 20) {
            server.receive(&mut clients[id], &number.to_string());
        }
    }
}

/// The others miss nothing meanwhile.
fn client_that_does_not_read_is_dropped(server: &Server) {
    let mut clients = server.clients(2);
    let mut stalled = server.connect();
    SockRef::from(&stalled).set_recv_buffer_size(1).unwrap();
    server.send(&mut stalled, "in");
    clients.iter_mut().for_each(|client| server.receive(client, "in"));
    let text = "y".repeat(120);
    for _ in 0..2_000 {
        (0..32).for_each(|_| server.send(&mut clients[0], &text));
        (0..32).for_each(|_| server.receive(&mut clients[1], &text));
    }
    let start = Instant::now();
    while server.sockets() > 3 {
        assert!(start.elapsed() < PATIENCE, "the client is still there");
        sleep(Duration::from_millis(10));
    }
    server.send(&mut clients[0], "unharmed");
    server.receive(&mut clients[1], "unharmed");
}

macro_rules! variants {
    ($($name:ident: $program:literal $args:expr;)*) => { $(
        mod $name {
            fn server() -> crate::Server {
                crate::Server::start(env!(concat!("CARGO_BIN_EXE_", $program)), &$args)
            }

            #[test]
            fn everybody_else_receives_every_line_once() {
                crate::everybody_else_receives_every_line_once(&server());
            }

            #[test]
            fn client_that_does_not_read_is_dropped() {
                crate::client_that_does_not_read_is_dropped(&server());
            }
        }
    )* };
}

variants! {
    bare: "bare" [];
    bare_batched: "bare" ["--batched"];
    tokio_textbook: "tokio-textbook" [];
    tokio_tuned: "tokio-tuned" [];
    smol: "smol" [];
    uring: "uring" [];
    ws_tuned: "ws-tuned" [];
    ws_axum: "ws-axum" [];
}
