//! The log of the loop: each refusal, login and end has its line, and a flood of refusals has one a second.

use std::cell::RefCell;
use std::time::Duration;

use crate::socket::Socket;
use crate::stage::{Stage, WIDE};
use crate::web::{ask_once, get, post};

const SECOND: Duration = Duration::from_secs(1);
const ADDRESS: &str = "10.0.0.1";
const PROXY: &str = "10.9.0.1";

thread_local! {
    /// The log of this thread, while a test captures it.
    static LOG: RefCell<Option<String>> = const { RefCell::new(None) };
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        LOG.with_borrow(Option::is_some)
    }

    fn log(&self, record: &log::Record<'_>) {
        LOG.with_borrow_mut(|log| {
            if let Some(log) = log {
                log.push_str(&format!("{} {}\n", record.level(), record.args()));
            }
        });
    }

    fn flush(&self) {}
}

/// Captures the log of this thread from now on. Each line begins with its level.
pub fn capture() {
    // Another test of this process may have set it.
    let _ = log::set_logger(&Capture);
    log::set_max_level(log::LevelFilter::Trace);
    LOG.set(Some(String::new()));
}

/// Ends the capture.
pub fn end_capture() {
    LOG.set(None);
}

/// Returns the lines since the last call.
pub fn take_log() -> String {
    LOG.with_borrow_mut(|log| log.as_mut().map_or_else(String::new, std::mem::take))
}

/// Returns the lines since the last call that begin with `start`, without lines of the lowest levels.
pub fn lines(start: &str) -> Vec<String> {
    let log = take_log();
    let lines = log.lines().filter(|line| !line.starts_with("DEBUG") && !line.starts_with("TRACE"));
    lines
        .filter(|line| line.split_once(' ').is_some_and(|(_, text)| text.starts_with(start)))
        .map(String::from)
        .collect()
}

/// The header of the PROXY protocol for a client at that address.
fn header(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 198.51.100.1 4711 7711\r\n").into_bytes()
}

#[test]
fn refusals_of_an_address_are_logged_once_a_second_with_their_number() {
    let flags = "--max-per-ip 1 --trust-proxy 10.9.0.0/16";
    let connects: [fn(&mut Stage); 3] = [
        |stage| {
            stage.connect_from(Some(ADDRESS), WIDE);
        },
        |stage| {
            stage.connect_http_from(ADDRESS, WIDE);
        },
        |stage| {
            let wire = stage.connect_from(Some(PROXY), WIDE);
            stage.send(wire, &header(ADDRESS));
        },
    ];
    for (number, connect) in connects.into_iter().enumerate() {
        let mut stage = Stage::new(flags);
        connect(&mut stage);
        stage.run();
        capture();
        // Sixteen are sent the reason, and three are closed without it.
        (0..19).for_each(|_| {
            connect(&mut stage);
            stage.run();
        });
        let first = lines("refuse");
        let is_client = number != 1;
        let expected = format!(
            "INFO refuse id=1 peer={ADDRESS} reason=too-many-from-address others=0 clients={}",
            usize::from(is_client)
        );
        assert_eq!(first, [expected], "{number}");
        stage.pass(2 * SECOND);
        let rest = format!("INFO refuse peer={ADDRESS} others=18 clients={}", usize::from(is_client));
        assert_eq!(lines("refuse"), [rest], "{number}");
        stage.pass(2 * SECOND);
        assert_eq!(lines("refuse"), [""; 0], "{number}");
        assert_eq!(stage.server.metrics().refused, 19, "{number}");
        stage.end();
    }
    end_capture();
}

#[test]
fn clients_of_a_full_server_are_logged_as_they_wait_or_are_refused() {
    let mut stage = Stage::new("--max-clients 1 --max-waiting 1");
    stage.join("ann");
    capture();
    (0..2).for_each(|_| {
        stage.connect_from(Some(ADDRESS), WIDE);
    });
    stage.run();
    let log = take_log();
    assert!(log.contains("INFO wait id=1 peer=10.0.0.1 waiting=1 clients=1\n"), "{log}");
    assert!(log.contains("INFO refuse id=2 peer=10.0.0.1 reason=full others=0 clients=1\n"), "{log}");
    end_capture();
    stage.end();
}

