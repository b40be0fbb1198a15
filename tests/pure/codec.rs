//! Decoding of the line listener, by tables: bytes in, and exactly these requests out, however the bytes are cut.

use chinwag::codec::{Expected, Input, Step, line};
use chinwag::config::DISCARD_MAX_BYTES;
use chinwag::protocol::{MessageKind, Problem, Request};
use chinwag::text::{NameError, RoomNameError};

use crate::reader::{Decoded, LINE_MAX, Stage, decode};
use crate::words::{name, room, say_request, text, typed};

/// Checks that `input` decodes to exactly `expected`: whole, cut in two anywhere, and byte by byte.
#[track_caller]
pub fn check(codec: Stage, input: &[u8], expected: &[Decoded]) {
    let shown = input.escape_ascii();
    assert_eq!(decode(codec, [input]), expected, "\"{shown}\" whole");
    for cut in 1..input.len() {
        let (one, other) = input.split_at(cut);
        assert_eq!(decode(codec, [one, other]), expected, "\"{shown}\" cut at {cut}");
    }
    assert_eq!(decode(codec, input.chunks(1)), expected, "\"{shown}\" byte by byte");
}

/// Rows of input and what it decodes to. The input ends behind it.
type Rows<'a> = &'a [(&'a [u8], &'a [Decoded])];

/// Checks the input of a client that has given its name or was not asked for one.
#[track_caller]
fn check_chat(rows: Rows) {
    rows.iter().for_each(|(input, expected)| check(Stage::Chatting, input, expected));
}

/// Checks the input of a client that was asked for its name.
#[track_caller]
fn check_answers(rows: Rows) {
    rows.iter().for_each(|(input, expected)| check(Stage::Naming, input, expected));
}

/// Checks single lines of chat.
#[track_caller]
fn check_lines(rows: &[(&str, Decoded)]) {
    for (line, expected) in rows {
        check(Stage::Chatting, format!("{line}\n").as_bytes(), std::slice::from_ref(expected));
    }
}

pub fn nick(raw: &str) -> Decoded {
    Decoded::Asked(Request::Nick(name(raw)))
}

pub fn say(raw: &str) -> Decoded {
    Decoded::Asked(say_request(MessageKind::Say, text(raw)))
}

fn me(raw: &str) -> Decoded {
    Decoded::Asked(say_request(MessageKind::Emote, text(raw)))
}

fn tell(to: &str, raw: &str) -> Decoded {
    Decoded::Asked(Request::Private { to: typed(to), text: text(raw), receipt: false })
}

fn join(raw: &str) -> Decoded {
    Decoded::Asked(Request::Join { room: room(raw), history: None, echo: false, since: None })
}

fn who(raw: Option<&str>) -> Decoded {
    Decoded::Asked(Request::Who(raw.map(room)))
}

fn history(count: Option<usize>) -> Decoded {
    Decoded::Asked(Request::History { room: None, count, after: None })
}

fn quit(reason: Option<&str>) -> Decoded {
    Decoded::Asked(Request::Quit(reason.map(text)))
}

fn bad_name(error: NameError) -> Decoded {
    Decoded::Refused(Problem::BadName(error))
}

fn bad_room(error: RoomNameError) -> Decoded {
    Decoded::Refused(Problem::BadRoomName(error))
}

fn usage(usage: &'static str) -> Decoded {
    Decoded::Refused(Problem::Usage(usage))
}

fn unknown(word: &str) -> Decoded {
    Decoded::Refused(Problem::UnknownCommand(text(word)))
}

pub const STAY: Decoded = Decoded::Asked(Request::StayGuest);
const HELP: Decoded = Decoded::Asked(Request::Help);
const ROOMS: Decoded = Decoded::Asked(Request::Rooms);
const LEAVE: Decoded = Decoded::Asked(Request::Leave(None));
pub const NOT_UTF8: Decoded = Decoded::Refused(Problem::NotUtf8);
pub const TOO_LONG: Decoded = Decoded::Refused(Problem::LineTooLong { max_bytes: LINE_MAX });

