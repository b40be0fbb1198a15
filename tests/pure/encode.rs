//! Encoding of the line listener: every event, and its bytes. This is the protocol.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use chinwag::access::{Action, Ban, LoginToken, Role};
use chinwag::codec::line::encode;
use chinwag::protocol::{
    BanLength, Body, CloseReason, Event, Message, MessageKind, Problem, Removal, Sender, Whois,
};
use chinwag::text::{Name, NameError, RoomName, RoomNameError, Text, TypedName};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::random::{check, raw_text};
use crate::words::{
    SOMEBODY, entered_event, harm, joined_event, left_event, name, names, private_event, renamed_event, room,
    said_event, text, typed, you_are_event,
};

fn encoded(event: &Event) -> String {
    let mut bytes = b"before\n".to_vec();
    encode(event, &mut bytes);
    let all = String::from_utf8(bytes).expect("UTF-8");
    all.strip_prefix("before\n").expect("what was there stays").to_string()
}

#[track_caller]
fn check_rows(rows: &[(Event, &str)]) {
    for (event, expected) in rows {
        assert_eq!(encoded(event), *expected, "{event:?}");
    }
}

fn message(kind: MessageKind, from: &str, what: &str) -> Rc<Message> {
    message_of(Sender::Client(SOMEBODY), kind, name(from), what)
}

/// A message that no client has sent.
fn sent_by_none(sender: Sender, from: Name, what: &str) -> Rc<Message> {
    message_of(sender, MessageKind::Say, from, what)
}

fn message_of(sender: Sender, kind: MessageKind, from: Name, what: &str) -> Rc<Message> {
    Rc::new(Message {
        from,
        sender,
        kind,
        body: Body::Text(text(what)),
        seq: 7,
        id: None,
        at_unix_millis: 1_700_000_000_000,
    })
}

fn chat() -> Vec<(Event, &'static str)> {
    vec![
        (said_event(message(MessageKind::Say, "bob", "hi ann")), "bob: hi ann\n"),
        (said_event(message(MessageKind::Emote, "bob", "waves")), "* bob waves\n"),
        (said_event(message(MessageKind::Say, "bob", "  -- as it is ")), "bob:   -- as it is \n"),
        (said_event(message(MessageKind::Say, "guest-7", "hi")), "guest-7: hi\n"),
        (said_event(sent_by_none(Sender::Http, name("ci"), "done")), "ci (http): done\n"),
        (said_event(sent_by_none(Sender::Http, Name::of_http(), "done")), "http: done\n"),
        (said_event(sent_by_none(Sender::Unknown, Name::of_redis(), "done")), "redis: done\n"),
        (said_event(message(MessageKind::Say, "ci", "(http): done")), "ci: (http): done\n"),
        (private_event(name("bob"), text("psst")), "[bob] psst\n"),
    ]
}

fn past(age_seconds: u64) -> Event {
    Event::HistoryEntry {
        message: message(MessageKind::Say, "bob", "hi"),
        age: Duration::from_secs(age_seconds),
    }
}

fn what_was_said() -> Vec<(Event, &'static str)> {
    let act = message(MessageKind::Emote, "bob", "waves");
    vec![
        (past(0), "-- 0 s ago bob: hi\n"),
        (past(59), "-- 59 s ago bob: hi\n"),
        (past(60), "-- 1 min ago bob: hi\n"),
        (past(3_599), "-- 59 min ago bob: hi\n"),
        (past(3_600), "-- 1 h ago bob: hi\n"),
        (past(86_399), "-- 23 h ago bob: hi\n"),
        (past(86_400), "-- 1 d ago bob: hi\n"),
        (past(100 * 86_400), "-- 100 d ago bob: hi\n"),
        (
            Event::HistoryEntry { message: act, age: Duration::from_millis(59_999) },
            "-- 59 s ago * bob waves\n",
        ),
        (
            Event::HistoryEntry {
                message: sent_by_none(Sender::Http, name("ci"), "done"),
                age: Duration::ZERO,
            },
            "-- 0 s ago ci (http): done\n",
        ),
        (Event::HistoryEmpty, "-- nothing was said here yet\n"),
    ]
}

