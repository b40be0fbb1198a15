//! chinwag's JSON door: an object a message. The texts need no escapes and have one length, so an object is not parsed
//! but cut by counting: the generator has millions of them a second to look at.

use super::{Client, Piece, Speech, Step, excerpt, name, number, room};

pub struct Json {
    pub text_bytes: usize,
}

const NAME_BYTES: usize = "u00000".len();

/// Where a client comes in.
pub fn path(client: Client) -> String {
    format!("/ws?name={}&room={}&history=0", name(client.number), room_name(client))
}

/// Whoever has no rooms talks in the lobby.
pub fn room_name(client: Client) -> String {
    client.room.map_or("lobby".to_string(), |_| room(client))
}

impl Speech for Json {
    fn enter(&self, _client: Client) -> Vec<Step> {
        Vec::new()
    }

    fn say(&self, client: Client, text: &[u8], out: &mut Vec<u8>) {
        let start = format!(r#"{{"type":"say","room":"{}","text":""#, room_name(client));
        out.extend_from_slice(start.as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(br#""}"#);
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        let length = bytes.len();
        // Nearly all are messages.
        if bytes.starts_with(br#"{"type":"message","#) {
            return match self.message(bytes) {
                Some((from, text)) => Piece::Line { length, from: Some(from), text },
                None => Piece::Wrong(format!("no message of ours: {}", excerpt(bytes))),
            };
        }
        match bytes.starts_with(br#"{"type":"error","#) {
            true => Piece::Wrong(excerpt(bytes)),
            false => Piece::Noise(length),
        }
    }
}

impl Json {
    /// Who says what. Keys are where chinwag puts them.
    fn message<'a>(&self, object: &'a [u8]) -> Option<(u32, &'a [u8])> {
        let room = object.strip_prefix(br#"{"type":"message","room":""#)?;
        let from = room[memchr::memchr(b'"', room)?..].strip_prefix(br#"","from":""#)?;
        let (name, rest) = from.split_at_checked(NAME_BYTES)?;
        let text = rest.strip_prefix(br#"","text":""#)?;
        let (text, rest) = text.split_at_checked(self.text_bytes)?;
        rest.starts_with(b"\"").then_some((number(name)?, text))
    }
}