#[test]
fn first_line_is_the_name() {
    let longest = "x".repeat(32);
    check_answers(&[
        (b"ann\n", &[nick("ann")]),
        (b"ann\r\n", &[nick("ann")]),
        (b"  ann \r\n", &[nick("ann")]),
        (b"ann", &[nick("ann")]),
        ("zoë\n".as_bytes(), &[nick("zoë")]),
        ("李\n🦀\n".as_bytes(), &[nick("李"), say("🦀")]),
        (b"ann\nann\n\nbye\n", &[nick("ann"), say("ann"), say("bye")]),
        (format!("{longest}\n").as_bytes(), &[nick(&longest)]),
    ]);
}

#[test]
fn empty_first_line_keeps_the_guest_name() {
    check_answers(&[
        (b"\n", &[STAY]),
        (b"\r\n", &[STAY]),
        (b" \t \n", &[STAY]),
        (b"\nhi\n", &[STAY, say("hi")]),
        (b"\n\nann\n", &[STAY, say("ann")]),
        (b"", &[]),
    ]);
}

#[test]
fn refused_name_is_asked_for_again() {
    check_answers(&[
        (b"ann lee\nann\nhi\n", &[bad_name(NameError::Space), nick("ann"), say("hi")]),
        (b"a:b\n\n", &[bad_name(NameError::Colon), STAY]),
        (b"-ann\n--\n*\n", &[start('-'), start('-'), start('*')]),
        (b"#dev\n[bob]\n", &[start('#'), start('[')]),
        ("\u{2014}\n\u{ff0a}x\n".as_bytes(), &[start('\u{2014}'), start('*')]),
        (b"System\nguest-3\n", &[bad_name(NameError::Reserved), bad_name(NameError::Reserved)]),
        (b"a\x01b\na\x02b\n", &[bad_name(NameError::Invisible), bad_name(NameError::Invisible)]),
        (b"\x1b[31mann\n", &[bad_name(NameError::Invisible)]),
        (
            "a\u{9b}b\na\u{202e}b\n".as_bytes(),
            &[bad_name(NameError::Invisible), bad_name(NameError::Invisible)],
        ),
        (b"ann\xff\xff\nann\n", &[NOT_UTF8, nick("ann")]),
        (format!("{}\n", "x".repeat(33)).as_bytes(), &[bad_name(NameError::TooLong)]),
        (format!("{}\nann\n", "x".repeat(LINE_MAX + 1)).as_bytes(), &[TOO_LONG, nick("ann")]),
        (format!("{}\nann\n", "x".repeat(LINE_MAX + 9)).as_bytes(), &[TOO_LONG, nick("ann")]),
    ]);
}

fn start(c: char) -> Decoded {
    bad_name(NameError::Start(c))
}

#[test]
fn first_line_with_a_slash_is_a_command() {
    check_answers(&[
        (b"/nick bot\nhi\n", &[nick("bot"), say("hi")]),
        (b"  /NICK  bot \n", &[nick("bot")]),
        (b"/help\n/who\nann\n", &[HELP, who(None), nick("ann")]),
        (b"/nick\nann\n", &[usage("/nick NAME"), nick("ann")]),
        (b"/quit\n", &[quit(None)]),
        (b"//ann\nann\n", &[say("/ann"), nick("ann")]),
    ]);
}

#[test]
fn lf_and_cr_lf_end_a_line() {
    check_chat(&[
        (b"one\ntwo\r\nthree\n", &[say("one"), say("two"), say("three")]),
        (b"\n\r\n\n \n\t\n", &[]),
        (b"  as it is  \n", &[say("  as it is  ")]),
        (b"a\rb\n", &[say("a"), say("b")]),
        (b"a\r\0b\r\0\n", &[say("a"), say("b")]),
        (b"a\r", &[say("a")]),
        (b"a\r\r\n\r\n\r\r\n", &[say("a")]),
        (b"a\n\rb\n\r", &[say("a"), say("b")]),
        (b"a\0b\n\0\n\0", &[say("ab")]),
    ]);
}

