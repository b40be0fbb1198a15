//! The link to Redis without a Redis: the commands it sends, its reaction to replies and payloads, and all delays.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use chinwag::backplane::{Backplane, LinkAction, RedisConnection};
use chinwag::config::Config;
use chinwag::protocol::{
    Body, Change, ClaimOver, Epoch, Facts, ForwardedRequest, Gap, Holder, LocalEvent, Message, MessageId,
    MessageKind, Order, Payload, Presence, Question, RemoteEvent, RoomPosition, Sender, UniqueId,
};
use chinwag::text::{Name, RoomName};
use chinwag::time::{Moment, Now};

use crate::words::{name, room, text, typed};

pub const PROCESS: u64 = 0xC0FFEE;
pub const OTHER: u64 = 0xB0B;
pub const EPOCH: &str = "000000000000000e-1";

/// The scripts in the order in which the link loads them. The tests use their names as hashes.
const SCRIPTS: [&str; 17] = [
    "append",
    "bury",
    "claim",
    "enter",
    "heartbeat",
    "hello",
    "leave",
    "members",
    "record",
    "relay",
    "release",
    "rename",
    "rooms",
    "sync",
    "table",
    "topic",
    "who",
];

/// A link, with the test in the place of Redis and of the server.
pub struct Rig {
    pub backplane: Backplane,
    pub now: Now,
    loaded: usize,
    /// The reply to `hello`.
    pub hello: String,
    /// The clients of this process.
    pub clients: Vec<Presence>,
}

impl Rig {
    pub fn new(flags: &str) -> Rig {
        let config = Config::from_flags(&format!("--redis redis://localhost {flags}"));
        let now = Now { moment: Moment::from_millis(1_000_000), unix_millis: 1_700_000_000_000 };
        let url = config.redis.clone().unwrap();
        let backplane = Backplane::new(&config, url, PROCESS, now);
        let hello = array(&[":1", &bulk("db1"), ":1000"]);
        Rig { backplane, now, loaded: 0, hello, clients: Vec::new() }
    }

    /// Creates a link whose first session is accepted.
    pub fn up(flags: &str) -> Rig {
        let mut rig = Rig::new(flags);
        rig.connect();
        rig.settle();
        assert!(rig.backplane.is_up());
        rig
    }

    /// Connects both sockets, and answers their initial commands.
    pub fn connect(&mut self) {
        self.open();
        self.begin();
    }

    /// Answers the initial commands of both sockets.
    pub fn begin(&mut self) {
        self.loaded = 0;
        let channels = parse(std::mem::take(self.backplane.output(RedisConnection::Subscriptions)));
        for channel in channels.iter().filter(|words| words[0] == "SUBSCRIBE").flat_map(|words| &words[1..]) {
            self.receive(RedisConnection::Subscriptions, &message_of(&["subscribe", channel]));
        }
        self.backplane.output(RedisConnection::Commands).clear();
        self.receive(RedisConnection::Commands, "+PONG\r\n");
        self.receive(RedisConnection::Subscriptions, &message_of(&["pong", ""]));
    }

    /// Connects both sockets.
    pub fn open(&mut self) {
        while !self.actions().iter().any(|action| matches!(action, LinkAction::Resolve { .. })) {
            self.skip();
        }
        self.backplane.handle_resolved(Ok(vec![address(1)]), self.now);
        self.actions();
    }

    /// Ends the session and begins another one.
    pub fn reconnect(&mut self) {
        self.backplane.handle_broken("test", self.now);
        self.connect();
    }

    /// Answers everything as an empty Redis would. Returns the events and answers.
    pub fn settle(&mut self) -> Vec<LinkAction> {
        let mut all = Vec::new();
        loop {
            let actions = self.actions();
            if actions.contains(&LinkAction::Register) {
                self.backplane.register(&self.clients);
            }
            let commands = self.commands();
            if actions.is_empty() && commands.is_empty() {
                return all;
            }
            all.extend(actions.into_iter().filter(|action| *action != LinkAction::Register));
            commands.iter().for_each(|words| self.answer_one(words));
        }
    }

    pub fn answer_one(&mut self, words: &[String]) {
        let reply = match words[0].as_str() {
            "SCRIPT" => {
                self.loaded += 1;
                bulk(SCRIPTS[self.loaded - 1])
            }
            "hello" => self.hello.clone(),
            "heartbeat" => array(&[":1", ":2"]),
            "sync" => synced(0, 0, &[]),
            "append" => ":1\r\n".into(),
            "enter" | "leave" => array(&[":1", ":1"]),
            "who" | "rooms" => array(&[":0"]),
            "claim" => bulk(""),
            "HGET" => "$-1\r\n".into(),
            "PING" => "+PONG\r\n".into(),
            "INCRBY" => ":2000\r\n".into(),
            _ => ":1\r\n".into(),
        };
        self.receive(RedisConnection::Commands, &reply);
    }

    pub fn receive(&mut self, connection: RedisConnection, bytes: &str) {
        self.backplane.receive(connection, bytes.as_bytes(), self.now);
    }

    pub fn answer(&mut self, reply: &str) {
        self.receive(RedisConnection::Commands, reply);
    }

    /// Makes a local client enter a room, which is read up to `last` then.
    pub fn follow(&mut self, name: &str, last: u64) {
        self.backplane.ask(1, vec![(members_of(name), None)], self.now);
        self.confirm_subscription(name);
        assert_eq!(self.commands()[0][..2], ["sync", name]);
        self.answer(&synced(0, last, &[]));
        assert_eq!(self.commands(), [["who", name, "50"]]);
        self.answer(&array(&[":0"]));
        self.backplane.share(LocalEvent::Subscribed { room: room(name), has_subscribers: true }, self.now);
        self.actions();
    }

    pub fn confirm_subscription(&mut self, name: &str) {
        self.receive(RedisConnection::Subscriptions, &message_of(&["subscribe", &format!("chinwag:{name}")]));
    }

