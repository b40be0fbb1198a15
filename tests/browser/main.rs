//! The chat page in a real browser: headless Chromium, driven by the WebDriver protocol, against the real server.
//!
//! Each test starts its own server and browser, acts as a person would, and waits for visible results, never for a
//! fixed time. All of them need a program that may be missing, so a plain `cargo test` ignores them.

mod server;
mod webdriver;

mod access;
mod client;
mod flood;
mod harm;
mod identity;
mod looks;
mod offline;
mod origins;
mod talk;
