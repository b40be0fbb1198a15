//! The pure parts, without a socket: what goes in, and exactly what comes out.
//!
//! - `codec`: bytes in, requests out, however the bytes are cut into reads; `codec_random` the same at random, both
//!   with the help of `ear`. `encode`: events in, bytes out.
//! - `websocket`: frames in, messages out; `websocket_random` the same at random, both with the help of `frames`.
//!   `http`: requests and answers; `routes`: what is done about a request; `guard`: who may ask; with the help of `calls`.
//! - `json`: messages in, requests out. `json_events`: events in, what WebSocket and event clients see of them out.
//! - `chat`: a request in, who is told what; `crowd` and `history` the same for two parts of it. They are written as
//!   conversations, with the help of `talk`. `chat_random`: what holds whatever anybody does. `json_chat` and
//!   `json_chat_random` are the same with clients of all listeners, with the help of `hall`.
//! - `line_ends`: where lines end, how they are edited, and what is no line.
//! - `far_chat`: the chat as one of several: what other processes tell, and what they are told.
//! - `look_alikes`: names that look alike.
//! - `link`: the link to Redis, from bytes to bytes.
//! - `outbox`: outboxes and pages against plain vectors of bytes.
//! - `clocks`: timers, allowances and the steady clock against simpler ones.
//!
//! `words` and `random` are what they share. `PROPTEST_RNG_SEED` runs a random test that failed again.

mod calls;
mod chat;
mod chat_random;
mod chunked;
mod clocks;
mod codec;
mod codec_random;
mod crowd;
mod ear;
mod encode;
mod far_chat;
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
mod line_ends;
mod link;
mod link_bounds;
mod link_clocks;
mod look_alikes;
mod outbox;
mod random;
mod returning;
mod routes;
mod talk;
mod websocket;
mod websocket_random;
mod words;
