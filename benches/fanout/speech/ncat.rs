//! `ncat --chat`: `<user5> text`, where 5 is the descriptor ncat knows the sender by.

use super::{Client, Piece, Speech, Step, Wait, excerpt, framed, line_length, noise};

pub struct Ncat {
    pub text_bytes: usize,
}

/// The longest prefix, `<user65535> `.
const PREFIX_MAX_BYTES: usize = 12;

impl Speech for Ncat {
    fn enter(&self, _client: Client) -> Vec<Step> {
        let announced = Wait::Line("<announce> already connected".to_string());
        vec![Step { send: Vec::new(), wait: announced }]
    }

    fn say(&self, _client: Client, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        if bytes.starts_with(b"<announce>") {
            return noise(bytes);
        }
        // Of lines that ncat has read at once only the first gets a prefix; a text begins with a number.
        if bytes.first().is_some_and(u8::is_ascii_digit) {
            return framed(bytes, 0, self.text_bytes, b"\n", None);
        }
        let start = &bytes[..bytes.len().min(PREFIX_MAX_BYTES)];
        match memchr::memchr(b'>', start) {
            Some(end) if start.starts_with(b"<user") => framed(bytes, end + 2, self.text_bytes, b"\n", None),
            Some(_) => Piece::Wrong(format!("no line of ncat's: {}", excerpt(bytes))),
            None if line_length(start).is_some() || start.len() == PREFIX_MAX_BYTES => {
                Piece::Wrong(format!("no line of ncat's: {}", excerpt(bytes)))
            }
            None => Piece::Partial,
        }
    }
}
