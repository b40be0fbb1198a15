//! The server as a process: flags, variables, exit codes, signals, and the service manager.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Output;

use rustix::process::Signal;

use crate::harness::{Client, Launch, PATIENCE, Server, free_port};

/// Returns the only line on standard error of a process that has printed nothing else.
#[track_caller]
fn only_line(output: &Output) -> &str {
    let stderr = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.stdout, b"", "standard error: {stderr}");
    let line = stderr.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {stderr:?}"));
    assert!(!line.is_empty() && !line.contains('\n'), "not one line: {stderr:?}");
    line
}

#[test]
fn bad_flags_exit_2_with_one_line_that_names_them() {
    let table = [
        ("--lien 127.0.0.1:0", "--lien"),
        ("--line 7711", "HOST:PORT"),
        ("--line-max 5q", "--line-max"),
        ("--motd /does/not/exist", "/does/not/exist"),
    ];
    for (flags, part) in table {
        let output = Launch::new(flags).run();
        assert_eq!(output.status.code(), Some(2), "{flags}");
        let line = only_line(&output);
        assert!(line.starts_with("chinwag: ") && line.contains(part), "{flags}: {line}");
    }
}

#[test]
fn bad_variable_exits_2_like_a_bad_flag() {
    let output = Launch::new("--line none").env("CHINWAG_LINE_MAX", "much").run();
    assert_eq!(output.status.code(), Some(2));
    assert!(only_line(&output).contains("much"), "{output:?}");
}

#[test]
fn port_in_use_exits_1_with_one_line_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // The limit on open files allows this number of clients, so it causes no second line in the log.
    let output = Launch::new("--max-clients 10 --max-waiting 0 --line").arg(&address).run();
    assert_eq!(output.status.code(), Some(1));
    let line = only_line(&output);
    assert!(line.starts_with("chinwag: ") && line.contains(&address) && line.contains("--line"), "{line}");
}

#[test]
fn too_few_descriptors_for_any_client_exit_1() {
    let output = Launch::in_shell(r#"ulimit -n 50; exec "$0" "$@""#, "--line 127.0.0.1:0").run();
    assert_eq!(output.status.code(), Some(1));
    assert!(only_line(&output).contains("ulimit -n"), "{output:?}");
}

#[test]
fn check_validates_the_configuration_and_does_not_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Launch::new("--check --line").arg(address).run();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"the configuration is good\n");
    assert_eq!(output.stderr, b"");
    assert_eq!(Launch::new("--check --rate 0/s").run().status.code(), Some(2));
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = Launch::new("--help").run();
    assert_eq!((help.status.code(), help.stderr.as_slice()), (Some(0), b"".as_slice()));
    assert!(String::from_utf8(help.stdout).unwrap().contains("--print-addresses"));
    let version = Launch::new("--version").run();
    assert_eq!(version.stdout, format!("chinwag {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}

#[test]
fn bound_addresses_are_printed_as_one_line_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat");
    let listener = format!("unix:{}", path.display());
    let server = Launch::new("--print-addresses --http none --line 127.0.0.1:0 --line 127.0.0.1:0 --line")
        .arg(listener)
        .start();
    let ports: Vec<_> = server.addresses.split("127.0.0.1:").skip(1).collect();
    let ports: Vec<u16> = ports.iter().map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect();
    let [first, second] = ports[..] else { panic!("{}", server.addresses) };
    let expected = format!(
        r#"{{"line":["127.0.0.1:{first}","127.0.0.1:{second}"],"http":[],"unix":["{}"]}}"#,
        path.display()
    );
    assert_eq!(server.addresses, expected);
    for port in [first, second] {
        Client::connect(([127, 0, 0, 1], port).into()).enter(&format!("ann{port}"));
    }
    Client::connect_unix(&path).enter("bob");
}

#[test]
fn variables_are_flags_and_flags_come_first() {
    let long = "x".repeat(300);
    let refusal = |server: Server| {
        let mut ann = server.client();
        ann.skip_to("-- hello guest-1. ");
        ann.say(&long);
        ann.say("/quit");
        ann.line().unwrap()
    };
    let variables = |launch: Launch| launch.env("CHINWAG_LINE_MAX", "200").env("CHINWAG_GUESTS", "1");
    let by_variable = variables(Launch::new("")).with_listeners().start();
    assert_eq!(refusal(by_variable), "-- that line was not sent: it is over 200 bytes");
    let by_flag = variables(Launch::new("--line-max 256")).with_listeners().start();
    assert_eq!(refusal(by_flag), "-- that line was not sent: it is over 256 bytes");
}

#[test]
fn listeners_may_come_from_a_variable() {
    let launch = Launch::new("");
    let launch = launch.env("CHINWAG_LINE", "127.0.0.1:0").env("CHINWAG_PRINT_ADDRESSES", "true");
    launch.start().join("ann");
}

#[test]
fn variable_that_is_no_flag_causes_a_warning() {
    let server = Launch::new("").env("CHINWAG_LINEMAX", "200").with_listeners().start();
    let line = server.log.wait_for("CHINWAG_LINEMAX");
    assert!(line.contains("WARN"), "{line}");
    let checked = Launch::new("--check").env("CHINWAG_LINEMAX", "200").run();
    assert_eq!(checked.status.code(), Some(0));
    let log = String::from_utf8(checked.stderr).unwrap();
    assert!(log.contains("WARN") && log.contains("CHINWAG_LINEMAX"), "{log}");
}

#[test]
fn sigterm_and_sigint_end_the_server_with_0_and_tell_every_client() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start("");
        let (mut ann, mut unnamed) = (server.join("ann"), server.client());
        unnamed.expect("-- welcome to chinwag. what's your name?");
        server.signal(signal);
        for client in [&mut ann, &mut unnamed] {
            client.expect("-- the server is shutting down");
            client.expect_end();
        }
        drop((ann, unnamed));
        assert_eq!(server.wait().code(), Some(0), "{signal:?}");
    }
}

