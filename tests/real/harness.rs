//! The test harness: [`Launch`] starts a [`Server`] process, [`Client`] talks to it, and every wait is bounded.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, SockAddr, Socket, Type};

/// Longest wait of a test.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Ports for listeners that must be bound by number. By default the kernel gives none of these to other sockets, so they
/// stay free while nothing listens there.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Returns a port of these that nobody listens on. No other test of this process gets it.
pub fn free_port() -> u16 {
    static FIRST: LazyLock<u16> = LazyLock::new(|| fastrand::u16(PORTS));
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let next = || {
        let index = u32::from(*FIRST - PORTS.start) + u32::from(COUNT.fetch_add(1, Ordering::Relaxed));
        PORTS.start + (index % PORTS.len() as u32) as u16
    };
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    eventually("a free port", || Some(next()).filter(is_free))
}

/// A line and an HTTP listener on free ports of the loopback address, with their addresses on standard output.
const LISTENERS: &str = "--line 127.0.0.1:0 --http 127.0.0.1:0 --print-addresses";

/// Number of lines shown when a test fails.
const SHOWN_LINES: usize = 20;

/// Polls until a condition is met.
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    look_until(PATIENCE, Duration::from_millis(5), what, condition)
}

/// Polls for a condition that takes its time by design.
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

/// The command that starts the binary.
pub struct Launch(Command);

impl Launch {
    /// Creates a launch with these flags, separated by spaces, and an empty environment.
    pub fn new(flags: &str) -> Launch {
        Launch::command(Command::new(env!("CARGO_BIN_EXE_chinwag")), flags)
    }

    /// Creates one by a shell script that runs the binary as `"$0" "$@"`, best with `exec`, so that signals reach it.
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

    /// Adds flags, separated by spaces.
    pub fn args(mut self, flags: &str) -> Launch {
        self.0.args(flags.split_whitespace());
        self
    }

    /// Adds an argument, which may contain spaces.
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Launch {
        self.0.arg(arg);
        self
    }

    /// Adds listeners that the test can find.
    pub fn with_listeners(mut self) -> Launch {
        self.0.args(LISTENERS.split_whitespace());
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

    /// Runs the binary where it must exit by itself at once.
    pub fn run(mut self) -> Output {
        Running::start(&mut self.0).output()
    }
}

/// A server process, killed on drop. After a failure its log is printed.
pub struct Server {
    child: Child,
    pub log: Log,
    /// The line of JSON that it has printed.
    pub addresses: String,
}

impl Server {
    /// Starts a server with these flags, and listeners on free ports.
    pub fn start(flags: &str) -> Server {
        Launch::new(flags).with_listeners().start()
    }

    /// Returns the address of its first line listener.
    pub fn address(&self) -> SocketAddr {
        let address = self.addresses.strip_prefix(r#"{"line":[""#).and_then(|rest| rest.split('"').next());
        address.expect("a TCP listener").parse().expect("an address")
    }

    /// Returns the port of that listener as an argument for programs.
    pub fn port(&self) -> String {
        self.address().port().to_string()
    }

    /// Returns the address of its first HTTP listener.
    pub fn http_address(&self) -> SocketAddr {
        let address = self.addresses.split(r#""http":[""#).nth(1).and_then(|rest| rest.split('"').next());
        address.expect("an HTTP listener").parse().expect("an address")
    }

    /// Connects a client that has read nothing yet.
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Joins a client that has read its greeting.
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

    /// Waits until it ends.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the server's end", || self.child.try_wait().expect("our own child"))
    }

    /// Sends SIGTERM, and returns the whole log.
    pub fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        assert_eq!(self.wait().code(), Some(0));
        self.log.whole()
    }

    /// Returns its open descriptors.
    pub fn descriptors(&self) -> Vec<u64> {
        let folder = format!("/proc/{}/fd", self.pid());
        let entries = std::fs::read_dir(folder).expect("the server is there");
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log.text());
        }
    }
}

/// A child process, killed on drop.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Running {
        Running(command.spawn().expect("the program starts"))
    }

    /// Returns its output once it has ended by itself. It must not print more than a pipe holds.
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

/// Output of a process, read in the background so that the process never blocks.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Logged>, Condvar)>);

#[derive(Default)]
struct Logged {
    text: String,
    ended: bool,
}

