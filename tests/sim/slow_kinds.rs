//! Slow readers by the kind of the messages, by dialect, and by what they send themselves, under both policies.

use std::time::Duration;

use crate::socket::Socket;
use crate::stage::Stage;
use crate::web::{ask, get, post};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

/// Longer than talkers are held for a reader that lags.
const HELD: Duration = Duration::from_secs(3);

/// Length of a text of which 8 KiB hold at most 16, in every encoding.
const TEXT_BYTES: usize = 506;
const TEXTS: usize = 40;

const BUFFER: &str = "--rate off --write-buffer 8k --write-buffer-soft off --stall-timeout off --line-max 1k";

/// The way in which ann sends a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Line,
    Emote,
    Private,
    PrivateJson,
    Published,
    Json,
}

const KINDS: [Kind; 6] =
    [Kind::Line, Kind::Emote, Kind::Private, Kind::PrivateJson, Kind::Published, Kind::Json];

/// Ann and her two connections, by line and by WebSocket.
struct Talker {
    line: Wire,
    tab: Socket,
}

impl Talker {
    fn new(stage: &mut Stage) -> Talker {
        Talker { line: stage.join("ann"), tab: Socket::open(stage, "/ws?name=tab") }
    }

    fn say(&self, stage: &mut Stage, kind: Kind, text: &str) {
        let json = |kind: &str, with: &str| format!(r#"{{"type":"{kind}",{with},"text":"{text}"}}"#);
        match kind {
            Kind::Line => stage.say(self.line, text),
            Kind::Emote => stage.say(self.line, &format!("/me {text}")),
            Kind::Private => stage.say(self.line, &format!("/msg bob {text}")),
            Kind::PrivateJson => self.tab.say(stage, &json("tell", r#""to":"bob""#)),
            Kind::Json => self.tab.say(stage, &json("say", r#""room":"lobby""#)),
            Kind::Published => {
                let wire = stage.connect_http();
                stage.send(wire, post("/rooms/lobby/messages?from=ci", "", text).as_bytes());
            }
        }
        stage.run();
    }

    /// Sends more than a buffer holds, and waits longer than a talker is held.
    fn flood(&self, stage: &mut Stage, kind: Kind) {
        for _ in 0..TEXTS {
            self.say(stage, kind, &text());
        }
        stage.pass(HELD);
    }
}

fn text() -> String {
    "x".repeat(TEXT_BYTES)
}

/// Runs a test with each kind of message, with and without `--slow-client skip`.
fn each_kind(test: impl Fn(&mut Stage, &Talker, Kind, bool)) {
    for (kind, skip) in KINDS.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let mut stage = Stage::new(&format!("{BUFFER} --slow-client {}", if skip { "skip" } else { "drop" }));
        let talker = Talker::new(&mut stage);
        test(&mut stage, &talker, kind, skip);
        stage.end();
    }
}

#[test]
fn slow_line_client_misses_messages_of_every_kind_or_is_dropped() {
    each_kind(|stage, talker, kind, skip| {
        let bob = stage.join("bob");
        stage.stall(bob);
        talker.flood(stage, kind);
        let counts = (stage.server.metrics().missed > 0, stage.server.metrics().dropped());
        assert_eq!(counts, (skip, u64::from(!skip)), "{kind:?} {skip}");
        stage.read_again(bob);
        stage.run();
        let lines = stage.unread(bob);
        let missed = TEXTS - lines.iter().filter(|line| line.contains(&text())).count();
        let last = match skip {
            true => format!("-- you missed {missed} messages: you read too slowly"),
            false => "-- you were dropped: too much was waiting for you to read it".to_string(),
        };
        assert_eq!(lines.last(), Some(&last), "{kind:?} {skip}");
        if skip {
            assert_eq!(stage.server.metrics().missed, missed as u64, "{kind:?}");
            talker.say(stage, kind, "and on");
            assert!(stage.unread(bob)[0].ends_with("and on"), "{kind:?}");
        }
    });
}

#[test]
fn slow_tab_misses_messages_of_every_kind_or_is_dropped() {
    each_kind(|stage, talker, kind, skip| {
        let mut bob = Socket::open(stage, "/ws?name=bob");
        bob.texts(stage);
        stage.stall(bob.wire);
        talker.flood(stage, kind);
        let counts = (stage.server.metrics().missed > 0, stage.server.metrics().dropped());
        assert_eq!(counts, (skip, u64::from(!skip)), "{kind:?} {skip}");
        stage.read_again(bob.wire);
        let texts = bob.texts(stage);
        let received = texts.iter().filter(|line| line.contains(&text())).count();
        let missed: usize = texts.iter().filter_map(|line| missed_count(line)).sum();
        assert_eq!(missed, if skip { TEXTS - received } else { 0 }, "{kind:?} {skip}: {texts:?}");
    });
}

/// Returns the number in `{"type":"missed",…,"count":4}`.
fn missed_count(text: &str) -> Option<usize> {
    let count = text.strip_prefix(r#"{"type":"missed""#)?.split_once(r#""count":"#)?.1;
    count.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn slow_sse_client_misses_messages_or_is_dropped_and_gets_no_private_ones() {
    each_kind(|stage, talker, kind, skip| {
        stage.join("bob");
        let tail = stage.connect_http();
        ask(stage, tail, &get("/rooms/lobby/events"));
        stage.stall(tail);
        talker.flood(stage, kind);
        let private = matches!(kind, Kind::Private | Kind::PrivateJson);
        let counts = (stage.server.metrics().missed > 0, stage.server.metrics().dropped() > 0);
        assert_eq!(counts, (!private && skip, !private && !skip), "{kind:?} {skip}");
        stage.read_again(tail);
        stage.run();
        let received = stage.text(tail).contains(&text());
        assert_eq!(received, !private && skip, "{kind:?} {skip}: a drop discards queued output");
    });
}

#[test]
fn half_full_talker_is_sent_none_of_its_own_messages_and_misses_none() {
    for policy in ["skip", "drop"] {
        let mut stage = Stage::new(&format!("{BUFFER} --slow-client {policy}"));
        let (talker, bob) = (Talker::new(&mut stage), stage.join("bob"));
        let cy = stage.join("cy");
        stage.stall(bob);
        // At half of the buffer the server still reads from him.
        for _ in 0..6 {
            talker.say(&mut stage, Kind::Line, &"x".repeat(TEXT_BYTES));
        }
        stage.pass(HELD);
        let before = stage.queued_bytes(bob);
        stage.unread(cy);
        for number in 0..40 {
            stage.say(bob, &format!("{number} {}", "y".repeat(TEXT_BYTES)));
            stage.say(bob, &format!("/msg cy {number} {}", "y".repeat(TEXT_BYTES)));
        }
        stage.pass(HELD);
        assert_eq!(stage.unread(cy).len(), 80, "{policy}");
        assert_eq!(stage.queued_bytes(bob), before, "{policy}");
        assert_eq!((stage.server.metrics().missed, stage.server.metrics().dropped()), (0, 0), "{policy}");
        stage.read_again(bob);
        stage.run();
        assert!(!stage.text(bob).contains("yyyy"), "{policy}");
        stage.end();
    }
}

#[test]
fn answers_to_own_commands_are_never_skipped() {
    for policy in ["skip", "drop"] {
        let mut stage = Stage::new(&format!("{BUFFER} --slow-client {policy}"));
        let bob = stage.join("bob");
        stage.stall(bob);
        // Answers are never skipped, so a client that reads none is not read after a while, or dropped.
        for _ in 0..200 {
            stage.say(bob, "/help");
        }
        stage.pass(SECOND);
        assert_eq!(stage.server.metrics().missed, 0, "{policy}");
        stage.read_again(bob);
        stage.run();
        let lines = stage.unread(bob);
        assert!(!lines.iter().any(|line| line.contains("you missed")), "{policy}: {lines:?}");
        stage.end();
    }
}
