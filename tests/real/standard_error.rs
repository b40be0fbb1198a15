//! Fault 19: faults of standard error, where the log goes, do not affect the chat.

use std::fs::File;
use std::io::{ErrorKind, Write};

use rustix::io::ioctl_fionbio;
use rustix::process::Signal;

use crate::harness::{Launch, Server, eventually};

/// Causes all kinds of log lines: joins, ends, and a failure at the end.
fn chat(server: &Server) {
    for round in 0..20 {
        let (mut ann, mut bob) = (server.join(&format!("ann{round}")), server.join(&format!("bob{round}")));
        ann.skip_to(&format!("-- bob{round} joined"));
        ann.say("hi");
        bob.skip_to(&format!("ann{round}: hi"));
        bob.reset();
        ann.skip_to(&format!("-- bob{round} left"));
    }
}

#[test]
fn fault_19_chat_works_with_standard_error_closed() {
    let server = Launch::in_shell(r#"exec "$0" "$@" 2>&-"#, "--log trace").with_listeners().start();
    chat(&server);
    server.stop();
}

#[test]
fn fault_19_chat_works_with_standard_error_on_a_full_disk() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let server = Launch::new("--log trace").stderr(full).with_listeners().start();
    chat(&server);
    server.stop();
}

#[test]
fn fault_19_chat_works_with_standard_error_a_broken_pipe() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let server = Launch::new("--log trace").stderr(writer).with_listeners().start();
    chat(&server);
    server.stop();
}

#[test]
fn fault_19_chat_works_with_standard_error_a_full_pipe() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fill(&mut writer);
    let server = Launch::new("--log trace").stderr(writer).with_listeners().start();
    chat(&server);
    // Once the pipe is read, the log goes on with new lines, and counts the lost ones.
    server.log.follow(reader);
    let mut visitors = 0..;
    let line = eventually("the log to go on", || {
        server.join(&format!("cy{}", visitors.next()?));
        server.log.text().lines().find(|line| line.contains("lost_lines=")).map(String::from)
    });
    let lost: usize = line.rsplit('=').next().unwrap().parse().unwrap();
    assert!(lost > 100, "{line}");
    server.stop();
}

#[test]
fn fault_19_lost_lines_are_counted_in_a_log_of_errors_alone_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chinwag.toml");
    std::fs::write(&file, "").unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    fill(&mut writer);
    let flags = format!("--log error --config {}", file.display());
    let server = Launch::new(&flags).stderr(writer).with_listeners().start();
    // A file that can't be read is an error.
    std::fs::write(&file, "?").unwrap();
    server.signal(Signal::HUP);
    // The signal was handled before these.
    (0..3).for_each(|number| drop(server.join(&format!("ann{number}"))));
    server.log.follow(reader);
    let line = eventually("the log to go on", || {
        server.signal(Signal::HUP);
        server.log.text().lines().find(|line| line.contains("lost_lines=")).map(String::from)
    });
    assert!(line.contains("ERROR"), "{line}");
    server.stop();
}

#[test]
fn fault_19_bad_flags_exit_2_without_a_standard_error() {
    let output = Launch::in_shell(r#"exec "$0" "$@" 2>&-"#, "--lien").run();
    assert_eq!(output.status.code(), Some(2));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = Launch::new("--lien").stderr(full).run();
    assert_eq!(output.status.code(), Some(2));
}

/// Writes until the pipe is full.
fn fill(pipe: &mut std::io::PipeWriter) {
    ioctl_fionbio(&*pipe, true).unwrap();
    for piece in [&[b'x'; 4096][..], b"x"] {
        let error = std::iter::repeat_with(|| pipe.write_all(piece)).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    // The mode belongs to the pipe: the server must get one whose writes would block.
    ioctl_fionbio(&*pipe, false).unwrap();
}
