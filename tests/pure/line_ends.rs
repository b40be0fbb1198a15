//! Ends of lines, editing within a line, and input of other protocols.

use chinwag::protocol::CloseReason;

use crate::codec::{NOT_UTF8, STAY, TOO_LONG, check, nick, say};
use crate::reader::{Decoded, LINE_MAX, Stage, decode};

const HTTP: Decoded = Decoded::Foreign(CloseReason::HttpRequest);
const OTHER: Decoded = Decoded::Foreign(CloseReason::OtherProtocol);

#[test]
fn cr_and_cr_nul_end_a_line_and_cr_lf_is_one_end() {
    let rows: [(&[u8], &[Decoded]); 8] = [
        (b"ann\rhi\r", &[nick("ann"), say("hi")]),
        (b"ann\r\0hi\r\0", &[nick("ann"), say("hi")]),
        (b"ann\r\nhi\r\n", &[nick("ann"), say("hi")]),
        (b"ann\n\rhi\n\r", &[nick("ann"), say("hi")]),
        (b"ann\r\r\nhi\r\r\0", &[nick("ann"), say("hi")]),
        // The LF of a refused name's end is no empty line, which would answer the prompt.
        (b"a b\r\nann\r\n", &[bad_name(), nick("ann")]),
        (b"a b\r\0ann\r\0", &[bad_name(), nick("ann")]),
        (b"a b\r\r\nhi\r\n", &[bad_name(), STAY, say("hi")]),
    ];
    rows.into_iter().for_each(|(input, expected)| check(Stage::Naming, input, expected));
}

fn bad_name() -> Decoded {
    Decoded::Refused(chinwag::protocol::Problem::BadName(chinwag::text::NameError::Space))
}

#[test]
fn telnet_commands_within_a_line_end_change_nothing() {
    for command in [&b"\xff\xf1"[..], b"\xff\xfb\x18", b"\xff\xfa\x1f\r\n\0\xff\xf0", b"\xff\xf1\xff\xf1"] {
        for second in [&b"\n"[..], b"\0", b""] {
            let input = [b"a b\r", command, second, b"ann\rhi\r", command, second, b"yo\r"].concat();
            check(Stage::Naming, &input, &[bad_name(), nick("ann"), say("hi"), say("yo")]);
        }
    }
}

#[test]
fn every_line_end_ends_an_over_long_line() {
    for end in ["\n", "\r", "\r\n", "\r\0"] {
        for bytes in [LINE_MAX + 1, LINE_MAX + 2, LINE_MAX + 3, 3 * LINE_MAX] {
            let input = format!("{}{end}hi{end}", "x".repeat(bytes));
            check(Stage::Chatting, input.as_bytes(), &[TOO_LONG, say("hi")]);
        }
        let line = "x".repeat(LINE_MAX);
        check(Stage::Chatting, format!("{line}{end}hi{end}").as_bytes(), &[say(&line), say("hi")]);
    }
}

#[test]
fn line_is_edited_while_it_is_typed() {
    let rows: [(&[u8], &[Decoded]); 9] = [
        (b"anm\x08n\rhj\x7fi\r", &[nick("ann"), say("hi")]),
        (b"anm\xff\xf7n\r\nhj\xff\xf7i\r\n", &[nick("ann"), say("hi")]),
        (b"bob\xff\xf8ann\nno\xff\xf8hi\n", &[nick("ann"), say("hi")]),
        ("zo\u{eb}\u{8}\u{eb}\n\u{1f98a}\u{7f}\u{1f980}\n".as_bytes(), &[nick("zo\u{eb}"), say("\u{1f980}")]),
        // All is erased, which leaves an empty line.
        (b"ab\x08\x08\x08\nhi\x7f\x7f\nyo\n", &[STAY, say("yo")]),
        // A line can't be edited after its end.
        (b"ann\n\x08\x7fhi\n", &[nick("ann"), say("hi")]),
        (b"ann\n/x\x08quiz\x7ft\x08\x08\x08\x08\x08ho\n", &[nick("ann"), say("ho")]),
        (b"ann\ncaf\xe9\x08e\ncaf\xe9\n", &[nick("ann"), say("cafe"), NOT_UTF8]),
        (b"ann\nhi\x08", &[nick("ann"), say("h")]),
    ];
    rows.into_iter().for_each(|(input, expected)| check(Stage::Naming, input, expected));
    // Erased bytes count against the limit, too: memory is bounded by the bytes received.
    let erased = [&b"x\x08".repeat(LINE_MAX / 2 - 1)[..], b"hi"].concat();
    check(Stage::Chatting, &[&erased[..], b"\nyo\n"].concat(), &[say("hi"), say("yo")]);
    check(Stage::Chatting, &[b"x", &erased[..], b"\nyo\n"].concat(), &[TOO_LONG, say("yo")]);
}

