//! Common clients: `nc`, `ncat`, `telnet`, `socat`, each as Debian packages it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rexpect::session::PtySession;
use tempfile::TempDir;

use crate::harness::{Client, Launch, PATIENCE, Running, Server, require};

/// Runs a shell command line to its end.
pub fn shell(program: &str, line: &str) -> Output {
    require(program);
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(&mut command).output()
}

fn server_with_path() -> (Server, TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat");
    let server = Launch::new("--line").arg(format!("unix:{}", path.display())).with_listeners().start();
    (server, folder, path)
}

/// Has a person behind a program give a name, chat with a plain client, and leave.
fn talk(server: &Server, mut person: Client) {
    let mut bob = server.join("bob");
    person.skip_to("-- welcome to chinwag. what's your name?");
    person.say("ann");
    person.expect("-- hello ann. you are in #lobby with bob. /help lists the commands");
    bob.expect("-- ann joined");
    // Some letters have to be avoided: a telnet without a terminal takes the byte 80 for a Ctrl-C.
    person.say("hi, zoë 🦊");
    bob.expect("ann: hi, zoë 🦊");
    bob.say("hello");
    person.expect("bob: hello");
    person.say("/quit");
    person.expect("-- bye");
    bob.expect("-- ann left");
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn two_people_with_nc_talk() {
    let server = Server::start("");
    let port = server.port();
    let nc = || Client::through("nc", &["127.0.0.1", &port]);
    let (mut ann, mut bob) = (nc(), nc());
    ann.enter("ann");
    bob.enter("bob");
    ann.expect("-- bob joined");
    ann.say("hi");
    bob.expect("ann: hi");
    bob.say("/me waves");
    ann.expect("* bob waves");
    // Closing the window ends the connection.
    drop(bob);
    ann.expect("-- bob left");
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn nc_talks() {
    let server = Server::start("");
    talk(&server, Client::through("nc", &["127.0.0.1", &server.port()]));
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn nc_talks_over_a_unix_socket() {
    let (server, _folder, path) = server_with_path();
    talk(&server, Client::through("nc", &["-U", path.to_str().unwrap()]));
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn fault_10_lines_piped_into_nc_are_delivered_and_answered() {
    let server = Server::start("");
    let mut bob = server.join("bob");
    let output = shell("nc", &format!(r"printf 'ann\nhi\n' | nc -N 127.0.0.1 {}", server.port()));
    assert!(output.status.success(), "{output:?}");
    let expected = "-- welcome to chinwag. what's your name?\n\
                    -- hello ann. you are in #lobby with bob. /help lists the commands\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    bob.expect("-- ann joined");
    bob.expect("ann: hi");
    bob.expect("-- ann left");
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn fault_10_long_pipe_into_nc_is_delivered_to_its_end() {
    let server = Server::start("--rate off");
    let mut bob = server.join("bob");
    let line = format!("{{ echo ann; seq 1 2000; }} | nc -N 127.0.0.1 {}", server.port());
    assert!(shell("nc", &line).status.success());
    bob.expect("-- ann joined");
    for n in 1..=2_000 {
        bob.expect(&format!("ann: {n}"));
    }
    bob.expect("-- ann left");
}

#[test]
#[ignore = "needs ncat"]
fn ncat_talks() {
    let server = Server::start("");
    talk(&server, Client::through("ncat", &["127.0.0.1", &server.port()]));
}

#[test]
#[ignore = "needs ncat"]
fn ncat_talks_with_crlf() {
    let server = Server::start("");
    talk(&server, Client::through("ncat", &["--crlf", "127.0.0.1", &server.port()]));
}

#[test]
#[ignore = "needs ncat"]
fn ncat_talks_over_a_unix_socket() {
    let (server, _folder, path) = server_with_path();
    talk(&server, Client::through("ncat", &["-U", path.to_str().unwrap()]));
}

#[test]
#[ignore = "needs socat"]
fn socat_talks_over_a_unix_socket() {
    let (server, _folder, path) = server_with_path();
    talk(&server, Client::through("socat", &["-", &format!("UNIX-CONNECT:{}", path.display())]));
}

#[test]
#[ignore = "needs socat"]
fn lines_piped_into_socat_are_delivered_and_answered() {
    let (server, _folder, path) = server_with_path();
    let mut bob = server.join("bob");
    let line = format!(r"printf 'ann\nhi\n' | socat -t 10 - UNIX-CONNECT:{}", path.display());
    let output = shell("socat", &line);
    assert!(String::from_utf8_lossy(&output.stdout).contains("-- hello ann."), "{output:?}");
    bob.expect("-- ann joined");
    bob.expect("ann: hi");
    bob.expect("-- ann left");
}

#[test]
#[ignore = "needs telnet"]
fn telnet_talks() {
    let server = Server::start("");
    talk(&server, Client::through("telnet", &["127.0.0.1", &server.port()]));
}

/// A person at a terminal with a program.
pub struct Person(PtySession);

impl Person {
    pub fn at(program: &str, args: &[&str]) -> Person {
        require(program);
        let mut command = Command::new(program);
        command.args(args).env("TERM", "dumb");
        let patience_ms = PATIENCE.as_millis() as u64;
        Person(rexpect::session::spawn_command(command, Some(patience_ms)).expect("a terminal"))
    }

    pub fn types(&mut self, line: &str) {
        self.0.send_line(line).expect("the terminal takes it");
    }

    #[track_caller]
    pub fn sees(&mut self, text: &str) {
        if let Err(error) = self.0.exp_string(text) {
            panic!("{error}");
        }
    }

    pub fn presses_control(&mut self, key: char) {
        self.0.send_control(key).expect("the terminal takes it");
    }

    /// Presses keys without Enter.
    pub fn presses(&mut self, keys: &str) {
        self.0.send(keys).expect("the terminal takes it");
        self.0.flush().expect("the terminal takes it");
    }

    #[track_caller]
    fn sees_the_end(&mut self) {
        if let Err(error) = self.0.exp_eof() {
            panic!("{error}");
        }
    }
}

/// Types a whole session: the name, messages, the help, and the goodbye.
fn evening(server: &Server, person: &mut Person) {
    let mut bob = server.join("bob");
    person.sees("-- welcome to chinwag. what's your name?");
    person.types("ann");
    person.sees("-- hello ann. you are in #lobby with bob. /help lists the commands");
    bob.expect("-- ann joined");
    person.types("hi bob");
    bob.expect("ann: hi bob");
    bob.say("hi ann");
    person.sees("bob: hi ann");
    person.types("/help");
    person.sees("-- /quit [REASON]");
    person.types("/quit supper");
    person.sees("-- bye");
    bob.expect("-- ann left (supper)");
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn person_types_into_nc() {
    let server = Server::start("");
    let mut person = Person::at("nc", &["127.0.0.1", &server.port()]);
    evening(&server, &mut person);
}

#[test]
#[ignore = "needs telnet"]
fn person_types_into_telnet() {
    let server = Server::start("");
    let mut person = Person::at("telnet", &["127.0.0.1", &server.port()]);
    person.sees("Escape character is");
    evening(&server, &mut person);
    person.sees("Connection closed by foreign host.");
    person.sees_the_end();
}

#[test]
#[ignore = "needs telnet"]
fn fault_25_control_c_in_telnet_is_no_message_and_the_chat_goes_on() {
    let server = Server::start("");
    let mut bob = server.join("bob");
    let mut person = Person::at("telnet", &["127.0.0.1", &server.port()]);
    person.sees("-- welcome to chinwag. what's your name?");
    person.types("ann");
    person.sees("-- hello ann.");
    bob.expect("-- ann joined");
    // Telnet requests a timing mark, and shows nothing before it has the answer.
    person.presses_control('c');
    person.types("still here");
    bob.expect("ann: still here");
    bob.say("so am I");
    person.sees("bob: so am I");
}

#[test]
#[ignore = "needs telnet"]
fn fault_25_negotiation_in_telnet_is_ignored() {
    let server = Server::start("");
    let mut bob = server.join("bob");
    let mut person = Person::at("telnet", &["127.0.0.1", &server.port()]);
    person.sees("-- welcome to chinwag. what's your name?");
    person.types("ann");
    person.sees("-- hello ann.");
    bob.expect("-- ann joined");
    for command in ["send ayt", "send nop", "send do echo", "send will naws", "send brk", "send synch"] {
        person.presses_control(']');
        person.sees("telnet> ");
        person.types(command);
        person.types(&format!("after {command}"));
        bob.expect(&format!("ann: after {command}"));
    }
    bob.say("not a trace");
    person.sees("bob: not a trace");
}
