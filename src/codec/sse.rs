//! Server-sent events (HTML Living Standard, 9.2): what is said in a room, for who only listens.

use std::io::Write;

use super::json;
use crate::protocol::{Event, Position};

/// A comment, which a reader leaves out. It keeps proxies from closing a quiet stream, and finds readers that are gone.
pub const NOTHING: &[u8] = b":\n\n";

/// Appends what a listener sees of an event: messages, under their positions; what it missed; and the end.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Message { room, epoch, message } => {
            write_id(Position { epoch: *epoch, seq: message.seq }, out);
            out.extend_from_slice(b"data: ");
            json::write_message(room, message, None, out);
            out.push(b'\n');
        }
        Event::Position(position) => write_id(*position, out),
        Event::Missed { .. } | Event::Gap { .. } | Event::Lost { .. } => named("missed", event, out),
        Event::Bye(reason) if reason.farewell().is_some() => named("bye", event, out),
        _ => return,
    }
    out.push(b'\n');
}

/// What a listener says when it comes back, as `Last-Event-ID`. Without data it is noted, and is no event (9.2.6): so that
/// who breaks off before anything was said can say where that was.
fn write_id(position: Position, out: &mut Vec<u8>) {
    // Writing to a vector has no way to fail.
    let _ = writeln!(out, "id: {position}");
}

/// An event of a kind of its own, which does not reach who listens for messages.
fn named(kind: &str, event: &Event, out: &mut Vec<u8>) {
    let _ = write!(out, "event: {kind}\ndata: ");
    json::write(event, None, out);
    out.push(b'\n');
}
