//! `/metrics` counts every event exactly once. `Stage::tick` compares the bytes with the world's own count after every
//! tick of every test.

use std::collections::BTreeMap;
use std::time::Duration;

use chinwag::metrics::PHASES;

use crate::cluster::{Cluster, Guest};
use crate::socket::{CLOSE, Socket, TEXT, frame};
use crate::stage::{Stage, WIDE};
use crate::web::{ask_once, get, post};
use crate::world::CallNanos;

const SECOND: Duration = Duration::from_secs(1);

/// Samples by name and label, as Prometheus would read them.
type Samples = BTreeMap<String, f64>;

/// Returns all samples. The request for them uses a connection of its own.
fn samples(stage: &mut Stage) -> Samples {
    let page = ask_once(stage, &get("/metrics"));
    let body = page.split_once("\r\n\r\n").expect("a body").1;
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').expect("a name and a value"));
    pairs.map(|(name, value)| (name.replace("chinwag_", ""), value.parse().expect("a number"))).collect()
}

/// Checks the samples of these names.
#[track_caller]
fn check(samples: &Samples, expected: &[(&str, f64)]) {
    for (name, value) in expected {
        assert_eq!(samples.get(*name), Some(value), "{name}");
    }
}

/// Checks by how much these samples have grown.
#[track_caller]
fn check_growth(before: &Samples, after: &Samples, expected: &[(&str, f64)]) {
    for (name, growth) in expected {
        assert_eq!(after[*name] - before[*name], *growth, "{name}");
    }
}

