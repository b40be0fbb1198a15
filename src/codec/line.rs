//! The line listener: one line, one message, for `nc`, `telnet` and scripts.

use std::io::Write;
use std::time::Duration;

use http::{StatusCode, header};
use memchr::{memchr2, memchr3};

use super::http::{AfterHead, HttpResponse};
use super::telnet::{self, IAC};
use super::{Expected, Step, Unfinished, foreign};
use crate::config::DISCARD_MAX_BYTES;
use crate::protocol::{Body, CloseReason, Event, Message, MessageKind, Problem, Request, Sender};
use crate::text::{Name, RoomName, Text, clean};

/// A line's end takes at most this: CR LF.
const END_BYTES: usize = 2;

/// The most input that can wait for the rest of a line, for a limit of `line_max` bytes.
pub fn unused_max_bytes(line_max: usize) -> usize {
    line_max + END_BYTES
}

/// Takes one line off the front of `input`. With `ended` no more will come, and what is there is the last line even
/// without an end.
///
/// A line ends with LF, CR LF, CR NUL or CR alone (RFC 854). Its bytes count as they came, before any is erased.
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
    // Looking no further than the limit makes the outcome the same however the input is cut into reads.
    let window = &input[..input.len().min(unused_max_bytes(line_max))];
    if let Some(step) = telnet_command(window) {
        return step;
    }
    if expected.first
        && let Some(step) = beginning(unfinished, input, window, ended, line_max)
    {
        return step;
    }
    let too_long = |bytes| Step::request(bytes, Some(Err(Problem::LineTooLong { max_bytes: line_max })));
    let (line, used) = match end(window) {
        Some(end) => (&input[..end], take_end(unfinished, input, end)),
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
        // The input ended after a telnet command or an erased character, and before any line.
        return Step::request(used, None);
    }
    let request = match std::str::from_utf8(&plain) {
        Ok(line) if expected.name => name_request(line),
        Ok(line) => chat_request(line),
        Err(_) => Some(Err(Problem::NotUtf8)),
    };
    Step::request(used, request)
}

/// The step that the beginning of a connection's input asks for: to close one of another protocol, to skip a byte order
/// mark, or none.
fn beginning(
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
    // What follows the mark is no part of an end of line in front of it.
    *unfinished = None;
    Some(Step::request(foreign::BYTE_ORDER_MARK.len(), None))
}

/// The bytes of a line that ends at `end`, with its end. A CR is one at once; the LF or NUL that may follow is no other.
fn take_end(unfinished: &mut Option<Box<Unfinished>>, input: &[u8], end: usize) -> usize {
    let next = input.get(end + 1);
    let is_open = input[end] == b'\r' && next.is_none_or(|next| *next == IAC);
    *unfinished = is_open.then(|| Box::new(Unfinished::LineEnd));
    let is_double = input[end] == b'\r' && next.is_some_and(|next| matches!(next, b'\n' | 0));
    end + 1 + usize::from(is_double)
}

/// Throws away what is left of a line over the limit, of which so much is gone already.
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
        Some(end) => take_end(unfinished, input, end),
        None => {
            *unfinished = Some(Box::new(Unfinished::Line { discarded_bytes }));
            input.len()
        }
    };
    Step::request(used, None)
}

/// Whether `rest`, which came behind a line, is more than the other half of its end and telnet's commands.
pub fn is_more(unfinished: Option<&Unfinished>, mut rest: &[u8]) -> bool {
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

/// A telnet command where a line would begin is dealt with at once: nobody may ever end that line.
fn telnet_command(input: &[u8]) -> Option<Step> {
    if input.first() != Some(&IAC) {
        return None;
    }
    let bytes = telnet::command_len(input).filter(|length| *length > 1 && input[1] != IAC)?;
    let request = (input[..bytes] == telnet::DO_TIMING_MARK).then_some(Ok(Request::Ping));
    Some(Step::request(bytes, request))
}

/// Index of the LF or CR that ends the first line. One inside a telnet command (a window ten columns wide) ends nothing.
pub fn end(input: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr3(b'\n', b'\r', IAC, &input[at..])?;
        if input[at] != IAC {
            return Some(at);
        }
        at += telnet::command_len(&input[at..])?;
    }
}

