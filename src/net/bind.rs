//! Opening the listeners: sockets that listen, from addresses or from the service manager.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::{ListenerKind, inherit};
use crate::config::{Address, Config, UnixMode};
use crate::protocol::Dialect;

/// Connections the kernel completes for us before we accept them, bounded by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How long a peer may be silent before the kernel asks whether it is there, how often it asks, and how many times:
/// a peer that vanished is found in 60 s. Together they are `TCP_USER_TIMEOUT` for one that vanishes with data unread.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMES: u32 = 3;
const PEER_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of output that the kernel takes before it has sent them (`TCP_NOTSENT_LOWAT`); what is on its way is not counted,
/// so a fast reader far away is not held back. Left to itself the kernel takes megabytes for a client that does not read,
/// a copy for each; here what many wait for is in memory once, and the server sees sooner who is slow: with 500 of 1,000
/// clients stalled, the others' delay while they are found out lasted 40 ms (with twice as much 50, without a bound 140).
const UNSENT_MAX_BYTES: u32 = 16 * 1024;

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, and its file if we made it.
    Unix(UnixListener, Option<SocketFile>),
}

/// A listener, and what it is for.
#[derive(Debug)]
pub struct Opened {
    /// The socket.
    pub listener: Listener,
    /// What it is for.
    pub kind: ListenerKind,
}

/// The file of a Unix socket that we made; removed when dropped, if it is still that one.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another there meanwhile: a second server, most likely.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Opens every listener that `config` asks for, and those the service manager hands over (`LISTEN_FDS`). The default listeners
/// are opened only where none is handed over, each where no other of its kind is asked for.
///
/// # Errors
/// One line that names the address and what is wrong.
pub fn open(config: &Config) -> Result<Vec<Opened>, String> {
    let handed_over = inherit::listeners()?.into_iter();
    let mut opened: Vec<Opened> =
        handed_over.map(|(listener, dialect)| for_what(listener, dialect)).collect();
    let handed_over = !opened.is_empty();
    for (flag, asked, addresses, dialect) in [
        ("--line", !config.line.is_empty(), config.line_listeners(), Dialect::Line),
        ("--http", !config.http.is_empty(), config.http_listeners(), Dialect::Http),
    ] {
        if handed_over && !asked {
            continue;
        }
        for address in addresses {
            match open_address(&address, flag, config.unix_mode) {
                Ok(listeners) => {
                    opened.extend(listeners.into_iter().map(|listener| for_what(listener, dialect)))
                }
                // Two servers for lines alone: nobody has asked for what the second can't have.
                Err(error) if dialect == Dialect::Http && !asked && !config.line.is_empty() => {
                    log::warn!("no http listener, {error}");
                }
                Err(error) => return Err(error),
            }
        }
    }
    match opened.is_empty() {
        true => Err("there is no listener: --line and --http are both none".into()),
        false => Ok(opened),
    }
}

fn for_what(listener: Listener, dialect: Dialect) -> Opened {
    let loopback = match &listener {
        Listener::Tcp(socket) => socket.local_addr().is_ok_and(|address| address.ip().is_loopback()),
        // No page can make a browser connect to one.
        Listener::Unix(..) => false,
    };
    Opened { listener, kind: ListenerKind { dialect, loopback } }
}

