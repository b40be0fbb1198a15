//! WebSocket frames, by tables (RFC 6455): the input and exactly its messages, however the bytes are cut; and the
//! server's output.

use chinwag::codec::{json, websocket};
use chinwag::protocol::{CloseReason, Event};

use crate::frames::{
    BINARY, CLOSE, CONTINUATION, Decoded, FIN, PING, PONG, TEXT, close, decode, frame, frame_masked, header,
    parse,
};

/// The limit on messages in most of these tests.
const MAX: usize = 256;

/// Most frames of a message of that length: 1,024, and one for every 8 bytes.
const FRAMES_MAX: usize = 1024 + MAX / 8;

/// Frames up to this long are cut everywhere; longer ones near their ends.
const SHORT: usize = 400;
const NEAR: usize = 20;

/// Checks that `input` decodes to exactly `expected`: whole, cut in two anywhere, and byte by byte.
#[track_caller]
fn check(message_max: usize, input: &[u8], expected: &[Decoded]) {
    let shown = input[..input.len().min(SHORT)].escape_ascii();
    assert_eq!(decode(message_max, [input]), expected, "\"{shown}\" whole");
    let all = 1..input.len();
    for cut in all.filter(|cut| input.len() <= SHORT || *cut < NEAR || input.len() - cut < NEAR) {
        let (one, other) = input.split_at(cut);
        assert_eq!(decode(message_max, [one, other]), expected, "\"{shown}\" cut at {cut}");
    }
    assert_eq!(decode(message_max, input.chunks(1)), expected, "\"{shown}\" byte by byte");
}

#[track_caller]
fn check_rows(rows: &[(Vec<Vec<u8>>, Vec<Decoded>)]) {
    rows.iter().for_each(|(frames, expected)| check(MAX, &frames.concat(), expected));
}

/// Checks input that fails the connection, also behind a good message.
#[track_caller]
fn check_failures(reason: CloseReason, rows: &[Vec<u8>]) {
    for row in rows {
        check(MAX, row, &[Decoded::Failed(reason)]);
        let behind = [frame(FIN | TEXT, "hi"), row.clone()].concat();
        check(MAX, &behind, &[text("hi"), Decoded::Failed(reason)]);
    }
}

fn text(raw: &str) -> Decoded {
    Decoded::Text(raw.into())
}

fn binary(raw: &[u8]) -> Decoded {
    Decoded::Binary(raw.into())
}

fn ping(raw: &[u8]) -> Decoded {
    Decoded::Ping(raw.into())
}

const BAD_FRAME: Decoded = Decoded::Failed(CloseReason::BadFrame);
const BAD_TEXT: Decoded = Decoded::Failed(CloseReason::BadText);
const TOO_LARGE: Decoded = Decoded::Failed(CloseReason::TooLarge);
const TOO_MANY_FRAMES: Decoded = Decoded::Failed(CloseReason::TooManyFrames);

#[test]
fn frame_is_a_message() {
    check_rows(&[
        (vec![frame(FIN | TEXT, "hello")], vec![text("hello")]),
        (vec![frame(FIN | TEXT, "")], vec![text("")]),
        (vec![frame(FIN | TEXT, "é李🦀\0\x1b")], vec![text("é李🦀\0\x1b")]),
        (vec![frame(FIN | BINARY, b"\xff\0\xc3")], vec![binary(b"\xff\0\xc3")]),
        (vec![frame(FIN | BINARY, "")], vec![binary(b"")]),
        (
            vec![frame(FIN | TEXT, "a"), frame(FIN | BINARY, "b"), frame(FIN | TEXT, "c")],
            vec![text("a"), binary(b"b"), text("c")],
        ),
        (vec![frame(PING, "")], vec![ping(b"")]),
        (vec![frame(PING, "x".repeat(125))], vec![ping("x".repeat(125).as_bytes())]),
        (vec![frame(PING, b"\xff\xfe")], vec![ping(b"\xff\xfe")]),
        (vec![frame(PONG, ""), frame(PONG, "what?"), frame(FIN | TEXT, "hi")], vec![text("hi")]),
        (vec![frame(FIN | TEXT, "hi"), vec![FIN | TEXT]], vec![text("hi")]),
    ]);
}

#[test]
fn every_mask_is_removed() {
    for mask in [[0; 4], [0xff; 4], [1, 2, 3, 4], [0x80, 0, 0, 0x7f]] {
        for length in 0..10 {
            let payload = &"abcdefghij"[..length];
            check(MAX, &frame_masked(FIN | TEXT, payload.as_bytes(), mask), &[text(payload)]);
        }
    }
}

