//! Clients behind trusted proxies are limited by their own addresses, at both listeners.

use std::time::Duration;

use chinwag::host::Host;

use crate::socket::handshake;
use crate::stage::{Stage, WIDE};
use crate::web::{ask, get, post};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);
const PROXY: &str = "10.9.0.1";
const TRUST: &str = "--trust-proxy 10.9.0.0/16,127.0.0.0/8,::1";

fn v1(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 198.51.100.1 4711 7711\r\n").into_bytes()
}

fn v2(address: [u8; 4]) -> Vec<u8> {
    let head = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0, 12]].concat();
    [&head, &address[..], &[198, 51, 100, 1, 0, 1, 0, 2]].concat()
}

fn behind(stage: &mut Stage, header: &[u8]) -> Wire {
    let wire = stage.connect_from(Some(PROXY), WIDE);
    stage.send(wire, header);
    stage.run();
    wire
}

fn host(stage: &mut Stage, wire: Wire) -> Host {
    let token = stage.world().token(wire).unwrap();
    stage.server.roster().get(token).expect("the connection is open").host()
}

fn forwarded(request: &str, address: &str) -> String {
    request.replacen("Host:", &format!("X-Forwarded-For: {address}\r\nHost:"), 1)
}

#[test]
fn line_client_has_the_address_of_its_header_however_the_header_is_cut() {
    for header in [v1("192.0.2.1"), v2([192, 0, 2, 1])] {
        for guests in ["", "--guests"] {
            for cut in 0..=header.len() {
                let mut stage = Stage::new(&format!("{TRUST} {guests}"));
                let wire = behind(&mut stage, &header[..cut]);
                if cut < header.len() {
                    assert_eq!(host(&mut stage, wire), Host::PROXY);
                    assert_eq!(stage.text(wire), "");
                }
                stage.send(wire, &[&header[cut..], b"/nick ann\nhi\n"].concat());
                stage.pass(SECOND);
                assert_eq!(host(&mut stage, wire), Host::v4([192, 0, 2, 1]));
                stage.expect_contains(wire, if guests.is_empty() { "-- welcome" } else { "you are now ann" });
                stage.end();
            }
        }
    }
}

#[test]
fn line_clients_are_limited_by_their_own_addresses() {
    let mut stage = Stage::new(&format!("{TRUST} --max-per-ip 2 --max-clients 20"));
    let wires: Vec<Wire> = (0..6).map(|n| behind(&mut stage, &v1(&format!("192.0.2.{}", n % 2)))).collect();
    for (number, wire) in wires.iter().enumerate() {
        let text = stage.text(*wire);
        assert_eq!(text.contains("-- welcome"), number < 4, "{number}: {text}");
        assert_eq!(text.contains("too many connections from your address"), number >= 4, "{number}: {text}");
    }
    // Refused connections beyond sixteen are closed without a reason.
    for _ in 0..30 {
        behind(&mut stage, &v1("192.0.2.1"));
    }
    assert_eq!(stage.server.metrics().refused, 32);
    stage.end();
}

#[test]
fn arrivals_behind_a_proxy_count_at_their_own_addresses() {
    let mut stage = Stage::new(&format!("{TRUST} --connects-per-ip 5/s"));
    for number in 0..30 {
        let wire = behind(&mut stage, &v1(&format!("192.0.2.{}", number % 3)));
        assert!(stage.text(wire).contains("-- welcome"), "{number}");
    }
    let wire = behind(&mut stage, &v1("192.0.2.1"));
    stage.expect_contains(wire, "too many new connections from your address");
    stage.end();
}

#[test]
fn queued_client_behind_a_proxy_is_admitted_with_its_input() {
    let mut stage = Stage::new(&format!("{TRUST} --max-clients 1"));
    let bob = stage.join("bob");
    let ann = behind(&mut stage, &[v1("192.0.2.1"), b"ann\nhi\n".to_vec()].concat());
    stage.expect_contains(ann, "you are next, please wait");
    stage.say(bob, "/quit");
    stage.pass(2 * SECOND);
    stage.expect_contains(ann, "hello ann");
    stage.end();
}

#[test]
fn trusted_proxy_without_a_header_is_closed_with_a_reason() {
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    for header in [&b"ann\nhi\n"[..], b"PROXY TCP4 nonsense\r\n", &long] {
        let mut stage = Stage::new(TRUST);
        let wire = behind(&mut stage, header);
        stage.expect_contains(wire, "must begin with a header of the PROXY protocol");
        assert!(stage.world().is_over(wire));
        assert_eq!(stage.server.chat().census().clients, 0);
        stage.end();
    }
}

