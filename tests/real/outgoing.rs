//! Connections and name look-ups of the server on the real network, in the test's own process.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

use chinwag::net::mio::MioNet;
use chinwag::net::{ConnectTarget, Net, PollEvent, Token};
use socket2::{Domain, SockRef, Socket, Type};

use crate::harness::PATIENCE;

const TOKEN: Token = Token { slot: 1, serial: 7 };

fn net() -> MioNet {
    MioNet::new(Vec::new()).expect("a network without listeners")
}

/// Starts a connection and registers it with the poll.
fn begin(net: &mut MioNet, target: &ConnectTarget) -> Socket {
    let mut stream = net.connect(target).expect("a connection is begun");
    net.register(&mut stream, TOKEN).expect("it is watched");
    stream
}

/// Polls until there is a wanted event.
fn poll_for(net: &mut MioNet, wanted: impl Fn(&PollEvent) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    while !events.iter().any(&wanted) {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?}, and had {events:?}");
        let polled = net.poll(&mut events, Some(PATIENCE));
        assert!(!polled.is_err_and(|error| error.kind() != ErrorKind::Interrupted));
    }
}

fn until_writable(net: &mut MioNet) {
    poll_for(net, |event| matches!(event, PollEvent::Connection { token: TOKEN, writable: true, .. }));
}

fn until_readable(net: &mut MioNet) {
    poll_for(net, |event| matches!(event, PollEvent::Connection { token: TOKEN, readable: true, .. }));
}

fn write(net: &mut MioNet, stream: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
    net.write(stream, &[IoSlice::new(bytes)])
}

fn read(net: &mut MioNet, stream: &mut Socket) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    net.read(stream, &mut buffer).map(|count| buffer[..count].to_vec())
}

fn error<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

/// Sends PING and reads PONG, on both ends.
fn exchange(net: &mut MioNet, stream: &mut Socket, mut other: impl Read + Write) {
    until_writable(net);
    assert_eq!(write(net, stream, b"PING").unwrap(), 4);
    let mut received = [0; 4];
    other.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"PING");
    assert_eq!(error(read(net, stream)), ErrorKind::WouldBlock);
    other.write_all(b"PONG").unwrap();
    until_readable(net);
    assert_eq!(read(net, stream).unwrap(), b"PONG");
    drop(other);
    until_readable(net);
    assert_eq!(read(net, stream).unwrap(), b"");
}

#[test]
fn tcp_connection_carries_bytes_both_ways_and_has_the_usual_options() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut net = net();
    let mut stream = begin(&mut net, &ConnectTarget::Tcp(listener.local_addr().unwrap()));
    assert!(stream.keepalive().unwrap() && stream.tcp_nodelay().unwrap());
    assert!(stream.tcp_user_timeout().unwrap().is_some());
    exchange(&mut net, &mut stream, listener.accept().unwrap().0);
}

#[test]
fn unix_connection_carries_bytes_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut net = net();
    let mut stream = begin(&mut net, &ConnectTarget::Unix(path));
    exchange(&mut net, &mut stream, listener.accept().unwrap().0);
}

#[test]
fn refusal_is_an_event_and_its_error_is_reported_once() {
    // The port is bound but not listened on, so no other process can take it.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let target = ConnectTarget::Tcp(socket.local_addr().unwrap().as_socket().unwrap());
    for write_first in [true, false] {
        let mut net = net();
        let mut stream = begin(&mut net, &target);
        until_readable(&mut net);
        let reason = match write_first {
            true => error(write(&mut net, &mut stream, b"PING")),
            false => error(read(&mut net, &mut stream)),
        };
        assert_eq!(reason, ErrorKind::ConnectionRefused);
        assert_eq!(error(write(&mut net, &mut stream, b"PING")), ErrorKind::BrokenPipe);
        assert_eq!(read(&mut net, &mut stream).unwrap(), b"");
    }
}

/// The kernel drops the requests of a listener whose queue is full, so they hang.
#[test]
fn connection_that_is_not_established_would_block() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let target = ConnectTarget::Tcp(listener.local_addr().unwrap().as_socket().unwrap());
    let mut net = net();
    let mut streams: Vec<Socket> = (0..4).map(|_| net.connect(&target).unwrap()).collect();
    let last = streams.last_mut().unwrap();
    assert_eq!(error(write(&mut net, last, b"PING")), ErrorKind::WouldBlock);
    assert_eq!(error(read(&mut net, last)), ErrorKind::WouldBlock);
    net.register(last, TOKEN).unwrap();
    // With a longer queue the kernel's next attempt succeeds, a second later.
    listener.listen(16).unwrap();
    until_writable(&mut net);
    assert_eq!(write(&mut net, last, b"PING").unwrap(), 4);
}

#[test]
fn outcome_of_a_unix_connect_is_known_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let connect = |path: &Path| net().connect(&ConnectTarget::Unix(path.into()));
    assert_eq!(error(connect(&folder.path().join("none"))), ErrorKind::NotFound);
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    SockRef::from(&listener).listen(0).unwrap();
    let waiting = connect(&path).unwrap();
    assert_eq!(error(connect(&path)), ErrorKind::WouldBlock);
    drop((listener, waiting));
    assert_eq!(error(connect(&path)), ErrorKind::ConnectionRefused);
}

#[test]
fn name_is_looked_up_and_an_event_reports_the_answer() {
    let mut net = net();
    let answer = |net: &mut MioNet, host: &str| {
        net.resolve(host, 7);
        poll_for(net, |event| *event == PollEvent::Resolved);
        let answer = net.resolved().expect("an answer");
        assert!(net.resolved().is_none());
        answer
    };
    let local = answer(&mut net, "localhost").unwrap();
    assert!(!local.is_empty() && local.iter().all(|address| address.ip().is_loopback()), "{local:?}");
    assert!(local.iter().all(|address| address.port() == 7), "{local:?}");
    let unknown = answer(&mut net, "does-not-exist.invalid").unwrap_err();
    assert!(unknown.to_string().contains("address"), "{unknown}");
    assert_eq!(answer(&mut net, "::1").unwrap(), ["[::1]:7".parse().unwrap()]);
}