fn entered(first: bool, room_name: &str, others: &[&str], more: usize) -> Event {
    entered_event(name("ann"), first, room(room_name), names(others), more)
}

fn rooms_and_people() -> Vec<(Event, &'static str)> {
    let who = |all: &[&str], more| Event::Who { room: room("dev"), names: names(all), more };
    let rooms = |more| Event::Rooms { rooms: vec![(room("lobby"), 12), (room("dev"), 1)], more };
    let left = |reason: Option<&str>| left_event(name("dan"), reason.map(text));
    vec![
        (Event::Greeting(text("be kind")), "-- be kind\n"),
        (Event::AskName, "-- welcome to chinwag. what's your name?\n"),
        (
            entered(true, "lobby", &["bob", "cy"], 0),
            "-- hello ann. you are in #lobby with bob, cy. /help lists the commands\n",
        ),
        (entered(true, "lobby", &[], 0), "-- hello ann. you are alone in #lobby. /help lists the commands\n"),
        (entered(false, "dev", &[], 0), "-- you are alone in #dev\n"),
        (entered(false, "dev", &["bob"], 0), "-- you are in #dev with bob\n"),
        (entered(false, "dev", &["bob", "cy"], 1), "-- you are in #dev with bob, cy and 1 other\n"),
        (entered(false, "dev", &["bob"], 2), "-- you are in #dev with bob and 2 others\n"),
        (joined_event(name("dan")), "-- dan joined\n"),
        (left(None), "-- dan left\n"),
        (left(Some("too slow")), "-- dan left (too slow)\n"),
        (
            Event::Crowd { room: room("dev"), joined: 12, left: 3, count: 812 },
            "-- 12 joined, 3 left, 812 here\n",
        ),
        (renamed_event(name("guest-1"), name("dan")), "-- guest-1 is now dan\n"),
        (you_are_event(name("dan")), "-- you are now dan\n"),
        (who(&["ann", "bob"], 0), "-- in #dev: ann, bob\n"),
        (who(&["ann"], 1), "-- in #dev: ann and 1 other\n"),
        (who(&["ann"], 712), "-- in #dev: ann and 712 others\n"),
        (rooms(0), "-- rooms: #lobby (12), #dev (1)\n"),
        (rooms(3), "-- rooms: #lobby (12), #dev (1) and 3 others\n"),
    ]
}

const HELP: &str = "\
-- /help                     this list
-- /nick NAME                call yourself NAME
-- /who [ROOM]               who is here, or in ROOM
-- /rooms                    which rooms there are
-- /join ROOM                go to ROOM
-- /leave                    go back to the lobby
-- /msg NAME TEXT            tell NAME only
-- /me TEXT                  say what you do: * ann waves
-- /history [N]              the last messages of the room
-- /topic [TEXT]             what the room is about; moderators set it
-- /whois NAME               who NAME is, and since when
-- /reply TEXT               answer the last /msg that you got
-- /away [TEXT]              tell people who /msg you that you are away
-- /ignore [NAME]            leave out what NAME says, or list the names
-- /unignore NAME            show what NAME says again
-- /login NAME TOKEN         log in to your account
-- /register                 make your name an account of yours
-- /kick NAME [REASON]       moderators: disconnect NAME
-- /mute NAME [TIME]         moderators: NAME can't speak, as in 10m or 7d
-- /unmute NAME              moderators: NAME may speak again
-- /ban WHO [TIME] [REASON]  moderators: keep a name or an ADDRESS[/BITS] out
-- /unban WHO                moderators: lift a ban
-- /unregister NAME          moderators: free a name that was registered
-- /bans                     moderators: list the bans
-- /quit [REASON]            say good-bye
";