#[test]
fn header_must_be_complete_within_http_timeout() {
    let mut stage = Stage::new(&format!("{TRUST} --http-timeout 3s"));
    let (in_time, late) = (behind(&mut stage, b"PROXY TC"), behind(&mut stage, b"PROXY TC"));
    stage.pass(3 * SECOND - Duration::from_millis(100));
    stage.send(in_time, &v1("192.0.2.1")[8..]);
    stage.pass(SECOND);
    stage.expect_contains(in_time, "-- welcome");
    stage.expect_contains(late, "must begin with a header of the PROXY protocol");
    let ended = behind(&mut stage, b"PROXY TC");
    stage.world().end(ended);
    stage.run();
    stage.expect_contains(ended, "must begin with a header of the PROXY protocol");
    stage.end();
}

#[test]
fn header_without_an_address_leaves_the_address_of_the_proxy() {
    let local = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x20, 0, 0, 0]].concat();
    for header in [b"PROXY UNKNOWN\r\n".as_slice(), &local] {
        let mut stage = Stage::new(TRUST);
        let wire = behind(&mut stage, header);
        assert_eq!(host(&mut stage, wire), Host::v4([10, 9, 0, 1]));
        stage.end();
    }
}

#[test]
fn header_from_an_untrusted_address_is_refused_and_unix_is_trusted_by_name() {
    for flags in ["", TRUST] {
        for header in [v1("192.0.2.1"), v2([192, 0, 2, 1])] {
            let mut stage = Stage::new(flags);
            let wire = stage.connect_from(Some("10.1.0.1"), WIDE);
            stage.send(wire, &header);
            stage.run();
            stage.expect_contains(wire, "from an address that is no trusted proxy");
            stage.end();
        }
    }
    let mut stage = Stage::new("--trust-proxy unix");
    let wire = stage.connect();
    stage.send(wire, &v1("192.0.2.1"));
    stage.run();
    assert_eq!(host(&mut stage, wire), Host::v4([192, 0, 2, 1]));
    stage.end();
}

#[test]
fn requests_of_one_proxy_connection_count_at_the_address_of_each() {
    let mut stage = Stage::new(&format!("{TRUST} --requests-per-ip 5/s"));
    let wire = stage.connect_http_from(PROXY, WIDE);
    for number in 0..30 {
        let request = forwarded(&get("/healthz"), &format!("evil, 192.0.2.{}", number % 3));
        assert!(ask(&mut stage, wire, &request).contains(" 200 "), "{number}");
        assert_eq!(host(&mut stage, wire), Host::PROXY);
    }
    assert_eq!(ask(&mut stage, wire, &forwarded(&get("/healthz"), "192.0.2.1")), "", "it must wait");
    stage.pass(SECOND);
    assert_eq!(stage.text(wire).matches(" 200 ").count(), 31);
    stage.end();
}

#[test]
fn request_that_waits_counts_at_its_address_until_its_connection_ends() {
    let mut stage = Stage::new(&format!("{TRUST} --requests-per-ip 1/s --max-per-ip 1"));
    let request = forwarded(&get("/healthz"), "192.0.2.1");
    let waiting = stage.connect_http_from(PROXY, WIDE);
    stage.send(waiting, request.repeat(3).as_bytes());
    stage.run();
    assert_eq!(host(&mut stage, waiting), Host::v4([192, 0, 2, 1]));
    let second = stage.connect_http_from(PROXY, WIDE);
    assert!(ask(&mut stage, second, &request).contains(" 429 "));
    let other = stage.connect_http_from(PROXY, WIDE);
    assert!(ask(&mut stage, other, &forwarded(&get("/healthz"), "192.0.2.2")).contains(" 200 "));
    stage.world().end(waiting);
    stage.pass(5 * SECOND);
    let third = stage.connect_http_from(PROXY, WIDE);
    assert!(ask(&mut stage, third, &request).contains(" 200 "));
    stage.end();
}

#[test]
fn websocket_clients_behind_a_proxy_are_limited_by_their_own_addresses() {
    let mut stage = Stage::new(&format!("{TRUST} --max-per-ip 2"));
    let mut open = |address: &str| {
        let wire = stage.connect_http_from(PROXY, WIDE);
        let request = handshake("/ws?room=", "");
        let request = if address.is_empty() { request } else { forwarded(&request, address) };
        let answer = ask(&mut stage, wire, &request);
        if address.is_empty() && answer.contains(" 101 ") {
            assert_eq!(host(&mut stage, wire), Host::v4([10, 9, 0, 1]));
        }
        answer.get(9..12).unwrap_or_default().to_string()
    };
    for (address, status) in [
        ("192.0.2.1", "101"),
        ("192.0.2.1", "101"),
        ("192.0.2.1", "429"),
        ("192.0.2.2", "101"),
        // Malformed fields count at the proxy, and so does a request without a field.
        ("nonsense", "101"),
        ("", "101"),
        ("unknown", "429"),
        ("nonsense", "429"),
        ("", "429"),
    ] {
        assert_eq!(open(address), status, "{address}");
    }
    stage.end();
}

