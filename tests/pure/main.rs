//! The pure parts, without a socket: input, and exactly the expected output.
//!
//! - `codec`: bytes in, requests out, however the bytes are cut into reads; `codec_random` the same at random, both
//!   with the help of `reader`. `encode`: events in, bytes out.
//! - `websocket`: frames in, messages out; `websocket_random` the same at random, both with the help of `frames`.
//!   `http`: requests and answers; `routes`: the action for a request; `guard`: accepted hosts and origins; with the
//!   help of `calls`.
//! - `json`: messages in, requests out. `json_events`: events in, the output for WebSocket and event clients out.
//! - `chat`: a request in, events for clients out; `crowd` and `history` the same for two parts of it. They are written
//!   as conversations, with the help of `talk`. `chat_random`: invariants under any requests. `json_chat` and
//!   `json_chat_random` are the same with clients of all listeners, with the help of `hall`.
//! - `line_ends`: ends of lines, editing, and other protocols.
//! - `remote_chat`: the chat as one of several processes: facts, changes in their order, and events. `questions`: what it
//!   asks the others.
//! - `config_file`: the configuration file, and reading it again.
//! - `bans`: bans of names and addresses. `state`: the state file on a disk that fails. `filter`: the filter of words
//!   against a naive one.
//! - `look_alikes`: names that look alike.
//! - `access`: logins, rights and moderation as conversations.
//! - `tokens`, `accounts` and `jwt`: what clients log in with, and to; `rights`: what they may do then.
//! - `outbox`: outboxes and the arena against plain vectors of bytes.
//! - `metrics`: counters and gauges in, the page out.
//! - `clocks`: timers, token buckets and the monotonic clock against simpler models.
//!
//! All share `words` and `random`, and the conversations share `settle`. `PROPTEST_RNG_SEED` runs a random test that failed
//! again.

mod access;
mod accounts;
mod bans;
mod calls;
mod chat;
mod chat_random;
mod chunked;
mod clocks;
mod codec;
mod codec_random;
mod config_file;
mod crowd;
mod encode;
mod filter;
mod frames;
mod guard;
mod hall;
mod history;
mod http;
mod identity;
mod json;
mod json_chat;
mod json_chat_random;
mod json_events;
mod jwt;
mod kept;
mod line_ends;
mod link;
mod link_bounds;
mod link_clocks;
mod link_entries;
mod link_rooms;
mod link_sessions;
mod look_alikes;
mod metrics;
mod outbox;
mod questions;
mod random;
mod reader;
mod remote_chat;
mod returning;
mod rights;
mod routes;
mod settle;
mod state;
mod talk;
mod tokens;
mod websocket;
mod websocket_random;
mod words;
