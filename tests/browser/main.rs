//! The chat page in a real browser: headless Chromium, driven by the WebDriver protocol, against the real server.
//!
//! Each test starts its own server and its own browser, does what a person would, and waits for what is to be seen,
//! never for a while. All of them need a program that may be missing, so a plain `cargo test` ignores them.

mod server;
mod webdriver;

mod flood;
mod harm;
mod identity;
mod looks;
mod offline;
mod origins;
mod talk;
