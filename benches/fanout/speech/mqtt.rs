//! MQTT 3.1.1, QoS 0. A subscriber would hear itself, so those who talk have connections of their own.

use super::{Client, Piece, Speech, Step, Wait, excerpt, name, room};

pub struct Mqtt;

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;

impl Speech for Mqtt {
    fn enter(&self, client: Client) -> Vec<Step> {
        // Protocol level 4, clean session, no keep-alive.
        let mut connect = string("MQTT");
        connect.extend([4, 2, 0, 0]);
        connect.extend(string(&name(client.number)));
        let connected = Wait::Bytes(vec![0x20, 2, 0, 0]);
        let mut steps = vec![Step { send: packet(CONNECT, &connect), wait: connected }];
        if client.hears {
            let mut subscribe = vec![0, 1];
            subscribe.extend(string(&room(client)));
            subscribe.push(0);
            let subscribed = Wait::Bytes(vec![0x90, 3, 0, 1, 0]);
            steps.push(Step { send: packet(SUBSCRIBE, &subscribe), wait: subscribed });
        }
        steps
    }

    fn say(&self, client: Client, text: &[u8], out: &mut Vec<u8>) {
        let mut body = string(&room(client));
        body.extend_from_slice(text);
        out.extend(packet(PUBLISH, &body));
    }

    fn cut<'a>(&self, bytes: &'a [u8]) -> Piece<'a> {
        let Some((head, length)) = extent(bytes) else {
            return Piece::Partial;
        };
        if bytes[0] != PUBLISH {
            return Piece::Wrong(format!("no PUBLISH: {}", excerpt(bytes)));
        }
        let topic = 2 + usize::from(u16::from_be_bytes([bytes[head], bytes[head + 1]]));
        match bytes.get(head + topic..length) {
            Some(text) => Piece::Line { length, from: None, text },
            None => Piece::Wrong(format!("a topic longer than its packet: {}", excerpt(bytes))),
        }
    }

    fn talkers_apart(&self) -> bool {
        true
    }
}

/// Where a packet's body begins and where it ends, if it is all here (3.1.1, section 2.2.3: seven bits a byte).
fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut body = 0;
    for (at, byte) in bytes.iter().enumerate().skip(1).take(4) {
        body |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            let end = at + 1 + body;
            return (bytes.len() >= end && body >= 2).then_some((at + 1, end));
        }
    }
    None
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut rest = body.len();
    loop {
        let more = rest >= 0x80;
        packet.push((rest % 0x80) as u8 | if more { 0x80 } else { 0 });
        rest /= 0x80;
        if !more {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
