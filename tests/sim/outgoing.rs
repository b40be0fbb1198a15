//! Connections and name look-ups of the server on the virtual network, which must behave as the real one does in
//! `tests/real/outgoing.rs`.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use chinwag::net::{ConnectTarget, Net, PollEvent, Token};

use crate::world::{Dial, REFUSED, Stream, Weather, Wire, World};

const TOKEN: Token = Token { slot: 1, serial: 7 };

fn target() -> ConnectTarget {
    ConnectTarget::Tcp(([127, 0, 0, 1], 6379).into())
}

/// Starts a connection and registers it with the poll.
fn begin(dial: Dial) -> (World, Stream, Wire) {
    let mut world = World::new(1, Weather::default());
    world.dial = dial;
    let mut stream = Net::connect(&mut world, &target()).unwrap();
    world.register(&mut stream, TOKEN).unwrap();
    let (to, wire) = world.outgoing().pop().expect("a connection");
    assert_eq!(to, target());
    assert!(world.outgoing().is_empty());
    (world, stream, wire)
}

fn poll(world: &mut World) -> Vec<PollEvent> {
    let mut events = Vec::new();
    world.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
    events
}

fn write(world: &mut World, stream: &mut Stream) -> io::Result<usize> {
    world.write(stream, &[IoSlice::new(b"PING")])
}

fn read(world: &mut World, stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    world.read(stream, &mut buffer).map(|count| buffer[..count].to_vec())
}

fn error<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn connection_is_established_with_the_first_writable_event_and_carries_bytes_both_ways() {
    let (mut world, mut stream, wire) = begin(Dial::Answered);
    assert_eq!(error(write(&mut world, &mut stream)), ErrorKind::WouldBlock);
    assert_eq!(error(read(&mut world, &mut stream)), ErrorKind::WouldBlock);
    assert_eq!(poll(&mut world), [PollEvent::Connection { token: TOKEN, readable: false, writable: true }]);
    assert_eq!(write(&mut world, &mut stream).unwrap(), 4);
    assert_eq!(world.receive(wire, 64), b"PING");
    world.send(wire, b"PONG");
    assert_eq!(poll(&mut world), [PollEvent::Connection { token: TOKEN, readable: true, writable: false }]);
    assert_eq!(read(&mut world, &mut stream).unwrap(), b"PONG");
    world.end(wire);
    assert_eq!(read(&mut world, &mut stream).unwrap(), b"");
    drop(stream);
    poll(&mut world);
    assert!(world.is_closed(wire));
}

#[test]
fn bytes_sent_before_a_connection_is_established_are_read_afterwards() {
    let (mut world, mut stream, wire) = begin(Dial::Answered);
    world.send(wire, b"hello");
    assert_eq!(error(read(&mut world, &mut stream)), ErrorKind::WouldBlock);
    assert_eq!(poll(&mut world), [PollEvent::Connection { token: TOKEN, readable: true, writable: true }]);
    assert_eq!(read(&mut world, &mut stream).unwrap(), b"hello");
}

#[test]
fn refusal_is_reported_once_by_the_call_or_by_the_next_poll() {
    let mut world = World::new(1, Weather::default());
    world.dial = Dial::Refused;
    let refused = Net::connect(&mut world, &target()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(REFUSED));
    assert!(world.outgoing().is_empty());
    for write_first in [true, false] {
        let (mut world, mut stream, _) = begin(Dial::RefusedLater);
        assert_eq!(error(write(&mut world, &mut stream)), ErrorKind::WouldBlock);
        assert_eq!(
            poll(&mut world),
            [PollEvent::Connection { token: TOKEN, readable: true, writable: true }]
        );
        let reason = match write_first {
            true => error(write(&mut world, &mut stream)),
            false => error(read(&mut world, &mut stream)),
        };
        assert_eq!(reason, ErrorKind::ConnectionRefused);
        assert_eq!(error(write(&mut world, &mut stream)), ErrorKind::BrokenPipe);
        assert_eq!(read(&mut world, &mut stream).unwrap(), b"");
    }
}

#[test]
fn hanging_connection_has_no_event_until_the_test_settles_it() {
    for (dial, readable) in [(Dial::Answered, false), (Dial::RefusedLater, true)] {
        let (mut world, mut stream, wire) = begin(Dial::Hangs);
        assert_eq!(poll(&mut world), []);
        assert_eq!(error(write(&mut world, &mut stream)), ErrorKind::WouldBlock);
        world.settle_dial(wire, dial);
        assert_eq!(poll(&mut world), [PollEvent::Connection { token: TOKEN, readable, writable: true }]);
    }
}

#[test]
fn connection_takes_a_descriptor_and_gives_it_back() {
    let mut world = World::new(1, Weather::default());
    world.descriptors = 1;
    let stream = Net::connect(&mut world, &target()).unwrap();
    assert_eq!(Net::connect(&mut world, &target()).unwrap_err().raw_os_error(), Some(24));
    drop(stream);
    assert!(Net::connect(&mut world, &target()).is_ok());
}

#[test]
fn names_resolve_to_the_addresses_that_the_test_sets() {
    let mut world = World::new(1, Weather::default());
    world.resolve("db", 7);
    assert!(world.resolved().is_none());
    assert_eq!(poll(&mut world), [PollEvent::Resolved]);
    let expected: SocketAddr = ([127, 0, 0, 1], 7).into();
    assert_eq!(world.resolved().unwrap().unwrap(), [expected]);
    assert!(world.resolved().is_none());

    world.addresses = Err("no such name".into());
    world.hold_addresses = true;
    world.resolve("gone", 7);
    assert_eq!(poll(&mut world), []);
    world.hold_addresses = false;
    assert_eq!(poll(&mut world), [PollEvent::Resolved]);
    assert_eq!(world.resolved().unwrap().unwrap_err().to_string(), "no such name");
    assert_eq!(world.asked, [("db".to_string(), 7), ("gone".to_string(), 7)]);
}