/// The answer to the question for a name: a name, nothing, or a command.
fn name_request(line: &str) -> Option<Result<Request, Problem>> {
    match line.trim() {
        "" => Some(Ok(Request::StayGuest)),
        line if line.starts_with('/') => chat_request(line),
        line => Some(Name::parse(line).map(Request::Nick).map_err(Problem::BadName)),
    }
}

/// A line of chat: a message, a command, or nothing.
fn chat_request(line: &str) -> Option<Result<Request, Problem>> {
    match line.strip_prefix('/') {
        Some(text) if text.starts_with('/') => Text::clean(text).map(|text| Ok(say(MessageKind::Say, text))),
        Some(command) => Some(command_request(command)),
        None => Text::clean(line).map(|text| Ok(say(MessageKind::Say, text))),
    }
}

fn say(kind: MessageKind, text: Text) -> Request {
    Request::Say { room: None, kind, body: Body::Text(text), receipt: false }
}

/// How a command's words make a request.
type Read = fn(&str) -> Option<Result<Request, Problem>>;

/// A command: its word, what follows it, what it does, and how to read it. [`Read`] gives `None` where the usage
/// should be told.
struct Command {
    word: &'static str,
    usage: &'static str,
    help: &'static str,
    read: Read,
}

/// A new command is a row here, a [`Request`], and what the chat does with it.
const COMMANDS: [Command; 10] = [
    Command { word: "help", usage: "/help", help: "this list", read: |rest| alone(rest, Request::Help) },
    Command {
        word: "nick",
        usage: "/nick NAME",
        help: "call yourself NAME",
        read: |rest| given(rest).map(|name| Name::parse(name).map(Request::Nick).map_err(Problem::BadName)),
    },
    Command {
        word: "who",
        usage: "/who [ROOM]",
        help: "who is here, or in ROOM",
        read: |rest| match given(rest) {
            None => Some(Ok(Request::Who(None))),
            Some(room) => Some(room_name(room).map(|room| Request::Who(Some(room)))),
        },
    },
    Command {
        word: "rooms",
        usage: "/rooms",
        help: "which rooms there are",
        read: |rest| alone(rest, Request::Rooms),
    },
    Command {
        word: "join",
        usage: "/join ROOM",
        help: "go to ROOM",
        read: |rest| given(rest).map(|room| room_name(room).map(join)),
    },
    Command {
        word: "leave",
        usage: "/leave",
        help: "go back to the lobby",
        read: |rest| alone(rest, Request::Leave(None)),
    },
    Command {
        word: "msg",
        usage: "/msg NAME TEXT",
        help: "tell NAME only",
        read: |rest| {
            let (to, text) = rest.trim_start().split_once(char::is_whitespace)?;
            Some(Ok(Request::Private { to: Text::clean(to)?, text: Text::clean(text)?, receipt: false }))
        },
    },
    Command {
        word: "me",
        usage: "/me TEXT",
        help: "say what you do: * ann waves",
        read: |rest| Some(Ok(say(MessageKind::Emote, Text::clean(given(rest)?)?))),
    },
    Command {
        word: "history",
        usage: "/history [N]",
        help: "the last messages of the room",
        read: |rest| match given(rest) {
            None => Some(Ok(history(None))),
            Some(count) => count.parse().ok().map(|count| Ok(history(Some(count)))),
        },
    },
    Command {
        word: "quit",
        usage: "/quit [REASON]",
        help: "say good-bye",
        read: |rest| Some(Ok(Request::Quit(Text::clean(rest.trim())))),
    },
];

