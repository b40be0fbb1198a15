//! The link to Redis without a Redis: the exact bytes it sends, its reaction to received bytes, and all delays.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use chinwag::backplane::{Backplane, Link, LinkAction};
use chinwag::config::Config;
use chinwag::net::ConnectTarget;
use chinwag::protocol::{Body, LocalEvent, Message, MessageKind, Presence, RemoteEvent, Sender, UniqueId};
use chinwag::text::RoomName;
use chinwag::time::{Moment, Now};

use crate::words::{name, room, text};

const PROCESS: u64 = 0xC0FFEE;
/// The process's key in Redis.
const OWN: &str = "chinwag:@0000000000c0ffee";
pub const HEAD: &str = r#"{"chinwag":"0000000000c0ffee","type""#;

/// A link, with the test in the place of Redis and of the server.
pub struct Rig {
    pub backplane: Backplane,
    pub now: Now,
    /// The version of the clients that the process has written to Redis.
    version: String,
}

impl Rig {
    pub fn new(flags: &str) -> Rig {
        let config = Config::from_flags(&format!("--redis redis://localhost {flags}"));
        let now = Now { moment: Moment::from_millis(1_000_000), unix_millis: 1_700_000_000_000 };
        let url = config.redis.clone().unwrap();
        Rig { backplane: Backplane::new(&config, url, PROCESS, now), now, version: String::new() }
    }

    /// Creates a link whose first session is up and announced.
    pub fn up(flags: &str) -> Rig {
        let mut rig = Rig::new(flags);
        rig.connect();
        rig.log_in();
        assert!(rig.backplane.is_up());
        rig.settle();
        assert!(rig.backplane.is_accepted());
        rig
    }

    /// Connects both sockets.
    pub fn connect(&mut self) {
        self.backplane.handle_timeout(self.now);
        let resolve = LinkAction::Resolve { host: "localhost".into(), port: 6379 };
        assert_eq!(self.actions(), [resolve]);
        self.backplane.resolved(Ok(vec![address(1)]), self.now);
        assert_eq!(self.actions(), [LinkAction::Connect(ConnectTarget::Tcp(address(1)))]);
        Link::BOTH.into_iter().for_each(|link| drop(self.sent(link)));
    }

    pub fn log_in(&mut self) {
        self.receive(Link::Commands, "+PONG\r\n");
        self.receive(Link::Subscriptions, &message_of(&["pong", ""]));
    }

    /// Lets the chat handle all events, and Redis answer everything.
    pub fn settle(&mut self) {
        loop {
            let actions = self.actions();
            if actions.contains(&LinkAction::Register) {
                self.backplane.register(&[]);
            }
            if actions.is_empty() && self.answer_all() == 0 {
                return;
            }
        }
    }

    /// Answers all commands as an empty Redis without subscribers would. Returns their number.
    fn answer_all(&mut self) -> usize {
        let commands = self.commands();
        for words in &commands {
            if words[0] == "HSET" && words[words.len() - 2] == "v" {
                self.version.clone_from(&words[words.len() - 1]);
            }
            let reply = match words[0].as_str() {
                "PUBLISH" | "DEL" | "HDEL" => ":0\r\n".into(),
                "HSET" | "PEXPIRE" => ":1\r\n".into(),
                "HGETALL" => "*0\r\n".into(),
                "HGET" => bulk(&self.version),
                "PING" => "+PONG\r\n".to_string(),
                other => panic!("{other}"),
            };
            self.receive(Link::Commands, &reply);
        }
        commands.len()
    }

    pub fn receive(&mut self, link: Link, bytes: &str) {
        self.backplane.receive(link, bytes.as_bytes(), self.now);
    }

    /// Makes a local client listen to a room, and confirms the subscription.
    pub fn listens(&mut self, room: &str) {
        self.backplane.share(subscribed(room, true), self.now);
        self.receive(Link::Subscriptions, &message_of(&["subscribe", &format!("chinwag:{room}")]));
    }