#[test]
fn server_that_has_closed_its_connections_starts_again_on_the_same_port() {
    let flags = format!("--line 127.0.0.1:{} --http none --print-addresses", free_port());
    let mut server = Launch::new(&flags).start();
    // The side that closes first keeps the port for a while, since the other one has not closed.
    let mut ann = server.join("ann");
    server.signal(Signal::TERM);
    ann.skip_to("-- the server is shutting down");
    ann.expect_end();
    assert_eq!(server.wait().code(), Some(0));
    let again = Launch::new(&flags).start();
    again.join("bob");
    drop(ann);
}

#[test]
fn sighup_reads_the_message_of_the_day_again() {
    let motd = tempfile::NamedTempFile::new().unwrap();
    let write = |text: &str| std::fs::write(motd.path(), text).unwrap();
    write("be kind\n");
    let server = Launch::new("--motd").arg(motd.path()).with_listeners().start();
    server.client().expect("-- be kind");
    write("be brave\nand kind\n");
    server.client().expect("-- be kind");
    server.signal(Signal::HUP);
    server.log.wait_for("reload motd_lines=2");
    let mut bob = server.client();
    bob.expect("-- be brave");
    bob.expect("-- and kind");
    bob.expect("-- welcome to chinwag. what's your name?");
}

#[test]
fn reload_that_fails_keeps_the_old_message_of_the_day() {
    let motd = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(motd.path(), "be kind\n").unwrap();
    let server = Launch::new("--motd").arg(motd.path()).with_listeners().start();
    let mut ann = server.join("ann");
    motd.close().unwrap();
    server.signal(Signal::HUP);
    let line = server.log.wait_for("reload failed");
    assert!(line.contains("ERROR") && line.contains("--motd"), "{line}");
    server.client().expect("-- be kind");
    ann.say("/who");
    ann.expect("-- in #lobby: ann");
}

