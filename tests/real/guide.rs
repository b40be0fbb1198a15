//! The command lines of the README and the guide, run by a shell as they are printed there, with other ports.

use crate::harness::Server;
use crate::programs::shell;
use crate::shown::is_shown_as;

const README: &str = include_str!("../../README.md");
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
    let server = Server::start("");
    let examples = examples(page, "curl");
    assert_eq!(examples.len(), count);
    for (command, shown) in examples {
        let real = run(&server, "curl", command);
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
    assert_examples(README, 3);
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
