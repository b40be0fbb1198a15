//! Decoding of the line listener at random: any input, cut anywhere.

use chinwag::protocol::{CloseReason, Problem, Request, Topic};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::random::{check, tricky};
use crate::reader::{Decoded, LINE_MAX, Stage, decode};
use crate::words::harm;

/// Bytes rich in line ends, commands, telnet and terminal sequences, and sometimes longer than a line may be.
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

/// Splits `input` at `cuts`.
fn pieces<'a>(input: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect()
}

/// Removes the empty line in front of another protocol: if both arrive together, that line answers nothing.
///
/// The binary header of a proxy counts as any other protocol. It begins with two empty lines, and is recognised only if these
/// arrive together with the byte behind them.
fn meaning(mut decoded: Vec<Decoded>) -> Vec<Decoded> {
    if matches!(decoded[..], [Decoded::Asked(Request::StayGuest), Decoded::Foreign(_)]) {
        decoded.remove(0);
    }
    if let [Decoded::Foreign(reason)] = &mut decoded[..]
        && *reason == CloseReason::UntrustedProxy
    {
        *reason = CloseReason::OtherProtocol;
    }
    decoded
}

// `reader::LineReader` checks on the way that decoding makes progress and leaves little.
#[test]
fn cuts_change_nothing() {
    check(3_000, &(codec(), input(), vec(any::<Index>(), 0..12)), |(codec, input, cuts)| {
        let whole = meaning(decode(codec, [&input[..]]));
        assert_eq!(meaning(decode(codec, pieces(&input, &cuts))), whole, "cut somewhere");
        assert_eq!(meaning(decode(codec, input.chunks(1))), whole, "byte by byte");
    });
}

#[test]
fn no_harmful_character_is_ever_decoded() {
    check(3_000, &(codec(), input()), |(codec, input)| {
        for decoded in decode(codec, [&input[..]]) {
            for word in words(&decoded) {
                assert_eq!(harm(&word), None, "{word:?}");
                assert!(!word.trim().is_empty(), "{word:?}");
            }
        }
    });
}

/// All texts of a request or problem that clients may be shown.
fn words(decoded: &Decoded) -> Vec<String> {
    match decoded {
        Decoded::Asked(request) => match request {
            Request::Nick(name) => vec![name.to_string()],
            Request::Say { body, .. } => vec![body.as_line().into_owned()],
            Request::Quit(Some(text)) => vec![text.to_string()],
            Request::Private { to, text, .. } => vec![to.to_string(), text.to_string()],
            Request::Who(Some(room)) | Request::Join { room, .. } => vec![room.to_string()],
            Request::StayGuest | Request::Who(None) | Request::Rooms | Request::Leave(_) => vec![],
            Request::Ignore(Some(name)) | Request::Unignore(name) | Request::Whois(name) => {
                vec![name.to_string()]
            }
            Request::Answer(text) | Request::Away(Some(text)) => vec![text.to_string()],
            Request::Topic { text: Some(Topic(Some(text))), .. } => vec![text.to_string()],
            Request::Moderate(moderation) => {
                let reason = moderation.reason().map(ToString::to_string);
                reason.into_iter().chain([moderation.target()]).collect()
            }
            Request::Login { name, .. } => name.iter().map(ToString::to_string).collect(),
            Request::Register | Request::Topic { .. } | Request::Away(None) => vec![],
            Request::Ignore(None) => vec![],
            Request::Relay(_)
            | Request::History { .. }
            | Request::Quit(None)
            | Request::Help
            | Request::Ping => vec![],
        },
        Decoded::Refused(Problem::NotUtf8) | Decoded::Endless | Decoded::Foreign(_) => vec![],
        Decoded::Refused(problem) => vec![problem.to_string()],
    }
}
