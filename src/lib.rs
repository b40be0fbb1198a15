//! chinwag: a chat and broadcast server on one poll loop. One process, one thread, no locks, no async runtime.
//! (Host names are resolved in a thread of their own, which shares nothing with the loop: [`net::resolve`].)
//!
//! This page is the map. [`guide::design`] follows one message from socket to socket and explains the decisions.
//!
//! # Floors
//!
//! A module uses only modules below it; `tests/tidy.rs` checks that.
//!
//! ```text
//! main         flags → Server::run → exit code
//! server       owns everything; the tick, and a file for most of its phases
//! roster       the connections, their slots and their work queues
//! connection   one connection: its socket, outbox, dialect and state
//! pressure     back-pressure: slow readers, and the talkers that wait for them
//! inbox        unused input of each connection, and the one shared read buffer
//! ──────────────────────────────────────────────────────────────────────────────────────
//! web          pure: HTTP request → what to do; the guard against other origins, and the chat page
//! chat         pure: Request → Effects; rooms, names, history. It sees no bytes and no sockets
//! backplane    pure: changes and questions of this process ⇄ commands of Redis; with --redis only
//! codec        pure: bytes ⇄ Request and Event; line, telnet, http, websocket, json, raw, sse, resp (Redis)
//! ──────────────────────────────────────────────────────────────────────────────────────
//! outbox arena output: written once in the arena, held by the outboxes of its receivers
//! quota        numbers of connections, in all and of each address
//! host         the address or network that limits by address count
//! limits       the flags about limits, as the loop needs them
//! timers rate  deadlines, and token buckets of clients and addresses
//! load         the work that each source has caused in the last second
//! sparse       tables for data that few connections have
//! net          the seam: a trait, and the real network (net/mio.rs, net/bind.rs, net/resolve.rs)
//! metrics protocol config text time logging
//! state        the state file: registered names, bans and mutes
//! access       pure: identities, rights, bans, the filter of words, and their settings. Ranges of addresses
//! ```
//!
//! # Where to find, and where to add
//!
//! Each row names the files that decide, in the order of reading. Matches over requests, events and states have no wildcards
//! where a new variant must be decided. So the compiler names the other places.
//!
//! | question | files |
//! |---|---|
//! | How does a message get from socket to socket? | `server/turn.rs` (`take_turn`, `serve`, `handle`: read, decode, check rates), `server/fanout.rs` (`handle_request` calls the chat, `announce` encodes once, `deliver_batch` queues for each member by `broadcast` in `roster.rs`), `server/flush.rs` (`flush` writes). Between the two calls of the chat, `server/submit.rs` gets the message its place: `Effect::Submit` comes first, and `Effect::Announce` after that |
//! | Where is a slow client closed? | `protocol/close.rs` (`is_drop` has the four reasons, and each reason names its place), `server/close.rs` (it leaves, is sent the reason, and is freed), `server/linger.rs` (until the reason was sent) |
//! | How does a change get its place, with and without Redis, and so reach other processes? | `server/submit.rs` (commits it at once, or submits it to Redis), `backplane/queue.rs` (order, bound, and changes that may be discarded), `backplane/command.rs` (its script), `server/link.rs` (the sockets), `backplane/channel.rs` (it comes back) |
//! | What if Redis stalls, fails or comes back? | `backplane/lifecycle.rs` (`handle_timeout`, `fail`, and the stages of a new session), `backplane/local.rs` (`detach`: changes are shown without a number). The promises are in [`guide::cluster`] |
//! | Where is it decided who may do what? | `access/rights.rs` ([`access::may`], one pure function), `protocol/need.rs` (the right that each request needs), `chat/enforce.rs` (`perform` checks it before `handle_request`, and mutes with `check_mute`), `server/authorize.rs` (the same for HTTP) |
//! | How to add a right or a role? | `access/rights.rs` (an [`access::Action`] and its arm in `may`, or a [`access::Role`] at its rank), `protocol/need.rs` and `server/authorize.rs` (the requests that need it), `tests/pure/rights.rs` (its table) |
//! | How does a client log in, and what ends its session? | `access/accounts.rs` (the check of a token), `chat/sessions.rs` (begin, renewal, warning, end), `chat/access.rs` (the session: a table by slot, which guests are not in) |
//! | How to add an action of moderators? | `protocol/moderation.rs` (a [`protocol::Moderation`]), `codec/line/commands.rs` and `codec/json/moderation.rs` (its words), `chat/moderation.rs` (the effect), `web/admin.rs` (its path); `backplane/forward.rs` (its fields, if it acts on a client that may be at another process) |
//! | How to add a command? | `protocol.rs` (a [`protocol::Request`], and an [`protocol::Event`] if it says something new), `codec/line/commands.rs` (a row of `COMMANDS`; the event's words are beside it, in `encode.rs`), `chat.rs` (an arm of `handle_request`). The compiler asks for its right (`protocol/need.rs`), its text (`chat/filtering.rs`), its questions to other processes (`chat/questions.rs`) and back-pressure (`affected_rooms`). It also asks for the batch (`server/fanout.rs`), and for the JSON of a new event (`codec/json/message.rs`). State of a client is a table by slot of [`chat::Chat`], as `Courtesy` of `/away` in `chat/courtesies.rs`: `Chat::leave` empties it, and `chat/census.rs` lists it. State of a room is a field of `Room` in `chat/rooms/room.rs`: it goes with an unused room, and other processes don't see it. If they must, it is changed by a [`protocol::Change`]: `Request::Topic` with `chat/topics.rs` is the example. A client's message enters a room by `say` and `relay` in `chat/messages.rs`, an HTTP request's by `publish` |
//! | How to add a request of the JSON listener? | the request and its events as for a command; then `codec/json.rs` (an arm of `request`, and a field of `RequestFields` for new input). Its row is in `guide/protocol.md` |
//! | How to add an HTTP route? | `web/path.rs` (a `Path` with `path_of`), `web.rs` (a [`web::Route`], and a [`web::HttpAction`] that is read if the sender has the right to the route), `server/http.rs` (an arm of `execute`), `chat/queries.rs` (the reply, if the chat has it). The compiler asks for its methods and whether it is guarded from pages of other origins (`web/path.rs`), its right (`server/authorize.rs`) and its questions to other processes (`server/http.rs`). Its row is in `guide/protocol.md` |
//! | How to add a limit of the chat: a number or size of what rooms and clients have? | `config/table.rs` (a flag, with bounds), `chat.rs` (a field of `Rules`), `protocol/problem.rs` (the refusal), and the place that checks it. `rooms_per_client` is an example, checked in `chat/membership.rs`. The flag has a row in `guide/operating.md` and one in `guide/faults.md` |
//! | How to add a limit of a connection? | `config/table.rs`, [`limits::Limits`] in `limits.rs`, and the place that enforces it. Numbers of connections are in `quota.rs`. Rates are in `rate.rs` or, by address, in `rate/by_address.rs`, and are charged in `roster/rates.rs`. Sizes of raw input are in the codecs |
//! | How to limit what an address makes the server do? | `rate/by_address.rs` (a [`rate::Use`] with a throttle and a bucket, also in `is_full`), `limits.rs` (its rate). The chat has no addresses. So `Use::FailedLogin`, the example, is checked in `server/turn.rs` (`handle`) and for HTTP in `server/authorize.rs`, and charged in `server/moderation.rs`, for the chat by an effect |
//! | How to add a key of the configuration file? | every flag is one, and its row says when a change takes effect: `config/table.rs`, and `server/reload.rs` if it is at once. Keys of rooms, accounts and the filter: `access/settings.rs` (a field), `config/sections.rs` (its reading and its mistakes) |
//! | How to add a table by slot? | [`sparse::Sparse`], emptied where its data ends and at the latest in `Server::free` (`server/close.rs`), with a row in `server/holdings.rs`, by which tests find what stays behind |
//! | How to add a way to end? | `protocol/close.rs`: a [`protocol::CloseReason`], with its words for the log, the client and the others |
//! | What do other processes see? | `protocol/exchange.rs` (a [`protocol::Change`] of a room, a [`protocol::LocalEvent`] about a client), `backplane/entry.rs` (the bytes), `chat/changes.rs` (`commit`: the effect, here and there) |
//! | How do bans, mutes and registered names reach the other processes? | `access/kept.rs` (an entry and its change), `chat/access.rs` (`change` applies one of this process, `merge` those of others), `chat/moderation.rs` (`merge_access`: the effect on clients), `backplane/access.rs` and its scripts `record` and `table` |
//! | What must a request know of other processes? | `chat/questions.rs` (the [`protocol::Question`]s of each request), `server/questions.rs` (it waits for them), `backplane/scripts` (how Redis answers) |
//!
//! Every change has a test. A pure module's is in `tests/pure`. A whole server runs on virtual sockets and a virtual clock in
//! `tests/sim`, and on real ones in `tests/real`. One test of a thing is enough there. A limit has a test on both sides of
//! its bound: one of the chat in `tests/pure`, others in `tests/sim/limits.rs`. Bounds of flags are tested by themselves. What
//! users see is in [`guide`].
//!
//! # Listeners and dialects
//!
//! A connection speaks one [`protocol::Dialect`] at a time: lines at the line listener, and HTTP at the other. An HTTP request
//! can make it a WebSocket client ([`codec::json`], [`codec::raw`]) or an SSE client ([`codec::sse`]). From then
//! on it is a client like any other: same roster, same outbox, same limits. A room keeps its members apart by dialect, so an
//! announcement is encoded once for each dialect that is spoken there, whatever the number of members.
//!
//! This is the limit of a dialect: all its clients in a room get the same bytes. So nothing in an encoding can depend on the
//! receiver: not its language, its permissions, or the history of a compression. A WebSocket extension with
//! state for each connection would need one encoding a member.
//!
//! # A tick
//!
//! [`server::Server::tick`] is one pass of the loop, always in this order:
//!
//! 1. **poll** until the next deadline; at once if there is work; for ever if there is neither. Read the clock. (A partial
//!    flush that is delayed is slept for first.)
//! 2. **latch**: record readiness on connections. Nothing is run, taken or freed before all events are recorded, so no event
//!    can reach a later connection in the same slot.
//! 3. **turns**: each connection with input reads, decodes and is handled, within a budget of bytes and lines. Clients of
//!    the chat come first, then HTTP and closing connections, then sources of much work ([`load`], `server/order.rs`).
//!    Messages to a room are collected in batches (`server/fanout.rs`).
//! 4. **link**: input from Redis is handled, if this process is one of several.
//! 5. **timers**: deadlines that are due.
//! 6. **flush**: each outbox with new output is written once, straight from the arena. With hundreds of clients a tick
//!    flushes an eighth of them, those that have waited longest, and then polls again (`server/coalesce.rs`). An outbox is
//!    written sooner if it would overflow.
//! 7. **reap**: closing connections leave their rooms and are sent the reason; flushed ones are freed.
//! 8. **accept**: new connections are admitted, queued or refused. If there is no room, the oldest closing or the longest
//!    idle HTTP connection is evicted for them.
//! 9. **publish**: events for other processes go to Redis in one write.
//! 10. Debug builds check the invariants: work is in its queue, counts equal the connections, and no table has a free slot.
//!
//! Each phase takes its whole queue; flush may take only its first part. Work that is queued meanwhile waits for a later phase
//! or the next tick; nothing recurses.
//!
//! # Rules that are types
//!
//! - An outbox holds output only as [`arena::Held`], which the arena makes and counts, and takes back.
//! - Only `server/fanout.rs` writes to outboxes and changes the chat, so a pending batch can't be bypassed.
//! - `connection/state.rs` has one table of states: use of input, output, quota and deadline of each.
//! - A secret is an [`access::LoginToken`]. It has no `Display` and a `Debug` that hides it, so it gets into no log line by mistake.
//! - The right that a [`protocol::Request`] needs is in a match without wildcard, so a new request can't be without one.
//! - A connection owns a [`quota::Claim`], which is counted once and given back once.
//!
//! # Memory of an idle connection
//!
//! About 125 bytes, with a name of at most 16. A [`connection::Connection`] has 64, the chat's data about it 28, its room and
//! [`timers`] 4 each, and the table of names the rest. Data that an idle connection has no use for is in a table
//! ([`sparse`]) or a box. Examples are unused input, decoder state, buckets that are not full, and output that is not
//! adjacent. Tests hold the sizes (`tests/tidy.rs`, [`outbox`], `chat/clients.rs`), and `cargo bench --bench footprint`
//! measures the sum.

#![forbid(unsafe_code)]

pub mod access;
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
pub mod state;
pub mod text;
pub mod time;
pub mod timers;
pub mod web;