fn the_connection() -> Vec<(Event, &'static str)> {
    vec![
        (Event::Help, HELP),
        (Event::Delayed, "-- you send fast: your lines are slowed down, none is lost\n"),
        (Event::Missed { room: None, count: 3 }, "-- you missed 3 messages: you read too slowly\n"),
        (
            Event::Lost { room: room("dev"), count: None },
            "-- messages from other servers may have been lost\n",
        ),
        (Event::Lost { room: room("dev"), count: Some(1) }, "-- 1 message from another server was lost\n"),
        (Event::Lost { room: room("dev"), count: Some(3) }, "-- 3 messages from other servers were lost\n"),
        (
            Event::Disconnected,
            "-- the other servers are out of reach: until they are back you see only messages of this one\n",
        ),
        (Event::Connected, "-- the other servers are within reach again\n"),
        (Event::Waiting(1), "-- the server is full. you are next, please wait\n"),
        (Event::Waiting(12), "-- the server is full. you are number 12 in the queue, please wait\n"),
    ]
}

pub fn problems() -> Vec<(Problem, &'static str)> {
    let dev = || room("dev");
    vec![
        (Problem::LineTooLong { max_bytes: 4096 }, "that line was not sent: it is over 4096 bytes"),
        (Problem::NotUtf8, "that line was not sent: it is not UTF-8"),
        (
            Problem::UnknownCommand(text("hlep")),
            "there is no command /hlep. /help lists the commands, //text says /text",
        ),
        (Problem::Usage("/msg NAME TEXT"), "usage: /msg NAME TEXT"),
        (Problem::BadName(NameError::Empty), "a name needs at least one character"),
        (Problem::BadName(NameError::TooLong), "a name has at most 32 bytes"),
        (Problem::BadName(NameError::Space), "a name has no space in it"),
        (
            Problem::BadName(NameError::Invisible),
            "a name has no invisible characters in it: type it rather than paste it",
        ),
        (Problem::BadName(NameError::Colon), "a name has no colon in it"),
        (Problem::BadName(NameError::Start('-')), "a name can't begin with -"),
        (
            Problem::BadName(NameError::Reserved),
            "that name is kept for the server, or looks like one that is: choose another",
        ),
        (Problem::NameTaken(name("ann")), "the name ann is taken"),
        (
            Problem::NameConfusable { name: name("аnn"), holder: name("ann") },
            "the name аnn is taken: it looks like ann, who is here. choose another",
        ),
        (
            Problem::NameLost { name: name("ann"), to: name("Ann") },
            "somebody on another server has the name Ann now",
        ),
        (
            Problem::NameLost { name: name("ann"), to: name("аnn") },
            "somebody on another server has the name аnn now, and ann looks like it",
        ),
        (Problem::NoSuchClient(typed("zed")), "nobody is called zed. /who lists the names"),
        (Problem::BadRoomName(RoomNameError::Empty), "a room name needs at least one character"),
        (Problem::BadRoomName(RoomNameError::TooLong), "a room name has at most 32 bytes"),
        (Problem::BadRoomName(RoomNameError::Character), "a room name has letters, digits, and - _ . only"),
        (Problem::NoSuchRoom(dev()), "there is no room #dev. /rooms lists the rooms"),
        (Problem::TooManyRooms, "the server has as many rooms as it may. /rooms lists them"),
        (Problem::AlreadyIn(dev()), "you are in #dev already"),
        (Problem::NameRequired, "give your name first, or an empty line to be a guest"),
    ]
}

