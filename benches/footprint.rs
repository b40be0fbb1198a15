//! The server's costs when little happens: size, memory of idle clients, wake-ups, system calls a message.
//!
//! `cargo bench --bench footprint` measures a release build in a process of its own and prints one line a figure, with
//! its target. The calls are counted by `strace`; without it those lines are left out. Nothing is judged.

#[allow(dead_code, reason = "shared with fanout")]
mod machine;
mod process;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use machine::resident_bytes;
use process::{Server, enter, upgrade};

const IDLE_CLIENTS: usize = 10_000;
const ROOM: usize = 1_000;
const MESSAGES: usize = 200;

fn main() {
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
    let has_strace =
        Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !has_strace {
        println!("system calls               not measured: strace is not installed");
        return;
    }
    println!("calls in 10 s of idleness  {:>10}            (target: 0; 100 clients)", idle_calls());
    let (writes, others) = calls_a_message();
    println!("writes a message           {writes:>10.2}            (target: {}, one a receiver)", ROOM - 1);
    // One for each part of the flush, and 3. A traced write is slow, so parts are small and many; otherwise there are eight.
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
    let server = Server::start(&["--max-clients", "12000"]);
    let first = connect(&server, 0, 1);
    let before = resident_bytes(server.process.0.id()).expect("/proc");
    let clients = connect(&server, 1, IDLE_CLIENTS);
    // Until the rate allowance of each is full again, after its name.
    sleep(Duration::from_secs(5));
    let after = resident_bytes(server.process.0.id()).expect("/proc");
    drop((first, clients));
    (after - before) as f64 / IDLE_CLIENTS as f64
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