#[test]
fn byte_order_mark_before_the_first_line_is_ignored() {
    let mark = "\u{feff}";
    for stage in [Stage::Naming, Stage::Entering] {
        let first = |raw| if stage == Stage::Naming { nick(raw) } else { say(raw) };
        check(stage, format!("{mark}ann\nhi\n").as_bytes(), &[first("ann"), say("hi")]);
        check(stage, format!("{mark}ann").as_bytes(), &[first("ann")]);
        check(stage, mark.as_bytes(), &[]);
        let longest = "x".repeat(LINE_MAX);
        let expected = if stage == Stage::Naming { too_long_name() } else { say(&longest) };
        check(stage, format!("{mark}{longest}\n").as_bytes(), &[expected]);
        // An incomplete mark is not ignored.
        check(stage, b"\xef\xbbann\n", &[NOT_UTF8]);
    }
    check(Stage::Naming, format!("{mark}\nhi\n").as_bytes(), &[STAY, say("hi")]);
    check(Stage::Naming, format!("{mark}/nick ann\n").as_bytes(), &[nick("ann")]);
}

fn too_long_name() -> Decoded {
    Decoded::Refused(chinwag::protocol::Problem::BadName(chinwag::text::NameError::TooLong))
}

#[test]
fn first_line_of_another_protocol_closes_the_connection_wherever_it_is_cut() {
    for stage in [Stage::Naming, Stage::Entering] {
        for (input, expected) in [
            (&b"POST / HTTP/1.1\r\nHost: a\r\n\r\n\n/nick boss\nhello\n"[..], HTTP),
            (b"x-any /a%20b HTTP/1.0\r\n\r\nhello\n", HTTP),
            (b"GET /\nhello\n", HTTP),
            (b"\xef\xbb\xbfGET / HTTP/1.1\nhello\n", HTTP),
            (b"GEX\x08T / HTTP/1.1\nhello\n", HTTP),
            (b"GET / HTTP/1.1", HTTP),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\nhello\n", OTHER),
            (b"SSH-2.0-x\r\nhello\n", OTHER),
        ] {
            check(stage, input, &[expected]);
        }
        let endless = format!("GET /{}", "x".repeat(2 * LINE_MAX));
        check(stage, endless.as_bytes(), &[HTTP]);
    }
}

#[test]
fn empty_lines_before_another_protocol_do_not_hide_it() {
    let request = b"\r\n\r\n\nGET / HTTP/1.1\r\n\r\nhello\n";
    check(Stage::Entering, request, &[HTTP]);
    assert_eq!(decode(Stage::Naming, [&request[..]]), [HTTP]);
    // An empty line alone has to count as an answer.
    assert_eq!(decode(Stage::Naming, request.chunks(1)), [STAY, HTTP]);
    assert_eq!(decode(Stage::Naming, [&b"\r\n"[..], b"GE", b"T / HTTP/1.1\r\nhello\n"]), [STAY, HTTP]);
    // A NUL belongs to a CR right in front of it, and not if a byte order mark lies between the two.
    let binary = b"\r\xef\xbb\xbf\0";
    assert_eq!(decode(Stage::Naming, [&binary[..]]), [OTHER]);
    assert_eq!(decode(Stage::Naming, binary.chunks(1)), [STAY, OTHER]);
}

/// The check for other protocols covers no more bytes than the line does, so cuts don't matter. (A random test found
/// this.)
#[test]
fn request_behind_an_endless_telnet_command_is_the_rest_of_an_over_long_line() {
    for length in [LINE_MAX, LINE_MAX + 4] {
        let input = [b"\xff\xfa", &vec![b'z'; length][..], b"\xff\xf0GET / HTTP/1.1\r\n\n"].concat();
        let whole = decode(Stage::Entering, [&input[..]]);
        assert_eq!(decode(Stage::Entering, input.chunks(1)), whole, "{length}");
        assert_eq!(whole.first(), Some(&TOO_LONG), "{length}");
    }
}

#[test]
fn only_the_first_line_can_be_of_another_protocol() {
    check(Stage::Naming, b"ann\nGET / HTTP/1.1\n", &[nick("ann"), say("GET / HTTP/1.1")]);
    check(Stage::Entering, b"hi\nGET / HTTP/1.1\n\0hi\n", &[say("hi"), say("GET / HTTP/1.1"), say("hi")]);
    check(Stage::Chatting, b"GET / HTTP/1.1\n", &[say("GET / HTTP/1.1")]);
    check(Stage::Naming, b"GET\nPOST\n", &[nick("GET"), say("POST")]);
}
