//! The raw listener: messages of programs, passed on byte for byte, each in one WebSocket frame.

use super::websocket::{self, Whole};
use super::{Input, json};
use crate::protocol::{Event, Payload, Request};

/// Reads a message.
pub fn decode(message: Whole<'_>) -> Input {
    let payload = match message {
        Whole::Text(text) => Payload::Text(text.into()),
        Whole::Binary(bytes) => Payload::Binary(bytes.into()),
    };
    Input::Request { request: Ok(Request::Relay(payload)), tag: None }
}

/// Appends what a program sees of an event: what other programs say, and the end.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Relayed(Payload::Text(text)) => {
            websocket::text(out, |out| out.extend_from_slice(text.as_bytes()));
        }
        Event::Relayed(Payload::Binary(bytes)) => websocket::binary(out, bytes),
        Event::Bye(reason) => json::close(*reason, out),
        _ => {}
    }
}
