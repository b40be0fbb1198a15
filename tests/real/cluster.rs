//! The set-up of tests with Redis: [`Redis`], a real one for each test, and [`Cluster`], processes that are one chat.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{Client, Launch, Running, Server, eventually, free_port, require};

/// A `redis-server` in a folder of its own, killed on drop.
pub struct Redis {
    folder: TempDir,
    /// Its TCP port; 0 if it only has a Unix socket.
    port: u16,
    options: Vec<String>,
    /// The password for `redis-cli`.
    password: Option<String>,
    child: Child,
}

impl Redis {
    /// Starts one with a Unix socket only, which needs no free port.
    pub fn start() -> Redis {
        Redis::with("")
    }

    /// Starts one with these options.
    pub fn with(options: &str) -> Redis {
        Redis::try_start(0, options).expect("redis-server starts")
    }

    /// Starts one with a TCP port, too.
    pub fn with_port(options: &str) -> Redis {
        eventually("a free port", || Redis::try_start(free_port(), options))
    }

    /// Returns `None` if the port is taken.
    fn try_start(port: u16, options: &str) -> Option<Redis> {
        require("redis-server");
        require("redis-cli");
        let folder = tempfile::tempdir().expect("a folder");
        let options: Vec<String> = options.split_whitespace().map(String::from).collect();
        let child = spawn(folder.path(), port, &options)?;
        Some(Redis { folder, port, options, password: None, child })
    }

    /// Returns its address in the form of `--redis`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Returns the host and port of its TCP listener.
    pub fn place(&self) -> String {
        assert_ne!(self.port, 0, "it has no port");
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the folder with its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        socket_in(self.folder.path())
    }

    /// Returns the output of `redis-cli` with those arguments.
    pub fn cli(&self, args: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.socket()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.password.iter().map(|password| ("REDISCLI_AUTH", password)));
        let output = Running::start(&mut command).output();
        assert!(output.status.success(), "redis-cli {args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().into()
    }

    /// Requires a password from now on.
    pub fn require_password(&mut self, password: &str) {
        assert_eq!(self.cli(&["CONFIG", "SET", "requirepass", password]), "OK");
        self.password = Some(password.into());
    }

    /// Returns how many connections are subscribed to each of these channels.
    pub fn subscribers_of(&self, channels: &[String]) -> Vec<usize> {
        let words: Vec<&str> =
            ["PUBSUB", "NUMSUB"].into_iter().chain(channels.iter().map(String::as_str)).collect();
        let counted = self.cli(&words);
        counted.lines().skip(1).step_by(2).map(|count| count.parse().expect("a count")).collect()
    }

