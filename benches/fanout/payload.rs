//! The text of a line: its sender, its number among the sender's lines, and filler that fits only these two.
//!
//! `000012 00000345 kT9f…`: a line that was cut, mixed with another or moved by a byte can't be read as one.

/// The sender's number, a space, the sequence number, a space.
pub const HEAD_BYTES: usize = 6 + 1 + 8 + 1;

const FILLER_BYTES: usize = 4096;
const FILLER: [u8; FILLER_BYTES] = filler();

/// The filler of a line begins at one of so many places; the rest of `FILLER` bounds a text's length.
const PLACES: u32 = 1024;
pub const TEXT_MAX_BYTES: usize = FILLER_BYTES - PLACES as usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub sender: u32,
    pub sequence: u32,
}

impl Stamp {
    /// The text of `length` bytes, without an end of line.
    pub fn text(self, length: usize) -> Vec<u8> {
        assert!((HEAD_BYTES..=TEXT_MAX_BYTES).contains(&length), "a text of {length} bytes");
        let mut text = format!("{:06} {:08} ", self.sender, self.sequence).into_bytes();
        text.extend_from_slice(self.filler(length));
        text
    }

    /// The stamp of a text, if it is whole and of this length.
    pub fn read(text: &[u8], length: usize) -> Option<Stamp> {
        if text.len() != length || length < HEAD_BYTES || text[6] != b' ' || text[15] != b' ' {
            return None;
        }
        let stamp = Stamp { sender: number(&text[..6])?, sequence: number(&text[7..15])? };
        (text[HEAD_BYTES..] == *stamp.filler(length)).then_some(stamp)
    }

    fn filler(self, length: usize) -> &'static [u8] {
        let place = self.sender.wrapping_mul(7919).wrapping_add(self.sequence.wrapping_mul(104_729)) % PLACES;
        &FILLER[place as usize..][..length - HEAD_BYTES]
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |value: u32, digit| digit.is_ascii_digit().then(|| value * 10 + u32::from(digit - b'0')))
}

/// Letters and digits from a generator with a fixed seed: the same in every process.
const fn filler() -> [u8; FILLER_BYTES] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789xy";
    let mut bytes = [0; FILLER_BYTES];
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut at = 0;
    while at < FILLER_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes[at] = ALPHABET[(state >> 58) as usize];
        at += 1;
    }
    bytes
}
