//! The cases of the Autobahn test suite (fuzzing client, sections 1 to 7, 9 and 10) against `/raw` with an echo, on a
//! real socket. The suite itself runs on Python 2.7, so this repeats the frames of its cases and the strict outcome of
//! each.
//!
//! Sections 12 and 13 are about compression, which the server does not offer.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::frames::{BINARY, CLOSE, CONTINUE, FIN, Frame, PING, PONG, TEXT, fragment, frame, parse};
use crate::harness::{PATIENCE, Server};

const FLAGS: &str = "--rate off --message-max 4m --write-buffer 64m --write-buffer-soft off --history 0";

const HELLO: &[u8] = b"Hello, world!";

fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(TEXT, payload)
}

fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(PING, payload)
}

fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// Encodes one message in fragments of that size.
fn fragmented(opcode: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let last = payload.len().div_ceil(size).max(1) - 1;
    let fragment = |(number, part): (usize, &[u8])| {
        let opcode = if number == 0 { opcode } else { CONTINUE };
        fragment(if number == last { FIN | opcode } else { opcode }, part)
    };
    payload.chunks(size).enumerate().flat_map(fragment).collect()
}

fn echo(payload: impl AsRef<[u8]>) -> Frame {
    (TEXT, payload.as_ref().to_vec())
}

fn pong(payload: impl AsRef<[u8]>) -> Frame {
    (PONG, payload.as_ref().to_vec())
}

/// A connection to the echo.
struct Peer {
    socket: TcpStream,
    unread: Vec<u8>,
    frames: VecDeque<Frame>,
}

impl Peer {
    fn connect(server: &Server) -> Peer {
        let mut socket = TcpStream::connect(server.http_address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let handshake = "GET /raw/autobahn?echo=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(handshake.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        Peer { socket, unread: Vec::new(), frames: VecDeque::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Reads the next frame; `None` at the end.
    fn read(&mut self) -> Option<Frame> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            match self.socket.read(&mut buffer).expect("an end, and no reset") {
                0 => {
                    assert!(self.unread.is_empty(), "half a frame at the end");
                    return None;
                }
                count => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    let (frames, length) = parse(&self.unread);
                    self.unread.drain(..length);
                    self.frames.extend(frames);
                }
            }
        }
    }
}

/// The expected end of a case.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    /// The client closes with 1000, and the server answers.
    Clean,
    /// The server closes with that code as soon as it has read the offending bytes.
    Code(u16),
}

