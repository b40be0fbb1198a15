//! chinwag: a chat and broadcast server on one poll loop. One process, one thread, no locks, no async runtime.
//! (Host names are resolved in a thread of their own, which shares nothing with the loop: [`net::resolve`].)
//!
//! This page is the map. [`guide::design`] follows one message from socket to socket and explains the decisions.
//!
//! # Floors
//!
//! A module uses only modules of lower rows, and of its own row as `FLOORS` in `tests/tidy.rs` says. A pure module does no I/O.
//!
//! ```text
//! main         flags → Server::run → exit code
//! server       owns everything; the tick, and a file for most of its phases
//! roster       the connections, their slots and their work queues
//! connection   one connection: its socket, outbox, dialect and state
//! ──────────────────────────────────────────────────────────────────────────────────────
//! web          pure: HTTP request → what to do; the guard against other origins, and the chat page
//! pressure     pure: back-pressure: slow readers, and the talkers that wait for them
//! chat         pure: Request → Effects; rooms, names, history. It uses no bytes and no sockets
//! backplane    pure: changes and questions of this process ⇄ commands of Redis; with --redis only
//! inbox        input of each connection that is not handled yet, and the one shared read buffer
//! codec        pure: bytes ⇄ Request and Event; line, telnet, http, websocket, json, raw, sse, resp (Redis)
//! ──────────────────────────────────────────────────────────────────────────────────────
//! outbox arena output: written once in the arena, held by the outboxes of its receivers
//! quota        numbers of connections, in all and of each address
//! limits       the flags about limits, in the types of the loop
//! load         the work that each source has caused in the last second
//! timers rate  a deadline for each connection; token buckets of clients and addresses
//! sparse       tables for data that few connections have
//! host         the address or network that the limits of an address apply to
//! net          the interface to the network: a trait, and the real one (net/mio.rs, net/bind.rs, net/resolve.rs)
//! metrics      counters and gauges, and the text that Prometheus reads
//! protocol     requests, events, problems, reasons of closing: the words of all dialects
//! config       flags and the configuration file: one table, checks, units
//! state        the state file: registered names, bans and mutes
//! access       pure: identities, rights, bans, tokens, the filter of words, and their settings
//! logging text time   log lines; validated names and texts; moments of both clocks
//! ```
//!
//! # Where to find, and where to add
//!
//! Each row names the files that decide. Matches over requests and states have no wildcards where a new one must be decided,
//! so the compiler names these places. The rows name the others.
//!
//! | question | files |
//! |---|---|
//! | How does a message get from socket to socket? | 1. `server/turn.rs`: `serve` reads and decodes, `may_handle` checks rates. 2. `server/fanout.rs`: `handle_request` calls the chat, and `carry_out` takes its effects. 3. `chat/messages.rs`: `say` returns it as `Effect::Submit`. 4. `server/submit.rs`: it gets its place. 5. `chat/changes.rs`: `commit` keeps and announces it. 6. `server/fanout.rs`: `announce` encodes it once per dialect, `deliver_batch` queues it for each member. 7. `server/flush.rs`: `flush` writes |
//! | Where is a slow client closed, and what makes it slow? | Too late: `connection/deadlines.rs` (`slow_deadline`), by times that `outbox.rs` records. Too much: `overflows` in `connection/output.rs`, and `server/flush.rs` for `--memory`. The reasons are in `protocol/close.rs` (`is_drop`), and `server/close.rs` removes the client. Senders wait for slow readers before: `pressure.rs` |
//! | When is a message accepted, and the sender sent its receipt or 202? | When it is committed: `chat/changes.rs` (`commit`) sends the receipt, `server/submit.rs` the 202. Without Redis that is at once, with Redis when the message comes back. While Redis is away, `backplane/local.rs` decides |
//! | How does a change reach other processes? | `server/submit.rs` (`submit`), `backplane/queue.rs` (order and bound), `backplane/command.rs` (its script), `server/link.rs` (the sockets). Redis numbers it in `backplane/scripts/append.lua`. It comes back by `backplane/channel.rs` to each process, and by `backplane/reply.rs` to this one |
//! | What if Redis stalls, fails or comes back? | `backplane/lifecycle.rs` (`handle_timeout`, `fail`, `greet`, `serve`), `backplane/local.rs` (`detach`: changes are shown without a number). The promises are in [`guide::cluster`] |
//! | Where is it decided who may do what? | `access/rights.rs` ([`access::may`], one pure function), `protocol/need.rs` (the right that each request needs), `chat/enforce.rs` (`perform` checks it, and `check_mute` refuses muted clients), `server/authorize.rs` (the same for HTTP) |
//! | How to add a right or a role? | `access/rights.rs` (an [`access::Action`] and its arm in `may`, or a [`access::Role`] in the order of power), `protocol/need.rs` and `server/authorize.rs` (the requests that need it), `tests/pure/rights.rs` (its table) |
//! | How does a client log in, and what ends its session? | `access/accounts.rs` (the check of a token; `access/jwt.rs` verifies a JSON Web Token), `chat/sessions.rs` (begin, renewal, warning, end), `chat/access.rs` (the session: a table by slot, without guests) |
//! | Where is a client slowed down that sends too fast? | `server/turn.rs` (`may_handle`), `roster/rates.rs` (the client's rates, and those of its address), `connection.rs` (`charge` decides whether the client gets a notice) |
//! | How to add a command? | `protocol.rs` (a [`protocol::Request`], and an [`protocol::Event`] for a new answer), `codec/line/commands.rs` (a row of `COMMANDS`), `chat.rs` (an arm of `handle_request`). The compiler requires its right, its filtered text, its questions to other processes and its back-pressure. It also requires the words and JSON of a new event, and whether the command may continue a batch (`server/fanout.rs`). It does not require a row of the guide, nor of the page's parser (`web/page/commands.js`) |
//! | Where is state of a client or a room? | Of a client: a table by slot of [`chat::Chat`], for example `Courtesy` of `/away` in `chat/courtesies.rs`. `Chat::leave` empties it, and `Chat::tables` in `chat/census.rs` lists it. Of a room: a field of `Room` in `chat/rooms/room.rs`, removed with its room. Other processes don't have it, unless a [`protocol::Change`] sets it, as in `chat/topics.rs` |
//! | How to add a request of the JSON dialect? | `protocol.rs` and `chat.rs`, as for a command, and `codec/json.rs` (an arm of `request`, and a field of `RequestFields` for new input). A new event needs a `ServerMessage` in `codec/json/message.rs`. `tests/guide.rs` requires a row and an example of the request in `guide/protocol.md` |
//! | How to add an HTTP route? | `web/path.rs` (a `Path`, matched in `path_of` before the assets), `web.rs` (a [`web::Route`] and a [`web::HttpAction`]), `server/http.rs` (an arm of `execute`). The action is read once the sender has the right to the route. The compiler requires its methods, its right (`server/authorize.rs`), its questions to other processes, and whether pages of other origins may read it. They may change nothing. `tests/guide.rs` requires its row in `guide/protocol.md` |
//! | How to add a limit of rooms and clients of the chat? | `config/table.rs` (a flag, with bounds), `chat.rs` (a field of `Rules`), and the place that checks it: `--max-rooms-per-client` in `chat/membership.rs` is an example. A refusal is a [`protocol::Problem`] with a code, and an HTTP status in `web.rs`. Rules between flags are in `config/checks.rs`. The flag has a row in `guide/operating.md` and one in `guide/faults.md` |
//! | How to add a limit of a connection? | `config/table.rs`, [`limits::Limits`] in `limits.rs`, and the place that enforces it, for example `connection/deadlines.rs`. Numbers of connections are in `quota.rs`. Rates are in `rate.rs` or, by address, in `rate/by_address.rs`, and are charged in `roster/rates.rs`. Sizes of input are in the codecs |
//! | How to limit what an address makes the server do? | `rate/by_address.rs` (a [`rate::Use`] with a throttle and a bucket, also in `is_full`), `limits.rs` (its rate). `Use::FailedLogin` is the example. `server/turn.rs` and `server/authorize.rs` check it. `server/moderation.rs` charges it, by an effect of the chat, since the chat has no addresses |
//! | How to add a key of the configuration file? | Every flag is one, and its row in `config/table.rs` says when a change takes effect. A value that is copied at the start is set in `server/reload.rs`. Keys of rooms, accounts and the filter: `access/settings.rs` (a field), `config/sections.rs` (its reading and its mistakes) |
//! | How to add an action of moderators? | `protocol/moderation.rs` (a [`protocol::Moderation`]), `codec/line/commands.rs` and `codec/json/moderation.rs` (its command and JSON), `chat/moderation.rs` (the effect), `web/admin.rs` (its path). `backplane/forward.rs` encodes one that acts on a client that may be at another process |
//! | How to add a table by slot outside the chat? | [`sparse::Sparse`], emptied when the data is no longer needed and at the latest in `Server::free` (`server/close.rs`). A row in `server/holdings.rs` lets tests find leftover entries |
//! | How to add a dialect? | `protocol.rs` (a [`protocol::Dialect`], and its place in `IN_ROOMS`), `codec.rs` and a file in `codec` (decode and encode), `web.rs` (how a client gets it). The compiler requires its size in a room, its pings, and what happens to a client that may not stay (`chat/enforce.rs`) |
//! | When is a connection's next deadline, and what if a clock jumps? | `connection/deadlines.rs` (computes it from the connection's fields), `roster.rs` (`arm`) and `timers.rs` (one timer per slot), `server.rs` (`timeout` takes the earliest of all sources, `expire` handles it). Long pauses and jumps: `time.rs` |
//! | What if there are no more file descriptors? | `config/descriptors.rs` (at the start the server lowers its limits to fit), `server/accept.rs` (it pauses for 100 ms, or until a connection is freed) |
//! | How to add a reason to close a connection? | `protocol/close.rs`: a [`protocol::CloseReason`], with its words for the log, the client and the others |
//! | What do other processes receive? | `protocol/exchange.rs` (a [`protocol::Change`] of a room, a [`protocol::LocalEvent`] about a client), `backplane/entry.rs` (the bytes), `chat/changes.rs` (`commit`: the effect, here and there) |
//! | How do bans, mutes and registered names reach the other processes? | `access/kept.rs` (an entry and its change), `chat/access.rs` (`change` applies one of this process, `merge` those of others), `chat/moderation.rs` (`merge_access` applies it to clients), `backplane/access.rs` and its scripts `record` and `table` |
//! | What does a request ask other processes? | `chat/questions.rs` (the [`protocol::Question`]s of each request), `server/questions.rs` (it waits for them), `backplane/scripts` (how Redis answers) |
//!
//! Every change has a test. A pure module's is in `tests/pure`, or beside its code. A whole server runs on virtual sockets and a
//! virtual clock in `tests/sim`. The head of its `main.rs` says which file is about what, and `stage.rs` is the harness. Real
//! programs and browsers are in `tests/real` and `tests/browser`. A limit has a test on both sides of its bound, and its row in
//! `guide/faults.md` names the file. Bounds of flags are tested by themselves. What users see is in [`guide`].
//!
//! # Listeners and dialects
//!
//! A connection speaks one [`protocol::Dialect`] at a time: lines at the line listener, and HTTP at the other. An HTTP
//! request can make it a WebSocket client ([`codec::json`], [`codec::raw`]) or an SSE client ([`codec::sse`]). From then on
//! it is a client like any other, with the same roster, outbox and policy for slow readers. A room keeps its subscribers apart
//! by dialect. So an announcement is encoded once for each dialect that is spoken there, whatever the number of subscribers.
//!
//! An announcement has the same bytes for all clients of a dialect in a room. So nothing in its encoding can depend on the
//! receiver: not its language, its permissions, or the history of a compression. A WebSocket extension with
//! state for each connection would need one encoding per member. A reply to one client is encoded for it alone.
//!
//! # A tick
//!
//! [`server::Server::tick`] is one pass of the loop, always in this order:
//!
//! 1. **poll** (`poll`): if a partial flush is delayed, sleep for that delay. Poll until the next deadline; do not wait if there
//!    is work; wait without limit if there is no deadline. Read the clock.
//! 2. **latch** (`latch`): record readiness on connections. No connection is handled or freed before all events are recorded,
//!    so no event can reach a later connection in the same slot. Signals are handled: a reload, or the shutdown begins.
//! 3. **turns** (`server/turn.rs`): each connection with input reads, decodes and is handled, within a budget of bytes and
//!    lines. Clients of the chat come first, then HTTP and closing connections, then sources of much work ([`load`],
//!    `server/order.rs`). Messages to a room are collected in batches (`server/fanout.rs`), which end with the phase at the latest.
//! 4. **link** (`server/link.rs`): with `--redis`, input from Redis and the link's deadlines are handled.
//! 5. **timers** (`expire`): deadlines that are due.
//! 6. **flush** (`server/flush.rs`): each outbox with new output or a socket that is writable again is written once, straight
//!    from the arena. With hundreds of clients a tick flushes an eighth of them, those that have waited longest, and then polls
//!    again (`server/coalesce.rs`). An outbox is written sooner if it would overflow.
//! 7. **reap** (`server/close.rs`): closing connections leave the chat, and the reason is queued for them. Those that have been
//!    sent everything are freed.
//! 8. **accept** (`server/accept.rs`): new connections are admitted, queued or refused. If there is no room, the oldest closing
//!    or the longest idle HTTP connection is evicted for them.
//! 9. **publish** (`write_link`): commands for Redis go out in one write. They wait while a flush is delayed.
//! 10. Debug builds check the invariants: work is in its queue, counts equal the connections, and no table has an entry for a
//!     free slot.
//!
//! Each phase takes the work that is queued at its beginning, some within a budget. Work that is queued meanwhile waits for a
//! later phase or the next tick.
//!
//! # Rules that can't be forgotten
//!
//! - An outbox holds output only as [`arena::Held`], which the arena makes and counts, and takes back.
//! - Only `server/fanout.rs` writes to outboxes and changes the chat, so a pending batch can't be bypassed: its fields are
//!   private, and `tests/tidy.rs` finds `share` elsewhere.
//! - `connection/state.rs` has one table of states: use of input, output, quota and deadline of each.
//! - A secret is an [`access::LoginToken`]. It has no `Display` and a `Debug` that hides it, so it gets into no log line by mistake.
//! - The right that a [`protocol::Request`] needs is in a match without wildcard, so a new request can't be without one.
//! - A connection owns a [`quota::Claim`], which is counted once and given back once.
//! - The name of somebody else in a request is a [`text::TypedName`], which is bounded.
//!
//! # Memory of an idle connection
//!
//! About 125 bytes, with a name of at most 16. A [`connection::Connection`] has 64, the chat's data about it 28, its room and
//! [`timers`] 4 each, and the table of names the rest. Data that an idle connection has no use for is in a table
//! ([`sparse`]) or a box. Examples are input that is not handled yet, decoder state, buckets that are not full, and output that
//! is not adjacent in the arena. Tests hold the sizes (`tests/tidy.rs`, [`outbox`], `chat/clients.rs`), and
//! `cargo bench --bench footprint` measures the sum.

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
