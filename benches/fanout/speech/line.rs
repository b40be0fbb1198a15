//! The lines of the variants, and chinwag's.

use super::{Client, Piece, Speech, Step, Wait, excerpt, framed, name, noise, number, room};

/// Everybody gets the same bytes; nobody has a name.
pub struct Plain {
    pub text_bytes: usize,
}

impl Speech for Plain {
    fn enter(&self, _client: Client) -> Vec<Step> {
        Vec::new()
    }

    fn say(&self, _client: Client, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        framed(bytes, 0, self.text_bytes, b"\n", None)
    }
}

/// `u00012: text`; the server's own lines begin with `-- `.
pub struct Chinwag {
    pub text_bytes: usize,
    /// At another process of the same chat.
    pub talkers_apart: bool,
}

pub const PREFIX_BYTES: usize = "u00000: ".len();

impl Speech for Chinwag {
    fn enter(&self, client: Client) -> Vec<Step> {
        let name = name(client.number);
        let hello = format!("-- hello {name}.");
        let mut steps = vec![
            Step { send: Vec::new(), wait: Wait::Line("-- welcome".to_string()) },
            Step { send: format!("{name}\n").into_bytes(), wait: Wait::Line(hello) },
        ];
        if client.room.is_some() {
            let room = room(client);
            let joined = Wait::Line(format!("#{room}"));
            steps.push(Step { send: format!("/join {room}\n").into_bytes(), wait: joined });
        }
        steps
    }

    fn say(&self, client: Client, text: &[u8], out: &mut Vec<u8>) {
        Plain { text_bytes: self.text_bytes }.say(client, text, out);
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        if bytes.len() < PREFIX_BYTES {
            return Piece::Partial;
        }
        if bytes.starts_with(b"-- ") {
            return noise(bytes);
        }
        match (number(&bytes[..6]), &bytes[6..PREFIX_BYTES]) {
            (Some(from), b": ") => framed(bytes, PREFIX_BYTES, self.text_bytes, b"\n", Some(from)),
            _ => Piece::Wrong(format!("no line of chinwag's: {}", excerpt(bytes))),
        }
    }

    fn talkers_apart(&self) -> bool {
        self.talkers_apart
    }
}
