//! Back-pressure: a client that reads at least 1 Mbit/s is never dropped or skipped for messages within the limits.
//! Talkers wait for it. A slower reader delays them by a second at most.

use std::time::Duration;

use crate::socket::{BINARY, Socket, TEXT, frame};
use crate::stage::Stage;
use crate::web::{ask, get, post};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

/// Time between two reads of a reader.
const STEP: Duration = Duration::from_millis(10);

/// One Mbit/s, in bytes per millisecond.
const ONE_MBIT: usize = 125;
const TEN_MBIT: usize = 1_250;
const HUNDRED_MBIT: usize = 12_500;

/// Capacity of a socket's buffers, at least.
const WINDOW: usize = 16 * 1024;

/// Ends each message of the tests, and nothing else.
const MARK: &[u8] = b"~|";

/// A client that reads so many bytes per millisecond.
struct Reader {
    wire: Wire,
    bytes: usize,
}

/// A room with readers of every dialect.
struct Room {
    stage: Stage,
    readers: Vec<Reader>,
}

impl Room {
    /// Joins readers of every dialect, each at that rate.
    fn new(flags: &str, bytes: usize) -> Room {
        let mut stage = Stage::new(flags);
        let line = stage.join("line");
        let tab = Socket::open(&mut stage, "/ws?name=tab").wire;
        let program = Socket::open(&mut stage, "/raw/lobby?name=program").wire;
        let listener = stage.connect_http();
        ask(&mut stage, listener, &get("/rooms/lobby/events"));
        let mut room = Room { stage, readers: Vec::new() };
        [line, tab, program, listener].into_iter().for_each(|wire| room.slow_down(wire, bytes));
        room
    }

    fn slow_down(&mut self, wire: Wire, bytes: usize) {
        self.stage.set_eager(wire, false);
        self.stage.world().set_window(wire, WINDOW.max(bytes * STEP.as_millis() as usize));
        self.readers.push(Reader { wire, bytes });
    }

    /// Lets time pass while the readers read.
    fn pass(&mut self, span: Duration) {
        for _ in 0..span.as_millis() / STEP.as_millis() {
            self.stage.pass(STEP);
            for reader in &self.readers {
                self.stage.receive(reader.wire, reader.bytes * STEP.as_millis() as usize);
            }
        }
    }

    fn received(&self, wire: Wire) -> usize {
        self.stage.raw(wire).windows(MARK.len()).filter(|window| *window == MARK).count()
    }

    /// Checks that all readers have read so many messages; the program on the raw listener reads only `relayed` ones.
    #[track_caller]
    fn assert_all_received(&self, count: usize, relayed: usize, context: &str) {
        let metrics = self.stage.server.metrics();
        assert_eq!((metrics.dropped(), metrics.missed), (0, 0), "{context}");
        for (index, reader) in self.readers.iter().enumerate() {
            let expected = if index == 2 { relayed } else { count };
            assert_eq!(self.received(reader.wire), expected, "{context}, reader {index}");
        }
    }

    fn end(mut self) {
        self.readers.iter().for_each(|reader| self.stage.set_eager(reader.wire, true));
        self.stage.end();
    }
}

/// A text of so many bytes.
fn text(length: usize) -> String {
    "x".repeat(length - MARK.len()) + "~|"
}