    /// Receives a payload of a channel. Returns the events.
    pub fn payload(&mut self, channel: &str, payload: &str) -> Vec<RemoteEvent> {
        self.receive(
            RedisConnection::Subscriptions,
            &message_of(&["message", &format!("chinwag:{channel}"), payload]),
        );
        events(self.actions())
    }

    pub fn actions(&mut self) -> Vec<LinkAction> {
        // The tables of access are read in tests of their own.
        let all = std::iter::from_fn(|| self.backplane.next_action());
        all.filter(|action| *action != LinkAction::ReadTable).collect()
    }

    /// Returns the commands sent so far. Calls of scripts are shortened to the name and its arguments.
    pub fn commands(&mut self) -> Vec<Vec<String>> {
        self.backplane.encode_queued(self.now);
        let shortened = |words: Vec<String>| match words[0].as_str() {
            "EVALSHA" => [&words[1..2], &words[7..]].concat(),
            _ => words,
        };
        parse(std::mem::take(self.backplane.output(RedisConnection::Commands)))
            .into_iter()
            .map(shortened)
            .collect()
    }

    /// Returns the names of the commands sent so far.
    pub fn command_names(&mut self) -> Vec<String> {
        self.commands().into_iter().map(|mut words| words.swap_remove(0)).collect()
    }

    pub fn submit(&mut self, raw: &str) -> u64 {
        self.backplane.submit(RoomName::lobby(), said(raw))
    }

    pub fn after_millis(&mut self, millis: u64) {
        self.now.moment += Duration::from_millis(millis);
        self.now.unix_millis += millis;
        self.backplane.handle_timeout(self.now);
    }

    /// Advances the clock to the next deadline. Returns how long that takes.
    pub fn skip(&mut self) -> Duration {
        let span = self.backplane.next_timeout().unwrap().since(self.now.moment);
        self.after_millis(span.as_millis() as u64);
        span
    }

    /// Ends the session, and waits until clients are told.
    pub fn disconnect(&mut self) -> Vec<LinkAction> {
        self.backplane.handle_broken("test", self.now);
        self.now.moment += Duration::from_secs(1);
        self.backplane.handle_timeout(self.now);
        let mut actions = self.actions();
        // The link may have begun another attempt, which fails too.
        self.backplane.handle_broken("test", self.now);
        actions.extend(self.actions());
        actions
    }
}

pub fn parse(bytes: Vec<u8>) -> Vec<Vec<String>> {
    let mut rest = &bytes[..];
    let number = |rest: &mut &[u8]| -> usize {
        let end = rest.iter().position(|byte| *byte == b'\r').unwrap();
        let number = str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
        *rest = &rest[end + 2..];
        number
    };
    let mut commands = Vec::new();
    while !rest.is_empty() {
        let mut words = Vec::new();
        for _ in 0..number(&mut rest) {
            let length = number(&mut rest);
            words.push(String::from_utf8(rest[..length].into()).unwrap());
            rest = &rest[length + 2..];
        }
        commands.push(words);
    }
    commands
}

pub fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 6379))
}

pub fn bulk(word: &str) -> String {
    format!("${}\r\n{word}\r\n", word.len())
}

/// Encodes an array of words.
pub fn message_of(words: &[&str]) -> String {
    array(
        &words
            .iter()
            .map(|word| bulk(word))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    )
}

/// Encodes an array of encoded replies. Numbers may be without a line end.
pub fn array(parts: &[&str]) -> String {
    let part = |part: &&str| if part.ends_with("\r\n") { part.to_string() } else { format!("{part}\r\n") };
    format!("*{}\r\n{}", parts.len(), parts.iter().map(part).collect::<String>())
}

/// The reply to `sync`: where the epoch began, the last offset, and the entries.
pub fn synced(start: u64, last: u64, entries: &[(u64, &str)]) -> String {
    synced_at(EPOCH, start, last, entries)
}

