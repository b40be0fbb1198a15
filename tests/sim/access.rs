//! Access on a whole server: logins at each listener, bans by address, the state file, and sessions that a reload ends.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chinwag::net::Signal;
use tempfile::TempDir;

use crate::frames::{TEXT, frame};
use crate::socket::{Socket, handshake};
use crate::stage::{Stage, WIDE};
use crate::web::{ask, ask_once, get, post};
use crate::world::Wire;

/// The tokens are `a`, `b` and `m`.
const SECTIONS: &str = r#"
[accounts.ann]
role = "admin"
token = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
[accounts.bea]
token = "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
[accounts.mod]
role = "moderator"
token = "sha256:62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a"
[rooms.radio]
speak = ["mod"]
[rooms.staff]
enter = "moderator"
listed = false
"#;

struct Guarded {
    stage: Stage,
    folder: TempDir,
}

impl Guarded {
    /// A server with the accounts and rooms above.
    fn new(flags: &str) -> Guarded {
        Guarded::with(SECTIONS, flags)
    }

    fn with(sections: &str, flags: &str) -> Guarded {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("chinwag.toml"), sections).expect("a file");
        let stage = Guarded::start(&folder, flags);
        Guarded { stage, folder }
    }

    /// Changes the file and has the server read it with the next tick.
    fn change(&mut self, sections: &str) {
        fs::write(self.folder.path().join("chinwag.toml"), sections).expect("a file");
        self.stage.world().signal(Signal::Reload);
    }

    fn reload(&mut self, sections: &str) {
        self.change(sections);
        self.stage.run();
    }

    fn start(folder: &TempDir, flags: &str) -> Stage {
        let file = folder.path().join("chinwag.toml");
        let state = folder.path().join("state.json");
        Stage::new(&format!("{flags} --config {} --state {}", file.display(), state.display()))
    }

    fn state_file(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    /// Ends the server, and starts another one with the same files.
    fn restart(self, flags: &str) -> Guarded {
        let Guarded { stage, folder } = self;
        stage.end();
        let stage = Guarded::start(&folder, flags);
        Guarded { stage, folder }
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn token_is_taken_in_a_pipe_right_behind_the_name() {
    for flags in ["", "--access login"] {
        let mut guarded = Guarded::new(flags);
        let stage = &mut guarded.stage;
        let member = member_of(stage);
        let pipe = stage.connect();
        stage.say(pipe, "bea");
        stage.say(pipe, "b");
        stage.say(pipe, "hello");
        stage.pass(Duration::from_secs(2));
        let heard = stage.text(member);
        assert!(heard.contains("bea: hello") && !heard.contains("guest"), "{heard}");
        guarded.stage.end();
    }
}

#[test]
fn wrong_token_in_a_pipe_is_shown_to_nobody() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let bob = stage.join("bob");
    let pipe = stage.connect();
    stage.say(pipe, "bea");
    stage.say(pipe, "wrong-secret");
    stage.pass(Duration::from_secs(2));
    assert!(stage.text(pipe).contains("the name or the token is wrong"));
    assert!(!stage.text(bob).contains("wrong-secret"));
    guarded.stage.end();
}

#[test]
fn every_http_request_needs_its_right() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let (mine, wrong) = (bearer("m"), bearer("x"));
    for (request, expected) in [
        (get("/rooms/staff/messages"), "401"),
        (post("/rooms/radio/messages", "", "hi"), "401"),
        (post("/rooms/radio/messages", &wrong, "hi"), "401"),
        (post("/rooms/radio/messages", &bearer("b"), "hi"), "403"),
        (post("/rooms/radio/messages", &mine, "hi"), "202"),
        (post("/rooms/lobby/messages?from=bea", "", "hi"), "409"),
        (post("/rooms/lobby/messages?from=bea", &bearer("b"), "hi"), "202"),
        (post("/admin/kick", "", "{\"name\":\"x\"}"), "401"),
        (post("/admin/kick", &bearer("b"), "{\"name\":\"x\"}"), "403"),
        (post("/admin/kick", &mine, "{\"name\":\"x\"}"), "404"),
        (post("/admin/unmute", &mine, "{\"name\":\"x\"}"), "404"),
        (post("/admin/unregister", &bearer("a"), "{\"name\":\"x\"}"), "404"),
        (post("/admin/unban", &mine, "{\"target\":\"192.0.2.1\"}"), "404"),
        (post("/admin/ban", &mine, "{\"target\":\"ann\"}"), "403"),
        (post("/admin/ban", &mine, "{\"target\":\"192.0.2.1\"}"), "200"),
        (post("/admin/ban", &mine, "{\"target\":\"10.0.0/8\"}"), "400"),
        (get("/rooms/staff/events"), "401"),
        (get("/metrics"), "200"),
        (get("/healthz"), "200"),
    ] {
        let answer = ask_once(stage, &request);
        assert_eq!(status(&answer), expected, "{request} {answer}");
        let has_challenge = answer.to_ascii_lowercase().contains("www-authenticate: bearer");
        assert_eq!(has_challenge, expected == "401", "{request} {answer}");
    }
    guarded.stage.end();
}

/// Otherwise a stranger could have the server parse a body, and would be sent what is wrong with it.
#[test]
fn query_and_body_are_read_only_for_a_sender_with_the_right() {
    let mut guarded = Guarded::new("--access login");
    let stage = &mut guarded.stage;
    let json = "Content-Type: application/json\r\n";
    let requests: [(&str, &str, &str, [&str; 2]); 6] = [
        ("POST /admin/kick", "", "{", ["403", "400"]),
        ("POST /admin/ban", "", "{\"target\":\"10.0.0/8\"}", ["403", "400"]),
        ("POST /rooms/lobby/messages", json, "{", ["400", "400"]),
        ("POST /rooms/lobby/messages?from=a%20b", "", "hi", ["400", "400"]),
        ("GET /rooms/lobby/messages?limit=x", "", "", ["400", "400"]),
        ("GET /raw/lobby", "", "", ["426", "426"]),
    ];
    for (start, fields, body, [of_bea, of_mod]) in requests {
        let senders = [("", "401"), (&bearer("x"), "401"), (&bearer("b"), of_bea), (&bearer("m"), of_mod)];
        for (login, expected) in senders {
            let length = format!("Content-Length: {}\r\n", body.len());
            let request = format!("{start} HTTP/1.1\r\nHost: localhost\r\n{fields}{login}{length}\r\n{body}");
            let answer = ask_once(stage, &request);
            assert_eq!(status(&answer), expected, "{request} {answer}");
        }
    }
    guarded.stage.end();
}

#[test]
fn nothing_but_health_is_served_without_a_login() {
    let mut guarded = Guarded::new("--access login --metrics login");
    let stage = &mut guarded.stage;
    for (path, expected) in [
        ("/rooms", "401"),
        ("/rooms/lobby/messages", "401"),
        ("/rooms/lobby/events", "401"),
        ("/metrics", "401"),
        ("/healthz", "200"),
        ("/readyz", "200"),
        ("/", "200"),
        ("/client.js", "200"),
    ] {
        assert_eq!(status(&ask_once(stage, &get(path))), expected, "{path}");
    }
    let answer = ask_once(stage, &post("/rooms/lobby/messages", "", "hi"));
    assert_eq!(status(&answer), "401");
    guarded.stage.end();
}

#[test]
fn line_client_that_must_log_in_is_asked_and_closed_in_time() {
    let mut guarded = Guarded::new("--access login --guests --name-timeout 60s");
    let stage = &mut guarded.stage;
    let (late, good) = (stage.connect(), stage.connect());
    stage.run();
    for line in ["hello", "", "/who", "/join dev"] {
        stage.say(late, line);
        stage.pass(Duration::from_secs(1));
        assert!(stage.text(late).contains("that needs an account"), "{line:?}");
    }
    stage.say(good, "/login bea b");
    stage.pass(Duration::from_secs(1));
    assert!(stage.text(good).contains("hello bea"));
    stage.pass(Duration::from_secs(60));
    assert!(stage.text(late).contains("you gave no name in time"));
    stage.say(good, "/who");
    stage.run();
    assert!(stage.text(good).contains("in #lobby: bea"));
    guarded.stage.end();
}