fn farewells() -> Vec<(CloseReason, &'static str)> {
    use CloseReason::*;
    vec![
        (Quit, "-- bye\n"),
        (EndOfInput, ""),
        (ConnectionLost, ""),
        (BufferFull, "-- you were dropped: too much was waiting for you to read it\n"),
        (BufferHigh, "-- you were dropped: you were behind with reading for too long\n"),
        (Stalled, "-- you were dropped: you stopped reading\n"),
        (ServerMemory, "-- you were dropped: the server ran short of memory for unread messages\n"),
        (NoName, "-- you gave no name in time. connect again to try again\n"),
        (Idle, "-- you were idle for too long. connect again to go on\n"),
        (EndlessLine, "-- your line does not end. good-bye\n"),
        (ServerFull, "-- the server is full. try again later\n"),
        (TooManyFromAddress, "-- too many connections from your address. close one of them first\n"),
        (Shutdown, "-- the server is shutting down\n"),
        (Kicked, "-- a moderator has removed you\n"),
        (Banned, "-- a moderator has banned you\n"),
        (LoginFailed, "-- the login has failed. check the token and connect again\n"),
        (NoLogin, "-- you did not log in in time. connect again to try again\n"),
        (SessionEnded, "-- your session has expired. log in again\n"),
        (NotAllowed, "-- you may not be in this room any more\n"),
    ]
}

#[test]
fn messages_of_people_are_lines() {
    check_rows(&chat());
}

#[test]
fn history_is_sent_as_server_lines() {
    check_rows(&what_was_said());
}

#[test]
fn lists_and_moves_are_server_lines() {
    check_rows(&rooms_and_people());
}

#[test]
fn notices_about_the_connection_are_server_lines() {
    check_rows(&the_connection());
}

#[test]
fn notices_about_access_are_server_lines() {
    check_rows(&access());
}

#[test]
fn problem_is_a_server_line_with_a_prompt_if_the_client_has_no_name() {
    for (problem, why) in [problems(), access_problems()].concat() {
        let event = |unnamed| Event::Problem { problem: problem.clone(), unnamed };
        check_rows(&[(event(false), &format!("-- {why}\n"))]);
        check_rows(&[(event(true), &format!("-- {why}. what's your name?\n"))]);
    }
}

#[test]
fn farewell_is_a_server_line() {
    for (reason, line) in farewells() {
        check_rows(&[(Event::Bye(reason), line)]);
    }
}

#[test]
fn long_list_is_sent_whole() {
    let all: Vec<_> = (1..=100).map(|n| format!("name{n}")).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let who = Event::Who { room: room("dev"), names: names(&all), more: 0 };
    assert_eq!(encoded(&who), format!("-- in #dev: {}\n", all.join(", ")));
}

/// Answers of `/who` and `/rooms` for the first client before it has a name.
#[test]
fn empty_list_has_a_text_of_its_own() {
    let nobody = Event::Who { room: room("lobby"), names: vec![], more: 0 };
    let nowhere = Event::Rooms { rooms: vec![], more: 0 };
    for line in [encoded(&nobody), encoded(&nowhere)] {
        assert!(!line.trim_end().ends_with(':'), "{line:?}");
    }
}