fn command_request(command: &str) -> Result<Request, Problem> {
    let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let Some(command) = COMMANDS.iter().find(|command| command.word.eq_ignore_ascii_case(word)) else {
        return Err(unknown(word));
    };
    (command.read)(rest).unwrap_or(Err(Problem::Usage(command.usage)))
}

fn unknown(word: &str) -> Problem {
    /// Enough of it to recognise a typing error by.
    const SHOWN_CHARS: usize = 20;
    let shown: String = clean(word).chars().take(SHOWN_CHARS).collect();
    match Text::clean(&shown) {
        Some(word) => Problem::UnknownCommand(word),
        None => Problem::Usage("/COMMAND, with no space behind the slash. /help lists the commands"),
    }
}

fn given(rest: &str) -> Option<&str> {
    Some(rest.trim()).filter(|rest| !rest.is_empty())
}

fn alone(rest: &str, request: Request) -> Option<Result<Request, Problem>> {
    given(rest).is_none().then_some(Ok(request))
}

fn join(room: RoomName) -> Request {
    Request::Join { room, history: None, echo: false }
}

fn history(count: Option<usize>) -> Request {
    Request::History { room: None, count, after: None }
}

fn room_name(raw: &str) -> Result<RoomName, Problem> {
    RoomName::parse(raw).map_err(Problem::BadRoomName)
}

/// Appends what a line client sees of an event. What the server itself says begins with `-- `, as no name can.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Message { message, .. } => encode_message(message, out),
        Event::HistoryEntry { message, age } => encode_past(message, *age, out),
        Event::Private { from, text, .. } => put(out, &["[", from.as_str(), "] ", &text.one_line(), "\n"]),
        Event::Greeting(line) => tell(out, format_args!("{line}")),
        Event::AskName => tell(out, format_args!("welcome to chinwag. what's your name?")),
        Event::YouJoined { name, first: true, room, others, more, .. } => {
            tell(
                out,
                format_args!("hello {name}. {}. /help lists the commands", you_are_in(room, others, *more)),
            );
        }
        Event::YouJoined { room, others, more, .. } => {
            tell(out, format_args!("{}", you_are_in(room, others, *more)))
        }
        Event::HistoryEmpty => tell(out, format_args!("nothing was said here yet")),
        Event::Joined { name, .. } => tell(out, format_args!("{name} joined")),
        Event::Left { name, reason: None, .. } => tell(out, format_args!("{name} left")),
        Event::Left { name, reason: Some(reason), .. } => tell(out, format_args!("{name} left ({reason})")),
        Event::Crowd { joined, left, count, .. } => {
            tell(out, format_args!("{joined} joined, {left} left, {count} here"));
        }
        Event::Renamed { from, to, .. } => tell(out, format_args!("{from} is now {to}")),
        Event::YouAre { to, .. } => tell(out, format_args!("you are now {to}")),
        Event::Who { room, names, .. } if names.is_empty() => tell(out, format_args!("nobody is in {room}")),
        Event::Who { room, names, more } => tell(out, format_args!("in {room}: {}", list(names, *more))),
        Event::Rooms { rooms, more } => encode_rooms(rooms, *more, out),
        Event::Help => encode_help(out),
        Event::Pong => out.extend_from_slice(&telnet::WILL_TIMING_MARK),
        Event::Delayed => tell(out, format_args!("you send fast: your lines are slowed down, none is lost")),
        Event::Missed { count, .. } => encode_missed(*count, out),
        Event::Lost { count, .. } => encode_lost(*count, out),
        Event::Disconnected => tell(out, format_args!("{}", super::APART)),
        Event::Connected => tell(out, format_args!("{}", super::TOGETHER)),
        Event::Waiting(1) => tell(out, format_args!("the server is full. you are next, please wait")),
        Event::Waiting(place) => {
            tell(out, format_args!("the server is full. you are number {place} in the queue, please wait"));
        }
        Event::Problem { problem, unnamed: false } => tell(out, format_args!("{problem}")),
        Event::Problem { problem, unnamed: true } => tell(out, format_args!("{problem}. what's your name?")),
        Event::Bye(reason) => encode_bye(*reason, out),
        // Line clients ask for none of these, can't come back, and hear nothing of what programs tell each other.
        Event::Welcome { .. } | Event::YouLeft { .. } | Event::History { .. } | Event::PrivateSent { .. } => {
        }
        Event::Gap { .. } | Event::Position(_) | Event::Relayed(_) => {}
    }
}