/// A row of a table: number of the case, input, output, and end.
type Row<T> = (&'static str, Vec<Vec<u8>>, Vec<Frame>, T);

/// Runs a case: sends the input in pieces of `chop` bytes, and checks the output.
#[track_caller]
fn case(server: &Server, name: &str, sent: &[Vec<u8>], chop: usize, expected: &[Frame], end: End) {
    let mut peer = Peer::connect(server);
    let mut bytes = sent.concat();
    if end == End::Clean {
        bytes.extend(close(1000, ""));
    }
    bytes.chunks(chop).for_each(|piece| peer.send(piece));
    for (number, frame) in expected.iter().enumerate() {
        assert!(peer.read().as_ref() == Some(frame), "case {name}: frame {number} is another");
    }
    let code = if let End::Code(code) = end { code } else { 1000 };
    let (opcode, payload) = peer.read().unwrap_or_else(|| panic!("case {name}: no close"));
    assert_eq!((opcode, &payload[..2]), (CLOSE, &code.to_be_bytes()[..]), "case {name}");
    assert_eq!(peer.read(), None, "case {name}: something follows the close");
}

/// Runs a case with the input in one piece, and byte by byte.
#[track_caller]
fn case_whole_and_in_bytes(server: &Server, name: &str, sent: &[Vec<u8>], expected: &[Frame], end: End) {
    case(server, name, sent, usize::MAX, expected, end);
    case(server, &format!("{name}, byte by byte"), sent, 1, expected, end);
}

#[test]
fn autobahn_1_frames_of_every_length_come_back() {
    let server = Server::start(FLAGS);
    for (number, length) in [0, 125, 126, 127, 128, 65_535, 65_536].into_iter().enumerate() {
        for (section, opcode, byte) in [(1, TEXT, b'*'), (2, BINARY, 0xfe)] {
            let payload = vec![byte; length];
            for chop in [usize::MAX, 997] {
                let name = format!("1.{section}.{}", number + 1);
                let sent = frame(opcode, &payload);
                case(&server, &name, &[sent], chop, &[(opcode, payload.clone())], End::Clean);
            }
        }
    }
}

#[test]
fn autobahn_2_each_ping_gets_its_pong() {
    let server = Server::start(FLAGS);
    let odd = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff";
    let unasked = frame(PONG, "unsolicited pong payload");
    let numbered = |number: usize| format!("payload-{number}");
    let ten: Vec<_> = (0..10).map(|number| ping(numbered(number))).collect();
    let answers: Vec<_> = (0..10).map(|number| pong(numbered(number))).collect();
    let rows: [Row<End>; 9] = [
        ("2.1", vec![ping("")], vec![pong("")], End::Clean),
        ("2.2", vec![ping(HELLO)], vec![pong(HELLO)], End::Clean),
        ("2.3", vec![ping(odd)], vec![pong(odd)], End::Clean),
        ("2.4, 2.6", vec![ping([0xfe; 125])], vec![pong([0xfe; 125])], End::Clean),
        ("2.5", vec![ping([0xfe; 126])], vec![], End::Code(1002)),
        ("2.7", vec![frame(PONG, "")], vec![], End::Clean),
        ("2.8", vec![unasked.clone()], vec![], End::Clean),
        ("2.9", vec![unasked, ping("ping payload")], vec![pong("ping payload")], End::Clean),
        ("2.10, 2.11", ten, answers, End::Clean),
    ];
    for (name, sent, expected, end) in rows {
        case_whole_and_in_bytes(&server, name, &sent, &expected, end);
    }
}

#[test]
fn autobahn_3_and_4_reserved_bits_and_opcodes_fail_the_connection_behind_good_frames() {
    let server = Server::start(FLAGS);
    let bad: Vec<(String, u8)> = (1..8)
        .flat_map(|rsv| {
            [TEXT, BINARY, PING, CLOSE].map(|opcode| (format!("3.{rsv}"), FIN | rsv << 4 | opcode))
        })
        .chain((3..8).chain(11..16).map(|opcode| (format!("4, opcode {opcode}"), FIN | opcode)))
        .collect();
    for (name, first) in bad {
        for payload in [&b""[..], HELLO] {
            let bad = fragment(first, payload);
            case_whole_and_in_bytes(&server, &name, std::slice::from_ref(&bad), &[], End::Code(1002));
            let behind = [text(HELLO), bad, ping("")];
            case_whole_and_in_bytes(&server, &name, &behind, &[echo(HELLO)], End::Code(1002));
        }
    }
}

#[test]
fn autobahn_5_fragments_with_pings_between_them_make_a_message() {
    let server = Server::start(FLAGS);
    let first = |payload: &str| fragment(TEXT, payload);
    let more = |payload: &str| fragment(CONTINUE, payload);
    let last = |payload: &str| frame(CONTINUE, payload);
    let (one, two) = ("fragment1", "fragment2");
    let whole = || echo("fragment1fragment2");
    let five = || {
        vec![
            first("fragment1"),
            more("fragment2"),
            ping("pongme 1!"),
            more("fragment3"),
            more("fragment4"),
            ping("pongme 2!"),
            last("fragment5"),
        ]
    };
    let five_back =
        vec![pong("pongme 1!"), pong("pongme 2!"), echo("fragment1fragment2fragment3fragment4fragment5")];
    let fails = End::Code(1002);
    let rows: [Row<End>; 14] = [
        ("5.1", vec![fragment(PING, one), last(two)], vec![], fails),
        ("5.2", vec![fragment(PONG, one), last(two)], vec![], fails),
        ("5.3 to 5.5", vec![first(one), last(two)], vec![whole()], End::Clean),
        ("5.6 to 5.8", vec![first(one), ping("ping"), last(two)], vec![pong("ping"), whole()], End::Clean),
        ("5.9 to 5.11", vec![last("non-continuation payload"), text(HELLO)], vec![], fails),
        ("5.12 to 5.14", vec![more("non-continuation payload"), text(HELLO)], vec![], fails),
        ("5.15", vec![first(one), last(two), more("fragment3"), text("fragment4")], vec![whole()], fails),
        ("5.16", vec![more(one), first(two), last("fragment3")], vec![], fails),
        ("5.17", vec![last(one), first(two), last("fragment3")], vec![], fails),
        ("5.18", vec![first(one), text(two)], vec![], fails),
        ("5.19, 5.20", five(), five_back, End::Clean),
        ("6.1.1", vec![text("")], vec![echo("")], End::Clean),
        ("6.1.2", vec![first(""), more(""), last("")], vec![echo("")], End::Clean),
        ("6.1.3", vec![first(""), more("middle"), last("")], vec![echo("middle")], End::Clean),
    ];
    for (name, sent, expected, end) in rows {
        case_whole_and_in_bytes(&server, name, &sent, &expected, end);
    }
}

/// Valid UTF-8: sections 6.2, 6.5, 6.7, 6.9, 6.11, 6.22 and 6.23.
const GOOD: [&[u8]; 20] = [
    "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
    "κόσμε".as_bytes(),
    b"\x00",
    "\u{80}".as_bytes(),
    "\u{800}".as_bytes(),
    "\u{10000}".as_bytes(),
    b"\x7f",
    "\u{7ff}".as_bytes(),
    "\u{ffff}".as_bytes(),
    "\u{10ffff}".as_bytes(),
    "\u{d7ff}".as_bytes(),
    "\u{e000}".as_bytes(),
    "\u{fffd}".as_bytes(),
    "\u{fffe}".as_bytes(),
    "\u{1fffe}\u{1ffff}\u{2fffe}\u{2ffff}\u{3fffe}\u{3ffff}".as_bytes(),
    "\u{4fffe}\u{4ffff}\u{5fffe}\u{5ffff}\u{6fffe}\u{6ffff}".as_bytes(),
    "\u{7fffe}\u{7ffff}\u{8fffe}\u{8ffff}\u{9fffe}\u{9ffff}".as_bytes(),
    "\u{afffe}\u{affff}\u{bfffe}\u{bffff}\u{cfffe}\u{cffff}".as_bytes(),
    "\u{dfffe}\u{dffff}\u{efffe}\u{effff}\u{ffffe}\u{fffff}\u{10fffe}".as_bytes(),
    "\u{feff}".as_bytes(),
];

/// Invalid UTF-8: sections 6.3, 6.6, 6.8, 6.10 and 6.12 to 6.21, with the length of the part that is or could become
/// valid.
const BAD: [(&[u8], usize); 40] = [
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 12),
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 12),
    (b"\xf8\x88\x80\x80\x80", 0),
    (b"\xfc\x84\x80\x80\x80\x80", 0),
    (b"\xf7\xbf\xbf\xbf", 0),
    (b"\xfb\xbf\xbf\xbf\xbf", 0),
    (b"\xfd\xbf\xbf\xbf\xbf\xbf", 0),
    (b"\xf4\x90\x80\x80", 1),
    (b"\x80", 0),
    (b"\xbf", 0),
    (b"\x80\xbf", 0),
    (b"\x80\xbf\x80\xbf\x80\xbf", 0),
    (b"\xc0 \xc1 \xc2 ", 0),
    (b"\xc2 \xc3 ", 1),
    (b"\xdf ", 1),
    (b"\xe0 \xe1 ", 1),
    (b"\xef ", 1),
    (b"\xf0 \xf1 ", 1),
    (b"\xf5 \xf6 \xf7 ", 0),
    (b"\xe0\x80 ", 1),
    (b"\xe1\x80 ", 2),
    (b"\xf0\x90\x80 ", 3),
    (b"\xfe", 0),
    (b"\xff", 0),
    (b"\xfe\xfe\xff\xff", 0),
    (b"\xc0\xaf", 0),
    (b"\xe0\x80\xaf", 1),
    (b"\xf0\x80\x80\xaf", 1),
    (b"\xf8\x80\x80\x80\xaf", 0),
    (b"\xc1\xbf", 0),
    (b"\xe0\x9f\xbf", 1),
    (b"\xf0\x8f\xbf\xbf", 1),
    (b"\xc0\x80", 0),
    (b"\xe0\x80\x80", 1),
    (b"\xf0\x80\x80\x80", 1),
    (b"\xed\xa0\x80", 1),
    (b"\xed\xad\xbf", 1),
    (b"\xed\xbf\xbf", 1),
    (b"\xed\xa0\x80\xed\xb0\x80", 1),
    (b"\xed\xaf\xbf\xed\xbf\xbf", 1),
];

