//! What the page talks to: the [`Server`], somebody at its line door, and a [`Proxy`] that can break the way there; and
//! a [`Redis`] for servers that are one chat.

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

/// The longest that anything is waited for: a page that was cut off takes its time before it tries again.
pub const PATIENCE: Duration = Duration::from_secs(30);

const DOORS: &str = "--line 127.0.0.1:0 --http 127.0.0.1:0 --print-addresses";

/// Waits until there is something.
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

/// A server process. It is killed with the value.
pub struct Server {
    child: Child,
    line: SocketAddr,
    http: SocketAddr,
}

impl Server {
    /// A server with these flags, and a line and an HTTP door on free ports.
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
        let (line, http) = (first("line").expect("a line door"), first("http").expect("an HTTP door"));
        Server { child, line, http }
    }

    /// Where its page is.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where its lines are.
    pub fn line(&self) -> SocketAddr {
        self.line
    }

    /// Somebody at the line door, who is in the lobby and has read that.
    pub fn join(&self, name: &str) -> Person {
        let socket = TcpStream::connect_timeout(&self.line, PATIENCE).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut person = Person { socket: BufReader::new(socket), heard: Vec::new() };
        person.say(name);
        person.hear(&format!("-- hello {name}. you are"));
        person
    }

    /// A program publishes that in the lobby, under that name.
    pub fn publish(&self, from: &str, text: &str) {
        let length = text.len();
        let answer = self.ask(&format!(
            "POST /rooms/lobby/messages?from={from} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{text}"
        ));
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    }

    /// Waits until its link to Redis is up.
    pub fn wait_for_link(&self) {
        let ready = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        eventually("the link to Redis", || self.ask(ready).starts_with("HTTP/1.1 200 ").then_some(()));
    }

    /// Waits until so many are in the lobby.
    pub fn wait_for_members(&self, count: usize) {
        let rooms = "GET /rooms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let expected = format!(r#"{{"room":"lobby","count":{count}}}"#);
        eventually("members", || self.ask(rooms).contains(&expected).then_some(()));
    }

    fn ask(&self, request: &str) -> String {
        let mut socket = TcpStream::connect_timeout(&self.http, PATIENCE).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(request.as_bytes()).expect("the server takes it");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// How often its link to Redis has come up.
    fn sessions(&self) -> u64 {
        let page = self.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let count = page.lines().find_map(|line| line.strip_prefix("chinwag_redis_sessions_total "));
        count.and_then(|count| count.parse().ok()).expect("a count")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `redis-server` with a Unix socket, in a folder of its own. It is killed with the value.
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

    /// The flag for a server that is to be in the chat.
    pub fn flag(&self) -> String {
        format!("--redis unix://{}", self.socket().display())
    }

    /// The same, for a server that is to be told from others: it logs in as that user.
    pub fn flag_as(&self, user: &str) -> String {
        assert_eq!(self.command(&format!("ACL SETUSER {user} on nopass ~* &* +@all")), "+OK");
        format!("{}?user={user}&pass=any", self.flag())
    }

    /// Ends both connections of the server that logs in as that user, and waits until it has others.
    pub fn interrupt(&self, user: &str, server: &Server) {
        let before = server.sessions();
        assert_eq!(self.command(&format!("CLIENT KILL USER {user}")), ":2");
        eventually("another session", || (server.sessions() > before).then_some(()));
    }

    /// Somebody who is subscribed to that channel for as long as the value lives.
    pub fn subscribe(&self, channel: &str) -> UnixStream {
        let mut socket = eventually("Redis", || UnixStream::connect(self.socket()).ok());
        socket.write_all(format!("SUBSCRIBE {channel}\r\n").as_bytes()).expect("Redis takes it");
        // The answer begins when it is so.
        socket.read_exact(&mut [0]).expect("an answer");
        socket
    }

    /// Its answer to a command, which is a line.
    pub fn command(&self, command: &str) -> String {
        // It may just have been started.
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
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody with `nc`.
pub struct Person {
    socket: BufReader<TcpStream>,
    heard: Vec<String>,
}

impl Person {
    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        self.socket.get_mut().write_all(format!("{line}\n").as_bytes()).expect("the server takes it");
    }

    /// Reads up to a line that begins like this.
    pub fn hear(&mut self, beginning: &str) {
        loop {
            let mut line = String::new();
            let read = self.socket.read_line(&mut line);
            assert!(read.is_ok_and(|bytes| bytes > 0), "no {beginning:?} in {:#?}", self.heard);
            self.heard.push(line.trim_end().to_string());
            if line.starts_with(beginning) {
                return;
            }
        }
    }

    /// How often it has read just this line so far.
    pub fn count(&self, line: &str) -> usize {
        self.heard.iter().filter(|heard| *heard == line).count()
    }
}

/// A way to a server that can be broken off and mended, under one address.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<Way>>,
}

#[derive(Default)]
struct Way {
    /// Where it leads; `None` while it is broken.
    target: Option<SocketAddr>,
    /// Both ends of what goes through it.
    open: Vec<TcpStream>,
}

impl Proxy {
    /// A way to that address. Its thread ends with the test.
    pub fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let proxy = Proxy { address, state: Arc::default() };
        proxy.mend(target);
        let state = Arc::clone(&proxy.state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A connection that does not come about is closed again, which is what a broken way looks like.
                let _ = state.lock().expect("nobody panics with it").carry(client);
            }
        });
        proxy
    }

    /// What the browser is told to open.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks off all that goes through it, and lets nothing through any more.
    pub fn cut(&self) {
        let mut way = self.state.lock().expect("nobody panics with it");
        way.target = None;
        for socket in way.open.drain(..) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
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
                // However one side ends, the other is told.
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        self.open.extend([client, server]);
        Ok(())
    }
}
