//! Telnet's in-band commands (RFC 854), which a telnet client sends on its own. They are discarded, because this server
//! negotiates nothing but the echo while a token is typed (`server/echo.rs`).
//!
//! There is one exception. After Ctrl-C, Debian's client asks for a timing mark (RFC 860) and shows no more output until it
//! gets the answer.
//!
//! [`edit`] applies the editing commands of clients without a line editor: BS, DEL, EC and EL.

use std::borrow::Cow;

use memchr::{memchr, memchr3};
use unicode_normalization::char::is_combining_mark;

/// "Interpret as command": the first byte of each command.
pub const IAC: u8 = 255;
const SE: u8 = 240;
/// "Interrupt process": Ctrl-C.
const IP: u8 = 244;
/// "Erase character".
const EC: u8 = 247;
/// "Erase line".
const EL: u8 = 248;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DONT: u8 = 254;
const DO: u8 = 253;
const ECHO: u8 = 1;
const TIMING_MARK: u8 = 6;
const BS: u8 = 0x08;
const DEL: u8 = 0x7f;
const JOINER: char = '\u{200d}';

/// The client asks for confirmation that its input so far was read (RFC 860).
pub const DO_TIMING_MARK: [u8; 3] = [IAC, DO, TIMING_MARK];
/// The confirmation.
pub const WILL_TIMING_MARK: [u8; 3] = [IAC, WILL, TIMING_MARK];

/// The server offers to echo, so that the client does not (RFC 857).
pub const WILL_ECHO: [u8; 3] = [IAC, WILL, ECHO];
/// The server does not echo, so the client may.
pub const WONT_ECHO: [u8; 3] = [IAC, WONT, ECHO];

/// Length of the command at the start of `bytes`, whose first byte is [`IAC`]; `None` if it is incomplete.
///
/// An [`IAC`] that begins no command (RFC 854 has none below 240) is a literal byte of length 1.
pub fn command_len(bytes: &[u8]) -> Option<usize> {
    match *bytes.get(1)? {
        SB => subnegotiation_len(bytes),
        WILL..=DONT => (bytes.len() >= 3).then_some(3),
        SE.. => Some(2),
        _ => Some(1),
    }
}

/// Length of `IAC SB … IAC SE`. A doubled [`IAC`] inside is data (RFC 855).
fn subnegotiation_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        at += memchr(IAC, &bytes[at..])?;
        if *bytes.get(at + 1)? == SE {
            return Some(at + 2);
        }
        at += 2;
    }
}

/// Length of the part of a line that Ctrl-C interrupts. It ends with a request for a timing mark behind the command of Ctrl-C.
/// `None` if there is none. The client has discarded that part, and waits for the answer.
pub fn interrupted_len(line: &[u8]) -> Option<usize> {
    let (mut at, mut is_interrupted) = (0, false);
    loop {
        at += memchr(IAC, &line[at..])?;
        let command = &line[at..at + command_len(&line[at..])?];
        at += command.len();
        is_interrupted |= command == [IAC, IP];
        if is_interrupted && command == DO_TIMING_MARK {
            return Some(at);
        }
    }
}

/// Removes the commands from `line` and applies the editing: BS, DEL and EC erase a character, EL erases the line so far.
///
/// `IAC IAC` becomes one byte 255, as does an [`IAC`] that begins no command. An incomplete command at the end is removed.
pub fn edit(line: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut at) = memchr3(IAC, BS, DEL, line) else {
        return Cow::Borrowed(line);
    };
    let mut plain = line[..at].to_vec();
    while at < line.len() {
        at += match line[at] {
            IAC => apply_command(&line[at..], &mut plain),
            BS | DEL => {
                erase_character(&mut plain);
                1
            }
            _ => {
                let bytes = memchr3(IAC, BS, DEL, &line[at..]).unwrap_or(line.len() - at);
                plain.extend_from_slice(&line[at..at + bytes]);
                bytes
            }
        };
    }
    Cow::Owned(plain)
}

/// Applies the command at the start of `bytes` to `plain`. Returns the command's length.
fn apply_command(bytes: &[u8], plain: &mut Vec<u8>) -> usize {
    let length = command_len(bytes).unwrap_or(bytes.len());
    match bytes.get(1) {
        Some(&EC) => erase_character(plain),
        Some(&EL) => plain.clear(),
        Some(&IAC) => plain.push(IAC),
        _ if length == 1 => plain.push(IAC),
        _ => {}
    }
    length
}

