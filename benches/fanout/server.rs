//! Starts and stops a contender's server, always on the server's core.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::contender::{Contender, Launch};
use crate::machine::{Cores, LOAD, SERVER};

const START_MOST: Duration = Duration::from_secs(10);

/// A server that runs until this is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Configuration and standard error.
    folder: TempDir,
}

impl Server {
    pub fn start(contender: &Contender, cores: Cores) -> Result<Server, String> {
        let folder = TempDir::new().map_err(|error| format!("no temporary folder: {error}"))?;
        let port = free_port()?;
        let mut command = command(contender.launch, port, folder.path())?;
        let log = File::create(folder.path().join("stderr")).map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        cores.run_on(SERVER);
        let child = command.spawn();
        cores.run_on(LOAD);
        let child = child.map_err(|error| format!("does not start: {error}"))?;
        let mut server = Server { child, address: SocketAddr::from(([127, 0, 0, 1], port)), folder };
        match contender.launch {
            Launch::Redis | Launch::Nats => server.wait_until_it_accepts()?,
            Launch::Chinwag | Launch::Variant(..) => {
                server.address = server.read_address(contender.protocol.listener())?;
            }
        }
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// For the report of a failure.
    pub fn last_log_line(&self) -> Option<String> {
        let text = fs::read(self.folder.path().join("stderr")).ok()?;
        let text = String::from_utf8_lossy(&text);
        text.lines().rfind(|line| !line.trim().is_empty()).map(str::to_string)
    }

    /// Reads `{"line":["127.0.0.1:7711"],"http":[…],…}` from standard output.
    fn read_address(&mut self, listener: &str) -> Result<SocketAddr, String> {
        let mut line = String::new();
        let output = self.child.stdout.take().ok_or("no standard output")?;
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let address = value[listener][0].as_str().and_then(|address| address.parse().ok());
        address.ok_or_else(|| format!("no {listener} address: {}", self.last_log_line().unwrap_or_default()))
    }

    fn wait_until_it_accepts(&self) -> Result<(), String> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if start.elapsed() > START_MOST {
                return Err(format!("does not accept: {}", self.last_log_line().unwrap_or_default()));
            }
            sleep(Duration::from_millis(10));
        }
        // The server has closed that connection before anything is measured.
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

/// The version of a program that is not built here.
pub fn version(launch: Launch) -> Option<String> {
    let program = match launch {
        Launch::Redis => "redis-server",
        Launch::Nats => "nats-server",
        Launch::Chinwag => return Some(env!("CARGO_PKG_VERSION").to_string()),
        Launch::Variant(..) => return None,
    };
    let output = Command::new(find(program).ok()?).arg("--version").output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_string)
}

/// Debian installs servers into folders that a user's `PATH` may lack.
fn find(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    let found = folders.map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{program} is not installed"))
}

fn variants_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/variants")
}

/// Variants that can't be built are left out of the comparison.
pub fn build_variants() {
    eprintln!("building benches/variants …");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet", "--bins", "--target-dir"])
        .arg(variants_folder())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/variants"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        other => eprintln!("benches/variants: {other:?}"),
    }
}

fn built(binary: &str) -> Result<PathBuf, String> {
    let path = variants_folder().join("release").join(binary);
    path.exists().then_some(path).ok_or_else(|| format!("{binary} of benches/variants is not built"))
}

/// A port without a listener, for servers that can't choose one themselves.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no port: {error}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

fn command(launch: Launch, port: u16, folder: &Path) -> Result<Command, String> {
    let mut command = match launch {
        Launch::Chinwag => Command::new(env!("CARGO_BIN_EXE_chinwag")),
        Launch::Variant(binary, _) => Command::new(built(binary)?),
        Launch::Redis => Command::new(find("redis-server")?),
        Launch::Nats => Command::new(find("nats-server")?),
    };
    command.current_dir(folder);
    match launch {
        Launch::Chinwag => command
            .args(["--line", "127.0.0.1:0", "--http", "127.0.0.1:0", "--print-addresses", "--rate", "off"])
            .args(["--history", "0", "--max-clients", "12000", "--log", "warn"]),
        Launch::Variant(_, args) => command.args(["--listen", "127.0.0.1:0"]).args(args),
        Launch::Redis => command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--tcp-backlog", "4096"])
            .args(["--save", "", "--appendonly", "no", "--maxclients", "12000", "--loglevel", "warning"])
            .args(["--client-output-buffer-limit", "pubsub", "256kb", "64kb", "10"]),
        Launch::Nats => {
            let settings = format!(
                "host: 127.0.0.1\nport: {port}\nmax_connections: 12000\nmax_pending: 256KB\nmax_payload: 64KB\n\
                 write_deadline: \"10s\"\nping_interval: \"1h\"\n"
            );
            fs::write(folder.join("nats.conf"), settings).map_err(|error| error.to_string())?;
            command.args(["-c", "nats.conf"])
        }
    };
    Ok(command)
}
