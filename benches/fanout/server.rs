//! Starting and stopping a contender's server, each in its own way, always on the server's core.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::contender::{Contender, Launch};
use crate::cores::{Role, pinned};

const START_MOST: Duration = Duration::from_secs(10);

/// A server that runs until this is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Where those talk who have connections of their own for that.
    pub talk_address: SocketAddr,
    /// What it needs beside it: the other processes of its chat.
    #[allow(dead_code, reason = "held for its drop")]
    beside: Vec<Server>,
    /// Configuration and standard error.
    folder: TempDir,
}

impl Server {
    /// Starts it; its address is that of this door, if it has several.
    pub fn start(launch: Launch, door: &str) -> Result<Server, String> {
        let mut beside = Vec::new();
        if matches!(launch, Launch::Linked | Launch::Receiving) {
            // On the same core: the generator, which never sleeps, would let them wait for theirs.
            beside.push(Server::start_alone(Launch::Redis, door, None)?);
        }
        let redis = beside.first().map(|redis: &Server| redis.address);
        if launch == Launch::Receiving {
            beside.push(Server::start_alone(Launch::Linked, door, redis)?);
        }
        let mut server = Server::start_alone(launch, door, redis)?;
        if launch == Launch::Receiving {
            server.talk_address = beside[1].address;
        }
        server.beside = beside;
        Ok(server)
    }

