//! The parts of `benches/fanout/` that could be wrong without a sound: the checks of deliveries, the protocols, the
//! statistics. A bench without a harness has no tests of its own, so its modules are tested from here.

#![allow(dead_code)]

#[path = "../benches/fanout"]
mod fanout {
    pub mod ledger;
    pub mod merge;
    pub mod payload;
    #[path = "load/schedule.rs"]
    pub mod schedule;
    pub mod speech;
    pub mod statistics;
}

// Where these modules find each other in the bench, too.
use fanout::{ledger, payload, schedule, speech, statistics};
use ledger::{Fault, Heard, Ledger};
use payload::{PROBE, Stamp};
use speech::{Client, Piece, Protocol, Speech, speech};
use statistics::Spread;

const TEXT: usize = 63;

/// Three clients in a room; the first and the last talk.
fn three() -> Ledger {
    Ledger::new(TEXT, &[0, 0, 0], &[(0, Some(0)), (0, Some(2))])
}

fn stamp(sender: u32, sequence: u32) -> Stamp {
    Stamp { sender, sequence }
}

#[test]
fn a_text_is_read_back_and_no_other_is() {
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
fn a_text_put_together_of_two_is_torn() {
    let (one, other) = (stamp(1, 7).text(TEXT), stamp(2, 7).text(TEXT));
    for cut in 17..TEXT {
        let mixed = [&one[..cut], &other[cut..]].concat();
        assert!(mixed == one || Stamp::read(&mixed, TEXT).is_none(), "cut at {cut}");
    }
}

#[test]
fn a_line_is_finished_when_everybody_but_its_sender_has_heard_it() {
    let mut ledger = three();
    let text = ledger.say(0, 5).text(TEXT);
    assert_eq!((ledger.open(), ledger.missing()), (1, 2));
    assert_eq!(ledger.hear(1, &text), Ok(Some(Heard { said_at: 5, finished: None })));
    assert_eq!(ledger.hear(2, &text), Ok(Some(Heard { said_at: 5, finished: Some(0) })));
    assert_eq!((ledger.open(), ledger.missing()), (0, 0));
}

#[test]
fn a_lost_line_stays_open_and_is_noticed_at_the_next() {
    let mut ledger = three();
    let first = ledger.say(0, 0).text(TEXT);
    let second = ledger.say(0, 0).text(TEXT);
    ledger.hear(1, &first).unwrap();
    assert_eq!(ledger.hear(2, &second), Err(Fault::Skipped(stamp(0, 1), 0)));
    ledger.hear(1, &second).unwrap();
    assert_eq!((ledger.open(), ledger.missing()), (2, 2));
}

#[test]
fn a_repeated_line_is_noticed_even_long_after() {
    let mut ledger = three();
    let first = ledger.say(0, 0).text(TEXT);
    ledger.hear(1, &first).unwrap();
    assert_eq!(ledger.hear(1, &first), Err(Fault::Repeated(stamp(0, 0))));
    ledger.hear(2, &first).unwrap();
    ledger.say(0, 0);
    assert_eq!(ledger.hear(2, &first), Err(Fault::Repeated(stamp(0, 0))));
}

#[test]
fn order_counts_for_a_sender_not_between_senders() {
    let mut ledger = three();
    let [ann, cy] = [0, 1].map(|talker| ledger.say(talker, 0).text(TEXT));
    for text in [&ann, &cy] {
        ledger.hear(1, text).unwrap();
    }
    assert!(ledger.hear(0, &cy).is_ok() && ledger.hear(2, &ann).is_ok());
    assert_eq!(ledger.open(), 0);
}

#[test]
fn own_torn_and_invented_lines_are_faults() {
    let mut ledger = three();
    let text = ledger.say(0, 0).text(TEXT);
    assert_eq!(ledger.hear(0, &text), Err(Fault::Own(stamp(0, 0))));
    assert_eq!(ledger.hear(1, &text[1..]), Err(Fault::Torn));
    assert_eq!(ledger.hear(1, &stamp(0, 1).text(TEXT)), Err(Fault::NeverSaid(stamp(0, 1))));
    assert_eq!(ledger.hear(1, &stamp(1, 0).text(TEXT)), Err(Fault::NeverSaid(stamp(1, 0))));
    assert_eq!(ledger.hear(1, &stamp(7, 0).text(TEXT)), Err(Fault::NeverSaid(stamp(7, 0))));
    assert_eq!(ledger.hear(1, &stamp(PROBE, 0).text(TEXT)), Ok(None));
}

#[test]
fn a_line_stays_in_its_room_and_counts_its_members() {
    let mut ledger = Ledger::new(TEXT, &[0, 0, 1, 1], &[(0, Some(1)), (1, Some(3))]);
    let text = ledger.say(0, 0).text(TEXT);
    assert_eq!(ledger.hear(2, &text), Err(Fault::OtherRoom(stamp(0, 0))));
    assert_eq!(ledger.hear(0, &text), Ok(Some(Heard { said_at: 0, finished: Some(0) })));
}

#[test]
fn a_talker_that_does_not_listen_is_heard_by_all() {
    let mut ledger = Ledger::new(TEXT, &[0, 0], &[(0, None)]);
    let text = ledger.say(0, 0).text(TEXT);
    ledger.hear(0, &text).unwrap();
    assert_eq!(ledger.open(), 1);
    ledger.hear(1, &text).unwrap();
    assert_eq!(ledger.open(), 0);
}

/// A server that does this to 200 lines on their way to one listener; whether that is noticed.
fn is_noticed(spoil: impl Fn(&mut Vec<Vec<u8>>)) -> bool {
    let mut ledger = Ledger::new(TEXT, &[0, 0], &[(0, Some(0))]);
    let mut lines: Vec<Vec<u8>> = (0..200).map(|_| ledger.say(0, 0).text(TEXT)).collect();
    spoil(&mut lines);
    lines.iter().any(|line| ledger.hear(1, line).is_err()) || ledger.open() > 0
}

#[test]
fn every_way_to_spoil_a_stream_is_noticed() {
    assert!(!is_noticed(|_| {}));
    for at in 0..200 {
        assert!(is_noticed(|lines| drop(lines.remove(at))), "line {at} lost");
        assert!(is_noticed(|lines| lines.insert(at, lines[at].clone())), "line {at} twice");
        assert!(is_noticed(|lines| lines.push(lines[at].clone())), "line {at} again at the end");
        assert!(is_noticed(|lines| lines.swap(at, (at + 1) % 200)), "line {at} late");
        assert!(is_noticed(|lines| lines[at].truncate(TEXT - 1)), "line {at} cut");
    }
}

/// What a listener in this protocol is sent when `u00012` says a text.
fn frame(protocol: Protocol, text: &[u8]) -> Vec<u8> {
    let length = text.len();
    let head = match protocol {
        Protocol::Plain => String::new(),
        Protocol::Chinwag | Protocol::ChinwagFar => "u00012: ".to_string(),
        Protocol::Ncat => "<user5> ".to_string(),
        Protocol::Irc => ":u00012!~u00012@host PRIVMSG #r00000 :".to_string(),
        Protocol::Redis => format!("*3\r\n$7\r\nmessage\r\n$6\r\nr00000\r\n${length}\r\n"),
        Protocol::Nats => format!("MSG r00000 1 {length}\r\n"),
        Protocol::Mqtt => return mqtt(text),
        Protocol::MqttWebSocket => return websocket(0x82, &mqtt(text)),
        Protocol::RawWebSocket | Protocol::Nchan => return websocket(0x81, text),
        Protocol::JsonWebSocket => return websocket(0x81, &json(text)),
    };
    let end: &[u8] = match protocol {
        Protocol::Plain | Protocol::Chinwag | Protocol::ChinwagFar | Protocol::Ncat => b"\n",
        _ => b"\r\n",
    };
    [head.as_bytes(), text, end].concat()
}

fn json(text: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(text).unwrap();
    format!(
        r#"{{"type":"message","room":"lobby","from":"u00012","text":"{text}","seq":7,"at":1763683200000}}"#
    )
    .into_bytes()
}

/// A server's frame.
fn websocket(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        length @ 0..126 => vec![length as u8],
        length => [&[126], (length as u16).to_be_bytes().as_slice()].concat(),
    };
    [&[first], length.as_slice(), payload].concat()
}

