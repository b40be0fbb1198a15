//! The line dialect: one line is one message, for `nc`, `telnet` and scripts.

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
    let too_long = |bytes| Step::request(bytes, Some(Err(Problem::LineTooLong { max_bytes: line_max })));
    let (line, used) = match find_end(window) {
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
    let request = match std::str::from_utf8(&plain) {
        Ok(line) if expected.name => name_request(line),
        Ok(line) => chat_request(line),
        Err(_) => Some(Err(Problem::NotUtf8)),
    };
    Step::request(used, request)
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

/// Parses the answer to the question for a name: a name, an empty line, or a command.
fn name_request(line: &str) -> Option<Result<Request, Problem>> {
    match line.trim() {
        "" => Some(Ok(Request::StayGuest)),
        line if line.starts_with('/') => chat_request(line),
        line => Some(Name::parse(line).map(Request::Nick).map_err(Problem::BadName)),
    }
}

/// Parses a line of chat: a message, a command, or an empty line.
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

/// Parses the arguments of a command. `None` if they are wrong and the client should see the usage.
type ParseArguments = fn(&str) -> Option<Result<Request, Problem>>;

/// A command with its help text.
struct Command {
    word: &'static str,
    usage: &'static str,
    help: &'static str,
    parse: ParseArguments,
}

/// The commands, in the order of `/help`. The map in `lib.rs` says what a new one needs besides its row.
const COMMANDS: &[Command] = &[
    Command {
        word: "help",
        usage: "/help",
        help: "this list",
        parse: |rest| without_argument(rest, Request::Help),
    },
    Command {
        word: "nick",
        usage: "/nick NAME",
        help: "call yourself NAME",
        parse: |rest| {
            argument(rest).map(|name| Name::parse(name).map(Request::Nick).map_err(Problem::BadName))
        },
    },
    Command {
        word: "who",
        usage: "/who [ROOM]",
        help: "who is here, or in ROOM",
        parse: |rest| match argument(rest) {
            None => Some(Ok(Request::Who(None))),
            Some(room) => Some(room_name(room).map(|room| Request::Who(Some(room)))),
        },
    },
    Command {
        word: "rooms",
        usage: "/rooms",
        help: "which rooms there are",
        parse: |rest| without_argument(rest, Request::Rooms),
    },
    Command {
        word: "join",
        usage: "/join ROOM",
        help: "go to ROOM",
        parse: |rest| argument(rest).map(|room| room_name(room).map(join)),
    },
    Command {
        word: "leave",
        usage: "/leave",
        help: "go back to the lobby",
        parse: |rest| without_argument(rest, Request::Leave(None)),
    },
    Command {
        word: "msg",
        usage: "/msg NAME TEXT",
        help: "tell NAME only",
        parse: |rest| {
            let (to, text) = rest.trim_start().split_once(char::is_whitespace)?;
            Some(Ok(Request::Private { to: Text::clean(to)?, text: Text::clean(text)?, receipt: false }))
        },
    },
    Command {
        word: "me",
        usage: "/me TEXT",
        help: "say what you do: * ann waves",
        parse: |rest| Some(Ok(say(MessageKind::Emote, Text::clean(argument(rest)?)?))),
    },
    Command {
        word: "history",
        usage: "/history [N]",
        help: "the last messages of the room",
        parse: |rest| match argument(rest) {
            None => Some(Ok(history(None))),
            Some(count) => count.parse().ok().map(|count| Ok(history(Some(count)))),
        },
    },
    Command {
        word: "quit",
        usage: "/quit [REASON]",
        help: "say good-bye",
        parse: |rest| Some(Ok(Request::Quit(Text::clean(rest.trim())))),
    },
];

fn command_request(command: &str) -> Result<Request, Problem> {
    let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let Some(command) = COMMANDS.iter().find(|command| command.word.eq_ignore_ascii_case(word)) else {
        return Err(unknown_command(word));
    };
    (command.parse)(rest).unwrap_or(Err(Problem::Usage(command.usage)))
}

fn unknown_command(word: &str) -> Problem {
    /// Enough to recognise a typing error.
    const SHOWN_CHARS: usize = 20;
    let shown: String = clean(word).chars().take(SHOWN_CHARS).collect();
    match Text::clean(&shown) {
        Some(word) => Problem::UnknownCommand(word),
        None => Problem::Usage("/COMMAND, with no space behind the slash. /help lists the commands"),
    }
}

fn argument(rest: &str) -> Option<&str> {
    Some(rest.trim()).filter(|rest| !rest.is_empty())
}

fn without_argument(rest: &str, request: Request) -> Option<Result<Request, Problem>> {
    argument(rest).is_none().then_some(Ok(request))
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

/// Appends an event as lines. The server's own lines begin with `-- `, which no name can.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Message { message, .. } => encode_message(message, out),
        Event::HistoryEntry { message, age } => encode_history_entry(message, *age, out),
        Event::Private { from, text, .. } => append(out, &["[", from.as_str(), "] ", &text.one_line(), "\n"]),
        Event::Greeting(line) => notice(out, format_args!("{line}")),
        Event::AskName => notice(out, format_args!("welcome to chinwag. what's your name?")),
        Event::YouJoined { name, first: true, room, others, more, .. } => {
            notice(
                out,
                format_args!("hello {name}. {}. /help lists the commands", you_are_in(room, others, *more)),
            );
        }
        Event::YouJoined { room, others, more, .. } => {
            notice(out, format_args!("{}", you_are_in(room, others, *more)))
        }
        Event::HistoryEmpty => notice(out, format_args!("nothing was said here yet")),
        Event::Joined { name, .. } => notice(out, format_args!("{name} joined")),
        Event::Left { name, reason: None, .. } => notice(out, format_args!("{name} left")),
        Event::Left { name, reason: Some(reason), .. } => notice(out, format_args!("{name} left ({reason})")),
        Event::Crowd { joined, left, count, .. } => {
            notice(out, format_args!("{joined} joined, {left} left, {count} here"));
        }
        Event::Renamed { from, to, .. } => notice(out, format_args!("{from} is now {to}")),
        Event::YouWereRenamed { to, .. } => notice(out, format_args!("you are now {to}")),
        Event::Who { room, names, .. } if names.is_empty() => {
            notice(out, format_args!("nobody is in {room}"))
        }
        Event::Who { room, names, more } => notice(out, format_args!("in {room}: {}", list(names, *more))),
        Event::Rooms { rooms, more } => encode_rooms(rooms, *more, out),
        Event::Help => encode_help(out),
        Event::Pong => out.extend_from_slice(&telnet::WILL_TIMING_MARK),
        Event::Delayed => {
            notice(out, format_args!("you send fast: your lines are slowed down, none is lost"))
        }
        Event::Missed { count, .. } => encode_missed(*count, out),
        Event::Lost { count, .. } => encode_lost(*count, out),
        Event::Disconnected => notice(out, format_args!("{}", super::DISCONNECTED)),
        Event::Connected => notice(out, format_args!("{}", super::CONNECTED)),
        Event::Waiting(1) => notice(out, format_args!("the server is full. you are next, please wait")),
        Event::Waiting(place) => {
            notice(out, format_args!("the server is full. you are number {place} in the queue, please wait"));
        }
        Event::Problem { problem, unnamed: false } => notice(out, format_args!("{problem}")),
        Event::Problem { problem, unnamed: true } => {
            notice(out, format_args!("{problem}. what's your name?"))
        }
        Event::Bye(reason) => encode_bye(*reason, out),
        // Line clients never request these, can't resume, and receive no raw messages.
        Event::Welcome { .. } | Event::YouLeft { .. } | Event::History { .. } | Event::PrivateSent { .. } => {
        }
        Event::Gap { .. } | Event::Position(_) | Event::Relayed(_) => {}
    }
}

