//! The server's costs when little happens: size, memory of idle clients, wake-ups, system calls a message; and, with
//! several processes, memory of rooms and of each other's clients.
//!
//! `cargo bench --bench footprint` measures a release build in a process of its own and prints one line a figure, with
//! its target. The calls are counted by `strace`, and several processes need `redis-server`; without it those lines are
//! left out. Nothing is judged.

mod process;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use process::{Process, Server, enter, upgrade};
use tempfile::TempDir;

const IDLE_CLIENTS: usize = 10_000;
const ROOM: usize = 1_000;
const MESSAGES: usize = 200;

const PROCESSES: usize = 3;
const ROOMS: usize = 1_000;
/// Of each room, on each process.
const MEMBERS: usize = 10;
/// All clients of a process, where there are several.
const CROWD: usize = ROOMS * MEMBERS;
/// The longest that something is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [crowd, address, name, rooms] = &args[..]
        && crowd == "crowd"
    {
        return be_crowd(address.parse().unwrap(), name, rooms.parse().unwrap());
    }
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    println!("binary                     {:>10.2} MB      (target: under 2)", binary_megabytes());
    match limit as usize >= IDLE_CLIENTS + 200 {
        true => {
            let line = idle_bytes(line_clients);
            println!("an idle line client        {line:>10.1} bytes   (target: at most 160)");
            let tab = idle_bytes(websocket_clients);
            println!("an idle WebSocket client   {tab:>10.1} bytes   (target: at most 256)");
        }
        false => {
            println!("an idle client             not measured: {limit} open files are too few (ulimit -n)")
        }
    }
    match (Redis::start().is_some(), limit as usize >= CROWD + 200) {
        (true, true) => {
            let (room, client) = (room_bytes(), far_client_bytes());
            println!(
                "a room of three processes  {room:>10.1} bytes   (in each of them; {MEMBERS} members there)"
            );
            println!("a client of another one    {client:>10.1} bytes");
        }
        (false, _) => println!("several processes          not measured: redis-server is not installed"),
        _ => println!("several processes          not measured: {limit} open files are too few (ulimit -n)"),
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
    // One a part of the flush, and 3. Traced, a write is dear, so parts are small and many; otherwise there are eight.
    println!("other calls a message      {others:>10.2}            (target: at most 30)");
}

/// Connects so many line clients, each with a name, and reads until all are in.
fn line_clients(server: &Server, first: usize, count: usize) -> Vec<TcpStream> {
    (first..first + count).map(|number| server.line_client(&format!("user-{number}"))).collect()
}

/// Connects so many WebSocket clients, each to the JSON listener and into the lobby, and reads until all are in.
fn websocket_clients(server: &Server, first: usize, count: usize) -> Vec<TcpStream> {
    let connect = |number| enter(server.http, &upgrade(&format!("/ws?name=user-{number}")), "\"joined\"");
    (first..first + count).map(connect).collect()
}

impl Server {
    /// A gauge or counter of `/metrics`.
    fn metric(&self, name: &str) -> usize {
        let mut listener = TcpStream::connect(self.http).expect("connect");
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        listener.write_all(request).expect("a request");
        let mut page = String::new();
        listener.read_to_string(&mut page).expect("an answer");
        let value = page.lines().find_map(|line| line.strip_prefix(&format!("chinwag_{name} ")));
        value.expect("a metric of that name").parse().expect("a number")
    }

    fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Counts the server's system calls while `work` runs: name and number.
    fn count_calls(&self, work: impl FnOnce()) -> Vec<(String, usize)> {
        let file = std::env::temp_dir().join(format!("chinwag-strace-{}", self.process.0.id()));
        let mut strace = Command::new("strace")
            .args(["-c", "-o"])
            .arg(&file)
            .args(["-p", &self.process.0.id().to_string()])
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

/// A `redis-server` with a Unix socket only, so that no port can be taken. It is killed when dropped.
struct Redis {
    _process: Process,
    folder: TempDir,
}

impl Redis {
    /// `None` if it is not installed.
    fn start() -> Option<Redis> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            "0",
            "--save",
            "",
            "--appendonly",
            "no",
            "--unixsocket",
            "redis.sock",
            "--dir",
        ]);
        command.arg(folder.path()).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let redis = Redis { _process: Process(command.spawn().ok()?), folder };
        wait_until("Redis", || UnixStream::connect(redis.socket()).is_ok());
        Some(redis)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// So many servers that are one chat by it.
    fn servers(&self, count: usize) -> Vec<Server> {
        let url = format!("unix://{}", self.socket().display());
        let servers: Vec<Server> =
            (0..count).map(|_| Server::start(&["--rate", "off", "--redis", &url])).collect();
        for server in &servers {
            wait_until("the other servers", || server.metric("redis_processes") == count - 1);
        }
        servers
    }
}

