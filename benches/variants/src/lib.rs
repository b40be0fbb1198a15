//! What every variant shares: the command line, the door, and the line that says where the door is. Of chat there is
//! only what the textbooks have in common.

pub mod peers;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::exit;

use socket2::{Domain, Socket, Type};

/// The longest line that must pass, with its LF. A client that sends more than this without an LF is dropped.
pub const MAX_LINE: usize = 64 * 1024;

/// The bound of a queue that counts bytes.
pub const MAX_QUEUED_BYTES: usize = 256 * 1024;

/// The bound of a queue that counts lines: as many as `MAX_QUEUED_BYTES` holds of 64 bytes.
pub const MAX_QUEUED_LINES: usize = 4096;

/// Connections the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;

/// What the command line says.
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Threads of the runtime, where it may have several.
    pub threads: usize,
}

impl Options {
    /// Reads `[--listen ADDR]`.
    pub fn read() -> Options {
        Options::parse(false)
    }

    /// Reads `[--listen ADDR] [--threads N]`.
    pub fn read_with_threads() -> Options {
        Options::parse(true)
    }

    fn parse(has_threads: bool) -> Options {
        let mut options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), threads: 1 };
        let mut words = std::env::args().skip(1);
        while let Some(flag) = words.next() {
            let value = words.next();
            match (flag.as_str(), value.as_deref()) {
                ("--listen", Some(value)) => options.listen = parsed(&flag, value),
                ("--threads", Some(value)) if has_threads => options.threads = parsed(&flag, value),
                _ => usage(&flag),
            }
        }
        options
    }

    /// Opens the door: as many descriptors as allowed, a long backlog, and no delays. Linux hands `TCP_NODELAY` down
    /// to what is accepted. The listener blocks.
    pub fn open(&self) -> io::Result<TcpListener> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        let socket = Socket::new(Domain::for_address(self.listen), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&self.listen.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }

    /// The same for a poll loop: the listener does not block.
    pub fn open_nonblocking(&self) -> io::Result<TcpListener> {
        let door = self.open()?;
        door.set_nonblocking(true)?;
        Ok(door)
    }
}

/// Says where the door is, as chinwag does.
pub fn announce(address: SocketAddr) {
    println!(r#"{{"line":["{address}"],"http":[],"unix":[]}}"#);
}

/// The same for a door that speaks WebSocket.
pub fn announce_http(address: SocketAddr) {
    println!(r#"{{"line":[],"http":["{address}"],"unix":[]}}"#);
}

fn parsed<T: std::str::FromStr>(flag: &str, value: &str) -> T {
    value.parse().unwrap_or_else(|_| usage(&format!("{flag} {value}")))
}

fn usage(wrong: &str) -> ! {
    eprintln!("{wrong}? I know --listen ADDR and, on a runtime that can have them, --threads N");
    exit(2)
}
