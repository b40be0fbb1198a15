//! Lines from a client without a name: answers to the prompt, and lines that were sent before the prompt was read.

use std::time::Duration;

use crate::stage::{Stage, WIDE};
use crate::web::{ask_once, post};
use crate::world::{Weather, Wire};

const SECOND: Duration = Duration::from_secs(1);
const WELCOME: &str = "-- welcome to chinwag. what's your name?";
const TAKEN: &str = "-- the name ci is taken. what's your name?";

/// First lines that are refused, with the reason. The last letter of `ritа` is Cyrillic.
const REFUSED: [(&str, &str); 11] = [
    ("evil", "a moderator has banned that name until a moderator lifts it"),
    ("heck", "that was not sent: it has a word that is not allowed here"),
    ("ritа", "the name rita is registered. its owner logs in with /login rita TOKEN"),
    ("ci", "the name ci is taken"),
    ("CI", "the name CI is taken"),
    ("/nick ci", "the name ci is taken"),
    ("a b", "a name has no space in it"),
    ("chinwag", "that name is kept for the server, or looks like one that is: choose another"),
    ("a-name-that-is-longer-than-32-bytes", "a name has at most 32 bytes"),
    ("/nosuch", "there is no command /nosuch. /help lists the commands, //text says /text"),
    ("/nick", "usage: /nick NAME"),
];

/// Accounts and words that make names refused. The token of the moderator is `m`.
const RULES: &str = r#"
[filter]
words = ["heck"]
[accounts.rita]
token = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
[accounts.mod]
role = "moderator"
token = "sha256:62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a"
"#;

/// A server with bob, who reads everything, and with the owner of the name ci. The name evil is banned.
fn with_ci(flags: &str) -> (Stage, Wire) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    std::fs::write(&file, RULES).expect("a file");
    let flags = format!("--config {} {flags}", file.display());
    let (mut stage, bob) = in_weather(&flags, 1, Weather::default());
    let ban = post("/admin/ban", "Authorization: Bearer m\r\n", r#"{"target":"evil"}"#);
    assert!(ask_once(&mut stage, &ban).starts_with("HTTP/1.1 200 "));
    (stage, bob)
}

fn in_weather(flags: &str, seed: u64, weather: Weather) -> (Stage, Wire) {
    let mut stage = Stage::with_weather(&format!("--rate off {flags}"), seed, weather);
    let bob = stage.connect();
    let ci = stage.connect();
    stage.say(bob, "bob");
    stage.run();
    stage.say(ci, "ci");
    stage.run();
    stage.unread(bob);
    (stage, bob)
}

#[test]
fn piped_message_behind_a_refused_name_is_delivered_wherever_it_is_cut() {
    for (first, reason) in REFUSED {
        let input = format!("{first}\njob is green\nok\n");
        for cut in 0..=input.len() {
            for ended in [false, true] {
                let (mut stage, bob) = with_ci("");
                let script = stage.connect();
                stage.send(script, &input.as_bytes()[..cut]);
                stage.run();
                stage.send(script, &input.as_bytes()[cut..]);
                if ended {
                    stage.world().end(script);
                }
                stage.pass(SECOND);
                let mut received = vec!["-- guest-3 joined", "guest-3: job is green", "guest-3: ok"];
                received.extend(ended.then_some("-- guest-3 left"));
                assert_eq!(stage.unread(bob), received, "{first} cut at {cut}");
                stage.expect_contains(script, "-- hello guest-3. you are in #lobby with ");
                stage.expect_contains(script, &format!("-- {reason}\n"));
                assert!(!stage.text(script).contains(&format!("{reason}. what's")), "asked again");
            }
        }
    }
}