/// Erases the last visible character: a code point with its combining marks. Invalid UTF-8 is erased byte by byte.
fn erase_character(plain: &mut Vec<u8>) {
    while let Some((start, last)) = last_char(plain) {
        plain.truncate(start);
        if !last.is_some_and(|c| is_combining_mark(c) || c == JOINER) {
            break;
        }
    }
    // A joiner in front of the erased character joins nothing any more.
    while let Some((start, Some(JOINER))) = last_char(plain) {
        plain.truncate(start);
    }
}

/// Index of the last character, and the character. For invalid UTF-8 it is the last byte and `None`.
fn last_char(bytes: &[u8]) -> Option<(usize, Option<char>)> {
    const CHAR_MAX_BYTES: usize = 4;
    let last = bytes.len().checked_sub(1)?;
    let earliest = bytes.len().saturating_sub(CHAR_MAX_BYTES);
    let whole = (earliest..=last).find_map(|start| {
        let mut chars = std::str::from_utf8(&bytes[start..]).ok()?.chars();
        chars.next().filter(|_| chars.next().is_none()).map(|c| (start, Some(c)))
    });
    whole.or(Some((last, None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_removed_and_the_rest_is_kept() {
        let table: [(&[u8], &[u8]); 9] = [
            (b"plain", b"plain"),
            (b"\xff\xfb\x18ann", b"ann"),
            (b"a\xff\xfd\x01\xff\xfe\x03b", b"ab"),
            (b"\xff\xf4\xff\xfd\x06", b""),
            (b"\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0ann", b"ann"),
            (b"\xff\xfa\x1f\xff\xff\n\xff\xf0ann", b"ann"),
            (b"a\xff\xffb", b"a\xffb"),
            (b"a\xffb", b"a\xffb"),
            (b"a\xff\xfa\x18never ends", b"a"),
        ];
        for (line, expected) in table {
            assert_eq!(&*edit(line), expected, "{line:?}");
        }
    }

    #[test]
    fn whole_characters_are_erased() {
        let table: [(&[u8], &str); 20] = [
            (b"abd\x08c", "abc"),
            (b"abd\x7fc", "abc"),
            (b"abd\xff\xf7c", "abc"),
            (b"nonsense\xff\xf8abc", "abc"),
            (b"\x08\x7f\xff\xf7\xff\xf8abc", "abc"),
            (b"xyz\x08\x08\x08\x08\x08abc", "abc"),
            (b"xyz\x08\x08\x08", ""),
            ("caf\u{e9}\u{8}e".as_bytes(), "cafe"),
            ("\u{20ac}\u{7f}\u{1f98a}\u{7f}x".as_bytes(), "x"),
            ("cafe\u{301}\u{8}".as_bytes(), "caf"),
            ("a\u{2764}\u{fe0f}\u{8}".as_bytes(), "a"),
            ("a\u{1f468}\u{200d}\u{1f467}\u{8}".as_bytes(), "a\u{1f468}"),
            ("a\u{1f468}\u{200d}\u{1f467}\u{8}\u{8}".as_bytes(), "a"),
            ("\u{301}\u{8}a".as_bytes(), "a"),
            // A command inside a character does not split it.
            (b"a\xc3\xff\xf1\xa9\x08b", "ab"),
            // Invalid UTF-8 is erased byte by byte.
            (b"caf\xe9\x08e", "cafe"),
            (b"a\xc3\x08b", "ab"),
            (b"a\xa9\xa9\x08\x08b", "ab"),
            (b"a\xff\xff\x08b", "ab"),
            (b"ab\x08 \x08c", "ac"),
        ];
        for (line, expected) in table {
            assert_eq!(std::str::from_utf8(&edit(line)), Ok(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn incomplete_command_waits_for_more_input() {
        for whole in [&b"\xff\xfb\x18"[..], b"\xff\xf4", b"\xff\xfa\x1f\xff\xff\xff\xf0", b"\xff\xff"] {
            for cut in 1..whole.len() {
                assert_eq!(command_len(&whole[..cut]), None, "{whole:?} cut at {cut}");
            }
            assert_eq!(command_len(whole), Some(whole.len()));
        }
    }
}