fn mqtt(text: &[u8]) -> Vec<u8> {
    let body = [b"\x00\x06r00000", text].concat();
    let length = match body.len() {
        length @ 0..128 => vec![length as u8],
        length => vec![(length % 128) as u8 | 0x80, (length / 128) as u8],
    };
    [&[0x30], length.as_slice(), &body].concat()
}

/// What such a server also sends.
fn noise(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Chinwag | Protocol::ChinwagFar => b"-- 12 joined, 3 left, 812 here\n".to_vec(),
        Protocol::Ncat => b"<announce> 127.0.0.1 is connected as <user9>.\n".to_vec(),
        Protocol::Irc => b":u00013!~u00013@host JOIN :#r00000\r\n".to_vec(),
        Protocol::Redis => b":1000\r\n".to_vec(),
        Protocol::Nats => b"+OK\r\n".to_vec(),
        Protocol::Plain | Protocol::Mqtt => Vec::new(),
        // A ping, and a pong that nobody asked for.
        Protocol::RawWebSocket | Protocol::MqttWebSocket => b"\x89\x02hi\x8a\x00".to_vec(),
        Protocol::JsonWebSocket => {
            websocket(0x81, br#"{"type":"count","room":"lobby","joined":3,"left":0,"count":62}"#)
        }
        Protocol::Nchan => websocket(0x81, b"queued messages: 1\r\nactive subscribers: 1000"),
    }
}

