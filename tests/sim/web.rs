//! The HTTP door: requests, WebSocket clients, listeners, on virtual sockets.

use crate::stage::Stage;

#[test]
fn a_line_and_a_browser_talk() {
    let mut stage = Stage::new("");
    let ann = stage.join("ann");
    let wire = stage.connect_http();
    stage.send(wire, b"GET /rooms HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stage.run();
    stage.expect_contains(wire, r#"{"room":"lobby","count":1}"#);
    stage.send(
        wire,
        b"POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    );
    stage.expect(ann, &["http: hello"]);
    stage.expect_contains(wire, r#"{"seq":1,"queued_for":1}"#);
    stage.end();
}