#[test]
fn last_line_needs_no_end() {
    check_chat(&[
        (b"", &[]),
        (b"hi", &[say("hi")]),
        (b"hi\r", &[say("hi")]),
        (b"one\ntwo", &[say("one"), say("two")]),
        (b"one\n/quit", &[say("one"), quit(None)]),
        ("caf\u{e9}".as_bytes(), &[say("café")]),
        (b"caf\xc3", &[NOT_UTF8]),
    ]);
}

#[test]
fn two_slashes_send_one() {
    check_lines(&[
        ("//help", say("/help")),
        ("//", say("/")),
        ("///", say("//")),
        ("// spaced  ", say("/ spaced  ")),
        (" /help", say(" /help")),
    ]);
}

#[test]
fn commands_without_an_argument_ignore_case_and_space() {
    check_lines(&[
        ("/help", HELP),
        ("/HELP  ", HELP),
        ("/help me", usage("/help")),
        ("/rooms", ROOMS),
        ("/Rooms\t", ROOMS),
        ("/rooms dev", usage("/rooms")),
        ("/leave", LEAVE),
        ("/lEAVE ", LEAVE),
        ("/leave dev", usage("/leave")),
    ]);
}

#[test]
fn nick_takes_a_name() {
    check_lines(&[
        ("/nick ann", nick("ann")),
        ("/NICK   Ann  ", nick("Ann")),
        ("/nick\tann", nick("ann")),
        ("/nick", usage("/nick NAME")),
        ("/nick   ", usage("/nick NAME")),
        ("/nick ann lee", bad_name(NameError::Space)),
        ("/nick -", start('-')),
        ("/nick guest-1", bad_name(NameError::Reserved)),
    ]);
}

#[test]
fn join_and_who_take_a_room() {
    check_lines(&[
        ("/who", who(None)),
        ("/WHO  ", who(None)),
        ("/who dev", who(Some("dev"))),
        ("/who  #Dev ", who(Some("dev"))),
        ("/who a b", bad_room(RoomNameError::Character)),
        ("/join dev", join("dev")),
        ("/JOIN  #DEV ", join("dev")),
        ("/join 日本", join("日本")),
        ("/join", usage("/join ROOM")),
        ("/join ", usage("/join ROOM")),
        ("/join #", bad_room(RoomNameError::Empty)),
        ("/join a/b", bad_room(RoomNameError::Character)),
        ("/join xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", bad_room(RoomNameError::TooLong)),
    ]);
}

#[test]
fn names_of_rooms_that_look_the_same_are_one() {
    let bad = || bad_room(RoomNameError::Character);
    check_lines(&[("/join dev\u{fe0f}", bad()), ("/join dev\u{34f}", bad()), ("/join \u{3164}", bad())]);
}

#[test]
fn msg_takes_a_name_and_a_text() {
    let msg = || usage("/msg NAME TEXT");
    check_lines(&[
        ("/msg ann psst", tell("ann", "psst")),
        ("/MSG  ann a b  c", tell("ann", "a b  c")),
        ("/msg -- psst", tell("--", "psst")),
        ("/msg", msg()),
        ("/msg ann", msg()),
        ("/msg ann  ", msg()),
        ("/msg \x1b psst", msg()),
        ("/msg ann \x1b", msg()),
    ]);
}

#[test]
fn me_takes_a_text() {
    check_lines(&[
        ("/me waves", me("waves")),
        ("/Me  waves  twice ", me("waves  twice")),
        ("/me", usage("/me TEXT")),
        ("/me  ", usage("/me TEXT")),
        ("/me \x07", usage("/me TEXT")),
    ]);
}

