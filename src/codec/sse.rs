//! Server-sent events (HTML Living Standard, 9.2): the messages of a room for clients that only read.

use std::io::Write;

use super::json;
use crate::protocol::{Event, Position};

/// A comment, which readers ignore. It keeps proxies from closing a quiet stream, and detects readers that are gone.
pub const KEEP_ALIVE: &[u8] = b":\n\n";

/// Appends messages with their positions, notices of missed messages, and the end. Other events are omitted.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Message { room, epoch, message } => {
            // A message without a number is no position. A client that returns goes on after the last one that has a number.
            if message.seq > 0 {
                write_id(Position { epoch: *epoch, seq: message.seq }, out);
            }
            out.extend_from_slice(b"data: ");
            json::write_message(room, message, None, out);
            out.push(b'\n');
        }
        Event::Position { position, .. } => write_id(*position, out),
        Event::Missed { .. } | Event::Lost { .. } => write_named("missed", event, out),
        Event::Bye(reason) if reason.farewell().is_some() => write_named("bye", event, out),
        _ => return,
    }
    out.push(b'\n');
}

/// Appends the id that a returning client sends as `Last-Event-ID`. An id without data is stored and is no event (9.2.6),
/// so even a client that has received no message yet can resume.
fn write_id(position: Position, out: &mut Vec<u8>) {
    // Writing to a vector can't fail.
    let _ = writeln!(out, "id: {position}");
}

/// Appends an event of another type than `message`, which message handlers do not receive.
fn write_named(kind: &str, event: &Event, out: &mut Vec<u8>) {
    let _ = write!(out, "event: {kind}\ndata: ");
    json::write(event, None, out);
    out.push(b'\n');
}
