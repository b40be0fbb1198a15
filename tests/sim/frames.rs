//! WebSocket frames as a client encodes and decodes them (RFC 6455, 5.2). `tests/real` uses them, too.

/// The bit of the last frame of a message.
pub const FIN: u8 = 0x80;

/// Opcodes.
pub const CONTINUE: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame of the server: opcode and payload.
pub type Frame = (u8, Vec<u8>);

/// Encodes a whole frame as clients do, masked.
pub fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    fragment(FIN | opcode, payload)
}

/// Encodes a frame with that first byte: the FIN bit, RSV bits and opcode.
pub fn fragment(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let payload = payload.as_ref();
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | length as u8),
        length @ ..65_536 => bytes.extend([&[0xfe][..], &(length as u16).to_be_bytes()].concat()),
        length => bytes.extend([&[0xff][..], &(length as u64).to_be_bytes()].concat()),
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Returns the whole frames at the beginning of `bytes`, and their length together.
pub fn parse(mut bytes: &[u8]) -> (Vec<Frame>, usize) {
    let (all, mut frames) = (bytes.len(), Vec::new());
    while let [first, second, rest @ ..] = bytes {
        assert_eq!((first & 0xf0, second & 0x80), (0x80, 0), "a server's frame is whole and unmasked");
        let (length, rest) = match (second, rest) {
            (126, [a, b, rest @ ..]) => (u16::from_be_bytes([*a, *b]) as usize, rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, rest)
            }
            (126 | 127, _) => break,
            (length, rest) => (*length as usize, rest),
        };
        let Some((payload, behind)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push((first & 0x0f, payload.to_vec()));
        bytes = behind;
    }
    (frames, all - bytes.len())
}
