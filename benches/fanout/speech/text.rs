//! A message is a text and nothing else. For protocols that have frames.

use super::{Client, Piece, Speech, Step, excerpt};

pub struct Text {
    pub text_bytes: usize,
    /// Whether who listens can't speak without hearing itself; who speaks is then told how it went.
    pub talkers_apart: bool,
}

impl Speech for Text {
    fn enter(&self, _client: Client) -> Vec<Step> {
        Vec::new()
    }

    fn say(&self, _client: Client, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        match bytes.len() == self.text_bytes {
            true => Piece::Line { length: bytes.len(), from: None, text: bytes },
            false if self.talkers_apart => Piece::Noise(bytes.len()),
            false => Piece::Wrong(format!("no text of ours: {}", excerpt(bytes))),
        }
    }

    fn talkers_apart(&self) -> bool {
        self.talkers_apart
    }
}
