//! Lines of programs: piped, or typed character by character. Also connections that send nothing or another protocol.

use std::io::Write;
use std::net::TcpStream;

use crate::harness::{Client, Server};
use crate::programs::{Person, shell};

#[test]
fn connections_that_send_nothing_leave_no_line_in_the_log() {
    for flags in ["", "--guests"] {
        let server = Server::start(flags);
        let mut ann = server.client();
        ann.say(if flags.is_empty() { "ann" } else { "/nick ann" });
        ann.skip_to(if flags.is_empty() { "-- hello ann" } else { "-- you are now ann" });
        for _ in 0..20 {
            drop(TcpStream::connect(server.address()).unwrap());
        }
        let mut web = TcpStream::connect(server.address()).unwrap();
        web.write_all(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n\n/nick boss\nhello\n").unwrap();
        let line = server.log.wait_for("disconnect ");
        assert!(line.contains(r#"name="-" reason=http-request"#), "{line}");
        ann.say("/quit");
        ann.expect("-- bye");
        server.log.wait_for("reason=quit");
        let log = server.stop();
        let count = |word: &str| log.lines().filter(|line| line.contains(word)).count();
        assert_eq!((count("] connect "), count("] disconnect ")), (1, 2), "{log}");
    }
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn scripts_that_ask_for_the_same_name_all_get_their_lines_through() {
    let server = Server::start("--max-per-ip off");
    let mut bob = server.join("bob");
    let _ci = server.join("ci");
    let port = server.port();
    let line = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do printf \"ci\\njob $i is green\\n\" | nc -N 127.0.0.1 {port} & done; \
         {{ echo ci; echo job 11 is green; }} | nc -N 127.0.0.1 {port}; \
         {{ echo ci; sleep 0.02; echo job 12 is green; }} | nc -N 127.0.0.1 {port}; wait"
    );
    assert!(shell("nc", &line).status.success());
    let mut received: Vec<String> = (1..=12).map(|_| bob.skip_to("guest-")).collect();
    received.sort_by_key(|line| line.split(' ').nth(2).and_then(|number| number.parse::<u32>().ok()));
    for (number, line) in received.iter().enumerate() {
        assert!(line.starts_with("guest-"), "{line}");
        assert!(line.ends_with(&format!(": job {} is green", number + 1)), "{line}");
    }
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn long_pipe_with_a_taken_name_is_delivered_to_its_end() {
    let server = Server::start("--rate off");
    let mut bob = server.join("bob");
    let _ci = server.join("ci");
    let line = format!("{{ echo ci; sleep 0.02; seq 1 2000; }} | nc -N 127.0.0.1 {}", server.port());
    assert!(shell("nc", &line).status.success());
    bob.expect("-- ci joined");
    bob.expect("-- guest-3 joined");
    for n in 1..=2_000 {
        bob.expect(&format!("guest-3: {n}"));
    }
    bob.expect("-- guest-3 left");
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn person_with_a_taken_name_is_asked_again() {
    let server = Server::start("");
    let _bob = server.join("bob");
    let mut person = Person::at("nc", &["127.0.0.1", &server.port()]);
    person.sees("-- welcome to chinwag. what's your name?");
    person.types("bob");
    person.sees("-- the name bob is taken. what's your name?");
    person.types("robert");
    person.sees("-- hello robert. you are in #lobby with bob. /help lists the commands");
}

#[test]
#[ignore = "needs curl"]
fn curl_at_the_line_listener_is_told_the_right_one() {
    let answer = |flags: &str, curl: &str| {
        let server = Server::start(flags);
        let mut ann = server.client();
        ann.say(if flags.is_empty() { "ann" } else { "/nick ann" });
        ann.skip_to(if flags.is_empty() { "-- hello ann" } else { "-- you are now ann" });
        let output = shell("curl", &format!("{curl} http://127.0.0.1:{}/", server.port()));
        ann.say("/who");
        ann.expect("-- in #lobby: ann");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    const HINT: &str = "browsers and curl use the HTTP listener: port 7712, unless --http says another";
    let forged = r"--http0.9 --data-binary '
/nick boss
hello'";
    assert!(answer("", &format!("curl -s {forged}")).contains(HINT));
    assert!(answer("", "curl -s --http0.9 -X x-any").contains(HINT));
    // Guests are sent nothing before, so the answer is one that every client understands.
    assert!(answer("--guests", "curl -sw '%{http_code}'").ends_with(&format!("{HINT}\n400")));
}

#[test]
fn nc_at_the_http_listener_is_told_the_right_one() {
    const REFUSAL: &str = "{\"error\":{\"code\":\"bad_request\",\"text\":\"that is no HTTP request. \
                           nc and telnet use the listener for lines: port 7711";
    let server = crate::harness::Launch::new("--http 127.0.0.1:0").with_listeners().start();
    for line in ["ann", "ann\r", "hello all\r", "/nick ann"] {
        let mut client = Client::connect(server.http_address());
        client.say(line);
        client.skip_to(REFUSAL);
    }
}

#[test]
#[ignore = "needs telnet"]
fn lines_typed_in_telnets_character_mode_are_edited() {
    let server = Server::start("");
    let mut bob = server.join("bob");
    let mut person = Person::at("telnet", &["127.0.0.1", &server.port()]);
    person.sees("-- welcome to chinwag. what's your name?");
    person.presses_control(']');
    person.sees("telnet> ");
    person.types("mode character");
    // Telnet sends each key by itself, and Enter as CR NUL.
    person.presses("anm\u{7f}n\r");
    bob.expect("-- ann joined");
    person.presses("hellp\u{8}o");
    person.presses_control(']');
    person.sees("telnet> ");
    person.types("send ec");
    person.presses("o there\r");
    bob.expect("ann: hello there");
    person.presses("nonsense");
    person.presses_control(']');
    person.sees("telnet> ");
    person.types("send el");
    person.presses("sense\r");
    bob.expect("ann: sense");
}