fn synced_at(epoch: &str, start: u64, last: u64, entries: &[(u64, &str)]) -> String {
    let mut parts = vec![bulk(epoch), format!(":{start}"), format!(":{last}"), bulk("")];
    parts.extend(entries.iter().flat_map(|(seq, entry)| [format!(":{seq}"), bulk(entry)]));
    array(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn events(actions: Vec<LinkAction>) -> Vec<RemoteEvent> {
    let event = |action| match action {
        LinkAction::Deliver(event) => Some(event),
        _ => None,
    };
    actions.into_iter().filter_map(event).collect()
}

pub fn message(raw: &str) -> Message {
    let sender = Sender::Client(UniqueId { process: PROCESS, serial: 3 });
    let (from, kind, body) = (name("ann"), MessageKind::Say, Body::Text(text(raw)));
    Message { from, sender, kind, body, seq: 0, id: None, at_unix_millis: 12 }
}

pub fn said(raw: &str) -> Change {
    Change::Message(Rc::new(message(raw)))
}

pub fn id(process: u64, serial: u64) -> Option<MessageId> {
    Some(MessageId { process, serial })
}

/// The entry of a message.
pub fn entry(process: u64, serial: u64, raw: &str) -> String {
    let by = UniqueId { process, serial: 3 };
    let id = MessageId { process, serial };
    format!(r#"{{"id":"{id}","say":{{"at":12,"by":"{by}","from":"ann","text":"{raw}"}}}}"#)
}

/// The event of a message.
pub fn changed(process: u64, serial: u64, raw: &str, order: Order) -> RemoteEvent {
    let seq = match order {
        Order::At(seq) | Order::Seen(seq) => seq,
        _ => 0,
    };
    let sender = Sender::Client(UniqueId { process, serial: 3 });
    let message = Message { seq, sender, id: id(process, serial), ..message(raw) };
    let ticket = (process == PROCESS).then_some(serial);
    RemoteEvent::Changed { room: RoomName::lobby(), change: Change::Message(message.into()), order, ticket }
}

pub fn epoch(raw: &str) -> Epoch {
    format!("{raw}-0").parse::<chinwag::protocol::Position>().unwrap().epoch
}

pub fn synced_event(seq: u64, missed: Gap) -> RemoteEvent {
    RemoteEvent::Synced { room: RoomName::lobby(), epoch: epoch(EPOCH), seq, missed, topic: None }
}

pub fn members_of(name: &str) -> Question {
    Question::Room { room: room(name), members: 50 }
}

fn ann(rooms: &[&str]) -> Presence {
    Presence {
        client: 3,
        name: name("ann"),
        is_account: false,
        rooms: rooms.iter().map(|raw| room(raw)).collect(),
    }
}

pub fn joined(count: usize) -> Change {
    Change::Joined { by: UniqueId { process: PROCESS, serial: 3 }, name: name("ann"), count }
}

#[test]
fn session_begins_with_the_login_the_scripts_and_the_lease() {
    let config = Config::from_flags("--redis redis://bob:pa%20ss@localhost/3 --redis-prefix x:");
    let now = Now::default();
    let mut backplane = Backplane::new(&config, config.redis.clone().unwrap(), PROCESS, now);
    backplane.share(LocalEvent::Subscribed { room: room("dev"), has_subscribers: true }, now);
    backplane.handle_timeout(now);
    assert!(matches!(backplane.next_action(), Some(LinkAction::Resolve { .. })));
    backplane.handle_resolved(Ok(vec![address(1)]), now);
    let login = message_of(&["AUTH", "bob", "pa ss"]) + &message_of(&["SELECT", "3"]);
    let ping = message_of(&["PING"]);
    assert_eq!(
        std::mem::take(backplane.output(RedisConnection::Commands)),
        (login.clone() + &ping).into_bytes()
    );
    let channels = message_of(&["SUBSCRIBE", "x:@3:@0000000000c0ffee", "x:@3:@access", "x:@3:dev"]);
    assert_eq!(
        std::mem::take(backplane.output(RedisConnection::Subscriptions)),
        (login + &channels + &message_of(&["UNSUBSCRIBE", "-"]) + &ping).into_bytes()
    );
    backplane.receive(RedisConnection::Commands, b"+OK\r\n+OK\r\n+PONG\r\n", now);
    assert!(!backplane.has_session());
    backplane.receive(RedisConnection::Subscriptions, b"+OK\r\n+OK\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n", now);
    assert!(backplane.has_session());
    backplane.encode_queued(now);
    let commands = parse(std::mem::take(backplane.output(RedisConnection::Commands)));
    assert_eq!(commands.len(), SCRIPTS.len());
    assert!(commands.iter().all(|words| words[..2] == ["SCRIPT", "LOAD"] && words[2].contains("ARGV[4]")));
    SCRIPTS
        .iter()
        .for_each(|script| backplane.receive(RedisConnection::Commands, bulk(script).as_bytes(), now));
    backplane.encode_queued(now);
    let hello = parse(std::mem::take(backplane.output(RedisConnection::Commands)));
    assert_eq!(hello[0][..7], ["EVALSHA", "hello", "0", "x:", "x:@3:", "0000000000c0ffee", "1"]);
    assert_eq!(hello[0][7..9], ["14000", "1"]);
}

#[test]
fn clients_and_rooms_are_registered_before_the_session_is_accepted() {
    let mut rig = Rig::new("");
    rig.clients = vec![ann(&["lobby", "dev"])];
    rig.hello = array(&[":1", &bulk("db1"), ":5000", &bulk("old")]);
    rig.connect();
    let loads = rig.commands();
    loads.iter().for_each(|words| rig.answer_one(words));
    assert_eq!(rig.command_names(), ["hello"]);
    rig.answer(&rig.hello.clone());
    let guests = LinkAction::Deliver(RemoteEvent::Guests { first: 4001, last: 5000 });
    assert_eq!(rig.actions(), [guests, LinkAction::Register]);
    rig.backplane.register(&rig.clients.clone());
    let words =
        |rig: &mut Rig| -> Vec<String> { rig.commands().iter().map(|words| words.join(" ")).collect() };
    assert_eq!(words(&mut rig), ["claim 3 0 0 ann ann", "PING"]);
    rig.answer(&bulk(&format!("{OTHER:016x} 9 0 Ann")));
    rig.answer("+PONG\r\n");
    let lost = LinkAction::Deliver(RemoteEvent::NameLost { client: 3, name: name("Ann"), to_account: false });
    assert_eq!(
        rig.actions(),
        [lost, LinkAction::Register],
        "members are registered under the names they have got"
    );
    rig.backplane.register(&rig.clients.clone());
    assert_eq!(
        words(&mut rig),
        [r#"members dev 50 3 "ann""#, r#"members lobby 50 3 "ann""#, "members old 50", "PING",]
    );
    rig.answer(":1\r\n:1\r\n:1\r\n");
    assert!(!rig.backplane.is_up());
    rig.answer("+PONG\r\n");
    assert!(rig.backplane.is_up());
}

#[test]
fn changes_of_members_during_a_registration_are_shown_here_and_not_sent() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    rig.reconnect();
    rig.commands().iter().for_each(|words| rig.answer_one(words));
    assert_eq!(rig.command_names(), ["hello"]);
    rig.answer(&rig.hello.clone());
    rig.actions();
    rig.backplane.register(&[]);
    assert_eq!(rig.command_names(), ["PING"]);
    // One more joins while names are claimed, and says something.
    let ticket = rig.backplane.submit(RoomName::lobby(), joined(1));
    rig.submit("hi");
    rig.clients = vec![ann(&["lobby"])];
    rig.answer("+PONG\r\n");
    assert_eq!(rig.actions(), [LinkAction::Register]);
    rig.backplane.register(&rig.clients.clone());
    let (room, order) = (RoomName::lobby(), Order::Unnumbered);
    let shown = RemoteEvent::Changed { room, change: joined(1), order, ticket: Some(ticket) };
    assert_eq!(events(rig.actions()), [shown]);
    assert_eq!(rig.command_names(), ["members", "sync", "append", "PING"]);
}

#[test]
fn registration_is_quiet_if_redis_has_lost_its_data_and_left_out_if_the_lease_has_lasted() {
    for (hello, expected) in [(":0", None), (":1", Some("-1"))] {
        let mut rig = Rig::up("");
        rig.clients = vec![ann(&["lobby"])];
        rig.hello = array(&[hello, &bulk("db2"), ":2000"]);
        rig.reconnect();
        let mut most = None;
        while !rig.backplane.is_up() {
            if rig.actions().contains(&LinkAction::Register) {
                rig.backplane.register(&rig.clients.clone());
            }
            for words in rig.commands() {
                if words[0] == "members" {
                    most = Some(words[2].clone());
                }
                rig.answer_one(&words);
            }
        }
        assert_eq!(most.as_deref(), expected);
    }
}

#[test]
fn message_is_delivered_when_it_comes_back_and_confirmed_by_the_reply() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 6);
    assert_eq!(rig.submit("hi"), 1);
    let entry = entry(PROCESS, 1, "hi");
    let append = &rig.commands()[0];
    assert_eq!(append[..5], ["append", "lobby", "1", "0", "100"]);
    assert_eq!((&append[5][..], &append[8]), ("604800000", &entry));
    assert_eq!(rig.actions(), []);
    let events = rig.payload("lobby", &format!("chinwag 7 {EPOCH} - {entry}"));
    assert_eq!(events, [changed(PROCESS, 1, "hi", Order::At(7))]);
    assert_eq!(rig.backplane.unconfirmed(), 1);
    rig.answer(":7\r\n");
    assert_eq!(rig.actions(), [LinkAction::Confirmed { ticket: 1, seq: 7, is_followed: true }]);
    assert_eq!((rig.backplane.unconfirmed(), rig.backplane.counts().published), (0, 1));
    assert_eq!(rig.payload("lobby", &format!("chinwag 7 {EPOCH} - {entry}")), [], "it comes twice");
}

#[test]
fn each_kind_of_change_has_its_script() {
    let mut rig = Rig::up("");
    let by = UniqueId { process: PROCESS, serial: 3 };
    let (from, message) = (name("ann"), Some(Rc::new(message("hi"))));
    let raw = |payload, message: &Option<Rc<Message>>| Change::Relayed {
        payload,
        from: from.clone(),
        message: message.clone(),
    };
    let rows = [
        (raw(Payload::Text("hi".into()), &message), "append"),
        (raw(Payload::Binary([0, 255].into()), &None), "relay"),
        (Change::Topic { by: Some(name("ann")), text: Some(text("tea")) }, "topic"),
        (Change::Topic { by: None, text: None }, "topic"),
        (joined(4), "enter"),
        (Change::Left { by, name: name("ann"), reason: Some(text("lunch")), count: 4 }, "leave"),
        (Change::Renamed { by, from: name("ann"), to: name("bo"), count: 4 }, "rename"),
        (Change::Crowd { joined: 1, left: 2, count: 4 }, "relay"),
    ];
    rig.follow("lobby", 0);
    for (change, script) in rows {
        let ticket = rig.backplane.submit(RoomName::lobby(), change.clone());
        let words = rig.commands().swap_remove(0);
        assert_eq!(words[0], script, "{words:?}");
        let entry = words.iter().find(|word| word.contains(r#""id""#)).unwrap().clone();
        rig.answer_one(&words);
        rig.actions();
        let events = rig.payload("lobby", &format!("chinwag - - 4 {entry}"));
        let [RemoteEvent::Changed { change: back, order, ticket: Some(back_ticket), .. }] = &events[..]
        else {
            panic!("{entry}: {events:?}");
        };
        assert_eq!((*order, *back_ticket), (Order::Unnumbered, ticket));
        match (back, &change) {
            (Change::Relayed { message: Some(message), .. }, _) => {
                assert_eq!(message.id, id(PROCESS, ticket))
            }
            (back, change) => assert_eq!(back, change),
        }
    }
}

#[test]
fn change_in_a_large_room_is_delivered_by_its_reply() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    let ticket = rig.backplane.submit(RoomName::lobby(), joined(1));
    assert_eq!(rig.command_names(), ["enter"]);
    rig.answer(&array(&[":51", ":0"]));
    let (room, order) = (RoomName::lobby(), Order::Unnumbered);
    let event = RemoteEvent::Changed { room, change: joined(51), order, ticket: Some(ticket) };
    assert_eq!(
        rig.actions(),
        [LinkAction::Deliver(event), LinkAction::Confirmed { ticket, seq: 0, is_followed: true }]
    );
}

#[test]
fn gap_is_read_from_the_stream_and_later_payloads_wait() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 6);
    let entry = |n| entry(OTHER, n, "hi");
    let payload = |seq: u64| format!("chinwag {seq} {EPOCH} - {}", entry(seq));
    assert_eq!(rig.payload("lobby", &payload(9)), []);
    let sync = &rig.commands()[0];
    assert_eq!(sync[..5], ["sync", "lobby", EPOCH, "6", ""]);
    assert_eq!(rig.payload("lobby", &payload(10)), []);
    assert_eq!(rig.payload("lobby", "hello"), []);
    rig.answer(&synced(0, 9, &[(7, &entry(7)), (8, &entry(8)), (9, &entry(9))]));
    let events = events(rig.actions());
    let expected = |seq| changed(OTHER, seq, "hi", Order::At(seq));
    // The topic of the room may be another one.
    let all = [synced_event(6, Gap::Nothing), expected(7), expected(8), expected(9), expected(10)];
    assert_eq!(events[..5], all);
    assert_eq!(events.len(), 6, "a payload of another program waits too");
    // Entries that Redis has dropped are missed. The reply may be only the first part.
    rig.payload("lobby", &payload(20));
    assert_eq!(rig.commands()[0][3..5], ["10", &format!("{OTHER:016x}-10")]);
    rig.answer(&synced(0, 20, &[(18, &entry(18))]));
    assert_eq!(self::events(rig.actions()), [synced_event(17, Gap::Count(7)), expected(18)]);
    assert_eq!(rig.commands()[0][3], "18");
    rig.answer(&synced(0, 20, &[(19, &entry(19)), (20, &entry(20))]));
    assert_eq!(self::events(rig.actions()), [synced_event(18, Gap::Nothing), expected(19), expected(20)]);
}

