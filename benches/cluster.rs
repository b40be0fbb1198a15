//! The costs of several processes that are one chat by Redis.
//!
//! `cargo bench --bench cluster` starts release builds and a `redis-server`, and prints one line a figure, with its
//! target. Redis runs on the first core, the rest on the second. Crowds of clients are processes of their own, since one
//! process may not open enough files. Nothing is judged, but a message that is lost or repeated ends the bench.

#[allow(dead_code, reason = "shared with fanout")]
mod machine;
#[allow(dead_code, reason = "shared with footprint")]
mod process;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use std::{array, env};

use machine::{Cores, LOAD, SERVER, processor_time, resident_bytes};
use process::{Process, Server, enter};
use tempfile::TempDir;

/// Clients of each process in the figures with many.
const CROWD: usize = 17_500;
const ROOMS: usize = 10_000;
/// Receivers, messages, and messages in flight of the comparison of processor time.
const RECEIVERS: usize = 1_000;
const DELIVERED: usize = 1_000;
const IN_FLIGHT: usize = 1;
/// Messages that each process sends in the figure of throughput, and the most of them in flight.
const SENT: usize = 60_000;
const WINDOW: usize = 500;
/// Messages that the clients of a killed process miss.
const MISSED: usize = 20;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    match args[..] {
        ["crowd", address, name, count, rooms] => {
            be_crowd(address.parse().unwrap(), name, count.parse().unwrap(), rooms.parse().unwrap());
        }
        ["storm", old, new, name, count] => {
            be_storm(old.parse().unwrap(), new.parse().unwrap(), name, count.parse().unwrap());
        }
        _ => measure(&args),
    }
}

fn measure(only: &[&str]) {
    let cores = Cores::of_this_process();
    cores.run_on(LOAD);
    for name in ["latency", "processor", "throughput", "rooms", "memory", "storm"] {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        match name {
            "latency" => print_latency(cores),
            "processor" => print_processor_time(cores),
            "throughput" => print_throughput(cores),
            "rooms" => print_room_bytes(cores),
            "memory" => print_memory(cores),
            _ => print_storm(cores),
        }
    }
}

/// A `redis-server` with a Unix socket only, so that no port can be taken. It is killed when dropped.
struct Redis {
    _process: Process,
    folder: TempDir,
}

impl Redis {
    fn start(cores: Cores) -> Redis {
        let folder = tempfile::tempdir().expect("a folder");
        let flags = "--port 0 --save --appendonly no --unixsocket redis.sock --dir .";
        let mut words: Vec<&str> = flags.split(' ').collect();
        words.insert(3, "");
        let mut command = Command::new("redis-server");
        command.args(words).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        cores.run_on(SERVER);
        let child = command.spawn();
        cores.run_on(LOAD);
        let redis = Redis { _process: Process(child.expect("redis-server is installed")), folder };
        wait_until("Redis", || UnixStream::connect(redis.folder.path().join("redis.sock")).is_ok());
        redis
    }

    fn servers<const COUNT: usize>(&self, flags: &[&str]) -> [Server; COUNT] {
        let url = format!("unix://{}/redis.sock", self.folder.path().display());
        let servers = array::from_fn(|_| Server::start(&[&["--redis", &url], flags].concat()));
        for server in &servers {
            wait_until("the link", || metric(server, "redis_up") == 1);
        }
        servers
    }
}

const FAST: [&str; 8] =
    ["--rate", "off", "--history", "1000", "--max-rooms", "20000", "--max-clients", "19000"];

fn print_latency(cores: Cores) {
    let alone = Server::start(&FAST);
    let without = percentile_99(&alone);
    drop(alone);
    let redis = Redis::start(cores);
    let [server] = redis.servers(&FAST);
    let with = percentile_99(&server);
    println!("latency, p99        {with:>10.3} ms      (alone: {without:.3}; target: at most 1 more)");
}