#[test]
fn segments_that_come_a_moment_later_are_no_answers() {
    for pause_millis in [1, 40, 200, 300] {
        let pause = Duration::from_millis(pause_millis);
        let (mut stage, bob) = with_ci("");
        let script = stage.connect();
        for piece in ["c", "i\n", "hel", "lo\n", "ok\n", "done\n"] {
            stage.send(script, piece.as_bytes());
            stage.pass(pause);
        }
        stage.pass(SECOND);
        stage.expect(bob, &["-- guest-3 joined", "guest-3: hello", "guest-3: ok", "guest-3: done"]);
        stage.end();
    }
}

#[test]
fn storms_do_not_change_the_lines_of_a_pipe() {
    for seed in 0..200 {
        let (mut stage, bob) = in_weather("", seed, Weather { accept_fails: 0, ..Weather::storm() });
        let script = stage.connect();
        stage.send(script, b"ci\r\nfail\r\nok 3\r\n/me waves\r\nlast");
        stage.world().end(script);
        stage.pass(5 * SECOND);
        let received = ["joined", "fail", "ok 3", "* guest-3 waves", "last", "left"];
        let lines = stage.unread(bob);
        assert_eq!(lines.len(), received.len(), "seed {seed}: {lines:?}");
        for (line, part) in lines.iter().zip(received) {
            assert!(line.contains("guest-3") && line.contains(part), "seed {seed}: {lines:?}");
        }
    }
}

#[test]
fn person_that_reads_the_refusal_gives_another_name() {
    let (mut stage, bob) = with_ci("");
    let person = stage.connect();
    stage.expect(person, &[WELCOME]);
    stage.say(person, "ci");
    stage.pass(SECOND);
    stage.expect(person, &[TAKEN]);
    for name in ["ci", "CI"] {
        stage.say(person, name);
        stage.pass(SECOND);
        stage.expect(person, &[&TAKEN.replace("ci", name)]);
    }
    stage.say(person, "/help");
    stage.run();
    assert_eq!(stage.unread(person).len(), 25, "commands are answered at once");
    stage.expect(bob, &[]);
    stage.say(person, "dan");
    stage.pass(SECOND);
    stage.expect(person, &["-- hello dan. you are in #lobby with bob, ci. /help lists the commands"]);
    stage.say(person, "hi");
    stage.expect(bob, &["-- dan joined", "dan: hi"]);
    stage.end();
}

#[test]
fn program_that_answers_the_second_prompt_at_once_gets_its_name() {
    let (mut stage, bob) = with_ci("");
    let program = stage.connect();
    stage.say(program, "ci");
    while stage.unread(program) != [TAKEN] {
        stage.pass(Duration::from_millis(1));
    }
    stage.say(program, "ci2");
    stage.pass(SECOND);
    stage.expect(bob, &["-- ci2 joined"]);
    stage.end();
}

#[test]
fn line_with_another_right_behind_it_is_no_answer() {
    for (behind, ends) in [("", true), ("\nyo\n", false), ("\nyo\n", true), ("\n\n", false)] {
        let (mut stage, bob) = with_ci("");
        let script = stage.connect();
        stage.say(script, "ci");
        stage.pass(SECOND);
        stage.send(script, b"green");
        stage.pass(SECOND);
        stage.send(script, behind.as_bytes());
        if ends {
            stage.world().end(script);
        }
        stage.pass(SECOND);
        let mut received = vec!["-- guest-3 joined", "guest-3: green"];
        received.extend(behind.contains("yo").then_some("guest-3: yo"));
        received.extend(ends.then_some("-- guest-3 left"));
        assert_eq!(stage.unread(bob), received, "{behind:?} {ends}");
    }
}

