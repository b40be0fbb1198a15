//! A client of a variant, by either door: a text it says is some lines, or one WebSocket message.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::PATIENCE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Line,
    WebSocket,
}

/// With the example of RFC 6455, section 1.3, for a key.
const UPGRADE: &str = "GET /raw/lobby HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub struct Client {
    stream: BufReader<TcpStream>,
    door: Door,
}

impl Client {
    pub fn enter(stream: TcpStream, door: Door, buffer_bytes: usize) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client { stream: BufReader::with_capacity(buffer_bytes, stream), door };
        if door == Door::WebSocket {
            client.upgrade();
        }
        client
    }

    fn upgrade(&mut self) {
        self.send(UPGRADE.as_bytes());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "an upgrade, not {head}");
        }
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "an upgrade, not {head}");
    }

    pub fn say(&mut self, text: &str) {
        match self.door {
            Door::Line => self.send(text.as_bytes()),
            Door::WebSocket => self.send(&frame(text)),
        }
    }

    /// Bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// The same; whether the server has hung up before it has all is a matter of time.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    pub fn hear(&mut self) -> String {
        match self.door {
            Door::Line => {
                let mut line = String::new();
                self.stream.read_line(&mut line).unwrap();
                line
            }
            Door::WebSocket => self.hear_message(),
        }
    }

    fn hear_message(&mut self) -> String {
        let [first, length] = self.read();
        assert_eq!(first, 0x81, "a whole text");
        let length = match length {
            126 => u64::from(u16::from_be_bytes(self.read())),
            127 => u64::from_be_bytes(self.read()),
            length => u64::from(length),
        };
        let mut text = String::new();
        self.stream.by_ref().take(length).read_to_string(&mut text).unwrap();
        text
    }

    fn read<const COUNT: usize>(&mut self) -> [u8; COUNT] {
        let mut bytes = [0; COUNT];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn stop_sending(&mut self) {
        self.stream.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// Reads to the end, which must come; returns how much there was.
    pub fn hear_the_end(&mut self) -> usize {
        let mut heard = 0;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return heard,
                Ok(n) => heard += n,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return heard,
                Err(error) => panic!("no end: {error}"),
            }
        }
    }
}

/// A client's frame with a whole text (RFC 6455, section 5.2).
pub fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
