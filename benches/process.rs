//! The server in a process of its own, for the benches that measure it from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// A process that is killed when this is dropped.
pub struct Process(pub Child);

impl Process {
    /// Starts it and reads its first line of output.
    pub fn start(command: &mut Command) -> (Process, String) {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process =
            Process(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")));
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).expect("a line");
        (process, line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Server {
    pub process: Process,
    pub line: SocketAddr,
    pub http: SocketAddr,
}

impl Server {
    pub fn start(flags: &[&str]) -> Server {
        let (process, addresses) = Process::start(
            Command::new(env!("CARGO_BIN_EXE_chinwag"))
                .args(["--line", "127.0.0.1:0", "--http", "127.0.0.1:0", "--print-addresses"])
                .args(["--log", "error"])
                .args(flags),
        );
        let address = |at| addresses.split('"').nth(at).expect("an address").parse().expect("an address");
        Server { process, line: address(3), http: address(7) }
    }

    /// Connects a line client by this name.
    pub fn line_client(&self, name: &str) -> TcpStream {
        enter(self.line, &format!("{name}\n"), "-- hello ")
    }
}

/// The request of a WebSocket client.
pub fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Connects, sends the request, and reads until this comes.
pub fn enter(address: SocketAddr, request: &str, until: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("connect");
    client.write_all(request.as_bytes()).expect("a request");
    let mut buffer = [0; 4096];
    let mut text = Vec::new();
    while !text.windows(until.len()).any(|part| part == until.as_bytes()) {
        let count = client.read(&mut buffer).expect("a response");
        assert!(count > 0, "closed: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..count]);
    }
    client
}