#[test]
fn autobahn_6_text_is_refused_at_the_first_invalid_byte() {
    let server = Server::start(FLAGS);
    for good in GOOD {
        let name = good.escape_ascii().to_string();
        case_whole_and_in_bytes(&server, &name, &[text(good)], &[echo(good)], End::Clean);
        case(&server, &name, &[fragmented(TEXT, good, 1)], usize::MAX, &[echo(good)], End::Clean);
        for cut in 1..good.len() {
            if std::str::from_utf8(&good[..cut]).is_err() {
                let name = format!("6.6, {name} cut at {cut}");
                case_whole_and_in_bytes(&server, &name, &[text(&good[..cut])], &[], End::Code(1007));
            }
        }
    }
    for (bad, right) in BAD {
        let name = bad.escape_ascii().to_string();
        let fails = End::Code(1007);
        case_whole_and_in_bytes(&server, &name, &[text(bad)], &[], fails);
        case(&server, &name, &[fragmented(TEXT, bad, 1)], usize::MAX, &[], fails);
        // In 6.4.1 and 6.4.2 the message goes on in other frames, in 6.4.3 and 6.4.4 the frame goes on. Nothing more is
        // sent.
        case(&server, &name, &[fragment(TEXT, &bad[..=right])], usize::MAX, &[], fails);
        let rest = [bad, &[b'x'; 99]].concat();
        let mut begun = text(&rest);
        begun.truncate(begun.len() - rest.len() + right + 1);
        case_whole_and_in_bytes(&server, &name, &[begun], &[], fails);
    }
}

