//! Redis pub/sub in RESP2. A subscriber may not publish there, so those who talk have connections of their own.

use super::{Client, Piece, Speech, Step, Wait, excerpt, framed, noise, room};

pub struct Redis {
    pub text_bytes: usize,
}

const HEAD: &[u8] = b"*3\r\n$7\r\nmessage\r\n$6\r\n";

impl Speech for Redis {
    fn enter(&self, client: Client) -> Vec<Step> {
        let step = |command: &str, argument: &str, wait: &str| Step {
            send: format!("{command} {argument}\r\n").into_bytes(),
            wait: Wait::Line(wait.to_string()),
        };
        match client.hears {
            true => vec![step("SUBSCRIBE", &room(client), ":1")],
            false => vec![step("PING", "", "PONG")],
        }
    }

    fn say(&self, client: Client, text: &[u8], out: &mut Vec<u8>) {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n$6\r\n{}\r\n${}\r\n", room(client), text.len());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        match bytes.first() {
            None => Piece::Partial,
            // How many heard what this connection published.
            Some(b':') => noise(bytes),
            Some(b'*') if bytes.len() < HEAD.len() => Piece::Partial,
            Some(b'*') if bytes.starts_with(HEAD) => {
                // The channel and its end, then `$63` and its end.
                let digits = self.text_bytes.to_string().len();
                let head = HEAD.len() + 8 + 1 + digits + 2;
                framed(bytes, head, self.text_bytes, b"\r\n", None)
            }
            Some(_) => Piece::Wrong(excerpt(bytes)),
        }
    }

    fn talkers_apart(&self) -> bool {
        true
    }
}
