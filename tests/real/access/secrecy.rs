//! Tokens are in no log line and in no metric, whatever client sends them, good or bad.

use std::{fs, io};

use super::{Files, ROOMS, make_token};
use crate::frames::{CLOSE, TEXT, frame};
use crate::harness::{Client, Server};

/// A secret that is no token, and one of the form of a JSON Web Token.
const WRONG: [&str; 2] = ["secret-of-eve", "c2VjcmV0.b2Y.ZXZl"];

/// Sends a request, and returns the first line of the response.
fn request(server: &Server, method: &str, path: &str, fields: &str, body: &str) -> String {
    let mut client = Client::connect(server.http_address());
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n");
    client.send(format!("{head}{body}").as_bytes());
    client.line().expect("a response")
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Presents a token in every place that takes one.
fn present(server: &Server, token: &str) {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (method, path, fields) in [
        ("POST", "/rooms/members/messages".to_string(), bearer.clone()),
        ("GET", "/metrics".into(), bearer.clone()),
        ("GET", "/rooms/members/events".into(), bearer.clone()),
        ("GET", format!("/rooms/members/events?token={token}"), String::new()),
        ("GET", format!("/ws?token={token}"), UPGRADE.into()),
        ("GET", "/ws".into(), format!("{bearer}{UPGRADE}")),
        ("GET", format!("/raw/members?token={token}"), UPGRADE.into()),
        // Neither path nor method has a meaning.
        ("GET", format!("/nowhere?token={token}"), bearer.clone()),
        ("BREW", format!("/ws?token={token}"), bearer.clone()),
    ] {
        let body = if method == "POST" { "hi" } else { "" };
        request(server, method, &path, &fields, body);
    }
    let mut socket = Client::connect(server.http_address());
    socket.send(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n").as_bytes());
    socket.skip_to("\r");
    // The second message is no JSON, and its error must not repeat it in the log. The reply to the close frame has no line end.
    for text in
        [format!(r#"{{"type":"login","token":"{token}"}}"#), format!(r#"{{"type":"login","tok{token}"#)]
    {
        socket.send(&frame(TEXT, text));
    }
    socket.send(&frame(CLOSE, 1000_u16.to_be_bytes()));
    io::copy(&mut socket.writer(), &mut io::sink()).expect("an end");
    let mut line = server.client();
    line.say(&format!("/login {token}"));
    line.say(&format!("/login ann {token} and more"));
    line.say("/quit");
    line.skip_to("-- bye");
    let mut asked = server.client();
    asked.say("ann");
    asked.skip_to("-- ann is registered. token?");
    asked.say(token);
    asked.say("/quit");
    asked.skip_to("-- bye");
}

fn metrics(server: &Server) -> String {
    let mut client = Client::connect(server.http_address());
    client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    std::iter::from_fn(|| client.line()).collect::<Vec<_>>().join("\n")
}

#[test]
fn token_is_in_no_line_of_the_log_and_in_no_metric() {
    let (token, section) = make_token("ann", "user");
    let files = Files::new(&format!("{section}{ROOMS}"));
    fs::write(files.path("key"), "0123456789abcdef0123456789abcdef").unwrap();
    let flags = "--log trace --registration --state @/state.json --jwt-key @/key --takeover older";
    let server = files.start(flags);
    for token in [token.as_str(), WRONG[0], WRONG[1]] {
        present(&server, token);
    }
    let mut zoe = server.join("zoe");
    zoe.say("/register");
    let shown = zoe.skip_to("-- zoe is your name now. your token");
    let registered = shown.rsplit(' ').next().unwrap();
    let failed = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("chinwag_logins_failed_total "));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    // Each wrong token has failed in seven requests, in a message, in a command, and as an answer.
    let metrics = metrics(&server);
    assert_eq!(failed(&metrics), 20, "{metrics}");
    let log = server.stop();
    assert!(log.contains("login id=") && log.contains("refused a JSON Web Token"), "{log}");
    for secret in [token.as_str(), WRONG[0], WRONG[1], registered] {
        for (place, text) in [("log", &log), ("metrics", &metrics)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "in the {place}");
        }
    }
}
