//! Delay of a line between two clients while others flood the server.
//!
//! `cargo bench --bench floods` starts a release build in a process of its own. Two line clients exchange a line every few
//! milliseconds, first alone and then under each flood. Another process sends it as fast as the server reads. It fails if the
//! server ends or a line does not arrive. The target is printed, not enforced.

#[allow(dead_code, reason = "shared with footprint.rs")]
mod process;

use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use process::{Process, Server, enter, upgrade};

/// Time between two lines, and their number.
const PAUSE: Duration = Duration::from_millis(4);
const LINES: usize = 1_000;

/// The longest that a line may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time for a flood to fill the queues before the first line is measured.
const WARM_UP: Duration = Duration::from_secs(1);

const TARGET_MILLIS: f64 = 5.0;

/// Messages in the room that the floods read, and their length in bytes.
const MESSAGES: usize = 100;
const MESSAGE_BYTES: usize = 1_000;

/// Requests that a connection writes before it reads the answers to the first of them.
const PIPELINED: usize = 16;

/// Bytes that one connection reads and writes before the others of its flood have a turn.
const TURN_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy)]
enum Kind {
    Requests,
    Pings,
}

const FLOODS: [(&str, Kind, usize); 3] = [
    ("60 connections, pipelined GETs", Kind::Requests, 60),
    ("900 connections, pipelined GETs", Kind::Requests, 900),
    ("60 connections, WebSocket pings", Kind::Pings, 60),
];

fn main() -> ExitCode {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let args: Vec<String> = env::args().skip(1).collect();
    let outcome = match &args[..] {
        [word, flood, address] if word == "flood" => {
            let (_, kind, connections) = FLOODS[flood.parse::<usize>().unwrap()];
            flood_forever(kind, connections, address.parse().unwrap()).map_err(|error| error.to_string())
        }
        _ => measure_all(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floods: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all() -> Result<(), String> {
    let mut server =
        Server::start(&["--rate", "off", "--history", "100", "--max-http", "2000", "--max-clients", "12000"]);
    fill_room(&server);
    let mut bystanders = Bystanders::enter(&server);
    println!("{:<36}{:>9}{:>9}{:>9}{:>12}", "delay of a line, ms", "p50", "p99", "max", "p99 × idle");
    let idle = bystanders.measure(&mut server)?;
    print_row("no flood", idle, idle);
    for (number, (name, ..)) in FLOODS.iter().enumerate() {
        let mut command = Command::new(env::current_exe().map_err(|error| error.to_string())?);
        command.args(["flood", &number.to_string(), &server.http.to_string()]);
        let (mut flood, line) = Process::start(&mut command);
        if line != "connected\n" {
            return Err(format!("{name}: the flood has not connected"));
        }
        sleep(WARM_UP);
        let delays = bystanders.measure(&mut server).map_err(|error| format!("{name}: {error}"))?;
        if let Ok(Some(status)) = flood.0.try_wait() {
            return Err(format!("{name}: the flood has ended: {status}"));
        }
        print_row(name, delays, idle);
        drop(flood);
        sleep(WARM_UP);
    }
    println!("target: p99 under {TARGET_MILLIS} ms");
    Ok(())
}

fn print_row(name: &str, [p50, p99, max]: [f64; 3], idle: [f64; 3]) {
    println!("{name:<36}{p50:>9.2}{p99:>9.2}{max:>9.2}{:>12.1}", p99 / idle[1]);
}

/// Publishes the messages that the floods read.
fn fill_room(server: &Server) {
    let text = "x".repeat(MESSAGE_BYTES);
    for _ in 0..MESSAGES {
        let request = format!(
            "POST /rooms/big/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MESSAGE_BYTES}\r\n\
             Content-Type: text/plain\r\n\r\n{text}"
        );
        enter(server.http, &request, "HTTP/1.1 202 ");
    }
}

/// Two line clients; the first sends and the second receives.
struct Bystanders {
    sender: TcpStream,
    receiver: BufReader<TcpStream>,
}

impl Bystanders {
    fn enter(server: &Server) -> Bystanders {
        let receiver = server.line_client("bob");
        receiver.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let sender = server.line_client("ann");
        sender.set_nodelay(true).expect("no delay");
        sender.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Bystanders { sender, receiver: BufReader::new(receiver) }
    }

    /// Median, 99th percentile and maximum of the delays, in ms.
    fn measure(&mut self, server: &mut Server) -> Result<[f64; 3], String> {
        let mut delays = Vec::new();
        for number in 0..LINES {
            let start = Instant::now();
            self.exchange(number).map_err(|error| match server.process.0.try_wait() {
                Ok(Some(status)) => format!("the server has ended: {status}"),
                _ => format!("line {number} did not arrive within {PATIENCE:?}: {error}"),
            })?;
            delays.push(start.elapsed().as_secs_f64() * 1000.0);
            sleep(PAUSE);
        }
        delays.sort_by(f64::total_cmp);
        Ok([delays[LINES / 2], delays[LINES * 99 / 100], delays[LINES - 1]])
    }

    fn exchange(&mut self, number: usize) -> io::Result<()> {
        self.sender.write_all(format!("{number}\n").as_bytes())?;
        let expected = format!("ann: {number}\n");
        let mut line = String::new();
        // Lines of the server's own come in between.
        while line != expected {
            line.clear();
            if self.receiver.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// A connection of a flood. It writes the same bytes over and over.
struct Connection {
    stream: mio::net::TcpStream,
    /// The number of bytes written.
    written: usize,
}

/// The work of a flood's process, until it is killed.
fn flood_forever(kind: Kind, connections: usize, server: SocketAddr) -> io::Result<()> {
    let bytes = match kind {
        Kind::Requests => b"GET /rooms/big/messages HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(PIPELINED),
        // Empty pings with a mask (RFC 6455, section 5.2).
        Kind::Pings => [0x89, 0x80, 1, 2, 3, 4].repeat(200),
    };
    let mut poll = Poll::new()?;
    let mut flood = Vec::new();
    for number in 0..connections {
        let stream = match kind {
            Kind::Requests => TcpStream::connect(server)?,
            Kind::Pings => enter(server, &upgrade("/raw/big"), "\r\n\r\n"),
        };
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(number), both)?;
        flood.push(Connection { stream, written: 0 });
    }
    println!("connected");
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; TURN_BYTES];
    let mut runnable = vec![true; connections];
    loop {
        let timeout = runnable.contains(&true).then_some(Duration::ZERO);
        poll.poll(&mut events, timeout)?;
        for event in &events {
            runnable[event.token().0] = true;
        }
        for (connection, runnable) in flood.iter_mut().zip(&mut runnable).filter(|(_, runnable)| **runnable) {
            let has_read = connection.read(&mut buffer)?;
            *runnable = connection.write(&bytes)? || has_read;
        }
    }
}

impl Connection {
    /// Reads once; returns whether there was something.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match self.stream.read(buffer) {
            Ok(0) => Err(io::Error::other("the server closed a connection of the flood")),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes once; returns whether the kernel took something.
    fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        match self.stream.write(&bytes[self.written..]) {
            Ok(count) => {
                self.written = (self.written + count) % bytes.len();
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
