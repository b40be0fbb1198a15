//! The parts of `benches/fanout/` whose errors would go unnoticed: the checks of deliveries, the protocols, the
//! statistics. A bench without a harness has no tests of its own, so its modules are tested from here.

#![allow(dead_code)]

#[path = "../benches/fanout"]
mod fanout {
    pub mod ledger;
    pub mod payload;
    pub mod speech;
    pub mod statistics;
}

// The modules refer to each other by these paths in the bench, too.
use fanout::{ledger, payload, speech, statistics};
use ledger::{Delivery, Fault, Ledger};
use payload::Stamp;
use speech::{Client, Piece, Protocol, Speech};
use statistics::Spread;

const TEXT: usize = 63;

/// Three clients; the first and the last talk.
fn three() -> Ledger {
    Ledger::new(TEXT, 3, &[Some(0), Some(2)])
}

fn stamp(sender: u32, sequence: u32) -> Stamp {
    Stamp { sender, sequence }
}

#[test]
fn whole_text_is_read_back_and_no_other_is() {
    for length in [63, 1023, payload::TEXT_MAX_BYTES] {
        let text = stamp(12, 345).text(length);
        assert_eq!((text.len(), Stamp::read(&text, length)), (length, Some(stamp(12, 345))));
        for at in 0..length {
            let mut torn = text.clone();
            torn[at] ^= 1;
            assert_eq!(Stamp::read(&torn, length), None, "byte {at} of {length} changed");
        }
        assert_eq!(Stamp::read(&text[..length - 1], length), None);
        assert_eq!(Stamp::read(&[text.as_slice(), b"x"].concat(), length), None);
    }
}

#[test]
fn text_made_of_two_is_torn() {
    let (one, other) = (stamp(1, 7).text(TEXT), stamp(2, 7).text(TEXT));
    for cut in 17..TEXT {
        let mixed = [&one[..cut], &other[cut..]].concat();
        assert!(mixed == one || Stamp::read(&mixed, TEXT).is_none(), "cut at {cut}");
    }
}

#[test]
fn line_is_finished_when_everybody_but_its_sender_has_it() {
    let mut ledger = three();
    let text = ledger.send(0, 5).text(TEXT);
    assert_eq!(ledger.open(), 1);
    assert_eq!(ledger.receive(1, &text), Ok(Delivery { sent_at: 5, finished: None }));
    assert_eq!(ledger.receive(2, &text), Ok(Delivery { sent_at: 5, finished: Some(0) }));
    assert_eq!(ledger.open(), 0);
}

#[test]
fn lost_line_stays_open_and_is_found_at_the_next() {
    let mut ledger = three();
    let first = ledger.send(0, 0).text(TEXT);
    let second = ledger.send(0, 0).text(TEXT);
    ledger.receive(1, &first).unwrap();
    assert_eq!(ledger.receive(2, &second), Err(Fault::Skipped(stamp(0, 1), 0)));
    ledger.receive(1, &second).unwrap();
    assert_eq!(ledger.open(), 2);
}

#[test]
fn repeated_line_is_found_even_after_it_is_finished() {
    let mut ledger = three();
    let first = ledger.send(0, 0).text(TEXT);
    ledger.receive(1, &first).unwrap();
    assert_eq!(ledger.receive(1, &first), Err(Fault::Repeated(stamp(0, 0))));
    ledger.receive(2, &first).unwrap();
    ledger.send(0, 0);
    assert_eq!(ledger.receive(2, &first), Err(Fault::Repeated(stamp(0, 0))));
}

#[test]
fn order_is_checked_for_a_sender_not_between_senders() {
    let mut ledger = three();
    let [ann, cy] = [0, 1].map(|talker| ledger.send(talker, 0).text(TEXT));
    for text in [&ann, &cy] {
        ledger.receive(1, text).unwrap();
    }
    assert!(ledger.receive(0, &cy).is_ok() && ledger.receive(2, &ann).is_ok());
    assert_eq!(ledger.open(), 0);
}

#[test]
fn own_torn_and_invented_lines_are_faults() {
    let mut ledger = three();
    let text = ledger.send(0, 0).text(TEXT);
    assert_eq!(ledger.receive(0, &text), Err(Fault::Own(stamp(0, 0))));
    assert_eq!(ledger.receive(1, &text[1..]), Err(Fault::Torn));
    for invented in [stamp(0, 1), stamp(1, 0), stamp(7, 0)] {
        assert_eq!(ledger.receive(1, &invented.text(TEXT)), Err(Fault::NeverSent(invented)));
    }
}

#[test]
fn line_of_a_talker_that_does_not_listen_must_reach_all() {
    let mut ledger = Ledger::new(TEXT, 2, &[None]);
    let text = ledger.send(0, 0).text(TEXT);
    ledger.receive(0, &text).unwrap();
    assert_eq!(ledger.open(), 1);
    ledger.receive(1, &text).unwrap();
    assert_eq!(ledger.open(), 0);
}