#[test]
fn new_epoch_is_reported_and_stale_payloads_do_not_repeat_the_request() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 6);
    let next = "000000000000000f-1";
    let entry = |n| entry(OTHER, n, "hi");
    rig.payload("lobby", &format!("chinwag 3 {next} - {}", entry(3)));
    assert_eq!(rig.command_names(), ["sync"]);
    rig.answer(&synced_at(next, 2, 3, &[(2, &entry(2)), (3, &entry(3))]));
    let lobby = RoomName::lobby;
    let event =
        |raw, seq, missed| RemoteEvent::Synced { room: lobby(), epoch: epoch(raw), seq, missed, topic: None };
    let expected = [
        event(next, 1, Gap::Unknown),
        changed(OTHER, 2, "hi", Order::Seen(2)),
        changed(OTHER, 3, "hi", Order::At(3)),
    ];
    assert_eq!(events(rig.actions()), expected);
    // Redis may have lost clients, too.
    let hello = rig.commands().swap_remove(0);
    assert_eq!((&hello[0][..], &hello[2][..]), ("hello", "1"));
    rig.answer_one(&hello);
    rig.settle();
    assert!(rig.backplane.is_up());
    // A late payload of the old epoch, or a forged one, is requested once.
    rig.payload("lobby", &format!("chinwag 99 {EPOCH} - {}", entry(9)));
    assert_eq!(rig.command_names(), ["sync"]);
    rig.answer(&synced_at(next, 2, 3, &[]));
    assert_eq!((rig.commands().len(), events(rig.actions())), (0, vec![event(next, 3, Gap::Nothing)]));
}