impl Log {
    /// Reads in the background up to the end.
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

    /// Waits until `look` returns a result, as long as the output goes on.
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

    /// Waits for a line that contains `part`, and returns the first.
    #[track_caller]
    pub fn wait_for(&self, part: &str) -> String {
        self.wait(&format!("{part:?}"), |logged| {
            // Lines are recorded whole, so each has its end.
            logged.text.lines().find(|line| line.contains(part)).map(String::from)
        })
    }

    /// Waits until so many lines contain `part`.
    #[track_caller]
    pub fn wait_for_count(&self, part: &str, count: usize) {
        self.wait(&format!("{part:?}, {count} times"), |logged| {
            (logged.text.lines().filter(|line| line.contains(part)).count() >= count).then_some(())
        });
    }

    /// Returns the output so far.
    pub fn text(&self) -> String {
        self.0.0.lock().expect("nobody panics with it").text.clone()
    }

    /// Waits for the end, and returns all output.
    pub fn whole(&self) -> String {
        self.wait("the log's end", |logged| logged.ended.then(|| logged.text.clone()))
    }
}

/// A client: a socket of the test, or the standard input and output of a program.
pub struct Client {
    socket: BufReader<Socket>,
    /// The last lines, printed when a test fails.
    last_lines: VecDeque<String>,
    /// The program in between, if there is one, killed on drop.
    _program: Option<Running>,
}

impl Client {
    /// Connects to a TCP listener.
    pub fn connect(address: SocketAddr) -> Client {
        Client::over(Client::unconnected(), &address.into())
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(path: &Path) -> Client {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        Client::over(socket, &SockAddr::unix(path).expect("a path"))
    }

    /// Creates a TCP socket for options to be set.
    pub fn unconnected() -> Socket {
        raise_descriptor_limit();
        Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")
    }

    /// Connects a socket.
    pub fn over(socket: Socket, address: &SockAddr) -> Client {
        socket.connect_timeout(address, PATIENCE).expect("the server accepts");
        Client::on(socket, None)
    }

    /// Runs a program, which must be installed, and talks to its standard input and output.
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
        Client { socket: BufReader::new(socket), last_lines: VecDeque::new(), _program: program }
    }

    /// Sends a name, and reads up to the greeting.
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

    /// Closes the sending side, and keeps reading.
    pub fn end_input(&mut self) {
        self.socket.get_ref().shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.socket.get_ref().set_linger(Some(Duration::ZERO)).expect("a socket option");
    }

    /// Returns the same connection, for a thread that only writes.
    pub fn writer(&self) -> Socket {
        self.socket.get_ref().try_clone().expect("a descriptor")
    }

    /// Reads the next line; `None` at the end. A partial line and a reset are errors.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.socket.read_line(&mut line);
        if let Err(error) = read {
            panic!("{error} behind {:#?} and {line:?}", self.last_lines);
        }
        if line.is_empty() {
            return None;
        }
        let line = line.strip_suffix('\n').unwrap_or_else(|| panic!("half a line: {line:?}")).to_string();
        self.last_lines.truncate(SHOWN_LINES);
        self.last_lines.push_front(line.clone());
        Some(line)
    }

    /// Reads so many bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// Checks the next line.
    #[track_caller]
    pub fn expect(&mut self, expected: &str) {
        assert_eq!(self.line().as_deref(), Some(expected), "latest first: {:#?}", self.last_lines);
    }

    /// Reads up to a line that begins with `start`, and returns it.
    #[track_caller]
    pub fn skip_to(&mut self, start: &str) -> String {
        loop {
            match self.line() {
                Some(line) if line.starts_with(start) => return line,
                Some(_) => {}
                None => panic!("the end instead of {start:?}; latest first: {:#?}", self.last_lines),
            }
        }
    }

    /// Checks that nothing is left, and that the connection was closed without a reset.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.line(), None, "latest first: {:#?}", self.last_lines);
    }
}

/// Fails if a program is not installed, since a test that needs it has not passed.
#[track_caller]
pub fn require(program: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(installed, "{program} is not installed; tests/run installs what the tests need");
}

/// Raises the limit on open files. Several tests run at once with hundreds of sockets each, and the usual limit of
/// 1,024 is too low.
fn raise_descriptor_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rlimit::increase_nofile_limit(8 * 1024)));
}