#[test]
fn configuration_file_sets_flags_and_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chinwag.toml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(
        "line = \"127.0.0.1:0\"\nhttp = \"none\"\nprint-addresses = true\nline-max = 200\nlog = \"warn\"\n",
    );
    let server = Launch::new("").env("CHINWAG_CONFIG", &path).start();
    let mut ann = server.join("ann");
    ann.say(&"x".repeat(201));
    ann.expect("-- that line was not sent: it is over 200 bytes");
    write(
        "line = \"127.0.0.1:0\"\nhttp = \"none\"\nprint-addresses = true\nline-max = 300\nlog = \"info\"\n",
    );
    server.signal(Signal::HUP);
    let line = server.log.wait_for("reload needs_restart");
    assert!(line.contains("WARN") && line.contains("\"line-max\""), "{line}");
    // The lower level has taken effect.
    server.log.wait_for("reload motd_lines=0");
    write("line-max = 1\n");
    server.signal(Signal::HUP);
    let line = server.log.wait_for("reload failed");
    assert!(line.contains("ERROR") && line.contains("chinwag.toml:1: line-max:"), "{line}");
    ann.say("still here");
    ann.say("/who");
    ann.expect("-- in #lobby: ann");
}

#[test]
fn check_reads_the_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chinwag.toml");
    std::fs::write(&path, "history = 5\n").unwrap();
    let output = Launch::new("--check --config").arg(&path).run();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (text, problem) in [
        ("[rooms.a]\nspeek = \"user\"\n", "chinwag.toml:2: [rooms.a] speek:"),
        ("[filter]\nwords = [\"\\u200b\"]\n", "chinwag.toml:1: filter:"),
    ] {
        std::fs::write(&path, text).unwrap();
        for flags in ["--check --config", "--line 127.0.0.1:0 --http none --config"] {
            let output = Launch::new(flags).arg(&path).run();
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(only_line(&output).contains(problem), "{output:?}");
        }
    }
}

#[test]
fn file_of_a_unix_socket_is_removed_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat");
    let listener = format!("unix:{}", path.display());
    let server = Launch::new("--print-addresses --http none --line").arg(&listener).start();
    Client::connect_unix(&path).enter("ann");
    server.stop();
    assert!(!path.exists());
}

#[test]
fn file_of_a_killed_server_does_not_stop_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat");
    let listener = format!("unix:{}", path.display());
    let start = || Launch::new("--print-addresses --http none --line").arg(&listener).start();
    let mut killed = start();
    killed.signal(Signal::KILL);
    killed.wait();
    assert!(path.exists(), "nobody could have removed it");
    let _next = start();
    Client::connect_unix(&path).enter("ann");
}

/// Passes standard input to the server as descriptor 3, as a service manager does (`sd_listen_fds(3)`).
const HAND_OVER: &str = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@" 3<&0 </dev/null"#;

#[test]
fn tcp_listener_is_taken_over_from_the_service_manager() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Launch::in_shell(HAND_OVER, "--print-addresses").stdin(OwnedFd::from(listener)).start();
    // The default listener is opened only if there is no other.
    assert_eq!(server.addresses, format!(r#"{{"line":["{address}"],"http":[],"unix":[]}}"#));
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    bob.say("hi");
    ann.skip_to("bob: hi");
}

#[test]
fn unix_listener_is_taken_over_and_its_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat");
    let listener = UnixListener::bind(&path).unwrap();
    let server = Launch::in_shell(HAND_OVER, "--print-addresses").stdin(OwnedFd::from(listener)).start();
    Client::connect_unix(&path).enter("ann");
    server.stop();
    assert!(path.exists(), "it is the service manager's");
}

#[test]
fn service_manager_is_notified_of_the_start_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let notice = || {
        let mut buffer = [0; 256];
        let count = manager.recv(&mut buffer).expect("a notice");
        String::from_utf8(buffer[..count].into()).unwrap()
    };
    let server = Launch::new("").env("NOTIFY_SOCKET", &path).with_listeners().start();
    assert_eq!(notice().trim_end(), "READY=1");
    server.join("ann");
    server.stop();
    assert_eq!(notice().trim_end(), "STOPPING=1");
}

#[test]
fn server_starts_without_its_service_manager() {
    let folder = tempfile::tempdir().unwrap();
    let server = Launch::new("").env("NOTIFY_SOCKET", folder.path().join("gone")).with_listeners().start();
    server.join("ann");
    server.log.wait_for("NOTIFY_SOCKET");
}
