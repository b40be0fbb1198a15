//! Pages of other origins: those that `--origin` names may publish, read errors and listen; others may not.

use serde_json::json;

use crate::server::Server;
use crate::webdriver::{Browser, Page};

/// A page of another server, without the chat page's content security policy.
const OTHER_PAGE: &str = "healthz";

/// Returns what a page reads of an answer: its status and error code, or that the browser withholds it.
fn ask(page: &Page<'_>, server: &Server, path: &str, init: serde_json::Value) -> String {
    let expression = "fetch(arguments[0], arguments[1]).then(\
        async (answer) => `${answer.status} ${(await answer.json()).error?.code ?? ''}`.trim(), \
        (error) => error.name)";
    let url = format!("http://{}{path}", server.http());
    page.value(expression, json!([url, init])).as_str().expect("a text").to_string()
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_of_an_allowed_origin_publishes_reads_errors_and_listens() {
    let (other, stranger) = (Server::start(""), Server::start(""));
    // With capital letters, as people may write it.
    let server = Server::start(&format!("--origin HTTP://{}", other.http()));
    let browser = Browser::start();
    let page = browser.open(other.http(), OTHER_PAGE);
    let mut ann = server.join("ann");

    let headers =
        json!({ "Content-Type": "application/json", "Cache-Control": "no-cache", "X-Requested-With": "x" });
    let post = |body: &str| json!({ "method": "POST", "headers": headers, "body": body });
    let room = "/rooms/lobby/messages";
    assert_eq!(ask(&page, &server, room, post("\"one\"")), "202");
    assert_eq!(ask(&page, &server, room, post("{")), "400 bad_request");
    assert_eq!(ask(&page, &server, room, post(&"x".repeat(70_000))), "413 payload_too_large");
    let many: serde_json::Map<_, _> = (0..70).map(|number| (format!("X-{number}"), json!("x"))).collect();
    assert_eq!(
        ask(&page, &server, "/rooms", json!({ "headers": many })),
        "431 request_header_fields_too_large"
    );
    assert_eq!(
        ask(&page, &server, "/rooms", json!({ "method": "DELETE" })),
        "TypeError",
        "not in the preflight"
    );
    assert_eq!(ask(&page, &server, "/nowhere", json!({})), "404 not_found");
    let wrong = json!({ "method": "POST", "body": "x" });
    assert_eq!(ask(&page, &server, "/rooms", wrong), "405 method_not_allowed");

    let listen = "(window.received = [], window.source = new EventSource(arguments[0]), \
        window.source.onmessage = (event) => window.received.push(JSON.parse(event.data).text), true)";
    let events = format!("http://{}/rooms/lobby/events?lastEventId=nowhere", server.http());
    page.value(listen, json!([events]));
    ann.say("two");
    page.wait("window.received.includes('two')", json!([]));

    let page = browser.open(stranger.http(), OTHER_PAGE);
    assert_eq!(ask(&page, &server, room, post("1")), "TypeError");
    assert_eq!(ask(&page, &server, "/rooms", json!({})), "TypeError");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_without_an_origin_is_allowed_as_null() {
    let other = Server::start("");
    let browser = Browser::start();
    for (flags, expected) in [("--origin null", "202"), ("--origin https://app.example", "TypeError")] {
        let server = Server::start(flags);
        let page = browser.open(other.http(), OTHER_PAGE);
        // A sandbox removes the origin, as opening a file does.
        let script = format!(
            "fetch('http://{}/rooms/lobby/messages', {{ method: 'POST', body: 'hi' }})\
             .then((answer) => answer.status, (error) => error.name)\
             .then((told) => parent.postMessage(String(told), '*'))",
            server.http()
        );
        let sandbox = "new Promise((resolve) => { \
            addEventListener('message', (event) => resolve(event.data), { once: true }); \
            const frame = document.createElement('iframe'); \
            frame.sandbox = 'allow-scripts'; \
            frame.srcdoc = `<script>${arguments[0]}</script>`; \
            document.body.append(frame); })";
        assert_eq!(page.value(sandbox, json!([script])), json!(expected), "{flags}");
    }
}