const PROTOCOLS: [Protocol; 12] = [
    Protocol::Plain,
    Protocol::Chinwag,
    Protocol::ChinwagFar,
    Protocol::Ncat,
    Protocol::Irc,
    Protocol::Redis,
    Protocol::Nats,
    Protocol::Mqtt,
    Protocol::RawWebSocket,
    Protocol::JsonWebSocket,
    Protocol::MqttWebSocket,
    Protocol::Nchan,
];

#[test]
fn every_protocol_cuts_lines_and_noise_whatever_has_come_of_the_next() {
    for (protocol, length) in PROTOCOLS.iter().flat_map(|protocol| [(*protocol, 63), (*protocol, 255)]) {
        let speech = speech(protocol, length);
        let text = stamp(3, 9).text(length);
        let frame = frame(protocol, &text);
        let named = matches!(
            protocol,
            Protocol::Chinwag | Protocol::ChinwagFar | Protocol::Irc | Protocol::JsonWebSocket
        );
        let (named, noise) = (named.then_some(12), noise(protocol));
        let stream = [noise.as_slice(), &frame, &frame].concat();
        for end in 0..stream.len() {
            let (lines, rest) = cut(&*speech, &stream[..end]);
            let whole = end.saturating_sub(noise.len()) / frame.len();
            assert_eq!(lines, vec![(named, text.clone()); whole], "{protocol:?} after {end} bytes");
            assert!(rest < frame.len().max(noise.len()));
        }
        assert_eq!(cut(&*speech, &stream), (vec![(named, text.clone()); 2], 0), "{protocol:?}");
    }
}

type Lines = Vec<(Option<u32>, Vec<u8>)>;