#[test]
fn history_takes_a_number_or_nothing() {
    check_lines(&[
        ("/history", history(None)),
        ("/HISTORY ", history(None)),
        ("/history 5", history(Some(5))),
        ("/history  50 ", history(Some(50))),
        ("/history five", usage("/history [N]")),
        ("/history -1", usage("/history [N]")),
        ("/history 1 2", usage("/history [N]")),
        ("/history 99999999999999999999", usage("/history [N]")),
    ]);
}

#[test]
fn quit_takes_a_reason_or_nothing() {
    check_lines(&[
        ("/quit", quit(None)),
        ("/QUIT  ", quit(None)),
        ("/quit \x1b", quit(None)),
        ("/quit gone  fishing ", quit(Some("gone  fishing"))),
    ]);
}

#[test]
fn unknown_command_is_never_sent_as_a_message() {
    let slash = || usage("/COMMAND, with no space behind the slash. /help lists the commands");
    check_lines(&[
        ("/hlep", unknown("hlep")),
        ("/hlep me please", unknown("hlep")),
        ("/helpme", unknown("helpme")),
        ("/h\x1b[2Je", unknown("h[2Je")),
        ("/ÄÖ", unknown("ÄÖ")),
        ("/123456789012345678901234567890", unknown("12345678901234567890")),
        ("/", slash()),
        ("/ help", slash()),
        ("/\x1b", slash()),
    ]);
}

#[test]
fn control_characters_are_removed() {
    check_lines(&[
        ("\x1b[31mred\x1b[0m", say("[31mred[0m")),
        ("\x1b]0;title\x07text", say("]0;titletext")),
        ("\x1bPq#0\x1b\\text", say("Pq#0\\text")),
        ("\u{9b}31m \u{9d}0;x\u{9c} \u{90}q", say("31m 0;x q")),
        ("a\u{85}b\u{2028}c\u{2029}d", say("ab c d")),
        ("\u{202e}evil\u{202c} \u{2066}iso\u{2069}", say("evil iso")),
        ("\x08\x7f\x0c\x0bx", say("x")),
        ("a\tb", say("a b")),
        ("/me \x1b[5mblinks", me("[5mblinks")),
        ("/msg a\x1bnn \x1b[2Jboo", tell("ann", "[2Jboo")),
        ("/quit \x1b[2Jboo\u{202e}", quit(Some("[2Jboo"))),
        ("/nick a\x1bb", bad_name(NameError::Invisible)),
        ("/join a\x1bb", bad_room(RoomNameError::Character)),
        ("/join a\u{202e}b", bad_room(RoomNameError::Character)),
        ("שלום\u{200f} नमस्ते 你好 🦀", say("שלום\u{200f} नमस्ते 你好 🦀")),
    ]);
}

#[test]
fn invalid_utf8_is_refused_and_the_next_line_is_decoded() {
    let bad: &[&[u8]] = &[
        b"\x80",
        b"\x9b31m",          // a C1 control as a single byte
        b"\xc0\xaf",         // overlong
        b"\xed\xa0\x80",     // half of a surrogate pair
        b"\xf4\x90\x80\x80", // past U+10FFFF
        b"latin-1 caf\xe9",
        b"/nick caf\xe9",
        b"/nosuch \xe9",
    ];
    for line in bad {
        check(Stage::Chatting, &[line, &b"\nhi\n"[..]].concat(), &[NOT_UTF8, say("hi")]);
        check(Stage::Naming, &[line, &b"\r\nann\n"[..]].concat(), &[NOT_UTF8, nick("ann")]);
    }
    for cut_char in ["é", "€", "🦀"] {
        for bytes in 1..cut_char.len() {
            let line = [b"cut ", &cut_char.as_bytes()[..bytes], b"\nhi\n"].concat();
            check(Stage::Chatting, &line, &[NOT_UTF8, say("hi")]);
        }
    }
}