fn access() -> Vec<(Event, &'static str)> {
    let ban = |target: &str, until| Ban {
        target: target.parse().expect("a target"),
        by: name("ann"),
        reason: Some(text("spam")),
        until_unix_millis: until,
    };
    let whois = Whois {
        name: name("bob"),
        account: None,
        role: Role::Guest,
        away: Some(text("lunch")),
        connected: Some(Duration::from_secs(7_200)),
        idle: Some(Duration::from_secs(59)),
        address: Some("192.0.2.1".into()),
    };
    let removal = |ban| Removal { by: name("ann"), reason: Some(text("spam")), ban };
    let hour = BanLength::For(Duration::from_secs(3_600));
    let topic = |by: Option<&str>, topic: Option<&str>| Event::Topic {
        room: room("dev"),
        by: by.map(name),
        text: topic.map(text),
    };
    let token = LoginToken::parse("secret").expect("a token");
    let denied = Problem::NotAllowed { action: Action::Speak, room: Some(room("radio")) };
    vec![
        (Event::AskToken(name("ann")), "-- ann is registered. token?\n"),
        (
            Event::LoggedIn { account: name("ann"), role: Role::Admin },
            "-- you are logged in as ann (admin)\n",
        ),
        (
            Event::Expiring(Duration::from_secs(30)),
            "-- your session ends in 30 s. /login with a new token to stay\n",
        ),
        (
            Event::Registered { account: name("bob"), token },
            "-- bob is your name now. your token, shown only once: secret\n-- next time: /login bob TOKEN\n",
        ),
        (
            Event::MaySpeak { room: room("radio"), denied: Some(denied) },
            "-- you may read in #radio, but not speak\n",
        ),
        (Event::MaySpeak { room: room("radio"), denied: None }, ""),
        (topic(Some("ann"), Some("tea")), "-- the topic of #dev, set by ann: tea\n"),
        (topic(None, Some("tea")), "-- the topic of #dev: tea\n"),
        (topic(Some("ann"), None), "-- ann has removed the topic of #dev\n"),
        (topic(None, None), "-- #dev has no topic\n"),
        (Event::Removed(removal(None)), "-- ann has removed you: spam\n"),
        (Event::Removed(removal(Some(hour))), "-- ann has banned you for 60 min: spam\n"),
        (
            Event::Removed(removal(Some(BanLength::Unlimited))),
            "-- ann has banned you until a moderator lifts it: spam\n",
        ),
        (Event::Muted { by: name("ann"), length: Some(hour) }, "-- ann has muted you for 60 min\n"),
        (Event::Muted { by: name("ann"), length: None }, "-- ann lets you speak again\n"),
        (Event::Moderated(text("bob was removed")), "-- bob was removed\n"),
        (Event::Bans { bans: vec![], more: 0, now_unix_millis: 0 }, "-- there are no bans\n"),
        (
            Event::Bans {
                bans: vec![ban("bob", Some(61_000)), ban("192.0.2.0/24", None)],
                more: 2,
                now_unix_millis: 1_000,
            },
            "-- bob for 60 s, by ann: spam\n\
             -- 192.0.2.0/24 until a moderator lifts it, by ann: spam\n-- and 2 more\n",
        ),
        (
            Event::Whois(Box::new(whois)),
            "-- bob is a guest\n-- bob came 2 h ago, and sent something 59 s ago\n-- bob is away: lunch\n\
             -- bob has the address 192.0.2.1\n",
        ),
        (Event::IsAway { name: name("bob"), text: text("lunch") }, "-- bob is away: lunch\n"),
        (Event::Ignoring(vec![]), "-- you ignore nobody\n"),
        (Event::Ignoring(vec![text("bob"), text("eve")]), "-- you ignore bob, eve\n"),
        (Event::Flagged { author: Some(name("bob")), text: text("heck") }, "-- flagged words of bob: heck\n"),
        (Event::Flagged { author: None, text: text("heck") }, "-- a room has a flagged name: heck\n"),
        (Event::YouAreAway(true), "-- you are away. /away without a text ends that\n"),
        (Event::YouAreAway(false), "-- you are back\n"),
    ]
}

