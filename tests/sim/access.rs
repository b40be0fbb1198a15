//! Access on a whole server: logins at each listener, bans by address, and the state file.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::socket::Socket;
use crate::stage::{Stage, WIDE};
use crate::web::{ask_once, get, post};

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
        let folder = tempfile::tempdir().expect("a folder");
        let stage = Guarded::start(&folder, flags);
        Guarded { stage, folder }
    }

    fn start(folder: &TempDir, flags: &str) -> Stage {
        let file = folder.path().join("chinwag.toml");
        fs::write(&file, SECTIONS).expect("a file");
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
    let mut guarded = Guarded::new("");
    let stage = &mut guarded.stage;
    let bob = stage.join("bob");
    let pipe = stage.connect();
    stage.say(pipe, "bea");
    stage.say(pipe, "b");
    stage.say(pipe, "hello");
    stage.pass(Duration::from_secs(2));
    let heard = stage.text(bob);
    assert!(heard.contains("bea: hello") && !heard.contains("guest"), "{heard}");
    guarded.stage.end();
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