#[test]
fn messages_deliveries_and_requests_are_counted() {
    let mut stage = Stage::new("--rate off");
    let (ann, _bob) = (stage.join("ann"), stage.join("bob"));
    let tab = Socket::open(&mut stage, "/ws?name=tab");
    let before = samples(&mut stage);
    stage.say(ann, "hi");
    stage.run();
    tab.say(&mut stage, r#"{"type":"say","room":"lobby","text":"hi"}"#);
    stage.run();
    ask_once(&mut stage, &post("/rooms/lobby/messages", "", "hi"));
    stage.say(ann, "/msg bob psst");
    stage.say(ann, "/rooms");
    stage.run();
    let after = samples(&mut stage);
    let expected = [
        ("messages_received_total", 5.0),
        // Each line client's message goes to two, the program's to three, the private one to bob, and one answer.
        ("deliveries_total", 2.0 + 2.0 + 3.0 + 1.0 + 1.0),
        // The second request for the samples is one of the two.
        ("http_requests_total", 2.0),
        ("connections_accepted_total", 2.0),
        ("connections_refused_total", 0.0),
        ("delays_total", 0.0),
        ("holds_total", 0.0),
        ("missed_total", 0.0),
    ];
    check_growth(&before, &after, &expected);
    let expected = [
        ("clients{door=\"line\"}", 2.0),
        ("clients{door=\"json\"}", 1.0),
        ("clients{door=\"raw\"}", 0.0),
        ("clients{door=\"events\"}", 0.0),
        ("rooms", 1.0),
        ("queued_bytes", 0.0),
    ];
    check(&after, &expected);
    assert!(after["history_bytes"] > before["history_bytes"]);
    stage.end();
}

#[test]
fn waiting_refused_and_http_connections_are_counted() {
    let mut stage = Stage::new("--max-clients 1 --max-waiting 1 --http-timeout 5s");
    stage.join("ann");
    for waiting in [1.0, 1.0] {
        let newcomer = stage.connect();
        stage.say(newcomer, "cy");
        stage.run();
        check(&samples(&mut stage), &[("clients_waiting", waiting), ("clients{door=\"line\"}", 1.0)]);
    }
    let all = samples(&mut stage);
    check(&all, &[("connections_refused_total", 1.0), ("http_connections", 3.0)]);
    stage.pass(6 * SECOND);
    check(&samples(&mut stage), &[("http_connections", 1.0), ("clients_waiting", 1.0)]);
    stage.end();
}

#[test]
fn throttled_clients_are_counted() {
    let mut stage = Stage::new("--rate 1/s --burst 2");
    let ann = stage.join("ann");
    stage.pass(2 * SECOND);
    (0..5).for_each(|number| stage.say(ann, &format!("{number}")));
    stage.run();
    check(&samples(&mut stage), &[("clients_delayed", 1.0), ("delays_total", 1.0)]);
    stage.pass(10 * SECOND);
    let all = samples(&mut stage);
    check(&all, &[("clients_delayed", 0.0), ("messages_received_total", 6.0)]);
    stage.end();
}

/// A dropped client is counted once, under the reason in the log, even if it never reads that reason.
#[test]
fn dropped_client_is_counted_once_under_its_reason() {
    let soft = "--write-buffer-soft off --stall-timeout off";
    let rows = [
        ("buffer-full", format!("--write-buffer 8k --line-max 1k {soft}"), 20),
        ("buffer-high", "--write-buffer-soft 4k:1s --stall-timeout off".to_string(), 10),
        ("stalled", "--write-buffer-soft off --stall-timeout 1s".to_string(), 1),
    ];
    for (reason, flags, lines) in rows {
        let mut stage = Stage::new(&format!("--rate off {flags}"));
        let (ann, bob) = (stage.join("ann"), stage.join("bob"));
        stage.stall(bob);
        (0..lines).for_each(|_| stage.say(ann, &"x".repeat(506)));
        stage.pass(2 * SECOND);
        // The farewell to the client has timed out by then, too.
        stage.pass(100 * SECOND);
        let all = samples(&mut stage);
        for other in ["buffer-full", "buffer-high", "stalled", "server-memory"] {
            let count = f64::from(u8::from(other == reason));
            assert_eq!(all[&format!("dropped_total{{reason=\"{other}\"}}")], count, "{flags}: {other}");
        }
        check(&all, &[("clients{door=\"line\"}", 1.0), ("missed_total", 0.0)]);
        stage.end();
    }
}

#[test]
fn skipped_messages_are_counted() {
    let flags = "--rate off --slow-client skip --write-buffer 8k --write-buffer-soft off --line-max 1k";
    let mut stage = Stage::new(flags);
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.stall(bob);
    let before = samples(&mut stage);
    (0..20).for_each(|_| stage.say(ann, &"x".repeat(506)));
    stage.run_past_holds();
    let after = samples(&mut stage);
    // With `ann: ` and its line end each line is 512 bytes.
    check_growth(&before, &after, &[("deliveries_total", 16.0), ("missed_total", 4.0)]);
    check(&after, &[("queued_bytes", 16.0 * 512.0), ("messages_received_total", 22.0)]);
    stage.world().set_window(bob, WIDE);
    stage.end();
}

#[test]
fn retained_memory_is_that_of_the_arena_and_more_than_the_queued_output() {
    let mut stage = Stage::new("--rate off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.stall(bob);
    stage.say(ann, "hi");
    stage.run();
    let arena = stage.server.arena().memory_bytes();
    assert!(arena > 8, "{arena}");
    let all = samples(&mut stage);
    check(&all, &[("queued_bytes", 8.0), ("retained_bytes", arena as f64)]);
    stage.end();
}

/// Calls of each kind take time in the phase that makes them.
#[test]
fn time_of_a_call_counts_in_the_phase_that_makes_it() {
    type Act = fn(&mut Cluster, Guest, Guest);
    let rows: [(&str, CallNanos, Act); 5] = [
        ("turns", CallNanos { read: 1_000, ..CallNanos::default() }, |cluster, ann, _| {
            cluster.say(ann, "/help")
        }),
        ("link", CallNanos { read: 1_000, ..CallNanos::default() }, |cluster, _, bob| cluster.say(bob, "hi")),
        ("flush", CallNanos { write: 1_000, ..CallNanos::default() }, |cluster, ann, _| {
            cluster.say(ann, "/help")
        }),
        ("accept", CallNanos { accept: 1_000, ..CallNanos::default() }, |cluster, _, _| {
            cluster.stage(0).connect();
        }),
        // Nobody else is there to read it.
        ("publish", CallNanos { write: 1_000, ..CallNanos::default() }, |cluster, ann, _| {
            cluster.say(ann, "hi")
        }),
    ];
    for (phase, call_nanos, act) in rows {
        let mut cluster = Cluster::new(2, "");
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.run();
        let before = cluster.stage(0).server.metrics().phase_nanos;
        cluster.stage(0).world().call_nanos = call_nanos;
        act(&mut cluster, ann, bob);
        cluster.run();
        let after = cluster.stage(0).server.metrics().phase_nanos;
        let grown =
            PHASES.iter().zip(before.iter().zip(after)).filter(|(_, (before, after))| **before < *after);
        assert_eq!(grown.map(|(name, _)| *name).collect::<Vec<_>>(), [phase]);
        cluster.end();
    }
}

/// Each bucket includes the one before it, and the last counts all ticks.
#[test]
fn tick_durations_are_counted_in_cumulative_buckets() {
    let mut stage = Stage::new("--rate off");
    stage.join("ann");
    let all = samples(&mut stage);
    let bucket = |(name, count): (&String, &f64)| {
        let bound = name.strip_prefix("tick_seconds_bucket{le=\"")?.strip_suffix("\"}")?;
        Some((bound.replace('+', "").parse::<f64>().unwrap(), *count))
    };
    let mut buckets: Vec<(f64, f64)> = all.iter().filter_map(bucket).collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(buckets.len() > 5 && buckets.is_sorted_by_key(|(_, count)| *count), "{buckets:?}");
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, all["tick_seconds_count"])));
    assert!(all["tick_seconds_count"] > 0.0);
    stage.end();
}

