//! The parts that all variants share: the command line, the listener, and the line that prints its address. `peers` is
//! the chat of those that have a task and a channel per client.

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

/// The command line.
pub struct Options {
    /// The address to listen at.
    pub listen: SocketAddr,
    /// One write for all lines of a poll, where the variant has both.
    pub batched: bool,
}

impl Options {
    /// Reads `[--listen ADDR] [--batched]`.
    pub fn read() -> Options {
        let mut options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), batched: false };
        let mut words = std::env::args().skip(1);
        while let Some(flag) = words.next() {
            match flag.as_str() {
                "--batched" => options.batched = true,
                "--listen" => {
                    let address = words.next().and_then(|address| address.parse().ok());
                    options.listen = address.unwrap_or_else(|| usage());
                }
                _ => usage(),
            }
        }
        options
    }

    /// Opens the listener: as many descriptors as allowed, a long backlog, and no delays. On Linux accepted sockets
    /// inherit `TCP_NODELAY`. The listener blocks.
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
        let listener = self.open()?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

/// Prints the address of the `line` or `http` listener, as chinwag does.
pub fn announce(listener: &str, address: SocketAddr) {
    println!(r#"{{"{listener}":["{address}"]}}"#);
}

fn usage() -> ! {
    eprintln!("the arguments are --listen ADDR and --batched");
    exit(2)
}
