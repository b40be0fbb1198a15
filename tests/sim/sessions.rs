//! Sessions by JSON Web Token on the virtual clock: the warning, the end, and the renewal, in every dialect. And logins in
//! pipes.

use std::fs;
use std::time::Duration;

use chinwag::net::{Net, Signal};
use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use tempfile::TempDir;

use crate::socket::{CLOSE, Socket, handshake};
use crate::stage::Stage;
use crate::web::{ask, ask_once, get, post};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The token of ann's account is `a`.
const CONFIG: &str = "jwt-key = \"key\"\n[rooms.members]\nenter = \"user\"\n[accounts.ann]\n\
    token = \"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\"\n";

/// A server that accepts tokens that the test signs.
struct Trusting {
    stage: Stage,
    folder: TempDir,
}

impl Trusting {
    fn new() -> Trusting {
        Trusting::with("")
    }

    /// A server with further flags.
    fn with(flags: &str) -> Trusting {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, key) = (folder.path().join("chinwag.toml"), folder.path().join("key"));
        fs::write(&key, KEY).expect("a file");
        fs::write(&config, CONFIG).expect("a file");
        // The virtual sockets answer no ping.
        let flags = format!("--rate off --ping-interval 2h --config {} {flags}", config.display());
        Trusting { stage: Stage::new(&flags), folder }
    }

    /// Replaces a file, and has all files read again.
    fn replace(&mut self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("a file");
        self.stage.world().signal(Signal::Reload);
        self.stage.run();
    }

    /// A token that expires so many seconds from now.
    fn token(&mut self, name: &str, seconds: u64) -> String {
        self.token_with(name, seconds, "")
    }

    /// The same with further claims.
    fn token_with(&mut self, name: &str, seconds: u64, further: &str) -> String {
        let expires = self.stage.world().unix_millis() / 1000 + seconds;
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let claims = format!(r#"{{"sub":"{name}","exp":{expires}{further}}}"#);
        let message = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(&claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), message.as_bytes());
        format!("{message}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }

    fn login(&mut self, token: &str) -> Wire {
        let wire = self.stage.connect();
        self.stage.run();
        self.stage.say(wire, &format!("/login {token}"));
        self.stage.run();
        wire
    }

    fn open(&mut self, path: &str, token: &str) -> Socket {
        Socket::open(&mut self.stage, &format!("{path}token={token}"))
    }

    fn follow(&mut self, token: &str) -> Wire {
        let tail = self.stage.connect_http();
        let answer = ask(&mut self.stage, tail, &get(&format!("/rooms/members/events?token={token}")));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        tail
    }

    fn pass(&mut self, seconds: u32) {
        self.stage.pass(seconds * SECOND);
    }
}

fn request(token: &str) -> String {
    format!(r#"{{"type":"login","token":"{token}"}}"#)
}

#[test]
fn session_is_warned_at_its_end_and_closed_30_seconds_later() {
    let mut trusting = Trusting::new();
    let token = trusting.token("bea", 60);
    let line = trusting.login(&token);
    let mut json = trusting.open("/ws?room=members&", &token);
    let mut raw = trusting.open("/raw/members?", &token);
    let tail = trusting.follow(&token);
    json.texts(&mut trusting.stage);
    trusting.stage.unread(line);
    // The line client has a guest name, since the newer sessions are of the same account.
    let other = trusting.stage.join("cy");
    trusting.stage.unread(line);
    trusting.pass(59);
    assert_eq!(trusting.stage.unread(line), Vec::<String>::new());
    let sent = json.texts(&mut trusting.stage).concat();
    assert!(!sent.contains("expiring"), "{sent}");
    trusting.pass(1);
    let warning = "-- your session ends in 30 s. /login with a new token to stay";
    trusting.stage.expect(line, &[warning]);
    let sent = json.texts(&mut trusting.stage).concat();
    assert!(sent.contains(r#"{"type":"expiring","in":30}"#), "{sent}");
    trusting.pass(29);
    assert_eq!(trusting.stage.unread(line), Vec::<String>::new());
    assert!(!json.texts(&mut trusting.stage).concat().contains("bye"));
    assert!(raw.frames(&trusting.stage).iter().all(|(opcode, _)| *opcode != CLOSE));
    assert!(!trusting.stage.text(tail).contains("bye"));
    trusting.pass(1);
    trusting.stage.expect_contains(line, "-- your session has expired. log in again");
    trusting.stage.expect(other, &["-- guest-3 left (session expired)"]);
    assert_eq!(json.closed(&mut trusting.stage).0, 1008);
    let (code, reason) = raw.closed(&mut trusting.stage);
    assert_eq!((code, reason.as_str()), (1008, "your session has expired. log in again"));
    let events = trusting.stage.text(tail);
    assert!(events.contains("event: bye") && events.contains("your session has expired"), "{events}");
    trusting.stage.end();
}

#[test]
fn fresh_token_keeps_a_warned_session() {
    let mut trusting = Trusting::new();
    let (short, other) = (trusting.token("bea", 60), trusting.token("cy", 60));
    let (line, mut json) = (trusting.login(&short), trusting.open("/ws?room=members&", &other));
    trusting.pass(75);
    let (fresh, fresh_other) = (trusting.token("bea", 3_600), trusting.token("cy", 3_600));
    trusting.stage.unread(line);
    trusting.stage.say(line, &format!("/login {fresh}"));
    json.texts(&mut trusting.stage);
    json.say(&mut trusting.stage, &request(&fresh_other));
    trusting.stage.run();
    trusting.stage.expect(line, &["-- you are logged in as bea (user)"]);
    let sent = json.texts(&mut trusting.stage).concat();
    assert!(sent.contains(r#""type":"login","name":"cy""#), "{sent}");
    trusting.pass(3_599);
    assert_eq!(trusting.stage.unread(line), Vec::<String>::new());
    let sent = json.texts(&mut trusting.stage).concat();
    assert!(!sent.contains("bye") && !sent.contains("expiring"), "{sent}");
    trusting.pass(1);
    trusting.stage.expect_contains(line, "-- your session ends in 30 s");
    assert!(json.texts(&mut trusting.stage).concat().contains("expiring"));
    trusting.stage.end();
}

#[test]
fn session_that_is_renewed_early_is_not_warned_at_its_old_end() {
    let mut trusting = Trusting::new();
    let short = trusting.token("bea", 60);
    let line = trusting.login(&short);
    trusting.pass(30);
    let fresh = trusting.token("bea", 600);
    trusting.stage.say(line, &format!("/login {fresh}"));
    trusting.stage.run();
    trusting.stage.unread(line);
    trusting.pass(599);
    assert_eq!(trusting.stage.unread(line), Vec::<String>::new());
    trusting.pass(1);
    trusting.stage.expect_contains(line, "-- your session ends in 30 s");
    trusting.stage.end();
}

#[test]
fn failed_renewal_leaves_the_session_to_its_end() {
    let mut trusting = Trusting::new();
    let short = trusting.token("bea", 60);
    let line = trusting.login(&short);
    trusting.pass(61);
    trusting.stage.say(line, &format!("/login {short}"));
    trusting.stage.run();
    assert!(trusting.stage.text(line).contains("the token has expired"));
    trusting.stage.say(line, "/who");
    trusting.stage.run();
    assert!(trusting.stage.text(line).contains("in #lobby: bea"));
    trusting.pass(29);
    trusting.stage.expect_contains(line, "-- your session has expired");
    trusting.stage.end();
}

#[test]
fn token_of_a_closed_client_leaves_no_deadline() {
    let mut trusting = Trusting::new();
    let short = trusting.token("bea", 60);
    let line = trusting.login(&short);
    trusting.stage.say(line, "/quit");
    trusting.pass(1);
    let again = trusting.stage.join("dan");
    trusting.pass(120);
    assert!(!trusting.stage.text(again).contains("session"));
    trusting.stage.end();
}

#[test]
fn another_key_keeps_sessions_to_their_end() {
    let mut trusting = Trusting::new();
    let token = trusting.token("bea", 600);
    let line = trusting.login(&token);
    trusting.replace("key", &KEY.replace('0', "x"));
    let late = trusting.login(&token);
    assert!(trusting.stage.text(late).contains("the name or the token is wrong"));
    trusting.stage.say(line, "/who");
    trusting.stage.run();
    assert!(trusting.stage.text(line).contains("in #lobby: bea"));
    trusting.pass(630);
    trusting.stage.expect_contains(line, "-- your session has expired");
    trusting.stage.end();
}

#[test]
fn sessions_by_web_token_end_with_the_key_and_others_go_on() {
    let mut trusting = Trusting::new();
    let token = trusting.token("bea", 600);
    let (web, account) = (trusting.login(&token), trusting.login("a"));
    let without_key = CONFIG.replace("jwt-key", "# jwt-key");
    trusting.replace("chinwag.toml", &without_key);
    trusting.stage.expect_contains(web, "-- your session has expired. log in again");
    trusting.stage.say(account, "/who");
    trusting.stage.run();
    assert!(trusting.stage.text(account).contains("in #lobby: ann"));
    trusting.stage.end();
}

/// The line behind the name of an account may be its token, also while another session of it has the name.
#[test]
fn token_in_a_pipe_is_shown_to_nobody_while_its_owner_is_there() {
    let mut trusting = Trusting::new();
    let stage = &mut trusting.stage;
    let (bob, first) = (stage.join("bob"), stage.connect());
    stage.send(first, b"ann\na\n");
    stage.run();
    let pipe = stage.connect();
    stage.send(pipe, b"ann\na\nhello\n");
    stage.pass(2 * SECOND);
    stage.expect_contains(bob, "ann: hello");
    stage.expect_contains(first, "-- you are now guest-");
    // Behind a refused name too.
    let pasted = stage.connect();
    stage.run();
    stage.say(pasted, "bob");
    stage.pass(2 * SECOND);
    stage.send(pasted, b"ann\na\nhello again\n");
    stage.pass(2 * SECOND);
    stage.expect_contains(bob, "ann: hello again");
    let shown = stage.text(bob);
    assert!(!shown.contains(": a\n") && !shown.contains(": ann"), "{shown}");
    trusting.stage.end();
}

#[test]
fn line_client_whose_token_names_rooms_has_one_of_them_as_its_home() {
    let mut trusting = Trusting::new();
    let rooms = r#","rooms":{"radio":"write"}"#;
    let token = trusting.token_with("bea", 60, rooms);
    let line = trusting.login(&token);
    trusting.stage.expect_contains(line, "-- hello bea. you are alone in #radio. ");
    for (request, answer) in [
        ("/leave", "-- you are in #radio already"),
        ("/join lobby", "-- you may not enter #lobby"),
        ("/join members", "-- you may not enter #members"),
    ] {
        trusting.stage.unread(line);
        trusting.stage.say(line, request);
        trusting.stage.run();
        let lines = trusting.stage.unread(line);
        assert!(lines[0].starts_with(answer), "{request}: {lines:?}");
    }
    // The lobby comes before all others.
    let token = trusting.token_with("eve", 60, r#","rooms":{"board":"write","lobby":"read"}"#);
    let line = trusting.login(&token);
    trusting.stage.expect_contains(line, "-- hello eve. you are alone in #lobby. ");
    let nowhere = trusting.token_with("cy", 60, r#","rooms":{}"#);
    let line = trusting.login(&nowhere);
    trusting.stage.expect_contains(line, "-- you may not");
    trusting.stage.end();
}

#[test]
fn web_token_whose_subject_looks_like_an_account_is_refused_at_every_listener() {
    let mut trusting = Trusting::new();
    let bob = trusting.stage.join("bob");
    // The first letter is Cyrillic.
    let token = trusting.token("аnn", 600);
    let line = trusting.login(&token);
    trusting.stage.expect_contains(line, "the name or the token is wrong");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let requests = [
        post("/rooms/lobby/messages", &bearer, "hi"),
        post("/rooms/lobby/messages?from=zoe", &bearer, "hi"),
        get(&format!("/rooms/members/events?token={token}")),
        handshake(&format!("/raw/lobby?token={token}"), ""),
        get("/rooms/members/messages").replacen("Host:", &format!("{bearer}Host:"), 1),
    ];
    for request in requests {
        let answer = ask_once(&mut trusting.stage, &request);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{request} {answer}");
    }
    let mut json = trusting.open("/ws?room=lobby&", &token);
    let sent = json.texts(&mut trusting.stage).concat();
    assert!(sent.contains("login_failed") && !sent.contains("joined"), "{sent}");
    assert!(!trusting.stage.text(bob).contains(": hi"));
    trusting.stage.end();
}

#[test]
fn web_token_that_expires_in_the_queue_does_not_log_in() {
    let mut trusting = Trusting::with("--max-clients 1");
    let bob = trusting.stage.join("bob");
    let token = trusting.token("bea", 60);
    let mut json = trusting.open("/ws?room=lobby&", &token);
    let mut raw = trusting.open("/raw/lobby?", &token);
    trusting.pass(61);
    trusting.stage.say(bob, "/quit");
    trusting.pass(20);
    let sent = json.texts(&mut trusting.stage).concat();
    assert!(sent.contains("login_failed") && !sent.contains(r#""type":"login""#), "{sent}");
    assert_eq!(raw.closed(&mut trusting.stage).0, 1008);
    trusting.stage.end();
}

#[test]
fn mute_of_an_account_of_another_application_is_lifted_while_it_is_away() {
    let mut trusting = Trusting::new();
    let tokens = [("kim", ""), ("mod", r#","role":"moderator""#)];
    let [kim, moderator] = tokens.map(|(name, role)| trusting.token_with(name, 3_600, role));
    let (line, moderator) = (trusting.login(&kim), trusting.login(&moderator));
    let ask = |trusting: &mut Trusting, request: &str, answer: &str| {
        trusting.stage.unread(moderator);
        trusting.stage.say(moderator, request);
        trusting.stage.run();
        let lines = trusting.stage.unread(moderator);
        assert!(lines.iter().any(|line| line == answer), "{request}: {lines:?}");
    };
    ask(&mut trusting, "/mute kim", "-- kim is muted until a moderator lifts it");
    trusting.stage.say(line, "/quit");
    trusting.stage.run();
    ask(&mut trusting, "/unmute KIM", "-- kim may speak again");
    ask(&mut trusting, "/unmute kim", "-- nobody is called kim. /who lists the names");
    let line = trusting.login(&kim);
    trusting.stage.say(line, "hi");
    trusting.stage.run();
    trusting.stage.expect_contains(moderator, "kim: hi");
    trusting.stage.end();
}

#[test]
fn moderator_of_another_application_acts_on_no_role_that_is_not_below_its_own() {
    let mut trusting = Trusting::new();
    let roles = [("kim", r#","role":"moderator""#), ("boss", r#","role":"admin""#)];
    let [kim, boss] = roles.map(|(name, role)| {
        let token = trusting.token_with(name, 3_600, role);
        trusting.login(&token)
    });
    let stage = &mut trusting.stage;
    // The names of both are none of an account.
    stage.say(kim, "/nick foo");
    stage.say(boss, "/nick jo");
    stage.run();
    stage.say(boss, "/mute foo");
    stage.run();
    for (line, answer) in [
        ("/unmute kim", "-- kim is moderator, and you can only act on roles below your own"),
        ("/ban boss", "-- boss is admin, and you can only act on roles below your own"),
    ] {
        stage.unread(kim);
        stage.say(kim, line);
        stage.expect(kim, &[answer]);
    }
    trusting.stage.end();
}
