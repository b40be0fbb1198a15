//! What the tests share: [`Launch`] starts a [`Server`] process, [`Client`] talks to it, and every wait is bounded.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, SockAddr, Socket, Type};

/// The longest that anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A TCP listener on a free port of the loopback, and its address on standard output.
const DOOR: &str = "--line 127.0.0.1:0 --http 127.0.0.1:0 --print-addresses";

/// Lines shown of what a client heard before a test failed.
const REMEMBERED_LINES: usize = 20;

/// Waits for a condition that nothing tells of.
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    look_until(PATIENCE, Duration::from_millis(5), what, condition)
}

/// The same, for what takes its time by design.
#[track_caller]
pub fn eventually_within<T>(limit: Duration, what: &str, condition: impl FnMut() -> Option<T>) -> T {
    look_until(limit, Duration::from_millis(100), what, condition)
}

#[track_caller]
fn look_until<T>(
    limit: Duration,
    pause: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(met) = condition() {
            return met;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        thread::sleep(pause);
    }
}

/// How the binary is to be started.
pub struct Launch(Command);

impl Launch {
    /// With these flags, separated by spaces, and with nothing of our own environment that could matter to it.
    pub fn new(flags: &str) -> Launch {
        Launch::command(Command::new(env!("CARGO_BIN_EXE_chinwag")), flags)
    }

    /// By a shell script that runs it as `"$0" "$@"`, best with `exec`, so that signals reach it.
    pub fn in_shell(script: &str, flags: &str) -> Launch {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_chinwag")]);
        Launch::command(shell, flags)
    }

    fn command(mut command: Command, flags: &str) -> Launch {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(flags.split_whitespace()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Launch(command)
    }

    /// With these flags too, separated by spaces.
    pub fn args(mut self, flags: &str) -> Launch {
        self.0.args(flags.split_whitespace());
        self
    }

    /// With one more argument, which may have spaces in it.
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Launch {
        self.0.arg(arg);
        self
    }

    /// With a listener that the test can find.
    pub fn with_door(mut self) -> Launch {
        self.0.args(DOOR.split_whitespace());
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Launch {
        self.0.env(name, value);
        self
    }

    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Launch {
        self.0.stdin(stdin);
        self
    }

    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Launch {
        self.0.stderr(stderr);
        self
    }

    /// Starts a server, and waits until it accepts connections.
    pub fn start(mut self) -> Server {
        let mut child = self.0.spawn().expect("the binary starts");
        let log = Log::default();
        match child.stderr.take() {
            Some(stderr) => log.follow(stderr),
            None => log.note(|logged| logged.ended = true),
        }
        let stdout = Log::default();
        stdout.follow(child.stdout.take().expect("standard output is piped"));
        let mut server = Server { child, log, addresses: String::new() };
        server.addresses = stdout.wait_for("{");
        server
    }

    /// Runs the binary where it is to end by itself, at once.
    pub fn run(mut self) -> Output {
        Running::start(&mut self.0).output()
    }
}

/// A server process. It is killed with the value; after a failure its log is shown.
pub struct Server {
    child: Child,
    pub log: Log,
    /// The line of JSON that it printed.
    pub addresses: String,
}

impl Server {
    /// A server with these flags, and a TCP listener on a free port.
    pub fn start(flags: &str) -> Server {
        Launch::new(flags).with_door().start()
    }

    /// The address of its first TCP listener.
    pub fn address(&self) -> SocketAddr {
        let address = self.addresses.strip_prefix(r#"{"line":[""#).and_then(|rest| rest.split('"').next());
        address.expect("a TCP listener").parse().expect("an address")
    }

    /// The port of that listener, as outside programs want it.
    pub fn port(&self) -> String {
        self.address().port().to_string()
    }

    /// The address of its first HTTP listener.
    pub fn http_address(&self) -> SocketAddr {
        let address = self.addresses.split(r#""http":[""#).nth(1).and_then(|rest| rest.split('"').next());
        address.expect("an HTTP listener").parse().expect("an address")
    }

    /// Somebody who has just connected, and has read nothing yet.
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Somebody who is in the lobby, and has read that.
    pub fn join(&self, name: &str) -> Client {
        let mut client = self.client();
        client.enter(name);
        client
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server is there");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the server's end", || self.child.try_wait().expect("our own child"))
    }

    /// Asks it to end, and returns all it has logged.
    pub fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        assert_eq!(self.wait().code(), Some(0));
        self.log.whole()
    }

    /// The descriptors it has open.
    pub fn descriptors(&self) -> Vec<u64> {
        let folder = format!("/proc/{}/fd", self.pid());
        let entries = std::fs::read_dir(folder).expect("the server is there");
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log.text());
        }
    }
}

/// A process of ours that is killed with the value.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Running {
        Running(command.spawn().expect("the program starts"))
    }

    /// What it has printed, once it has ended by itself. It must not print more than a pipe holds.
    pub fn output(mut self) -> Output {
        let status = eventually("the end of a process", || self.0.try_wait().expect("our own child"));
        let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
        if let Some(mut pipe) = self.0.stdout.take() {
            pipe.read_to_end(&mut output.stdout).expect("a pipe can be read");
        }
        if let Some(mut pipe) = self.0.stderr.take() {
            pipe.read_to_end(&mut output.stderr).expect("a pipe can be read");
        }
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Output of a process, read as it comes so that the process never waits for us.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Logged>, Condvar)>);

#[derive(Default)]
struct Logged {
    text: String,
    ended: bool,
}