fn say(text: &str) -> Vec<u8> {
    frame(TEXT, format!(r#"{{"type":"say","room":"lobby","text":"{text}"}}"#).as_bytes())
}

/// Encodes a text as a message for a listener.
type Message = fn(&str) -> Vec<u8>;

/// Talkers by the name of their listener, with the encoding of their messages.
const TALKERS: [(&str, Message); 4] = [
    ("/ws?name=talker", say),
    ("/raw/lobby?name=talker", |text| frame(TEXT, text.as_bytes())),
    ("http", |text| post("/rooms/lobby/messages", "", text).into_bytes()),
    ("line", |text| format!("{text}\n").into_bytes()),
];

fn talker(stage: &mut Stage, listener: &str) -> Wire {
    match listener {
        "line" => stage.join("talker"),
        "http" => stage.connect_http(),
        path => Socket::open(stage, path).wire,
    }
}

#[test]
fn ten_long_texts_of_one_client_drop_no_reader() {
    for policy in ["drop", "skip"] {
        for (bytes, seconds) in [(ONE_MBIT, 12), (TEN_MBIT, 11), (HUNDRED_MBIT, 11)] {
            let mut room = Room::new(&format!("--slow-client {policy} --burst 10"), bytes);
            let wire = talker(&mut room.stage, "/ws?name=talker");
            (0..10).for_each(|_| room.stage.send(wire, &say(&text(65_000))));
            room.pass(seconds * SECOND);
            room.assert_all_received(10, 0, &format!("{policy}, {bytes} bytes a millisecond"));
            room.end();
        }
    }
}

#[test]
fn talkers_of_every_dialect_without_limits_of_their_own_wait_for_readers() {
    for policy in ["drop", "skip"] {
        for (listener, message) in TALKERS {
            for (bytes, seconds) in [(ONE_MBIT, 9), (TEN_MBIT, 2), (HUNDRED_MBIT, 1)] {
                let flags = format!("--slow-client {policy} --rate off --line-max 64k");
                let mut room = Room::new(&flags, bytes);
                let wire = talker(&mut room.stage, listener);
                (0..10).for_each(|_| room.stage.send(wire, &message(&text(65_000))));
                room.pass(seconds * SECOND);
                let relayed = if listener.starts_with("/raw") { 10 } else { 0 };
                room.assert_all_received(
                    10,
                    relayed,
                    &format!("{policy}, {listener}, {bytes} bytes a millisecond"),
                );
                room.end();
            }
        }
    }
}

#[test]
fn texts_that_double_when_they_are_escaped_drop_no_reader() {
    let mut room = Room::new("--rate off", ONE_MBIT);
    let wire = talker(&mut room.stage, "http");
    let quotes = "\"".repeat(60_000) + "~|";
    let message = post("/rooms/lobby/messages", "", &quotes);
    (0..6).for_each(|_| room.stage.send(wire, message.as_bytes()));
    room.pass(8 * SECOND);
    room.assert_all_received(6, 0, "quotes");
    room.end();
}

#[test]
fn many_talkers_at_once_drop_no_reader() {
    for policy in ["drop", "skip"] {
        for (bytes, seconds) in [(ONE_MBIT, 40), (TEN_MBIT, 5)] {
            let mut room = Room::new(&format!("--slow-client {policy}"), bytes);
            let listener = |number| if number < 12 { format!("/ws?name=t{number}") } else { "http".into() };
            let talkers: Vec<Wire> =
                (0..24).map(|number| talker(&mut room.stage, &listener(number))).collect();
            for (number, wire) in talkers.iter().enumerate() {
                let text = text(65_000);
                let message = if number < 12 { say(&text) } else { TALKERS[2].1(&text) };
                [&message, &message].into_iter().for_each(|message| room.stage.send(*wire, message));
            }
            room.pass(seconds * SECOND);
            room.assert_all_received(48, 0, &format!("{policy}, {bytes} bytes a millisecond"));
            room.end();
        }
    }
}

#[test]
fn many_tiny_messages_drop_no_reader() {
    for policy in ["drop", "skip"] {
        let mut room = Room::new(&format!("--slow-client {policy} --rate off"), ONE_MBIT);
        let talkers: Vec<Wire> = (0..6).map(|n| room.stage.join(&format!("t{n}"))).collect();
        for wire in &talkers {
            room.stage.send(*wire, "~|\n".repeat(1_500).as_bytes());
        }
        room.pass(20 * SECOND);
        room.assert_all_received(9_000, 0, policy);
        room.end();
    }
}

#[test]
fn private_messages_of_many_to_one_drop_no_reader() {
    for policy in ["drop", "skip"] {
        let mut room = Room::new(&format!("--slow-client {policy} --rate off"), ONE_MBIT);
        let readers = room.readers.split_off(0);
        let reading = [("line", 0), ("tab", 1)];
        for (name, index) in reading {
            room.slow_down(readers[index].wire, ONE_MBIT);
            for number in 0..10 {
                let path = format!("/ws?name={name}{number}&room=");
                let wire = talker(&mut room.stage, &path);
                let tell = format!(r#"{{"type":"tell","to":"{name}","text":"{}"}}"#, text(60_000));
                room.stage.send(wire, &frame(TEXT, tell.as_bytes()));
            }
        }
        room.pass(7 * SECOND);
        room.assert_all_received(10, 10, policy);
        readers[2..].iter().for_each(|reader| room.slow_down(reader.wire, HUNDRED_MBIT));
        room.end();
    }
}

#[test]
fn answers_of_many_to_one_drop_no_reader() {
    for policy in ["drop", "skip"] {
        let mut room = Room::new(&format!("--slow-client {policy} --rate off --line-max 64k"), ONE_MBIT);
        let line = room.readers[0].wire;
        let talkers: Vec<Wire> = (0..10).map(|number| room.stage.join(&format!("t{number}"))).collect();
        (0..10).for_each(|number| room.stage.say(line, &format!("/msg t{number} hi")));
        room.stage.run();
        for wire in talkers {
            room.stage.say(wire, &format!("/reply {}", text(60_000)));
        }
        room.pass(7 * SECOND);
        let metrics = room.stage.server.metrics();
        assert_eq!((metrics.dropped(), metrics.missed, room.received(line)), (0, 0, 10), "{policy}");
        room.end();
    }
}

#[test]
fn announcements_wait_for_a_lagging_reader_as_messages_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    // The token is `m`.
    let hash = "62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a";
    let account = format!("[accounts.mod]\nrole = \"moderator\"\ntoken = \"sha256:{hash}\"\n");
    std::fs::write(&file, account).expect("a file");
    let mut stage = Stage::new(&format!("--rate off --history 0 --config {}", file.display()));
    let [ann, bob, slow, eve] = ["ann", "bob", "slow", "eve"].map(|name| stage.join(name));
    let [leaver, joiner, moderator] = ["name=leaver", "name=joiner&room=dev", "token=m"]
        .map(|query| Socket::open(&mut stage, &format!("/ws?{query}")));
    stage.stall(slow);
    (0..40).for_each(|_| stage.say(ann, &"x".repeat(3_000)));
    stage.run();
    stage.say(eve, "/nick zed");
    leaver.say(&mut stage, r#"{"type":"leave","room":"lobby"}"#);
    joiner.say(&mut stage, r#"{"type":"join","room":"lobby"}"#);
    moderator.say(&mut stage, r#"{"type":"topic","room":"lobby","text":"tea"}"#);
    stage.pass(SECOND / 10);
    let announced = |stage: &Stage| {
        ["eve is now zed", "leaver left", "joiner joined", "tea"].map(|part| stage.text(bob).contains(part))
    };
    assert_eq!(announced(&stage), [false; 4]);
    stage.read_again(slow);
    stage.run();
    assert_eq!(announced(&stage), [true; 4]);
    stage.end();
}

#[test]
fn reader_in_many_rooms_is_not_dropped_for_the_talk_in_all_of_them() {
    let mut room = Room::new("--rate off", ONE_MBIT);
    let mut tab = Socket::open(&mut room.stage, "/ws?name=busy&room=a");
    for name in ["b", "c", "d", "e", "f"] {
        tab.say(&mut room.stage, &format!(r#"{{"type":"join","room":"{name}"}}"#));
    }
    tab.texts(&mut room.stage);
    room.slow_down(tab.wire, ONE_MBIT);
    for name in ["a", "b", "c", "d", "e", "f"] {
        for _ in 0..2 {
            let wire = room.stage.connect_http();
            let message = post(&format!("/rooms/{name}/messages"), "", &text(60_000));
            room.stage.send(wire, message.as_bytes());
        }
    }
    room.pass(8 * SECOND);
    assert_eq!((room.received(tab.wire), room.stage.server.metrics().dropped()), (12, 0));
    room.end();
}

#[test]
fn relayed_binary_message_waits_as_well() {
    let mut room = Room::new("--rate off", TEN_MBIT);
    let wire = talker(&mut room.stage, "/raw/lobby?name=talker");
    (0..10).for_each(|_| room.stage.send(wire, &frame(BINARY, text(65_000).as_bytes())));
    room.pass(SECOND);
    assert_eq!((room.received(room.readers[2].wire), room.stage.server.metrics().dropped()), (10, 0));
    room.end();
}

/// Sends a message every 50 ms while one member reads slowly. Returns the longest delay of a message, and the sum of
/// all delays.
fn holds(policy: &str, bytes: usize) -> (Duration, Duration) {
    let flags = format!("--slow-client {policy} --rate off --history 0 --stall-timeout 10s");
    let mut room = Room::new(&flags, HUNDRED_MBIT);
    let slow = room.stage.join("slow");
    room.slow_down(slow, bytes);
    let ann = room.stage.join("ann");
    let tab = room.readers[1].wire;
    let (mut longest, mut sum) = (0, 0);
    for number in 1..400 {
        room.stage.say(ann, &text(4_000));
        let mut steps = 0;
        while room.received(tab) < number {
            room.pass(STEP);
            steps += 1;
        }
        // Without a delay it is read within a step or two.
        let late = (steps as u32 * STEP).saturating_sub(3 * STEP);
        (longest, sum) = (longest.max(late.as_millis()), sum + late.as_millis());
        room.pass(5 * STEP);
    }
    assert_eq!(room.received(tab), 399, "nothing is lost for the others");
    let metrics = room.stage.server.metrics();
    assert_eq!(metrics.dropped(), u64::from(policy == "drop"), "{policy}, {bytes}");
    assert!(policy == "drop" || metrics.missed > 0, "it was too slow for all that was said");
    room.end();
    let millis = |millis| Duration::from_millis(millis as u64);
    (millis(longest), millis(sum))
}

#[test]
fn reader_that_is_too_slow_delays_a_room_by_a_second_in_all() {
    for policy in ["drop", "skip"] {
        // No bytes at all, a trickle, and a third of the minimum.
        for bytes in [0, 1, 40] {
            let (longest, sum) = holds(policy, bytes);
            let most = SECOND + 2 * STEP;
            assert!(longest <= most && sum <= most, "{policy}, {bytes}: {longest:?} {sum:?}");
            assert!(bytes > 1 || sum >= SECOND / 2, "{policy}, {bytes}: it was waited for, {sum:?}");
        }
    }
}

#[test]
fn talker_is_not_paused_for_rooms_that_it_is_not_in() {
    let mut room = Room::new("--rate off", HUNDRED_MBIT);
    let (ann, bob) = (room.stage.join("ann"), room.stage.join("bob"));
    for wire in [ann, bob] {
        room.stage.say(wire, "/join elsewhere");
    }
    let wire = talker(&mut room.stage, "http");
    let stalled = room.stage.join("stalled");
    room.stage.stall(stalled);
    room.stage.send(wire, &TALKERS[2].1(&text(65_000)).repeat(3));
    room.stage.run();
    assert!(room.stage.server.metrics().holds > 0, "the lobby waits");
    room.stage.say(ann, "at once");
    room.stage.run();
    room.stage.expect_contains(bob, "ann: at once\n");
    room.stage.say(ann, "/msg line at once too");
    room.pass(2 * STEP);
    room.stage.expect_contains(room.readers[0].wire, "[ann] at once too\n");
    room.end();
}

#[test]
fn pause_ends_when_the_reader_reads_or_leaves_or_changes_rooms() {
    for case in ["reads", "resets", "joins"] {
        let mut stage = Stage::new("--rate off --history 0");
        let (ann, bob, slow) = (stage.join("ann"), stage.join("bob"), stage.join("slow"));
        stage.stall(slow);
        (0..40).for_each(|_| stage.say(ann, &"x".repeat(3_000)));
        stage.say(ann, "last");
        stage.pass(SECOND / 10);
        assert!(!stage.text(bob).contains("last"), "{case}: it waits");
        match case {
            "reads" => {
                stage.read_again(slow);
            }
            "resets" => stage.world().reset(slow),
            _ => stage.say(slow, "/join elsewhere"),
        }
        // A client with that much queued is not read, so its command has to wait for the bound.
        stage.pass(if case == "joins" { SECOND } else { SECOND / 100 });
        assert!(stage.text(bob).contains("last"), "{case}: it waits no longer");
        stage.end();
    }
}

#[test]
fn client_that_talks_much_does_not_delay_others_in_a_room_of_slow_readers() {
    let mut room = Room::new("--rate off", ONE_MBIT);
    let hog = talker(&mut room.stage, "/ws?name=hog");
    (0..40).for_each(|_| room.stage.send(hog, &say(&text(60_000))));
    room.pass(SECOND);
    let ann = room.stage.join("ann");
    room.stage.say(ann, "a word");
    // The queue exceeds the watermark by one message of the hog at most, and then it is her turn.
    room.pass(2 * SECOND);
    room.stage.expect_contains(room.readers[0].wire, "ann: a word\n");
    room.end();
}

#[test]
fn server_that_has_waited_for_readers_sleeps_without_a_deadline_again() {
    let mut room = Room::new("--rate off --ping-interval 1h", TEN_MBIT);
    let wire = talker(&mut room.stage, "http");
    room.stage.send(wire, &TALKERS[2].1(&text(65_000)).repeat(10));
    room.pass(2 * SECOND);
    room.stage.send(wire, &get("/healthz").into_bytes());
    room.pass(60 * SECOND);
    assert!(room.stage.server.roster().pressure().is_empty());
    let wakes_at = room.stage.server.net().wakes_at_millis;
    assert!(wakes_at.is_none_or(|at| at > 1_000_000), "the next ping, and nothing before: {wakes_at:?}");
    room.end();
}

#[test]
fn bytes_over_rate_bytes_and_burst_bytes_are_delayed() {
    let limits = "--rate-bytes 1k/s --burst-bytes 2k --line-max 1k --message-max 1k --write-buffer-soft off";
    let mut stage = Stage::new(&format!("{limits} --history 0"));
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    (0..3).for_each(|_| stage.say(ann, &"x".repeat(1_000)));
    let received = |stage: &Stage| stage.text(bob).matches("ann: ").count();
    stage.expect(ann, &["-- bob joined", "-- you send fast: your lines are slowed down, none is lost"]);
    assert_eq!(received(&stage), 2);
    // 952 bytes of the 1,024 a second are missing.
    stage.pass(Duration::from_millis(929));
    assert_eq!(received(&stage), 2);
    stage.pass(Duration::from_millis(1));
    assert_eq!(received(&stage), 3);
    // Commands send nothing to others, and use up no bytes.
    stage.say(ann, "/rooms");
    stage.run();
    stage.expect_contains(ann, "#lobby");
    stage.end();
}

#[test]
fn every_request_with_a_text_uses_up_bytes() {
    let flags = "--rate-bytes 1k/s --burst-bytes 2k --line-max 2k --message-max 1k --history 0";
    let (long, short) = ("x".repeat(1_000), "x".repeat(150));
    for request in ["/me", "/msg ann", "/reply", "/away", "/topic", "/kick ann", "/ban ann 1h", "/quit"] {
        let mut stage = Stage::new(flags);
        let (ann, bob) = (stage.join("ann"), stage.join("bob"));
        stage.say(ann, "/msg bob hi");
        stage.run();
        stage.say(bob, &format!("{long}\n{long}\n{request} {short}"));
        stage.run();
        assert_eq!(stage.server.metrics().lines_in, 5, "{request}");
        // 102 bytes of the 1,024 a second are missing.
        stage.pass(Duration::from_millis(99));
        assert_eq!(stage.server.metrics().lines_in, 5, "{request}");
        stage.pass(Duration::from_millis(1));
        assert_eq!(stage.server.metrics().lines_in, 6, "{request}");
        stage.end();
    }
}

#[test]
fn rate_bytes_holds_in_every_dialect() {
    let flags = "--rate-bytes 1k/s --burst-bytes 4k --line-max 4k --message-max 4k --write-buffer-soft off";
    for (listener, message) in TALKERS {
        let mut stage = Stage::new(flags);
        let bob = stage.join("bob");
        let wire = talker(&mut stage, listener);
        (0..3).for_each(|_| stage.send(wire, &message(&text(2_048))));
        stage.run();
        let received = |stage: &Stage| stage.text(bob).matches("~|").count();
        assert_eq!(received(&stage), 2, "{listener}");
        stage.pass(2 * SECOND - STEP);
        assert_eq!(received(&stage), 2, "{listener}");
        stage.pass(STEP);
        assert_eq!(received(&stage), 3, "{listener}");
        stage.end();
    }
}

#[test]
fn rate_off_lifts_the_limit_on_bytes_unless_rate_bytes_is_given() {
    for (flags, received) in [("--rate off", 3), ("--rate off --rate-bytes 1k/s", 2), ("--rate-bytes off", 3)]
    {
        let mut stage = Stage::new(flags);
        let bob = stage.join("bob");
        let wire = talker(&mut stage, "/ws?name=talker");
        (0..3).for_each(|_| stage.send(wire, &say(&text(65_000))));
        stage.pass(SECOND);
        assert_eq!(stage.text(bob).matches("~|").count(), received, "{flags}");
        stage.end();
    }
}
