//! The server as a process, on real sockets, with real clients.
//!
//! Each test starts its own server on a free port, says and hears lines, and waits for what it expects, never for a
//! while. Tests that need an outside program are ignored by a plain `cargo test`; `tests/run` installs the programs
//! and runs them too.

mod cluster;
mod harness;
#[path = "../sim/shown.rs"]
mod shown;

mod autobahn;
mod chat;
mod faults;
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
