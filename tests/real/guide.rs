//! The command lines of the README and the guide, run by a shell as they are printed there, with other ports.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::{Launch, Server, require};
use crate::programs::shell;
use crate::shown::is_shown_as;

const README: &str = include_str!("../../README.md");
const ACCESS: &str = include_str!("../../src/guide/access.md");
const PROTOCOL: &str = include_str!("../../src/guide/protocol.md");

/// A command line, and the lines that it prints.
type Example<'a> = (&'a str, Vec<&'a str>);

/// Returns the command lines behind a `$` that need that program, in order.
fn examples<'a>(page: &'a str, program: &str) -> Vec<Example<'a>> {
    let blocks = page.split("\n```").skip(1).step_by(2);
    let mut examples: Vec<Example<'a>> = Vec::new();
    for line in blocks.flat_map(|block| block.lines().skip(1).chain(["$ true"])) {
        match line.strip_prefix("$ ") {
            Some(command) => examples.push((command, Vec::new())),
            None => {
                if let Some((_, output)) = examples.last_mut() {
                    output.push(line);
                }
            }
        }
    }
    examples.retain(|(command, _)| command.split(' ').any(|word| word == program));
    examples
}

/// Returns the output of a command line at that server. A command that follows a stream is stopped after a second.
fn run(server: &Server, program: &str, command: &str) -> String {
    let command = command.replace("localhost:7712", &server.http_address().to_string());
    let command = command.replace("localhost 7711", &format!("localhost {}", server.port()));
    let command =
        command.replace("curl ", "curl --silent ").replace("curl --silent -N", "timeout 1 curl --silent -N");
    String::from_utf8(shell(program, &command).stdout).expect("UTF-8")
}

fn assert_examples(page: &str, count: usize) {
    assert_examples_at(&Server::start(""), "", page, count);
}

/// Runs the examples behind a command that sets their variables.
fn assert_examples_at(server: &Server, variables: &str, page: &str, count: usize) {
    let examples = examples(page, "curl");
    assert_eq!(examples.len(), count);
    for (command, shown) in examples {
        let real = run(server, "curl", &format!("{variables}{command}"));
        let real: Vec<&str> = real.trim_end().lines().collect();
        assert_eq!(real.len(), shown.len(), "{command}: {real:?}");
        for (real, shown) in real.iter().zip(shown) {
            assert!(is_shown_as(real, shown), "{command}: {real:?} is not {shown:?}");
        }
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_prints_what_the_readme_shows() {
    let (before, _) = README.split_once("## Access").expect("a section");
    assert_examples(before, 3);
}

/// Runs the commands of a page that contain a text in a new folder, where `chinwag` is the binary. Returns the folder, and the
/// output of the commands, that on standard error too.
fn run_in_a_folder(page: &str, part: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_chinwag")).parent().unwrap().display();
    let lines = page.lines().filter_map(|line| line.strip_prefix("$ ")).filter(|line| line.contains(part));
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("chinwag --")).collect();
    assert!(!lines.is_empty());
    let line = format!("cd {} && PATH={binaries}:$PATH && {}", folder.path().display(), lines.join(" && "));
    let output = shell("sh", &format!("( {line} ) 2>&1"));
    assert!(output.status.success(), "{output:?}");
    (folder, String::from_utf8(output.stdout).unwrap())
}

fn start_in(folder: &TempDir, flags: &str) -> Server {
    Launch::new(flags).arg("--config").arg(folder.path().join("chinwag.toml")).with_listeners().start()
}

/// Makes ann a moderator by the commands of the page on access, and returns her server and token.
fn server_of_ann() -> (Server, String) {
    let (folder, output) = run_in_a_folder(ACCESS, "chinwag.toml");
    let token = output.lines().next().expect("a token").to_string();
    (start_in(&folder, ""), token)
}

#[test]
#[ignore = "needs curl"]
fn commands_of_the_readme_let_only_the_poller_publish() {
    let (_, section) = README.split_once("## Access").expect("a section");
    let (folder, output) = run_in_a_folder(section, "chinwag.toml");
    let token = output.lines().next().expect("a token");
    assert_examples_at(&start_in(&folder, ""), &format!("TOKEN={token}; "), section, 2);
}

#[test]
fn token_command_prints_what_the_page_on_access_shows() {
    let (command, shown) = examples(ACCESS, "chinwag")[0].clone();
    let output = Launch::new(command.strip_prefix("chinwag").expect("a command")).run();
    let real = String::from_utf8(output.stdout).unwrap();
    assert_eq!(real.lines().count(), shown.len(), "{real}");
    assert!(real.lines().zip(shown).all(|(real, shown)| is_shown_as(real, shown)), "{real}");
}

#[test]
#[ignore = "needs curl"]
fn curl_moderates_as_the_page_on_access_shows() {
    let (server, token) = server_of_ann();
    let mut eve = server.join("eve");
    assert_examples_at(&server, &format!("TOKEN={token}; "), ACCESS, 6);
    eve.skip_to("-- ann has muted you for 10 min");
    eve.skip_to("-- ann lets you speak again");
    eve.skip_to("-- ann has removed you: spam");
}

#[test]
#[ignore = "needs nc (netcat-openbsd)"]
fn nc_logs_in_as_the_page_on_access_shows() {
    let (server, token) = server_of_ann();
    let (command, shown) = examples(ACCESS, "nc").pop().expect("a command");
    let real = run(&server, "nc", &command.replace("TOKEN", &token));
    assert_eq!(real.lines().collect::<Vec<_>>(), shown);
}

#[test]
#[ignore = "needs python3-jwt and openssl"]
fn python_makes_a_token_as_the_page_on_access_shows() {
    require("openssl");
    let (folder, _) = run_in_a_folder(ACCESS, "openssl");
    let (_, code) = ACCESS.split_once("```python\n").expect("a block");
    fs::write(folder.path().join("dora.py"), code.split("```").next().unwrap()).unwrap();
    let line = format!("cd {} && /usr/bin/python3 dora.py", folder.path().display());
    let output = shell("sh", &line);
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap();
    let launch = Launch::new("--jwt-audience chat --jwt-key").arg(folder.path().join("jwt.key"));
    let server = launch.with_listeners().start();
    let mut dora = server.client();
    dora.say(&format!("/login {}", token.trim()));
    dora.skip_to("-- hello dora. you are alone in #board");
}

#[test]
#[ignore = "needs curl"]
fn curl_prints_what_the_guide_shows() {
    assert_examples(PROTOCOL, 9);
}

#[test]
#[ignore = "needs nc"]
fn script_of_the_readme_is_delivered() {
    let server = Server::start("");
    let mut ann = server.join("ann");
    let examples = examples(README, "nc");
    let script = examples.iter().find(|(command, _)| command.starts_with("printf")).expect("a script");
    run(&server, "nc", script.0);
    ann.expect("-- bot joined");
    ann.expect("bot: the build is green");
    ann.expect("-- bot left");
}
