//! Telnet's in-band commands (RFC 854), which people who type `telnet host 7711` send without knowing. They are
//! swallowed: this listener negotiates nothing.
//!
//! But for one. After Ctrl-C, Debian's client asks for a timing mark (RFC 860) and shows nothing more until it is
//! answered: to who swallows that too, the person at the keyboard is deaf from then on.
//!
//! [`edit`] carries out what a client without a line editor of its own sends instead: BS, DEL, EC and EL.

use std::borrow::Cow;

use memchr::{memchr, memchr3};
use unicode_normalization::char::is_combining_mark;

/// "Interpret as command", the byte that begins each of them.
pub const IAC: u8 = 255;
const SE: u8 = 240;
/// "Erase character".
const EC: u8 = 247;
/// "Erase line".
const EL: u8 = 248;
const SB: u8 = 250;
const WILL: u8 = 251;
const DONT: u8 = 254;
const DO: u8 = 253;
const TIMING_MARK: u8 = 6;
const BS: u8 = 0x08;
const DEL: u8 = 0x7f;
const JOINER: char = '\u{200d}';

/// The question whether all that came before has been read.
pub const DO_TIMING_MARK: [u8; 3] = [IAC, DO, TIMING_MARK];
/// The answer that it has.
pub const WILL_TIMING_MARK: [u8; 3] = [IAC, WILL, TIMING_MARK];

/// Length of the command at the beginning of `bytes`, whose first byte is [`IAC`]; `None` if more must come.
///
/// An [`IAC`] that begins no command (RFC 854 has none below 240) stands for itself: length 1.
pub fn command_len(bytes: &[u8]) -> Option<usize> {
    match *bytes.get(1)? {
        SB => subnegotiation_len(bytes),
        WILL..=DONT => (bytes.len() >= 3).then_some(3),
        SE.. => Some(2),
        _ => Some(1),
    }
}

/// `IAC SB … IAC SE`; a doubled [`IAC`] inside is data (RFC 855).
fn subnegotiation_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        at += memchr(IAC, &bytes[at..])?;
        if *bytes.get(at + 1)? == SE {
            return Some(at + 2);
        }
        at += 2;
        if at > bytes.len() {
            return None;
        }
    }
}

/// `line` without the commands in it, and as its author has edited it: BS, DEL and EC erase a character, EL all so far.
/// `IAC IAC` becomes one byte 255, as does an [`IAC`] that begins no command. A command that is cut off at the end is
/// swallowed too.
pub fn edit(line: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut at) = memchr3(IAC, BS, DEL, line) else {
        return Cow::Borrowed(line);
    };
    let mut plain = line[..at].to_vec();
    while at < line.len() {
        at += match line[at] {
            IAC => command(&line[at..], &mut plain),
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

/// Does to `plain` what the command at the beginning of `bytes` says. The command's length.
fn command(bytes: &[u8], plain: &mut Vec<u8>) -> usize {
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

/// Erases what a person sees as the last character: a code point with the marks on it. Of what is no UTF-8, a byte.
fn erase_character(plain: &mut Vec<u8>) {
    while let Some((start, last)) = last_char(plain) {
        plain.truncate(start);
        if !last.is_some_and(|c| is_combining_mark(c) || c == JOINER) {
            break;
        }
    }
    // A joiner in front of the erased character has nothing to join any more.
    while let Some((start, Some(JOINER))) = last_char(plain) {
        plain.truncate(start);
    }
}

/// Index of the last character, and the character; the last byte and `None` if that ends no character.
fn last_char(bytes: &[u8]) -> Option<(usize, Option<char>)> {
    /// The longest character in UTF-8.
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
    fn commands_are_swallowed_and_the_rest_is_kept() {
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
            // A character that a command cuts in two is one all the same.
            (b"a\xc3\xff\xf1\xa9\x08b", "ab"),
            // Bytes that are no UTF-8 are erased one by one.
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
    fn a_command_that_is_not_whole_waits() {
        for whole in [&b"\xff\xfb\x18"[..], b"\xff\xf4", b"\xff\xfa\x1f\xff\xff\xff\xf0", b"\xff\xff"] {
            for cut in 1..whole.len() {
                assert_eq!(command_len(&whole[..cut]), None, "{whole:?} cut at {cut}");
            }
            assert_eq!(command_len(whole), Some(whole.len()));
        }
    }
}
