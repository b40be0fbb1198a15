//! Faults that only a real kernel causes, by their numbers in `src/guide/faults.md`.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, prlimit};
use tempfile::TempDir;

use crate::harness::{Client, Launch, PATIENCE, Server, eventually};

/// Starts a server that also has a Unix socket. Returns the folder of the socket, and its path.
fn start_with_unix_listener(flags: &str) -> (Server, TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat");
    let server =
        Launch::new(flags).arg("--line").arg(format!("unix:{}", path.display())).with_listeners().start();
    (server, folder, path)
}

/// Joins the lobby over a Unix socket, whose buffer in the kernel has a fixed size of some 200 KiB.
fn join_by_unix(path: &Path, name: &str) -> Client {
    let mut client = Client::connect_unix(path);
    client.enter(name);
    client
}

#[test]
fn fault_05_server_without_descriptors_retries_accept_without_a_spin() {
    let server = Server::start("");
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    ann.expect("-- bob joined");
    let used = server.descriptors();
    let lowest_free = (0..).find(|number| !used.contains(number)).unwrap();
    let limit = Rlimit { current: Some(lowest_free), maximum: Some(lowest_free) };
    prlimit(Some(server.pid()), Resource::Nofile, limit).expect("a child's limit can be lowered");

    let since = Instant::now();
    let mut cy = server.client();
    server.log.wait_for_count("accept failed, trying again", 4);
    bob.say("no hang");
    ann.expect("bob: no hang");
    // The tries are counted before the time, which a busy machine may stretch.
    let tries = server.log.text().matches("accept failed, trying again").count();
    let most = since.elapsed().as_millis() / 100 + 2;
    assert!(tries as u128 <= most, "a spin: {tries} tries");

    bob.say("/quit");
    bob.skip_to("-- bye");
    drop(bob);
    cy.enter("cy");
    ann.expect("-- bob left");
    ann.expect("-- cy joined");
}

#[test]
fn fault_07_connect_storm_of_500_does_not_delay_present_clients() {
    const THREADS: usize = 4;
    const EACH: usize = 125;
    let server = Server::start("--rate off");
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    let address = server.address();
    let storm = [0, 1, 2, 3].map(|thread| {
        thread::spawn(move || {
            let mut clients: Vec<_> = (0..EACH).map(|_| Client::connect(address)).collect();
            for (n, client) in clients.iter_mut().enumerate() {
                client.enter(&format!("c{thread}-{n}"));
            }
            clients
        })
    });
    let mut rounds = 0;
    let mut notices = 0;
    loop {
        let served = storm.iter().all(thread::JoinHandle::is_finished);
        rounds += 1;
        bob.say(&format!("round {rounds}"));
        let expected = format!("bob: round {rounds}");
        while ann.line().expect("ann stays") != expected {
            notices += 1;
        }
        if served {
            break;
        }
    }
    let stormers = storm.map(|thread| thread.join().expect("all are served"));
    ann.say("/rooms");
    ann.skip_to(&format!("-- rooms: #lobby ({})", THREADS * EACH + 2));
    // The room announces joins up to 50 members, and then sends one summary every 10 s.
    assert!((48..60).contains(&notices), "{notices} notices");
    drop(stormers);
}

#[test]
fn fault_09_churn_leaves_no_descriptor_behind() {
    let server = Server::start("");
    let mut ann = server.join("ann");
    let before = server.descriptors().len();
    for n in 0..1_000 {
        let mut client = server.client();
        match n % 3 {
            0 => client.reset(),
            1 => client.say("guest"),
            _ => drop(client),
        }
    }
    eventually("all descriptors", || (server.descriptors().len() == before).then_some(()));
    ann.say("/rooms");
    ann.skip_to("-- rooms: #lobby (1)");
}

