//! The guide: one module for each of its pages. The pages are Markdown files in `src/guide/`, and can be read there.
//!
//! - [`protocol`]: lines, HTTP, events, and WebSocket with JSON or raw messages.
//! - [`operating`]: flags, sizing, signals, log, metrics, proxies, systemd.
//! - [`access`]: accounts, rights, moderation.
//! - [`cluster`]: several processes that are one chat.
//! - [`design`]: the way of a message from socket to socket, and what was measured.
//! - [`faults`]: every limit and fault, with its tests.
//!
//! Tests play the examples and compare the lists with the code (`tests/sim/guide.rs`, `tests/real/guide.rs`, `tests/tidy.rs`).

#[doc = include_str!("guide/protocol.md")]
pub mod protocol {}

#[doc = include_str!("guide/operating.md")]
pub mod operating {}

#[doc = include_str!("guide/access.md")]
pub mod access {}

#[doc = include_str!("guide/cluster.md")]
pub mod cluster {}

#[doc = include_str!("guide/design.md")]
pub mod design {}

#[doc = include_str!("guide/faults.md")]
pub mod faults {}
