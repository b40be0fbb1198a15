//! Headless Chromium by the W3C WebDriver protocol, which is JSON over HTTP: [`Browser`], and a [`Page`] in it.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::PATIENCE;

/// Chromium runs without a screen and a sandbox, and contacts no server by itself.
const ARGUMENTS: &str = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --window-size=1280,800";

/// Key of an element's id in the standard.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The Enter key in the standard.
const ENTER: char = '\u{e007}';

/// A browser without stored data, ended on drop.
pub struct Browser {
    driver: Child,
    /// Kept open, so that the driver can keep printing.
    _output: BufReader<ChildStdout>,
    port: u16,
    session: String,
    /// Profile and temporary files of the browser, removed after its end.
    _folder: TempDir,
}

impl Browser {
    pub fn start() -> Browser {
        let folder = tempfile::tempdir().expect("a folder");
        let (driver, output, port) = start_driver(folder.path());
        let mut browser = Browser { driver, _output: output, port, session: String::new(), _folder: folder };
        let profile = format!("--user-data-dir={}", browser._folder.path().join("profile").display());
        let arguments: Vec<_> = ARGUMENTS.split_whitespace().chain([profile.as_str()]).collect();
        let wanted = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let session = browser.call("POST", "/session", json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = session["sessionId"].as_str().expect("a session").to_string();
        browser
    }

    /// Opens the page at that address in a window of its own, which makes it visible.
    pub fn open(&self, address: impl Display, rest: &str) -> Page<'_> {
        self.open_url(&format!("http://{address}/{rest}"))
    }

    pub fn open_url(&self, url: &str) -> Page<'_> {
        let window = self.command("POST", "/window/new", json!({ "type": "window" }));
        let page = Page { browser: self, handle: window["handle"].as_str().expect("a window").to_string() };
        page.command("POST", "/url", json!({ "url": url }));
        page
    }

    /// Opens the page and joins the lobby.
    pub fn join(&self, address: impl Display, name: &str) -> Page<'_> {
        let page = self.open(address, &format!("?name={name}"));
        page.wait("document.querySelector('#member-list .you:not([hidden])')", json!([]));
        page
    }

    /// Returns the errors in the log of the pages.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("POST", "/se/log", json!({ "type": "browser" }));
        let entries = log.as_array().expect("a log");
        entries
            .iter()
            .filter(|entry| entry["level"] != "INFO")
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    fn command(&self, method: &str, path: &str, body: Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let value = self.exchange(method, path, &body).expect("the driver answers");
        assert!(value.get("error").is_none(), "{method} {path}: {}", value["message"]);
        value
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        // A GET must not have a body.
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        socket.write_all(request.as_bytes())?;
        let mut reader = BufReader::new(socket);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer["value"].take())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of the session ends the browser. An error means that there is none.
        let _ = self.exchange("DELETE", &format!("/session/{}", self.session), &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Starts a driver, and returns the port on which it listens.
fn start_driver(folder: &Path) -> (Child, BufReader<ChildStdout>, u16) {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").env("TMPDIR", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // It takes a free port of IPv4, and ends if another program has that port of IPv6.
    let attempts = (0..5).find_map(|_| {
        let mut driver = command.spawn().expect("chromedriver (chromium-driver) is installed");
        let mut output = BufReader::new(driver.stdout.take().expect("standard output is piped"));
        let port = announced_port(&mut output);
        if port.is_none() {
            driver.wait().expect("it has ended");
        }
        Some((driver, output, port?))
    });
    attempts.expect("the driver says where it listens")
}

fn announced_port(output: &mut impl BufRead) -> Option<u16> {
    let mut lines = output.lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("started successfully on port"))?;
    let number = line.trim_end_matches('.').rsplit(' ').next().expect("a last word");
    Some(number.parse().expect("a port"))
}

/// A window with the chat page.
pub struct Page<'a> {
    browser: &'a Browser,
    handle: String,
}

impl Page<'_> {
    /// Returns the value of a JavaScript expression, with `arguments`.
    pub fn value(&self, expression: &str, arguments: Value) -> Value {
        let script = format!("return ({expression});");
        self.command("POST", "/execute/sync", json!({ "script": script, "args": arguments }))
    }

    /// Waits until an expression is truthy.
    #[track_caller]
    pub fn wait(&self, expression: &str, arguments: Value) {
        let condition = format!("Boolean({expression})");
        let deadline = Instant::now() + PATIENCE;
        while self.value(&condition, arguments.clone()) != json!(true) {
            let seen = || self.value("document.body.innerText", json!([]));
            assert!(Instant::now() < deadline, "waited for {expression} {arguments} in {}", seen());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the page shows exactly these messages. The receipt of an own one may come after others have the message.
    #[track_caller]
    pub fn expect_texts(&self, expected: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        while self.texts() != expected && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.texts(), expected);
    }

    /// Returns the texts of the open conversation's messages.
    pub fn texts(&self) -> Vec<String> {
        self.all("#entries .message .text")
    }

    /// Returns the texts of all elements that a selector finds.
    pub fn all(&self, selector: &str) -> Vec<String> {
        let expression = "[...document.querySelectorAll(arguments[0])].map((element) => element.textContent)";
        let texts = self.value(expression, json!([selector]));
        texts
            .as_array()
            .expect("an array")
            .iter()
            .filter_map(|text| text.as_str().map(String::from))
            .collect()
    }

    /// Waits for a message with exactly this text.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let texts = "[...document.querySelectorAll('#entries .message .text')].map((e) => e.textContent)";
        self.wait(&format!("{texts}.includes(arguments[0])"), json!([text]));
    }

    /// Waits for an element.
    #[track_caller]
    pub fn see(&self, selector: &str) {
        self.wait("document.querySelector(arguments[0])", json!([selector]));
    }

    /// Types a line into the box and presses Enter.
    #[track_caller]
    pub fn say(&self, text: &str) {
        self.type_into("#input", &format!("{text}{ENTER}"));
    }

    /// Presses these keys in an element.
    #[track_caller]
    pub fn type_into(&self, selector: &str, keys: &str) {
        self.element_command(selector, "value", json!({ "text": keys }));
    }

    /// Clicks an element, where a person would.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.element_command(selector, "click", json!({}));
    }

    /// Runs a command of Chromium's DevTools protocol.
    pub fn chromium(&self, command: &str, parameters: Value) {
        self.command("POST", "/goog/cdp/execute", json!({ "cmd": command, "params": parameters }));
    }

    /// Returns a screenshot as a PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let encoded = self.command("GET", "/screenshot", Value::Null);
        base64(encoded.as_str().expect("a text"))
    }

    /// Runs a command on an element, and retries until the element is shown. chromedriver refuses to click on one that is not
    /// there yet.
    #[track_caller]
    fn element_command(&self, selector: &str, command: &str, body: Value) {
        self.wait("document.querySelector(arguments[0])?.checkVisibility()", json!([selector]));
        let found = self.command("POST", "/element", json!({ "using": "css selector", "value": selector }));
        let id = found[ELEMENT].as_str().expect("an element");
        self.command("POST", &format!("/element/{id}/{command}"), body);
    }

    fn command(&self, method: &str, path: &str, body: Value) -> Value {
        self.browser.command("POST", "/window", json!({ "handle": self.handle }));
        self.browser.command(method, path, body)
    }
}

/// Decodes a base64 text (RFC 4648).
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for letter in text.bytes() {
        let Some(six) = ALPHABET.iter().position(|known| *known == letter) else { break };
        bits = bits << 6 | six as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