/// Whether it is found that a server does this to 200 lines on their way to one listener.
fn is_found(spoil: impl Fn(&mut Vec<Vec<u8>>)) -> bool {
    let mut ledger = Ledger::new(TEXT, 2, &[Some(0)]);
    let mut lines: Vec<Vec<u8>> = (0..200).map(|_| ledger.send(0, 0).text(TEXT)).collect();
    spoil(&mut lines);
    lines.iter().any(|line| ledger.receive(1, line).is_err()) || ledger.open() > 0
}

#[test]
fn every_way_to_spoil_a_stream_is_found() {
    assert!(!is_found(|_| {}));
    for at in 0..200 {
        assert!(is_found(|lines| drop(lines.remove(at))), "line {at} lost");
        assert!(is_found(|lines| lines.insert(at, lines[at].clone())), "line {at} twice");
        assert!(is_found(|lines| lines.push(lines[at].clone())), "line {at} again at the end");
        assert!(is_found(|lines| lines.swap(at, (at + 1) % 200)), "line {at} late");
        assert!(is_found(|lines| lines[at].truncate(TEXT - 1)), "line {at} cut");
    }
}

/// The bytes that a server of this protocol sends a listener when `u00012` sends a text.
fn frame(protocol: Protocol, text: &[u8]) -> Vec<u8> {
    let length = text.len();
    match protocol {
        Protocol::Plain => [text, b"\n"].concat(),
        Protocol::Chinwag => [b"u00012: ", text, b"\n"].concat(),
        Protocol::Redis => {
            let head = format!("*3\r\n$7\r\nmessage\r\n$5\r\nlobby\r\n${length}\r\n");
            [head.as_bytes(), text, b"\r\n"].concat()
        }
        Protocol::Nats => [format!("MSG lobby 1 {length}\r\n").as_bytes(), text, b"\r\n"].concat(),
        Protocol::RawWebSocket => websocket(0x81, text),
        Protocol::JsonWebSocket => {
            let head = br#"{"type":"message","room":"lobby","from":"u00012","text":""#;
            websocket(0x81, &[head, text, br#"","seq":7,"at":1763683200000}"#].concat())
        }
    }
}

/// A server's frame.
fn websocket(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        length @ 0..126 => vec![length as u8],
        length => [&[126], (length as u16).to_be_bytes().as_slice()].concat(),
    };
    [&[first], length.as_slice(), payload].concat()
}

/// Other bytes that such a server sends.
fn other(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Plain => Vec::new(),
        Protocol::Chinwag => b"-- 12 joined, 3 left, 812 here\n".to_vec(),
        Protocol::Redis => b":1000\r\n".to_vec(),
        Protocol::Nats => b"+OK\r\n".to_vec(),
        // A ping, and a pong that was not requested.
        Protocol::RawWebSocket => b"\x89\x02hi\x8a\x00".to_vec(),
        Protocol::JsonWebSocket => {
            websocket(0x81, br#"{"type":"count","room":"lobby","joined":3,"left":0,"count":62}"#)
        }
    }
}

const PROTOCOLS: [Protocol; 6] = [
    Protocol::Plain,
    Protocol::Chinwag,
    Protocol::Redis,
    Protocol::Nats,
    Protocol::RawWebSocket,
    Protocol::JsonWebSocket,
];

#[test]
fn every_protocol_cuts_lines_and_other_bytes_wherever_a_read_ends() {
    for (protocol, length) in PROTOCOLS.iter().flat_map(|protocol| [(*protocol, 63), (*protocol, 255)]) {
        let speech = Speech { protocol, text_bytes: length };
        let text = stamp(3, 9).text(length);
        let (frame, other) = (frame(protocol, &text), other(protocol));
        let stream = [other.as_slice(), &frame, &frame].concat();
        for end in 0..stream.len() {
            let (lines, rest) = cut(speech, &stream[..end]);
            let whole = end.saturating_sub(other.len()) / frame.len();
            assert_eq!(lines, vec![text.clone(); whole], "{protocol:?} after {end} bytes");
            assert!(rest < frame.len().max(other.len()));
        }
        assert_eq!(cut(speech, &stream), (vec![text.clone(); 2], 0), "{protocol:?}");
    }
}

/// The lines in some bytes, and how many bytes are left.
fn cut(speech: Speech, mut bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut lines = Vec::new();
    loop {
        match speech.cut(bytes) {
            Piece::Partial => return (lines, bytes.len()),
            Piece::Other(length) | Piece::Ping(length, _) => bytes = &bytes[length..],
            Piece::Line { length, text } => {
                lines.push(text.to_vec());
                bytes = &bytes[length..];
            }
            Piece::Wrong(what) => panic!("{what}"),
        }
    }
}

#[test]
fn bytes_of_no_protocol_are_wrong() {
    let is_wrong =
        |protocol, bytes: &[u8]| matches!(Speech { protocol, text_bytes: TEXT }.cut(bytes), Piece::Wrong(_));
    assert!(is_wrong(Protocol::Plain, &[b'x'; 64]));
    assert!(is_wrong(Protocol::Chinwag, b"somebody else: hi\n"));
    assert!(is_wrong(Protocol::Redis, b"-ERR unknown command\r\n"));
    assert!(is_wrong(Protocol::Nats, b"-ERR 'Slow Consumer'\r\n"));
    let frame = |payload: &[u8]| websocket(0x81, payload);
    assert!(is_wrong(Protocol::RawWebSocket, &frame(b"short")));
    assert!(is_wrong(Protocol::RawWebSocket, b"\x88\x02\x03\xf5"), "a close");
    assert!(is_wrong(Protocol::RawWebSocket, b"\x01\x02hi"), "the first of several frames");
    assert!(is_wrong(Protocol::RawWebSocket, b"\x81\x82"), "a mask");
    assert!(is_wrong(Protocol::RawWebSocket, &frame(b"HTTP/1.1 400 Bad Request")));
    assert!(is_wrong(Protocol::JsonWebSocket, &frame(br#"{"type":"error","code":"bad_json","text":""}"#)));
    assert!(is_wrong(Protocol::JsonWebSocket, &frame(br#"{"type":"message","text":"short"}"#)));
}

#[test]
fn step_ends_with_its_line_and_leaves_the_bytes_behind_it() {
    let client = Client { number: 12, listens: true };
    let step = |protocol| Speech { protocol, text_bytes: TEXT }.enter(client)[0].clone();
    let ends: [(Protocol, &[u8]); 2] = [
        (Protocol::Chinwag, b"-- hi\n-- welcome to chinwag\n"),
        (Protocol::RawWebSocket, b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"),
    ];
    for (protocol, bytes) in ends {
        let stream = [bytes, b"more\n"].concat();
        for end in 0..stream.len() {
            let due = (end >= bytes.len()).then_some(bytes.len());
            assert_eq!(step(protocol).end(&stream[..end]), due, "{protocol:?} after {end} bytes");
        }
    }
}

#[test]
fn pong_has_the_payload_of_its_ping() {
    let speech = Speech { protocol: Protocol::RawWebSocket, text_bytes: TEXT };
    let Piece::Ping(4, pong) = speech.cut(b"\x89\x02hi") else {
        panic!("a ping must be answered");
    };
    assert_eq!(unmasked(&pong), (0x8a, b"hi".to_vec()));
}

/// A client's frame of less than 64 KiB: its first byte and its payload.
fn unmasked(frame: &[u8]) -> (u8, Vec<u8>) {
    let (length, at) = match frame[1] & 0x7f {
        126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
        length => (usize::from(length), 2),
    };
    let mask = &frame[at..at + 4];
    assert!(frame[1] & 0x80 != 0 && mask != [0; 4] && frame.len() == at + 4 + length);
    (frame[0], frame[at + 4..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
}

#[test]
fn lines_are_sent_as_each_protocol_has_them() {
    let sent = |protocol| Speech { protocol, text_bytes: 2 }.send(b"hi");
    assert_eq!(sent(Protocol::Chinwag), b"hi\n");
    assert_eq!(sent(Protocol::Redis), b"*3\r\n$7\r\nPUBLISH\r\n$5\r\nlobby\r\n$2\r\nhi\r\n");
    assert_eq!(sent(Protocol::Nats), b"PUB lobby 2\r\nhi\r\n");
    assert_eq!(unmasked(&sent(Protocol::RawWebSocket)), (0x81, b"hi".to_vec()));
    let object: serde_json::Value =
        serde_json::from_slice(&unmasked(&sent(Protocol::JsonWebSocket)).1).unwrap();
    assert_eq!(object, serde_json::json!({"type": "say", "room": "lobby", "text": "hi"}));
    for length in [125, 126, 1023] {
        let text = stamp(3, 9).text(length);
        let frame = Speech { protocol: Protocol::RawWebSocket, text_bytes: length }.send(&text);
        assert_eq!(unmasked(&frame), (0x81, text));
    }
}

#[test]
fn median_lies_in_the_middle_of_the_range() {
    let spread = |values: &[f64]| Spread::of(values.to_vec()).map(|of| (of.least, of.median, of.most));
    assert_eq!(spread(&[]), None);
    assert_eq!(spread(&[4.0]), Some((4.0, 4.0, 4.0)));
    assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
    assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), Some((1.0, 2.5, 4.0)));
}