#[test]
fn every_length_up_to_the_limit_is_accepted() {
    for length in [0, 1, 124, 125, 126, 127, 0xfffe, 0xffff, 0x1_0000, 0x1_0001] {
        let payload = "x".repeat(length);
        let bytes = frame(FIN | TEXT, &payload);
        check(length, &bytes, &[text(&payload)]);
        if length > 0 {
            check(length - 1, &bytes, &[TOO_LARGE]);
        }
    }
}

#[test]
fn too_large_frame_is_refused_by_its_header_alone() {
    for length in [MAX as u64 + 1, 0xffff, 0x1_0000, u64::from(u32::MAX), 1 << 62, 1 << 63, u64::MAX] {
        for first in [FIN | TEXT, FIN | BINARY, TEXT, BINARY] {
            let length_bytes = if length > 0xffff { 8 } else { 2 };
            let head = [header(first, length, length_bytes), vec![1, 2, 3, 4]].concat();
            check(MAX, &head, &[TOO_LARGE]);
        }
        let begun = frame(TEXT, "x");
        let rest = header(CONTINUATION, length - 1, if length > 0x1_0000 { 8 } else { 2 });
        check(MAX, &[begun, rest, vec![0; 4]].concat(), &[TOO_LARGE]);
    }
}

#[test]
fn length_must_have_its_shortest_form() {
    let rows = [(0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (0xffff, 8)];
    let head = |(length, bytes)| [header(FIN | TEXT, length, bytes), vec![0; 4]].concat();
    check_failures(CloseReason::BadFrame, &rows.map(head));
}

#[test]
fn reserved_bits_and_unmasked_frames_are_refused() {
    for rsv in [0x40, 0x20, 0x10, 0x70] {
        let rows = [TEXT, BINARY, PING].map(|first| frame(FIN | rsv | first, "x"));
        check_failures(CloseReason::BadFrame, &rows);
    }
    let opcodes = [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf];
    check_failures(CloseReason::BadFrame, &opcodes.map(|opcode| frame(FIN | opcode, "")));
    check_failures(CloseReason::BadFrame, &opcodes.map(|opcode| frame(opcode, "x")));
    let unmasked = [
        vec![FIN | TEXT, 2, b'h', b'i'],
        vec![FIN | TEXT, 0],
        vec![PING, 0],
        vec![CLOSE, 0],
        [&[FIN | BINARY, 126, 0, 126][..], &[0; 126]].concat(),
    ];
    check_failures(CloseReason::BadFrame, &unmasked);
}

#[test]
fn control_frame_must_be_short_and_whole() {
    for control in [CLOSE, PING, PONG] {
        let long = [header(control, 126, 2), vec![0; 4]].concat();
        let endless = [header(control, 1 << 63, 8), vec![0; 4]].concat();
        let part = frame(control & !FIN, "");
        check_failures(CloseReason::BadFrame, &[long, endless, part]);
    }
}

#[test]
fn message_may_come_in_several_frames() {
    let part = |payload: &str| frame(CONTINUATION, payload);
    let last = |payload: &str| frame(FIN | CONTINUATION, payload);
    check_rows(&[
        (vec![frame(TEXT, "he"), last("llo")], vec![text("hello")]),
        (vec![frame(BINARY, "he"), part("ll"), last("o")], vec![binary(b"hello")]),
        (vec![frame(TEXT, ""), part(""), last("")], vec![text("")]),
        (vec![frame(TEXT, ""), last("x"), frame(FIN | TEXT, "y")], vec![text("x"), text("y")]),
        (vec![frame(TEXT, "a"), last("b"), frame(TEXT, "c"), last("d")], vec![text("ab"), text("cd")]),
        (vec![frame(TEXT, "begun"), part("...")], vec![]),
        (
            vec![frame(TEXT, "a"), frame(PING, "1"), part("b"), frame(PONG, ""), frame(PING, "2"), last("c")],
            vec![ping(b"1"), ping(b"2"), text("abc")],
        ),
        (vec![frame(TEXT, "a"), close(1000, "")], vec![Decoded::Close(1000)]),
    ]);
}

#[test]
fn fragments_of_two_messages_must_not_mix() {
    check_failures(
        CloseReason::BadFrame,
        &[
            frame(FIN | CONTINUATION, "x"),
            frame(CONTINUATION, "x"),
            frame(CONTINUATION, ""),
            [frame(TEXT, "a"), frame(FIN | TEXT, "b")].concat(),
            [frame(TEXT, "a"), frame(TEXT, "b")].concat(),
            [frame(BINARY, "a"), frame(FIN | BINARY, "b")].concat(),
            [frame(TEXT, "a"), frame(CONTINUATION, "b"), frame(BINARY, "c")].concat(),
            [frame(TEXT, "a"), vec![FIN | CONTINUATION, 1, b'x']].concat(),
        ],
    );
    let again = [frame(TEXT, "a"), frame(FIN | CONTINUATION, "b"), frame(FIN | CONTINUATION, "c")];
    check(MAX, &again.concat(), &[text("ab"), BAD_FRAME]);
}

#[test]
fn fragmented_message_has_the_same_limit() {
    let half = "x".repeat(MAX / 2);
    let (begun, rest) = (frame(TEXT, &half), frame(FIN | CONTINUATION, &half));
    check(MAX, &[begun.clone(), rest].concat(), &[text(&half.repeat(2))]);
    let more = header(FIN | CONTINUATION, MAX as u64 / 2 + 1, 2);
    check(MAX, &[begun.clone(), more, vec![0; 4]].concat(), &[TOO_LARGE]);
    let full = [begun, frame(CONTINUATION, &half)].concat();
    check(MAX, &[full.clone(), frame(FIN | CONTINUATION, "")].concat(), &[text(&half.repeat(2))]);
    check(MAX, &[full, frame(CONTINUATION, "x")].concat(), &[TOO_LARGE]);
}

#[test]
fn empty_frames_are_counted() {
    let most = [frame(TEXT, ""), frame(CONTINUATION, "").repeat(FRAMES_MAX - 2)].concat();
    let last = frame(FIN | CONTINUATION, "x");
    check(MAX, &[most.clone(), last.clone()].concat(), &[text("x")]);
    let one_more = [most, frame(CONTINUATION, ""), last].concat();
    check(MAX, &one_more, &[TOO_MANY_FRAMES]);
}

#[test]
fn short_frames_are_bounded_in_proportion_to_the_limit() {
    let message = |frames: usize| {
        let rest = frame(CONTINUATION, "x").repeat(frames - 2);
        [frame(TEXT, "x"), rest, frame(FIN | CONTINUATION, "x")].concat()
    };
    for limit in [16 * 1024, 64 * 1024] {
        let most = 1024 + limit / 8;
        assert_eq!(decode(limit, [&message(most)[..]]), [text(&"x".repeat(most))], "{limit}");
        assert_eq!(decode(limit, [&message(most + 1)[..]]), [TOO_MANY_FRAMES], "{limit}");
    }
    // The last frame of a message may be the one too many.
    let full = [frame(BINARY, ""), frame(CONTINUATION, "").repeat(FRAMES_MAX - 1)].concat();
    check(MAX, &[full.clone(), frame(FIN | CONTINUATION, "")].concat(), &[TOO_MANY_FRAMES]);
    check(MAX, &[full, frame(PING, "?")].concat(), &[ping(b"?")]);
    let again = [message(9), message(9)].concat();
    check(MAX, &again, &[text("xxxxxxxxx"), text("xxxxxxxxx")]);
}

#[test]
fn pings_and_pongs_between_fragments_are_no_part_of_the_message() {
    let full = "x".repeat(MAX);
    let (begun, last) = (frame(TEXT, &full), frame(FIN | CONTINUATION, ""));
    check(MAX, &[begun, frame(PING, "?"), last.clone()].concat(), &[ping(b"?"), text(&full)]);
    let many = [frame(TEXT, "x"), frame(PONG, "").repeat(FRAMES_MAX + 1), last];
    check(MAX, &many.concat(), &[text("x")]);
}

#[test]
fn close_frame_may_have_a_code_and_a_reason() {
    check_rows(&[
        (vec![frame(CLOSE, "")], vec![Decoded::Close(1000)]),
        (vec![close(1000, "")], vec![Decoded::Close(1000)]),
        (vec![close(1001, "good-bye")], vec![Decoded::Close(1001)]),
        (vec![close(1000, "é".repeat(61))], vec![Decoded::Close(1000)]),
        (vec![close(1000, ""), frame(FIN | TEXT, "more")], vec![Decoded::Close(1000)]),
    ]);
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        check(MAX, &close(code, "why"), &[Decoded::Close(code)]);
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        check(MAX, &close(code, "why"), &[BAD_FRAME]);
    }
    check_failures(CloseReason::BadFrame, &[frame(CLOSE, [3])]);
}