/// Ends other than a drop count as no drop, and only a refusal counts as one.
#[test]
fn each_kind_of_end_is_counted_as_what_it_is() {
    type End = fn(&mut Stage);
    let rows: [(&str, &str, End, u64); 20] = [
        (
            "quit",
            "",
            |stage| {
                let ann = stage.join("ann");
                stage.say(ann, "/quit")
            },
            0,
        ),
        (
            "end of input",
            "",
            |stage| {
                let ann = stage.join("ann");
                stage.world().end(ann)
            },
            0,
        ),
        (
            "lost",
            "",
            |stage| {
                let ann = stage.join("ann");
                stage.world().reset(ann)
            },
            0,
        ),
        (
            "no name",
            "--name-timeout 5s",
            |stage| {
                stage.connect();
            },
            0,
        ),
        (
            "idle",
            "--idle-timeout 5s",
            |stage| {
                stage.join("ann");
            },
            0,
        ),
        (
            "endless line",
            "",
            |stage| {
                let ann = stage.join("ann");
                stage.send(ann, &vec![b'x'; 3 << 20])
            },
            0,
        ),
        (
            "full",
            "--max-clients 1 --max-waiting 0",
            |stage| {
                stage.join("ann");
                stage.connect();
                stage.connect();
            },
            2,
        ),
        (
            "too many from an address",
            "--max-per-ip 1",
            |stage| {
                (0..3).for_each(|_| {
                    stage.connect_from(Some("10.0.0.1"), WIDE);
                });
            },
            2,
        ),
        (
            "too many arrivals of an address",
            "--connects-per-ip 1/s",
            |stage| {
                (0..5).for_each(|_| {
                    stage.connect_from(Some("10.0.0.1"), WIDE);
                });
            },
            3,
        ),
        (
            "HTTP at the line listener",
            "",
            |stage| {
                let stranger = stage.connect();
                stage.send(stranger, b"GET / HTTP/1.1\r\n\r\n")
            },
            0,
        ),
        (
            "another protocol",
            "",
            |stage| {
                let stranger = stage.connect();
                stage.send(stranger, b"SSH-2.0-x\r\n")
            },
            0,
        ),
        (
            "too many frames",
            "--message-max 16k",
            |stage| close(stage, &[vec![1, 0x80, 0, 0, 0, 0], [0, 0x80, 0, 0, 0, 0].repeat(4_000)].concat()),
            0,
        ),
        (
            "no request",
            "--http-timeout 5s",
            |stage| {
                let slow = stage.connect_http();
                stage.send(slow, b"GET / HT")
            },
            0,
        ),
        (
            "evicted",
            "--max-http 1",
            |stage| {
                stage.connect_http();
                stage.pass(2 * SECOND);
                stage.connect_http();
            },
            0,
        ),
        ("peer closed", "", |stage| close(stage, &frame(CLOSE, 1000u16.to_be_bytes())), 0),
        ("bad frame", "", |stage| close(stage, &[0xff, 0xff]), 0),
        ("bad text", "", |stage| close(stage, &frame(TEXT, b"\xff")), 0),
        ("too large", "--message-max 16k", |stage| close(stage, &frame(TEXT, vec![b'x'; 17 << 10])), 0),
        ("no pong", "--ping-interval 5s --ping-timeout 5s", |stage| close(stage, b""), 0),
        (
            "answered",
            "",
            |stage| {
                ask_once(stage, &get("/healthz").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
            },
            0,
        ),
    ];
    for (name, flags, end, refused) in rows {
        let mut stage = Stage::new(&format!("--rate off {flags}"));
        end(&mut stage);
        stage.pass(20 * SECOND);
        let all = samples(&mut stage);
        assert_eq!(all["connections_refused_total"], refused as f64, "{name}");
        for reason in ["buffer-full", "buffer-high", "stalled", "server-memory"] {
            assert_eq!(all[&format!("dropped_total{{reason=\"{reason}\"}}")], 0.0, "{name}: {reason}");
        }
        stage.end();
    }
}

/// Opens a tab and sends these bytes.
fn close(stage: &mut Stage, bytes: &[u8]) {
    let tab = Socket::open(stage, "/ws?name=tab");
    stage.send(tab.wire, bytes);
    stage.run();
}

#[test]
fn request_that_is_refused_counts_as_a_request() {
    let mut stage = Stage::new("");
    let before = samples(&mut stage);
    for (request, status) in [
        (get("/nowhere"), 404),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/2.0\r\n\r\n".into(), 505),
        (get("/healthz").replace("\r\n\r\n", &format!("\r\nx: {}\r\n\r\n", "x".repeat(9_000))), 431),
    ] {
        let answer = ask_once(&mut stage, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let after = samples(&mut stage);
    check_growth(&before, &after, &[("http_requests_total", 5.0), ("messages_received_total", 0.0)]);
    stage.end();
}

#[test]
fn client_that_waits_for_a_slow_reader_is_counted_as_delayed() {
    let mut stage = Stage::new("--rate off --stall-timeout off");
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    stage.stall(bob);
    (0..60).for_each(|_| stage.say(ann, &"x".repeat(4_000)));
    stage.run();
    check(&samples(&mut stage), &[("clients_delayed", 1.0), ("holds_total", 1.0), ("delays_total", 0.0)]);
    stage.run_past_holds();
    check(&samples(&mut stage), &[("clients_delayed", 0.0), ("holds_total", 1.0)]);
    // The reader is too slow by now, so nobody waits for it again.
    for _ in 0..5 {
        (0..2).for_each(|_| stage.say(ann, "hi"));
        stage.run();
    }
    check(&samples(&mut stage), &[("holds_total", 1.0), ("dropped_total{reason=\"buffer-full\"}", 0.0)]);
    stage.end();
}
