//! Texts that grow when they are escaped stay within the bounds of their reader in every dialect.

use std::time::Duration;

use crate::socket::{Socket, TEXT, frame};
use crate::stage::Stage;
use crate::web::{ask, get};

/// JSON doubles the size of the first two texts, and leaves that of the others.
const TEXTS: [&str; 4] = ["\"", "\\", "é", "x"];

const FLAGS: &str = "--rate off --write-buffer 8k --write-buffer-soft off --line-max 2k --history-shown 100";

/// A server with sixty lines of that text in the lobby's history.
fn stage_with_talk(text: &str) -> Stage {
    let mut stage = Stage::new(FLAGS);
    let ann = stage.join("ann");
    for number in 0..60 {
        stage.say(ann, &format!("{number:02}{}", text.repeat(400 / text.len())));
        stage.run();
    }
    stage
}

#[test]
fn escaped_history_is_never_too_long_for_its_reader() {
    for text in TEXTS {
        let mut stage = stage_with_talk(text);
        let bob = stage.join("bob");
        stage.say(bob, "/history 100");
        let mut tab = Socket::open(&mut stage, "/ws?name=tab&history=100");
        tab.say(&mut stage, r#"{"type":"history","room":"lobby","count":100}"#);
        let texts = tab.texts(&mut stage);
        let histories: Vec<_> =
            texts.iter().filter(|text| text.starts_with(r#"{"type":"history""#)).collect();
        assert_eq!(histories.len(), 2, "{text}: {texts:?}");
        for history in histories {
            assert!(history.contains(&format!(r#""text":"59{}"#, &escaped(text))), "{text}: {history}");
        }
        let tail = stage.connect_http();
        let request = get("/rooms/lobby/events").replace("\r\n\r\n", "\r\nLast-Event-ID: 0-0-0\r\n\r\n");
        ask(&mut stage, tail, &request);
        assert_eq!(stage.server.metrics().dropped(), 0, "{text}");
        assert!(stage.text(bob).contains(&format!("ann: 59{text}")), "{text}");
        stage.end();
    }
}

/// A client that asks for the history and reads nothing has at most half of its write buffer queued.
#[test]
fn unread_history_fits_half_of_the_write_buffer_in_every_dialect() {
    for text in TEXTS {
        let mut stage = stage_with_talk(text);
        let tab = Socket::open(&mut stage, "/ws?name=tab");
        let bob = stage.join("bob");
        for wire in [tab.wire, bob] {
            stage.run();
            stage.stall(wire);
        }
        stage.say(bob, "/history 100");
        tab.say(&mut stage, r#"{"type":"history","room":"lobby","count":100}"#);
        stage.run();
        assert_eq!(stage.server.metrics().dropped(), 0, "{text}");
        for wire in [tab.wire, bob] {
            let token = stage.world().token(wire).unwrap();
            let queued = stage.server.roster().get(token).unwrap().outbox.queued_bytes();
            assert!((1..=4 * 1024).contains(&queued), "{text}: {queued}");
        }
        stage.end();
    }
}

fn escaped(text: &str) -> String {
    match text {
        "\"" | "\\" => format!("\\{text}"),
        text => text.to_string(),
    }
}

/// [`Stage::end`] checks that the open block is freed.
#[test]
fn block_that_many_answers_have_grown_in_one_tick_is_freed() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    for _ in 0..50 {
        stage.say(ann, &"x".repeat(2_000));
        stage.run();
    }
    let tabs: Vec<Socket> = (0..12).map(|_| Socket::open(&mut stage, "/ws?history=0")).collect();
    stage.pass(Duration::from_secs(2));
    for tab in &tabs {
        stage.send(tab.wire, &frame(TEXT, br#"{"type":"history","room":"lobby","count":50}"#));
    }
    stage.run();
    stage.end();
}