impl Log {
    /// Reads on in the background, to the end.
    pub fn follow(&self, output: impl Read + Send + 'static) {
        let log = self.clone();
        log.note(|logged| logged.ended = false);
        thread::spawn(move || {
            let mut lines = BufReader::new(output);
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
                log.note(|logged| logged.text.push_str(&line));
                line.clear();
            }
            log.note(|logged| logged.ended = true);
        });
    }

    fn note(&self, change: impl FnOnce(&mut Logged)) {
        change(&mut self.0.0.lock().expect("nobody panics with it"));
        self.0.1.notify_all();
    }

    /// Waits until `look` finds what it looks for, as long as there may be more to come.
    #[track_caller]
    fn wait<T>(&self, what: &str, look: impl Fn(&Logged) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut logged = self.0.0.lock().expect("nobody panics with it");
        loop {
            if let Some(found) = look(&logged) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || logged.ended {
                drop(logged);
                panic!("waited for {what} in:\n{}", self.text());
            }
            (logged, _) = self.0.1.wait_timeout(logged, left).expect("nobody panics with it");
        }
    }

    /// The first line with `part` in it, once there is one.
    #[track_caller]
    pub fn wait_for(&self, part: &str) -> String {
        self.wait(&format!("{part:?}"), |logged| {
            // A line is noted whole, so whatever is there has its end.
            logged.text.lines().find(|line| line.contains(part)).map(String::from)
        })
    }

    /// What there is so far.
    pub fn text(&self) -> String {
        self.0.0.lock().expect("nobody panics with it").text.clone()
    }

    /// All there is, once it has ended.
    pub fn whole(&self) -> String {
        self.wait("the log's end", |logged| logged.ended.then(|| logged.text.clone()))
    }
}

/// Somebody with a line to the server: a socket of our own, or the standard input and output of a program.
pub struct Client {
    socket: BufReader<Socket>,
    /// The last lines, for who has to find out why a test failed.
    heard: VecDeque<String>,
    /// The program between us and the server, if there is one. Held to be killed.
    _program: Option<Running>,
}

impl Client {
    /// A connection to a TCP listener.
    pub fn connect(address: SocketAddr) -> Client {
        Client::over(Client::unconnected(), &address.into())
    }

    /// A connection to a Unix socket.
    pub fn connect_unix(path: &Path) -> Client {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        Client::over(socket, &SockAddr::unix(path).expect("a path"))
    }

    /// A TCP socket that may still be told how to behave.
    pub fn unconnected() -> Socket {
        raise_descriptor_limit();
        Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")
    }

    /// A connection over a socket that is not connected yet.
    pub fn over(socket: Socket, address: &SockAddr) -> Client {
        socket.connect_timeout(address, PATIENCE).expect("the server accepts");
        Client::on(socket, None)
    }

    /// Whoever is behind the standard input and output of a program, which must be installed.
    pub fn through(program: &str, args: &[&str]) -> Client {
        require(program);
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut command = Command::new(program);
        command.args(args).stderr(Stdio::null());
        command.stdin(OwnedFd::from(theirs.try_clone().expect("a descriptor"))).stdout(OwnedFd::from(theirs));
        Client::on(OwnedFd::from(ours).into(), Some(Running::start(&mut command)))
    }

    fn on(socket: Socket, program: Option<Running>) -> Client {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Client { socket: BufReader::new(socket), heard: VecDeque::new(), _program: program }
    }

    /// Gives a name, and reads up to the answer that it is in the lobby.
    pub fn enter(&mut self, name: &str) {
        self.say(name);
        self.skip_to(&format!("-- hello {name}. you are"));
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).expect("the server takes it");
    }

    /// Says that nothing more is sent, and goes on reading.
    pub fn end_input(&mut self) {
        self.socket.get_ref().shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// Breaks the connection off: the server gets a reset, not an end.
    pub fn reset(self) {
        self.socket.get_ref().set_linger(Some(Duration::ZERO)).expect("a socket option");
    }

    /// The same connection, for a thread that only writes.
    pub fn writer(&self) -> Socket {
        self.socket.get_ref().try_clone().expect("a descriptor")
    }

    /// The next line; `None` at the end. Never half a line, never a reset.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.socket.read_line(&mut line);
        if let Err(error) = read {
            panic!("{error} behind {:#?} and {line:?}", self.heard);
        }
        if line.is_empty() {
            return None;
        }
        let line = line.strip_suffix('\n').unwrap_or_else(|| panic!("half a line: {line:?}")).to_string();
        self.heard.truncate(REMEMBERED_LINES);
        self.heard.push_front(line.clone());
        Some(line)
    }

    /// The next bytes, whatever they are.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// The next line is this one.
    #[track_caller]
    pub fn expect(&mut self, expected: &str) {
        assert_eq!(self.line().as_deref(), Some(expected), "latest first: {:#?}", self.heard);
    }

    /// Reads on to the line that begins so.
    #[track_caller]
    pub fn skip_to(&mut self, start: &str) -> String {
        loop {
            match self.line() {
                Some(line) if line.starts_with(start) => return line,
                Some(_) => {}
                None => panic!("the end instead of {start:?}; latest first: {:#?}", self.heard),
            }
        }
    }

    /// There is nothing more, and the connection was closed in order.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.line(), None, "latest first: {:#?}", self.heard);
    }
}

/// Fails where a program is not installed: a test that needs it has not passed.
#[track_caller]
pub fn require(program: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(installed, "{program} is not installed; tests/run installs what the tests need");
}

/// Several tests run at once and each may have hundreds of sockets; 1,024 in all, the usual limit, may be too few.
fn raise_descriptor_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rlimit::increase_nofile_limit(8 * 1024)));
}