#[test]
fn messages_and_moves_in_front_of_a_name_are_carried_out_if_they_are_piped() {
    let table: [(&str, &[&str]); 5] = [
        ("//slash\nhello\n", &["-- guest-3 joined", "guest-3: /slash", "guest-3: hello", "-- guest-3 left"]),
        ("/me waves\n", &["-- guest-3 joined", "* guest-3 waves", "-- guest-3 left"]),
        ("/msg bob psst", &["-- guest-3 joined", "[guest-3] psst", "-- guest-3 left"]),
        ("/join dev\nhello\n", &["-- guest-3 joined", "-- guest-3 left"]),
        ("/help\nann\nhello\n", &["-- ann joined", "ann: hello", "-- ann left"]),
    ];
    for (input, received) in table {
        let (mut stage, bob) = with_ci("");
        let script = stage.connect();
        stage.send(script, input.as_bytes());
        stage.world().end(script);
        stage.pass(SECOND);
        stage.expect(bob, received);
    }
    // A client that waits for the reply gets the name.
    let (mut stage, bob) = with_ci("");
    let person = stage.connect();
    stage.say(person, "/join dev");
    stage.pass(SECOND);
    stage.expect_contains(
        person,
        "-- give your name first, or an empty line to be a guest. what's your name?",
    );
    stage.say(person, "dan");
    stage.pass(SECOND);
    stage.expect(bob, &["-- dan joined"]);
}

#[test]
fn refused_name_alone_is_only_refused() {
    for (first, reason) in REFUSED {
        for end in ["", "\n"] {
            let (mut stage, bob) = with_ci("");
            let script = stage.connect();
            stage.send(script, format!("{first}{end}").as_bytes());
            stage.world().end(script);
            stage.pass(SECOND);
            stage.expect(bob, &[]);
            stage.expect(script, &[WELCOME, &format!("-- {reason}. what's your name?")]);
            stage.end();
        }
    }
}

#[test]
fn name_longer_than_a_line_makes_a_guest() {
    let (mut stage, bob) = with_ci("--line-max 128");
    let script = stage.connect();
    stage.send(script, &b"x".repeat(3_000));
    stage.run();
    stage.send(script, b"xx\nhello\n");
    stage.expect(bob, &["-- guest-3 joined", "guest-3: hello"]);
    stage.expect_contains(script, "-- that line was not sent: it is over 128 bytes\n");
    stage.end();
}

#[test]
fn second_half_of_a_line_end_is_no_answer_and_no_message() {
    for second in ["\n", "\0"] {
        let (mut stage, bob) = with_ci("");
        let person = stage.connect();
        stage.send(person, b"ci\r");
        stage.run();
        stage.send(person, second.as_bytes());
        stage.pass(SECOND);
        stage.expect(person, &[WELCOME, TAKEN]);
        stage.send(person, b"ci\r");
        stage.pass(SECOND);
        stage.expect(person, &[TAKEN]);
        stage.send(person, second.as_bytes());
        stage.pass(SECOND);
        stage.send(person, b"\xff\xf1dan\r\xff\xf1");
        stage.pass(SECOND);
        stage.expect(bob, &["-- dan joined"]);
        stage.end();
    }
}

#[test]
fn line_typed_in_the_queue_is_sent_under_a_guest_name() {
    for ended in [false, true] {
        let (mut stage, bob) = with_ci("--max-clients 3");
        let dan = stage.join("dan");
        stage.unread(bob);
        let script = stage.connect();
        stage.send(script, b"ci\njob is green\n");
        if ended {
            stage.world().end(script);
        }
        stage.pass(SECOND);
        stage.say(dan, "/quit");
        stage.pass(SECOND);
        let mut received = vec!["-- dan left", "-- guest-4 joined", "guest-4: job is green"];
        received.extend(ended.then_some("-- guest-4 left"));
        assert_eq!(stage.unread(bob), received);
    }
    // A person that has typed a name is asked again.
    let (mut stage, bob) = with_ci("--max-clients 3");
    let dan = stage.join("dan");
    let person = stage.connect();
    stage.say(person, "ci");
    stage.pass(SECOND);
    stage.say(dan, "/quit");
    stage.pass(SECOND);
    stage.expect(person, &["-- the server is full. you are next, please wait", WELCOME, TAKEN]);
    stage.say(person, "eve");
    stage.pass(SECOND);
    stage.unread(bob);
    stage.expect_contains(person, "-- hello eve. ");
    stage.end();
}

