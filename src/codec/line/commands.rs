//! The commands of line clients, and the other meanings of a line.

use crate::access::LoginToken;
use crate::protocol::{Body, MessageKind, Moderation, Problem, Request, Topic, kept_text};
use crate::text::{Name, NameError, RoomName, Text, TypedName, clean};
use crate::time::parse_duration;

/// Parses the answer to the question for a name: a name, an empty line, or a command.
pub fn name_request(line: &str) -> Option<Result<Request, Problem>> {
    match line.trim() {
        "" => Some(Ok(Request::StayGuest)),
        line if line.starts_with('/') => chat_request(line),
        line => Some(Name::parse(line).map(Request::Nick).map_err(Problem::BadName)),
    }
}

/// Parses the answer to the question for a token: a token, an empty line, or a command. No token begins with a slash.
pub fn token_request(line: &str) -> Option<Result<Request, Problem>> {
    match line.trim() {
        "" => Some(Ok(Request::StayGuest)),
        line if line.starts_with('/') => chat_request(line),
        line => {
            let token = LoginToken::parse(line).ok_or(Problem::LoginFailed);
            Some(token.map(|token| Request::Login { name: None, token }))
        }
    }
}

/// Parses a line of chat: a message, a command, or an empty line.
pub fn chat_request(line: &str) -> Option<Result<Request, Problem>> {
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
pub struct Command {
    word: &'static str,
    pub usage: &'static str,
    pub help: &'static str,
    parse: ParseArguments,
}

/// The commands, in the order of `/help`. The map in `lib.rs` says what a new one needs besides its row.
pub const COMMANDS: &[Command] = &[
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
            let text = Text::clean(text)?;
            Some(typed_name(to)?.map(|to| Request::Private { to, text, receipt: false }))
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
        word: "topic",
        usage: "/topic [TEXT]",
        help: "what the room is about; moderators set it",
        parse: |rest| {
            let text = argument(rest).map(|text| Topic::parse(if text == "-" { "" } else { text }));
            Some(text.transpose().map(|text| Request::Topic { room: None, text }))
        },
    },
    Command {
        word: "whois",
        usage: "/whois NAME",
        help: "who NAME is, and since when",
        parse: |rest| Some(typed_name(argument(rest)?)?.map(Request::Whois)),
    },
    Command {
        word: "reply",
        usage: "/reply TEXT",
        help: "answer the last /msg that you got",
        parse: |rest| Some(Ok(Request::Answer(Text::clean(argument(rest)?)?))),
    },
    Command {
        word: "away",
        usage: "/away [TEXT]",
        help: "tell people who /msg you that you are away",
        parse: |rest| Some(kept_text("an away text", rest.trim()).map(Request::Away)),
    },
    Command {
        word: "ignore",
        usage: "/ignore [NAME]",
        help: "leave out what NAME says, or list the names",
        parse: |rest| match argument(rest) {
            None => Some(Ok(Request::Ignore(None))),
            Some(name) => Some(typed_name(name)?.map(|name| Request::Ignore(Some(name)))),
        },
    },
    Command {
        word: "unignore",
        usage: "/unignore NAME",
        help: "show what NAME says again",
        parse: |rest| Some(typed_name(argument(rest)?)?.map(Request::Unignore)),
    },
    Command {
        word: "login",
        usage: "/login NAME TOKEN",
        help: "log in to your account",
        parse: |rest| {
            let mut words = rest.split_whitespace();
            let (first, second) = (words.next()?, words.next());
            let (name, token) = match second {
                Some(token) => (Some(first), token),
                None => (None, first),
            };
            if words.next().is_some() {
                return None;
            }
            // An invalid name or token gets the same answer as a wrong one.
            let name = name.map(Name::parse).transpose().map_err(|_| Problem::LoginFailed);
            let token = LoginToken::parse(token).ok_or(Problem::LoginFailed);
            Some(name.and_then(|name| Ok(Request::Login { name, token: token? })))
        },
    },
    Command {
        word: "register",
        usage: "/register",
        help: "make your name an account of yours",
        parse: |rest| without_argument(rest, Request::Register),
    },
    Command {
        word: "kick",
        usage: "/kick NAME [REASON]",
        help: "moderators: disconnect NAME",
        parse: |rest| {
            let (name, reason) = split_word(rest);
            let reason = Text::clean(reason);
            Some(typed_name(name)?.map(|name| Request::Moderate(Moderation::Kick { name, reason })))
        },
    },
    Command {
        word: "mute",
        usage: "/mute NAME [TIME]",
        help: "moderators: NAME can't speak, as in 10m or 7d",
        parse: |rest| {
            let (name, time) = split_word(rest);
            let name = typed_name(name)?;
            let time = argument(time).map(parse_duration).transpose().ok()?;
            let is_over = time.is_some_and(|time| time.is_zero());
            (!is_over).then_some(name.map(|name| Request::Moderate(Moderation::Mute { name, time })))
        },
    },
    Command {
        word: "unmute",
        usage: "/unmute NAME",
        help: "moderators: NAME may speak again",
        parse: |rest| {
            Some(typed_name(argument(rest)?)?.map(|name| Request::Moderate(Moderation::Unmute { name })))
        },
    },
    Command {
        word: "ban",
        usage: "/ban WHO [TIME] [REASON]",
        help: "moderators: keep a name or an ADDRESS[/BITS] out",
        parse: |rest| {
            let (target, rest) = split_word(rest);
            let target = argument(target)?.parse().map_err(Problem::BadRequest);
            let (first, after) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            let (time, reason) = match parse_duration(first) {
                Ok(time) if time.is_zero() => return None,
                Ok(time) => (Some(time), after),
                // Without its time a ban would be endless, so a mistyped one must not become the reason.
                Err(_) if first.starts_with(|c: char| c.is_ascii_digit()) => return None,
                Err(_) => (None, rest),
            };
            let reason = kept_text("the reason of a ban", reason);
            let ban = |target| Ok(Request::Moderate(Moderation::Ban { target, time, reason: reason? }));
            Some(target.and_then(ban))
        },
    },
    Command {
        word: "unban",
        usage: "/unban WHO",
        help: "moderators: lift a ban",
        parse: |rest| {
            let target = argument(rest)?.parse().map_err(Problem::BadRequest);
            Some(target.map(|target| Request::Moderate(Moderation::Unban { target })))
        },
    },
    Command {
        word: "unregister",
        usage: "/unregister NAME",
        help: "moderators: free a name that was registered",
        parse: |rest| {
            Some(typed_name(argument(rest)?)?.map(|name| Request::Moderate(Moderation::Unregister { name })))
        },
    },
    Command {
        word: "bans",
        usage: "/bans",
        help: "moderators: list the bans",
        parse: |rest| without_argument(rest, Request::Moderate(Moderation::Bans)),
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

/// Splits the first word off.
fn split_word(rest: &str) -> (&str, &str) {
    let rest = rest.trim();
    rest.split_once(char::is_whitespace).unwrap_or((rest, ""))
}

/// Parses the name of somebody else. `None` if there is none.
fn typed_name(raw: &str) -> Option<Result<TypedName, Problem>> {
    match TypedName::parse(raw) {
        Err(NameError::Empty) => None,
        name => Some(name.map_err(Problem::BadName)),
    }
}

fn argument(rest: &str) -> Option<&str> {
    Some(rest.trim()).filter(|rest| !rest.is_empty())
}

fn without_argument(rest: &str, request: Request) -> Option<Result<Request, Problem>> {
    argument(rest).is_none().then_some(Ok(request))
}

fn join(room: RoomName) -> Request {
    Request::Join { room, history: None, echo: false, since: None }
}

fn history(count: Option<usize>) -> Request {
    Request::History { room: None, count, after: None }
}

fn room_name(raw: &str) -> Result<RoomName, Problem> {
    RoomName::parse(raw).map_err(Problem::BadRoomName)
}
