//! Server-sent events (HTML Living Standard, 9.2): what is said in a room, for who only listens.

use std::io::Write;

use super::json;
use crate::protocol::{Event, Message};
use crate::text::RoomName;

/// A comment, which a reader leaves out. It keeps proxies from closing a quiet stream, and finds readers that are gone.
pub const NOTHING: &[u8] = b":\n\n";

/// Appends what a listener sees of an event: messages, under their numbers; what it missed; and the end.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Message { room, message } => encode_message(room, message, out),
        Event::Missed { .. } | Event::Lost { .. } => named("missed", event, out),
        Event::Bye(reason) if reason.farewell().is_some() => named("bye", event, out),
        _ => {}
    }
}

fn encode_message(room: &RoomName, message: &Message, out: &mut Vec<u8>) {
    // Writing to a vector has no way to fail.
    let _ = write!(out, "id: {}\ndata: ", message.seq);
    json::write_message(room, message, None, out);
    out.extend_from_slice(b"\n\n");
}

/// An event of a kind of its own, which does not reach who listens for messages.
fn named(kind: &str, event: &Event, out: &mut Vec<u8>) {
    let _ = write!(out, "event: {kind}\ndata: ");
    json::write(event, None, out);
    out.extend_from_slice(b"\n\n");
}
