//! IRC (RFC 2812), as far as a channel of talkers needs it.

use super::{Client, Piece, Speech, Step, Wait, excerpt, line_length, name, number, room};

pub struct Irc;

impl Speech for Irc {
    fn enter(&self, client: Client) -> Vec<Step> {
        let (name, room) = (name(client.number), room(client));
        vec![
            Step {
                send: format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n").into_bytes(),
                // The end of the message of the day, or that there is none: the last of the greeting.
                wait: Wait::Line("MOTD".to_string()),
            },
            Step {
                send: format!("JOIN #{room}\r\n").into_bytes(),
                wait: Wait::Line(format!(" 366 {name} ")),
            },
        ]
    }

    fn say(&self, client: Client, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("PRIVMSG #{} :", room(client)).as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        let Some(length) = line_length(bytes) else {
            return Piece::Partial;
        };
        let line = &bytes[..length];
        if line.starts_with(b"PING") {
            return Piece::Question(length, b"PONG :x\r\n".to_vec());
        }
        if line.starts_with(b"ERROR") {
            return Piece::Wrong(excerpt(line));
        }
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let (Some(who), Some(b"PRIVMSG"), Some(_), Some(text)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Piece::Noise(length);
        };
        let from = who.get(1..).and_then(|who| number(who.split(|byte| *byte == b'!').next()?));
        match text.strip_prefix(b":").and_then(|text| text.strip_suffix(b"\r\n")) {
            Some(text) => Piece::Line { length, from, text },
            None => Piece::Wrong(format!("no PRIVMSG: {}", excerpt(line))),
        }
    }
}
