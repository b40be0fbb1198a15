//! The HTTP listener with common clients: `curl`, Python's `websockets`, Node's `ws`, and the parser of Prometheus. The
//! browser is in `tests/browser`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::process::Signal;

use crate::harness::{Client, Launch, PATIENCE, Server, eventually, require};
use crate::programs::shell;

fn web(server: &Server) -> String {
    server.http_address().to_string()
}

/// Returns the output of `curl` with those arguments; `@` is replaced by the server.
fn curl(server: &Server, args: &str) -> String {
    let line = format!("curl --silent --max-time 10 {}", args.replace('@', &web(server)));
    String::from_utf8(shell("curl", &line).stdout).expect("UTF-8")
}

/// Sends bytes on a plain socket, closes its sending side, and returns all that comes back.
fn exchange(server: &Server, request: &str) -> String {
    let mut socket = TcpStream::connect(web(server)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer and an end");
    answer
}

#[test]
fn request_before_a_half_close_is_answered() {
    let server = Server::start("");
    let answer = exchange(&server, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{\"status\":\"ok\"}\n"),
        "{answer}"
    );
    let mut ann = server.join("ann");
    let published = "POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
    assert!(exchange(&server, published).starts_with("HTTP/1.1 202 "));
    ann.expect("http: hi");
    let log = server.stop();
    assert!(!log.contains("reason=answered"), "requests are no news: {log}");
}

#[test]
#[ignore = "needs curl"]
fn curl_publishes_reads_and_follows() {
    let server = Server::start("");
    let mut ann = server.join("ann");
    let tail = format!("http://{}/rooms/lobby/events", web(&server));
    let mut tail = Client::through("curl", &["--silent", "--no-buffer", &tail]);
    let rooms = curl(&server, "http://@/rooms");
    assert_eq!(rooms, "{\"type\":\"rooms\",\"rooms\":[{\"room\":\"lobby\",\"count\":1}],\"count\":1}\n");
    // The listener is connected as soon as the metrics count it.
    let is_counted = || curl(&server, "http://@/metrics").contains("chinwag_clients{door=\"events\"} 1\n");
    eventually("the listener in the metrics", || is_counted().then_some(()));
    let published = curl(&server, "--data 'the build is green' 'http://@/rooms/lobby/messages?from=ci'");
    assert_eq!(published, "{\"seq\":1,\"queued_for\":2}\n");
    ann.expect("ci (http): the build is green");
    let epoch = tail.line().unwrap().strip_suffix("-0").expect("where it begins").to_string();
    tail.expect("");
    tail.expect(&format!("{epoch}-1"));
    assert!(tail.line().unwrap().contains(r#""from":"ci","text":"the build is green","seq":1"#));
    let history = curl(&server, "http://@/rooms/lobby/messages");
    assert!(history.ends_with("\"via\":\"http\"}]}\n"), "{history}");
    let late = server.join("late").line().unwrap();
    assert!(late.starts_with("-- ") && late.ends_with(" ago ci (http): the build is green"), "{late}");
    ann.expect("-- late joined");
    ann.expect("-- late left");
    ann.say("thanks");
    tail.expect("");
    tail.expect(&format!("{epoch}-2"));
    let json =
        "--header 'Content-Type: application/json' --data '{\"a\": 1.50}' http://@/rooms/lobby/messages";
    assert_eq!(curl(&server, json), "{\"seq\":3,\"queued_for\":2}\n");
    ann.expect("http: {\"a\":1.50}");
    let history = curl(&server, "'http://@/rooms/lobby/messages?limit=1'");
    assert!(history.contains(r#""messages":[{"from":"http","data":{"a":1.50},"seq":3,"#), "{history}");
}

/// Follows the lobby with curl from that event `id` on.
fn follow_again(server: &Server, last_event_id: &str) -> Client {
    let tail = format!("http://{}/rooms/lobby/events", web(server));
    let field = format!("Last-Event-ID: {last_event_id}");
    Client::through("curl", &["--silent", "--no-buffer", "--header", &field, &tail])
}

#[test]
#[ignore = "needs curl"]
fn curl_resumes_at_its_last_id_and_is_told_if_that_is_unknown() {
    let publish = |server: &Server, text: &str| {
        curl(server, &format!("--data {text} http://@/rooms/lobby/messages"));
    };
    let server = Server::start("--history 2");
    publish(&server, "one");
    // A listener with an unknown id is sent the whole history, and the current id.
    let mut tail = follow_again(&server, "nowhere");
    tail.expect("event: missed");
    tail.expect(r#"data: {"type":"missed","room":"lobby"}"#);
    tail.expect("");
    let first = tail.line().unwrap().strip_prefix("id: ").expect("an id").to_string();
    assert!(tail.line().unwrap().contains(r#""text":"one","seq":1"#));
    ["two", "three", "four"].iter().for_each(|text| publish(&server, text));
    let mut tail = follow_again(&server, &first);
    tail.expect("event: missed");
    tail.expect(r#"data: {"type":"missed","count":1,"room":"lobby"}"#);
    assert!(tail.skip_to("data: ").contains(r#""text":"three","seq":3"#));
    assert!(tail.skip_to("data: ").contains(r#""text":"four","seq":4"#));
    server.stop();
    let server = Server::start("");
    ["five", "six"].iter().for_each(|text| publish(&server, text));
    let mut tail = follow_again(&server, &first);
    tail.expect("event: missed");
    tail.expect(r#"data: {"type":"missed","room":"lobby"}"#);
    assert!(tail.skip_to("data: ").contains(r#""text":"five","seq":1"#));
    assert!(tail.skip_to("data: ").contains(r#""text":"six","seq":2"#));
}

#[test]
#[ignore = "needs curl"]
fn curl_that_reconnects_reads_each_message_once_beyond_the_write_buffer() {
    const MESSAGES: usize = 100;
    let server = Server::start("--rate off");
    let mut poster = TcpStream::connect(web(&server)).unwrap();
    let mut answers = BufReader::new(poster.try_clone().unwrap());
    let mut post = |number: usize| {
        let body = format!("{number} {}", "x".repeat(60_000));
        let length = body.len();
        let head =
            format!("POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}");
        poster.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut line = String::new();
        while !line.contains("queued_for") {
            line.clear();
            answers.read_line(&mut line).unwrap();
        }
    };
    post(0);
    let mut tail = follow_again(&server, "nowhere");
    let id = tail.skip_to("id: ");
    drop(tail);
    (1..=MESSAGES).for_each(&mut post);
    let mut tail = follow_again(&server, id.strip_prefix("id: ").unwrap());
    for number in 1..=MESSAGES {
        let data = tail.skip_to("data: ");
        assert!(data.contains(&format!(r#""text":"{number} xxx"#)), "{number}: {:.100}", data);
    }
    post(MESSAGES + 1);
    assert!(tail.skip_to("data: ").contains(&format!(r#""text":"{} xxx"#, MESSAGES + 1)));
    drop(tail);
    let log = server.stop();
    assert!(!log.contains(" drop "), "{log}");
}

#[test]
#[ignore = "needs curl"]
fn curl_gets_the_right_status_for_each_error() {
    let server = Server::start("");
    let status =
        |args: &str| curl(&server, &format!("--output /dev/null --write-out '%{{http_code}}' {args}"));
    assert_eq!(status("http://@/"), "200");
    assert_eq!(status("--head http://@/"), "200");
    assert_eq!(status("http://@/nowhere"), "404");
    assert_eq!(status("--request DELETE http://@/rooms"), "405");
    assert_eq!(status("--http1.0 http://@/healthz"), "200");
    assert_eq!(status("--header 'Host: evil.example' http://@/rooms"), "403");
    assert_eq!(status("--header 'Origin: http://evil.example' --data x http://@/rooms/a/messages"), "403");
    let large = "head -c 60000 /dev/zero | tr '\\0' x";
    let post = |bytes: &str, fields: &str| {
        let send =
            format!("{bytes} | curl --silent --max-time 10 --output /dev/null --write-out '%{{http_code}}'");
        let line = format!("{send} {fields} --data-binary @- http://{}/rooms/a/messages", web(&server));
        String::from_utf8(shell("curl", &line).stdout).unwrap()
    };
    assert_eq!(post(large, "--header 'Expect: 100-continue'"), "202");
    assert_eq!(post("head -c 70000 /dev/zero | tr '\\0' x", ""), "413");
    assert_eq!(post(large, "--header 'Transfer-Encoding: chunked'"), "202");
    assert_eq!(post(large, "--header 'Transfer-Encoding: gzip, chunked'"), "501");
    assert_eq!(post("head -c 70000 /dev/zero | tr '\\0' x", "--header 'Transfer-Encoding: chunked'"), "413");
}

#[test]
#[ignore = "needs curl"]
fn curl_publishes_text_from_a_pipe() {
    let server = Server::start("");
    let mut ann = server.join("ann");
    let room = format!("'http://{}/rooms/lobby/messages?from=ci'", web(&server));
    for (fields, said) in
        [("", "from a pipe"), ("--no-buffer --header 'Expect: 100-continue'", "asked first")]
    {
        let line =
            format!("printf '{said}' | curl --silent --max-time 10 --upload-file - {fields} -X POST {room}");
        let printed = String::from_utf8(shell("curl", &line).stdout).unwrap();
        assert!(printed.contains("\"queued_for\":1"), "{printed}");
        ann.expect(&format!("ci (http): {said}"));
    }
    let put = format!("printf x | curl --silent --max-time 10 --upload-file - --dump-header - {room}");
    let printed = String::from_utf8(shell("curl", &put).stdout).unwrap();
    assert!(
        printed.contains("HTTP/1.1 405 ") && printed.contains("allow: HEAD, GET, POST, OPTIONS"),
        "{printed}"
    );
}

/// Runs a script that publishes bodies of unknown length, many on one connection, and one that is too long.
fn script_streams(program: &[&str], script: &str) {
    let server = Server::start("--rate off");
    let mut ann = server.join("ann");
    let script = format!("{}/tests/real/scripts/{script}", env!("CARGO_MANIFEST_DIR"));
    let base = format!("http://{}", web(&server));
    let mut script = Client::through(program[0], &[&program[1..], &[&script, &base]].concat());
    for number in 0..10 {
        ann.expect(&format!("http: in chunks {number} \u{2603}"));
    }
    script.expect("202 413");
}

#[test]
#[ignore = "needs python3"]
fn python_streams_a_body() {
    script_streams(&["/usr/bin/python3"], "stream.py");
}

#[test]
#[ignore = "needs node"]
fn node_streams_a_body() {
    require("node");
    script_streams(&["node"], "stream.js");
}

#[test]
#[ignore = "needs curl"]
fn curl_is_answered_under_the_names_of_the_host_flag() {
    let server = Launch::new("--line 127.0.0.1:0 --http 0.0.0.0:0 --print-addresses")
        .arg("--host")
        .arg("chat.example,b\u{fc}cher.example")
        .start();
    let port = server.http_address().port();
    let status = |host: &str, path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        let line = format!(
            "curl --silent --max-time 10 --output /dev/null --write-out '%{{http_code}}' --header 'Host: {host}' {url}"
        );
        String::from_utf8(shell("curl", &line).stdout).unwrap()
    };
    let known = ["chat.example", "CHAT.example.:80", "xn--bcher-kva.example", "10.0.0.1", "localhost"];
    for host in known {
        assert_eq!(status(host, "/rooms"), "200", "{host}");
    }
    assert_eq!(status("evil.example", "/rooms"), "403");
    assert_eq!(status("evil.example", "/healthz"), "200");
    assert_eq!(status("evil.example", "/readyz"), "200");
}

#[test]
#[ignore = "needs curl"]
fn curl_reuses_a_connection_and_uses_a_unix_socket() {
    let server = Server::start("");
    let many =
        "--output /dev/null --output /dev/null --write-out '%{num_connects} ' http://@/ http://@/main.js";
    assert_eq!(curl(&server, many), "1 0 ");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web");
    let listener = format!("unix:{}", path.display());
    let server = Launch::new("--line 127.0.0.1:0 --print-addresses --http").arg(&listener).start();
    let line = format!("curl --silent --unix-socket {} http://any.example/readyz", path.display());
    assert_eq!(shell("curl", &line).stdout, b"{\"status\":\"ready\"}\n");
    server.stop();
    assert!(!path.exists());
}

/// Runs a script that chats with a line client, and is told when the server ends.
fn script_talks(program: &[&str], script: &str, name: &str) {
    let server = Server::start("");
    let mut ann = server.join("ann");
    let script = format!("{}/tests/real/scripts/{script}", env!("CARGO_MANIFEST_DIR"));
    let base = format!("ws://{}", web(&server));
    let mut script = Client::through(program[0], &[&program[1..], &[&script, &base]].concat());
    ann.expect(&format!("-- {name} joined"));
    ann.say(&format!("hi {name}"));
    ann.expect(&format!("{name}: hallo ☃"));
    script.expect("talked");
    server.signal(Signal::TERM);
    script.expect("closed 1001");
    ann.skip_to("-- the server is shutting down");
}

#[test]
#[ignore = "needs python3-websockets"]
fn python_talks() {
    script_talks(&["/usr/bin/python3"], "client.py", "py");
}

#[test]
#[ignore = "needs node-ws"]
fn node_talks() {
    require("node");
    // The path of Debian's packages, for a `node` from elsewhere.
    script_talks(&["env", "NODE_PATH=/usr/share/nodejs", "node"], "client.js", "node");
}

/// Starts a script at the HTTP listener that sends more at once than the rate lets through within its pong timeout.
fn pasting_script(server: &Server, program: &[&str], script: &str) -> Client {
    let script = format!("{}/tests/real/scripts/{script}", env!("CARGO_MANIFEST_DIR"));
    let base = format!("ws://{}", web(server));
    Client::through(program[0], &[&program[1..], &[&script, &base]].concat())
}

#[test]
#[ignore = "needs python3-websockets"]
fn python_stays_connected_while_it_is_throttled() {
    let server = Server::start("--rate 50/s --burst 5");
    let mut ann = server.join("ann");
    let mut script = pasting_script(&server, &["/usr/bin/python3"], "paste.py");
    (0..250).for_each(|number| drop(ann.skip_to(&format!("py: m{number}"))));
    script.expect("received 250");
    script.expect("closed 1000");
    // Messages sent before its close are delivered, and then it leaves.
    (0..20).for_each(|number| ann.expect(&format!("py: last{number}")));
    ann.expect("-- py left");
}

#[test]
#[ignore = "needs node-ws"]
fn node_gets_its_pongs_while_it_is_throttled() {
    require("node");
    let server = Server::start("--rate 20/s --burst 5");
    let program = ["env", "NODE_PATH=/usr/share/nodejs", "node"];
    let mut script = pasting_script(&server, &program, "paste.js");
    script.expect("unanswered 0");
    script.expect("closed 3000 true");
    script.expect("received 60");
}

#[test]
#[ignore = "needs python3-prometheus-client and curl"]
fn prometheus_reads_the_metrics() {
    let server = Server::start("");
    let mut ann = server.join("ann");
    ann.say("hi");
    ann.say("/rooms");
    ann.expect("-- rooms: #lobby (1)");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/scripts/metrics.py");
    let line = format!("curl --silent http://{}/metrics | /usr/bin/python3 {script}", web(&server));
    let output = shell("curl", &line);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let [families, clients, messages] = printed.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{printed} {complaint}");
    };
    assert!(families.parse::<usize>().unwrap() > 15 && clients == "1.0" && messages == "3", "{printed}");
}

#[test]
fn websockets_are_told_of_the_shutdown_under_load() {
    let server = Server::start("--rate off --history 0");
    let mut ann = server.join("ann");
    let mut socket = TcpStream::connect(web(&server)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let handshake = "GET /raw/lobby HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(handshake.as_bytes()).unwrap();
    ann.expect("-- guest-2 joined");
    for _ in 0..2_000 {
        ann.say("x");
    }
    server.signal(Signal::TERM);
    let mut all = Vec::new();
    socket.read_to_end(&mut all).expect("an end, and no reset");
    let farewell = [&[0x88, 28, 0x03, 0xe9][..], b"the server is shutting down"].concat();
    let farewell = [&[0x88, farewell.len() as u8 - 2][..], &farewell[2..]].concat();
    assert!(all.ends_with(&farewell), "{:?}", String::from_utf8_lossy(&all[all.len().min(200)..]));
}