/// Invalid UTF-8: a continuation without a beginning, overlong forms, a lone surrogate, past the last character, an
/// incomplete character.
const BAD_UTF8: [&[u8]; 9] = [
    b"\x80",
    b"\xff",
    b"ok\xfe",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"cut \xf0\x9f",
    b"cut \xc3",
];

#[test]
fn texts_and_close_reasons_must_be_utf8() {
    for bad in BAD_UTF8 {
        check_failures(CloseReason::BadText, &[frame(FIN | TEXT, bad), close(1000, bad)]);
        check(MAX, &frame(FIN | BINARY, bad), &[binary(bad)]);
        check(MAX, &frame(PING, bad), &[ping(bad)]);
        for cut in 0..=bad.len() {
            let (one, other) = bad.split_at(cut);
            let frames = [frame(TEXT, one), frame(CONTINUATION, other), frame(FIN | CONTINUATION, "")];
            check(MAX, &frames.concat(), &[BAD_TEXT]);
        }
    }
}

/// A frame is checked before it is complete: the number of bytes after which each is refused.
#[test]
fn bytes_that_can_not_become_utf8_are_refused_within_a_frame() {
    let rows: [(&[u8], usize); 12] = [
        (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 13),
        (b"\xf4\x90", 2),
        (b"ok\x80ok", 3),
        (b"ok\xffok", 3),
        (b"\xc0\xafok", 1),
        (b"\xc1\xbfok", 1),
        (b"\xe0\x80\xaf", 2),
        (b"\xed\xa0\x80", 2),
        (b"\xf0\x8f\xbf\xbf", 2),
        (b"\xf5\x80\x80\x80", 1),
        (b"\xe2\x82ok", 3),
        (b"\xf0\x9f\xa6ok", 4),
    ];
    for (payload, needed) in rows {
        let rest = [payload, &[b'x'; 90]].concat();
        let begun = frame(TEXT, "\u{e9} ");
        for (before, first) in [(vec![], FIN | TEXT), (vec![], TEXT), (begun, FIN | CONTINUATION)] {
            let bytes = [before.clone(), frame(first, &rest)].concat();
            let cut = bytes.len() - rest.len() + needed;
            let shown = payload.escape_ascii();
            assert_eq!(decode(MAX, [&bytes[..cut - 1]]), [], "{shown}: nothing is wrong yet");
            assert_eq!(decode(MAX, [&bytes[..cut]]), [BAD_TEXT], "{shown}: it is at once");
            assert_eq!(decode(MAX, bytes[..cut].chunks(1)), [BAD_TEXT], "{shown} byte by byte");
        }
        let reason = close(1000, &rest[..90]);
        let cut = reason.len() - 90 + needed;
        assert_eq!(decode(MAX, [&reason[..cut - 1]]), []);
        assert_eq!(decode(MAX, [&reason[..cut]]), [BAD_TEXT], "the reason of a close too");
        assert_eq!(decode(MAX, [&frame(FIN | BINARY, &rest)[..]]), [binary(&rest)]);
    }
    let code = close(1005, "why");
    assert_eq!(decode(MAX, [&code[..code.len() - 3]]), [BAD_FRAME], "the code alone is wrong");
}

