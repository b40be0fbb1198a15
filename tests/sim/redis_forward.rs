//! Requests about a client of another process: its process carries them out, and answers.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::cluster::{Cluster, Guest};
use crate::log_lines::{capture, end_capture, lines};

/// The tokens are `a` and `m`.
const SECTIONS: &str = r#"
[accounts.ann]
role = "admin"
token = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
[accounts.mod]
role = "moderator"
token = "sha256:62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a"
[filter]
words = ["rude"]
"#;

/// Two processes, with a moderator at the first one.
struct Moderated {
    cluster: Cluster,
    moderator: Guest,
    _folder: TempDir,
}

impl Moderated {
    fn new() -> Moderated {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chinwag.toml");
        fs::write(&file, SECTIONS).expect("a file");
        let mut cluster = Cluster::new(2, &format!("--config {}", file.display()));
        let moderator = cluster.connect(0, "mod\nm");
        cluster.run();
        cluster.unread(moderator);
        Moderated { cluster, moderator, _folder: folder }
    }

    /// A client at the other process, which is known to the moderator.
    fn join(&mut self, name: &str) -> Guest {
        let guest = self.cluster.join(1, name);
        self.cluster.expect(self.moderator, &[&format!("-- {name} joined")]);
        guest
    }

    #[track_caller]
    fn ask(&mut self, line: &str, answer: &[&str]) {
        self.cluster.ask(self.moderator, line, answer);
    }
}

