//! The page's environment: the [`Server`], a client at its line listener, a [`Proxy`] that can break the connection,
//! and a [`Redis`] for several servers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait of any test; a page that was cut off waits a while before it reconnects.
pub const PATIENCE: Duration = Duration::from_secs(30);

const DOORS: &str = "--line 127.0.0.1:0 --http 127.0.0.1:0 --print-addresses";

/// Polls until there is a result.
#[track_caller]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A server process, killed on drop.
pub struct Server {
    child: Child,
    line: SocketAddr,
    http: SocketAddr,
}

impl Server {
    /// Starts a server with these flags, and a line and an HTTP listener on free ports.
    pub fn start(flags: &str) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chinwag"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(DOORS.split_whitespace()).args(flags.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line of text");
        let addresses: Value = serde_json::from_str(&line).expect("the addresses as JSON");
        let first = |door: &str| addresses[door][0].as_str().and_then(|text| text.parse().ok());
        let (line, http) =
            (first("line").expect("a line listener"), first("http").expect("an HTTP listener"));
        Server { child, line, http }
    }

    /// Returns the address of the page.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Returns the address of the line listener.
    pub fn line(&self) -> SocketAddr {
        self.line
    }

    /// Joins a line client that has read its greeting.
    pub fn join(&self, name: &str) -> Person {
        let socket = TcpStream::connect_timeout(&self.line, PATIENCE).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut person = Person { socket: BufReader::new(socket), lines: Vec::new() };
        person.say(name);
        person.expect(&format!("-- hello {name}. you are"));
        person
    }

    /// Publishes a text in the lobby under that name.
    pub fn publish(&self, from: &str, text: &str) {
        let length = text.len();
        let answer = self.ask(&format!(
            "POST /rooms/lobby/messages?from={from} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{text}"
        ));
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    }

    fn ask(&self, request: &str) -> String {
        let mut socket = TcpStream::connect_timeout(&self.http, PATIENCE).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(request.as_bytes()).expect("the server takes it");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Returns how often its link to Redis has come up.
    fn sessions(&self) -> u64 {
        let page = self.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let count = page.lines().find_map(|line| line.strip_prefix("chinwag_redis_sessions_total "));
        count.and_then(|count| count.parse().ok()).expect("a count")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `redis-server` with a Unix socket in a folder of its own, killed on drop.
pub struct Redis {
    folder: TempDir,
    child: Child,
}

impl Redis {
    pub fn start() -> Redis {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket", "socket", "--save", "", "--appendonly", "no"]);
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server is installed (tests/run does that)");
        Redis { folder, child }
    }

    /// Returns the flag for a server of this chat.
    pub fn flag(&self) -> String {
        format!("--redis unix://{}", self.socket().display())
    }

    /// Returns the flag for a server that logs in as that user, which identifies its connections.
    pub fn flag_as(&self, user: &str) -> String {
        assert_eq!(self.command(&format!("ACL SETUSER {user} on nopass ~* &* +@all")), "+OK");
        format!("{}?user={user}&pass=any", self.flag())
    }

    /// Closes both connections of the server that logs in as that user, and waits until it has new ones.
    pub fn interrupt(&self, user: &str, server: &Server) {
        let before = server.sessions();
        assert_eq!(self.command(&format!("CLIENT KILL USER {user}")), ":2");
        eventually("another session", || (server.sessions() > before).then_some(()));
    }

    /// Returns the answer to a command, which is a line.
    pub fn command(&self, command: &str) -> String {
        // Redis may still be starting.
        let mut socket = eventually("Redis", || UnixStream::connect(self.socket()).ok());
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(format!("{command}\r\n").as_bytes()).expect("Redis takes it");
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).expect("an answer");
        answer.trim_end().into()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Redis may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line client by `nc`.
pub struct Person {
    socket: BufReader<TcpStream>,
    lines: Vec<String>,
}

impl Person {
    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        self.socket.get_mut().write_all(format!("{line}\n").as_bytes()).expect("the server takes it");
    }

    /// Reads up to a line that begins with this.
    pub fn expect(&mut self, beginning: &str) {
        loop {
            let mut line = String::new();
            let read = self.socket.read_line(&mut line);
            assert!(read.is_ok_and(|bytes| bytes > 0), "no {beginning:?} in {:#?}", self.lines);
            self.lines.push(line.trim_end().to_string());
            if line.starts_with(beginning) {
                return;
            }
        }
    }

    /// Returns how often it has read exactly this line so far.
    pub fn count(&self, line: &str) -> usize {
        self.lines.iter().filter(|read| *read == line).count()
    }
}

/// A proxy in front of a server, which can be cut and mended under one address.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<Way>>,
}

#[derive(Default)]
struct Way {
    /// The server's address; `None` while the proxy is cut.
    target: Option<SocketAddr>,
    /// Both ends of all connections through it.
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Starts a proxy to that address. Its thread ends with the test.
    pub fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let proxy = Proxy { address, state: Arc::default() };
        proxy.mend(target);
        let state = Arc::clone(&proxy.state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A failed connection is closed again, as behind a broken network.
                let _ = state.lock().expect("nobody panics with it").carry(client);
            }
        });
        proxy
    }

    /// Returns the address that the browser opens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and refuses new ones.
    pub fn cut(&self) {
        let mut way = self.state.lock().expect("nobody panics with it");
        way.target = None;
        for socket in way.open.drain(..) {
            // The connection may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Accepts connections again.
    pub fn mend(&self, target: SocketAddr) {
        self.state.lock().expect("nobody panics with it").target = Some(target);
    }
}

impl Way {
    fn carry(&mut self, client: TcpStream) -> io::Result<()> {
        let Some(target) = self.target else { return Ok(()) };
        let server = TcpStream::connect_timeout(&target, PATIENCE)?;
        for (mut from, mut to) in
            [(client.try_clone()?, server.try_clone()?), (server.try_clone()?, client.try_clone()?)]
        {
            thread::spawn(move || {
                // The end of either side is passed on.
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        self.open.extend([client, server]);
        Ok(())
    }
}