    pub fn on_message(&mut self, channel: &str, payload: &str) -> Vec<RemoteEvent> {
        self.receive(Link::Subscriptions, &message_of(&["message", channel, payload]));
        let event = |action| match action {
            LinkAction::Deliver(news) => news,
            other => panic!("{other:?}"),
        };
        self.actions().into_iter().map(event).collect()
    }

    pub fn actions(&mut self) -> Vec<LinkAction> {
        std::iter::from_fn(|| self.backplane.next_action()).collect()
    }

    pub fn sent(&mut self, link: Link) -> String {
        self.backplane.send(self.now);
        String::from_utf8(std::mem::take(self.backplane.output(link))).unwrap()
    }

    /// Returns the commands sent so far as words; no word contains a line end.
    pub fn commands(&mut self) -> Vec<Vec<String>> {
        let sent = self.sent(Link::Commands);
        let words = |command: &str| command.split("\r\n").skip(2).step_by(2).map(String::from).collect();
        sent.split_terminator('*').skip(1).map(words).map(|words: Vec<String>| trimmed(words)).collect()
    }

    fn after(&mut self, span: Duration) {
        self.now.moment += span;
        self.now.unix_millis += span.as_millis() as u64;
        self.backplane.handle_timeout(self.now);
    }

    pub fn after_millis(&mut self, millis: u64) {
        self.after(Duration::from_millis(millis));
    }

    /// Advances the clock to the next deadline. Returns how long that takes.
    fn skip(&mut self) -> Duration {
        let span = self.backplane.next_timeout().unwrap().since(self.now.moment);
        self.after(span);
        span
    }
}

fn trimmed(mut words: Vec<String>) -> Vec<String> {
    if words.last().is_some_and(String::is_empty) {
        words.pop();
    }
    words
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 6379))
}

fn bulk(word: &str) -> String {
    format!("${}\r\n{word}\r\n", word.len())
}

/// Encodes an array of words.
pub fn message_of(words: &[&str]) -> String {
    format!("*{}\r\n{}", words.len(), words.iter().map(|word| bulk(word)).collect::<String>())
}

pub fn said(raw: &str) -> LocalEvent {
    let message = Message {
        from: name("ann"),
        sender: Sender::Client(UniqueId { process: PROCESS, serial: 3 }),
        kind: MessageKind::Say,
        body: Body::Text(text(raw)),
        seq: 7,
        at_unix_millis: 12,
    };
    LocalEvent::Message { room: RoomName::lobby(), message: Rc::new(message) }
}

fn subscribed(raw: &str, any: bool) -> LocalEvent {
    LocalEvent::Subscribed { room: room(raw), has_subscribers: any }
}

fn remote_message(body: Body) -> RemoteEvent {
    RemoteEvent::Message {
        room: RoomName::lobby(),
        from: chinwag::text::Name::of_redis(),
        sender: Sender::Unknown,
        kind: MessageKind::Say,
        body,
        at_unix_millis: None,
    }
}

#[test]
fn session_begins_with_the_login_and_ends_with_a_command_that_confirms_the_rest() {
    let config = Config::from_flags("--redis redis://bob:pa%20ss@localhost/3 --redis-prefix x:");
    let now = Now::default();
    let mut backplane = Backplane::new(&config, config.redis.clone().unwrap(), PROCESS, now);
    backplane.share(subscribed("dev", true), now);
    backplane.handle_timeout(now);
    assert!(matches!(backplane.next_action(), Some(LinkAction::Resolve { .. })));
    backplane.resolved(Ok(vec![address(1)]), now);
    let login = message_of(&["AUTH", "bob", "pa ss"]) + &message_of(&["SELECT", "3"]);
    let ping = message_of(&["PING"]);
    assert_eq!(std::mem::take(backplane.output(Link::Commands)), (login.clone() + &ping).into_bytes());
    let channels = ["SUBSCRIBE", "x:@presence", "x:@0000000000c0ffee", "x:dev"];
    let expected = login + &message_of(&channels) + &ping;
    assert_eq!(std::mem::take(backplane.output(Link::Subscriptions)), expected.into_bytes());
    backplane.receive(Link::Commands, b"+OK\r\n+OK\r\n+PONG\r\n", now);
    backplane.receive(Link::Subscriptions, b"+OK\r\n+OK\r\n*3\r\n$9\r\nsubscribe\r\n", now);
    assert!(!backplane.is_up());
    backplane.receive(Link::Subscriptions, b"$5\r\nx:dev\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n", now);
    assert!(backplane.is_up());
}