/// An HTTP request with that body.
fn kick(body: &str) -> String {
    format!(
        "POST /admin/kick HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer m\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn kick_removes_a_client_of_another_process_and_all_see_the_reason() {
    let mut moderated = Moderated::new();
    let (bob, cy) = (moderated.join("bob"), moderated.join("cy"));
    moderated.cluster.expect(bob, &["-- cy joined"]);
    // The text has been through the filter there.
    capture();
    moderated.ask("/kick Bob rude", &["-- bob left (kicked by mod: ****)", "-- bob was removed"]);
    assert_eq!(lines("moderation"), [r#"INFO moderation by="mod" action=kick target="bob" reason="****""#]);
    end_capture();
    moderated.cluster.expect(bob, &["-- mod has removed you: ****", "-- a moderator has removed you"]);
    moderated.cluster.expect(cy, &["-- bob left (kicked by mod: ****)"]);
    moderated.ask("/kick bob", &["-- nobody is called bob. /who lists the names"]);
    moderated.cluster.end();
}

#[test]
fn mute_of_a_guest_of_another_process_holds_until_it_is_lifted() {
    let mut moderated = Moderated::new();
    let bob = moderated.join("bob");
    moderated.ask("/unmute bob", &["-- bob is not muted"]);
    moderated.ask("/mute bob 500ms", &["-- bob is muted for 1 s"]);
    moderated.cluster.expect(bob, &["-- mod has muted you for 1 s"]);
    moderated.ask("/mute bob 1h", &["-- bob is muted for 60 min"]);
    moderated.cluster.expect(bob, &["-- mod has muted you for 60 min"]);
    moderated.cluster.ask(bob, "hi", &["-- a moderator has muted you for 60 min"]);
    moderated.ask("/unmute bob", &["-- bob may speak again"]);
    moderated.cluster.expect(bob, &["-- mod lets you speak again"]);
    moderated.cluster.say(bob, "hi");
    moderated.cluster.expect(moderated.moderator, &["bob: hi"]);
    moderated.cluster.end();
}

#[test]
fn client_of_another_process_with_a_higher_role_is_safe() {
    let mut moderated = Moderated::new();
    let admin = moderated.cluster.connect(1, "ann\na");
    moderated.cluster.run();
    moderated.cluster.unread(admin);
    moderated.cluster.unread(moderated.moderator);
    for line in ["/kick ann", "/mute ann", "/ban ann"] {
        moderated.ask(line, &["-- ann is admin, and you can only act on roles below your own"]);
    }
    moderated.cluster.expect(admin, &[]);
    moderated.cluster.end();
}

#[test]
fn whois_shows_the_address_of_a_remote_client_to_moderators_only() {
    let mut moderated = Moderated::new();
    let bob = moderated.join("bob");
    let cy = moderated.cluster.join(0, "cy");
    moderated.cluster.expect(moderated.moderator, &["-- cy joined"]);
    moderated.cluster.expect(bob, &["-- cy joined"]);
    moderated.cluster.ask(bob, "/away at lunch", &["-- you are away. /away without a text ends that"]);
    moderated.cluster.pass(Duration::from_secs(180));
    let answer = |moderated: &mut Moderated, guest| {
        moderated.cluster.say(guest, "/whois BOB");
        moderated.cluster.run();
        moderated.cluster.unread(guest).join("\n")
    };
    let moderator = moderated.moderator;
    let (told, public) = (answer(&mut moderated, moderator), answer(&mut moderated, cy));
    for part in ["bob", "guest", "at lunch", "3 min"] {
        assert!(told.contains(part) && public.contains(part), "{part}: {told}\n{public}");
    }
    assert!(told.contains("has the address") && !public.contains("address"), "{told}\n{public}");
    moderated.cluster.end();
}

#[test]
fn sender_at_another_process_is_told_that_a_client_is_away() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.ask(bob, "/away at lunch", &["-- you are away. /away without a text ends that"]);
    cluster.ask(ann, "/msg bob hi", &["-- bob is away: at lunch"]);
    cluster.expect(bob, &["[ann] hi"]);
    cluster.end();
}

#[test]
fn http_request_moderates_a_client_of_another_process() {
    let mut moderated = Moderated::new();
    let bob = moderated.join("bob");
    let answer = moderated.cluster.ask_http(0, &kick(r#"{"name":"bob"}"#));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("bob was removed"), "{answer}");
    moderated.cluster.expect(bob, &["-- mod has removed you", "-- a moderator has removed you"]);
    let answer = moderated.cluster.ask_http(0, &kick(r#"{"name":"bob"}"#));
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    moderated.cluster.end();
}

#[test]
fn client_that_leaves_before_the_request_arrives_is_reported_as_gone() {
    let mut moderated = Moderated::new();
    for line in ["/kick bob", "/whois bob"] {
        let bob = moderated.join("bob");
        moderated.cluster.set_frozen(1, true);
        moderated.ask(line, &[]);
        moderated.cluster.say(bob, "/quit");
        moderated.cluster.set_frozen(1, false);
        let answer = ["-- bob left", "-- nobody is called bob. /who lists the names"];
        moderated.cluster.expect(moderated.moderator, &answer);
    }
    moderated.cluster.end();
}

/// The moderator is muted while its requests are at the other process, so nothing takes the outcomes.
#[test]
fn outcome_of_a_refused_request_is_not_the_answer_to_a_later_one() {
    let mut moderated = Moderated::new();
    let cluster = &mut moderated.cluster;
    let (by_line, admin) = (moderated.moderator, cluster.connect(0, "ann\na"));
    let by_http = cluster.stage(0).connect_http();
    let request = kick(r#"{"name":"cy","reason":"spam"}"#);
    let mut removed = Vec::new();
    for is_muted in [true, false] {
        cluster.say(admin, "/unmute mod");
        cluster.run();
        let guests = [cluster.join(1, "bob"), cluster.join(1, "cy")];
        cluster.set_frozen(1, true);
        cluster.say(by_line, "/kick bob spam");
        cluster.stage(0).send(by_http, request.as_bytes());
        cluster.run();
        if is_muted {
            cluster.say(admin, "/mute mod");
            cluster.run();
        }
        cluster.set_frozen(1, false);
        cluster.run();
        removed.push(guests.map(|guest| cluster.unread(guest).join("\n").contains("removed you: spam")));
        let lines = cluster.unread(by_line).join("\n");
        assert_eq!(lines.contains("a moderator has muted you"), is_muted, "{lines}");
    }
    assert_eq!(removed, [[true; 2]; 2]);
    moderated.cluster.end();
}

#[test]
fn json_request_moderates_a_client_of_another_process_and_its_answer_has_its_id() {
    let mut moderated = Moderated::new();
    let bob = moderated.join("bob");
    let mut tab = moderated.cluster.open(0, "/ws?room=dev&token=a");
    moderated.cluster.texts(0, &mut tab);
    for (request, answer) in [
        (r#"{"type":"whois","name":"bob","id":1}"#, r#""name":"bob","role":"guest""#),
        (r#"{"type":"kick","name":"bob","id":2}"#, r#""text":"bob was removed""#),
        (r#"{"type":"kick","name":"bob","id":3}"#, r#""code":"nobody""#),
    ] {
        tab.say(moderated.cluster.stage(0), request);
        let texts = moderated.cluster.texts(0, &mut tab).join("\n");
        let id = &request[request.len() - 7..];
        assert!(texts.contains(answer) && texts.contains(&id[..6]), "{request}: {texts}");
    }
    moderated.cluster.expect(bob, &["-- ann has removed you", "-- a moderator has removed you"]);
    moderated.cluster.end();
}

#[test]
fn process_that_has_just_died_is_reported_at_once() {
    let mut moderated = Moderated::new();
    moderated.join("bob");
    moderated.cluster.kill(1);
    moderated
        .ask("/kick bob", &["-- bob is connected to another server, which does not answer. try again later"]);
    let answer = moderated.cluster.ask_http(0, &kick("{\"name\":\"bob\"}"));
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    moderated.cluster.end();
}

#[test]
fn process_that_does_not_answer_is_reported_after_the_timeout() {
    let mut moderated = Moderated::new();
    moderated.join("bob");
    moderated.cluster.set_frozen(1, true);
    moderated.ask("/kick bob", &[]);
    moderated.cluster.pass(Duration::from_secs(6));
    let lines = moderated.cluster.unread(moderated.moderator);
    assert_eq!(lines, ["-- bob is connected to another server, which does not answer. try again later"]);
    // The client may go on meanwhile.
    moderated.cluster.set_frozen(1, false);
    moderated.cluster.run();
    moderated.cluster.end();
}