#[test]
fn client_that_gives_only_refused_names_is_closed_in_the_end() {
    let (mut stage, bob) = with_ci("--name-timeout 10s");
    let person = stage.connect();
    for _ in 0..9 {
        stage.say(person, "ci");
        stage.pass(SECOND);
    }
    stage.pass(2 * SECOND);
    stage.expect_contains(person, "-- you gave no name in time");
    stage.expect(bob, &[]);
    stage.end();
}

#[test]
fn guests_join_at_once_with_all_lines_they_sent() {
    for cut in 0.."one\ntwo\n".len() {
        let mut stage = Stage::new("--guests --rate off");
        let bob = stage.connect();
        stage.pass(SECOND);
        stage.unread(bob);
        let script = stage.connect_from(None, WIDE);
        stage.send(script, &b"one\ntwo\n"[..cut]);
        stage.run();
        stage.send(script, &b"one\ntwo\n"[cut..]);
        stage.world().end(script);
        stage.expect(bob, &["-- guest-2 joined", "guest-2: one", "guest-2: two", "-- guest-2 left"]);
        stage.end();
    }
}

#[test]
fn second_half_of_a_line_end_is_no_input_behind_a_refused_name() {
    let (command, ends) = (&b"\xff\xf1"[..], [&b"\n"[..], b"\0", b""]);
    for second in ends.into_iter().map(<[u8]>::to_vec).chain(ends.map(|end| [command, end].concat())) {
        for is_whole in [true, false] {
            let (mut stage, _) = with_ci("");
            let ann = stage.connect();
            stage.run();
            stage.send(ann, b"ci\r");
            if !is_whole {
                stage.run();
            }
            stage.send(ann, &second);
            stage.pass(SECOND);
            let shown = format!("{} {is_whole}", second.escape_ascii());
            assert_eq!(stage.text(ann), format!("{WELCOME}\n{TAKEN}\n"), "{shown}");
            stage.say(ann, "ann");
            stage.pass(SECOND);
            stage.expect_contains(ann, "-- hello ann. ");
            stage.end();
        }
    }
}

#[test]
fn over_long_first_line_makes_a_guest_at_once() {
    for (bytes, end) in [(129, "\n"), (129, "\r\n"), (200, "\n"), (200, "")] {
        let (mut stage, _) = with_ci("--line-max 128");
        let ann = stage.connect();
        stage.run();
        stage.send(ann, format!("{}{end}", "x".repeat(bytes)).as_bytes());
        stage.run();
        stage.expect_contains(ann, "-- hello guest-3. ");
        stage.expect_contains(ann, "-- that line was not sent: it is over 128 bytes\n");
        stage.end();
    }
}

#[test]
fn input_without_the_end_of_a_line_does_not_extend_the_time_for_a_name() {
    for (flags, first, input) in
        [("--guests", "", &b"x"[..]), ("", "", b"x"), ("", "ci\n", b"\xff\xf1"), ("", "", b"\xff\xf1")]
    {
        let (mut stage, _) = with_ci(&format!("{flags} --name-timeout 10s"));
        let client = stage.connect();
        stage.send(client, first.as_bytes());
        for number in 0..33 {
            stage.send(client, input);
            stage.pass(Duration::from_millis(300));
            assert!(!stage.text(client).contains("no name in time"), "{flags} {first} after {number}");
        }
        stage.send(client, input);
        stage.pass(Duration::from_millis(300));
        stage.expect_contains(client, "-- you gave no name in time");
        stage.end();
    }
}

#[test]
fn silent_guest_enters_even_if_the_time_for_a_name_is_shorter_than_its_silence() {
    let mut stage = Stage::new("--guests --name-timeout 100ms");
    let client = stage.connect();
    stage.pass(SECOND);
    stage.expect_contains(client, "-- hello guest-1. ");
    stage.end();
}