/// The addresses that are bound, as one line of JSON: `{"line":[…],"http":[…],"unix":[…]}`.
pub fn addresses_as_json(opened: &[Opened]) -> String {
    let list = |wanted: fn(&Opened) -> bool| {
        let addresses =
            opened.iter().filter(|listener| wanted(listener)).map(|listener| address_of(&listener.listener));
        serde_json::Value::from_iter(addresses)
    };
    let is_unix = |listener: &Opened| matches!(listener.listener, Listener::Unix(..));
    let line = list(|listener| {
        !matches!(listener.listener, Listener::Unix(..)) && listener.kind.dialect == Dialect::Line
    });
    let http = list(|listener| {
        !matches!(listener.listener, Listener::Unix(..)) && listener.kind.dialect == Dialect::Http
    });
    format!(r#"{{"line":{line},"http":{http},"unix":{}}}"#, list(is_unix))
}

/// The address of a listener, as people write it.
pub fn address_of(listener: &Listener) -> String {
    match listener {
        Listener::Tcp(socket) => {
            socket.local_addr().map_or_else(|_| "?".into(), |address| address.to_string())
        }
        Listener::Unix(socket, _) => {
            let address = socket.local_addr().ok();
            let path = address.as_ref().and_then(|address| address.as_pathname());
            path.map_or_else(|| "?".into(), |path| path.display().to_string())
        }
    }
}

fn open_address(address: &Address, flag: &str, mode: Option<UnixMode>) -> Result<Vec<Listener>, String> {
    let failed = |error: io::Error| format!("can't listen on {address}: {}", advice(&error, flag));
    match address {
        Address::None => Ok(Vec::new()),
        Address::Unix(path) => Ok(vec![open_unix(path, mode).map_err(failed)?]),
        Address::Tcp(name) => {
            let opened = name.to_socket_addrs().map_err(failed)?.map(open_tcp);
            let (opened, mut errors): (Vec<_>, Vec<_>) = opened.partition(Result::is_ok);
            // A name may have addresses that this machine lacks (`localhost` without IPv6): one is enough.
            match (opened.is_empty(), errors.pop()) {
                (true, Some(Err(error))) => Err(failed(error)),
                (true, _) => Err(failed(ErrorKind::AddrNotAvailable.into())),
                (false, _) => Ok(opened.into_iter().flatten().map(Listener::Tcp).collect()),
            }
        }
    }
}

/// What went wrong, and what to do about it where that is plain.
fn advice(error: &io::Error, flag: &str) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => format!("{error}; stop what listens there or choose another {flag}"),
        ErrorKind::PermissionDenied => {
            format!("{error}; ports below 1024 need root, paths a writable folder")
        }
        ErrorKind::AddrNotAvailable => format!("{error}; this machine has no such address"),
        _ => error.to_string(),
    }
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // So that [::]:7711 and 0.0.0.0:7711 are two listeners, on every system.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    prepare(&listener)?;
    Ok(listener)
}

/// Sets what connections shall have. Linux hands these options down from the listener to what it accepts, which saves
/// eight calls a connection.
pub(super) fn prepare(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    prepare_stream(&socket)?;
    // Half of telnet's "synch" command comes as urgent data (RFC 854), and belongs where it was sent.
    socket.set_out_of_band_inline(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX_BYTES)?;
    listener.set_nonblocking(true)
}

/// Sets what every TCP connection shall have, whichever side made it.
pub(super) fn prepare_stream(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TIMES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(PEER_TIMEOUT))?;
    socket.set_tcp_nodelay(true)
}

/// Opens a Unix socket, in the place of one that a process has left behind which is gone.
fn open_unix(path: &Path, mode: Option<UnixMode>) -> io::Result<Listener> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path, &address) => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile { path: path.into(), identity: identity(path)? };
    // Nobody can connect before it listens, so nobody can who may not.
    if let Some(UnixMode(mode)) = mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Unix(OwnedFd::from(socket).into(), Some(file)))
}

