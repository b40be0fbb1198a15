//! The examples of the guide and the README, replayed as they are printed there.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::shown::is_shown_as;
use crate::socket::Socket;
use crate::stage::Stage;
use crate::web::{ask, ask_once, get, post};
use crate::world::Wire;

const README: &str = include_str!("../../README.md");
const PROTOCOL: &str = include_str!("../../src/guide/protocol.md");

/// Longer than the server waits for more input before a line counts as an answer.
const A_MOMENT: Duration = Duration::from_millis(500);

/// Returns the code blocks of a page in that language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let start = format!("```{language}\n");
    page.split(start.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// A client in a transcript.
enum Actor {
    Line(Wire),
    Web(Socket),
}

/// The clients of a transcript by name, and the output of each that the transcript has not shown yet.
struct Cast {
    stage: Stage,
    actors: BTreeMap<String, Actor>,
    unread: BTreeMap<String, Vec<String>>,
}

impl Cast {
    fn new() -> Cast {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chinwag.toml");
        // The token is `mods-token`.
        let account = "[accounts.mod]\nrole = \"moderator\"\n\
            token = \"sha256:8bed825c57ca19458e1d82a21c6552dc2363c87d7d5770390b1d96e36bea1b6e\"\n";
        std::fs::write(&file, account).expect("a file");
        let stage = Stage::new(&format!("--rate off --registration --config {}", file.display()));
        Cast { stage, actors: BTreeMap::new(), unread: BTreeMap::new() }
    }

    /// Sends a line of a client; with `GET` the client connects to the HTTP listener.
    fn send(&mut self, who: &str, what: &str) {
        if let Some(path) = what.strip_prefix("GET ") {
            let socket = Socket::open(&mut self.stage, path);
            self.actors.insert(who.into(), Actor::Web(socket));
        } else {
            match self.actors.get(who).expect("a client that is connected") {
                Actor::Line(wire) => self.stage.say(*wire, what),
                Actor::Web(socket) => socket.say(&mut self.stage, what),
            }
        }
        self.read();
    }

    fn read(&mut self) {
        self.stage.pass(A_MOMENT);
        for (who, actor) in &mut self.actors {
            let new = match actor {
                Actor::Line(wire) => self.stage.unread(*wire),
                Actor::Web(socket) => socket.texts(&mut self.stage),
            };
            self.unread.entry(who.clone()).or_default().extend(new);
        }
    }

    /// Checks the next text that a client was sent. A client that is new connects to the line listener.
    #[track_caller]
    fn expect(&mut self, who: &str, shown: &str) {
        if !self.actors.contains_key(who) {
            let wire = self.stage.connect();
            self.actors.insert(who.into(), Actor::Line(wire));
            self.read();
        }
        let unread = self.unread.get_mut(who).expect("read");
        assert!(!unread.is_empty(), "{who} was not sent {shown:?}");
        let real = unread.remove(0);
        assert!(is_shown_as(&real, shown), "{who} was sent {real:?}, not {shown:?}");
    }
}

#[test]
fn transcripts_of_the_protocol_are_what_the_server_sends() {
    let transcripts: Vec<&str> =
        blocks(PROTOCOL, "text").into_iter().filter(|block| block.contains("> ")).collect();
    assert_eq!(transcripts.len(), 7, "lines, commands, names, JSON, accounts, raw and catching up");
    for transcript in transcripts {
        let mut cast = Cast::new();
        for line in transcript.lines().filter(|line| !line.is_empty()) {
            let (who, rest) = line.split_at(line.find(['<', '>']).expect("a direction"));
            match rest.strip_prefix("> ") {
                Some(what) => cast.send(who, what),
                None => cast.expect(who, rest.strip_prefix("< ").expect("a direction")),
            }
        }
        let unread: Vec<_> = cast.unread.iter().filter(|(_, unread)| !unread.is_empty()).collect();
        assert!(unread.is_empty(), "the transcript leaves out {unread:?}");
    }
}

#[test]
fn event_of_the_protocol_is_what_the_server_sends() {
    let shown =
        blocks(PROTOCOL, "text").into_iter().find(|block| block.starts_with("id: ")).expect("an event");
    let mut stage = Stage::new("");
    let publish = |stage: &mut Stage| drop(ask_once(stage, &post("/rooms/dev/messages", "", "hello")));
    (0..2).for_each(|_| publish(&mut stage));
    let tail = stage.connect_http();
    ask(&mut stage, tail, &get("/rooms/dev/events"));
    stage.unread(tail);
    publish(&mut stage);
    let lines = stage.unread(tail);
    assert_eq!((lines.len(), lines[2].as_str()), (3, ""), "{lines:?}");
    for (line, shown) in lines.iter().zip(shown.lines()) {
        assert!(is_shown_as(line, shown), "{line:?} is not {shown:?}");
    }
}

#[test]
fn two_terminals_of_the_readme_show_what_the_server_sends() {
    let mut terminals: Vec<_> = blocks(README, "console")
        .into_iter()
        .filter(|block| block.starts_with("$ nc localhost 7711"))
        .map(|block| block.lines().skip(1).peekable())
        .collect();
    assert_eq!(terminals.len(), 2);
    let (mut stage, mut wires) = (Stage::new(""), Vec::new());
    let mut unread = [Vec::new(), Vec::new()];
    for _ in 0..terminals.len() * 2 {
        for (index, lines) in terminals.iter_mut().enumerate() {
            if wires.len() == index {
                wires.push(stage.connect());
            }
            // The terminal goes on until it shows a line that the server has not sent yet.
            loop {
                stage.pass(A_MOMENT);
                unread[index].extend(stage.unread(wires[index]));
                let Some(line) = lines.peek() else {
                    break;
                };
                let is_output = line.starts_with("-- ") || line.contains(": ");
                match is_output {
                    true if unread[index].is_empty() => break,
                    true => assert_eq!(unread[index].remove(0), *line),
                    false => stage.say(wires[index], line),
                }
                lines.next();
            }
        }
    }
    for (lines, unread) in terminals.iter_mut().zip(unread) {
        assert_eq!((lines.next(), unread), (None, Vec::<String>::new()));
    }
}

#[test]
fn every_command_is_in_the_guide() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    stage.say(ann, "/help");
    stage.run();
    let help = stage.unread(ann);
    assert!(help.len() >= 10, "{help:?}");
    for line in help {
        let usage = line.trim_start_matches("-- ").split("  ").next().unwrap();
        let listed = PROTOCOL.lines().any(|row| row.starts_with(&format!("| `{usage}` |")));
        assert!(listed, "protocol.md has no row for {usage:?}");
    }
}
