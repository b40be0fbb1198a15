//! The NATS client protocol. `"echo":false` keeps a sender's own lines from it.

use super::{Client, Piece, Speech, Step, Wait, excerpt, framed, line_length, room};

pub struct Nats {
    pub text_bytes: usize,
}

impl Speech for Nats {
    fn enter(&self, client: Client) -> Vec<Step> {
        let options = r#"{"verbose":false,"pedantic":false,"echo":false,"protocol":1}"#;
        let send = format!("CONNECT {options}\r\nSUB {} 1\r\nPING\r\n", room(client));
        vec![Step { send: send.into_bytes(), wait: Wait::Line("PONG".to_string()) }]
    }

    fn say(&self, client: Client, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("PUB {} {}\r\n", room(client), text.len()).as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        if bytes.starts_with(b"MSG ") {
            // `MSG r00000 1 63` and its end.
            let head = "MSG r00000 1 ".len() + self.text_bytes.to_string().len() + 2;
            return framed(bytes, head, self.text_bytes, b"\r\n", None);
        }
        let Some(length) = line_length(bytes) else {
            return Piece::Partial;
        };
        match bytes[0] {
            b'P' if bytes.starts_with(b"PING") => Piece::Question(length, b"PONG\r\n".to_vec()),
            b'P' | b'+' | b'I' => Piece::Noise(length),
            _ => Piece::Wrong(excerpt(bytes)),
        }
    }
}
