//! Telnet's in-band commands (RFC 854), which people who type `telnet host 7711` send without knowing. They are
//! swallowed: this door negotiates nothing.
//!
//! But for one. After Ctrl-C, Debian's client asks for a timing mark (RFC 860) and shows nothing more until it is
//! answered: to who swallows that too, the person at the keyboard is deaf from then on.

use std::borrow::Cow;

use memchr::memchr;

/// "Interpret as command", the byte that begins each of them.
pub const IAC: u8 = 255;
const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const DONT: u8 = 254;
const DO: u8 = 253;
const TIMING_MARK: u8 = 6;

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

/// `line` without the commands in it; `IAC IAC` becomes one byte 255, as does an [`IAC`] that begins no command.
/// A command that is cut off at the end is swallowed too.
pub fn strip(line: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut at) = memchr(IAC, line) else {
        return Cow::Borrowed(line);
    };
    let mut plain = line[..at].to_vec();
    while at < line.len() {
        let length = command_len(&line[at..]).unwrap_or(line.len() - at);
        if length == 1 || line.get(at + 1) == Some(&IAC) {
            plain.push(IAC);
        }
        at += length;
        let next = memchr(IAC, &line[at..]).map_or(line.len(), |next| at + next);
        plain.extend_from_slice(&line[at..next]);
        at = next;
    }
    Cow::Owned(plain)
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
            assert_eq!(&*strip(line), expected, "{line:?}");
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