#[test]
fn telnet_commands_are_ignored() {
    check_chat(&[
        (b"\xff\xfb\x18hi\n", &[say("hi")]),
        (b"h\xff\xfd\x01\xff\xfe\x03i\n", &[say("hi")]),
        // A request for a timing mark is answered at once, without a line end.
        (b"\xff\xf4\xff\xfd\x06", &[Decoded::Asked(Request::Ping)]),
        (b"\xff\xf4\xff\xfd\x03\n", &[]),
        // It is answered within a line too if Ctrl-C was pressed there, and the line so far is discarded.
        (b"hel\xff\xf4\xff\xfd\x06", &[Decoded::Asked(Request::Ping)]),
        (b"hel\xff\xf4\xff\xfd\x06lo\r\n", &[Decoded::Asked(Request::Ping), say("lo")]),
        (
            b"hi\r\nhel\xff\xf4\xff\xf1\xff\xfd\x06lo\n",
            &[say("hi"), Decoded::Asked(Request::Ping), say("lo")],
        ),
        (b"hel\xff\xf4\nlo\xff\xfd\x06\n", &[say("hel"), say("lo")]),
        (b"hel\xff\xf4\xff\xfd\x03lo\n", &[say("hello")]),
        (b"/me \xff\xf1waves\n", &[me("waves")]),
        (b"caf\xc3\xff\xf1\xa9\n", &[say("café")]),
        // Options with the numbers of LF and CR end no line.
        (b"h\xff\xfb\ni\n", &[say("hi")]),
        (b"h\xff\xfb\r\ni\n", &[say("h"), say("i")]),
        // A doubled IAC is a byte 255, which is never valid UTF-8; so is one that begins no command.
        (b"a\xff\xffb\nhi\n", &[NOT_UTF8, say("hi")]),
        (b"a\xffb\nhi\n", &[NOT_UTF8, say("hi")]),
        (b"a\xff\nhi\n", &[NOT_UTF8, say("hi")]),
        // The end of input cuts a command off.
        (b"hi\xff\xfb", &[say("hi")]),
    ]);
    check_answers(&[(b"\xff\xfd\x03\xff\xfb\x18ann\r\nhi\r\n", &[nick("ann"), say("hi")])]);
}

#[test]
fn telnet_subnegotiations_are_ignored_within_the_limit_on_lines() {
    let endless = [b"hi\xff\xfa\x18", &[b'x'; LINE_MAX + 9][..], b"\nyo\n"].concat();
    check_chat(&[
        (b"\xff\xfa\x1f\0\x50\0\x18\xff\xf0hi\n", &[say("hi")]),
        (b"h\xff\xfa\x1f\0\n\0\n\xff\xf0i\n", &[say("hi")]),
        (b"h\xff\xfa\x1f\xff\xff\n\xff\xf0i\nyo\n", &[say("hi"), say("yo")]),
        // Within a subnegotiation the byte 255 is doubled, and a line feed behind it ends nothing.
        (b"h\xff\xfa\x1f\xff\xff\xf0\n\xff\xf0i\nyo\n", &[say("hi"), say("yo")]),
        (b"hi\xff\xfa\x18never ends\nyo\n", &[say("hi")]),
        (b"hi\xff\xfa\x18never ends\xff", &[say("hi")]),
        (&endless, &[TOO_LONG, say("yo")]),
    ]);
}

#[test]
fn line_has_at_most_line_max_bytes_without_its_end() {
    let (fits, too_long) =
        ([LINE_MAX - 1, LINE_MAX], [LINE_MAX + 1, LINE_MAX + 2, LINE_MAX + 3, 3 * LINE_MAX]);
    for end in ["\n", "\r\n"] {
        for bytes in fits {
            let line = "x".repeat(bytes);
            check(Stage::Chatting, format!("{line}{end}hi\n").as_bytes(), &[say(&line), say("hi")]);
        }
        for bytes in too_long {
            let line = "x".repeat(bytes);
            check(Stage::Chatting, format!("{line}{end}hi\n").as_bytes(), &[TOO_LONG, say("hi")]);
        }
    }
    for end in ["", "\r"] {
        for bytes in fits {
            let line = "x".repeat(bytes);
            check(Stage::Chatting, format!("{line}{end}").as_bytes(), &[say(&line)]);
        }
        for bytes in too_long {
            check(Stage::Chatting, format!("{}{end}", "x".repeat(bytes)).as_bytes(), &[TOO_LONG]);
        }
    }
    let wide = "é".repeat(LINE_MAX / 2);
    check(Stage::Chatting, format!("{wide}\n{wide}x\n").as_bytes(), &[say(&wide), TOO_LONG]);
}

