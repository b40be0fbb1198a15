//! The raw dialect: messages of programs, relayed byte for byte, each in one WebSocket frame.

use super::websocket::{self, WebSocketMessage};
use super::{Input, json};
use crate::protocol::{Event, Payload, Request};

/// Decodes a message.
pub fn decode(message: WebSocketMessage<'_>) -> Input {
    let payload = match message {
        WebSocketMessage::Text(text) => Payload::Text(text.into()),
        WebSocketMessage::Binary(bytes) => Payload::Binary(bytes.into()),
    };
    Input::Request { request: Ok(Request::Relay(payload)), tag: None }
}

/// Appends relayed messages and the close frame. Other events have no form in this dialect.
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
