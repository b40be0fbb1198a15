//! Accounts with real clients: tokens of `chinwag token`, logins by every protocol, and accounts that are removed.
//!
//! JSON Web Tokens of other libraries, the state file, the secrecy of tokens, and proxies have files of their own.

mod behind_proxies;
mod jwt;
mod secrecy;
mod state;

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Client, Launch, Server};
use crate::programs::shell;

/// Rooms that need a role.
const ROOMS: &str = "[rooms.members]\nenter = \"user\"\n[rooms.radio]\nspeak = [\"poller\"]\n";

/// A folder with a configuration file.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(config: &str) -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        files.configure(config);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, config: &str) {
        fs::write(self.path("chinwag.toml"), config).unwrap();
    }

    /// A launch with these flags and the configuration file. `@/` in a flag is the folder.
    fn launch(&self, flags: &str) -> Launch {
        let folder = format!("{}/", self.folder.path().display());
        Launch::new(&flags.replace("@/", &folder)).arg("--config").arg(self.path("chinwag.toml"))
    }

    fn start(&self, flags: &str) -> Server {
        self.launch(flags).with_listeners().start()
    }
}

/// Runs `chinwag token`. Returns the token, and the section of the account.
fn make_token(name: &str, role: &str) -> (String, String) {
    let output = Launch::new(&format!("token {name} --role {role}")).run();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (token, section) = text.split_once('\n').expect("a line for the owner");
    assert_eq!(token.len(), 32, "160 bits");
    assert!(!section.contains(token), "{section}");
    (token.into(), section.into())
}

/// Returns the status that `curl` gets with those arguments; `@` is replaced by the server.
fn status(server: &Server, args: &str) -> String {
    let args = args.replace('@', &server.http_address().to_string());
    let line = format!("curl --silent --max-time 10 --output /dev/null --write-out '%{{http_code}}' {args}");
    String::from_utf8(shell("curl", &line).stdout).unwrap()
}

/// Returns the status of a stream of events that `curl` follows with those arguments.
fn events_status(server: &Server, fields: &[&str]) -> String {
    let url = format!("http://{}/rooms/members/events", server.http_address());
    let args = [&["--silent", "--no-buffer", "--include", &url], fields].concat();
    Client::through("curl", &args).line().expect("a status")[9..12].to_string()
}

/// Runs a script of `tests/real/scripts` with Python, for what it prints.
fn python(script: &str, args: &[&str]) -> Client {
    let script = format!("{}/tests/real/scripts/{script}", env!("CARGO_MANIFEST_DIR"));
    Client::through("/usr/bin/python3", &[&[script.as_str()], args].concat())
}

/// The arguments of `curl` for a login.
fn bearer(token: &str) -> String {
    format!("--header 'Authorization: Bearer {token}'")
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn token_of_the_command_logs_in_by_a_pipe_into_nc() {
    let (token, section) = make_token("ann", "moderator");
    let server = Files::new(&section).start("");
    let mut bob = server.join("bob");
    let pipe = format!(r"printf 'ann\n{token}\nhello\n/bans\n' | nc -N 127.0.0.1 {}", server.port());
    let output = String::from_utf8(shell("nc", &pipe).stdout).unwrap();
    assert_eq!(
        output,
        "-- welcome to chinwag. what's your name?\n-- ann is registered. token?\n\
         -- you are logged in as ann (moderator)\n\
         -- hello ann. you are in #lobby with bob. /help lists the commands\n-- there are no bans\n"
    );
    bob.expect("-- ann joined");
    bob.expect("ann: hello");
    bob.expect("-- ann left");
    let refused = shell("nc", &pipe.replace(&token, "secret-of-eve"));
    let refused = String::from_utf8(refused.stdout).unwrap();
    assert!(refused.contains("-- the name or the token is wrong"), "{refused}");
    bob.say("/who");
    let heard = bob.skip_to("-- in #lobby");
    assert!(!heard.contains("ann"), "{heard}");
}

#[test]
#[ignore = "needs curl and python3-websockets"]
fn token_of_the_command_logs_in_by_http_and_by_websocket() {
    let (token, section) = make_token("poller", "user");
    let server = Files::new(&format!("{section}{ROOMS}")).start("");
    let post = "--data on-air http://@/rooms/radio/messages";
    let wrong = bearer("secret-of-eve");
    assert_eq!(status(&server, post), "401");
    assert_eq!(status(&server, &format!("{wrong} {post}")), "401");
    assert_eq!(status(&server, &format!("{} {post}", bearer(&token))), "202");
    assert_eq!(events_status(&server, &[]), "401");
    assert_eq!(events_status(&server, &["--oauth2-bearer", &token]), "200");
    assert_eq!(events_status(&server, &["--get", "--data-urlencode", &format!("token={token}")]), "200");
    // In the address of a request that is no stream, a token would only end up in logs.
    assert_eq!(status(&server, &format!("'http://@/rooms/members/messages?token={token}'")), "401");
    let base = format!("ws://{}", server.http_address());
    let mut script = python("login.py", &[&base, "members", &token, "secret-of-eve"]);
    script.expect("poller poller poller open open");
    script.expect("login_failed 401 login_failed 401 401");
}

#[test]
fn removed_account_ends_its_sessions_at_sighup() {
    let (anns_token, anns_section) = make_token("ann", "moderator");
    let (bobs_token, bobs_section) = make_token("bob", "user");
    let files = Files::new(&format!("{anns_section}{bobs_section}"));
    let server = files.start("");
    let login = |name: &str, token: &str| {
        let mut client = server.client();
        client.say(name);
        client.say(token);
        client.skip_to(&format!("-- hello {name}"));
        client
    };
    let (mut ann, mut other_ann) = (login("ann", &anns_token), login("ann", &anns_token));
    let mut bob = login("bob", &bobs_token);
    files.configure("accounts = 5");
    server.signal(Signal::HUP);
    server.log.wait_for("reload failed");
    other_ann.say("still here");
    bob.skip_to("ann: still here");
    files.configure(&bobs_section);
    server.signal(Signal::HUP);
    for ended in [&mut ann, &mut other_ann] {
        ended.skip_to("-- your session has expired. log in again");
        ended.expect_end();
    }
    bob.skip_to("-- ann left");
    bob.say("/whois bob");
    bob.skip_to("-- bob has the account bob (user)");
}
