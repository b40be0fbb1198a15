//! Events as lines.

use std::io::Write;
use std::time::Duration;

use http::{StatusCode, header};

use super::commands::COMMANDS;
use crate::access::Ban;
use crate::codec::http::{AfterHead, HttpResponse};
use crate::codec::{CONNECTED, DISCONNECTED, telnet};
use crate::protocol::{BanLength, CloseReason, Event, Message, MessageKind, Sender, Whois};
use crate::text::{Name, RoomName, Text};

/// Appends an event as lines. The server's own lines begin with `-- `, which no name can.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Message { message, .. } => encode_message(message, out),
        Event::HistoryEntry { message, age } => encode_history_entry(message, *age, out),
        Event::Private { from, text, .. } => append(out, &["[", from.as_str(), "] ", &text.one_line(), "\n"]),
        Event::Greeting(line) => notice(out, format_args!("{line}")),
        Event::AskName => notice(out, format_args!("welcome to chinwag. what's your name?")),
        Event::AskToken(name) => notice(out, format_args!("{name} is registered. token?")),
        Event::LoggedIn { .. } | Event::Expiring(_) | Event::Registered { .. } => encode_access(event, out),
        Event::Topic { .. } | Event::MaySpeak { .. } | Event::Removed(_) => encode_access(event, out),
        Event::Muted { .. } | Event::Moderated(_) | Event::Bans { .. } => encode_access(event, out),
        Event::Whois(_) | Event::IsAway { .. } | Event::YouAreAway(_) => encode_access(event, out),
        Event::Ignoring(_) | Event::Flagged { .. } => encode_access(event, out),
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
        Event::Disconnected => notice(out, format_args!("{}", DISCONNECTED)),
        Event::Connected => notice(out, format_args!("{}", CONNECTED)),
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
        Event::Position { .. } | Event::Relayed(_) => {}
    }
}

/// Appends an event of logins or moderation, a topic, or an absence.
fn encode_access(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::LoggedIn { account, role } => {
            notice(out, format_args!("you are logged in as {account} ({role})"))
        }
        Event::Expiring(time) => {
            let seconds = time.as_secs();
            notice(out, format_args!("your session ends in {seconds} s. /login with a new token to stay"));
        }
        Event::Registered { account, token } => {
            let token = token.expose();
            notice(out, format_args!("{account} is your name now. your token, shown only once: {token}"));
            notice(out, format_args!("next time: /login {account} TOKEN"));
        }
        Event::Topic { room, text, by } => encode_topic(room, text.as_ref(), by.as_ref(), out),
        Event::MaySpeak { denied: Some(problem), .. } => notice(out, format_args!("{problem}")),
        Event::MaySpeak { denied: None, .. } => {}
        Event::Removed(removal) => notice(out, format_args!("{removal}")),
        Event::Muted { by, length: Some(length) } => {
            notice(out, format_args!("{by} has muted you {length}"));
        }
        Event::Muted { by, length: None } => notice(out, format_args!("{by} lets you speak again")),
        Event::Moderated(text) => notice(out, format_args!("{text}")),
        Event::Bans { bans, more, now_unix_millis } => encode_bans(bans, *more, *now_unix_millis, out),
        Event::Whois(whois) => encode_whois(whois, out),
        Event::IsAway { name, text } => notice(out, format_args!("{name} is away: {text}")),
        Event::Ignoring(names) if names.is_empty() => notice(out, format_args!("you ignore nobody")),
        Event::Ignoring(names) => notice(out, format_args!("you ignore {}", list(names, 0))),
        Event::Flagged { author: Some(author), text } => {
            notice(out, format_args!("flagged words of {author}: {}", text.one_line()));
        }
        Event::Flagged { author: None, text } => {
            notice(out, format_args!("a room has a flagged name: {}", text.one_line()));
        }
        Event::YouAreAway(true) => notice(out, format_args!("you are away. /away without a text ends that")),
        Event::YouAreAway(false) => notice(out, format_args!("you are back")),
        other => debug_assert!(false, "{other:?} is no event of access"),
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

fn encode_topic(room: &RoomName, text: Option<&Text>, by: Option<&Name>, out: &mut Vec<u8>) {
    match (text, by) {
        (Some(text), Some(by)) => notice(out, format_args!("the topic of {room}, set by {by}: {text}")),
        (Some(text), None) => notice(out, format_args!("the topic of {room}: {text}")),
        (None, Some(by)) => notice(out, format_args!("{by} has removed the topic of {room}")),
        (None, None) => notice(out, format_args!("{room} has no topic")),
    }
}

fn encode_bans(bans: &[Ban], more: usize, now_unix_millis: u64, out: &mut Vec<u8>) {
    if bans.is_empty() {
        return notice(out, format_args!("there are no bans"));
    }
    for ban in bans {
        let left = ban.until_unix_millis.map(|until| until.saturating_sub(now_unix_millis));
        let length = BanLength::from(left.map(Duration::from_millis));
        let reason = ban.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        notice(out, format_args!("{} {length}, by {}{reason}", ban.target, ban.by));
    }
    if more > 0 {
        notice(out, format_args!("and {more} more"));
    }
}

fn encode_whois(whois: &Whois, out: &mut Vec<u8>) {
    let name = &whois.name;
    match &whois.account {
        Some(account) => notice(out, format_args!("{name} has the account {account} ({})", whois.role)),
        None => notice(out, format_args!("{name} is a guest")),
    }
    if let Some((connected, idle)) = whois.connected.zip(whois.idle) {
        let (connected, idle) = (ago(connected), ago(idle));
        notice(out, format_args!("{name} came {connected} ago, and sent something {idle} ago"));
    }
    if let Some(text) = &whois.away {
        notice(out, format_args!("{name} is away: {text}"));
    }
    if let Some(address) = &whois.address {
        notice(out, format_args!("{name} has the address {address}"));
    }
}

/// A time in its largest unit, rounded down.
fn ago(time: Duration) -> String {
    let (count, unit) = match time.as_secs() {
        seconds @ ..60 => (seconds, "s"),
        seconds @ ..3_600 => (seconds / 60, "min"),
        seconds @ ..86_400 => (seconds / 3_600, "h"),
        seconds => (seconds / 86_400, "d"),
    };
    format!("{count} {unit}")
}

fn encode_help(out: &mut Vec<u8>) {
    for command in COMMANDS {
        notice(out, format_args!("{:<26}{}", command.usage, command.help));
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
    // No name has a space, so no client can send a line with the mark before the colon. The name `http` needs no mark.
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
    let _ = write!(out, "-- {} ago ", ago(age));
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