#[test]
fn fault_10_input_before_a_half_close_is_delivered_and_answered() {
    let server = Server::start("");
    let mut bob = server.join("bob");
    let mut ann = server.client();
    ann.send(b"ann\n/who\nhi, without an end of line");
    ann.end_input();
    ann.expect("-- welcome to chinwag. what's your name?");
    ann.expect("-- hello ann. you are in #lobby with bob. /help lists the commands");
    ann.expect("-- in #lobby: bob, ann");
    ann.expect_end();
    bob.expect("-- ann joined");
    bob.expect("ann: hi, without an end of line");
    bob.expect("-- ann left");
}

#[test]
fn fault_10_half_close_of_a_throttled_client_loses_nothing() {
    let server = Server::start("--rate 20/s --burst 2");
    let mut bob = server.join("bob");
    let mut ann = server.client();
    ann.send(b"ann\n1\n2\n3\n4\n5\n6\n");
    ann.end_input();
    bob.expect("-- ann joined");
    for n in 1..=6 {
        bob.expect(&format!("ann: {n}"));
    }
    bob.expect("-- ann left");
    ann.skip_to("-- you send fast");
    ann.expect_end();
}

/// Keeps sending to a server that has closed, until any reset would have arrived.
fn type_on(client: &mut Client) {
    for _ in 0..5 {
        client.send(b"unread\n");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn fault_11_close_with_unread_input_still_delivers_the_reason() {
    let server = Server::start("");
    let mut ann = server.join("ann");
    // More than one read, so that some is unread when the server closes.
    let input = format!("/quit\n{}", "unread\n".repeat(20_000));
    ann.send(input.as_bytes());
    server.log.wait_for("disconnect ");
    type_on(&mut ann);
    ann.expect("-- bye");
    ann.expect_end();
}

#[test]
fn fault_11_endless_line_is_reported_before_the_close() {
    let server = Server::start("");
    let mut ann = server.join("ann");
    ann.send(&[b'x'; 2 << 20]);
    server.log.wait_for("disconnect ");
    type_on(&mut ann);
    ann.expect("-- that line was not sent: it is over 4096 bytes");
    ann.expect("-- your line does not end. good-bye");
    ann.expect_end();
}

#[test]
#[ignore = "needs python3"]
fn fault_11_dropped_client_that_keeps_typing_is_told_why() {
    let server = Server::start("--rate off --history 0 --write-buffer 64k --write-buffer-soft 32k:1m");
    let mut ann = server.join("ann");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/scripts/typist.py");
    let mut typist = Client::through("python3", &[script, "127.0.0.1", &server.port()]);
    typist.expect("typing");
    ann.skip_to("-- slow joined");
    let mut writer = ann.writer();
    let talker = thread::spawn(move || {
        let line = format!("{}\n", "x".repeat(4_000));
        while writer.write_all(line.as_bytes()).is_ok() {}
    });
    ann.skip_to("-- slow left (too slow)");
    typist.say("read");
    typist.expect("-- you were dropped: too much was waiting for you to read it");
    typist.expect_end();
    server.stop();
    talker.join().expect("the talker ends with the server");
}

#[test]
fn fault_12_reset_closes_only_that_client() {
    const LINES: usize = 2_000;
    let server = Server::start("--rate off");
    let (mut ann, mut bob, cy) = (server.join("ann"), server.join("bob"), server.join("cy"));
    ann.expect("-- bob joined");
    ann.expect("-- cy joined");
    // Cy reads none of it, so the reset arrives while the server is writing to it.
    let talker = thread::spawn(move || {
        for n in 1..=LINES {
            bob.say(&n.to_string());
        }
        bob
    });
    ann.expect("bob: 1");
    cy.reset();
    let mut received: Vec<_> = (2..=LINES + 1).map(|_| ann.line().expect("ann stays")).collect();
    let left = received.iter().position(|line| line == "-- cy left").expect("cy left");
    received.remove(left);
    let expected: Vec<_> = (2..=LINES).map(|n| format!("bob: {n}")).collect();
    assert_eq!(received, expected);
    talker.join().expect("bob stays");
    let line = server.log.wait_for("disconnect ");
    assert!(line.contains(r#"name="cy" reason=lost"#), "{line}");
}

#[test]
fn fault_14_reader_with_a_zero_window_is_dropped_and_told_when_it_reads_again() {
    const MOST: usize = 20_000;
    let server = Server::start("--rate off --write-buffer 64k --write-buffer-soft 32k:1m");
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    let narrow = Client::unconnected();
    narrow.set_recv_buffer_size(4096).unwrap();
    let mut slow = Client::over(narrow, &server.address().into());
    slow.enter("slow");
    ann.skip_to("-- slow joined");
    let line = |n: usize| format!("{n} {}", "x".repeat(4_000));

    let mut said = 0;
    loop {
        bob.say(&line(said));
        let mut received = ann.line();
        let dropped = received.as_deref() == Some("-- slow left (too slow)");
        if dropped {
            received = ann.line();
        }
        assert_eq!(received, Some(format!("bob: {}", line(said))), "the lines of the others");
        said += 1;
        if dropped {
            break;
        }
        assert!(said < MOST, "the kernel can't hold {} MB", (MOST * 4_000) >> 20);
    }

    // Output in the server is discarded, but no line is cut, doubled, or out of order.
    let mut taken = 0;
    let last = loop {
        let received = slow.line().expect("a last word");
        if received != format!("bob: {}", line(taken)) {
            break received;
        }
        taken += 1;
    };
    assert_eq!(last, "-- you were dropped: too much was waiting for you to read it");
    assert!(0 < taken && taken < said, "{taken} of {said}");
    slow.expect_end();
    let drop = server.log.wait_for(" drop ");
    assert!(drop.contains("WARN") && drop.contains(r#"name="slow" reason=buffer-full"#), "{drop}");
    server.log.wait_for(r#"name="slow" reason=buffer-full seconds="#);
}

#[test]
fn fault_14_reader_that_stops_is_dropped_at_each_limit() {
    let table = [
        ("--write-buffer 64k --write-buffer-soft 64k:1m --stall-timeout 1m", "buffer-full"),
        ("--write-buffer 4m --write-buffer-soft 64k:300ms --stall-timeout 1m", "buffer-high"),
        ("--write-buffer 4m --write-buffer-soft 4m:1m --stall-timeout 300ms", "stalled"),
    ];
    for (flags, reason) in table {
        let (server, _folder, path) = start_with_unix_listener(&format!("--rate off {flags}"));
        // The room has no other listener, which would have to read all the time.
        let mut bob = server.join("bob");
        let mut slow = join_by_unix(&path, "slow");
        bob.skip_to("-- slow joined");
        let text = "x".repeat(4_000);
        for _ in 0..200 {
            bob.say(&text);
        }
        bob.skip_to("-- slow left (too slow)");
        let line = server.log.wait_for("disconnect ");
        assert!(line.contains(&format!("reason={reason} ")), "{flags}: {line}");
        slow.skip_to("-- you were dropped: ");
        slow.expect_end();
    }
}

#[test]
fn skipped_reader_is_told_how_much_it_missed() {
    const LINES: usize = 200;
    let (server, _folder, path) = start_with_unix_listener(
        "--rate off --slow-client skip --write-buffer 64k --write-buffer-soft 32k:300ms",
    );
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    let mut slow = join_by_unix(&path, "slow");
    ann.skip_to("-- slow joined");
    let line = |n: usize| format!("{n} {}", "x".repeat(4_000));
    for n in 0..LINES {
        bob.say(&line(n));
        ann.expect(&format!("bob: {}", line(n)));
    }
    let mut taken = 0;
    let lines = loop {
        let received = slow.line().expect("slow stays");
        if received != format!("bob: {}", line(taken)) {
            break received;
        }
        taken += 1;
    };
    assert_eq!(lines, format!("-- you missed {} messages: you read too slowly", LINES - taken));
    bob.say("again");
    slow.expect("bob: again");
}

/// Joins a client that does not read, with more output queued than the kernel holds. The other clients have left.
fn stuff(server: &Server, path: &Path) -> Client {
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    let stuffed = join_by_unix(path, "stuffed");
    let text = "x".repeat(4_000);
    for _ in 0..200 {
        bob.say(&text);
        // She reads every line, and so is not slow as well.
        ann.skip_to(&format!("bob: {text}"));
    }
    stuffed
}

/// Sends lines and reads the echoes until the server closes, and reports each to `progress`.
fn talk_to_the_end(mut client: Client, progress: mpsc::Sender<()>) {
    loop {
        client.say("ping");
        match client.line().as_deref() {
            Some("-- the server is shutting down") => return client.expect_end(),
            // The receiver is gone once the signal is sent.
            Some(_) => drop(progress.send(())),
            None => panic!("closed without a word"),
        }
    }
}

#[test]
fn fault_18_sigterm_under_load_closes_all_clients_in_order() {
    let mut server = Server::start("--rate off");
    let mut talkers = Vec::new();
    for pair in ["a", "b", "c", "d"] {
        for n in [1, 2] {
            let mut client = server.join(&format!("{pair}{n}"));
            client.say(&format!("/join {pair}"));
            client.skip_to("-- you are ");
            talkers.push(client);
        }
    }
    let threads = talkers.into_iter().map(|client| {
        let (progress, received) = mpsc::channel();
        (thread::spawn(move || talk_to_the_end(client, progress)), received)
    });
    let threads: Vec<_> = threads.collect();
    for (_, received) in &threads {
        (0..50).for_each(|_| received.recv_timeout(PATIENCE).expect("talk"));
    }
    server.signal(Signal::TERM);
    for (thread, _) in threads {
        thread.join().expect("each is told, and closed in order");
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn fault_18_client_that_does_not_read_delays_the_shutdown_by_the_grace_at_most() {
    // Without the grace the stall timeout would end it.
    let (mut server, _folder, path) =
        start_with_unix_listener("--rate off --slow-client skip --stall-timeout 5m --grace 500ms");
    let _stuffed = stuff(&server, &path);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn fault_18_second_sigterm_ends_the_server_at_once() {
    let (mut server, _folder, path) =
        start_with_unix_listener("--rate off --slow-client skip --stall-timeout 5m --grace 5m");
    let _stuffed = stuff(&server, &path);
    server.signal(Signal::TERM);
    eventually("closed listeners", || {
        let late = Client::unconnected().connect_timeout(&server.address().into(), PATIENCE);
        late.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    // A server that does not wait for the client would end within this time.
    thread::sleep(Duration::from_millis(50));
    assert!(server.is_running(), "it waits for who has not read");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists(), "the socket's file goes, however it ends");
}

#[test]
fn fault_25_interrupted_telnet_client_gets_its_timing_mark_at_once() {
    let server = Server::start("");
    let mut ann = server.join("ann");
    // Interrupt process, and `DO TIMING-MARK`. No line end follows, since Ctrl-C discards the line.
    ann.send(b"\xff\xf4\xff\xfd\x06");
    assert_eq!(ann.bytes(), *b"\xff\xfb\x06");
    ann.say("/who");
    ann.expect("-- in #lobby: ann");
}

#[test]
fn fault_25_telnet_synch_with_urgent_data_is_ignored() {
    let server = Server::start("");
    let (mut ann, mut bob) = (server.join("ann"), server.join("bob"));
    ann.expect("-- bob joined");
    bob.send(b"one\n");
    bob.writer().send_out_of_band(b"\xff\xf2").unwrap();
    bob.send(b"two\n");
    ann.expect("bob: one");
    ann.expect("bob: two");
}