#[test]
fn error_at_the_login_ends_the_session() {
    for error in ["NOAUTH Authentication required.", "WRONGPASS no", "LOADING wait", "NOPERM no"] {
        for link in Link::BOTH {
            let mut rig = Rig::new("");
            rig.connect();
            rig.receive(link, &format!("-{error}\r\n"));
            assert_eq!(rig.actions(), [LinkAction::Disconnect], "{error}");
            assert!(!rig.backplane.is_up());
        }
    }
}

#[test]
fn each_attempt_doubles_the_delay_and_takes_the_next_address() {
    let mut rig = Rig::new("");
    let mut pauses = Vec::new();
    for attempt in 0..12 {
        pauses.push(rig.skip().as_secs_f64());
        while !rig.actions().iter().any(|action| matches!(action, LinkAction::Resolve { .. })) {
            *pauses.last_mut().unwrap() += rig.skip().as_secs_f64();
        }
        rig.backplane.resolved(Ok(vec![address(1), address(2)]), rig.now);
        assert_eq!(rig.actions(), [LinkAction::Connect(ConnectTarget::Tcp(address(1 + attempt % 2)))]);
        rig.backplane.broken("refused", rig.now);
    }
    assert_eq!(pauses[0], 0.0);
    for (pause, average) in pauses[1..].iter().zip([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]) {
        assert!((0.5 * average..=1.51 * average).contains(pause), "{pauses:?}");
    }
}