#[test]
fn fields_from_an_untrusted_address_are_ignored() {
    let mut stage = Stage::new(TRUST);
    let wire = stage.connect_http_from("10.1.0.1", WIDE);
    ask(&mut stage, wire, &forwarded(&handshake("/ws?room=", ""), "192.0.2.1"));
    assert_eq!(host(&mut stage, wire), Host::v4([10, 1, 0, 1]));
    stage.end();
}

#[test]
fn publisher_with_a_connection_for_each_post_is_no_faster_than_one_client() {
    let received = |flags: &str, address: Option<&str>| {
        let mut stage = Stage::new(flags);
        let bob = stage.join("bob");
        let wires: Vec<Wire> = (0..40)
            .map(|_| {
                let wire = match address {
                    Some(address) => stage.connect_http_from(address, WIDE),
                    None => stage.connect_http(),
                };
                let request = post("/rooms/lobby/messages", "", "said");
                stage.send(wire, request.as_bytes());
                wire
            })
            .collect();
        stage.run();
        let at_once = stage.unread(bob).len();
        stage.pass(10 * SECOND);
        assert!(wires.iter().all(|wire| stage.text(*wire).contains(" 202 ")), "no message is refused");
        stage.end();
        at_once
    };
    assert_eq!(received("", Some("192.0.2.1")), 10);
    assert_eq!(received("--rate off", Some("192.0.2.1")), 40);
    // A script on this machine is exempt.
    assert_eq!(received("", None), 40);
}

#[test]
fn clients_behind_a_proxy_that_connect_too_fast_are_refused_and_counted_at_both_listeners() {
    let mut stage = Stage::new(&format!("{TRUST} --connects-per-ip 1/s --max-per-ip off"));
    for path in ["/ws?room=", "/raw/lobby"] {
        let answers: Vec<String> = (0..5)
            .map(|_| {
                let wire = stage.connect_http_from(PROXY, WIDE);
                ask(&mut stage, wire, &forwarded(&handshake(path, ""), "192.0.2.1"))
            })
            .collect();
        let count = |start: &str| answers.iter().filter(|answer| answer.starts_with(start)).count();
        assert_eq!((count("HTTP/1.1 101 "), count("HTTP/1.1 429 ")), (2, 3), "{path}: {answers:?}");
        assert!(answers[4].contains("too-many-arrivals") && answers[4].contains("retry-after: 2\r\n"));
        stage.pass(10 * SECOND);
    }
    assert_eq!(stage.server.metrics().refused, 6);
    let lines: Vec<Wire> = (0..5).map(|_| behind(&mut stage, &v1("192.0.2.1"))).collect();
    let admitted = lines.iter().filter(|wire| stage.text(**wire).contains("-- welcome")).count();
    assert_eq!((admitted, stage.server.metrics().refused), (2, 9));
    stage.end();
}

#[test]
fn queued_client_behind_a_proxy_leaves_the_queue_when_it_disconnects() {
    let mut stage = Stage::new(&format!("{TRUST} --max-clients 1"));
    stage.join("bob");
    for header in [v1("192.0.2.1"), v2([192, 0, 2, 1])] {
        let ann = behind(&mut stage, &header);
        assert_eq!(stage.server.waiting(), 1);
        stage.world().end(ann);
        stage.run();
        assert_eq!(stage.server.waiting(), 0);
    }
    stage.end();
}

#[test]
fn queued_client_behind_a_proxy_loses_no_input_however_much_follows_its_header() {
    for header in [v1("192.0.2.1"), v2([192, 0, 2, 1])] {
        for lines in [60, 100, 200, 400] {
            let mut stage = Stage::new(&format!("{TRUST} --rate off --rate-per-ip off --max-clients 2"));
            let (bob, eve) = (stage.join("bob"), stage.join("eve"));
            let said: String = (0..lines).map(|number| format!("{number:050}\n")).collect();
            let ann = behind(&mut stage, &[&header, &b"ann\n"[..], said.as_bytes()].concat());
            stage.expect_contains(ann, "you are next, please wait");
            stage.say(bob, "/quit");
            stage.pass(2 * SECOND);
            let received = stage.unread(eve);
            let received: Vec<_> = received.iter().filter_map(|line| line.strip_prefix("ann: ")).collect();
            assert_eq!(received, said.lines().collect::<Vec<_>>(), "{lines}");
            stage.end();
        }
    }
}

#[test]
fn head_request_behind_a_proxy_is_refused_without_a_body() {
    let mut stage = Stage::new("--trust-proxy 10.9.0.1 --max-per-ip 1");
    let taken = stage.connect_http_from("10.9.0.1", WIDE);
    let stream = forwarded(&get("/rooms/lobby/events"), "192.0.2.1");
    ask(&mut stage, taken, &stream);
    for (method, is_empty) in [("HEAD", true), ("GET", false)] {
        let wire = stage.connect_http_from("10.9.0.1", WIDE);
        let request = forwarded(&get("/rooms").replacen("GET", method, 1), "192.0.2.1");
        let answer = ask(&mut stage, wire, &request);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 429 ") && body.is_empty() == is_empty, "{answer}");
    }
    stage.end();
}
