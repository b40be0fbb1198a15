//! chinwag's JSON door: an object a message. The texts need no escapes, so an object is not parsed but searched.

use memchr::memmem::find;

use super::{Client, Piece, Speech, Step, excerpt, name, number, room};

pub struct Json {
    pub text_bytes: usize,
}

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
        let is = |kind: &[u8]| find(bytes, kind).is_some();
        // Nearly all are messages.
        if !is(br#""type":"message""#) {
            return match is(br#""type":"error""#) {
                true => Piece::Wrong(excerpt(bytes)),
                false => Piece::Noise(length),
            };
        }
        let from = value(bytes, br#""from":""#, name(0).len()).and_then(number);
        match value(bytes, br#""text":""#, self.text_bytes) {
            Some(text) if from.is_some() => Piece::Line { length, from, text },
            _ => Piece::Wrong(format!("no message of ours: {}", excerpt(bytes))),
        }
    }
}

/// The string of a known length behind a key.
fn value<'a>(object: &'a [u8], key: &[u8], length: usize) -> Option<&'a [u8]> {
    let start = find(object, key)? + key.len();
    (object.get(start + length) == Some(&b'"')).then(|| &object[start..start + length])
}