#[test]
fn connection_that_ends_without_a_line_is_logged_below_the_default_level() {
    let mut stage = Stage::new("--trust-proxy 10.9.0.0/16");
    for address in [ADDRESS, PROXY] {
        capture();
        let probe = stage.connect_from(Some(address), WIDE);
        stage.run();
        stage.world().end(probe);
        stage.run();
        let log = take_log();
        assert!(log.contains("DEBUG disconnect without a line id="), "{address}: {log}");
        assert!(!log.contains("INFO disconnect"), "{address}: {log}");
    }
    let silent = stage.connect_from(Some(ADDRESS), WIDE);
    stage.run();
    stage.say(silent, "ann");
    stage.run();
    stage.world().end(silent);
    stage.run();
    let log = take_log();
    assert!(log.contains("INFO disconnect id=2 peer=10.0.0.1 name=\"ann\" reason=end-of-input "), "{log}");
    end_capture();
    stage.end();
}

#[test]
fn dropped_client_has_a_warning_with_its_queued_output() {
    let flags = "--rate off --write-buffer 8k --line-max 1k --write-buffer-soft off --stall-timeout off";
    let mut stage = Stage::new(flags);
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.stall(bob);
    capture();
    (0..17).for_each(|_| stage.say(ann, &"x".repeat(506)));
    stage.run_past_holds();
    assert_eq!(lines("drop"), ["WARN drop id=1 name=\"bob\" reason=buffer-full queued_bytes=8192 clients=1"]);
    end_capture();
    stage.end();
}

#[test]
fn failed_login_is_logged_with_its_address_and_without_its_token() {
    let mut stage = Stage::new("");
    let client = stage.connect_from(Some(ADDRESS), WIDE);
    stage.say(client, "ann");
    stage.run();
    capture();
    stage.say(client, "/login ann s3cret");
    stage.run();
    stage.expect_contains(client, "the name or the token is wrong");
    let log = take_log();
    assert!(log.contains("INFO login failed peer=10.0.0.1\n") && !log.contains("s3cret"), "{log}");
    end_capture();
    stage.end();
}

#[test]
fn request_has_no_line_of_the_default_level() {
    let mut stage = Stage::new("");
    capture();
    ask_once(&mut stage, &get("/healthz").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    stage.pass(2 * SECOND);
    let log = take_log();
    assert!(log.contains("DEBUG request done id=0 peer=local reason=answered"), "{log}");
    assert!(!log.contains("INFO "), "{log}");
    end_capture();
    stage.end();
}

#[test]
fn proxy_without_a_header_is_logged_with_the_problem() {
    let mut stage = Stage::new("--trust-proxy 10.9.0.0/16 --http-timeout 5s");
    let problem = |stage: &mut Stage, input: &[u8], ends: bool| {
        capture();
        let wire = stage.connect_from(Some(PROXY), WIDE);
        stage.send(wire, input);
        stage.run();
        if ends {
            stage.world().end(wire);
        }
        stage.pass(6 * SECOND);
        let lines = lines("PROXY header refused");
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].rsplit_once("proxy=10.9.0.1 problem=").expect("a problem").1.to_string()
    };
    assert_eq!(problem(&mut stage, b"ann\n", false), "missing");
    assert_eq!(problem(&mut stage, b"PROXY TCP4 nonsense\r\n", false), "malformed");
    assert_eq!(problem(&mut stage, b"\r\n", true), "incomplete");
    assert_eq!(problem(&mut stage, b"PROXY ", false), "timeout");
    end_capture();
    stage.end();
}

#[test]
fn action_of_a_moderator_is_logged_at_each_listener() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    // The token is `m`.
    let hash = "62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a";
    let account = format!("[accounts.mod]\nrole = \"moderator\"\ntoken = \"sha256:{hash}\"\n");
    std::fs::write(&file, account).expect("a file");
    let mut stage = Stage::new(&format!("--config {}", file.display()));
    for name in ["bob", "cy", "dan"] {
        stage.join(name);
    }
    let line = stage.connect();
    stage.run();
    stage.say(line, "/login mod m");
    let tab = Socket::open(&mut stage, "/ws?token=m");
    capture();
    stage.say(line, "/kick Bob spam");
    stage.run();
    tab.say(&mut stage, r#"{"type":"kick","name":"cy"}"#);
    stage.run();
    ask_once(&mut stage, &post("/admin/kick", "Authorization: Bearer m\r\n", r#"{"name":"dan"}"#));
    let expected = [("Bob", "spam"), ("cy", ""), ("dan", "")].map(|(target, reason)| {
        format!(r#"INFO moderation by="mod" action=kick target={target:?} reason={reason:?}"#)
    });
    assert_eq!(lines("moderation"), expected);
    end_capture();
    stage.end();
}
