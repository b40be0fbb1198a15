//! Sockets from a service manager (`sd_listen_fds(3)`): the purpose of each, descriptors that are no listeners, and
//! listeners that end while the server runs. The last tests are about addresses of listeners.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::SockRef;

use crate::harness::{Client, Launch, Running, eventually, free_port, require};

/// Passes standard input as descriptor 3, and standard error as 4.
const TWO: &str = r#"export LISTEN_PID=$$ LISTEN_FDS=2; exec "$0" "$@" 3<&0 4<&2 </dev/null 2>/dev/null"#;
const ONE: &str = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@" 3<&0 </dev/null"#;

/// A number of clients that is low enough for the limit on open files. It causes no second line in the log.
const FEW: &str = "--max-clients 10 --max-waiting 0";

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn names_of_passed_sockets_set_their_kind() {
    for (names, is_http) in [
        (Some("line:http"), [false, true]),
        (Some("http:line"), [true, false]),
        (Some("http:http"), [true, true]),
        (Some("http"), [true, false]),
        (Some("chinwag.socket:chinwag.socket"), [false, false]),
        (Some(""), [false, false]),
        (None, [false, false]),
    ] {
        let (sockets, addresses): (Vec<TcpListener>, Vec<String>) = (0..2).map(|_| listener()).unzip();
        let [first, second] = <[TcpListener; 2]>::try_from(sockets).unwrap();
        let mut launch = Launch::in_shell(TWO, "--print-addresses");
        launch = launch.stdin(OwnedFd::from(first)).stderr(OwnedFd::from(second));
        if let Some(names) = names {
            launch = launch.env("LISTEN_FDNAMES", names);
        }
        let server = launch.start();
        let of = |http: bool| {
            let chosen = addresses.iter().zip(is_http).filter(|(_, is_http)| *is_http == http);
            chosen.map(|(address, _)| format!("\"{address}\"")).collect::<Vec<_>>().join(",")
        };
        let expected = format!(r#"{{"line":[{}],"http":[{}],"unix":[]}}"#, of(false), of(true));
        assert_eq!(server.addresses, expected, "{names:?}");
        for (address, is_http) in addresses.iter().zip(is_http) {
            let mut client = Client::connect(address.parse().unwrap());
            client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = client.line().unwrap();
            assert_eq!(answer.starts_with("HTTP/1.1 200 "), is_http, "{names:?}: {answer}");
        }
    }
}

#[test]
fn descriptor_that_does_not_listen_fails_the_start_with_one_clear_line() {
    let (listener, address) = listener();
    let connection = TcpStream::connect(&address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let (pair, _other) = UnixStream::pair().unwrap();
    let unbound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let table: [(OwnedFd, &str); 6] = [
        (accepted.into(), "does not listen"),
        (connection.into(), "does not listen"),
        (pair.into(), "does not listen"),
        (unbound.into(), "does not listen"),
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), "no TCP or Unix stream socket"),
        (File::open("/dev/null").unwrap().into(), "no TCP or Unix stream socket"),
    ];
    for (descriptor, part) in table {
        let output = Launch::in_shell(ONE, FEW).stdin(descriptor).run();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.starts_with("chinwag: LISTEN_FDS: descriptor 3 ") && stderr.contains(part),
            "{stderr}"
        );
    }
}

#[test]
fn listener_that_fails_is_closed_and_the_last_one_ends_the_server() {
    let (listener, address) = listener();
    let ours = listener.try_clone().unwrap();
    let mut server =
        Launch::in_shell(ONE, "--print-addresses --http 127.0.0.1:0").stdin(OwnedFd::from(listener)).start();
    let mut ann = Client::connect(address.parse().unwrap());
    ann.enter("ann");
    SockRef::from(&ours).shutdown(Shutdown::Both).unwrap();
    let closed = server.log.wait_for("listener closed");
    assert!(closed.contains("ERROR") && closed.contains("listener=line"), "{closed}");
    let mut other = Client::connect(server.http_address());
    other.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(other.line().unwrap().starts_with("HTTP/1.1 200 "));
    assert!(server.is_running());

    let (listener, address) = self::listener();
    let ours = listener.try_clone().unwrap();
    let mut server = Launch::in_shell(ONE, "--print-addresses").stdin(OwnedFd::from(listener)).start();
    let mut ann = Client::connect(address.parse().unwrap());
    ann.enter("ann");
    SockRef::from(&ours).shutdown(Shutdown::Both).unwrap();
    ann.skip_to("-- the server is shutting down");
    assert_eq!(server.wait().code(), Some(1));
    let log = server.log.whole();
    assert!(
        log.trim_end().ends_with("chinwag: no listener is left that can accept connections; see the log"),
        "{log}"
    );
}

