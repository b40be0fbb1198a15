//! `client.js`: its size, its logic, and the pages of the README that use it.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::server::Server;
use crate::webdriver::{Browser, Page};

const MODULE: &str = include_str!("../../src/web/page/client.js");

/// The files of the README that are pages, in its order.
const RADIO: usize = 0;
const BOARD: usize = 1;

/// Stores a page of the README, exactly as printed but for the server's address.
fn readme_page(folder: &TempDir, number: usize, server: &Server) -> String {
    let readme = include_str!("../../README.md");
    let html = readme.split("```html\n").nth(number + 1).and_then(|rest| rest.split("```").next());
    let path = folder.path().join(format!("{number}.html"));
    let html = html.expect("a page").replace("localhost:7712", &server.http().to_string());
    fs::write(&path, html).expect("a file");
    format!("file://{}", path.display())
}

/// Publishes JSON from a page, and waits for the answer.
fn publish(page: &Page<'_>, server: &Server, room: &str, body: &str) {
    let expression = "fetch(arguments[0], { method: 'POST', body: arguments[1], \
        headers: { 'Content-Type': 'application/json' } }).then((answer) => answer.status)";
    let url = format!("http://{}/rooms/{room}/messages", server.http());
    assert_eq!(page.value(expression, json!([url, body])), json!(202));
}

#[test]
#[ignore = "needs gzip"]
fn client_has_at_most_4_kib_when_compressed() {
    const MAX_BYTES: usize = 4 * 1024;
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "--stdout"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut gzip = gzip.spawn().expect("gzip is installed");
    gzip.stdin.take().expect("standard input is piped").write_all(MODULE.as_bytes()).expect("gzip reads it");
    let compressed = gzip.wait_with_output().expect("gzip ends").stdout.len();
    assert!(
        (1..=MAX_BYTES).contains(&compressed),
        "client.js has {compressed} bytes, and may have {MAX_BYTES}"
    );
}

/// The script has its own WebSocket and clock.
#[test]
#[ignore = "needs node"]
fn client_reconnects_catches_up_and_renews_tokens() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/client_module.mjs");
    let output = Command::new("node").arg(script).output().expect("node is installed");
    let [printed, complaint] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success() && printed.starts_with("passed "), "{printed}{complaint}");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn radio_of_the_readme_shows_the_last_and_the_next_track() {
    let server = Server::start("--origin null");
    let folder = tempfile::tempdir().expect("a folder");
    let browser = Browser::start();
    let publisher = browser.open(server.http(), "healthz");
    publish(&publisher, &server, "radio", r#"{"track":"Blue Train","at":61.5}"#);
    let page = browser.open_url(&readme_page(&folder, RADIO, &server));
    let playing = "document.getElementById('track').textContent === arguments[0]";
    page.wait(playing, json!(["Blue Train"]));
    publish(&publisher, &server, "radio", r#"{"track":"Giant Steps"}"#);
    page.wait(playing, json!(["Giant Steps"]));
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn stroke_on_the_board_of_the_readme_is_drawn_on_all_boards() {
    let server = Server::start("--origin null");
    let folder = tempfile::tempdir().expect("a folder");
    let url = readme_page(&folder, BOARD, &server);
    let browser = Browser::start();
    let (one, two) = (browser.open_url(&url), browser.open_url(&url));
    let ink = "document.getElementById('board').getContext('2d').getImageData(0, 0, 600, 400).data\
        .some((part) => part > 0)";
    assert_eq!([&one, &two].map(|page| page.value(ink, json!([])) == json!(true)), [false; 2]);
    // The boards may still be connecting. What is drawn then is lost, so this draws until it is seen.
    let mouse = |kind: &str, x: u32| {
        let event = json!({ "type": kind, "x": x, "y": x, "button": "left", "buttons": 1, "clickCount": 1 });
        one.chromium("Input.dispatchMouseEvent", event);
    };
    let drawn = || one.value(ink, json!([])) == json!(true);
    for _ in 0..100 {
        mouse("mousePressed", 50);
        [60, 80, 100].into_iter().for_each(|x| mouse("mouseMoved", x));
        mouse("mouseReleased", 100);
        if drawn() {
            break;
        }
    }
    one.wait(ink, json!([]));
    two.wait(ink, json!([]));
    let late = browser.open_url(&url);
    late.wait(ink, json!([]));
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn module_is_imported_and_used_by_allowed_origins_only() {
    let other = Server::start("");
    let server = Server::start(&format!("--origin http://{}", other.http()));
    let browser = Browser::start();
    let mut bob = server.join("bob");
    // Imports the module, chats, and returns what it has read.
    let chat = "import(arguments[0]).then(async ({ connect }) => { \
            const client = connect({ room: 'lobby', name: 'ann' }); \
            await new Promise((ready) => client.on('ready', ready)); \
            const { seq } = await client.say('hi from ann'); \
            const refused = await client.tell('nobody-here', 'hi').catch(({ code }) => code); \
            const { names } = await client.request('who', { room: 'lobby' }); \
            client.close(); \
            return [seq, refused, names, client.state]; \
        }, (error) => error.name)";
    let url = format!("http://{}/client.js", server.http());
    let page = browser.open(other.http(), "healthz");
    assert_eq!(page.value(chat, json!([url])), json!([1, "nobody", ["bob", "ann"], "closed"]));
    bob.expect("ann: hi from ann");
    bob.expect("-- ann left");

    let stranger = Server::start("");
    let page = browser.open(stranger.http(), "healthz");
    assert_eq!(page.value(chat, json!([url])), json!("TypeError"));
    let types = "fetch('/client.d.ts').then((answer) => answer.text())";
    assert!(page.value(types, json!([])).as_str().expect("a text").contains("export class Client"));
}