#[test]
fn outage_shows_changes_at_once_and_appends_messages_later() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 6);
    rig.submit("one");
    let raw = Payload::Binary([7].into());
    let raw = Change::Relayed { payload: raw, from: name("ann"), message: None };
    rig.backplane.submit(RoomName::lobby(), raw.clone());
    rig.backplane.submit(RoomName::lobby(), joined(1));
    let actions = rig.disconnect();
    let shown = |change, ticket| {
        let (room, order) = (RoomName::lobby(), Order::Unnumbered);
        RemoteEvent::Changed { room, change, order, ticket: Some(ticket) }
    };
    let expected = [
        RemoteEvent::Disconnected,
        changed(PROCESS, 1, "one", Order::Unnumbered),
        shown(raw, 2),
        shown(joined(1), 3),
    ];
    assert_eq!(events(actions), expected);
    rig.submit("two");
    assert_eq!(events(rig.actions()), [changed(PROCESS, 4, "two", Order::Unnumbered)]);
    // The answer to a question is empty.
    rig.backplane.ask(7, vec![(members_of("lobby"), None)], rig.now);
    assert_eq!(rig.actions(), [LinkAction::Answer { asker: 7, facts: Facts::default() }]);
    rig.connect();
    let mut sent = Vec::new();
    let mut delivered = Vec::new();
    let entries = [entry(PROCESS, 1, "one"), entry(PROCESS, 4, "two")];
    while !rig.backplane.is_up() {
        let actions = rig.actions();
        if actions.contains(&LinkAction::Register) {
            rig.backplane.register(&[]);
        }
        delivered.extend(events(actions));
        for words in rig.commands() {
            match words[0].as_str() {
                "sync" => rig.answer(&synced(0, 6, &[])),
                "append" => {
                    sent.push(words[8].clone());
                    rig.answer(&format!(":{}\r\n", 6 + sent.len()));
                }
                _ => rig.answer_one(&words),
            }
        }
    }
    let lost = r#"{"id":"0000000000c0ffee-2","lost":{"count":1}}"#;
    assert_eq!(sent, [&entries[0], lost, &entries[1]]);
    delivered.extend(events(rig.actions()));
    assert!(delivered.contains(&RemoteEvent::Connected));
    let events = rig.payload("lobby", &format!("chinwag 7 {EPOCH} - {}", entries[0]));
    assert_eq!(events, [changed(PROCESS, 1, "one", Order::Seen(7))]);
    let events = rig.payload("lobby", &format!("chinwag 8 {EPOCH} - {lost}"));
    assert!(matches!(events[..], [RemoteEvent::Changed { order: Order::Seen(8), ticket: Some(2), .. }]));
}

#[test]
fn error_ends_the_session_and_the_next_one_is_accepted_only_if_redis_takes_the_command() {
    for error in ["NOPERM this user may not", "OOM no memory", "lower case"] {
        let mut rig = Rig::up("");
        rig.submit("hi");
        assert_eq!(rig.command_names(), ["append"]);
        rig.answer(&format!("-{error}\r\n"));
        assert_eq!((rig.backplane.has_session(), rig.backplane.counts().errors), (false, 1), "{error}");
        let word = error.split(' ').next().filter(|word| *word != "lower");
        assert_eq!(rig.backplane.refusal(), word);
        assert_eq!(rig.backplane.unconfirmed(), 1);
        rig.connect();
        rig.hello = array(&[":0", &bulk("db1"), ":2000"]);
        let loads = rig.commands();
        loads.iter().for_each(|words| rig.answer_one(words));
        assert_eq!(rig.command_names(), ["hello"]);
        rig.answer(&rig.hello.clone());
        rig.submit("new");
        assert_eq!(rig.command_names(), ["append", "PING", "append"]);
        rig.answer(":0\r\n");
        assert!(rig.actions().contains(&LinkAction::Confirmed { ticket: 1, seq: 0, is_followed: false }));
        assert_eq!((rig.backplane.is_up(), rig.backplane.refusal()), (false, word));
        rig.answer("+PONG\r\n");
        assert_eq!((rig.backplane.is_up(), rig.backplane.refusal()), (true, None));
    }
}

