//! `SIGHUP`: a configuration file that is read again changes a running server, its open connections too.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chinwag::net::Signal;
use tempfile::TempDir;

use crate::stage::{Stage, WIDE};

const SECOND: Duration = Duration::from_secs(1);

/// A server and its configuration file.
struct Reloadable {
    stage: Stage,
    path: PathBuf,
    _folder: TempDir,
}

impl Reloadable {
    fn new(text: &str, flags: &str) -> Reloadable {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chinwag.toml");
        fs::write(&path, text).unwrap();
        let stage = Stage::new(&format!("--config {} {flags}", path.display()));
        Reloadable { stage, path, _folder: folder }
    }

    fn reload(&mut self, text: &str) {
        fs::write(&self.path, text).unwrap();
        self.stage.world().signal(Signal::Reload);
        self.stage.run();
    }
}

#[test]
fn deadline_moves_for_open_connections() {
    let mut server = Reloadable::new("idle-timeout = \"1h\"", "");
    let ann = server.stage.join("ann");
    server.stage.pass(5 * SECOND);
    server.reload("idle-timeout = \"10s\"");
    server.stage.pass(4 * SECOND);
    assert!(!server.stage.text(ann).contains("idle"));
    server.stage.pass(2 * SECOND);
    server.stage.expect_contains(ann, "-- you were idle for too long");
    let bob = server.stage.join("bob");
    server.reload("");
    server.stage.pass(3_600 * SECOND);
    assert!(!server.stage.text(bob).contains("idle"));
    server.stage.end();
}

#[test]
fn throttled_client_goes_on_with_the_new_rate() {
    let mut server = Reloadable::new("rate = \"1/h\"\nburst = 1", "");
    let (ann, bob) = (server.stage.join("ann"), server.stage.join("bob"));
    server.stage.unread(ann);
    (0..5).for_each(|number| server.stage.say(ann, &format!("{number}")));
    server.stage.run();
    assert!(server.stage.unread(bob).len() <= 1);
    server.reload("rate = \"off\"");
    assert!(server.stage.unread(bob).contains(&"ann: 4".to_string()));
    server.reload("rate = \"1/h\"\nburst = 2");
    (5..9).for_each(|number| server.stage.say(ann, &format!("{number}")));
    server.stage.expect(bob, &["ann: 5", "ann: 6"]);
    server.reload("rate = \"off\"");
    server.stage.expect(bob, &["ann: 7", "ann: 8"]);
    server.stage.end();
}

#[test]
fn history_shrinks_at_once_and_grows_again() {
    let mut server = Reloadable::new("", "--rate off --announce-max 0");
    let ann = server.stage.join("ann");
    (0..9).for_each(|number| server.stage.say(ann, &format!("{number}")));
    server.stage.run();
    let shown = |server: &mut Reloadable, name: &str| {
        let wire = server.stage.join(name);
        server.stage.text(wire).matches("ann: ").count()
    };
    assert_eq!(shown(&mut server, "bob"), 9);
    server.reload("history = 3");
    assert_eq!(shown(&mut server, "carl"), 3);
    server.reload("history-shown = 2");
    assert_eq!(shown(&mut server, "dora"), 2);
    server.reload("history-memory = 0");
    assert_eq!((shown(&mut server, "emil"), server.stage.server.chat().census().history_bytes), (0, 0));
    server.reload("");
    server.stage.say(ann, "again");
    server.stage.run();
    assert_eq!(shown(&mut server, "fred"), 1);
    server.stage.end();
}

#[test]
fn limit_by_address_counts_connections_that_are_open_already() {
    let mut server = Reloadable::new("", "");
    let connect = |server: &mut Reloadable| {
        let wire = server.stage.connect_from(Some("10.0.0.1"), WIDE);
        server.stage.run();
        server.stage.text(wire)
    };
    assert!(connect(&mut server).contains("welcome"));
    server.reload("max-per-ip = 1");
    assert!(connect(&mut server).contains("too many connections"));
    server.reload("max-per-ip = \"off\"");
    assert!(connect(&mut server).contains("welcome"));
    server.stage.end();
}

#[test]
fn file_with_a_mistake_changes_nothing() {
    for text in [
        "idle-timeout = \"10s\"\nlien-max = 1",
        "idle-timeout = \"10s\"\nmotd = \"nix\"",
        "= 1",
        "idle-timeout = \"10s\"\n[rooms.a]\nspeak = \"nobody\"",
    ] {
        let mut server = Reloadable::new("", "");
        let ann = server.stage.join("ann");
        server.reload(text);
        server.stage.pass(60 * SECOND);
        assert!(!server.stage.text(ann).contains("idle"), "{text}");
        server.reload("idle-timeout = \"10s\"");
        assert!(server.stage.text(ann).contains("idle"), "{text}");
        server.stage.end();
    }
}

#[test]
fn change_that_needs_a_restart_has_no_effect() {
    let mut server = Reloadable::new("", "--rate off");
    let (ann, bob) = (server.stage.join("ann"), server.stage.join("bob"));
    server.stage.unread(ann);
    server.reload("line-max = 128\nguests = true");
    let line = "x".repeat(129);
    server.stage.say(ann, &line);
    server.stage.expect(bob, &[&format!("ann: {line}")]);
    let carl = server.stage.connect();
    server.stage.expect(carl, &["-- welcome to chinwag. what's your name?"]);
    server.stage.end();
}

#[test]
fn limits_of_rooms_and_of_arrivals_change_at_once() {
    let mut server = Reloadable::new("", "--rate off");
    let ann = server.stage.join("ann");
    server.reload("max-rooms = 2");
    server.stage.say(ann, "/join dev");
    server.stage.run();
    server.stage.expect_contains(ann, "alone in #dev");
    server.stage.say(ann, "/join board");
    server.stage.run();
    server.stage.expect_contains(ann, "the server has as many rooms as it may");
    server.reload("announce-max = 0");
    let bob = server.stage.join("bob");
    server.stage.unread(ann);
    server.stage.say(bob, "/join dev");
    server.stage.expect(ann, &[]);
    let late = server.stage.connect();
    server.reload("name-timeout = \"3s\"");
    server.stage.pass(4 * SECOND);
    server.stage.expect_contains(late, "-- you gave no name in time");
    server.reload("connects-per-ip = \"1/s\"");
    let texts: Vec<String> = (0..3)
        .map(|_| {
            let wire = server.stage.connect_from(Some("10.0.0.1"), WIDE);
            server.stage.run();
            server.stage.text(wire)
        })
        .collect();
    assert!(texts[1].contains("welcome") && texts[2].contains("too many new connections"), "{texts:?}");
    server.stage.end();
}

#[test]
fn history_of_a_room_is_evicted_by_the_new_rules_alone() {
    let mut server = Reloadable::new("", "--rate off --announce-max 0");
    let ann = server.stage.join("ann");
    (0..9).for_each(|number| server.stage.say(ann, &format!("{number}")));
    server.stage.run();
    for (file, shown) in [
        ("history = 3\n[rooms.lobby]\nhistory = 8", 8),
        // The other way round, the room loses its own number.
        ("history = 7", 7),
        ("history = 1\n[rooms.lobby]\nhistory = 6", 6),
        ("history = 9\n[rooms.lobby]\nhistory = 5", 5),
    ] {
        server.reload(file);
        let wire = server.stage.join(&format!("bob-{shown}"));
        assert_eq!(server.stage.text(wire).matches("ann: ").count(), shown, "{file}");
    }
    server.reload("history-memory = 0");
    server.stage.end();
}