pub fn access_problems() -> Vec<(Problem, &'static str)> {
    let not_allowed =
        |action, room: Option<&str>| Problem::NotAllowed { action, room: room.map(crate::words::room) };
    vec![
        (
            Problem::NameRegistered(name("ann")),
            "the name ann is registered. its owner logs in with /login ann TOKEN",
        ),
        (
            Problem::NameClaimed { name: name("ann"), to: name("guest-7") },
            "the owner of the name ann has logged in, so you are guest-7 now",
        ),
        (
            Problem::NameTakenOver { name: name("ann"), to: name("guest-7") },
            "you have logged in elsewhere as ann, so you are guest-7 here now",
        ),
        (Problem::LoginRequired, "that needs an account. log in with /login NAME TOKEN"),
        (not_allowed(Action::Enter, Some("dev")), "you may not enter #dev"),
        (not_allowed(Action::Speak, Some("dev")), "you may read in #dev, but not speak"),
        (not_allowed(Action::SetTopic, Some("dev")), "only moderators may set the topic"),
        (not_allowed(Action::Moderate, None), "only moderators may do that"),
        (not_allowed(Action::Converse, None), "you may not do that"),
        (Problem::LoginFailed, "the name or the token is wrong, or the token has expired"),
        (
            Problem::TooManyLogins,
            "too many logins from your address have failed. wait a moment and try again",
        ),
        (Problem::RegistrationOff, "names can't be registered here. ask an administrator for an account"),
        (
            Problem::CantRegister,
            "you have an account, or only a guest name. a guest takes a free name first: /nick NAME",
        ),
        (Problem::Muted(BanLength::For(Duration::from_secs(90))), "a moderator has muted you for 90 s"),
        (
            Problem::Banned(BanLength::For(Duration::from_secs(200_000))),
            "a moderator has banned that name for 3 days",
        ),
        (
            Problem::RoleTooHigh { name: name("bob"), role: Role::Admin },
            "bob is admin, and you can only act on roles below your own",
        ),
        (
            Problem::Unreachable(name("bob")),
            "bob is connected to another server, which does not answer. try again later",
        ),
        (Problem::NotKept, "Redis is away, so the message is not kept; try again later"),
        (
            Problem::NotConfirmed,
            "Redis has not confirmed the message. it gets it again when it is back, so don't publish it again",
        ),
        (Problem::NotBanned("bob".into()), "there is no ban of bob. /bans lists them"),
        (Problem::NotMuted(name("bob")), "bob is not muted"),
        (Problem::NotRegistered(typed("bob")), "nobody has registered the name bob"),
        (Problem::Filtered, "that was not sent: it has a word that is not allowed here"),
        (Problem::TooManyIgnored { max: 100 }, "you ignore 100 names, as many as you may. /unignore one"),
        (Problem::NobodyToAnswer, "nobody has sent you a private message yet"),
        (
            Problem::NotSaved("disk full".into()),
            "that holds until the server restarts, since it could not be saved: disk full",
        ),
        (Problem::CantModerate("there are too many bans".into()), "there are too many bans"),
    ]
}

#[test]
fn length_of_a_ban_is_rounded_up_to_whole_units() {
    for (seconds, expected) in [
        (1, "for 1 s"),
        (119, "for 119 s"),
        (120, "for 2 min"),
        (121, "for 3 min"),
        (7_199, "for 120 min"),
        (7_200, "for 2 h"),
        (7_201, "for 3 h"),
        (172_799, "for 48 h"),
        (172_800, "for 2 days"),
        (172_801, "for 3 days"),
    ] {
        assert_eq!(BanLength::For(Duration::from_secs(seconds)).to_string(), expected);
        let nearly = Duration::from_secs(seconds) - Duration::from_millis(999);
        assert_eq!(BanLength::For(nearly).to_string(), expected, "{nearly:?}");
    }
    assert_eq!(BanLength::Unlimited.to_string(), "until a moderator lifts it");
}

/// Numbers all kinds of events. A new kind fails to compile here, and then fails
/// [`every_kind_of_event_is_in_the_tables`] until it has a row.
fn number(event: &Event) -> usize {
    match event {
        Event::Greeting(_) => 0,
        Event::AskName => 1,
        Event::YouJoined { .. } => 2,
        Event::Message { .. } => 3,
        Event::HistoryEntry { .. } => 4,
        Event::HistoryEmpty => 5,
        Event::Private { .. } => 6,
        Event::Joined { .. } => 7,
        Event::Left { .. } => 8,
        Event::Crowd { .. } => 9,
        Event::Renamed { .. } => 10,
        Event::YouWereRenamed { .. } => 11,
        Event::Who { .. } => 12,
        Event::Rooms { .. } => 13,
        Event::Help => 14,
        Event::Delayed => 15,
        Event::Missed { .. } => 16,
        Event::Waiting(_) => 17,
        Event::Problem { problem, .. } => 18 + problem_number(problem),
        Event::Bye(_) => 31,
        Event::Lost { .. } => 32,
        Event::Disconnected => 33,
        Event::Connected => 34,
        Event::AskToken(_) => 36,
        Event::LoggedIn { .. } => 37,
        Event::Expiring(_) => 38,
        Event::Registered { .. } => 39,
        Event::MaySpeak { .. } => 40,
        Event::Topic { .. } => 41,
        Event::Removed(_) => 42,
        Event::Muted { .. } => 43,
        Event::Moderated(_) => 44,
        Event::Bans { .. } => 45,
        Event::Whois(_) => 46,
        Event::IsAway { .. } => 47,
        Event::YouAreAway(_) => 48,
        Event::Ignoring(_) => 49,
        Event::Flagged { .. } => 50,
        // No client of this listener is sent these, or they are no text.
        Event::Pong | Event::Relayed(_) | Event::Welcome { .. } | Event::YouLeft { .. } => 35,
        Event::PrivateSent { .. } | Event::History { .. } | Event::Position { .. } => 35,
    }
}

