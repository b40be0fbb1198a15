//! The state file on a real disk: `kill -9`, damaged files, folders that can't be written to, and modes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use super::{Files, make_token};
use crate::harness::{Client, Server};

fn moderator(server: &Server, token: &str) -> Client {
    let mut client = server.client();
    client.say(&format!("/login {token}"));
    client.skip_to("-- hello mod.");
    client
}

#[test]
fn acknowledged_ban_outlasts_kill_9() {
    let (token, section) = make_token("mod", "moderator");
    let files = Files::new(&section);
    for number in 1..=20 {
        let mut server = files.start("--registration --state @/state.json");
        let mut client = moderator(&server, &token);
        client.say(&format!("/ban 192.0.2.{number} 7d"));
        client.skip_to(&format!("-- 192.0.2.{number} is banned"));
        server.signal(Signal::KILL);
        server.wait();
    }
    let server = files.start("--registration --state @/state.json");
    let mut client = moderator(&server, &token);
    client.say("/bans");
    let listed: BTreeSet<String> = (1..=20).map(|_| client.skip_to("-- 192.0.2.")).collect();
    let expected = (1..=20).map(|number| format!("-- 192.0.2.{number} for 7 days, by mod"));
    assert_eq!(listed, expected.collect());
    let left: Vec<_> =
        fs::read_dir(files.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn registered_token_outlasts_kill_9() {
    let files = Files::new("");
    let mut server = files.start("--registration --state @/state.json");
    let mut zoe = server.join("zoe");
    zoe.say("/register");
    let shown = zoe.skip_to("-- zoe is your name now. your token");
    let token = shown.rsplit(' ').next().unwrap().to_string();
    server.signal(Signal::KILL);
    server.wait();
    assert!(!fs::read_to_string(files.path("state.json")).unwrap().contains(&token));
    let server = files.start("--registration --state @/state.json");
    let mut zoe = server.client();
    zoe.say("zoe");
    zoe.skip_to("-- zoe is registered. token?");
    zoe.say(&token);
    zoe.skip_to("-- hello zoe.");
}

#[test]
fn damaged_state_file_exits_1_with_the_position() {
    let files = Files::new("");
    files.start("--state @/state.json").stop();
    let good = fs::read_to_string(files.path("state.json")).unwrap();
    let at = good.rfind(']').expect("a list");
    let (line, column) = (good[..at].lines().count(), good[..at].lines().last().unwrap().chars().count() + 1);
    let damaged = format!("{}}}{}", &good[..at], &good[at + 1..]);
    fs::write(files.path("state.json"), &damaged).unwrap();
    let output = files.launch("--state @/state.json --max-clients 10 --max-waiting 0").with_listeners().run();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains(&format!("state.json:{line}:{column}: ")) && told.contains("repair it"), "{told}");
    assert_eq!(fs::read_to_string(files.path("state.json")).unwrap(), damaged);
    for cut in ["", &good[..good.len() / 2]] {
        fs::write(files.path("state.json"), cut).unwrap();
        let output = files.launch("--state @/state.json").with_listeners().run();
        assert_eq!(output.status.code(), Some(1), "{cut:?} is no empty state");
        assert_eq!(fs::read_to_string(files.path("state.json")).unwrap(), cut);
    }
}

#[test]
fn folder_that_can_not_be_written_to_exits_1_with_advice() {
    let files = Files::new("");
    // The super-user can't create files there either.
    for state in ["/proc/state.json", "/does/not/exist/state.json"] {
        let flags = format!("--max-clients 10 --max-waiting 0 --state {state}");
        let output = files.launch(&flags).with_listeners().run();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
        let has_advice =
            told.contains("must be able to create files") || told.contains("name a file in a folder");
        assert!(told.contains(state) && has_advice, "{told}");
    }
}

#[test]
fn state_file_is_readable_by_the_server_alone() {
    let (token, section) = make_token("mod", "moderator");
    let files = Files::new(&section);
    let mode = || fs::metadata(files.path("state.json")).unwrap().permissions().mode() & 0o777;
    let server = files.start("--state @/state.json");
    assert_eq!(mode(), 0o600);
    fs::set_permissions(files.path("state.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let mut client = moderator(&server, &token);
    client.say("/ban eve");
    client.skip_to("-- eve is banned");
    assert_eq!(mode(), 0o600);
}