    fn start_alone(launch: Launch, door: &str, redis: Option<SocketAddr>) -> Result<Server, String> {
        let folder = TempDir::new().map_err(|error| format!("no temporary folder: {error}"))?;
        let port = free_port()?;
        let mut command = command(launch, port, folder.path())?;
        command.args(redis.iter().flat_map(|redis| ["--redis".into(), format!("redis://{redis}")]));
        let log = File::create(folder.path().join("stderr")).map_err(|error| error.to_string())?;
        let tells = tells_address(launch);
        command.stdin(Stdio::null()).stderr(log).stdout(if tells { Stdio::piped() } else { Stdio::null() });
        let child = pinned(Role::Server, || command.spawn());
        let child = child.map_err(|error| format!("does not start: {error}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Server { child, address, talk_address: address, beside: Vec::new(), folder };
        match tells {
            true => server.address = server.told_address(door)?,
            false => server.wait_until_it_accepts()?,
        }
        server.talk_address = server.address;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last line it wrote to standard error, for the report of a failure.
    pub fn last_words(&self) -> Option<String> {
        let text = fs::read(self.folder.path().join("stderr")).ok()?;
        let text = String::from_utf8_lossy(&text);
        text.lines().rfind(|line| !line.trim().is_empty()).map(str::to_string)
    }

    /// `{"line":["127.0.0.1:7711"],"http":[…],…}` on standard output.
    fn told_address(&mut self, door: &str) -> Result<SocketAddr, String> {
        let mut line = String::new();
        let output = self.child.stdout.take().ok_or("no standard output")?;
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let address = value[door][0].as_str().and_then(|address| address.parse().ok());
        address.ok_or_else(|| {
            format!("told no {door} address but {line:?}; {}", self.last_words().unwrap_or_default())
        })
    }

    fn wait_until_it_accepts(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || start.elapsed() > START_MOST {
                return Err(format!("does not accept; {}", self.last_words().unwrap_or_default()));
            }
            sleep(Duration::from_millis(10));
        }
        // The connection that asked is gone again before anything is measured.
        sleep(Duration::from_millis(50));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the server can be had here, which takes a start to know; if not, why.
pub fn missing(contender: &Contender) -> Option<String> {
    Server::start(contender.launch, contender.protocol.door()).err()
}

/// What it says its version is.
pub fn version(launch: Launch) -> Option<String> {
    let (program, flag) = match launch {
        Launch::Chinwag | Launch::Linked | Launch::Receiving => {
            return Some(env!("CARGO_PKG_VERSION").to_string());
        }
        Launch::Variant(..) => return None,
        Launch::Go => ("go", "version"),
        other => program(other),
    };
    let output = Command::new(find(program)?).arg(flag).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().map(|line| line.trim().to_string())
}

/// The program, and how it is asked for its version.
fn program(launch: Launch) -> (&'static str, &'static str) {
    match launch {
        Launch::Redis => ("redis-server", "--version"),
        Launch::Nats => ("nats-server", "--version"),
        Launch::Mosquitto | Launch::MosquittoWebSocket => ("mosquitto", "-h"),
        Launch::Nchan => ("nginx", "-v"),
        Launch::Node => ("node", "--version"),
        Launch::Ncat => ("ncat", "--version"),
        Launch::Ngircd => ("ngircd", "--version"),
        Launch::Chinwag | Launch::Linked | Launch::Receiving | Launch::Variant(..) | Launch::Go => ("", ""),
    }
}

/// Debian puts servers where a user's `PATH` may not lead.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    folders.map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// Where the variants are built; see `build.rs`.
pub fn variants_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/variants")
}

/// The version on Node, and the `ws` it needs.
pub fn node_folder() -> PathBuf {
    variants_folder().join("node")
}

fn built(binary: &str) -> Result<PathBuf, String> {
    let path = variants_folder().join("release").join(binary);
    path.exists().then_some(path).ok_or_else(|| format!("{binary} of benches/variants is not built"))
}

/// The script beside the library that it needs.
fn installed_script() -> Result<&'static str, String> {
    let is_there = node_folder().join("node_modules/ws").exists();
    is_there.then_some("chat.js").ok_or_else(|| "npm has not installed ws".to_string())
}

fn tells_address(launch: Launch) -> bool {
    use Launch::{Chinwag, Go, Linked, Node, Receiving, Variant};
    matches!(launch, Chinwag | Linked | Receiving | Variant(..) | Go | Node)
}

/// A port nobody listens on, for servers that can't pick one themselves.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no port: {error}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

fn command(launch: Launch, port: u16, folder: &Path) -> Result<Command, String> {
    let installed = || {
        let (program, _) = program(launch);
        find(program).map(Command::new).ok_or_else(|| format!("{program} is not installed"))
    };
    let file = |text: String| {
        let path = folder.join("server.conf");
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(path)
    };
    let here = ["--listen", "127.0.0.1:0"];
    let mut command = match launch {
        Launch::Chinwag | Launch::Linked | Launch::Receiving => Command::new(env!("CARGO_BIN_EXE_chinwag")),
        Launch::Variant(binary, _) => Command::new(built(binary)?),
        Launch::Go => Command::new(built("go-chat")?),
        _ => installed()?,
    };
    match launch {
        Launch::Chinwag | Launch::Linked | Launch::Receiving => command
            .args(["--line", "127.0.0.1:0", "--http", "127.0.0.1:0", "--print-addresses", "--rate", "off"])
            .args(["--history", "0", "--max-clients", "12000", "--log", "warn"]),
        Launch::Variant(_, args) => command.args(here).args(args),
        Launch::Go => command.args(here),
        Launch::Node => command.arg(installed_script()?).current_dir(node_folder()),
        Launch::Redis => command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--tcp-backlog", "4096"])
            .args(["--save", "", "--appendonly", "no", "--maxclients", "12000", "--loglevel", "warning"])
            .args(["--client-output-buffer-limit", "pubsub", "256kb", "64kb", "10"])
            .current_dir(folder),
        Launch::Nats => command.arg("-c").arg(file(nats(port))?),
        Launch::Mosquitto => command.arg("-c").arg(file(mosquitto(port))?),
        Launch::MosquittoWebSocket => command.arg("-c").arg(file(mosquitto_websocket(port, folder))?),
        Launch::Nchan => command.arg("-p").arg(folder).arg("-c").arg(file(nchan(port))?),
        Launch::Ncat => command
            .args(["--listen", "--chat", "--keep-open", "--max-conns", "1000"])
            .args(["127.0.0.1", &port.to_string()]),
        Launch::Ngircd => command.args(["--nodaemon", "--config"]).arg(file(ngircd(port))?),
    };
    Ok(command)
}

fn nats(port: u16) -> String {
    format!(
        "host: 127.0.0.1\nport: {port}\nmax_connections: 12000\nmax_pending: 256KB\nmax_payload: 64KB\n\
         write_deadline: \"10s\"\nping_interval: \"1h\"\n"
    )
}

fn mosquitto(port: u16) -> String {
    format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_connections -1\npersistence false\n\
         max_queued_messages 4096\nlog_type none\nuser root\n"
    )
}

/// 2.0.11 does not start with no listener but one for WebSocket: nobody uses the other.
fn mosquitto_websocket(port: u16, folder: &Path) -> String {
    let other = format!("listener 0 {}\n", folder.join("unused").display());
    // Options belong to the listener before them.
    format!("{other}{}protocol websockets\n", mosquitto(port))
}

/// Paths are in its own folder. Without a master process the one that is measured is the one that works.
fn nchan(port: u16) -> String {
    format!(
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;\nuser root;\npid nginx.pid;\nerror_log stderr warn;\n\
         daemon off;\nmaster_process off;\nworker_rlimit_nofile 12100;\nevents {{ worker_connections 12000; }}\n\
         http {{\naccess_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\ntcp_nodelay on;\nnchan_shared_memory_size 256m;\n\
         nchan_message_timeout 10s;\nnchan_message_buffer_length 10000;\n\
         server {{\nnchan_subscriber_first_message newest;\nlisten 127.0.0.1:{port} backlog=4096;\n\
         location ~ ^/hear/(\\w+)$ {{ nchan_subscriber websocket; nchan_channel_id $1; }}\n\
         location ~ ^/say/(\\w+)$ {{ nchan_publisher websocket; nchan_channel_id $1; }}\n}}\n}}\n"
    )
}

fn ngircd(port: u16) -> String {
    format!(
        "[Global]\nName = bench.local\nInfo = bench\nListen = 127.0.0.1\nPorts = {port}\nServerUID = 0\n\
         ServerGID = 0\nMotdPhrase = hi\n\
         [Limits]\nMaxConnections = 0\nMaxConnectionsIP = 0\nMaxJoins = 0\nMaxPenaltyTime = 0\nMaxNickLength = 9\n\
         PingTimeout = 3600\n[Options]\nDNS = no\nIdent = no\nPAM = no\nSyslogFacility = local1\n"
    )
}
