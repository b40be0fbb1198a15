//! The page of metrics: each value is in the sample of its own name.

use std::collections::BTreeMap;

use chinwag::metrics::{Gauges, LinkCounts, LinkState, Metrics};

/// Returns the samples of a page by their names, without the prefix.
fn samples(metrics: &Metrics, gauges: &Gauges) -> BTreeMap<String, String> {
    let page = String::from_utf8(metrics.text(gauges)).expect("UTF-8");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').expect("a name and a value"));
    pairs.map(|(name, value)| (name.replace("chinwag_", ""), value.to_string())).collect()
}

#[track_caller]
fn check(samples: &BTreeMap<String, String>, expected: &[(&str, u64)]) {
    for (name, value) in expected {
        assert_eq!(samples.get(*name), Some(&value.to_string()), "{name}");
    }
}

#[test]
fn each_counter_has_its_own_sample() {
    let metrics = Metrics {
        accepted: 1,
        refused: 2,
        evicted: 3,
        lines_in: 4,
        requests: 5,
        deliveries: 6,
        bytes_queued: 7,
        bytes_in: 8,
        bytes_out: 9,
        missed: 10,
        logins: 11,
        logins_failed: 12,
        saves_failed: 13,
        delays: 14,
        holds: 15,
        coalesced: 16,
        compactions: 17,
        dropped_full: 18,
        dropped_high: 19,
        dropped_stalled: 20,
        dropped_memory: 21,
        phase_nanos: [1, 2, 3, 4, 5, 6, 7, 8].map(|seconds| seconds * 1_000_000_000),
        ..Metrics::default()
    };
    let expected = [
        ("connections_accepted_total", 1),
        ("connections_refused_total", 2),
        ("connections_evicted_total", 3),
        ("messages_received_total", 4),
        ("http_requests_total", 5),
        ("deliveries_total", 6),
        ("delivered_bytes_total", 7),
        ("read_bytes_total", 8),
        ("written_bytes_total", 9),
        ("missed_total", 10),
        ("logins_total", 11),
        ("logins_failed_total", 12),
        ("saves_failed_total", 13),
        ("delays_total", 14),
        ("holds_total", 15),
        ("coalesced_total", 16),
        ("compactions_total", 17),
        ("dropped_total{reason=\"buffer-full\"}", 18),
        ("dropped_total{reason=\"buffer-high\"}", 19),
        ("dropped_total{reason=\"stalled\"}", 20),
        ("dropped_total{reason=\"server-memory\"}", 21),
        ("phase_seconds_total{phase=\"latch\"}", 1),
        ("phase_seconds_total{phase=\"turns\"}", 2),
        ("phase_seconds_total{phase=\"link\"}", 3),
        ("phase_seconds_total{phase=\"timers\"}", 4),
        ("phase_seconds_total{phase=\"flush\"}", 5),
        ("phase_seconds_total{phase=\"reap\"}", 6),
        ("phase_seconds_total{phase=\"accept\"}", 7),
        ("phase_seconds_total{phase=\"publish\"}", 8),
    ];
    check(&samples(&metrics, &Gauges::default()), &expected);
    assert_eq!(metrics.dropped(), 18 + 19 + 20 + 21);
}

#[test]
fn each_gauge_has_its_own_sample() {
    let gauges = Gauges {
        clients: [1, 2, 3, 4],
        link: None,
        delayed: 5,
        waiting: 6,
        http: 7,
        closing: 8,
        rooms: 9,
        history_bytes: 10,
        queued_bytes: 11,
        retained_bytes: 12,
    };
    let all = samples(&Metrics::default(), &gauges);
    let expected = [
        ("clients{door=\"line\"}", 1),
        ("clients{door=\"json\"}", 2),
        ("clients{door=\"raw\"}", 3),
        ("clients{door=\"events\"}", 4),
        ("clients_delayed", 5),
        ("clients_waiting", 6),
        ("http_connections", 7),
        ("connections_closing", 8),
        ("rooms", 9),
        ("history_bytes", 10),
        ("queued_bytes", 11),
        ("retained_bytes", 12),
    ];
    check(&all, &expected);
    assert!(!all.keys().any(|name| name.starts_with("redis")), "a process without Redis has no link");
}

#[test]
fn each_value_of_the_link_has_its_own_sample() {
    let counts = LinkCounts { sessions: 1, published: 2, received: 3, shed: 4, ignored: 5, errors: 6 };
    let state = LinkState { up: true, peers: 7, subscriptions: 8, queue_bytes: 9 };
    let gauges = Gauges { link: Some((counts, state)), ..Gauges::default() };
    let expected = [
        ("redis_sessions_total", 1),
        ("redis_published_total", 2),
        ("redis_received_total", 3),
        ("redis_shed_total", 4),
        ("redis_ignored_total", 5),
        ("redis_errors_total", 6),
        ("redis_up", 1),
        ("redis_processes", 7),
        ("redis_subscriptions", 8),
        ("redis_queue_bytes", 9),
    ];
    check(&samples(&Metrics::default(), &gauges), &expected);
    let down = Gauges { link: Some((counts, LinkState { up: false, ..state })), ..gauges };
    check(&samples(&Metrics::default(), &down), &[("redis_up", 0)]);
}
