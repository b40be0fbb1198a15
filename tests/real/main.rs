//! The server as a process, on real sockets, with real clients.
//!
//! Each test starts its own server on a free port, exchanges lines, and waits for expected ones, never for a fixed
//! time. Tests that need an outside program are ignored by a plain `cargo test`; `tests/run` installs the programs and
//! runs them, too.

mod cluster;
mod harness;
#[path = "../sim/shown.rs"]
mod shown;

mod access;
mod autobahn;
mod chat;
mod faults;
#[path = "../sim/frames.rs"]
mod frames;
mod guide;
mod handover;
mod limits;
mod lines;
mod log;
mod outgoing;
mod pressure;
mod process;
mod programs;
mod proxies;
mod redis;
mod redis_access;
mod redis_faults;
mod redis_refusals;
mod standard_error;
mod web;