#[test]
fn autobahn_7_closes_are_answered_and_input_behind_them_is_ignored() {
    let server = Server::start(FLAGS);
    let bye = || close(1000, "");
    let large = vec![b'*'; 256 * 1024];
    let rows: [Row<u16>; 12] = [
        ("7.1.1", vec![text(HELLO), bye()], vec![echo(HELLO)], 1000),
        ("7.1.2", vec![bye(), bye()], vec![], 1000),
        ("7.1.3", vec![bye(), ping("")], vec![], 1000),
        ("7.1.4", vec![bye(), text(HELLO)], vec![], 1000),
        ("7.1.5", vec![fragment(TEXT, "fragment1"), bye(), frame(CONTINUE, "fragment2")], vec![], 1000),
        ("7.1.6", vec![text(&large), text(HELLO), bye(), ping("")], vec![echo(&large), echo(HELLO)], 1000),
        ("7.3.1", vec![frame(CLOSE, "")], vec![], 1000),
        ("7.3.2", vec![frame(CLOSE, "a")], vec![], 1002),
        ("7.3.4", vec![close(1000, "Hello World!")], vec![], 1000),
        ("7.3.5", vec![close(1000, [b'*'; 123])], vec![], 1000),
        ("7.3.6", vec![close(1000, [b'*'; 124])], vec![], 1002),
        (
            "7.5.1",
            vec![close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited")],
            vec![],
            1007,
        ),
    ];
    for (name, sent, expected, code) in rows {
        case(&server, name, &sent, usize::MAX, &expected, End::Code(code));
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        case_whole_and_in_bytes(&server, &format!("7.7, {code}"), &[close(code, "")], &[], End::Code(code));
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535] {
        for reason in ["", "Hello World!"] {
            let name = format!("7.9, {code}");
            case_whole_and_in_bytes(&server, &name, &[close(code, reason)], &[], End::Code(1002));
        }
    }
}

#[test]
fn autobahn_9_and_10_long_messages_come_back_however_they_are_cut() {
    const MEGABYTE: usize = 1024 * 1024;
    let server = Server::start(FLAGS);
    for (section, opcode) in [(1, TEXT), (2, BINARY)] {
        for length in [65_536, 262_144, MEGABYTE, 4 * MEGABYTE] {
            let payload = vec![b'*'; length];
            let name = format!("9.{section}, {length} bytes");
            let sent = frame(opcode, &payload);
            case(&server, &name, &[sent], usize::MAX, &[(opcode, payload)], End::Clean);
        }
        let payload = vec![b'*'; 4 * MEGABYTE];
        for size in [64, 256, 1024, 4096, 16_384, 65_536, 262_144, MEGABYTE, 4 * MEGABYTE] {
            let name = format!("9.{}, fragments of {size}", section + 2);
            let sent = fragmented(opcode, &payload, size);
            case(&server, &name, &[sent], usize::MAX, &[(opcode, payload.clone())], End::Clean);
        }
        let payload = vec![b'*'; MEGABYTE];
        for chop in [64, 128, 256, 512, 1024, 2048] {
            let name = format!("9.{}, chops of {chop}", section + 4);
            let sent = frame(opcode, &payload);
            case(&server, &name, &[sent], chop, &[(opcode, payload.clone())], End::Clean);
        }
    }
    let payload = vec![b'*'; 65_536];
    case(&server, "10.1.1", &[fragmented(TEXT, &payload, 1300)], usize::MAX, &[echo(&payload)], End::Clean);
}

#[test]
fn autobahn_9_a_thousand_messages_go_there_and_back_one_by_one() {
    let server = Server::start(FLAGS);
    for opcode in [TEXT, BINARY] {
        for size in [0, 16, 64, 256, 1024, 4096] {
            let mut peer = Peer::connect(&server);
            let payload = vec![b'*'; size];
            for _ in 0..1_000 {
                peer.send(&frame(opcode, &payload));
                assert_eq!(peer.read(), Some((opcode, payload.clone())), "{size} bytes");
            }
        }
    }
}