fn encode_missed(count: u64, out: &mut Vec<u8>) {
    match count {
        1 => tell(out, format_args!("you missed 1 message: you read too slowly")),
        _ => tell(out, format_args!("you missed {count} messages: you read too slowly")),
    }
}

fn encode_lost(count: Option<u64>, out: &mut Vec<u8>) {
    match count {
        Some(1) => tell(out, format_args!("1 message from another server was lost")),
        Some(count) => tell(out, format_args!("{count} messages from other servers were lost")),
        None => tell(out, format_args!("messages from other servers may have been lost")),
    }
}

fn you_are_in(room: &RoomName, others: &[Name], more: usize) -> String {
    match others.is_empty() {
        true => format!("you are alone in {room}"),
        false => format!("you are in {room} with {}", list(others, more)),
    }
}

fn encode_rooms(rooms: &[(RoomName, usize)], more: usize, out: &mut Vec<u8>) {
    if rooms.is_empty() {
        return tell(out, format_args!("nobody is in any room"));
    }
    let rooms: Vec<_> = rooms.iter().map(|(room, count)| format!("{room} ({count})")).collect();
    tell(out, format_args!("rooms: {}", list(&rooms, more)));
}

fn encode_help(out: &mut Vec<u8>) {
    for command in &COMMANDS {
        tell(out, format_args!("{:<16}{}", command.usage, command.help));
    }
}

fn encode_bye(reason: CloseReason, out: &mut Vec<u8>) {
    match reason.farewell() {
        // A browser and `curl` show an answer in their own protocol. Nothing of the request is in it.
        Some(farewell) if reason == CloseReason::HttpRequest => HttpResponse::new(StatusCode::BAD_REQUEST)
            .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .with(header::CACHE_CONTROL, "no-store")
            .body("text/plain; charset=utf-8", format!("{farewell}\n").into_bytes())
            .encode(AfterHead::Body, true, out),
        Some(farewell) => tell(out, format_args!("{farewell}")),
        None => {}
    }
}

fn encode_message(message: &Message, out: &mut Vec<u8>) {
    let (name, text) = (message.from.as_str(), message.body.as_line());
    // No name has a space in it, so no client can forge the mark. The server's own name for such senders is mark enough.
    let via = match message.sender {
        Sender::Http if message.from != Name::of_http() => " (http)",
        _ => "",
    };
    match message.kind {
        MessageKind::Say => put(out, &[name, via, ": ", &text, "\n"]),
        MessageKind::Emote => put(out, &["* ", name, via, " ", &text, "\n"]),
    }
}

/// A message from before, told by the server: nobody takes it for a new one.
fn encode_past(message: &Message, age: Duration, out: &mut Vec<u8>) {
    let (count, unit) = match age.as_secs() {
        seconds @ ..60 => (seconds, "s"),
        seconds @ ..3_600 => (seconds / 60, "min"),
        seconds @ ..86_400 => (seconds / 3_600, "h"),
        seconds => (seconds / 86_400, "d"),
    };
    let _ = write!(out, "-- {count} {unit} ago ");
    encode_message(message, out);
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn tell(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    // Writing to a vector has no way to fail.
    let _ = writeln!(out, "-- {what}");
}

fn list<T: std::fmt::Display>(some: &[T], more: usize) -> String {
    let names: Vec<_> = some.iter().map(T::to_string).collect();
    match more {
        0 => names.join(", "),
        1 => format!("{} and 1 other", names.join(", ")),
        more => format!("{} and {more} others", names.join(", ")),
    }
}