#[test]
fn websocket_client_that_must_log_in_can_do_so_and_is_closed_in_time() {
    let mut guarded = Guarded::new("--access login --name-timeout 20s");
    let stage = &mut guarded.stage;
    let mut late = Socket::open(stage, "/ws?room=lobby");
    let mut good = Socket::open(stage, "/ws?room=lobby");
    let sent = late.texts(stage).concat();
    assert!(sent.contains("login_required"), "{sent}");
    good.say(stage, r#"{"type":"login","token":"b"}"#);
    good.say(stage, r#"{"type":"join","room":"lobby"}"#);
    stage.run();
    let sent = good.texts(stage).concat();
    assert!(sent.contains(r#""type":"login","name":"bea""#) && sent.contains(r#""type":"joined""#), "{sent}");
    stage.pass(Duration::from_secs(21));
    let sent = late.texts(stage).concat();
    assert!(sent.contains("you did not log in in time"), "{sent}");
    good.say(stage, r#"{"type":"ping"}"#);
    stage.run();
    assert!(good.texts(stage).concat().contains("pong"));
    guarded.stage.end();
}

#[test]
fn token_in_the_address_of_a_websocket_logs_in() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let mut good = Socket::open(stage, "/ws?name=x&room=staff&token=m");
    let sent = good.texts(stage).concat();
    assert!(sent.contains(r#""type":"login","name":"mod""#), "{sent}");
    assert!(sent.contains(r#""type":"joined","room":"staff","name":"mod""#), "{sent}");
    let mut bad = Socket::open(stage, "/ws?room=lobby&token=x");
    let sent = bad.texts(stage).concat();
    assert!(sent.contains("login_failed") && !sent.contains("joined"), "{sent}");
    guarded.stage.end();
}

#[test]
fn sixth_failed_login_of_an_address_waits_a_second() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let mut outcomes = Vec::new();
    for _ in 0..6 {
        let wire = stage.connect_from(Some("10.0.0.1"), WIDE);
        stage.run();
        stage.say(wire, "/login bea x");
        stage.run();
        outcomes.push(stage.text(wire).contains("too many logins"));
    }
    assert_eq!(outcomes, [false, false, false, false, false, true]);
    stage.pass(Duration::from_secs(2));
    let wire = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.run();
    stage.say(wire, "/login bea b");
    stage.run();
    assert!(stage.text(wire).contains("hello bea"));
    guarded.stage.end();
}

#[test]
fn banned_guest_can_not_come_back_under_another_name() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let moderator = stage.join("max");
    stage.say(moderator, "/login mod m");
    let guest = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.run();
    stage.say(guest, "eve");
    stage.pass(Duration::from_secs(1));
    stage.say(moderator, "/ban eve 1h spam");
    stage.run();
    assert!(stage.text(moderator).contains("eve left (banned by mod: spam)"));
    let told = stage.text(guest);
    assert!(told.contains("mod has banned you for 60 min: spam"), "{told}");
    let again = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.run();
    assert!(stage.text(again).contains("a moderator has banned you"));
    let other = stage.connect_from(Some("10.0.0.2"), WIDE);
    stage.run();
    assert!(stage.text(other).contains("what's your name"));
    stage.pass(Duration::from_secs(3_600));
    let again = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.run();
    assert!(stage.text(again).contains("what's your name"));
    guarded.stage.end();
}

#[test]
fn ban_of_a_network_closes_its_clients_and_no_others() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let moderator = stage.join("max");
    stage.say(moderator, "/login mod m");
    let inside = stage.connect_from(Some("10.0.0.1"), WIDE);
    let unnamed = stage.connect_from(Some("10.0.1.2"), WIDE);
    let outside = stage.connect_from(Some("10.1.0.1"), WIDE);
    stage.run();
    stage.say(inside, "eve");
    stage.say(outside, "dan");
    stage.pass(Duration::from_secs(1));
    stage.say(moderator, "/ban 10.0.0.0/16");
    stage.run();
    assert!(stage.text(inside).contains("mod has banned you"));
    assert!(stage.text(unnamed).contains("a moderator has banned you"));
    assert!(!stage.text(outside).contains("banned you"));
    stage.say(moderator, "/unban 10.0.0.0/16");
    let again = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.run();
    assert!(stage.text(again).contains("what's your name"));
    guarded.stage.end();
}

#[test]
fn bans_and_registered_names_outlast_a_restart() {
    let mut guarded = Guarded::new("--registration");
    let stage = &mut guarded.stage;
    let moderator = stage.join("max");
    stage.say(moderator, "/login mod m");
    stage.say(moderator, "/ban eve");
    stage.say(moderator, "/ban 10.0.0.1");
    let owner = stage.join("zoe");
    stage.say(owner, "/register");
    stage.run();
    let shown = stage.text(owner);
    let token = shown.split("shown only once: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let token = token.expect("a token").to_string();
    let mut guarded = guarded.restart("--registration");
    let stage = &mut guarded.stage;
    let client = stage.connect();
    stage.run();
    stage.say(client, "eve");
    stage.pass(Duration::from_secs(1));
    assert!(stage.text(client).contains("has banned that name"));
    let banned = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.run();
    assert!(stage.text(banned).contains("a moderator has banned you"));
    stage.say(client, "zoe");
    stage.say(client, &token);
    stage.pass(Duration::from_secs(1));
    assert!(stage.text(client).contains("hello zoe"));
    guarded.stage.end();
}

#[test]
fn moderator_is_told_that_a_ban_could_not_be_written() {
    let mut guarded = Guarded::new("");
    let file = guarded.state_file();
    let stage = &mut guarded.stage;
    let moderator = stage.join("max");
    stage.say(moderator, "/login mod m");
    stage.run();
    // A folder in place of the new file makes every write fail, for the super-user too.
    let new_file = file.with_extension("json.new");
    fs::create_dir(&new_file).expect("a folder");
    stage.say(moderator, "/ban eve");
    stage.run();
    let told = stage.unread(moderator).concat();
    assert!(told.contains("could not be saved"), "{told}");
    let answer = ask_once(stage, &post("/admin/ban", &bearer("m"), "{\"target\":\"dan\"}"));
    assert_eq!(status(&answer), "507", "{answer}");
    fs::remove_dir(&new_file).expect("the folder");
    stage.say(moderator, "/ban zed");
    stage.run();
    assert!(!stage.unread(moderator).concat().contains("could not be saved"));
    let saved = fs::read_to_string(&file).expect("the file");
    assert!(saved.contains("eve") && saved.contains("dan") && saved.contains("zed"), "{saved}");
    guarded.stage.end();
}

#[test]
fn ignored_messages_are_left_out_and_the_others_of_the_same_tick_are_delivered() {
    let mut stage = Stage::new("--rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    let (cy, away) = (stage.join("cy"), stage.join("away"));
    stage.say(bob, "/ignore cy");
    stage.say(away, "/ignore cy");
    stage.say(away, "/join dev");
    stage.run();
    for wire in [ann, bob, cy, away] {
        stage.unread(wire);
    }
    stage.say(ann, "one");
    stage.say(cy, "two");
    stage.say(ann, "three");
    stage.say(cy, "four");
    stage.run();
    stage.expect(bob, &["ann: one", "ann: three"]);
    stage.expect(cy, &["ann: one", "ann: three"]);
    stage.expect(ann, &["cy: two", "cy: four"]);
    stage.expect(away, &[]);
    stage.end();
}

/// The sections above, with a part replaced.
fn sections_with(old: &str, new: &str) -> String {
    assert!(SECTIONS.contains(old), "{old}");
    SECTIONS.replace(old, new)
}

/// A room for moderators, in place of the last section above.
fn closed_room(room: &str) -> String {
    sections_with(
        "[rooms.staff]\nenter = \"moderator\"\n",
        &format!("[rooms.{room}]\nenter = \"moderator\"\n"),
    )
}

/// The sections above without the account bea.
fn without_bea() -> String {
    let (before, rest) = SECTIONS.split_once("[accounts.bea]").expect("bea");
    format!("{before}{}", &rest[rest.find("[accounts.mod]").expect("mod")..])
}

fn events(stage: &mut Stage, path: &str) -> Wire {
    let wire = stage.connect_http();
    stage.send(wire, get(path).as_bytes());
    stage.run();
    stage.expect_contains(wire, "HTTP/1.1 200 ");
    wire
}

fn bytes_of(stage: &Stage, wire: Wire) -> String {
    String::from_utf8_lossy(stage.raw(wire)).into_owned()
}

/// A client that has logged in as the moderator.
fn member_of(stage: &mut Stage) -> Wire {
    let wire = stage.connect();
    stage.run();
    stage.say(wire, "/login mod m");
    stage.pass(Duration::from_secs(1));
    stage.expect_contains(wire, "hello mod");
    wire
}

#[test]
fn guest_of_an_open_server_moderates_nothing() {
    let mut stage = Stage::new("");
    let (eve, bob) = (stage.join("eve"), stage.join("bob"));
    let mut tab = Socket::open(&mut stage, "/ws?name=tab&room=lobby");
    for line in
        ["/ban 10.0.0.0/8", "/ban zoe", "/unban zoe", "/bans", "/topic mine", "/kick bob", "/mute bob"]
    {
        stage.unread(eve);
        stage.say(eve, line);
        stage.run();
        let answer = stage.unread(eve).concat();
        assert!(answer.contains("that needs an account"), "{line}: {answer}");
    }
    tab.texts(&mut stage);
    tab.say(&mut stage, r#"{"type":"ban","target":"10.0.0.0/8"}"#);
    assert!(tab.texts(&mut stage).concat().contains("login_required"));
    let address = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.run();
    stage.expect_contains(address, "what's your name");
    assert!(!stage.text(bob).contains("mine"));
    stage.end();
}

#[test]
fn lobby_for_members_admits_no_guest() {
    for flags in ["", "--guests"] {
        let mut guarded = Guarded::with(&closed_room("lobby"), flags);
        let stage = &mut guarded.stage;
        let member = stage.connect();
        stage.run();
        stage.say(member, "/login mod m");
        stage.pass(Duration::from_secs(1));
        stage.expect_contains(member, "hello mod");
        stage.say(member, "an old secret");
        stage.run();
        let (named, silent) = (stage.connect(), stage.connect());
        stage.run();
        for line in ["/who", "eve", "", "hello", "/history", "/who", "/join dev", "/leave", "/join lobby"] {
            stage.say(named, line);
            stage.pass(Duration::from_secs(1));
        }
        stage.say(silent, "");
        stage.pass(Duration::from_secs(5));
        stage.say(member, "a new secret");
        stage.run();
        for guest in [named, silent] {
            let read = stage.text(guest);
            assert!(!read.contains("secret") && !read.contains("in lobby: mod"), "{read}");
            assert!(!read.contains("with mod"), "{read}");
        }
        assert!(!stage.text(member).contains("eve") && !stage.text(member).contains("guest-"));
        guarded.stage.end();
    }
}

#[test]
fn reload_that_closes_the_lobby_removes_its_guests() {
    let mut guarded = Guarded::new("");
    let guest = guarded.stage.join("eve");
    let elsewhere = guarded.stage.join("dan");
    guarded.stage.say(elsewhere, "/join dev");
    let mut tab = Socket::open(&mut guarded.stage, "/ws?name=tab&room=lobby");
    let member = guarded.stage.join("max");
    guarded.stage.say(member, "/login mod m");
    guarded.stage.run();
    guarded.reload(&closed_room("lobby"));
    guarded.stage.say(elsewhere, "/leave");
    guarded.stage.run();
    guarded.stage.say(member, "a secret");
    guarded.stage.run();
    for wire in [guest, elsewhere, tab.wire] {
        assert!(!bytes_of(&guarded.stage, wire).contains("a secret"));
    }
    assert!(guarded.stage.text(member).contains("tab left"));
    assert!(tab.texts(&mut guarded.stage).concat().contains("not_allowed"));
    guarded.stage.end();
}

#[test]
fn banned_address_is_refused_by_http_behind_proxies_too() {
    let mut guarded = Guarded::new("--trust-proxy 10.9.0.0/16");
    let stage = &mut guarded.stage;
    let answer = ask_once(stage, &post("/admin/ban", &bearer("m"), r#"{"target":"192.0.2.0/24"}"#));
    assert_eq!(status(&answer), "200");
    let hostile = "192.0.2.7";
    let direct = stage.connect_http_from(hostile, WIDE);
    assert_eq!(status(&ask(stage, direct, &get("/rooms"))), "403");
    let own = stage.connect_http_from("10.9.0.1", WIDE);
    for (address, expected) in [(hostile, "403"), ("192.0.3.7", "200")] {
        for path in ["/rooms", "/rooms/lobby/messages", "/rooms/lobby/events", "/", "/healthz"] {
            let wire = stage.connect_http_from("10.9.0.1", WIDE);
            let request = get(path).replacen("Host:", &format!("X-Forwarded-For: {address}\r\nHost:"), 1);
            let found = if path == "/rooms/lobby/messages" && expected == "200" { "404" } else { expected };
            let answer = ask(stage, wire, &request);
            assert!(status(&answer) == expected || status(&answer) == found, "{path} {address} {answer}");
        }
    }
    // A field of the client's own, which contradicts the proxy's, does not hide the address.
    let both = format!("X-Forwarded-For: {hostile}\r\nForwarded: for=192.0.3.7\r\nHost:");
    let wire = stage.connect_http_from("10.9.0.1", WIDE);
    assert_eq!(status(&ask(stage, wire, &get("/rooms").replacen("Host:", &both, 1))), "400");
    assert_eq!(status(&ask(stage, own, &get("/rooms"))), "200");
    for (address, is_banned) in [(hostile, true), ("192.0.3.7", false)] {
        let wire = stage.connect_from(Some("10.9.0.1"), WIDE);
        stage.send(wire, format!("PROXY TCP4 {address} 10.9.0.2 1 2\r\n").as_bytes());
        stage.run();
        assert_eq!(stage.text(wire).contains("a moderator has banned you"), is_banned);
        assert_eq!(stage.text(wire).contains("what's your name"), !is_banned);
    }
    guarded.stage.end();
}

/// Otherwise the page could not tell why its request was refused.
#[test]
fn refusals_behind_a_proxy_have_the_fields_for_the_origin() {
    let origin = "http://app.example";
    let mut guarded = Guarded::new(&format!("--trust-proxy 10.9.0.1 --max-per-ip 1 --origin {origin}"));
    let stage = &mut guarded.stage;
    let answer = ask_once(stage, &post("/admin/ban", &bearer("m"), r#"{"target":"192.0.2.7"}"#));
    assert_eq!(status(&answer), "200");
    let mut ask_behind = |path: &str, addresses: &str| {
        let wire = stage.connect_http_from("10.9.0.1", WIDE);
        let fields = format!("Origin: {origin}\r\n{addresses}\r\nHost:");
        ask(stage, wire, &get(path).replacen("Host:", &fields, 1))
    };
    let (banned, taken) = ("X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 192.0.2.1");
    ask_behind("/rooms/lobby/events", taken);
    for (addresses, expected, code) in [
        (banned, "403", "banned"),
        (taken, "429", "too-many-from-address"),
        ("X-Forwarded-For: nonsense", "400", "bad_forwarded"),
    ] {
        let answer = ask_behind("/rooms", addresses);
        assert!(status(&answer) == expected && answer.contains(code), "{answer}");
        for field in [&*format!("access-control-allow-origin: {origin}\r\n"), "vary: origin\r\n"] {
            assert!(answer.contains(field), "{answer}");
        }
    }
    guarded.stage.end();
}

#[test]
fn failed_logins_of_an_address_count_at_both_listeners() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let by_http = |stage: &mut Stage, address: &str, token: &str| {
        let wire = stage.connect_http_from(address, WIDE);
        let answer =
            ask(stage, wire, &get("/rooms").replacen("Host:", &format!("{}Host:", bearer(token)), 1));
        status(&answer).to_string()
    };
    for _ in 0..3 {
        assert_eq!(by_http(stage, "10.0.0.1", "x"), "401");
    }
    let line = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.run();
    stage.say(line, "/login bea x");
    stage.say(line, "/login bea y");
    stage.run();
    assert_eq!(by_http(stage, "10.0.0.1", "b"), "429");
    stage.say(line, "/login bea b");
    stage.run();
    stage.expect_contains(line, "too many logins");
    assert_eq!(by_http(stage, "10.0.0.2", "b"), "200");
    stage.pass(Duration::from_secs(2));
    assert_eq!(by_http(stage, "10.0.0.1", "b"), "200");
    for _ in 0..10 {
        assert_eq!(status(&ask_once(stage, &post("/rooms/lobby/messages", &bearer("x"), "hi"))), "401");
    }
    assert_eq!(status(&ask_once(stage, &post("/rooms/lobby/messages", &bearer("b"), "hi"))), "202");
    // A request with a token is no session, so it is no login.
    assert_eq!((stage.server.metrics().logins, stage.server.metrics().logins_failed), (0, 15));
    stage.pass(Duration::from_secs(5));
    stage.say(line, "/login bea b");
    stage.run();
    stage.expect_contains(line, "you are logged in as bea");
    assert_eq!((stage.server.metrics().logins, stage.server.metrics().logins_failed), (1, 15));
    guarded.stage.end();
}

#[test]
fn clients_of_a_room_closed_by_a_reload_get_no_further_message() {
    let mut guarded = Guarded::new("--rate off --write-buffer 8k --write-buffer-soft off --history-shown 0");
    let stage = &mut guarded.stage;
    let member = stage.join("max");
    stage.say(member, "/login mod m");
    stage.say(member, "/join dev");
    stage.run();
    (0..60).for_each(|number| stage.say(member, &format!("{number} {}", "x".repeat(900))));
    stage.run();
    let mut raw = Socket::open(stage, "/raw/dev?name=program");
    let sse = events(stage, "/rooms/dev/events");
    let position = bytes_of(stage, sse)
        .split("id: ")
        .nth(1)
        .expect("a position")
        .split('\n')
        .next()
        .unwrap()
        .to_string();
    let late = stage.connect_http();
    stage.world().set_window(late, 2_000);
    stage.set_eager(late, false);
    let (epoch, _) = position.rsplit_once([':', '/', '-', '.']).expect("an epoch");
    let first = position.replacen(&position[epoch.len() + 1..], "1", 1);
    let request = get("/rooms/dev/events").replacen("Host:", &format!("Last-Event-ID: {first}\r\nHost:"), 1);
    stage.send(late, request.as_bytes());
    stage.run();
    assert!(stage.server.chat().is_catching_up(stage.server.net().token(late).expect("a token").into()));
    let mut tab = Socket::open(stage, "/ws?name=tab&room=dev");
    let line = stage.join("eve");
    stage.say(line, "/join dev");
    stage.run();
    guarded.change(&closed_room("dev"));
    // The message is handled in the same tick, behind the reload.
    guarded.stage.say(member, "a secret");
    guarded.stage.run();
    let stage = &mut guarded.stage;
    stage.read_again(late);
    stage.run();
    for wire in [raw.wire, sse, late, tab.wire, line] {
        assert!(!bytes_of(stage, wire).contains("a secret"), "{}", bytes_of(stage, wire));
    }
    assert_eq!(raw.closed(stage), (1008, "you may not be in this room any more".into()));
    for wire in [sse, late] {
        let read = bytes_of(stage, wire);
        assert!(read.contains("event: bye") && read.contains("not be in this room"), "{read}");
    }
    assert!(!bytes_of(stage, late).contains("\"text\":\"59 "), "the rest of the history was sent");
    assert!(tab.texts(stage).concat().contains(r#""code":"not_allowed""#));
    assert!(stage.text(line).contains("you may not enter #dev"), "{}", stage.text(line));
    guarded.stage.end();
}

#[test]
fn mute_of_an_account_holds_for_http_and_for_all_its_clients() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let mut tab = Socket::open(stage, "/ws?room=lobby&token=b");
    let answer = ask_once(stage, &post("/admin/mute", &bearer("m"), r#"{"name":"bea","seconds":60}"#));
    assert_eq!(status(&answer), "200");
    let publish = |stage: &mut Stage, from: &str| {
        let path = format!("/rooms/lobby/messages{from}");
        status(&ask_once(stage, &post(&path, &bearer("b"), "hi"))).to_string()
    };
    assert_eq!((publish(stage, ""), publish(stage, "?from=zoe")), ("403".into(), "403".into()));
    let mut raw = Socket::open(stage, "/raw/lobby?token=b");
    stage.send(raw.wire, &frame(TEXT, b"a loud word"));
    let bob = stage.join("bob");
    tab.texts(stage);
    for request in [
        r#"{"type":"say","room":"lobby","text":"a loud word"}"#,
        r#"{"type":"me","room":"lobby","text":"a loud word"}"#,
        r#"{"type":"tell","to":"bob","text":"a loud word"}"#,
        r#"{"type":"away","text":"a loud word"}"#,
        r#"{"type":"nick","name":"loud"}"#,
    ] {
        tab.say(stage, request);
        assert!(tab.texts(stage).concat().contains(r#""code":"muted""#), "{request}");
    }
    assert!(!stage.text(bob).contains("loud"));
    assert_eq!(status(&ask_once(stage, &get("/rooms/lobby/messages"))), "200");
    stage.pass(Duration::from_secs(61));
    assert_eq!(publish(stage, ""), "202");
    assert!(raw.frames(stage).is_empty() || !bytes_of(stage, raw.wire).contains("loud"));
    guarded.stage.end();
}

#[test]
fn account_that_is_removed_ends_its_sessions_before_another_message() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let member = stage.join("max");
    stage.say(member, "/login mod m");
    let line = stage.join("eve");
    stage.say(line, "/login bea b");
    stage.run();
    let mut tab = Socket::open(stage, "/ws?room=lobby&token=b");
    let mut raw = Socket::open(stage, "/raw/lobby?token=b");
    let sse = events(stage, "/rooms/lobby/events?token=b");
    guarded.change(&without_bea());
    guarded.stage.say(member, "a secret");
    guarded.stage.run();
    let stage = &mut guarded.stage;
    for wire in [line, tab.wire, raw.wire, sse] {
        let read = bytes_of(stage, wire);
        assert!(!read.contains("a secret") && read.contains("your session has expired"), "{read}");
    }
    assert_eq!((tab.closed(stage).0, raw.closed(stage).0), (1008, 1008));
    assert!(bytes_of(stage, sse).contains("event: bye"));
    let again = stage.join("bea");
    assert!(stage.text(again).contains("hello bea"));
    guarded.stage.end();
}

#[test]
fn queued_client_with_a_token_logs_in_when_it_is_admitted() {
    let mut guarded = Guarded::new("--max-clients 1");
    let stage = &mut guarded.stage;
    let bob = stage.join("bob");
    let mut tab = Socket::open(stage, "/ws?room=staff&token=m");
    let pipe = stage.connect();
    stage.say(pipe, "bea");
    stage.say(pipe, "b");
    stage.run();
    assert!(tab.texts(stage).concat().contains("you are next"));
    stage.say(bob, "/quit");
    stage.run();
    let sent = tab.texts(stage).concat();
    assert!(sent.contains(r#""type":"joined","room":"staff","name":"mod""#), "{sent}");
    stage.world().end(tab.wire);
    stage.pass(Duration::from_secs(2));
    stage.expect_contains(pipe, "hello bea");
    guarded.stage.end();
}

#[test]
fn queued_client_whose_account_is_removed_does_not_log_in() {
    let mut guarded = Guarded::new("--max-clients 1");
    let bob = guarded.stage.join("bob");
    let mut tab = Socket::open(&mut guarded.stage, "/ws?room=lobby&token=b");
    let mut raw = Socket::open(&mut guarded.stage, "/raw/lobby?token=b");
    guarded.reload(&without_bea());
    guarded.stage.say(bob, "/quit");
    guarded.stage.run();
    guarded.stage.pass(Duration::from_secs(20));
    let stage = &mut guarded.stage;
    for wire in [tab.wire, raw.wire] {
        let read = bytes_of(stage, wire);
        assert!(!read.contains(r#""type":"login""#) && !read.contains(r#""type":"joined""#), "{read}");
        assert_eq!(stage.server.chat().access().logged_in(), []);
    }
    assert!(tab.texts(stage).concat().contains("login_failed"));
    assert_eq!(raw.closed(stage).0, 1008);
    guarded.stage.end();
}

#[test]
fn queued_client_whose_role_is_changed_logs_in_with_the_new_one() {
    let mut guarded = Guarded::new("--max-clients 1");
    let bob = guarded.stage.join("bob");
    let mut tab = Socket::open(&mut guarded.stage, "/ws?room=lobby&token=m");
    guarded.reload(&sections_with("role = \"moderator\"", "role = \"user\""));
    guarded.stage.say(bob, "/quit");
    guarded.stage.run();
    tab.say(&mut guarded.stage, r#"{"type":"bans"}"#);
    let sent = tab.texts(&mut guarded.stage).concat();
    assert!(sent.contains(r#""type":"login""#) && sent.contains("not_allowed"), "{sent}");
    guarded.stage.end();
}

#[test]
fn login_of_an_sse_client_is_counted() {
    let mut guarded = Guarded::new("");
    events(&mut guarded.stage, "/rooms/lobby/events?token=b");
    assert_eq!(guarded.stage.server.metrics().logins, 1);
    guarded.stage.end();
}

#[test]
fn active_client_can_not_take_a_registered_name() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let (eve, bob) = (stage.join("eve"), stage.join("bob"));
    let mut tab = Socket::open(stage, "/ws?name=tab&room=lobby");
    for name in ["bea", "BEA", "b\u{435}a"] {
        stage.unread(eve);
        stage.say(eve, &format!("/nick {name}"));
        stage.run();
        let answer = stage.unread(eve).concat();
        assert!(answer.contains("is registered"), "{name}: {answer}");
        // The next line is a message and no token.
        stage.say(eve, "hello");
        stage.expect_contains(bob, "");
        tab.say(stage, &format!(r#"{{"type":"nick","name":"{name}"}}"#));
        assert!(tab.texts(stage).concat().contains("name_registered"));
    }
    stage.run();
    assert_eq!(stage.text(bob).matches("eve: hello").count(), 3);
    guarded.stage.end();
}

#[test]
fn name_of_a_kicked_client_is_free_at_once() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let moderator = stage.join("max");
    let (eve, bob) = (stage.join("eve"), stage.join("bob"));
    stage.world().set_window(eve, 0);
    stage.set_eager(eve, false);
    stage.say(moderator, "/login mod m");
    stage.run();
    stage.say(moderator, "/kick eve spam");
    stage.say(moderator, "/kick eve spam");
    stage.run();
    assert!(stage.text(moderator).contains("nobody is called eve"));
    stage.say(bob, "/nick eve");
    stage.say(bob, "a new word");
    stage.run();
    assert!(stage.text(bob).contains("you are now eve"));
    stage.read_again(eve);
    stage.run();
    let read = stage.text(eve);
    assert!(read.contains("mod has removed you: spam") && !read.contains("a new word"), "{read}");
    guarded.stage.end();
}

#[test]
fn second_login_replaces_the_first_one_and_its_name() {
    for takeover in ["newer", "older"] {
        let mut guarded = Guarded::new(&format!("--takeover {takeover}"));
        let stage = &mut guarded.stage;
        let other = stage.join("max");
        stage.say(other, "/login ann a");
        let client = stage.join("eve");
        stage.say(client, "/login mod m");
        stage.say(client, "/login bea b");
        stage.say(client, "/kick max");
        stage.run();
        assert!(stage.text(client).contains("only moderators may do that"), "{}", stage.text(client));
        assert!(stage.text(other).contains("mod is now bea"));
        stage.say(client, "/login ann a");
        stage.say(client, "/whois bea");
        stage.run();
        let read = stage.text(client);
        // No account has the name of another one.
        assert!(!read.contains("bea has the account ann"), "{takeover}: {read}");
        assert!(read.contains("nobody is called bea"), "{takeover}: {read}");
        guarded.stage.end();
    }
}

#[test]
fn reload_that_requires_logins_closes_guests_before_another_message() {
    let open = format!("access = \"open\"\n{SECTIONS}");
    let mut guarded = Guarded::with(&open, "--guests");
    let stage = &mut guarded.stage;
    let (member, line) = (stage.connect(), stage.connect());
    stage.say(member, "/login mod m");
    stage.say(line, "/nick eve");
    stage.pass(Duration::from_secs(1));
    let mut tab = Socket::open(stage, "/ws?name=tab&room=lobby");
    let mut raw = Socket::open(stage, "/raw/lobby?name=program");
    let sse = events(stage, "/rooms/lobby/events");
    let known = events(stage, "/rooms/lobby/events?token=b");
    // This one has sent nothing yet, and is no guest so far.
    let silent = stage.connect();
    stage.tick();
    guarded.change(&format!("access = \"login\"\n{SECTIONS}"));
    guarded.stage.say(member, "a secret");
    guarded.stage.run();
    let stage = &mut guarded.stage;
    for wire in [line, tab.wire, raw.wire, sse, silent] {
        let read = bytes_of(stage, wire);
        assert!(!read.contains("a secret"), "{read}");
    }
    assert_eq!((tab.closed(stage).0, raw.closed(stage).0), (1008, 1008));
    assert!(bytes_of(stage, sse).contains("event: bye"));
    assert!(bytes_of(stage, known).contains("a secret"));
    stage.say(silent, "hello");
    stage.pass(Duration::from_secs(200));
    let read = stage.text(silent);
    assert!(stage.world().is_over(silent), "the client is neither asked nor closed: {read}");
    assert!(!stage.text(member).contains(": hello"));
    guarded.stage.end();
}

#[test]
fn only_one_bearer_field_is_a_login() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let basic = "Authorization: Basic bW9kOm0=\r\n";
    let publish = "/rooms/radio/messages";
    for (fields, expected) in [
        ([bearer("m"), bearer("m")].concat(), "401"),
        ([bearer("m"), bearer("x")].concat(), "401"),
        ([basic, &bearer("m")].concat(), "202"),
        (basic.to_string(), "401"),
        ("authorization: bEARER m\r\n".to_string(), "202"),
        ("Authorization: Bearer\r\n".to_string(), "401"),
        ("Authorization: Bearer m m\r\n".to_string(), "401"),
        ("Authorization: Bearerm\r\n".to_string(), "401"),
    ] {
        let answer = ask_once(stage, &post(publish, &fields, "hi"));
        assert_eq!(status(&answer), expected, "{fields}");
    }
    let mut member = Socket::open(stage, "/ws?room=staff&token=m");
    member.texts(stage);
    let listed = ask_once(stage, &get("/rooms?token=m"));
    assert!(status(&listed) == "200" && !listed.contains("staff"), "{listed}");
    let listed = ask_once(stage, &get("/rooms").replacen("Host:", &format!("{}Host:", bearer("m")), 1));
    assert!(listed.contains("staff"), "{listed}");
    for path in ["/rooms/staff/messages?token=m", "/admin/bans?token=m"] {
        assert_eq!(status(&ask_once(stage, &get(path))), "401", "{path}");
    }
    assert_eq!(status(&ask_once(stage, &post("/rooms/radio/messages?token=m", "", "hi"))), "401");
    guarded.stage.end();
}

#[test]
fn odd_answers_to_the_question_for_a_token_are_no_messages() {
    let long = "s3cret".repeat(17_000);
    for answer in
        ["", "/who", "/help", "s3cret s3cret", "//s3cret", "s3c\u{0}ret", "\u{e9}s3cret", "/nick bea", &long]
    {
        for flags in ["", "--access login"] {
            let mut guarded = Guarded::new(flags);
            let stage = &mut guarded.stage;
            let member = member_of(stage);
            let client = stage.connect();
            stage.run();
            stage.say(client, "bea");
            stage.pass(Duration::from_secs(1));
            stage.expect_contains(client, "bea is registered. token?");
            stage.send(client, b"\xff\xfb\x01\xff\xfd\x06");
            stage.say(client, answer);
            stage.pass(Duration::from_secs(1));
            let is_over = stage.world().is_over(client);
            stage.say(client, "b");
            stage.pass(Duration::from_secs(5));
            let read = stage.text(member);
            assert!(!read.contains("s3c"), "{answer:.20}: {read}");
            assert!(!read.contains("bea: "), "{answer:.20}: {read}");
            assert!(!is_over || answer.len() > 100_000, "{answer:.20}");
            guarded.stage.end();
        }
    }
}

#[test]
fn client_that_ends_at_the_question_for_a_token_leaves_nothing() {
    // The server hides the token that a telnet client types, which is known by its line end.
    for (reset, end) in [(false, "\n"), (true, "\n"), (false, "\r\n"), (true, "\r\n")] {
        let mut guarded = Guarded::new("");
        let stage = &mut guarded.stage;
        let bob = stage.join("bob");
        let client = stage.connect();
        stage.run();
        stage.send(client, format!("bea{end}").as_bytes());
        stage.pass(Duration::from_secs(1));
        stage.send(client, b"half-a-token");
        match reset {
            true => stage.world().reset(client),
            false => stage.world().end(client),
        }
        stage.pass(Duration::from_secs(5));
        let next = stage.join("zoe");
        stage.say(next, "hello");
        stage.run();
        let read = stage.text(bob);
        assert!(!read.contains("half") && read.contains("zoe: hello"), "{read}");
        guarded.stage.end();
    }
}

#[test]
fn login_by_token_alone_works_after_another_name_was_chosen() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let client = stage.connect();
    stage.run();
    for line in ["bea", "/nick eve", "/login m"] {
        stage.say(client, line);
        stage.pass(Duration::from_secs(1));
    }
    stage.expect_contains(client, "you are logged in as mod");
    guarded.stage.end();
}

#[test]
fn banned_account_neither_reads_nor_speaks_anywhere() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let bob = stage.join("bob");
    let line = stage.join("eve");
    stage.say(line, "/login mod m");
    stage.run();
    let second = stage.join("dan");
    stage.say(second, "/login mod m");
    stage.run();
    let sse = events(stage, "/rooms/staff/events?token=m");
    assert_eq!(status(&ask_once(stage, &post("/admin/ban", &bearer("a"), r#"{"target":"mod"}"#))), "200");
    for wire in [line, second] {
        stage.say(wire, "still here");
    }
    stage.run();
    stage.say(bob, "a secret");
    assert_eq!(status(&ask_once(stage, &post("/rooms/staff/messages", &bearer("a"), "a secret"))), "202");
    stage.run();
    for wire in [line, second, sse] {
        assert!(!bytes_of(stage, wire).contains("a secret"), "{}", bytes_of(stage, wire));
    }
    assert!(!stage.text(bob).contains("still here"));
    for request in [
        get("/rooms/staff/messages").replacen("Host:", &format!("{}Host:", bearer("m")), 1),
        get("/rooms/staff/events").replacen("Host:", &format!("{}Host:", bearer("m")), 1),
        post("/rooms/lobby/messages?from=zed", &bearer("m"), "hi"),
        post("/rooms/lobby/messages", &bearer("m"), "hi"),
        post("/admin/unban", &bearer("m"), r#"{"target":"mod"}"#),
    ] {
        let answer = ask_once(stage, &request);
        assert!(["401", "403"].contains(&status(&answer)), "{request} {answer}");
    }
    // A tab is sent the reason, and the rest that needs no right is open to all.
    let mut tab = Socket::open(stage, "/ws?token=m");
    assert_eq!(tab.closed(stage).0, 1008);
    assert!(bytes_of(stage, tab.wire).contains(r#""code":"banned""#), "{}", bytes_of(stage, tab.wire));
    let health = get("/healthz").replacen("Host:", &format!("{}Host:", bearer("m")), 1);
    assert_eq!(status(&ask_once(stage, &health)), "200");
    let wire = stage.connect_http();
    stage.send(wire, handshake("/raw/staff?token=m", "").as_bytes());
    stage.run();
    assert!(!bytes_of(stage, wire).contains("joined") && stage.server.chat().access().logged_in().is_empty());
    guarded.stage.end();
}

#[test]
fn telnet_does_not_show_a_token_and_nc_gets_no_command() {
    const WILL_ECHO: &[u8] = &[255, 251, 1];
    const WONT_ECHO: &[u8] = &[255, 252, 1];
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let (telnet, nc) = (stage.connect(), stage.connect());
    stage.run();
    stage.send(telnet, b"bea\r\n");
    stage.send(nc, b"ann\n");
    stage.run();
    assert!(stage.raw(telnet).ends_with(WILL_ECHO), "{:?}", stage.raw(telnet));
    // The client agrees, and sends its token.
    stage.send(telnet, &[255, 253, 1]);
    stage.send(telnet, b"b\r\n");
    stage.send(nc, b"a\n");
    stage.run();
    assert!(holds(stage.raw(telnet), WONT_ECHO) && holds(stage.raw(telnet), b"hello bea"));
    assert!(!stage.raw(nc).contains(&255) && holds(stage.raw(nc), b"hello ann"));
    let echoes = stage.raw(telnet).iter().filter(|byte| **byte == 255).count();
    stage.send(telnet, b"/nick bob\r\n");
    stage.run();
    assert_eq!(stage.raw(telnet).iter().filter(|byte| **byte == 255).count(), echoes);
    guarded.stage.end();
}

#[test]
fn echo_of_telnet_comes_back_after_a_wrong_token() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let wire = stage.connect();
    stage.run();
    let commands = |stage: &Stage| -> Vec<u8> {
        stage.raw(wire).windows(2).filter(|window| window[0] == 255).map(|window| window[1]).collect()
    };
    for line in [&b"bea\r\n"[..], b"wrong\r\n", b"bea\r\n", b"\r\n"] {
        stage.send(wire, line);
        stage.run();
    }
    assert_eq!(commands(stage), [251, 252, 251, 252]);
    guarded.stage.end();
}

#[test]
fn telnet_does_not_show_a_token_that_is_typed_after_ctrl_c_or_a_command() {
    // The timing mark is answered, and nothing switches the echo on.
    for (interruption, answers) in [(&b"xy\xff\xf4\xff\xfd\x06"[..], &[251, 251][..]), (b"/help\r\n", &[251])]
    {
        let mut guarded = Guarded::new("");
        let stage = &mut guarded.stage;
        let wire = stage.connect();
        let commands = |stage: &Stage| -> Vec<u8> {
            stage.raw(wire).windows(2).filter(|window| window[0] == 255).map(|window| window[1]).collect()
        };
        stage.send(wire, b"bea\r\n");
        stage.run();
        stage.send(wire, interruption);
        stage.run();
        assert_eq!(commands(stage), answers, "{interruption:?}");
        stage.send(wire, b"b\r\n");
        stage.run();
        assert_eq!(commands(stage).last(), Some(&252));
        assert!(String::from_utf8_lossy(stage.raw(wire)).contains("hello bea"));
        guarded.stage.end();
    }
}

#[test]
fn websocket_client_without_a_login_has_no_name_of_its_own_and_is_sent_nothing_private() {
    let mut guarded = Guarded::new("--access login");
    let stage = &mut guarded.stage;
    let mut stranger = Socket::open(stage, "/ws?name=dora&room=lobby");
    let sent = stranger.texts(stage).concat();
    assert!(sent.contains(r#""name":"guest-"#) && !sent.contains("dora"), "{sent}");
    let bea = stage.connect();
    stage.run();
    stage.say(bea, "/login bea b");
    stage.run();
    for name in ["dora", "guest-1", "guest-2", "guest-3"] {
        stage.say(bea, &format!("/msg {name} secret"));
    }
    stage.run();
    assert_eq!(stage.text(bea).matches("nobody is called").count(), 4, "{}", stage.text(bea));
    assert!(!stranger.texts(stage).concat().contains("secret"));
    guarded.stage.end();
}

#[test]
fn sse_client_opens_no_room_with_a_filtered_name() {
    let mut guarded = Guarded::new("");
    let file = guarded.folder.path().join("chinwag.toml");
    fs::write(&file, "[filter]\nwords = [\"heck\"]\n").expect("a file");
    guarded.stage.world().signal(chinwag::net::Signal::Reload);
    guarded.stage.run();
    let stage = &mut guarded.stage;
    let tail = stage.connect_http();
    let answer = crate::web::ask(stage, tail, &get("/rooms/heck/events"));
    assert!(answer.contains("bye"), "{answer}");
    let bob = stage.join("bob");
    stage.say(bob, "/join heck");
    stage.run();
    assert!(stage.text(bob).contains("a word that is not allowed"), "{}", stage.text(bob));
    guarded.stage.end();
}

#[test]
fn reason_by_http_is_filtered_and_refused_to_a_muted_moderator() {
    let mut guarded = Guarded::new("");
    let file = guarded.folder.path().join("chinwag.toml");
    fs::write(&file, format!("{SECTIONS}[filter]\nwords = [\"heck\"]\n")).expect("a file");
    guarded.stage.world().signal(chinwag::net::Signal::Reload);
    guarded.stage.run();
    let stage = &mut guarded.stage;
    let (bob, _eve) = (stage.join("bob"), stage.join("eve"));
    let kick = r#"{"name":"eve","reason":"heck"}"#;
    let muted = ask_once(stage, &post("/admin/mute", &bearer("a"), r#"{"name":"mod"}"#));
    assert_eq!(status(&muted), "200", "{muted}");
    assert_eq!(status(&ask_once(stage, &post("/admin/kick", &bearer("m"), kick))), "403");
    assert_eq!(status(&ask_once(stage, &post("/admin/kick", &bearer("a"), kick))), "200");
    stage.run();
    assert!(stage.text(bob).contains("eve left (kicked by ann: ****)"), "{}", stage.text(bob));
    guarded.stage.end();
}

#[test]
fn message_by_http_with_a_refused_word_is_not_processable() {
    let mut guarded = Guarded::with("[filter]\nwords = [\"heck\"]\naction = \"refuse\"\n", "");
    for (body, expected) in [("heck", "422"), ("well", "202")] {
        let answer = ask_once(&mut guarded.stage, &post("/rooms/lobby/messages", "", body));
        assert_eq!(status(&answer), expected, "{answer}");
        assert_eq!(answer.contains("\"code\":\"filtered\""), expected == "422", "{answer}");
    }
    guarded.stage.end();
}

#[test]
fn banned_address_that_connects_too_fast_is_told_of_its_ban() {
    let mut guarded = Guarded::new("--connects-per-ip 1/s");
    let stage = &mut guarded.stage;
    ask_once(stage, &post("/admin/ban", &bearer("m"), "{\"target\":\"10.0.0.1\"}"));
    for number in 0..6 {
        let line = stage.connect_from(Some("10.0.0.1"), WIDE);
        let http = stage.connect_http_from("10.0.0.1", WIDE);
        stage.run();
        assert_eq!(stage.text(line), "-- a moderator has banned you\n", "{number}");
        let answer = stage.text(http);
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("banned"), "{number}: {answer}");
    }
    guarded.stage.end();
}

#[test]
fn registrations_of_an_address_are_limited_as_its_failed_logins() {
    let mut guarded = Guarded::new("--registration --rate off");
    let stage = &mut guarded.stage;
    let register = |stage: &mut Stage, address: Option<&str>, name: &str| {
        let wire = stage.connect_from(address, WIDE);
        stage.say(wire, name);
        stage.say(wire, "/register");
        stage.run();
        let text = stage.text(wire);
        let is_limited = text.contains("too many");
        assert_ne!(is_limited, text.contains("your token, shown only once"), "{text}");
        !is_limited
    };
    for number in 0..5 {
        assert!(register(stage, Some("10.0.0.1"), &format!("a{number}")), "{number}");
    }
    assert!(!register(stage, Some("10.0.0.1"), "late"));
    assert!(register(stage, Some("10.0.0.2"), "other") && register(stage, None, "local"));
    stage.pass(Duration::from_secs(1));
    assert!(register(stage, Some("10.0.0.1"), "later"));
    assert!(!register(stage, Some("10.0.0.1"), "early"));
    guarded.stage.end();
}

#[test]
fn registration_that_is_off_does_not_use_up_the_failed_logins_of_an_address() {
    let mut guarded = Guarded::new("--rate off");
    let stage = &mut guarded.stage;
    let client = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.say(client, "zoe");
    (0..10).for_each(|_| stage.say(client, "/register"));
    stage.say(client, "/login bea b");
    stage.run();
    stage.expect_contains(client, "you are logged in as bea");
    guarded.stage.end();
}

/// Lets the state file fail from now on, or work again: a folder has the name of the file that replaces it.
fn set_broken(guarded: &Guarded, broken: bool) {
    let new = guarded.state_file().with_extension("json.new");
    match broken {
        true => fs::create_dir(new).expect("a folder"),
        false => fs::remove_dir(new).expect("it was created"),
    }
}

#[test]
fn change_that_is_not_saved_takes_effect_and_its_moderator_is_told_at_each_listener() {
    let mut guarded = Guarded::new("--rate off");
    let moderator = guarded.stage.join("max");
    guarded.stage.say(moderator, "/login mod m");
    guarded.stage.run();
    guarded.stage.unread(moderator);
    set_broken(&guarded, true);
    let stage = &mut guarded.stage;
    stage.say(moderator, "/ban eve");
    stage.run();
    let lines = stage.unread(moderator);
    assert_eq!(lines[0], "-- eve is banned until a moderator lifts it");
    assert!(lines[1].contains("is not saved and ends with this process"), "{lines:?}");
    assert_eq!(stage.server.metrics().saves_failed, 1);
    let ban = |target: &str| post("/admin/ban", &bearer("m"), &format!("{{\"target\":\"{target}\"}}"));
    let answer = ask_once(stage, &ban("eva"));
    assert!(answer.starts_with("HTTP/1.1 507 ") && answer.contains("is not saved"), "{answer}");
    assert_eq!(stage.server.metrics().saves_failed, 2);
    let page = ask_once(stage, &get("/metrics"));
    assert!(page.contains("chinwag_saves_failed_total 2\n"), "{page}");
    let listed = ask_once(stage, &get("/admin/bans").replacen("\r\n", &format!("\r\n{}", bearer("m")), 1));
    assert!(listed.contains("eve") && listed.contains("eva"), "{listed}");
    set_broken(&guarded, false);
    let stage = &mut guarded.stage;
    assert!(ask_once(stage, &ban("evi")).starts_with("HTTP/1.1 200 "));
    assert_eq!(stage.server.metrics().saves_failed, 2);
    let saved = fs::read_to_string(guarded.state_file()).expect("a file");
    assert!(["eve", "eva", "evi"].iter().all(|name| saved.contains(name)), "{saved}");
    guarded.stage.end();
}

#[test]
fn answer_to_too_many_failed_logins_says_when_to_try_again() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let login = |stage: &mut Stage, token: &str| {
        let wire = stage.connect_http_from("10.0.0.1", WIDE);
        ask(stage, wire, &get("/rooms").replacen("\r\n", &format!("\r\n{}", bearer(token)), 1))
    };
    for number in 0..5 {
        let answer = login(stage, "wrong");
        assert_eq!(status(&answer), "401", "{number}: {answer}");
        assert!(
            answer.contains("www-authenticate: Bearer realm=\"chinwag\", error=\"invalid_token\"\r\n"),
            "{answer}"
        );
    }
    for token in ["wrong", "m"] {
        let answer = login(stage, token);
        assert_eq!(status(&answer), "429", "{answer}");
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    }
    stage.pass(Duration::from_secs(1));
    assert_eq!(status(&login(stage, "m")), "200");
    // One more failure is allowed each second, however long the address does nothing else.
    stage.pass(Duration::from_secs(2));
    let statuses = [(); 5].map(|()| status(&login(stage, "wrong")).to_string());
    assert_eq!(statuses, ["401", "401", "401", "429", "429"]);
    guarded.stage.end();
}

#[test]
fn mistyped_time_of_a_ban_or_mute_is_an_error_and_not_an_endless_one() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let (eve, moderator) = (stage.join("eve"), stage.join("max"));
    stage.say(moderator, "/login mod m");
    stage.run();
    stage.unread(moderator);
    for (line, usage) in [
        ("/ban eve 10min", "/ban WHO [TIME] [REASON]"),
        ("/ban eve 10w spam", "/ban WHO [TIME] [REASON]"),
        ("/ban eve 0s", "/ban WHO [TIME] [REASON]"),
        ("/ban eve 1.5h", "/ban WHO [TIME] [REASON]"),
        ("/mute eve 0s", "/mute NAME [TIME]"),
        ("/mute eve 10min", "/mute NAME [TIME]"),
    ] {
        stage.say(moderator, line);
        stage.run();
        let answer = stage.unread(moderator).join("\n");
        assert!(answer.contains(usage), "{line}: {answer}");
    }
    stage.say(eve, "still here");
    stage.run();
    assert_eq!(stage.unread(moderator), ["eve: still here"]);
    stage.say(moderator, "/ban eve 10m 2 warnings");
    stage.run();
    assert!(stage.text(eve).contains("banned you for 10 min: 2 warnings"), "{}", stage.text(eve));
    guarded.stage.end();
}

#[test]
fn each_connection_of_a_banned_address_counts_as_refused_once() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let moderator = stage.join("max");
    stage.say(moderator, "/login mod m");
    stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.run();
    stage.say(moderator, "/ban 10.0.0.1");
    stage.run();
    assert_eq!(stage.server.metrics().refused, 0, "a client that was admitted is not refused");
    for number in 0..40 {
        match number % 2 {
            0 => stage.connect_from(Some("10.0.0.1"), WIDE),
            _ => stage.connect_http_from("10.0.0.1", WIDE),
        };
        stage.run();
        assert_eq!(stage.server.metrics().refused, number + 1);
    }
    guarded.stage.end();
}

#[test]
fn tab_of_an_address_with_too_many_failed_logins_is_sent_that_reason() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let open = |stage: &mut Stage, token: &str| {
        let wire = stage.connect_http_from("10.0.0.1", WIDE);
        stage.send(wire, handshake(&format!("/ws?room=lobby&token={token}"), "").as_bytes());
        stage.run();
        let mut tab = Socket::upgraded(stage, wire);
        let sent =
            tab.frames(stage).into_iter().map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned());
        sent.collect::<Vec<_>>().concat()
    };
    for number in 0..5 {
        let sent = open(stage, "wrong");
        assert!(sent.contains(r#""code":"login_failed""#), "{number}: {sent}");
    }
    for token in ["m", "wrong"] {
        let sent = open(stage, token);
        assert!(sent.contains(r#""code":"too_many_logins""#) && !sent.contains("login_failed"), "{sent}");
        assert!(!sent.contains(r#""type":"login""#) && !sent.contains(r#""type":"joined""#), "{sent}");
    }
    stage.pass(Duration::from_secs(2));
    let sent = open(stage, "m");
    assert!(sent.contains(r#""type":"login","name":"mod""#), "{sent}");
    guarded.stage.end();
}

#[test]
fn guest_that_is_banned_by_name_is_sent_the_ban_once_and_its_address_is_banned() {
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let moderator = member_of(stage);
    let line = stage.connect_from(Some("10.0.0.1"), WIDE);
    stage.say(line, "eve");
    stage.run();
    let from = |stage: &mut Stage, address: &str, name: &str| {
        let wire = stage.connect_http_from(address, WIDE);
        stage.send(wire, handshake(&format!("/ws?name={name}&room=lobby"), "").as_bytes());
        stage.run();
        Socket::upgraded(stage, wire)
    };
    let mut neighbour = from(stage, "10.0.0.1", "dan");
    let mut tab = from(stage, "10.0.0.2", "zoe");
    stage.say(moderator, "/ban eve 1h spam");
    stage.say(moderator, "/ban zoe 1h spam");
    let (sent, beside) = (tab.texts(stage).concat(), neighbour.texts(stage).concat());
    for sent in [&sent, &beside] {
        assert_eq!(sent.matches("mod has banned you for 60 min: spam").count(), 1, "{sent}");
    }
    // The numbers of members fall.
    let counts =
        sent.split(r#""type":"left""#).skip(1).map(|event| &event[event.find("count").expect("a count")..]);
    let counts: Vec<&str> = counts.map(|count| &count[..8]).collect();
    assert_eq!(counts, [r#"count":3"#, r#"count":2"#], "{sent}");
    let read = stage.text(line);
    assert_eq!(read.matches("mod has banned you for 60 min: spam").count(), 1, "{read}");
    let shown = stage.text(moderator);
    for name in ["eve", "dan", "zoe"] {
        assert_eq!(shown.matches(&format!("{name} left")).count(), 1, "{name}: {shown}");
    }
    for address in ["10.0.0.1", "10.0.0.2"] {
        let again = stage.connect_from(Some(address), WIDE);
        stage.run();
        stage.expect_contains(again, "a moderator has banned you");
    }
    guarded.stage.end();
}

#[test]
fn guest_that_had_to_log_in_stays_after_a_reload_opens_the_chat() {
    let closed = format!("access = \"login\"\n{SECTIONS}");
    let mut guarded = Guarded::with(&closed, "--name-timeout 20s --ping-interval 2h");
    let mut tab = Socket::open(&mut guarded.stage, "/ws?room=lobby");
    let mut gone = Socket::open(&mut guarded.stage, "/ws?room=lobby");
    guarded.stage.world().end(gone.wire);
    assert!(tab.texts(&mut guarded.stage).concat().contains("login_required"));
    guarded.reload(SECTIONS);
    tab.say(&mut guarded.stage, r#"{"type":"join","room":"lobby"}"#);
    guarded.stage.pass(Duration::from_secs(60));
    let sent = tab.texts(&mut guarded.stage).concat();
    assert!(sent.contains(r#""type":"joined""#) && !sent.contains("bye"), "{sent}");
    // Guests of a chat that closes again leave at once.
    guarded.reload(&closed);
    assert_eq!(tab.closed(&mut guarded.stage).1, "you did not log in in time. connect again to try again");
    gone.frames(&guarded.stage);
    guarded.stage.end();
}
