//! What the server costs when little happens: time to start, memory of idle clients, wake-ups, system calls a message.
//!
//! `cargo bench --bench footprint` measures a release build in a process of its own and prints one line a figure, with
//! its target. The calls are counted by `strace`; without it those two lines are left out. Nothing is judged.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const IDLE_CLIENTS: usize = 10_000;
const ROOM: usize = 1_000;
const MESSAGES: usize = 200;

fn main() {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    println!("starting to accept         {:>10.2} ms      (target: under 10)", start_millis());
    println!("binary                     {:>10.2} MB      (target: under 2)", binary_megabytes());
    match limit as usize >= IDLE_CLIENTS + 200 {
        true => {
            let line = idle_bytes(Server::line_clients);
            println!("an idle line client        {line:>10.1} bytes   (target: at most 160)");
            let tab = idle_bytes(Server::websocket_clients);
            println!("an idle WebSocket client   {tab:>10.1} bytes   (target: at most 256)");
        }
        false => {
            println!("an idle client             not measured: {limit} open files are too few (ulimit -n)")
        }
    }
    let has_strace =
        Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !has_strace {
        println!("system calls               not measured: strace is not installed");
        return;
    }
    println!("calls in 10 s of idleness  {:>10}            (target: 0; 100 clients)", idle_calls());
    let (writes, others) = calls_a_message();
    println!("writes a message           {writes:>10.2}            (target: {}, one a receiver)", ROOM - 1);
    println!("other calls a message      {others:>10.2}            (target: at most 3)");
}

/// A server in a process of its own, killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    web: SocketAddr,
}

impl Server {
    fn start() -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_chinwag"))
            .args([
                "--line",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--print-addresses",
                "--log",
                "warn",
                "--rate",
                "off",
            ])
            .args(["--max-clients", "12000"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).expect("the address line");
        let address = |place| line.split('"').nth(place).expect("an address").parse().expect("an address");
        Server { child, address: address(3), web: address(7) }
    }

    /// Connects so many clients, each with a name, and reads until all know they are in.
    fn clients(&self, count: usize) -> Vec<TcpStream> {
        self.line_clients(0, count)
    }

    /// Connects so many, each to the JSON door and into the lobby, and reads until all know they are in.
    fn websocket_clients(&self, first: usize, count: usize) -> Vec<TcpStream> {
        let connect = |number| {
            let request = format!(
                "GET /ws?name=user-{number} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            self.enter(self.web, &request, b"\"joined\"")
        };
        (first..first + count).map(connect).collect()
    }

    /// The same at the line door.
    fn line_clients(&self, first: usize, count: usize) -> Vec<TcpStream> {
        let connect = |number| self.enter(self.address, &format!("user-{number}\n"), b"-- hello ");
        (first..first + count).map(connect).collect()
    }

    fn enter(&self, door: SocketAddr, request: &str, until: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(door).expect("connect");
        client.write_all(request.as_bytes()).expect("a request");
        let mut buffer = [0; 4096];
        let mut text = Vec::new();
        while !text.windows(until.len()).any(|part| part == until) {
            let count = client.read(&mut buffer).expect("a greeting");
            assert!(count > 0, "closed: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&buffer[..count]);
        }
        client
    }

    fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Counts the server's system calls while `work` runs: name and number.
    fn count_calls(&self, work: impl FnOnce()) -> Vec<(String, usize)> {
        let file = std::env::temp_dir().join(format!("chinwag-strace-{}", self.child.id()));
        let mut strace = Command::new("strace")
            .args(["-c", "-o"])
            .arg(&file)
            .args(["-p", &self.child.id().to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace");
        let mut attached = String::new();
        BufReader::new(strace.stderr.take().unwrap()).read_line(&mut attached).expect("strace attaches");
        work();
        let pid = i32::try_from(strace.id()).unwrap();
        Command::new("kill").args(["-INT", &pid.to_string()]).status().expect("kill");
        strace.wait().expect("strace ends");
        let table = fs::read_to_string(&file).expect("strace's table");
        let _ = fs::remove_file(&file);
        table.lines().filter_map(row).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A row of `strace -c`: `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn row(line: &str) -> Option<(String, usize)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, calls) = (words.last()?, words.get(3)?.parse().ok()?);
    words[0].parse::<f64>().ok()?;
    (*name != "total").then(|| (name.to_string(), calls))
}

fn start_millis() -> f64 {
    let mut millis: Vec<f64> = (0..21)
        .map(|_| {
            let before = Instant::now();
            let server = Server::start();
            TcpStream::connect(server.address).expect("connect");
            before.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    millis.sort_by(f64::total_cmp);
    millis[millis.len() / 2]
}

fn binary_megabytes() -> f64 {
    fs::metadata(env!("CARGO_BIN_EXE_chinwag")).expect("the binary").len() as f64 / 1e6
}

fn idle_bytes(connect: fn(&Server, usize, usize) -> Vec<TcpStream>) -> f64 {
    let server = Server::start();
    let first = connect(&server, 0, 1);
    let before = server.resident_bytes();
    let clients = connect(&server, 1, IDLE_CLIENTS);
    sleep(Duration::from_millis(500));
    let after = server.resident_bytes();
    drop((first, clients));
    (after - before) as f64 / IDLE_CLIENTS as f64
}

fn idle_calls() -> usize {
    let server = Server::start();
    let clients = server.clients(100);
    // The summary of joins in a room over fifty is due ten seconds after they began.
    sleep(Duration::from_secs(11));
    let calls = server.count_calls(|| sleep(Duration::from_secs(10)));
    drop(clients);
    calls.iter().map(|(_, count)| count).sum()
}

/// Writes and other calls of the server for each message that one of [`ROOM`] clients sends to the others.
fn calls_a_message() -> (f64, f64) {
    let server = Server::start();
    let mut clients = server.clients(ROOM);
    sleep(Duration::from_secs(11));
    let mut buffer = vec![0; 1 << 20];
    for client in &mut clients {
        client.set_nonblocking(true).unwrap();
        while matches!(client.read(&mut buffer), Ok(1..)) {}
        client.set_nonblocking(false).unwrap();
    }
    let message = format!("{}\n", "x".repeat(63));
    let calls = server.count_calls(|| {
        for _ in 0..MESSAGES {
            let (sender, receivers) = clients.split_first_mut().unwrap();
            sender.write_all(message.as_bytes()).unwrap();
            for receiver in receivers {
                receiver.read_exact(&mut buffer[..message.len() + "user-0: ".len()]).unwrap();
            }
        }
    });
    let writes = ["sendto", "write", "writev", "sendmsg"];
    let count = |of_writes: bool| {
        let counted = calls.iter().filter(|(name, _)| writes.contains(&name.as_str()) == of_writes);
        counted.map(|(_, count)| *count as f64).sum::<f64>() / MESSAGES as f64
    };
    (count(true), count(false))
}