/// An incomplete character is allowed at the end of a frame, and not at the end of a message.
#[test]
fn incomplete_character_is_refused_only_at_the_end_of_the_message() {
    for part in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\xa6"] {
        assert_eq!(decode(MAX, [&frame(TEXT, part)[..]]), []);
        assert_eq!(decode(MAX, [&[frame(TEXT, part), frame(CONTINUATION, "")].concat()[..]]), []);
        check(MAX, &[frame(TEXT, part), frame(FIN | CONTINUATION, "")].concat(), &[BAD_TEXT]);
        check(MAX, &[frame(TEXT, part), frame(PING, "?")].concat(), &[ping(b"?")]);
    }
}

#[test]
fn character_may_be_in_two_frames() {
    let words = "é李🦀";
    for cut in 0..=words.len() {
        let (one, other) = words.as_bytes().split_at(cut);
        let frames = [frame(TEXT, one), frame(PING, ""), frame(FIN | CONTINUATION, other)];
        check(MAX, &frames.concat(), &[ping(b""), text(words)]);
    }
    let each: Vec<_> = words.bytes().map(|byte| frame(CONTINUATION, [byte])).collect();
    let frames = [frame(TEXT, ""), each.concat(), frame(FIN | CONTINUATION, "")];
    check(MAX, &frames.concat(), &[text(words)]);
}

// Output of the server.

const LENGTHS: [usize; 13] = [0, 1, 2, 124, 125, 126, 127, 128, 0xfffe, 0xffff, 0x1_0000, 0x1_0001, 200_000];