/// The lines in some bytes, and how many bytes are left.
fn cut(speech: &dyn Speech, mut bytes: &[u8]) -> (Lines, usize) {
    let mut lines = Vec::new();
    loop {
        match speech.cut(bytes) {
            Piece::Partial => return (lines, bytes.len()),
            Piece::Noise(length) | Piece::Question(length, _) => bytes = &bytes[length..],
            Piece::Line { length, from, text } => {
                lines.push((from, text.to_vec()));
                bytes = &bytes[length..];
            }
            Piece::Wrong(what) => panic!("{what}"),
        }
    }
}

#[test]
fn lines_that_ncat_has_read_at_once_share_a_prefix() {
    let [one, two] = [8, 9].map(|sequence| stamp(3, sequence).text(TEXT));
    let stream = [b"<user5> ", one.as_slice(), b"\n", &two, b"\n"].concat();
    let lines = vec![(None, one), (None, two)];
    assert_eq!(cut(&*speech(Protocol::Ncat, TEXT), &stream), (lines, 0));
}

#[test]
fn what_is_no_line_of_the_protocol_is_wrong() {
    let wrong = |protocol, bytes: &[u8]| matches!(speech(protocol, TEXT).cut(bytes), Piece::Wrong(_));
    assert!(wrong(Protocol::Plain, &[b'x'; 64]));
    assert!(wrong(Protocol::Chinwag, b"somebody else: hi\n"));
    assert!(wrong(Protocol::Ncat, b"no prefix at all\n"));
    assert!(wrong(Protocol::Irc, b"ERROR :Closing link\r\n"));
    assert!(wrong(Protocol::Redis, b"-ERR unknown command\r\n"));
    assert!(wrong(Protocol::Nats, b"-ERR 'Slow Consumer'\r\n"));
    assert!(wrong(Protocol::Mqtt, &[0xe0, 2, 0, 0]));
    let frame = |payload: &[u8]| websocket(0x81, payload);
    assert!(wrong(Protocol::RawWebSocket, &frame(b"short")));
    assert!(wrong(Protocol::RawWebSocket, b"\x88\x02\x03\xf5"), "a close");
    assert!(wrong(Protocol::RawWebSocket, b"\x01\x02hi"), "the first of several frames");
    assert!(wrong(Protocol::RawWebSocket, b"\x81\x82"), "a mask");
    assert!(wrong(Protocol::RawWebSocket, b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    assert!(wrong(Protocol::JsonWebSocket, &frame(br#"{"type":"error","code":"bad_json","text":""}"#)));
    assert!(wrong(Protocol::JsonWebSocket, &frame(br#"{"type":"message","from":"u00012","text":"short"}"#)));
    assert!(wrong(Protocol::MqttWebSocket, &websocket(0x82, &[mqtt(b"hi"), mqtt(b"hi")].concat())));
}

/// Whether the first step is over once this has come; how many bytes it used up.
fn first_wait(protocol: Protocol, came: &[u8]) -> Result<(usize, bool), String> {
    let client = Client { number: 12, room: None, hears: true };
    speech(protocol, TEXT).enter(client)[0].wait.look(came)
}

#[test]
fn an_upgrade_is_whole_right_and_leaves_what_comes_behind_it() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let came = [head.as_bytes(), &websocket(0x81, b"at once")].concat();
    for end in 0..came.len() {
        let due = if end < head.len() { (0, false) } else { (head.len(), true) };
        assert_eq!(first_wait(Protocol::RawWebSocket, &came[..end]), Ok(due), "after {end} bytes");
    }
    for wrong in [head.replace("101", "403"), head.replace("s3p", "s4p")] {
        assert!(first_wait(Protocol::RawWebSocket, wrong.as_bytes()).is_err());
    }
}

#[test]
fn bytes_that_are_waited_for_may_come_in_parts_but_not_be_others() {
    let connected = b"\x20\x02\x00\x00";
    for end in 0..4 {
        assert_eq!(first_wait(Protocol::Mqtt, &connected[..end]), Ok((0, false)));
    }
    assert_eq!(first_wait(Protocol::Mqtt, b"\x20\x02\x00\x00\x90"), Ok((4, true)));
    assert!(first_wait(Protocol::Mqtt, b"\x20\x02\x00\x05").is_err());
}

#[test]
fn a_ping_is_answered_with_what_it_holds() {
    let Piece::Question(4, pong) = speech(Protocol::RawWebSocket, TEXT).cut(b"\x89\x02hi") else {
        panic!("a ping asks for something");
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
fn a_line_said_is_what_the_protocol_asks_for() {
    let client = Client { number: 12, room: None, hears: true };
    let said = |protocol| {
        let mut out = Vec::new();
        speech(protocol, 2).say(client, b"hi", &mut out);
        out
    };
    assert_eq!(said(Protocol::Chinwag), b"hi\n");
    assert_eq!(said(Protocol::Irc), b"PRIVMSG #r00000 :hi\r\n");
    assert_eq!(said(Protocol::Redis), b"*3\r\n$7\r\nPUBLISH\r\n$6\r\nr00000\r\n$2\r\nhi\r\n");
    assert_eq!(said(Protocol::Nats), b"PUB r00000 2\r\nhi\r\n");
    assert_eq!(said(Protocol::Mqtt), b"\x30\x0a\x00\x06r00000hi");
    assert_eq!(unmasked(&said(Protocol::RawWebSocket)), (0x81, b"hi".to_vec()));
    assert_eq!(unmasked(&said(Protocol::MqttWebSocket)), (0x82, said(Protocol::Mqtt)));
    let object: serde_json::Value =
        serde_json::from_slice(&unmasked(&said(Protocol::JsonWebSocket)).1).unwrap();
    assert_eq!(object, serde_json::json!({"type": "say", "room": "lobby", "text": "hi"}));
}

#[test]
fn long_texts_have_the_longer_heads() {
    let client = Client { number: 12, room: None, hears: true };
    for length in [125, 126, 1023] {
        let mut out = Vec::new();
        let text = stamp(3, 9).text(length);
        speech(Protocol::RawWebSocket, length).say(client, &text, &mut out);
        assert_eq!(unmasked(&out), (0x81, text));
    }
}

#[test]
fn random_times_keep_the_rate_are_spread_and_are_the_same_again() {
    let lines = || schedule::poisson(200.0, 64).take_while(|(at, _)| *at < 100.0);
    let times: Vec<f64> = lines().map(|(at, _)| at).collect();
    assert!((19_000..21_000).contains(&times.len()), "{} lines in 100 s", times.len());
    // Exponential: of all distances, 1 - 1/e are below the mean.
    let below = times.windows(2).filter(|pair| pair[1] - pair[0] < 1.0 / 200.0).count();
    assert!((0.61..0.65).contains(&(below as f64 / times.len() as f64)), "{below} of {}", times.len());
    assert!((0..64).all(|who| lines().any(|(_, talker)| talker == who)));
    assert!(lines().eq(lines()));
}

#[test]
fn even_times_are_even_and_talkers_in_rotation() {
    let lines: Vec<_> = schedule::even(4.0, 2).take(4).collect();
    assert_eq!(lines, [(0.0, 0), (0.25, 1), (0.5, 0), (0.75, 1)]);
}

#[test]
fn medians_and_spreads() {
    let spread = |values: &[f64]| Spread::of(values).map(|of| (of.least, of.median, of.most));
    assert_eq!(spread(&[]), None);
    assert_eq!(spread(&[4.0]), Some((4.0, 4.0, 4.0)));
    assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
    assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), Some((1.0, 2.5, 4.0)));
}

#[test]
fn what_is_measured_anew_takes_the_place_of_the_old_and_the_rest_stays() {
    let old = vec![("gone", 1), ("a", 1), ("c", 1)];
    let new = vec![("c", 2), ("b", 2)];
    let all = fanout::merge::over(new, old, |(name, _)| name, &["a", "b", "c", "d"]);
    assert_eq!(all, [("a", 1), ("b", 2), ("c", 2), ("gone", 1)]);
}