/// The delay of a line between two clients, while another pair sends 10,000 lines a second in another room.
fn percentile_99(server: &Server) -> f64 {
    let is_over = AtomicBool::new(false);
    let (mut talker, receiver) = (join(server.line, "cy", "other"), join(server.line, "dora", "other"));
    scope(|scope| {
        scope.spawn(|| io::copy(&mut &receiver, &mut io::sink()));
        scope.spawn(|| {
            let line = format!("{}\n", "x".repeat(63));
            while !is_over.load(Ordering::Relaxed) {
                talker.write_all(line.repeat(4).as_bytes()).expect("a write");
                sleep(Duration::from_micros(330));
            }
        });
        let (mut ann, mut bob) = (join(server.line, "ann", "pair"), join(server.line, "bob", "pair"));
        ann.set_nodelay(true).expect("no delay");
        let mut delays: Vec<Duration> = (0..4_000)
            .map(|number| {
                let start = Instant::now();
                ann.write_all(format!("{number}\n").as_bytes()).expect("a write");
                read_until(&mut bob, &format!("ann: {number}\n"));
                let delay = start.elapsed();
                sleep(Duration::from_micros(500));
                delay
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        delays.sort();
        receiver.shutdown(Shutdown::Both).expect("an end");
        delays[delays.len() * 99 / 100].as_secs_f64() * 1000.0
    })
}

fn print_processor_time(cores: Cores) {
    let micros = |talker: &Server, receiver: &Server| {
        let mut clients: Vec<TcpStream> =
            (0..RECEIVERS).map(|number| join(receiver.line, &format!("user-{number}"), "dev")).collect();
        let mut ann = join(talker.line, "ann", "dev");
        // The summary of the joins is due ten seconds after the first.
        sleep(Duration::from_secs(11));
        clients.iter_mut().for_each(drain);
        let before = processor_time(receiver.process.0.id()).expect("/proc");
        let line = format!("{}\n", "x".repeat(63));
        for number in 0..DELIVERED + IN_FLIGHT {
            if number < DELIVERED {
                ann.write_all(line.as_bytes()).expect("a write");
            }
            if number >= IN_FLIGHT {
                let mut bytes = [0; 69];
                for client in &mut clients {
                    client.read_exact(&mut bytes).expect("a line");
                    assert!(bytes.starts_with(b"ann: x"), "{}", String::from_utf8_lossy(&bytes));
                }
            }
        }
        let used = processor_time(receiver.process.0.id()).expect("/proc") - before;
        used.as_secs_f64() * 1e6 / (DELIVERED * RECEIVERS) as f64
    };
    let flags = [&FAST[..], &["--announce-max", "0"]].concat();
    // The servers are on the core of Redis, so that their receivers do not take their time.
    cores.run_on(SERVER);
    let alone = Server::start(&flags);
    cores.run_on(LOAD);
    let local = micros(&alone, &alone);
    drop(alone);
    let redis = Redis::start(cores);
    cores.run_on(SERVER);
    let [first, second] = redis.servers(&flags);
    cores.run_on(LOAD);
    let remote = micros(&first, &second);
    println!(
        "processor time      {:>10.2} x       (a delivery: {remote:.3} µs, local {local:.3} µs; target: at most 1.1)",
        remote / local
    );
}

fn print_throughput(cores: Cores) {
    let redis = Redis::start(cores);
    let servers: [Server; 3] = redis.servers(&FAST);
    let received: [AtomicUsize; 3] = Default::default();
    let mut receiver = BufReader::new(join(servers[0].line, "receiver", "dev"));
    let (start, servers, received) = (Instant::now(), &servers, &received);
    scope(|scope| {
        for (number, server) in servers.iter().enumerate() {
            scope.spawn(move || {
                let mut talker = join(server.line, &format!("talker{number}"), "dev");
                let mut input = talker.try_clone().expect("a clone");
                scope.spawn(move || io::copy(&mut input, &mut io::sink()));
                let line = format!("{}\n", "x".repeat(63));
                for sent in 0..SENT {
                    while sent >= received[number].load(Ordering::Relaxed) + WINDOW {
                        sleep(Duration::from_micros(200));
                    }
                    talker.write_all(line.as_bytes()).expect("a write");
                }
                wait_until("all lines", || received[number].load(Ordering::Relaxed) == SENT);
                talker.shutdown(Shutdown::Both).expect("an end");
            });
        }
        let mut line = String::new();
        for _ in 0..3 * SENT {
            // The server's own lines begin otherwise.
            while !line.starts_with("talker") {
                line.clear();
                assert!(receiver.read_line(&mut line).expect("a line") > 0, "the receiver was closed");
            }
            let number = usize::from(line.as_bytes()[6] - b'0');
            received[number].fetch_add(1, Ordering::Relaxed);
            line.clear();
        }
    });
    let rate = (3 * SENT) as f64 / start.elapsed().as_secs_f64();
    println!("throughput          {rate:>10.0} lines a second into one room (target: at least 20000)");
}

fn print_room_bytes(cores: Cores) {
    let resident = |rooms: usize| {
        let redis = Redis::start(cores);
        let servers: [Server; 3] = redis.servers(&FAST);
        let crowds: Vec<Process> = ["ann", "bob", "cy"]
            .iter()
            .zip(&servers)
            .map(|(name, server)| start_crowd(server, name, (ROOMS, rooms)))
            .collect();
        // All come by the lobby, which is followed until it was empty for a while.
        for server in &servers {
            wait_until("subscriptions", || metric(server, "redis_subscriptions") == rooms);
        }
        let bytes: u64 = servers.iter().map(resident).sum();
        drop(crowds);
        bytes as f64 / 3.0
    };
    let bytes = (resident(ROOMS) - resident(1)) / ROOMS as f64;
    println!("a room              {bytes:>10.0} bytes a process (target: under 700)");
}

fn print_memory(cores: Cores) {
    let redis = Redis::start(cores);
    let servers: [Server; 5] = redis.servers(&FAST);
    let names = ["ann", "bob", "cy", "dora", "eve"];
    let first = start_crowd(&servers[0], names[0], (CROWD, 1));
    sleep(Duration::from_secs(12));
    let alone = resident(&servers[0]) as f64;
    let others: Vec<Process> = (1..5).map(|at| start_crowd(&servers[at], names[at], (CROWD, 1))).collect();
    sleep(Duration::from_secs(12));
    let together = resident(&servers[0]) as f64;
    println!(
        "memory of 5 × 17500 {:>10.3} x       (alone {:.2} MB, with the others {:.2} MB; target: at most 1.05)",
        together / alone,
        alone / 1e6,
        together / 1e6
    );
    drop((first, others));
}

fn print_storm(cores: Cores) {
    let redis = Redis::start(cores);
    let [first, second, third] = redis.servers(&FAST);
    let storm = |new: &Server, name: &str| {
        let words = ["storm", &first.http.to_string(), &new.http.to_string(), name, &(CROWD / 2).to_string()];
        let (process, line) = Process::start(Command::new(env::current_exe().unwrap()).args(words));
        assert_eq!(line, "in\n", "the clients are not in");
        process
    };
    let mut halves = [storm(&second, "ann"), storm(&third, "bob")];
    drop(first);
    let start = Instant::now();
    for number in 0..MISSED {
        let request = format!(
            "POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{number:02}"
        );
        enter(second.http, &request, "HTTP/1.1 202 ");
    }
    for half in &mut halves {
        half.0.stdin.take().expect("input").write_all(b"\n").expect("a write");
    }
    for half in &mut halves {
        assert!(half.0.wait().expect("an end").success(), "clients have missed something");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "reconnect storm     {seconds:>10.1} s       ({CROWD} clients, {MISSED} messages each; target: under 10)"
    );
}

/// Starts clients by names that begin so, spread over so many rooms, and waits until all are in.
fn start_crowd(server: &Server, name: &str, (count, rooms): (usize, usize)) -> Process {
    let words = ["crowd", &server.line.to_string(), name, &count.to_string(), &rooms.to_string()];
    let (process, line) = Process::start(Command::new(env::current_exe().unwrap()).args(words));
    assert_eq!(line, "in\n", "the clients are not in");
    process
}

/// The work of a crowd's process, until its input ends.
fn be_crowd(address: SocketAddr, name: &str, count: usize, rooms: usize) {
    let enter =
        |number: usize| join(address, &format!("{name}{number}"), &format!("room-{}", number % rooms));
    let clients: Vec<TcpStream> = (0..count).map(enter).collect();
    println!("in");
    let _ = io::stdin().read(&mut [0]);
    drop(clients);
}

/// The work of the clients of an event stream that lose their server, and come back to another one with the position that
/// they have. It ends when all have received what they missed, once.
fn be_storm(old: SocketAddr, new: SocketAddr, name: &str, count: usize) {
    let request = |position: &str| {
        format!("GET /rooms/lobby/events?name={name} HTTP/1.1\r\nHost: localhost\r\n{position}\r\n")
    };
    let clients: Vec<TcpStream> = (0..count).map(|_| enter(old, &request(""), "id: ")).collect();
    // All have the same position: nothing was said.
    let mut probe = BufReader::new(enter(old, &request(""), "\r\n\r\n"));
    let position = read_line_with(&mut probe, "id: ");
    println!("in");
    let _ = io::stdin().read(&mut [0]);
    drop(clients);
    let last = format!("Last-Event-ID: {}\r\n", position.trim_start_matches("id: ").trim());
    let connect = |_| {
        let mut client = TcpStream::connect(new).expect("connect");
        client.write_all(request(&last).as_bytes()).expect("a request");
        BufReader::with_capacity(4096, client)
    };
    let mut clients: Vec<BufReader<TcpStream>> = (0..count).map(connect).collect();
    for client in &mut clients {
        for number in 0..MISSED {
            let text = read_line_with(client, "\"text\":\"");
            assert!(text.contains(&format!("\"text\":\"{number:02}\"")), "instead of {number}: {text}");
        }
    }
}

/// Connects a line client, and reads until it is in the room.
fn join(address: SocketAddr, name: &str, room: &str) -> TcpStream {
    enter(address, &format!("{name}\n/join {room}\n"), &format!("in #{room}"))
}

/// Reads what is there.
fn drain(client: &mut TcpStream) {
    client.set_nonblocking(true).expect("a mode");
    while matches!(client.read(&mut [0; 65536]), Ok(1..)) {}
    client.set_nonblocking(false).expect("a mode");
}

/// Reads until the text ends so, and nothing behind it.
fn read_until(client: &mut TcpStream, end: &str) {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with(end) {
        client.read_exact(&mut byte).expect("a byte");
        text.push(char::from(byte[0]));
    }
}

/// Reads the next line that has this part.
fn read_line_with(client: &mut impl BufRead, part: &str) -> String {
    let mut line = String::new();
    while !line.contains(part) {
        line.clear();
        assert!(client.read_line(&mut line).expect("a line") > 0, "the server has closed a client");
    }
    line
}

fn resident(server: &Server) -> u64 {
    resident_bytes(server.process.0.id()).expect("/proc")
}

/// A gauge or counter of `/metrics`.
fn metric(server: &Server, name: &str) -> usize {
    let mut listener = TcpStream::connect(server.http).expect("connect");
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    listener.write_all(request).expect("a request");
    let mut page = String::new();
    listener.read_to_string(&mut page).expect("an answer");
    let value = page.lines().find_map(|line| line.strip_prefix(&format!("chinwag_{name} ")));
    value.expect("a metric of that name").parse().expect("a number")
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain waited for {what}");
        sleep(Duration::from_millis(20));
    }
}