    /// Returns the calls of each command, sorted by name.
    pub fn commands(&self) -> Vec<(String, usize)> {
        let stats = self.cli(&["INFO", "commandstats"]);
        let command = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_string(), rest.split(',').next()?.parse().ok()?))
        };
        let mut commands: Vec<_> = stats.lines().filter_map(command).collect();
        commands.sort();
        commands
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("Redis is there");
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }

    /// Starts it again at the same addresses.
    pub fn restart(&mut self) {
        let again = || spawn(self.folder.path(), self.port, &self.options);
        self.child = eventually("Redis in its place again", again);
    }

    /// Returns all keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.cli(&["KEYS", "*"]).lines().map(String::from).collect();
        keys.sort();
        keys
    }

    /// Returns the numbers of the processes in its chat.
    pub fn processes(&self) -> Vec<String> {
        self.cli(&["SMEMBERS", "chinwag:@processes"]).lines().map(String::from).collect()
    }

    /// Starts a process of its chat, which may not be linked yet.
    pub fn launch(&self, flags: &str) -> Server {
        // Tests may send any number of lines at once.
        Launch::new("--rate off").args(flags).env("CHINWAG_REDIS", self.url()).with_listeners().start()
    }

    /// Starts a process of its chat, and waits for the link.
    pub fn linked(&self, flags: &str) -> Server {
        let server = self.launch(flags);
        server.log.wait_for("redis up");
        server
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Redis may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

/// Starts Redis, and waits until it accepts connections; `None` if it exits because its port is taken.
fn spawn(folder: &Path, port: u16, options: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", &port.to_string()]);
    command.arg("--dir").arg(folder).arg("--unixsocket").arg(socket_in(folder)).args(options);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("redis-server starts");
    // Redis opens its Unix socket last.
    eventually("Redis", || match child.try_wait().expect("our own child") {
        Some(_) => Some(false),
        None => UnixStream::connect(socket_in(folder)).is_ok().then_some(true),
    })
    .then_some(child)
}

/// Processes that are one chat, and their Redis.
pub struct Cluster {
    pub redis: Redis,
    pub servers: Vec<Server>,
    /// The lobby's channel.
    pub lobby: String,
}

impl Cluster {
    /// Starts so many processes with these flags.
    pub fn start(count: usize, flags: &str) -> Cluster {
        Cluster::by(Redis::start(), count, flags)
    }

    pub fn by(redis: Redis, count: usize, flags: &str) -> Cluster {
        let servers = (0..count).map(|_| redis.linked(flags)).collect();
        Cluster::of(redis, servers)
    }

    pub fn of(redis: Redis, servers: Vec<Server>) -> Cluster {
        Cluster { redis, servers, lobby: "chinwag:lobby".into() }
    }

    /// Returns how many processes are subscribed to the lobby.
    fn subscribers(&self) -> usize {
        self.redis.subscribers_of(std::slice::from_ref(&self.lobby))[0]
    }

    /// Joins one client on each process, and waits until they receive each other's messages.
    pub fn people<const N: usize>(&self, names: [&str; N]) -> [Client; N] {
        assert_eq!(self.servers.len(), N);
        let mut servers = self.servers.iter();
        let mut people = names.map(|name| servers.next().expect("as many").join(name));
        self.acquaint(&mut people.each_mut());
        people
    }

    /// Waits until each of these, which are all clients there are, lists all, and receives all messages in the lobby.
    /// Each process must have one of them.
    pub fn acquaint(&self, people: &mut [&mut Client]) {
        let count = people.len();
        for client in people.iter_mut() {
            eventually("everybody in /who", || (who(client).len() == count).then_some(()));
        }
        self.await_subscribers(self.servers.len());
        // The notices of their joins come before this.
        self.redis.cli(&["PUBLISH", &self.lobby, "everybody is here"]);
        people.iter_mut().for_each(|client| drop(client.skip_to("redis: everybody is here")));
    }

    /// Waits until every process has logged so many sessions with Redis.
    pub fn await_sessions(&self, count: usize) {
        self.servers.iter().for_each(|server| server.log.wait_for_count("redis up", count));
    }

    /// Waits until exactly so many processes are subscribed to the lobby.
    pub fn await_subscribers(&self, count: usize) {
        eventually("subscriptions", || (self.subscribers() == count).then_some(()));
    }
}

/// Sends a request, and returns the status and the body, such as `202 {"seq":1,"queued_for":0}`.
pub fn request(server: &Server, method: &str, path: &str, body: &str) -> String {
    let mut client = Client::connect(server.http_address());
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let head = match body {
        "" => head,
        body => format!("{head}Content-Type: text/plain\r\nContent-Length: {}\r\n", body.len()),
    };
    client.send(format!("{head}\r\n{body}").as_bytes());
    let status = client.line().expect("an answer");
    client.skip_to("\r");
    let body = client.line().expect("a body");
    format!("{} {body}", status.split(' ').nth(1).expect("a status"))
}

/// A client that reads the server-sent events of the lobby.
pub struct Listener {
    client: Client,
    /// The `id` of the last event.
    pub last_id: String,
}

impl Listener {
    pub fn connect(server: &Server) -> Listener {
        Listener::reconnect(server, "")
    }

    /// Connects one that has received the events up to that id.
    pub fn reconnect(server: &Server, last_id: &str) -> Listener {
        let mut client = Client::connect(server.http_address());
        let field = if last_id.is_empty() { "".into() } else { format!("Last-Event-ID: {last_id}\r\n") };
        let head = "GET /rooms/lobby/events HTTP/1.1\r\nHost: localhost\r\n";
        client.send(format!("{head}{field}\r\n").as_bytes());
        assert_eq!(client.line().as_deref(), Some("HTTP/1.1 200 OK\r"));
        client.skip_to("\r");
        let mut listener = Listener { client, last_id: last_id.into() };
        // The first event only has an id; the others of one that returns come before.
        if last_id.is_empty() {
            let line = listener.client.skip_to("id: ");
            listener.last_id = line["id: ".len()..].into();
        }
        listener
    }

    /// Returns the next message, or the next notice of missed ones.
    pub fn next(&mut self) -> serde_json::Value {
        loop {
            let line = self.client.line().expect("more events");
            if let Some(id) = line.strip_prefix("id: ") {
                self.last_id = id.into();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).expect("JSON");
            }
        }
    }

    /// Returns the text of the next message.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let event = self.next();
        event["text"].as_str().unwrap_or_else(|| panic!("no text: {event}")).into()
    }
}

/// Returns the names in the lobby by that client's `/who`, sorted.
pub fn who(client: &mut Client) -> Vec<String> {
    client.say("/who");
    let answer = client.skip_to("-- in #lobby: ");
    let names = answer.strip_prefix("-- in #lobby: ").expect("so it begins");
    let mut names: Vec<String> = names.split(", ").map(String::from).collect();
    names.sort();
    names
}
