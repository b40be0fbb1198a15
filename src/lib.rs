//! chinwag: a chat and broadcast server on one poll loop. One process, one thread, no locks, no async runtime.
//! (A name on the network is looked up in a thread of its own, which shares nothing with the loop: [`net::resolve`].)
//!
//! This page is the map. Read it, then [`server`], and you know where everything is.
//!
//! # Floors
//!
//! A module uses only those below it; `tests/tidy.rs` sees to that.
//!
//! ```text
//! main         flags → Server::run → exit code
//! server       owns everything; the tick, a file a phase
//! roster       the connections and their work queues; where a slot is taken or freed
//! connection   one client: outbox, dialect, life; limits and host, what it is held to
//! pressure     back-pressure: clients that read more slowly than others talk, and the talkers that wait for them
//! inbox        input: what a connection has sent and nobody has used yet, and the one shared read buffer
//! ──────────────────────────────────────────────────────────────────────────────────────
//! web          pure: an HTTP request in, what to do about it out; the guard, and the chat page
//! chat         pure: Request in, Effects out; rooms, names, history. Sees no byte, no socket
//! backplane    pure: what other processes are to know in, bytes for Redis out, and back; with --redis only
//! codec        pure: bytes ⇄ Request and Event; line, telnet, http, websocket, json, raw, sse; and Redis's resp
//! ──────────────────────────────────────────────────────────────────────────────────────
//! outbox page  output: written once on a page, queued as slices of it
//! timers rate  deadlines, and how fast a client may send; load: how much work it has caused
//! sparse       what few connections have, and an idle one has no room for
//! net          the seam: the trait, the real network (net/mio.rs, net/bind.rs, net/resolve.rs)
//! metrics protocol config text time logging
//! ```
//!
//! # Listeners and dialects
//!
//! A connection speaks one [`protocol::Dialect`] at a time: lines from the start at the line listener, HTTP at the other,
//! until a request makes it a WebSocket client ([`codec::json`], [`codec::raw`]) or a listener ([`codec::sse`]). From then
//! on it is a client as any other: same roster, same outbox, same limits. A room keeps those who are in it apart by
//! dialect, so an announcement is encoded once for each dialect that is spoken there, whatever number of clients hears it.
//!
//! # What an idle connection costs
//!
//! About 120 bytes, with a name of at most 16: 64 of a [`connection::Connection`], 28 of what the chat knows of it, 4 in
//! its room, 4 in [`timers`], the rest in the table of names. So whatever an idle connection has no use for is no field
//! of it, but in a table ([`sparse`]) or a box that only those have who need it: unused input, what a codec is in the
//! middle of, an allowance that is not full, slices that don't follow each other. Tests hold the sizes (`tests/tidy.rs`,
//! [`outbox`], `chat/clients.rs`); `cargo bench --bench footprint` measures the sum.
//!
//! # A tick
//!
//! [`server::Server::tick`] is one pass of the loop, always in this order:
//!
//! 1. **poll** until the next deadline; at once if there is work; for ever if there is neither. Read the clock. (A flush
//!    that waits is slept for first.)
//! 2. **latch**: note readiness on connections. Nothing is run, taken or freed yet, so no event of the batch can meet
//!    another client than its own.
//! 3. **turns**: each connection with input reads, decodes and is handled, within a budget of bytes and lines. Clients of
//!    the chat come first, then HTTP and closing connections, then sources of much work ([`load`], `server/order.rs`).
//!    Messages to a room are handed to its members together, a run at a time (`server/announce.rs`).
//! 4. **link**: what Redis has sent is heard, if this process is one of several.
//! 5. **timers**: what is due happens.
//! 6. **flush**: each outbox that got something is written once, straight from the page. (Sooner only if its buffer would
//!    overflow: a busy tick is not its client's fault.) Where that is dear, a tick flushes a part of them, those that have
//!    waited longest, and may wait for the next, so that what is coming goes out with them (`server/coalesce.rs`).
//! 7. **reap**: the doomed leave the chat and hear why; the told and gone are freed.
//! 8. **accept**: newcomers get a place, or a number in the queue. If there is no room, the oldest closing or the longest
//!    idle HTTP connection is freed for them.
//! 9. **publish**: what the other processes are to know of all that goes to Redis in one write, with the first part of the
//!    flush.
//! 10. Debug builds check that whoever has something to do is in the queue for it.
//!
//! Each phase takes its queue whole, flush perhaps only a first part. What is queued meanwhile waits for a later phase or the
//! next tick; nothing recurses.
//!
//! # Several processes
//!
//! With `--redis` the chat is one of several that look like one ([`backplane`] has the whole story). Clients of other
//! processes are members of its rooms as any others are, under [`protocol::Dialect::Redis`], but nothing is encoded for
//! them: what happens here leaves the chat as a [`protocol::LocalEvent`], what happens there enters it as
//! [`protocol::RemoteEvent`]. Between the two is the backplane, and beneath it two sockets on the same loop (`server/link.rs`).
//!
//! # Where to put
//!
//! - **a command**: a row in `COMMANDS` of [`codec::line`], a [`protocol::Request`], an arm in [`chat::Chat::handle`],
//!   and, if it says something new, a [`protocol::Event`] and its wording in [`codec::line::encode`].
//! - **a limit**: a flag in [`config`], what it may be in `config/bounds.rs`, a field of [`limits::Limits`] (or of the
//!   chat's rules), a test on both sides of the bound in `tests/sim/limits.rs`, a row in the guide. A rate of one client
//!   is in [`rate`], one of all connections of an address in `rate/by_address.rs`, a number of connections in
//!   `server/places.rs` or `server/addresses.rs`.
//! - **a table by slot**: a [`sparse::Sparse`], forgotten where the slot is freed, and a row in `server/holdings.rs`, so
//!   that the simulation sees what stays behind.
//! - **a request or an event of the JSON listener**: an arm in [`codec::json`], or in its `told.rs`, and a row in the guide.
//! - **a path of the HTTP listener**: a variant of `Path` and an [`web::Action`] in [`web`], what the server does in
//!   `server/http.rs`, a row in the guide.
//! - **a dialect**: a [`protocol::Dialect`], a module in [`codec`], how one comes to speak it in [`web::route`], or a
//!   listener in [`net::bind`].
//! - **something that other processes are to know**: a [`protocol::LocalEvent`] and a [`protocol::RemoteEvent`], what is written of it
//!   in `backplane/packet.rs`, an arm in `chat/hear.rs`.
//! - **a way to end**: a [`protocol::CloseReason`], with its words for the log, for the client and for the others.
//! - **a fault**: a test named after it, in `tests/sim` if it can be had on a virtual network, else in `tests/real`.

#![forbid(unsafe_code)]

pub mod arena;
pub mod backplane;
pub mod chat;
pub mod codec;
pub mod config;
pub mod connection;
pub mod guide;
pub mod host;
pub mod inbox;
pub mod limits;
pub mod load;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod outbox;
pub mod pressure;
pub mod protocol;
pub mod quota;
pub mod rate;
pub mod roster;
pub mod server;
pub mod sparse;
pub mod text;
pub mod time;
pub mod timers;
pub mod web;