#[test]
fn every_message_is_one_frame() {
    for length in LENGTHS {
        let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let mut out = Vec::new();
        websocket::ping(&mut out);
        websocket::text(&mut out, |out| out.resize(out.len() + length, b'x'));
        websocket::binary(&mut out, &payload);
        websocket::pong(&mut out, b"?");
        let expected = [
            (PING, vec![]),
            (FIN | TEXT, vec![b'x'; length]),
            (FIN | BINARY, payload),
            (PONG, b"?".to_vec()),
        ];
        assert!(parse(&out) == expected, "{length} bytes");
    }
}

#[test]
fn pong_returns_the_longest_ping() {
    let mut out = Vec::new();
    websocket::pong(&mut out, &[0xff; 125]);
    assert_eq!(parse(&out), [(PONG, vec![0xff; 125])]);
}

const REASONS: [CloseReason; 33] = [
    CloseReason::Quit,
    CloseReason::EndOfInput,
    CloseReason::ConnectionLost,
    CloseReason::BufferFull,
    CloseReason::BufferHigh,
    CloseReason::Stalled,
    CloseReason::ServerMemory,
    CloseReason::NoName,
    CloseReason::Idle,
    CloseReason::EndlessLine,
    CloseReason::HttpRequest,
    CloseReason::OtherProtocol,
    CloseReason::UntrustedProxy,
    CloseReason::NoProxyHeader,
    CloseReason::ServerFull,
    CloseReason::TooManyFromAddress,
    CloseReason::TooManyArrivals,
    CloseReason::Shutdown,
    CloseReason::PeerClosed,
    CloseReason::BadFrame,
    CloseReason::BadText,
    CloseReason::TooLarge,
    CloseReason::TooManyFrames,
    CloseReason::NoPong,
    CloseReason::ResponseSent,
    CloseReason::RequestTimeout,
    CloseReason::Evicted,
    CloseReason::Kicked,
    CloseReason::Banned,
    CloseReason::LoginFailed,
    CloseReason::NoLogin,
    CloseReason::SessionEnded,
    CloseReason::NotAllowed,
];

/// The code of the close frame of each reason. A new reason fails to compile here until it has a row; put it into
/// the list above too.
fn close_code(reason: CloseReason) -> Option<u16> {
    match reason {
        CloseReason::Quit | CloseReason::EndOfInput => Some(1000),
        CloseReason::ConnectionLost | CloseReason::PeerClosed => None,
        CloseReason::BufferFull | CloseReason::BufferHigh | CloseReason::Stalled => Some(1013),
        CloseReason::ServerMemory | CloseReason::ServerFull | CloseReason::NoPong => Some(1013),
        CloseReason::NoName | CloseReason::Idle | CloseReason::EndlessLine => Some(1008),
        CloseReason::TooManyFromAddress | CloseReason::TooManyArrivals => Some(1008),
        CloseReason::Kicked | CloseReason::Banned | CloseReason::NotAllowed => Some(1008),
        CloseReason::LoginFailed | CloseReason::NoLogin | CloseReason::SessionEnded => Some(1008),
        CloseReason::Shutdown => Some(1001),
        CloseReason::BadFrame => Some(1002),
        CloseReason::BadText => Some(1007),
        CloseReason::TooLarge | CloseReason::TooManyFrames => Some(1009),
        CloseReason::ResponseSent | CloseReason::RequestTimeout | CloseReason::Evicted => None,
        CloseReason::HttpRequest | CloseReason::OtherProtocol => None,
        CloseReason::UntrustedProxy | CloseReason::NoProxyHeader => None,
    }
}

/// `parse` checks that the reason fits into a control frame.
#[test]
fn close_reasons_have_a_code_and_a_text() {
    for (index, reason) in REASONS.into_iter().enumerate() {
        assert_eq!(reason as usize, index, "a reason is missing before {reason:?}");
        let code = close_code(reason);
        let mut out = Vec::new();
        json::close(reason, &mut out);
        let payload =
            code.map(|code| [&code.to_be_bytes(), reason.farewell().unwrap_or_default().as_bytes()].concat());
        assert_eq!(parse(&out), Vec::from_iter(payload.map(|payload| (CLOSE, payload))), "{reason:?}");
        let mut bye = Vec::new();
        json::encode(&Event::Bye(reason), None, &mut bye);
        let frames = parse(&bye);
        let bye = reason.farewell().map(|why| format!(r#"{{"type":"bye","reason":"{why}"}}"#));
        let bye = bye.map(|bye| (FIN | TEXT, bye.into_bytes()));
        assert_eq!(frames, Vec::from_iter(bye.into_iter().chain(parse(&out))), "{reason:?}");
    }
}
