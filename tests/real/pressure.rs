//! Back-pressure on real sockets, with the kernel's buffers in between and readers at 10 Mbit/s.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::Server;

const TEXTS: usize = 10;
const TEXT_BYTES: usize = 65_000;
const READERS: usize = 20;

/// Reads `most` bytes at about 10 Mbit/s. Returns how many arrived.
fn read_slowly(mut stream: impl Read, most: usize) -> usize {
    let begun_at = Instant::now();
    let (mut count, mut buffer) = (0, [0; 12_500]);
    while count < most {
        let due = Duration::from_secs_f64(count as f64 * 8.0 / 10e6);
        thread::sleep(due.saturating_sub(begun_at.elapsed()));
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => count += read,
        }
    }
    count
}

/// Reads up to that text.
fn read_to(mut stream: impl Read, part: &str) {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.contains(part) {
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
}

#[test]
fn ten_texts_of_65_000_bytes_drop_none_of_twenty_readers_at_10_mbit() {
    let server = Server::start("--rate off");
    let mut readers = Vec::new();
    for number in 0..READERS {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        socket.connect(&server.address().into()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        (&socket).write_all(format!("reader-{number}\n/join slow\n").as_bytes()).unwrap();
        read_to(&socket, "in #slow");
        readers.push(thread::spawn(move || read_slowly(socket, TEXTS * TEXT_BYTES)));
    }
    let body = "x".repeat(TEXT_BYTES);
    let mut publisher = TcpStream::connect(server.http_address()).unwrap();
    let head = format!(
        "POST /rooms/slow/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {TEXT_BYTES}\r\n\r\n"
    );
    for _ in 0..TEXTS {
        publisher.write_all(head.as_bytes()).unwrap();
        publisher.write_all(body.as_bytes()).unwrap();
    }
    publisher.shutdown(Shutdown::Write).unwrap();
    for reader in readers {
        assert!(reader.join().unwrap() >= TEXTS * TEXT_BYTES);
    }
    let log = server.stop();
    assert!(!log.contains(" drop "), "{log}");
}
