//! Opening listeners, from addresses or from the service manager.

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

/// Connections that the kernel completes before they are accepted, bounded by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// TCP keepalive: idle time, interval and number of probes. A peer that vanished is detected after 60 s in total.
/// `TCP_USER_TIMEOUT` is the same for a peer that vanishes with unacknowledged data.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMES: u32 = 3;
const PEER_TIMEOUT: Duration = Duration::from_secs(60);

/// Limit on unsent bytes in the kernel's send buffer (`TCP_NOTSENT_LOWAT`). Bytes in flight don't count, so a fast reader
/// with a long round trip is not slowed down.
///
/// Without it the kernel buffers megabytes for each client that does not read. The server has one copy for all clients, and
/// detects slow clients sooner. With 500 of 1,000 clients stalled, the others were delayed for 40 ms until the
/// stalled ones were detected. The delay was 50 ms with twice the limit, and 140 ms without one.
const UNSENT_MAX_BYTES: u32 = 16 * 1024;

#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    /// A Unix socket, and its file if this process made it.
    Unix(UnixListener, Option<SocketFile>),
}

#[derive(Debug)]
pub struct OpenedListener {
    pub listener: Listener,
    pub kind: ListenerKind,
}

/// The file of a Unix socket that this process made. Dropping it removes the file if it is still the same one.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A second server may have replaced the file meanwhile.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Opens the configured listeners and takes those of the service manager (`LISTEN_FDS`). A default listener is opened only if
/// none is inherited and none of its kind is configured.
///
/// # Errors
/// One line with the address and the error of `socket(2)`, `bind(2)` or `listen(2)`.
pub fn open(config: &Config) -> Result<Vec<OpenedListener>, String> {
    let handed_over = inherit::listeners()?.into_iter();
    let mut opened: Vec<OpenedListener> =
        handed_over.map(|(listener, dialect)| with_kind(listener, dialect)).collect();
    let handed_over = !opened.is_empty();
    for (flag, configured, addresses, dialect) in [
        ("--line", !config.line.is_empty(), config.line_listeners(), Dialect::Line),
        ("--http", !config.http.is_empty(), config.http_listeners(), Dialect::Http),
    ] {
        if handed_over && !configured {
            continue;
        }
        for address in addresses {
            match open_address(&address, flag, config.unix_mode) {
                Ok(listeners) => {
                    opened.extend(listeners.into_iter().map(|listener| with_kind(listener, dialect)))
                }
                // A second server for lines must start even if the first one has the default HTTP port.
                Err(error)
                    if dialect == Dialect::Http && !configured && !config.line_listeners().is_empty() =>
                {
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

fn with_kind(listener: Listener, dialect: Dialect) -> OpenedListener {
    let loopback = match &listener {
        Listener::Tcp(socket) => socket.local_addr().is_ok_and(|address| address.ip().is_loopback()),
        // A web page can't make a browser connect to a Unix socket.
        Listener::Unix(..) => false,
    };
    OpenedListener { listener, kind: ListenerKind { dialect, loopback } }
}

/// The bound addresses as one line of JSON: `{"line":[…],"http":[…],"unix":[…]}`.
pub fn addresses_as_json(opened: &[OpenedListener]) -> String {
    let list = |filter: fn(&OpenedListener) -> bool| {
        let addresses =
            opened.iter().filter(|listener| filter(listener)).map(|listener| address_of(&listener.listener));
        serde_json::Value::from_iter(addresses)
    };
    let is_unix = |listener: &OpenedListener| matches!(listener.listener, Listener::Unix(..));
    let line = list(|listener| {
        !matches!(listener.listener, Listener::Unix(..)) && listener.kind.dialect == Dialect::Line
    });
    let http = list(|listener| {
        !matches!(listener.listener, Listener::Unix(..)) && listener.kind.dialect == Dialect::Http
    });
    format!(r#"{{"line":{line},"http":{http},"unix":{}}}"#, list(is_unix))
}

/// The address of a listener as text.
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
    let failed = |error: io::Error| format!("can't listen on {address}: {}", with_advice(&error, flag));
    match address {
        Address::None => Ok(Vec::new()),
        Address::Unix(path) => Ok(vec![open_unix(path, mode).map_err(failed)?]),
        Address::Tcp(name) => open_all(name.to_socket_addrs().map_err(failed)?).map_err(failed),
    }
}

/// Opens the addresses of a name. It may have addresses that this machine lacks (`localhost` without IPv6), so one is enough.
fn open_all(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<Listener>> {
    let (mut opened, mut lacking) = (Vec::new(), io::Error::from(ErrorKind::AddrNotAvailable));
    for address in addresses {
        match open_tcp(address) {
            Ok(listener) => opened.push(Listener::Tcp(listener)),
            // Clients would reach another server, or none, under one of the addresses of the name.
            Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {
                return Err(error);
            }
            Err(error) => lacking = error,
        }
    }
    if opened.is_empty() { Err(lacking) } else { Ok(opened) }
}

/// The error with advice for the user.
fn with_advice(error: &io::Error, flag: &str) -> String {
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
        // [::]:7711 and 0.0.0.0:7711 are two listeners on every system.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    set_listener_options(&listener)?;
    Ok(listener)
}

/// Sets the options of a listener. Linux copies them to accepted connections, which saves eight calls per connection.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub(super) fn set_listener_options(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    set_stream_options(&socket)?;
    // Half of telnet's "synch" command comes as urgent data (RFC 854) and must stay in order.
    socket.set_out_of_band_inline(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX_BYTES)?;
    listener.set_nonblocking(true)
}

/// Sets the options of every TCP connection, incoming or outgoing.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub(super) fn set_stream_options(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TIMES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(PEER_TIMEOUT))?;
    socket.set_tcp_nodelay(true)
}

/// Opens a Unix socket, and replaces a stale socket file.
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
    // Connections are refused until the socket listens, so the mode applies to all of them.
    if let Some(UnixMode(mode)) = mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Listener::Unix(OwnedFd::from(socket).into(), Some(file)))
}

/// Whether the file is a socket whose process has ended: connecting to it is refused. A server with a full backlog is alive,
/// and the check does not wait for it.
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

    fn listeners(flags: &str) -> Result<Vec<OpenedListener>, String> {
        let http = if flags.contains("--http") { "" } else { " --http none" };
        open(&Config::from_flags(&format!("{flags}{http}")))
    }

    #[test]
    fn at_least_one_listener_is_required() {
        let error = listeners("--line none --http none").unwrap_err();
        assert_eq!(error, "there is no listener: --line and --http are both none");
        assert_eq!(listeners("--line none --http 127.0.0.1:0").unwrap().len(), 1);
    }

    #[test]
    fn bound_addresses_are_written_as_json() {
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
    fn listener_is_local_only_on_a_loopback_address() {
        let folder = tempfile::tempdir().unwrap();
        let unix = Listener::Unix(UnixListener::bind(folder.path().join("socket")).unwrap(), None);
        assert!(!with_kind(unix, Dialect::Http).kind.loopback);
        for (address, expected) in [("127.0.0.1:0", true), ("0.0.0.0:0", false), ("[::1]:0", true)] {
            match open_tcp(address.parse().unwrap()) {
                Ok(listener) => {
                    let opened = with_kind(Listener::Tcp(listener), Dialect::Http);
                    assert_eq!(opened.kind.loopback, expected, "{address}");
                }
                // A machine may lack IPv6.
                Err(error) => assert!(address.starts_with('['), "{address}: {error}"),
            }
        }
    }

    #[test]
    fn vanished_peer_is_detected_by_the_kernel_within_a_minute() {
        let opened = listeners("--line 127.0.0.1:0").unwrap();
        let Listener::Tcp(listener) = &opened[0].listener else { panic!("{opened:?}") };
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        let silent = socket.tcp_keepalive_time().unwrap();
        let configured = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
        assert_eq!(silent + configured, Duration::from_secs(60));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn kernel_buffers_little_for_a_client_that_does_not_read() {
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
        // The peer's receive window comes on top. Without the limit the kernel takes 2 MB.
        assert!((UNSENT_MAX_BYTES as usize..512 * 1024).contains(&taken), "{taken}");
    }

    #[test]
    fn stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let flags = format!("--line unix:{}", path.display());
        let live = listeners(&flags).unwrap();
        let error = listeners(&flags).unwrap_err();
        assert!(error.contains("unix:") && error.contains("stop what listens there"), "{error}");
        assert!(path.exists());
        drop(live);
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
    fn unix_sockets_have_the_configured_mode() {
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
    fn other_files_and_sockets_of_other_servers_are_not_removed() {
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
    fn second_server_for_lines_starts_without_the_default_http_listener() {
        // Both run at once, so at most one of them has the port.
        let with_default = || open(&Config::from_flags("--line 127.0.0.1:0")).unwrap();
        let (first, second) = (with_default(), with_default());
        let http = |opened: &[OpenedListener]| {
            opened.iter().filter(|listener| listener.kind.dialect == Dialect::Http).count()
        };
        assert!(http(&first) + http(&second) <= 1, "{first:?} {second:?}");
        assert!(second[0].kind.loopback);
    }

    #[test]
    fn error_for_a_port_in_use_has_advice() {
        let taken = listeners("--line 127.0.0.1:0").unwrap();
        let error = listeners(&format!("--line {}", address_of(&taken[0].listener))).unwrap_err();
        assert!(error.contains("choose another --line"), "{error}");
    }

    #[test]
    fn name_with_an_address_in_use_is_refused_and_lacking_addresses_are_left_out() {
        let taken = open_tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        // Documentation uses this address (RFC 5737), and no machine has it.
        let lacking = SocketAddr::from(([203, 0, 113, 1], 0));
        let in_use = taken.local_addr().unwrap();
        for addresses in [[in_use, free], [free, in_use]] {
            assert_eq!(open_all(addresses.into_iter()).unwrap_err().kind(), ErrorKind::AddrInUse);
        }
        assert_eq!(open_all([lacking, free].into_iter()).unwrap().len(), 1);
        assert_eq!(open_all([lacking].into_iter()).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn default_http_listener_is_needed_without_another() {
        // One of the two has the port, unless another program has it.
        let flags = || open(&Config::from_flags("--line none"));
        let outcomes = [flags(), flags()];
        let error = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).expect("the port is taken");
        assert!(error.contains("127.0.0.1:7712") && error.contains("choose another --http"), "{error}");
    }
}