fn problem_number(problem: &Problem) -> usize {
    match problem {
        Problem::LineTooLong { .. } => 0,
        Problem::NotUtf8 => 1,
        Problem::UnknownCommand(_) => 2,
        Problem::Usage(_) => 3,
        Problem::BadName(_) => 4,
        Problem::NameTaken(_) | Problem::NameConfusable { .. } => 5,
        Problem::NoSuchClient(_) => 6,
        Problem::BadRoomName(_) => 7,
        Problem::NoSuchRoom(_) => 8,
        Problem::TooManyRooms => 9,
        Problem::AlreadyIn(_) => 10,
        Problem::NameRequired => 11,
        Problem::NameLost { .. } => 12,
        Problem::NameRegistered(_) => 40,
        Problem::NameClaimed { .. } => 41,
        Problem::LoginRequired => 42,
        Problem::NameTakenOver { .. } => 59,
        Problem::NotAllowed { .. } => 43,
        Problem::LoginFailed => 44,
        Problem::TooManyLogins => 45,
        Problem::RegistrationOff => 46,
        Problem::CantRegister => 47,
        Problem::Muted(_) => 48,
        Problem::Banned(_) => 49,
        Problem::RoleTooHigh { .. } => 50,
        Problem::Unreachable(_) => 51,
        Problem::NotKept => 61,
        Problem::NotConfirmed => 62,
        Problem::NotBanned(_) => 52,
        Problem::NotMuted(_) => 53,
        Problem::NotRegistered(_) => 60,
        Problem::Filtered => 54,
        Problem::NobodyToAnswer => 55,
        Problem::NotSaved(_) => 56,
        Problem::CantModerate(_) => 57,
        Problem::TooManyIgnored { .. } => 58,
        // Only requests of other listeners have these problems.
        Problem::NotIn(_) | Problem::RoomRequired | Problem::TooManyJoined { .. } => 13,
        Problem::BadRequest(_) | Problem::UnknownType(_) | Problem::StillWaiting => 13,
    }
}

#[test]
fn every_kind_of_event_is_in_the_tables() {
    let events = [chat(), what_was_said(), rooms_and_people(), the_connection(), access()].concat();
    let events = events.into_iter().map(|(event, _)| event);
    let problems = [problems(), access_problems()]
        .concat()
        .into_iter()
        .map(|(problem, _)| Event::Problem { problem, unnamed: false });
    let byes = farewells().into_iter().map(|(reason, _)| Event::Bye(reason));
    let numbers: BTreeSet<_> = events.chain(problems).chain(byes).map(|event| number(&event)).collect();
    assert_eq!(numbers, (0..=34).chain(36..=50).chain(18 + 40..=18 + 62).collect());
}

/// Any name that parses, or that of a guest.
fn any_name() -> impl Strategy<Value = Name> {
    raw_text().prop_map(|raw| Name::parse(&raw).unwrap_or_else(|_| name("guest-7")))
}

fn any_room() -> impl Strategy<Value = RoomName> {
    raw_text().prop_map(|raw| RoomName::parse(&raw).unwrap_or_else(|_| RoomName::lobby()))
}

fn any_text() -> impl Strategy<Value = Text> {
    raw_text().prop_map(|raw| Text::clean(&raw).unwrap_or_else(|| text("-- ")))
}

