//! The log has a line for each connect and disconnect, and none for messages.

use crate::harness::{Launch, Server};

/// Returns a line without its time.
fn said(line: &str) -> &str {
    line.split_once("] ").unwrap_or_else(|| panic!("no log line: {line:?}")).1
}

/// Returns the value of `key=` in a line.
fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let words = line.split(' ').filter_map(|word| word.split_once('='));
    let mut values = words.filter(|(name, _)| *name == key).map(|(_, value)| value);
    values.next().unwrap_or_else(|| panic!("no {key}: {line:?}"))
}

#[test]
fn log_has_one_line_for_each_connect_and_disconnect_and_none_for_a_message() {
    let server = Server::start("--rate off");
    let address = server.address();
    let mut ann = server.join("ann");
    let mut bob = server.join("bob");
    ann.expect("-- bob joined");
    for n in 1..=100 {
        bob.say(&n.to_string());
        ann.expect(&format!("bob: {n}"));
    }
    bob.say("/quit");
    bob.expect("-- bye");
    ann.expect("-- bob left");
    ann.end_input();
    ann.expect_end();
    server.log.wait_for("reason=end-of-input");

    let log = server.stop();
    let lines: Vec<_> = log.lines().map(said).collect();
    let [listening, _, ann_came, bob_came, bob_went, ann_went, ending, ended] = lines[..] else {
        panic!("{lines:#?}");
    };
    assert_eq!(listening, format!("listening listener=line address={address}"));
    assert_eq!([ann_came, bob_came].map(|line| value(line, "clients")), ["1", "2"]);
    assert_eq!([bob_went, ann_went].map(|line| value(line, "clients")), ["1", "0"]);
    for (came, went, name, reason, lines_in) in
        [(bob_came, bob_went, "\"bob\"", "quit", "102"), (ann_came, ann_went, "\"ann\"", "end-of-input", "1")]
    {
        assert!(came.starts_with("connect ") && went.starts_with("disconnect "), "{came}\n{went}");
        assert_eq!(value(came, "id"), value(went, "id"));
        assert_eq!(value(came, "peer"), "local");
        assert_eq!([value(went, "name"), value(went, "reason")], [name, reason]);
        assert_eq!(value(went, "lines_in"), lines_in);
        let seconds: f64 = value(went, "seconds").parse().unwrap();
        assert!((0.0..60.0).contains(&seconds), "{went}");
    }
    // Frames for ann: the prompt, the greeting, bob's join, his hundred lines and his leave.
    assert_eq!(value(ann_went, "frames_out"), "104");
    assert!(ending.starts_with("ending clients=0"), "{ending}");
    assert!(ended.starts_with("ended accepted=2 refused=0 lines_in=103 "), "{ended}");
}

#[test]
fn names_are_quoted_in_the_log() {
    let server = Server::start("");
    let mut ann = server.join(r#"a"reason=quit"#);
    ann.end_input();
    ann.expect_end();
    let line = server.log.wait_for("disconnect ");
    assert!(line.contains(r#"name="a\"reason=quit" reason=end-of-input"#), "{line}");
}

#[test]
fn log_can_be_turned_off() {
    let server = Server::start("--log off");
    server.join("ann");
    assert_eq!(server.stop(), "");
}

#[test]
fn level_is_that_of_rust_log_unless_there_is_a_flag() {
    for (flags, silent) in [("", true), ("--log info", false)] {
        let server = Launch::new(flags).env("RUST_LOG", "off").with_listeners().start();
        server.join("ann");
        assert_eq!(server.stop().is_empty(), silent, "{flags}");
    }
}
