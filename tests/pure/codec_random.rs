//! The line listener's reading, at random: whatever comes, cut wherever.

use chinwag::protocol::{Problem, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::ear::{Heard, LINE_MAX, Stage, heard};
use crate::random::{check, tricky};
use crate::words::harm;

/// Bytes rich in what lines, commands, telnet and terminals are made of, and sometimes longer than a line may be.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let special =
        select(vec![&b"\n"[..], b"\r\n", b"\r", b"\xff", b"\xff\xfa", b"\xff\xf0", b"\xff\xfb", b"\xff\xff"]);
    let edits =
        select(vec![&b"\r\0"[..], b"\x08", b"\x7f", b"\xff\xf7", b"\xff\xf8", b"\xff\xf1", b"\xef\xbb\xbf"]);
    let requests = select(vec!["GET / HTTP/1.1\r\n", "POST /", "SSH-2.0-x", "*1\r\n", "\0", "\u{16}\u{3}"]);
    let command =
        select(vec!["/", "/me ", "/msg a ", "/nick ", "/join ", "/who ", "/quit ", "/nosuch", "/history "]);
    let piece = prop_oneof![
        6 => special.prop_map(<[u8]>::to_vec),
        3 => edits.prop_map(<[u8]>::to_vec),
        1 => requests.prop_map(|piece| piece.as_bytes().to_vec()),
        3 => command.prop_map(|piece| piece.as_bytes().to_vec()),
        4 => tricky().prop_map(|piece| piece.as_bytes().to_vec()),
        2 => vec(any::<u8>(), 1..6),
        2 => "[a-z é]{1,9}".prop_map(String::into_bytes),
        1 => (LINE_MAX - 8..LINE_MAX + 8).prop_map(|bytes| vec![b'z'; bytes]),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn codec() -> impl Strategy<Value = Stage> {
    select(vec![Stage::Naming, Stage::Chatting, Stage::Entering])
}

/// `input` in pieces that begin at `cuts`.
fn pieces<'a>(input: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect()
}

/// What was heard, but for the empty line in front of another protocol: with that in view it answers nothing.
fn meaning(mut heard: Vec<Heard>) -> Vec<Heard> {
    if matches!(heard[..], [Heard::Asked(Request::StayGuest), Heard::Foreign(_)]) {
        heard.remove(0);
    }
    heard
}

// That decoding makes progress and leaves little is checked on the way, by `ear::Ear`.
#[test]
fn cuts_change_nothing() {
    check(3_000, &(codec(), input(), vec(any::<Index>(), 0..12)), |(codec, input, cuts)| {
        let whole = meaning(heard(codec, [&input[..]]));
        assert_eq!(meaning(heard(codec, pieces(&input, &cuts))), whole, "cut somewhere");
        assert_eq!(meaning(heard(codec, input.chunks(1))), whole, "byte by byte");
    });
}

#[test]
fn nothing_harmful_is_ever_heard() {
    check(3_000, &(codec(), input()), |(codec, input)| {
        for heard in heard(codec, [&input[..]]) {
            for word in words(&heard) {
                assert_eq!(harm(&word), None, "{word:?}");
                assert!(!word.trim().is_empty(), "{word:?}");
            }
        }
    });
}

/// All that of a request or problem which others, or the client itself, may be shown.
fn words(heard: &Heard) -> Vec<String> {
    match heard {
        Heard::Asked(request) => match request {
            Request::Nick(name) => vec![name.to_string()],
            Request::Say { body, .. } => vec![body.as_line().into_owned()],
            Request::Quit(Some(text)) => vec![text.to_string()],
            Request::Private { to, text, .. } => vec![to.to_string(), text.to_string()],
            Request::Who(Some(room)) | Request::Join { room, .. } => vec![room.to_string()],
            Request::StayGuest | Request::Who(None) | Request::Rooms | Request::Leave(_) => vec![],
            Request::Relay(_)
            | Request::History { .. }
            | Request::Quit(None)
            | Request::Help
            | Request::Ping => vec![],
        },
        Heard::Refused(Problem::NotUtf8) | Heard::Endless | Heard::Foreign(_) => vec![],
        Heard::Refused(problem) => vec![problem.to_string()],
    }
}