/// Whether there is a socket's file that was left behind by a process that is gone. Anything else is left alone. A server
/// that is too busy to take another connection is there, and is not waited for.
fn is_stale(path: &Path, address: &SockAddr) -> bool {
    let refuses = || -> io::Result<bool> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let connected = socket.connect(address);
        Ok(connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
    };
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    is_socket && refuses().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn listeners(flags: &str) -> Result<Vec<Opened>, String> {
        let http = if flags.contains("--http") { "" } else { " --http none" };
        open(&Config::from_flags(&format!("{flags}{http}")))
    }

    #[test]
    fn there_must_be_a_door() {
        let told = listeners("--line none --http none").unwrap_err();
        assert_eq!(told, "there is no listener: --line and --http are both none");
        assert_eq!(listeners("--line none --http 127.0.0.1:0").unwrap().len(), 1);
    }

    #[test]
    fn bound_addresses_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("so\"cket");
        let opened =
            listeners(&format!("--line 127.0.0.1:0 --line unix:{} --http 127.0.0.1:0", path.display()))
                .unwrap();
        let json = addresses_as_json(&opened);
        let Listener::Tcp(tcp) = &opened[0].listener else { panic!("{opened:?}") };
        let Listener::Tcp(web) = &opened[2].listener else { panic!("{opened:?}") };
        let (tcp, web) = (tcp.local_addr().unwrap(), web.local_addr().unwrap());
        let expected_path = path.display().to_string().replace('"', "\\\"");
        assert_eq!(json, format!(r#"{{"line":["{tcp}"],"http":["{web}"],"unix":["{expected_path}"]}}"#));
        drop(opened);
        assert!(!path.exists(), "the socket's file goes with the listener");
    }

    #[test]
    fn a_peer_that_vanishes_is_found_by_the_kernel_within_a_minute() {
        let opened = listeners("--line 127.0.0.1:0").unwrap();
        let Listener::Tcp(listener) = &opened[0].listener else { panic!("{opened:?}") };
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        let silent = socket.tcp_keepalive_time().unwrap();
        let asked = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(silent + asked, Duration::from_secs(60));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn the_kernel_takes_little_for_a_client_that_does_not_read() {
        let opened = listeners("--line 127.0.0.1:0").unwrap();
        let Listener::Tcp(listener) = &opened[0].listener else { panic!("{opened:?}") };
        listener.set_nonblocking(false).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        SockRef::from(&client).set_recv_buffer_size(4096).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while let Ok(count) = accepted.write(&[b'x'; 1024]) {
            taken += count;
        }
        // What the peer's window takes comes on top; without the bound it is 2 MB.
        assert!((UNSENT_MAX_BYTES as usize..512 * 1024).contains(&taken), "{taken}");
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let flags = format!("--line unix:{}", path.display());
        let living = listeners(&flags).unwrap();
        let error = listeners(&flags).unwrap_err();
        assert!(error.contains("unix:") && error.contains("stop what listens there"), "{error}");
        assert!(path.exists());
        drop(living);
    }

    #[test]
    fn socket_of_a_server_that_is_too_busy_is_in_use_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let address = SockAddr::unix(&path).unwrap();
        busy.bind(&address).unwrap();
        busy.listen(0).unwrap();
        let waiting: Vec<Socket> = std::iter::repeat_with(|| {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            client
        })
        .take_while(|client| client.connect(&address).is_ok())
        .collect();
        assert!(!waiting.is_empty(), "its queue is full now");
        let error = listeners(&format!("--line unix:{}", path.display())).unwrap_err();
        assert!(error.contains("stop what listens there"), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn unix_sockets_have_the_mode_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for mode in ["0660", "600", "0777"] {
            let (line, http) = (path("line"), path("http"));
            let flags =
                format!("--unix-mode {mode} --line unix:{} --http unix:{}", line.display(), http.display());
            let opened = listeners(&flags).unwrap();
            for path in [&line, &http] {
                let found = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
                assert_eq!(found, u32::from_str_radix(mode, 8).unwrap(), "{mode}");
                assert!(UnixStream::connect(path).is_ok());
            }
            drop(opened);
            assert!(!line.exists() && !http.exists());
        }
    }

    #[test]
    fn what_is_no_socket_is_left_alone_and_so_is_the_socket_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        let flags = format!("--line unix:{}", path.display());
        fs::write(&path, "data").unwrap();
        assert!(listeners(&flags).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
        fs::remove_file(&path).unwrap();
        let first = listeners(&flags).unwrap();
        fs::remove_file(&path).unwrap();
        let second = listeners(&flags).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok(), "the second server's listener is still there");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_server_for_lines_starts_without_the_default_http_door() {
        // Both are there at once, so one of them at least goes without, whoever else has the port meanwhile.
        let with_default = || open(&Config::from_flags("--line 127.0.0.1:0")).unwrap();
        let (first, second) = (with_default(), with_default());
        let http = |opened: &[Opened]| {
            opened.iter().filter(|listener| listener.kind.dialect == Dialect::Http).count()
        };
        assert!(http(&first) + http(&second) <= 1, "{first:?} {second:?}");
        assert!(second[0].kind.loopback);
    }

    #[test]
    fn a_port_in_use_is_told_with_what_to_do() {
        let taken = listeners("--line 127.0.0.1:0").unwrap();
        let error = listeners(&format!("--line {}", address_of(&taken[0].listener))).unwrap_err();
        assert!(error.contains("choose another --line"), "{error}");
    }
}