fn encode_missed(count: u64, out: &mut Vec<u8>) {
    match count {
        1 => notice(out, format_args!("you missed 1 message: you read too slowly")),
        _ => notice(out, format_args!("you missed {count} messages: you read too slowly")),
    }
}

fn encode_lost(count: Option<u64>, out: &mut Vec<u8>) {
    match count {
        Some(1) => notice(out, format_args!("1 message from another server was lost")),
        Some(count) => notice(out, format_args!("{count} messages from other servers were lost")),
        None => notice(out, format_args!("messages from other servers may have been lost")),
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
        return notice(out, format_args!("nobody is in any room"));
    }
    let rooms: Vec<_> = rooms.iter().map(|(room, count)| format!("{room} ({count})")).collect();
    notice(out, format_args!("rooms: {}", list(&rooms, more)));
}

fn encode_help(out: &mut Vec<u8>) {
    for command in COMMANDS {
        notice(out, format_args!("{:<16}{}", command.usage, command.help));
    }
}

fn encode_bye(reason: CloseReason, out: &mut Vec<u8>) {
    match reason.farewell() {
        // A browser and `curl` show an HTTP response. It must not echo the request.
        Some(farewell) if reason == CloseReason::HttpRequest => HttpResponse::new(StatusCode::BAD_REQUEST)
            .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .with(header::CACHE_CONTROL, "no-store")
            .body("text/plain; charset=utf-8", format!("{farewell}\n").into_bytes())
            .encode(AfterHead::Body, true, out),
        Some(farewell) => notice(out, format_args!("{farewell}")),
        None => {}
    }
}

fn encode_message(message: &Message, out: &mut Vec<u8>) {
    let (name, text) = (message.from.as_str(), message.body.as_line());
    // No name has a space, so no client can forge the mark. The name `http` is mark enough.
    let via = match message.sender {
        Sender::Http if message.from != Name::of_http() => " (http)",
        _ => "",
    };
    match message.kind {
        MessageKind::Say => append(out, &[name, via, ": ", &text, "\n"]),
        MessageKind::Emote => append(out, &["* ", name, via, " ", &text, "\n"]),
    }
}

/// Appends an old message as a line of the server, so it can't be mistaken for a new one.
fn encode_history_entry(message: &Message, age: Duration, out: &mut Vec<u8>) {
    let (count, unit) = match age.as_secs() {
        seconds @ ..60 => (seconds, "s"),
        seconds @ ..3_600 => (seconds / 60, "min"),
        seconds @ ..86_400 => (seconds / 3_600, "h"),
        seconds => (seconds / 86_400, "d"),
    };
    let _ = write!(out, "-- {count} {unit} ago ");
    encode_message(message, out);
}

fn append(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn notice(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector can't fail.
    let _ = writeln!(out, "-- {text}");
}

fn list<T: std::fmt::Display>(some: &[T], more: usize) -> String {
    let names: Vec<_> = some.iter().map(T::to_string).collect();
    match more {
        0 => names.join(", "),
        1 => format!("{} and 1 other", names.join(", ")),
        more => format!("{} and {more} others", names.join(", ")),
    }
}
