//! WebSocket (RFC 6455), as far as whole messages of text need it.

use super::{Piece, Step, wrong};

/// Opcodes of section 5.2, with the bit for a whole message.
pub const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Section 5.7: to unmask costs the same with any mask but none.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The key is the example of section 1.3: a server has the same work with any key.
pub fn upgrade(path: &str) -> Step {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    Step::new(request, "\r\n\r\n")
}

/// The first frame. A message of text is what `read` makes of it.
pub fn cut<'a>(bytes: &'a [u8], read: impl Fn(&'a [u8]) -> Piece<'a>) -> Piece<'a> {
    let Some((first, second)) = bytes.first().zip(bytes.get(1)) else {
        return Piece::Partial;
    };
    let (head, payload) = match *second {
        126 if bytes.len() < 4 => return Piece::Partial,
        126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        // No frame here is masked or as long as that.
        127.. => return wrong(bytes),
        length => (2, usize::from(length)),
    };
    let length = head + payload;
    if bytes.len() < length {
        return Piece::Partial;
    }
    let payload = &bytes[head..length];
    match *first {
        TEXT => match read(payload) {
            Piece::Other(_) => Piece::Other(length),
            Piece::Line { text, .. } => Piece::Line { length, text },
            piece => piece,
        },
        PING => Piece::Ping(length, masked(PONG, payload)),
        PONG => Piece::Other(length),
        _ => wrong(bytes),
    }
}

/// A client's frame of less than 64 KiB.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