fn any_message() -> impl Strategy<Value = Rc<Message>> {
    let kind = select(vec![MessageKind::Say, MessageKind::Emote]);
    let sender = select(vec![Sender::Client(SOMEBODY), Sender::Unknown]);
    (any_name(), sender, kind, any_text(), any::<u64>(), any::<u64>()).prop_map(
        |(from, sender, kind, text, seq, at_unix_millis)| {
            Rc::new(Message { from, sender, kind, body: Body::Text(text), seq, id: None, at_unix_millis })
        },
    )
}

fn any_problem() -> impl Strategy<Value = Problem> {
    prop_oneof![
        select(problems()).prop_map(|(problem, _)| problem),
        any_name().prop_map(Problem::NameTaken),
        raw_text()
            .prop_map(|raw| TypedName::parse(&raw).map_or_else(Problem::BadName, Problem::NoSuchClient)),
        any_text().prop_map(Problem::UnknownCommand),
        any_room().prop_map(Problem::NoSuchRoom),
        any_room().prop_map(Problem::AlreadyIn),
        // The text of a refused name is shown.
        raw_text().prop_map(|raw| Name::parse(&raw).map_or_else(Problem::BadName, Problem::NameTaken)),
    ]
}

/// Any event of the server itself, with any text in it.
fn any_server_event() -> impl Strategy<Value = Event> {
    let entered = (any_name(), any::<bool>(), any_room(), vec(any_name(), 0..4), 0usize..3);
    let any_count = || 0usize..5;
    prop_oneof![
        select([what_was_said(), the_connection()].concat()).prop_map(|(event, _)| event),
        any_text().prop_map(Event::Greeting),
        entered.prop_map(|(name, first, room, others, more)| entered_event(name, first, room, others, more)),
        (any_message(), any::<u32>()).prop_map(|(message, seconds)| Event::HistoryEntry {
            message,
            age: Duration::from_secs(seconds.into())
        }),
        any_name().prop_map(joined_event),
        (any_name(), proptest::option::of(any_text())).prop_map(|(name, reason)| left_event(name, reason)),
        (any_name(), any_name()).prop_map(|(from, to)| renamed_event(from, to)),
        any_name().prop_map(you_are_event),
        (any_room(), vec(any_name(), 0..4), any_count()).prop_map(|(room, names, more)| Event::Who {
            room,
            names,
            more
        }),
        (vec((any_room(), any_count()), 0..4), any_count())
            .prop_map(|(rooms, more)| Event::Rooms { rooms, more }),
        (any_problem(), any::<bool>()).prop_map(|(problem, unnamed)| Event::Problem { problem, unnamed }),
    ]
}

#[test]
fn server_events_with_any_text_are_whole_server_lines() {
    check(2_000, &any_server_event(), |event| {
        let line = encoded(&event);
        assert!(line.ends_with('\n'), "{line:?}");
        for line in line.strip_suffix('\n').unwrap_or(&line).split('\n') {
            assert!(line.starts_with("-- "), "{line:?}");
            assert_eq!(harm(line), None, "{line:?}");
        }
    });
}

#[test]
fn message_with_any_text_is_one_line_and_never_looks_like_another_kind() {
    let event = prop_oneof![
        3 => any_message().prop_map(said_event),
        1 => (any_name(), any_text()).prop_map(|(from, text)| private_event(from, text)),
    ];
    check(2_000, &event, |event| {
        let all = encoded(&event);
        let line = all.strip_suffix('\n').expect("a whole line");
        assert_eq!(harm(line), None, "{line:?}");
        let act = matches!(&event, Event::Message { message, .. } if message.kind == MessageKind::Emote);
        let private = matches!(event, Event::Private { .. });
        let first = line.chars().next().filter(|c| "-*[".contains(*c));
        assert_eq!(first, if act { Some('*') } else { private.then_some('[') }, "{line:?}");
        assert_eq!(line.starts_with("* "), act, "{line:?}");
    });
}