#[test]
fn clients_are_registered_before_they_are_announced() {
    let mut rig = Rig::new("");
    rig.connect();
    rig.log_in();
    assert_eq!(rig.actions(), [LinkAction::Register]);
    let ann = Presence { name: name("ann"), since_unix_millis: 5, rooms: vec![RoomName::lobby()] };
    rig.backplane.register(&[(3, ann)]);
    let hello = format!("{HEAD}:\"hello\",\"version\":1}}");
    let words: Vec<String> = rig.commands().iter().map(|words| words.join(" ")).collect();
    assert_eq!(
        words,
        [
            format!("DEL {OWN}"),
            format!(r#"HSET {OWN} 3 {{"name":"ann","since":5,"rooms":["lobby"]}}"#),
            format!("PEXPIRE {OWN} 20000"),
            format!("HSET {OWN} v 1"),
            format!("PEXPIRE {OWN} 20000"),
        ]
    );
    rig.receive(Link::Commands, ":0\r\n:1\r\n:1\r\n:1\r\n");
    assert_eq!(rig.commands(), Vec::<Vec<String>>::new(), "Redis might still refuse the last");
    rig.receive(Link::Commands, ":1\r\n");
    assert_eq!(rig.commands(), [["PUBLISH", "chinwag:@presence", &hello]]);
    assert!(!rig.backplane.is_accepted());
    rig.receive(Link::Commands, ":0\r\n");
    assert!(rig.backplane.is_accepted());
}

#[test]
fn client_that_is_missing_at_a_check_is_registered_again() {
    for (reply, again) in [("$-1\r\n", true), ("$2\r\n99\r\n", true), ("$1\r\n1\r\n", false)] {
        let mut rig = Rig::up("");
        rig.after_millis(5_000);
        assert_eq!(rig.commands()[0], ["HGET", OWN, "v"]);
        rig.receive(Link::Commands, reply);
        assert_eq!(rig.actions().contains(&LinkAction::Register), again, "{reply}");
    }
}

#[test]
fn messages_are_published_with_a_number() {
    let mut rig = Rig::up("");
    rig.backplane.share(said("hi"), rig.now);
    rig.backplane.share(said("again"), rig.now);
    let payload =
        |n, text| format!(r#"{HEAD}:"say","epoch":1,"n":{n},"at":12,"from":"ann","text":"{text}","by":3}}"#);
    let expected =
        [["PUBLISH", "chinwag:lobby", &payload(1, "hi")], ["PUBLISH", "chinwag:lobby", &payload(2, "again")]];
    assert_eq!(rig.commands(), expected);
    assert_eq!(
        rig.on_message("chinwag:lobby", &payload(1, "hi")),
        [],
        "our own come back to us, and are known"
    );
    rig.receive(Link::Commands, ":2\r\n");
    assert_eq!(rig.backplane.counts().published, 1);
    // Only confirmed messages are not sent again.
    rig.backplane.broken("cut", rig.now);
    let age = rig.skip().as_millis();
    assert_eq!(rig.commands(), Vec::<Vec<String>>::new(), "no other process is there");
    assert!(rig.actions().contains(&LinkAction::Disconnect));
    rig.backplane.resolved(Ok(vec![address(1)]), rig.now);
    rig.sent(Link::Commands);
    rig.log_in();
    assert_eq!(rig.commands(), Vec::<Vec<String>>::new(), "Redis has not taken the registration yet");
    rig.actions();
    rig.backplane.register(&[]);
    assert_eq!(rig.answer_all(), 3);
    let hello = ["PUBLISH", "chinwag:@presence", &format!("{HEAD}:\"hello\",\"version\":2}}")];
    let mark = format!(r#"{HEAD}:"mark","epoch":1,"n":2,"first":{age},"last":{age}}}"#);
    let mark = ["PUBLISH", "chinwag:lobby", &mark];
    assert_eq!(rig.commands(), [hello, expected[1], mark].map(|words| words.map(String::from)));
}

#[test]
fn payload_of_another_program_is_data_or_text_or_ignored() {
    let mut rig = Rig::up("--message-max 64k");
    rig.listens("lobby");
    let data = |raw: &str| [remote_message(Body::Data(raw.into()))];
    assert_eq!(rig.on_message("chinwag:lobby", r#"{ "a" : [1, 2.50] }"#), data(r#"{"a":[1,2.50]}"#));
    assert_eq!(rig.on_message("chinwag:lobby", "12"), data("12"));
    assert_eq!(
        rig.on_message("chinwag:lobby", "hello\x1b[2J"),
        [remote_message(Body::Text(text("hello[2J")))]
    );
    assert_eq!(rig.on_message("chinwag:lobby", r#"{"chinwag":12}"#), [], "it begins as ours do");
    assert_eq!(rig.on_message("chinwag:lobby", " \n"), []);
    assert_eq!(rig.on_message("chinwag:lobby", &"a".repeat(65 * 1024)), []);
    assert_eq!(rig.on_message("chinwag:Lobby", "hi"), [], "no room is called so");
    assert_eq!(rig.on_message("chinwag:@presence", "hi"), []);
    let longest = "a".repeat(64 * 1024);
    assert_eq!(rig.on_message("chinwag:lobby", &longest), [remote_message(Body::Text(text(&longest)))]);
    let counts = rig.backplane.counts();
    assert_eq!((counts.received, counts.ignored), (4, 5));
}

#[test]
fn invalid_message_of_another_process_counts_as_missed() {
    let mut rig = Rig::up("");
    rig.listens("lobby");
    let payload = |n: u64, text: &str| {
        format!(
            r#"{{"chinwag":"000000000000000a","type":"say","epoch":1,"n":{n},"at":12,"from":"eve","text":"{text}"}}"#
        )
    };
    assert!(matches!(rig.on_message("chinwag:lobby", &payload(1, "hi"))[..], [RemoteEvent::Message { .. }]));
    assert_eq!(rig.on_message("chinwag:lobby", &payload(1, "hi")), [], "it comes twice");
    let lost = |count| [RemoteEvent::Lost { room: RoomName::lobby(), count }];
    assert_eq!(rig.on_message("chinwag:lobby", &payload(2, &"a".repeat(65 * 1024))), lost(Some(1)));
    assert_eq!(rig.on_message("chinwag:lobby", &payload(3, " ")), lost(Some(1)));
    assert!(matches!(
        rig.on_message("chinwag:lobby", &payload(6, "hi"))[..],
        [RemoteEvent::Lost { count: Some(2), .. }, RemoteEvent::Message { .. }]
    ));
    assert_eq!(rig.backplane.counts().lost, 4);
}

#[test]
fn process_without_a_subscription_to_its_own_channel_is_removed() {
    let beat = r#"{"chinwag":"000000000000000a","type":"beat","version":0}"#;
    let doubted = |answer: &str| {
        let mut rig = Rig::up("");
        rig.on_message("chinwag:@presence", beat);
        rig.settle();
        (0..3).for_each(|_| rig.backplane.share(LocalEvent::ProbeProcess { process: 10 }, rig.now));
        assert_eq!(rig.commands(), [["PUBSUB", "NUMSUB", "chinwag:@000000000000000a"]], "once");
        rig.receive(Link::Commands, answer);
        rig
    };
    let removal = [LinkAction::Deliver(RemoteEvent::ProcessGone { process: 10 })];
    let counted = |count: u8| format!("*2\r\n{}:{count}\r\n", bulk("chinwag:@000000000000000a"));
    for (answer, gone) in [(counted(0), true), (counted(1), false)] {
        let mut rig = doubted(&answer);
        rig.after_millis(2_999);
        assert_eq!(rig.actions(), []);
        rig.after_millis(1);
        assert_eq!(rig.actions(), if gone { &removal[..] } else { &[] });
    }
    // A process that is waited for after a break is not doubted.
    let mut rig = Rig::up("");
    rig.on_message("chinwag:@presence", beat);
    rig.settle();
    rig.backplane.broken("test", rig.now);
    rig.actions();
    rig.now.moment += Duration::from_millis(200);
    rig.connect();
    rig.log_in();
    rig.settle();
    rig.backplane.share(LocalEvent::ProbeProcess { process: 10 }, rig.now);
    assert_eq!(rig.commands(), Vec::<Vec<String>>::new());
    rig.on_message("chinwag:@presence", beat);
    rig.settle();
    rig.backplane.share(LocalEvent::ProbeProcess { process: 10 }, rig.now);
    assert_eq!(rig.commands().len(), 1);
    // The process had only lost its link.
    let mut rig = doubted(&counted(0));
    rig.after_millis(2_999);
    rig.on_message("chinwag:@presence", beat);
    rig.after_millis(1);
    assert_eq!(rig.actions(), []);
}

#[test]
fn any_error_ends_the_session_and_the_message_is_published_in_the_next() {
    for error in ["NOPERM this user may not", "OOM no memory", "BUSY Redis is busy", "lower case"] {
        let mut rig = Rig::up("");
        rig.backplane.share(said("hi"), rig.now);
        let said = rig.commands();
        rig.receive(Link::Commands, &format!("-{error}\r\n"));
        assert_eq!((rig.backplane.is_up(), rig.backplane.counts().errors), (false, 1), "{error}");
        let word = error.split(' ').next().filter(|word| *word != "lower");
        assert_eq!(rig.backplane.refusal(), word);
        assert_eq!((rig.backplane.unconfirmed(), rig.backplane.counts().shed), (1, 0));
        rig.actions();
        rig.now.moment += Duration::from_millis(200);
        rig.connect();
        rig.log_in();
        rig.actions();
        rig.backplane.register(&[]);
        rig.answer_all();
        let commands = rig.commands();
        assert_eq!(commands[1], said[0]);
        // The recovery is complete only after Redis has taken the message.
        rig.receive(Link::Commands, ":0\r\n");
        assert_eq!(rig.commands(), [["PING"]]);
        rig.receive(Link::Commands, ":0\r\n:0\r\n");
        assert_eq!((rig.backplane.unconfirmed(), rig.backplane.is_accepted()), (0, false));
        rig.receive(Link::Commands, "+PONG\r\n");
        assert_eq!((rig.backplane.is_accepted(), rig.backplane.refusal()), (true, None));
    }
}

#[test]
fn numbers_of_any_size_are_accepted() {
    let mut rig = Rig::up("");
    rig.listens("lobby");
    let max = u64::MAX;
    let payload = |process, n| {
        format!(
            r#"{{"chinwag":"{process:016x}","type":"say","epoch":1,"n":{n},"at":{max},"from":"eve","text":""}}"#
        )
    };
    for process in [1, 2] {
        rig.on_message("chinwag:lobby", &payload(process, 0));
        let events = rig.on_message("chinwag:lobby", &payload(process, max));
        assert_eq!(events, [RemoteEvent::Lost { room: RoomName::lobby(), count: Some(max) }]);
        assert_eq!(rig.on_message("chinwag:lobby", &payload(process, max)), []);
    }
    assert_eq!(rig.backplane.counts().lost, max);
    let clients = |version| {
        format!(r#"{{"chinwag":"000000000000000a","type":"clients","version":{version},"clients":[]}}"#)
    };
    rig.settle();
    rig.on_message("chinwag:@presence", &clients(max));
    let whole = message_of(&["v", &max.to_string()]);
    assert_eq!(rig.commands(), [["HGETALL", "chinwag:@000000000000000a"]]);
    rig.receive(Link::Commands, &whole);
    rig.actions();
    assert_eq!(rig.on_message("chinwag:@presence", &clients(0)), []);
    assert_eq!(rig.on_message("chinwag:@presence", &clients(max)), []);
}

#[test]
fn all_clients_of_a_large_process_fit_with_the_smallest_queue() {
    let mut rig = Rig::up("--redis-queue 64k");
    rig.backplane.share(said("hi"), rig.now);
    let ann = Presence { name: name("ann"), since_unix_millis: 5, rooms: vec![RoomName::lobby()] };
    let all: Vec<_> = (0..10_000).map(|client| (client, ann.clone())).collect();
    rig.backplane.register(&all);
    rig.settle();
    let counts = rig.backplane.counts();
    assert_eq!((rig.backplane.is_up(), counts.shed, counts.published), (true, 0, 1));
}

#[test]
fn message_fits_however_it_is_escaped() {
    let mut rig = Rig::up("--redis-reply-max 64k");
    rig.listens("lobby");
    let head = r#"{"chinwag":"000000000000000a","type":"raw","epoch":1,"n":1,"at":12,"from":"eve","text":""#;
    let payload = format!("{head}{}\"}}", "\\u0000".repeat(64 * 1024));
    assert!(matches!(rig.on_message("chinwag:lobby", &payload)[..], [RemoteEvent::Relayed { .. }]));
    let endless = "a".repeat(1024 * 1024);
    rig.receive(Link::Subscriptions, &format!("$2000000\r\n{endless}"));
    assert_eq!((rig.backplane.is_up(), rig.actions()), (false, vec![LinkAction::Disconnect]));
}

#[test]
fn command_without_an_answer_in_time_ends_the_session() {
    for late in [false, true] {
        let mut rig = Rig::up("--redis-timeout 2s");
        rig.backplane.share(said("hi"), rig.now);
        rig.commands();
        rig.after_millis(1_999);
        if !late {
            rig.receive(Link::Commands, ":0\r\n");
        }
        rig.after_millis(1);
        assert_eq!(rig.backplane.is_up(), !late);
        assert_eq!(rig.actions().contains(&LinkAction::Disconnect), late);
    }
}

#[test]
fn heartbeat_that_does_not_come_back_ends_the_session() {
    let beat = format!("{HEAD}:\"beat\",\"version\":1}}");
    for silent in [false, true] {
        let mut rig = Rig::up("--redis-timeout 2s");
        rig.after_millis(5_000);
        rig.settle();
        rig.after_millis(1_999);
        if !silent {
            assert_eq!(rig.on_message("chinwag:@presence", &beat), []);
        }
        rig.after_millis(1);
        assert_eq!(rig.backplane.is_up(), !silent);
    }
}

#[test]
fn unexpected_answer_ends_the_session() {
    for bytes in [":1\r\n", "what?\r\n", "*-7\r\n"] {
        let mut rig = Rig::up("");
        rig.receive(Link::Commands, bytes);
        assert_eq!(
            (rig.backplane.is_up(), rig.actions()),
            (false, vec![LinkAction::Disconnect]),
            "{bytes:?}"
        );
    }
}

#[test]
fn outage_is_announced_only_after_a_second() {
    for (millis, announced) in [(999, false), (1_000, true)] {
        let mut rig = Rig::up("");
        rig.backplane.broken("cut", rig.now);
        assert_eq!(rig.actions(), [LinkAction::Disconnect]);
        rig.after_millis(millis);
        let tells = |rig: &mut Rig, news| rig.actions().contains(&LinkAction::Deliver(news));
        assert_eq!(tells(&mut rig, RemoteEvent::Disconnected), announced);
        rig.backplane.resolved(Ok(vec![address(1)]), rig.now);
        rig.sent(Link::Commands);
        rig.log_in();
        assert_eq!(
            (rig.backplane.is_up(), tells(&mut rig, RemoteEvent::Connected)),
            (true, false),
            "not yet"
        );
        rig.backplane.register(&[]);
        while rig.answer_all() > 0 {}
        assert_eq!(
            (rig.backplane.is_accepted(), tells(&mut rig, RemoteEvent::Connected)),
            (true, false),
            "nor now"
        );
        let own = format!("{HEAD}:\"hello\",\"version\":2}}");
        let received = rig.on_message("chinwag:@presence", &own);
        assert_eq!(received.contains(&RemoteEvent::Connected), announced);
    }
}

#[test]
fn ending_process_leaves_at_once_and_sends_no_more_of_its_clients() {
    let mut rig = Rig::up("");
    rig.backplane.leave();
    rig.backplane.share(LocalEvent::Gone { client: 3, reason: None }, rig.now);
    let words: Vec<String> = rig.commands().iter().map(|words| words.join(" ")).collect();
    assert_eq!(words, [format!("DEL {OWN}"), format!("PUBLISH chinwag:@presence {HEAD}:\"bye\"}}")]);
    assert!(!rig.backplane.is_done(), "Redis has not answered yet");
    rig.receive(Link::Commands, ":1\r\n:0\r\n");
    assert!(rig.backplane.is_done());
    rig.backplane.share(said("last words"), rig.now);
    assert_eq!(rig.commands().len(), 1, "its clients may still speak");
    rig.backplane.broken("cut", rig.now);
    rig.skip();
    rig.actions();
    rig.backplane.resolved(Ok(vec![address(1)]), rig.now);
    rig.sent(Link::Commands);
    rig.log_in();
    let words: Vec<String> = rig.commands().iter().map(|words| words[0].clone()).collect();
    let expected = ["PUBLISH", "DEL", "PUBLISH", "PUBLISH"];
    assert_eq!(words, expected, "the last words, and then it is gone again; and how many words it were");
}