#[test]
fn refused_command_of_the_link_is_repeated_before_the_session_is_accepted() {
    let mut rig = Rig::up("");
    rig.after_millis(4_000);
    assert_eq!(rig.command_names(), ["heartbeat"]);
    rig.answer("-READONLY no\r\n");
    rig.hello = array(&[":0", &bulk("db1"), ":2000"]);
    rig.connect();
    let loads = rig.commands();
    loads.iter().for_each(|words| rig.answer_one(words));
    rig.commands();
    rig.answer(&rig.hello.clone());
    assert_eq!(rig.command_names(), ["heartbeat", "PING"]);
}

#[test]
fn questions_are_answered_together() {
    let mut rig = Rig::up("");
    let claim = Question::Claim { client: 3, name: name("Ann"), over: ClaimOver::Guests, is_account: true };
    let questions = vec![
        claim,
        Question::Find { name: typed("ann"), request: None },
        members_of("dev"),
        Question::Rooms { max: 1 },
    ];
    rig.backplane.ask(7, questions.into_iter().map(|question| (question, None)).collect(), rig.now);
    let words: Vec<String> = rig.commands().iter().map(|words| words.join(" ")).collect();
    let claim = "claim 3 1 1 Ann ann Ann";
    assert_eq!(words[1..], ["HGET chinwag:@names ann", "rooms 1"]);
    assert!(words[0].starts_with(&claim[..claim.len() - 4]), "{words:?}");
    let holder = Holder { id: UniqueId { process: OTHER, serial: 9 }, name: name("ann") };
    rig.answer(&bulk(""));
    rig.answer(&bulk(&format!("{OTHER:016x} 9 0 ann")));
    rig.answer(&array(&[":3", &bulk("lobby"), &bulk("12")]));
    assert_eq!(rig.actions(), []);
    rig.confirm_subscription("dev");
    assert_eq!(rig.command_names(), ["sync"]);
    rig.answer(&synced(0, 0, &[]));
    assert_eq!(rig.command_names(), ["who"]);
    // The session ends before the answer, and the question is asked again.
    rig.reconnect();
    let names = loop {
        let commands = rig.commands();
        let names: Vec<String> = commands.iter().map(|words| words[0].clone()).collect();
        if names.contains(&"who".into()) {
            break names;
        }
        commands.iter().for_each(|words| rig.answer_one(words));
        if rig.actions().contains(&LinkAction::Register) {
            rig.backplane.register(&[]);
        }
    };
    assert_eq!(names, ["sync", "who", "PING"]);
    rig.answer(&synced(0, 0, &[]));
    rig.answer(&array(&[":2", &bulk(r#"9 "ann""#), &bulk(r#"3 "guest-7""#)]));
    let facts = rig.actions().into_iter().find_map(|action| match action {
        LinkAction::Answer { asker: 7, facts } => Some(facts),
        _ => None,
    });
    let facts = facts.unwrap();
    assert_eq!(facts.holder, Some(holder));
    assert_eq!(facts.rooms, Some((vec![(RoomName::lobby(), 12)], 2)));
    let members = facts.members.unwrap();
    assert_eq!((members.names, members.count), (vec![name("ann"), name("guest-7")], 2));
}

#[test]
fn request_of_a_connection_that_has_ended_is_not_forwarded() {
    let whois = ForwardedRequest::Whois { name: typed("ann"), with_address: false };
    for ends in [false, true] {
        let mut rig = Rig::up("");
        let find = Question::Find { name: typed("ann"), request: Some(whois.clone()) };
        rig.backplane.ask(7, vec![(find, None)], rig.now);
        assert_eq!(rig.command_names(), ["HGET"]);
        if ends {
            rig.backplane.remove_questions(7);
        }
        rig.answer(&bulk(&format!("{OTHER:016x} 9 0 ann")));
        assert_eq!(rig.command_names(), if ends { vec![] } else { vec!["PUBLISH"] });
    }
}

#[test]
fn answer_to_a_forgotten_question_is_dropped() {
    let mut rig = Rig::up("");
    let claim = Question::Claim { client: 3, name: name("ann"), over: ClaimOver::Nobody, is_account: false };
    rig.backplane.ask(7, vec![(claim, None)], rig.now);
    rig.backplane.remove_questions(7);
    assert_eq!(rig.command_names(), ["claim"]);
    rig.answer(&bulk(""));
    assert_eq!(rig.actions(), []);
}

#[test]
fn processes_without_a_lease_are_buried_by_sessions_older_than_six_seconds() {
    let mut rig = Rig::up("");
    for expected in [&[][..], &["bury"]] {
        rig.after_millis(4_000);
        rig.receive(RedisConnection::Subscriptions, &message_of(&["pong", ""]));
        assert_eq!(rig.command_names(), ["heartbeat"]);
        rig.answer(&array(&[":1", ":3", &bulk("000000000000000a")]));
        assert_eq!(rig.command_names(), expected);
    }
    assert_eq!(rig.backplane.state().peers, 2);
    rig.answer(":1\r\n");
    // The own lease has ended.
    rig.after_millis(4_000);
    rig.receive(RedisConnection::Subscriptions, &message_of(&["pong", ""]));
    rig.commands();
    rig.answer(&array(&[":0"]));
    assert_eq!((rig.command_names(), rig.backplane.is_up()), (vec!["hello".to_string()], false));
    rig.answer(&rig.hello.clone());
    rig.settle();
    assert!(rig.backplane.is_up());
}

#[test]
fn private_messages_go_by_the_channel_of_the_process() {
    let mut rig = Rig::up("");
    let to = Holder { id: UniqueId { process: OTHER, serial: 9 }, name: name("bo") };
    let by = UniqueId { process: PROCESS, serial: 3 };
    let private = LocalEvent::Private { to, by, from: name("ann"), text: text("hi") };
    rig.backplane.share(private.clone(), rig.now);
    let json = r#"{"by":"0000000000c0ffee-3","from":"ann","to":9,"name":"bo","text":"hi"}"#;
    let payload = format!("chinwag private {json}");
    assert_eq!(rig.commands(), [["PUBLISH", "chinwag:@0000000000000b0b", &payload]]);
    rig.answer(":0\r\n");
    let undelivered = [RemoteEvent::Undelivered { by: 3, to: name("bo") }];
    assert_eq!(events(rig.actions()), undelivered);
    let own = "@0000000000c0ffee";
    let (from, text) = (name("ann"), text("hi"));
    assert_eq!(
        rig.payload(own, &payload),
        [RemoteEvent::Private { to: 9, name: name("bo"), by, from, text }]
    );
    assert_eq!(rig.payload(own, "chinwag undelivered 3 bo"), undelivered);
    let lost = RemoteEvent::NameLost { client: 3, name: name("ann"), to_account: true };
    assert_eq!(rig.payload(own, "chinwag taken 3 0 ann"), [lost]);
    for bad in ["hi", "chinwag sing", "chinwag taken x 0 ann", "chinwag private {}"] {
        assert_eq!(rig.payload(own, bad), [], "{bad}");
    }
    assert_eq!(rig.backplane.counts().ignored, 4);
    rig.backplane.handle_broken("test", rig.now);
    rig.actions();
    rig.backplane.share(private, rig.now);
    assert_eq!(events(rig.actions()), undelivered);
}

#[test]
fn new_names_release_the_old_keys_and_guests_claim_theirs() {
    let mut rig = Rig::up("");
    let named = |new: &str, old: Option<&str>| LocalEvent::Named {
        client: 3,
        name: name(new),
        old: old.map(name),
        is_account: false,
    };
    rig.backplane.share(named("guest-7", None), rig.now);
    let claim = rig.commands().swap_remove(0);
    assert_eq!(claim[..5], ["claim", "3", "0", "0", "guest-7"]);
    rig.answer(&bulk(&format!("{OTHER:016x} 9 0 guest-7")));
    assert_eq!(
        events(rig.actions()),
        [RemoteEvent::NameLost { client: 3, name: name("guest-7"), to_account: false }]
    );
    rig.backplane.share(named("ann", Some("bo")), rig.now);
    assert_eq!(rig.commands(), [["release", "3", "bo"]]);
    rig.backplane.share(LocalEvent::Gone { client: 3, name: name("ann") }, rig.now);
    rig.backplane.share(LocalEvent::GuestsNeeded, rig.now);
    assert_eq!(rig.command_names(), ["release", "INCRBY"]);
}

#[test]
fn payload_of_another_program_is_data_or_text_or_ignored() {
    let mut rig = Rig::up("--message-max 64k");
    rig.follow("lobby", 0);
    let mut body = |payload: &str| match &rig.payload("lobby", payload)[..] {
        [
            RemoteEvent::Changed {
                change: Change::Message(message),
                order: Order::Unnumbered,
                ticket: None,
                ..
            },
        ] => {
            assert_eq!((&message.from, message.sender), (&Name::of_redis(), Sender::Unknown));
            Some(message.body.clone())
        }
        [] => None,
        other => panic!("{other:?}"),
    };
    let data = |raw: &str| Some(Body::Data(raw.into()));
    assert_eq!(body(r#"{ "a" : [1, 2.50] }"#), data(r#"{"a":[1,2.50]}"#));
    assert_eq!(body("12"), data("12"));
    assert_eq!(body("hello\x1b[2J"), Some(Body::Text(text("hello[2J"))));
    let longest = "a".repeat(64 * 1024);
    assert_eq!(body(&longest), Some(Body::Text(text(&longest))));
    for ignored in [" \n", &"a".repeat(65 * 1024), "chinwag hi", "chinwag - - x {}", "chinwag - - 1 {}"] {
        assert_eq!(body(ignored), None);
    }
    assert_eq!((rig.backplane.counts().received, rig.backplane.counts().ignored), (4, 5));
}

#[test]
fn malformed_entry_is_ignored_but_its_number_counts() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 6);
    let long = entry(OTHER, 1, &"a".repeat(65 * 1024));
    for (seq, bad) in (7..).zip(["{}", "x", r#"{"say":{"from":"a b","text":"x"}}"#, r#"{"sing":{}}"#, &long])
    {
        assert_eq!(rig.payload("lobby", &format!("chinwag {seq} {EPOCH} - {bad}")), []);
    }
    let good = format!("chinwag 12 {EPOCH} - {}", entry(OTHER, 2, "hi"));
    assert_eq!(rig.payload("lobby", &good), [changed(OTHER, 2, "hi", Order::At(12))]);
    assert_eq!(rig.backplane.counts().ignored, 5);
}

#[test]
fn room_without_subscribers_is_unfollowed_after_a_while() {
    let mut rig = Rig::up("");
    rig.follow("dev", 0);
    rig.backplane.share(LocalEvent::Subscribed { room: room("dev"), has_subscribers: false }, rig.now);
    let unfollowed = RemoteEvent::Unfollowed { room: room("dev") };
    let waited = (1..=20).find(|_| {
        rig.after_millis(1_000);
        rig.receive(RedisConnection::Subscriptions, &message_of(&["pong", ""]));
        events(rig.settle()).contains(&unfollowed)
    });
    assert!(waited.is_some_and(|seconds| seconds >= 10));
    let out = String::from_utf8(rig.backplane.output(RedisConnection::Subscriptions).clone()).unwrap();
    assert!(out.contains("UNSUBSCRIBE"));
}

#[test]
fn room_that_is_followed_again_is_read_from_the_position_of_the_question() {
    let mut rig = Rig::up("");
    let position = RoomPosition { epoch: epoch(EPOCH), seq: 5, id: id(PROCESS, 9) };
    let question = Question::Room { room: RoomName::lobby(), members: 50 };
    rig.backplane.ask(1, vec![(question, Some(position))], rig.now);
    rig.confirm_subscription("lobby");
    assert_eq!(rig.commands()[0][2..5], [EPOCH, "5", "0000000000c0ffee-9"]);
    rig.answer(&synced(0, 7, &[(6, &entry(OTHER, 1, "hi")), (7, &entry(OTHER, 2, "ho"))]));
    let expected = [
        synced_event(5, Gap::Nothing),
        changed(OTHER, 1, "hi", Order::At(6)),
        changed(OTHER, 2, "ho", Order::At(7)),
    ];
    assert_eq!(events(rig.actions()), expected);
}

#[test]
fn message_that_redis_has_lost_is_not_delivered_again_when_it_is_appended_again() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    let serial = rig.submit("hi");
    assert_eq!(rig.command_names(), ["append"]);
    let hi = entry(PROCESS, serial, "hi");
    let events = rig.payload("lobby", &format!("chinwag 1 {EPOCH} - {hi}"));
    assert_eq!(events, [changed(PROCESS, serial, "hi", Order::At(1))]);
    // The session ends before the reply. In the next one the reply comes before the payload.
    rig.reconnect();
    rig.settle();
    let events = rig.payload("lobby", &format!("chinwag 2 {EPOCH} - {hi}"));
    assert_eq!(events, [changed(PROCESS, serial, "hi", Order::Seen(2))]);
}

#[test]
fn scripts_are_called_with_the_number_of_the_session() {
    let mut rig = Rig::new("");
    for session in 1..4 {
        rig.connect();
        let loads = rig.commands();
        loads.iter().for_each(|words| rig.answer_one(words));
        rig.backplane.encode_queued(rig.now);
        let hello = parse(std::mem::take(rig.backplane.output(RedisConnection::Commands)));
        assert_eq!(hello[0][5..7], ["0000000000c0ffee".to_string(), session.to_string()]);
        rig.backplane.handle_broken("test", rig.now);
    }
}

#[test]
fn ending_process_buries_itself_after_its_last_words() {
    let mut rig = Rig::up("");
    rig.submit("bye");
    rig.backplane.leave();
    rig.backplane.submit(RoomName::lobby(), joined(0));
    let commands = rig.commands();
    assert_eq!(commands[0][0], "append");
    assert_eq!(commands[1], ["bury", "0000000000c0ffee", "50", "\"its server is gone\""]);
    assert_eq!((commands.len(), rig.backplane.is_done()), (2, false));
    rig.answer(":1\r\n");
    rig.answer(":1\r\n");
    assert!(rig.backplane.is_done());
}

#[test]
fn clients_register_again_if_they_are_told_of_the_outage_after_the_hello() {
    let mut rig = Rig::up("");
    rig.hello = array(&[":0", &bulk("db1"), ":2000"]);
    rig.backplane.handle_broken("test", rig.now);
    rig.after_millis(990);
    rig.connect();
    let loads = rig.commands();
    loads.iter().for_each(|words| rig.answer_one(words));
    assert_eq!(rig.commands()[0][2], "0");
    rig.after_millis(10);
    assert!(events(rig.actions()).contains(&RemoteEvent::Disconnected));
    rig.answer(&rig.hello.clone());
    assert_eq!(rig.commands()[0][2], "1");
    rig.answer(&array(&[":1", &bulk("db1"), ":3000"]));
    assert!(rig.actions().contains(&LinkAction::Register));
}

#[test]
fn refused_question_is_repeated_even_after_its_answer() {
    let mut rig = Rig::up("");
    rig.backplane.ask(7, vec![(Question::Rooms { max: 1 }, None)], rig.now);
    assert_eq!(rig.command_names(), ["rooms"]);
    rig.answer("-NOPERM no\r\n");
    rig.after_millis(1_000);
    assert!(rig.actions().contains(&LinkAction::Answer { asker: 7, facts: Facts::default() }));
    rig.backplane.handle_broken("test", rig.now);
    rig.connect();
    let loads = rig.commands();
    loads.iter().for_each(|words| rig.answer_one(words));
    rig.commands();
    rig.answer(&array(&[":1", &bulk("db1"), ":3000"]));
    rig.actions();
    rig.backplane.register(&[]);
    rig.commands();
    rig.answer("+PONG\r\n");
    rig.backplane.register(&[]);
    assert_eq!(rig.command_names(), ["rooms", "PING"]);
    rig.answer(&array(&[":0"]));
    assert!(!rig.actions().iter().any(|action| matches!(action, LinkAction::Answer { .. })));
}

#[test]
fn subscribers_that_came_during_an_outage_get_the_last_messages_and_have_missed_an_unknown_number() {
    let mut rig = Rig::up("");
    rig.disconnect();
    rig.backplane.share(LocalEvent::Subscribed { room: RoomName::lobby(), has_subscribers: true }, rig.now);
    rig.connect();
    let mut delivered = Vec::new();
    while !rig.backplane.is_up() {
        let actions = rig.actions();
        if actions.contains(&LinkAction::Register) {
            rig.backplane.register(&[]);
        }
        delivered.extend(events(actions));
        for words in rig.commands() {
            match words[0].as_str() {
                "sync" => rig.answer(&synced(0, 4, &[(4, &entry(OTHER, 1, "hi"))])),
                _ => rig.answer_one(&words),
            }
        }
    }
    delivered.extend(events(rig.actions()));
    let expected = [synced_event(3, Gap::Unknown), changed(OTHER, 1, "hi", Order::At(4))];
    assert!(delivered.windows(2).any(|pair| pair == expected), "{delivered:?}");
}

#[test]
fn message_names_the_one_before_it_that_is_not_answered() {
    let mut rig = Rig::up("");
    let before =
        |rig: &mut Rig| -> Vec<String> { rig.commands().into_iter().map(|words| words[3].clone()).collect() };
    for raw in ["one", "two", "three"] {
        rig.submit(raw);
    }
    assert_eq!(before(&mut rig), ["0", "1", "2"]);
    rig.answer(":1\r\n");
    rig.submit("four");
    assert_eq!(before(&mut rig), ["3"]);
    (2..5).for_each(|seq| rig.answer(&format!(":{seq}\r\n")));
    rig.submit("five");
    assert_eq!(before(&mut rig), ["0"]);
    // Redis executes them in their order, also after it has refused one.
    rig.answer("-GAP an earlier command was refused\r\n");
    assert_eq!((rig.backplane.has_session(), rig.backplane.unconfirmed()), (false, 1));
}
