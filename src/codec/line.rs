//! The line dialect: one line is one message, for `nc`, `telnet` and scripts.

mod commands;
mod encode;

use memchr::{memchr2, memchr3};

use super::telnet::{self, IAC};
use super::{Expected, Step, Unfinished, foreign};
use crate::config::DISCARD_MAX_BYTES;
use crate::protocol::{CloseReason, Problem, Request};

pub use encode::encode;

/// Length of the longest line end, CR LF.
const END_BYTES: usize = 2;

/// The most bytes of an incomplete line, for a limit of `line_max` bytes.
pub fn unused_max_bytes(line_max: usize) -> usize {
    line_max + END_BYTES
}

/// Decodes one line from the front of `input`. With `ended` no more input will come, so the last line needs no end.
///
/// A line ends with LF, CR LF, CR NUL or CR alone (RFC 854). The limit counts the bytes before any is erased.
pub fn decode(
    unfinished: &mut Option<Box<Unfinished>>,
    expected: Expected,
    input: &[u8],
    ended: bool,
    line_max: usize,
) -> Step {
    match unfinished.as_deref() {
        Some(Unfinished::Line { discarded_bytes }) => {
            let discarded_bytes = *discarded_bytes;
            return discard(unfinished, input, discarded_bytes);
        }
        Some(Unfinished::LineEnd) if matches!(input, [b'\n' | 0, ..]) => {
            *unfinished = None;
            return Step::request(1, None);
        }
        _ => {}
    }
    // The search stops at the limit, so the result does not depend on how the input is split into reads.
    let window = &input[..input.len().min(unused_max_bytes(line_max))];
    if let Some(step) = telnet_command(window) {
        return step;
    }
    if expected.first
        && let Some(step) = check_first_line(unfinished, input, window, ended, line_max)
    {
        return step;
    }
    let line_end = find_end(window);
    if let Some(bytes) = telnet::interrupted_len(&window[..line_end.unwrap_or(window.len())]) {
        *unfinished = None;
        return Step::request(bytes, Some(Ok(Request::Ping)));
    }
    let too_long = |bytes| Step::request(bytes, Some(Err(Problem::LineTooLong { max_bytes: line_max })));
    let (line, used) = match line_end {
        Some(end) => (&input[..end], consume_line_end(unfinished, input, end)),
        None if window.len() == unused_max_bytes(line_max) => {
            *unfinished = Some(Box::new(Unfinished::Line { discarded_bytes: 0 }));
            return too_long(line_max);
        }
        None if ended && !input.is_empty() => {
            *unfinished = None;
            (input, input.len())
        }
        None => return Step::Incomplete,
    };
    if line.len() > line_max {
        return too_long(used);
    }
    let plain = telnet::edit(line);
    if plain.is_empty() && used == line.len() {
        // The input ended after a telnet command or an erased character, so there is no line.
        return Step::request(used, None);
    }
    Step::request(used, request_of(&plain, expected))
}

/// The request of a whole line; `None` if it is blank.
fn request_of(line: &[u8], expected: Expected) -> Option<Result<Request, Problem>> {
    match std::str::from_utf8(line) {
        Ok(line) if expected.token => commands::token_request(line),
        Ok(line) if expected.name => commands::name_request(line),
        Ok(line) => commands::chat_request(line),
        Err(_) => Some(Err(Problem::NotUtf8)),
    }
}

/// Checks the first line of a connection: closes it if it is another protocol, and skips a byte order mark.
fn check_first_line(
    unfinished: &mut Option<Box<Unfinished>>,
    input: &[u8],
    window: &[u8],
    ended: bool,
    line_max: usize,
) -> Option<Step> {
    let is_all = ended && window.len() == input.len();
    if let Some(reason) = foreign::reason(window, unused_max_bytes(line_max), is_all) {
        return Some(Step::Fail(reason));
    }
    if !input.starts_with(foreign::BYTE_ORDER_MARK) {
        return None;
    }
    // An LF behind the mark does not belong to a CR in front of it.
    *unfinished = None;
    Some(Step::request(foreign::BYTE_ORDER_MARK.len(), None))
}

/// Length of the line with its end at index `end`. A CR ends the line at once; a following LF or NUL is part of that end.
fn consume_line_end(unfinished: &mut Option<Box<Unfinished>>, input: &[u8], end: usize) -> usize {
    let next = input.get(end + 1);
    let is_open = input[end] == b'\r' && next.is_none_or(|next| *next == IAC);
    *unfinished = is_open.then(|| Box::new(Unfinished::LineEnd));
    let is_double = input[end] == b'\r' && next.is_some_and(|next| matches!(next, b'\n' | 0));
    end + 1 + usize::from(is_double)
}

/// Discards the rest of a line over the limit. `so_far` bytes of it are discarded already.
fn discard(unfinished: &mut Option<Box<Unfinished>>, input: &[u8], so_far: usize) -> Step {
    if input.is_empty() {
        return Step::Incomplete;
    }
    let end = memchr2(b'\n', b'\r', input);
    let discarded_bytes = so_far + end.unwrap_or(input.len());
    if discarded_bytes > DISCARD_MAX_BYTES {
        return Step::Fail(CloseReason::EndlessLine);
    }
    let used = match end {
        Some(end) => consume_line_end(unfinished, input, end),
        None => {
            *unfinished = Some(Box::new(Unfinished::Line { discarded_bytes }));
            input.len()
        }
    };
    Step::request(used, None)
}

/// Whether `rest`, the input behind a line, has more than the second half of the line end and telnet commands.
pub fn has_more_input(unfinished: Option<&Unfinished>, mut rest: &[u8]) -> bool {
    while rest.first() == Some(&IAC) {
        match telnet::command_len(rest) {
            Some(length) if length > 1 && rest[1] != IAC => rest = &rest[length..],
            Some(_) => return true,
            None => return false,
        }
    }
    if matches!(unfinished, Some(Unfinished::LineEnd)) {
        rest = rest.strip_prefix(b"\n").or(rest.strip_prefix(b"\0")).unwrap_or(rest);
    }
    !rest.is_empty()
}

/// Handles a telnet command at the start of a line at once, because that line may never end.
fn telnet_command(input: &[u8]) -> Option<Step> {
    if input.first() != Some(&IAC) {
        return None;
    }
    let bytes = telnet::command_len(input).filter(|length| *length > 1 && input[1] != IAC)?;
    let request = (input[..bytes] == telnet::DO_TIMING_MARK).then_some(Ok(Request::Ping));
    Some(Step::request(bytes, request))
}

/// Index of the LF or CR that ends the first line. Bytes inside a telnet command (a window of ten columns) do not count.
pub fn find_end(input: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr3(b'\n', b'\r', IAC, &input[at..])?;
        if input[at] != IAC {
            return Some(at);
        }
        at += telnet::command_len(&input[at..])?;
    }
}