#[test]
#[ignore = "needs systemd-socket-activate"]
fn systemd_passes_both_sockets_by_their_names() {
    require("systemd-socket-activate");
    let folder = tempfile::tempdir().unwrap();
    let [line, http] = ["line", "http"].map(|name| folder.path().join(name));
    let mut command = std::process::Command::new("systemd-socket-activate");
    for path in [&line, &http] {
        command.arg("-l").arg(path);
    }
    command.args(["--fdname=line:http", env!("CARGO_BIN_EXE_chinwag")]).stderr(std::process::Stdio::null());
    let _manager = Running::start(&mut command);
    let connect = |path: &Path| eventually("a socket", || UnixStream::connect(path).ok());
    drop(connect(&http));
    let mut ann = Client::connect_unix(&line);
    ann.enter("ann");
    let mut tab = Client::connect_unix(&http);
    tab.send(b"POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
    assert!(tab.line().unwrap().starts_with("HTTP/1.1 202 "));
    ann.skip_to("http: hi");
}

#[test]
#[ignore = "needs systemd-socket-activate"]
fn error_names_the_problem_if_systemd_accepts_itself() {
    require("systemd-socket-activate");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line");
    let mut command = std::process::Command::new("systemd-socket-activate");
    command.arg("--accept").arg("-l").arg(&path).arg(env!("CARGO_BIN_EXE_chinwag")).args(FEW.split(' '));
    let log = folder.path().join("log");
    command.stderr(File::create(&log).unwrap());
    let _manager = Running::start(&mut command);
    let _client = eventually("a socket", || UnixStream::connect(&path).ok());
    let log = eventually("what is wrong", || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.contains("does not listen").then_some(log)
    });
    assert_eq!(log.matches("chinwag: LISTEN_FDS: descriptor 3 ").count(), 1, "{log}");
}

#[test]
fn unix_sockets_have_the_configured_mode_or_that_of_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let [line, http] = ["line", "http"].map(|name| folder.path().join(name));
    let [line_flag, http_flag] = [&line, &http].map(|path| format!("unix:{}", path.display()));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for (flags, expected) in [("--unix-mode 0660", 0o660), ("--unix-mode 0600", 0o600), ("", 0o755)] {
        let script = r#"umask 022; exec "$0" "$@""#;
        let launch = Launch::in_shell(script, &format!("--print-addresses {flags} --line"));
        let server = launch.arg(&line_flag).arg("--http").arg(&http_flag).start();
        assert_eq!((mode(&line), mode(&http)), (expected, expected), "{flags}");
        Client::connect_unix(&line).enter("ann");
        server.stop();
    }
    for bad in ["0668", "1000", "rw-rw----", ""] {
        let output = Launch::new("").arg(format!("--unix-mode={bad}")).run();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--unix-mode") && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn socket_of_a_server_with_a_full_queue_is_reported_in_use_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("busy");
    let listener = UnixListener::bind(&path).unwrap();
    SockRef::from(&listener).listen(0).unwrap();
    let address = socket2::SockAddr::unix(&path).unwrap();
    let waiting = std::iter::repeat_with(|| {
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        client
    });
    let waiting: Vec<_> = waiting.take_while(|client| client.connect(&address).is_ok()).collect();
    assert!(!waiting.is_empty());
    for flag in ["--line", "--http"] {
        let launch = Launch::new(FEW).arg(flag).arg(format!("unix:{}", path.display()));
        let launch = if flag == "--http" { launch.args("--line none") } else { launch.args("--http none") };
        let output = launch.run();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("stop what listens there") && stderr.lines().count() == 1, "{stderr}");
    }
    assert!(path.exists());
}

fn by_ipv6(port: u16) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    Client::over(socket, &SocketAddr::from((Ipv6Addr::LOCALHOST, port)).into())
}

#[test]
fn ipv6_wildcard_is_for_ipv6_only_and_works_beside_the_ipv4_one() {
    let port = free_port();
    let server = Launch::new(&format!("--print-addresses --http none --line [::]:{port}")).start();
    by_ipv6(port).enter("ann");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "IPv4 is another listener");
    let flags = format!("--print-addresses --http none --line 0.0.0.0:{port}");
    let both = Launch::new(&flags).start();
    Client::connect((Ipv4Addr::LOCALHOST, port).into()).enter("bob");
    drop(both);
    drop(server);
    let flags = format!("--print-addresses --http none --line [::]:{port} --line 0.0.0.0:{port}");
    let _both = Launch::new(&flags).start();
    let mut ann = by_ipv6(port);
    ann.enter("ann");
    Client::connect((Ipv4Addr::LOCALHOST, port).into()).enter("bob");
    ann.skip_to("-- bob joined");
}

#[test]
#[ignore = "needs faketime"]
fn server_starts_answers_and_logs_after_the_year_9999() {
    require("faketime");
    // The `faketime` program would stay between the test and the server.
    let script = r#"LD_PRELOAD=$(faketime now printenv LD_PRELOAD); export LD_PRELOAD
        FAKETIME=+8000y FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 exec "$0" "$@""#;
    let server = Launch::in_shell(script, "").with_listeners().start();
    let mut client = Client::connect(server.http_address());
    client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(client.line().unwrap().starts_with("HTTP/1.1 200 "));
    let head: Vec<String> = std::iter::from_fn(|| client.line()).take_while(|line| line != "\r").collect();
    assert!(!head.iter().any(|line| line.to_lowercase().starts_with("date:")), "{head:?}");
    server.join("ann");
    let connect = server.log.wait_for("connect id=");
    assert!(connect.starts_with("INFO "), "the crate has no way to write that time: {connect}");
    assert!(!server.log.text().contains("panicked"));
}