/// Connects clients by names that begin so, spreads them over so many rooms, and waits until all are in. They are in a
/// process of their own: the clients of all servers are more than the files that one process may open.
fn start_crowd(server: &Server, name: &str, rooms: usize) -> Process {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["crowd", &server.line.to_string(), name, &rooms.to_string()]);
    let (process, line) = Process::start(&mut command);
    assert_eq!(line, "in\n", "they are not in");
    process
}

/// The work of a crowd's process, until its input ends.
fn be_crowd(address: SocketAddr, name: &str, rooms: usize) {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let connect = |number: usize| {
        let words = format!("{name}-{number}\n/join room-{}\n", number % rooms);
        enter(address, &words, "in #room-")
    };
    let clients: Vec<TcpStream> = (0..CROWD).map(connect).collect();
    println!("in");
    let _ = io::stdin().read(&mut [0]);
    drop(clients);
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain waited for {what}");
        sleep(Duration::from_millis(50));
    }
}

/// A row of `strace -c`: `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn row(line: &str) -> Option<(String, usize)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, calls) = (words.last()?, words.get(3)?.parse().ok()?);
    words[0].parse::<f64>().ok()?;
    (*name != "total").then(|| (name.to_string(), calls))
}

fn binary_megabytes() -> f64 {
    fs::metadata(env!("CARGO_BIN_EXE_chinwag")).expect("the binary").len() as f64 / 1e6
}

fn idle_bytes(connect: fn(&Server, usize, usize) -> Vec<TcpStream>) -> f64 {
    // With everything as it is by default, so with an allowance for each.
    let server = Server::start(&[]);
    let first = connect(&server, 0, 1);
    let before = server.resident_bytes();
    let clients = connect(&server, 1, IDLE_CLIENTS);
    // Until all have rested from saying their names.
    sleep(Duration::from_secs(5));
    let after = server.resident_bytes();
    drop((first, clients));
    (after - before) as f64 / IDLE_CLIENTS as f64
}

/// Memory that each of several servers takes for a room, beside what it takes for the members. Medians are compared:
/// what a burst of joins leaves behind in a server differs from one to the next by as much as some hundred rooms take.
fn room_bytes() -> f64 {
    let many = (0..3).flat_map(|_| resident_bytes_with_rooms(ROOMS));
    (median(many.collect()) - median(resident_bytes_with_rooms(1))) / ROOMS as f64
}

/// Memory of several servers whose clients are spread over so many rooms.
fn resident_bytes_with_rooms(rooms: usize) -> Vec<f64> {
    let redis = Redis::start().expect("redis-server");
    let servers = redis.servers(PROCESSES);
    let names = ["ann", "bob", "cy"];
    let crowds: Vec<Process> =
        servers.iter().zip(names).map(|(server, name)| start_crowd(server, name, rooms)).collect();
    for server in &servers {
        wait_until("clients", || server.metric("clients_far") == (PROCESSES - 1) * CROWD);
        // Everybody comes by the lobby, which is subscribed to until it was empty for a while.
        wait_until("subscriptions", || server.metric("redis_subscriptions") == rooms);
        wait_until("Redis", || server.metric("redis_queue_bytes") == 0);
    }
    let resident = servers.iter().map(|server| server.resident_bytes() as f64).collect();
    drop(crowds);
    resident
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Memory that a server takes for a client of another one.
fn far_client_bytes() -> f64 {
    let redis = Redis::start().expect("redis-server");
    let servers = redis.servers(2);
    let first = line_clients(&servers[0], 0, 1);
    let before = servers[0].resident_bytes();
    let crowd = start_crowd(&servers[1], "ann", 1);
    wait_until("clients", || servers[0].metric("clients_far") == CROWD);
    sleep(Duration::from_millis(500));
    let after = servers[0].resident_bytes();
    drop((first, crowd));
    (after - before) as f64 / CROWD as f64
}

fn idle_calls() -> usize {
    let server = Server::start(&["--rate", "off"]);
    let clients = line_clients(&server, 0, 100);
    // The summary of joins in a room over fifty is due ten seconds after they began.
    sleep(Duration::from_secs(11));
    let calls = server.count_calls(|| sleep(Duration::from_secs(10)));
    drop(clients);
    calls.iter().map(|(_, count)| count).sum()
}

/// Writes and other calls of the server for each message that one of [`ROOM`] clients sends to the others.
fn calls_a_message() -> (f64, f64) {
    let server = Server::start(&["--rate", "off"]);
    let mut clients = line_clients(&server, 0, ROOM);
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