#[test]
fn over_long_line_causes_one_error() {
    let long = "y".repeat(5 * LINE_MAX);
    let input = format!("{long}\n{long}\r\nhi\n{long}");
    check(Stage::Chatting, input.as_bytes(), &[TOO_LONG, TOO_LONG, say("hi"), TOO_LONG]);
}

/// Longest line that is not fatal: the part that is decoded, and the part that is discarded.
const LINE_WITH_DISCARD: usize = LINE_MAX + DISCARD_MAX_BYTES;

/// [`check`] for inputs of a megabyte: cut at the bounds, in reads of the server's size, and byte by byte.
#[track_caller]
fn check_large(input: &[u8], expected: &[Decoded]) {
    let codec = Stage::Chatting;
    assert!(decode(codec, [input]) == expected, "whole");
    for around in [LINE_MAX, LINE_WITH_DISCARD] {
        for cut in around - 1..(around + 4).min(input.len()) {
            let (one, other) = input.split_at(cut);
            assert!(decode(codec, [one, other]) == expected, "cut at {cut}");
        }
    }
    assert!(decode(codec, input.chunks(8 * 1024)) == expected, "in reads of 8 KiB");
    assert!(decode(codec, input.chunks(1)) == expected, "byte by byte");
}

#[test]
fn over_long_line_is_discarded_up_to_a_mebibyte() {
    assert_eq!(DISCARD_MAX_BYTES, 1024 * 1024);
    let line = vec![b'x'; LINE_WITH_DISCARD];
    check_large(&[&line, &b"\nhi\n"[..]].concat(), &[TOO_LONG, say("hi")]);
    check_large(&line, &[TOO_LONG]);
}

#[test]
fn line_over_a_mebibyte_closes_the_connection() {
    let line = vec![b'x'; LINE_WITH_DISCARD + 1];
    check_large(&[&line, &b"\nhi\n"[..]].concat(), &[TOO_LONG, Decoded::Endless]);
    check_large(&line, &[TOO_LONG, Decoded::Endless]);
}

#[test]
fn names_that_are_typed_and_texts_that_are_kept_are_bounded() {
    let commands = [
        ("name", "/msg X psst"),
        ("name", "/whois X"),
        ("name", "/ignore X"),
        ("name", "/unignore X"),
        ("name", "/kick X spam"),
        ("name", "/mute X 10m"),
        ("name", "/unmute X"),
        ("name", "/unregister X"),
        ("a topic", "/topic X"),
        ("an away text", "/away X"),
        ("the reason of a ban", "/ban bob X"),
        ("the reason of a ban", "/ban bob 10m X"),
    ];
    for (what, command) in commands {
        let with = |bytes: usize| {
            let line = format!("{}\n", command.replace('X', &"x".repeat(bytes)));
            let expected = Expected { name: false, token: false, first: false };
            match line::decode(&mut None, expected, line.as_bytes(), false, 1024) {
                Step::Used { input: Some(Input::Request { request, .. }), .. } => request,
                other => panic!("{other:?}"),
            }
        };
        assert!(with(512).is_ok(), "{command}");
        let refused = match what {
            "name" => Problem::BadName(NameError::TooLong),
            what => Problem::BadRequest(format!("{what} has at most 512 bytes")),
        };
        assert_eq!(with(513), Err(refused), "{command}");
    }
}
